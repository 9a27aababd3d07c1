from __future__ import annotations

import time
from io import BytesIO

import numpy as np
import pytest

from tests.app.driving import texts
from tools.clips import frames_of, save_clip, scene


def clip(width: int = 220, frames: int = 12, name: str = "party.mp4") -> tuple[str, bytes, str]:
    """A video as a browser would upload it; the fake finds ``width // 100`` faces in each frame."""
    file = BytesIO()
    save_clip(file, ((index / 25, scene(width, 120)) for index in range(frames)), container="mp4")
    return name, file.getvalue(), "video/mp4"


@pytest.fixture
def page(open_page, predictor):
    return open_page("video")


def finish(app):
    """Waits for the work, as the page itself would by running again and again."""
    deadline = time.monotonic() + 60
    while app.session_state["video work"].job.running:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return app.run()


def downloads(app):
    return {button.label: button for button in app.get("download_button")}


def test_the_page_says_what_it_does_and_what_it_keeps(page):
    assert not page.exception
    words = texts(page)
    assert "followed from frame to frame" in words and "Nothing is stored" in words
    assert not page.button


def test_a_video_becomes_people_with_charts_cards_and_downloads(page):
    app = page.file_uploader(key="video_file").set_value(clip()).run()
    app = finish(app.button(key="video_begin").click().run())
    assert not app.exception
    words = texts(app)
    assert {metric.label: metric.value for metric in app.metric}["People"] == "2"
    assert words.count("**looks about 32 (26–38)**") == 2  # the mean of the fake's distribution is 31.5
    assert "Person 1, 0.0–0.4 s" in words
    assert "2 people are to be seen" in words
    assert "Of 2 people most, 2, look 26-35 years old" in words
    work = app.session_state["video work"]
    assert len(frames_of(work.copy)) == 12
    assert len(work.looks) == 4 and work.looks[0]["faces"][0]["track"] == 1
    assert list(downloads(app)) == ["Annotated video", "People as CSV", "People as JSON", "Frames as JSON"]
    assert app.dataframe[0].value["Person"].tolist() == [1, 2]


def test_blurring_warns_of_faces_that_were_not_found(page):
    app = page.file_uploader(key="video_file").set_value(clip()).run()
    assert "A face that was not found stays visible" not in texts(app)
    app = app.toggle(key="video_blur").set_value(True).run()
    app = app.toggle(key="video_boxes").set_value(False).run()
    assert "A face that was not found stays visible" in texts(app)
    app = finish(app.button(key="video_begin").click().run())
    assert not app.exception
    assert "Blurred video" in downloads(app)
    _, frame = frames_of(app.session_state["video work"].copy)[3]
    assert np.abs(np.diff(frame[20:50, 5:45].astype(int), axis=1)).mean() < 3


def test_what_cannot_be_used_is_said_and_another_file_starts_afresh(page):
    app = page.file_uploader(key="video_file").set_value(("no.mp4", b"no video", "video/mp4")).run()
    app = finish(app.button(key="video_begin").click().run())
    assert not app.exception
    assert "`no.mp4` cannot be used: not a video" in app.error[0].value
    app = app.file_uploader(key="video_file").set_value(clip(name="two.mp4")).run()
    assert not app.error
    assert "video work" not in app.session_state
    app = app.file_uploader(key="video_file").set_value(None).run()
    assert "Drop a video above" in texts(app)


def test_a_stopped_work_keeps_what_it_saw(page, predictor, monkeypatch):
    find = predictor.find_faces

    def slowly(self, *rest, **options):
        time.sleep(0.1)
        return find(self, *rest, **options)

    monkeypatch.setattr(predictor, "find_faces", slowly)
    app = page.file_uploader(key="video_file").set_value(clip(frames=250)).run()
    app = app.button(key="video_begin").click().run()
    work = app.session_state["video work"]
    deadline = time.monotonic() + 60
    while len(work.looks) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert "seen" in work.job.what or work.job.what == "Starting"
    app = app.button(key="video_stop").click().run()
    app = finish(app)
    assert not app.exception
    assert "Only a part of `party.mp4` was seen: stopped after" in app.warning[0].value
    assert len(work.result.tracks) == 2
    assert work.copy
