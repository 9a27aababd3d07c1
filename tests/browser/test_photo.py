"""A photo of several people, uploaded, read and taken along."""

from __future__ import annotations

import io
import json
import math
import re
import urllib.request

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from agegender.models.registry import DEFAULT_MODEL
from tools.app_in_browser import ROOT

pytestmark = pytest.mark.browser

SIDEWAYS = 6  # EXIF's word for a picture to be turned clockwise by a quarter


@pytest.fixture(scope="module")
def photo() -> bytes:
    """The example's seven people as phones save them: lying on their side, with a note that says so."""
    with Image.open(ROOT / "agegender" / "assets" / "example.jpg") as upright:
        exif = Image.Exif()
        exif[0x0112] = SIDEWAYS
        buffer = io.BytesIO()
        upright.transpose(Image.Transpose.ROTATE_90).save(buffer, "JPEG", quality=95, exif=exif)
    return buffer.getvalue()


def test_people_in_a_photo_get_cards_and_files(visit, photo):
    visitor = visit()
    page = visitor.page
    page.locator('input[type="file"]').set_input_files(
        {"name": "family.jpg", "mimeType": "image/jpeg", "buffer": photo}
    )
    expect(page.get_by_text("7 faces found in family.jpg")).to_be_visible()
    visitor.wait()
    answers = page.get_by_text("looks about").all_inner_texts()
    assert len(answers) == 7
    expect(page.get_by_alt_text("family.jpg with a numbered box around each of 7 faces")).to_be_visible()

    with page.expect_download() as download:
        page.get_by_role("button", name="JSON").click()
    assert download.value.suggested_filename == "faces.json"
    document = json.loads(download.value.path().read_text(encoding="utf-8"))
    assert set(document) == {"model", "images"}
    assert document["model"] == DEFAULT_MODEL
    (image,) = document["images"]
    assert {key: image[key] for key in ("path", "width", "height", "error")} == {
        "path": "family.jpg",
        "width": 1600,
        "height": 858,
        "error": None,
    }
    assert len(image["faces"]) == 7
    for face, answer in zip(image["faces"], answers, strict=True):
        assert set(face) == {
            *("box", "confidence", "age", "age_interval"),
            *("gender", "gender_probability", "warnings"),
        }
        x1, y1, x2, y2 = face["box"]
        assert x1 < x2 <= 1650
        assert y1 < y2 <= 900
        low, high = face["age_interval"]
        assert low <= face["age"] <= high
        assert answer == f"looks about {face['age']:.0f} ({low:.0f}–{high:.0f})"
        assert face["gender"] in ("female", "male", "uncertain")
        assert 0.5 <= face["gender_probability"] <= 1
        assert math.isfinite(face["confidence"])

    with page.expect_download() as download:
        page.get_by_role("button", name="Annotated photo").click()
    assert download.value.suggested_filename == "family.annotated.png"
    with Image.open(download.value.path()) as png, Image.open(io.BytesIO(photo)) as source:
        assert (png.format, png.size) == ("PNG", (1600, 858))
        drawn = np.asarray(png.convert("RGB"), np.int16)
        plain = np.asarray(source.transpose(Image.Transpose.ROTATE_270).convert("RGB"), np.int16)
    changed = (np.abs(drawn - plain).max(axis=2) > 40).mean()
    assert 0.001 < changed < 0.2  # boxes and words are drawn on it, and the rest is as it was


def test_a_broken_file_is_named_beside_a_good_one(visit, photo):
    visitor = visit()
    visitor.page.locator('input[type="file"]').set_input_files(
        [
            {"name": "broken.jpg", "mimeType": "image/jpeg", "buffer": photo[:3000]},
            {"name": "good.jpg", "mimeType": "image/jpeg", "buffer": photo},
        ]
    )
    expect(visitor.part("stAlert").filter(has_text="broken.jpg cannot be used")).to_be_visible()
    expect(visitor.page.get_by_text("7 faces found in good.jpg")).to_be_visible()
    expect(visitor.part("stException")).to_have_count(0)


def test_the_people_of_a_folder_are_counted(visit, photo, tmp_path):
    for name in ("home", "trip"):
        (tmp_path / "album" / name).mkdir(parents=True)
        (tmp_path / "album" / name / "a.jpg").write_bytes(photo + name.encode())  # two photos, to the app
    visitor = visit(theme="dark")
    page = visitor.page
    visitor.click(page.get_by_text("Choose a whole folder"))
    page.locator('input[type="file"]').set_input_files(tmp_path / "album")
    visitor.click(page.get_by_text("Count the people in all 2 photos"))
    expect(page.get_by_text(re.compile("^14 faces by age and perceived gender"))).to_be_visible()
    expect(page.get_by_text("Photos: 2; faces: 14")).to_be_visible()
    page.set_viewport_size({"width": 390, "height": 900})
    visitor.wait()
    assert visitor.wider_than_the_window() == []
    assert visitor.barriers() == []
    with page.expect_download() as download:
        page.get_by_role("button", name="Counts as JSON").click()
    counts = json.loads(download.value.path().read_text(encoding="utf-8"))
    assert {name: group["faces"] for name, group in counts["by_folder"].items()} == {
        "album/home": 7,
        "album/trip": 7,
    }


def test_forgotten_photos_leave_the_server(visit, photo, app):
    def held() -> int:
        with urllib.request.urlopen(f"{app.address}/_stcore/metrics") as answer:
            return sum(map(int, re.findall(rb'"UploadedFileManager".*} (\d+)', answer.read())))

    visitor = visit()
    visitor.page.locator('input[type="file"]').set_input_files(
        {"name": "family.jpg", "mimeType": "image/jpeg", "buffer": photo}
    )
    expect(visitor.page.get_by_text("7 faces found in family.jpg")).to_be_visible()
    for name in ("About", "Predict"):
        visitor.click(visitor.part("stSidebarNavLink").filter(has_text=name))
    expect(visitor.page.get_by_text("Still here from before: family.jpg")).to_be_visible()
    expect(visitor.page.get_by_text("7 faces found in family.jpg")).to_be_visible()
    before = held()  # of visitors who just left, too
    visitor.click(visitor.page.get_by_role("button", name="Forget"))
    expect(visitor.page.get_by_text("7 faces found")).to_have_count(0)
    for _ in range(60):  # Streamlit says the same for some seconds, however often it is asked
        if before - held() >= len(photo):
            return
        visitor.page.wait_for_timeout(1000)
    raise AssertionError(f"{held()} bytes of {before} are still there")
