from __future__ import annotations

import base64
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from tests.app.driving import texts


def sent(number, *, width=220, time=1.0, run=1, jpeg=None):
    """What the browser sends; the fake finds ``width // 100`` faces in it."""
    if jpeg is None:
        jpeg = cv2.imencode(".jpg", np.full((120, width, 3), 90, np.uint8))[1].tobytes()
    return {"number": number, "run": run, "time": time, "jpeg": base64.b64encode(jpeg).decode()}


@pytest.fixture
def live(predictor, monkeypatch):
    from ui import live

    monkeypatch.setattr("ui.live.load_model", lambda name: SimpleNamespace(predictor=predictor()))
    return live


def test_the_page_says_what_happens_to_the_picture(open_page, predictor):
    app = open_page("live")
    assert not app.exception
    assert "Nothing is recorded" in texts(app)


def test_a_frame_is_answered_with_what_to_draw_and_people_keep_their_numbers(live):
    state = live._State()
    answer = live._answer(state, "vggface", sent(1))
    assert (answer["number"], answer["size"]) == (1, [220, 120])
    first, second = answer["faces"]
    assert first == {
        "track": 1,
        "box": [0.0, 10.0, 50.0, 60.0],
        "age": "about 31 (26–37)",
        "gender": "perceived female, 97 %",
    }
    assert second["track"] == 2
    answer = live._answer(state, "vggface", sent(2, time=1.1))
    assert [face["track"] for face in answer["faces"]] == [1, 2]
    again = state.follower
    assert live._answer(state, "vggface", sent(3, run=2, time=1.2))["faces"]
    assert state.follower is not again  # the camera was started anew


def test_a_snapshot_that_is_sent_again_is_kept_once(live, monkeypatch):
    photos = []
    monkeypatch.setattr("ui.live.keep_photo", photos.append)
    state, picture = live._State(), sent(0)["jpeg"]
    for number in (7, 8):
        answer = live._answer(state, "vggface", sent(number) | {"snapshot": {"id": 6, "jpeg": picture}})
        assert answer["kept"] == 6
    live._answer(state, "vggface", sent(9) | {"snapshot": {"id": 9, "jpeg": "broken"}})
    live._answer(state, "vggface", sent(10) | {"snapshot": "nonsense"})
    assert [photo.name for photo in photos] == ["snapshot 1.jpg"]


@pytest.mark.parametrize(
    "message",
    [
        {"number": 4, "run": 1, "time": 2.0, "jpeg": "no base64!"},
        {"number": 4, "run": 1, "time": 2.0, "jpeg": 17},
        sent(4, jpeg=b"no picture"),
        sent(4, width=20_000),
    ],
)
def test_what_is_no_picture_is_told_and_the_camera_goes_on(live, message):
    state = live._State()
    answer = live._answer(state, "vggface", message)
    assert answer["number"] == 4 and answer["faces"] == [] and answer["error"]
    assert live._answer(state, "vggface", sent(5, time=3.0))["faces"]


@pytest.mark.parametrize("time", [float("nan"), -5.0, "soon", None])
def test_times_that_make_no_sense_stop_nothing(live, time):
    state = live._State()
    live._answer(state, "vggface", sent(1))
    live._answer(state, "vggface", sent(2, time=time))
    assert live._answer(state, "vggface", sent(3, time=2.0))["number"] == 3
