"""Counts of the people in many photos, on the first page."""

from __future__ import annotations

import io
from collections import OrderedDict
from datetime import datetime

import pytest
from PIL import Image

from agegender.models.card import read_card
from agegender.summary import PhotoAnswers, summarize_photos
from tests.app.driving import photo, texts
from ui.people import people_of
from ui.photos import COUNTED, PHOTOS_A_PAGE, Photo, Settings


def taken(width: int, when: str, name: str) -> tuple[str, bytes, str]:
    """A photo as of `photo`, with its time."""
    exif = Image.Exif()
    exif[0x8769] = {0x9003: when}
    buffer = io.BytesIO()
    Image.new("RGB", (width, 120), (120, 120, 120)).save(buffer, "PNG", exif=exif)
    return name, buffer.getvalue(), "image/png"


def tables(app) -> list[dict]:
    """Those below the table of all faces, by their first column."""
    return [frame.value.set_index(frame.value.columns[0]).to_dict("index") for frame in app.dataframe[1:]]


def test_all_photos_are_counted_beyond_the_page_that_is_shown(open_page, predictor):
    uploads = [taken(200, "2024:05:06 07:08:09", f"a{n}.png") for n in range(1)]
    uploads += [taken(300, "2024:06:01 00:00:00", "june.png"), ("broken.jpg", b"no picture", "image/jpeg")]
    uploads += [photo(100 + n, name=f"{n}.png") for n in range(PHOTOS_A_PAGE)]
    app = open_page()
    app.file_uploader(key="uploads").set_value(uploads).run()
    looked = len(predictor.looks)
    assert looked < len(uploads) - 1
    assert not app.get("plotly_chart")
    app.toggle(key="count_people").set_value(True).run()
    assert not app.exception
    assert len(predictor.looks) == len(uploads) - 1  # each once, and those of the page not again
    words = texts(app)
    assert "Who is in them" in words
    assert "Photos: 33; faces: 35; photos that could not be read: 1." in words
    assert "errs on labelled faces" in words
    ages, months = tables(app)
    assert months["May 2024"]["Photos"] == 1
    assert months["June 2024"]["Faces"] == 3
    assert months["no time in the photo"]["Faces"] == 30
    assert ages["26–35"]["Female"].startswith("35 → ")
    assert ages["all ages"]["Both"] == "35"
    assert len(app.get("plotly_chart")) == 1
    assert "35 faces by age and perceived gender" in words

    app.selectbox(key="people_group").select("June 2024").run()
    assert tables(app)[0]["all ages"]["Both"] == "3"
    assert len(predictor.looks) == len(uploads) - 1
    assert "Counts as JSON" in [button.label for button in app.get("download_button")]

    app.selectbox(key="people_group").select("all photos")
    app.file_uploader(key="uploads").set_value(uploads[:2]).run()
    assert tables(app)[0]["all ages"]["Both"] == "5"
    app.file_uploader(key="uploads").set_value(
        uploads[:1]
    ).run()  # one photo is no crowd, and forgets the rest
    assert COUNTED not in app.session_state
    assert len(app.session_state["people"]) <= 1


def test_a_whole_folder_is_counted_by_its_folders(open_page, predictor):
    app = open_page()
    app.file_uploader(key="uploads").set_value([photo(100, name="single.png")]).run()
    app.toggle(key="whole_folder").set_value(True).run()
    assert "Still here from before: `single.png`" in texts(app)
    uploads = [photo(200, name="trip/a.png"), photo(201, name="trip/deep/a.png")]
    app.file_uploader(key="uploads").set_value(uploads).run()
    app.toggle(key="count_people").set_value(True).run()
    assert not app.exception
    [_, folders] = tables(app)
    assert {name: row["Faces"] for name, row in folders.items()} == {".": 1, "trip": 2, "trip/deep": 2}


def test_a_model_that_does_not_tell_gender_counts_nobody(open_page, predictor):
    app = open_page()
    app.file_uploader(key="uploads").set_value([photo(100, name="a.png"), photo(101, name="b.png")]).run()
    app.toggle(key="count_people").set_value(True).run()
    app.sidebar.selectbox(key="model").select("age_only").run()
    assert not app.exception
    assert "a model has to predict both" in texts(app)


def test_no_face_is_kept(predictor, monkeypatch):
    kept: dict[str, dict] = {}
    monkeypatch.setattr("ui.people.remembered", lambda what: kept.setdefault(what, OrderedDict()))
    monkeypatch.setattr("ui.people.load_model", lambda name: type("Loaded", (), {"predictor": predictor()}))
    name, data, _ = taken(200, "2024:05:06 07:08:09", "x/a.png")
    found = people_of(Photo(name, data), Settings("vggface", 0, 0.9))
    assert found == PhotoAnswers("", datetime(2024, 5, 6, 7, 8, 9), False, ((31.2, "female", False),) * 2)
    assert {what: len(held) for what, held in kept.items()} == {"people": 1, "analyses": 0}


def test_photos_in_folders_are_counted_by_them():
    answers = ((30.0, "female", False),)
    summary = summarize_photos(
        "vggface", [PhotoAnswers("a/1.jpg", None, False, answers), PhotoAnswers("b/2.jpg", failed=True)]
    )
    assert summary["corrected"]
    assert read_card("vggface")["name"] == summary["model"]
    assert {name: (part["photos"], part["faces"]) for name, part in summary["by_folder"].items()} == {
        "a": (1, 1),
        "b": (1, 0),
    }
    with pytest.raises(Exception, match="shows no face"):
        summarize_photos("vggface", [PhotoAnswers("b/2.jpg")])
