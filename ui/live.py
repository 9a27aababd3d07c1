"""The live camera: frames from the browser in, answers to be drawn over its picture out.

The browser side is live.js, as a component of Streamlit's in the page itself: no frame, no WebRTC, no server
in between. Nothing is kept but where people are and what is pooled for each.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import streamlit as st

from agegender.errors import ImageError
from agegender.images import read_image
from agegender.prediction import Prediction
from agegender.video import FaceFollower
from agegender.wording import say_age, say_gender
from ui.models import load_model
from ui.photos import Photo, turns
from ui.session import keep_photo
from ui.widgets import show_link

PRIVACY: Final = (
    ":material/lock: The camera's picture goes to the computer that this app runs on, is looked at, and "
    "forgotten at once. Nothing is recorded. The camera is off when you stop it or leave the page."
)

_KEY: Final = "live"
STATE: Final = "live state"
"""Under this key a session keeps who is before its camera; dropped when the page is left, see menu.py."""

_MOST_PIXELS: Final = 1_000_000
_SNAPSHOT_PIXELS: Final = 20_000_000


@dataclass(eq=False)
class _State:
    """What a session keeps while its camera is on.

    Attributes:
        model: Who answers.
        run: Which start of the camera this is of.
        follower: Knows who is there.
        time: Of the last frame, in seconds.
        answer: What to draw.
        snapshots: How many were taken.
        kept: What the browser calls the last one.
    """

    model: str = ""
    run: int = -1
    follower: FaceFollower | None = None
    time: float = 0.0
    answer: dict[str, Any] = field(default_factory=dict)
    snapshots: int = 0
    kept: int = 0


def _text(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


_component: Final = st.components.v2.component(
    "agegender_live", html=_text("live.html"), css=_text("live.css"), js=_text("live.js")
)


@st.fragment
def show_camera(model: str) -> None:
    """Draws the camera with its buttons; each frame runs this part of the page alone.

    Args:
        model: Who answers.
    """
    state: _State = st.session_state.setdefault(STATE, _State())

    def on_frame() -> None:
        sent = _sent("frame")
        if isinstance(sent, dict):
            state.answer = _answer(state, model, sent)

    def on_stopped() -> None:
        if _sent("stopped"):
            state.follower, state.answer = None, {}

    _component(
        key=_KEY,
        data=state.answer,
        on_frame_change=on_frame,
        on_stopped_change=on_stopped,
    )
    if state.snapshots:
        words = "The snapshot is" if state.snapshots == 1 else f"{state.snapshots} snapshots are"
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f":material/photo_camera: {words} among the photos of *Predict*.", width="content")
            show_link("predict", "Open Predict", ":material/familiar_face_and_zone:")


def _sent(what: str) -> object:
    """What the browser sent; nothing where the page was left meanwhile."""
    return st.session_state[_KEY].get(what) if _KEY in st.session_state else None


def _answer(state: _State, model: str, sent: dict[str, Any]) -> dict[str, Any]:
    """Looks at a frame; what comes from a browser may be anything."""
    number, run, seconds = sent.get("number"), sent.get("run"), sent.get("time")
    if not (isinstance(number, int) and isinstance(run, int) and isinstance(seconds, int | float)):
        return state.answer
    try:
        frame = read_image(_bytes_of(sent), name="camera", max_pixels=_MOST_PIXELS)
    except ImageError as error:
        return {"number": number, "faces": [], "error": error.reason}
    predictor = load_model(model).predictor
    _keep_snapshot(state, sent.get("snapshot"))
    if state.follower is None or (state.model, state.run) != (model, run) or not seconds >= state.time:
        state.follower = FaceFollower(predictor, remember=False)
        state.model, state.run = model, run
    state.time = float(seconds)
    with turns().take():
        look = state.follower.look(frame, state.time)
    size = [frame.shape[1], frame.shape[0]]
    faces = [_drawn(track, face) for track, face in look.faces.items()]
    return {"number": number, "size": size, "faces": faces, "kept": state.kept}


def _drawn(number: int, face: Prediction) -> dict[str, Any]:
    age, gender = face.age, face.gender
    return {
        "track": number,
        "box": [round(edge, 1) for edge in face.face.box],
        "age": "" if age is None else say_age(age).removeprefix("looks "),
        "gender": "" if gender is None else say_gender(gender).partition(" (")[0],
    }


def _bytes_of(sent: dict[str, Any]) -> bytes:
    try:
        return base64.b64decode(sent.get("jpeg") or "", validate=True)
    except (binascii.Error, TypeError, ValueError):
        return b""


def _keep_snapshot(state: _State, sent: object) -> None:
    """Puts a snapshot among the photos of the other pages, once: it comes until it is answered."""
    if not isinstance(sent, dict) or not isinstance(sent.get("id"), int) or sent["id"] <= state.kept:
        return
    state.kept, data = sent["id"], _bytes_of(sent)
    try:
        read_image(data, name="snapshot", max_pixels=_SNAPSHOT_PIXELS)
    except ImageError:
        return
    state.snapshots += 1
    keep_photo(Photo(f"snapshot {state.snapshots}.jpg", data))
