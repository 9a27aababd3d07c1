"""Videos in, people out: the work beside the page, and its results on the screen."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import PurePath
from typing import Any, Final

import pandas as pd
import streamlit as st
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from agegender import Predictor, charts
from agegender.errors import VideoError
from agegender.export import to_json, tracks_csv, videos_document
from agegender.progress import Progress
from agegender.video.analysis import VideoResult, follow_video
from agegender.video.following import Track
from agegender.video.reading import VIDEO_SUFFIXES
from agegender.wording import say_age, say_gender
from ui.jobs import Job, StopRequestedError, watch
from ui.models import load_model
from ui.photos import Photo, Turns
from ui.session import forget_upload, read_upload
from ui.widgets import UNFOUND, choose_part, offer_download, quote, show_chart, show_face, show_tile

PRIVACY: Final = (
    ":material/lock: The video and what is made of it stay in the memory of this app until you remove it, or "
    "close or reload this tab. Nothing is stored, nothing is passed on."
)
_PEOPLE_A_PAGE: Final = 24
_WORK: Final = "video work"
_FILE: Final = "video file id"


@dataclass(frozen=True)
class Choices:
    """What is to be made of a video.

    Attributes:
        model: Name of the model.
        copy: Whether to make a copy with boxes and labels, or with blurred faces.
        boxes: Whether it has boxes and labels.
        blur: Whether its faces are blurred.
    """

    model: str
    copy: bool
    boxes: bool
    blur: bool


@dataclass(eq=False)
class Work:
    """A video that is worked on, or was.

    Attributes:
        video: The file.
        choices: What is made of it.
        result: Once it is done, or was stopped.
        looks: What was seen, look by look, as JSON values.
        copy: The copy, an MP4 file.
        job: The work.
    """

    video: Photo
    choices: Choices
    result: VideoResult | None = None
    looks: list[dict[str, Any]] = field(default_factory=list)
    copy: bytes = b""
    job: Job = field(init=False)


def choose_video() -> Photo | None:
    """Draws the uploader; what was made of another video is forgotten.

    Returns:
        The file, or ``None``.
    """
    file = st.file_uploader(
        "Drop a video here, or choose one",
        type=["video", *sorted(suffix.removeprefix(".") for suffix in VIDEO_SUFFIXES)],
        key="video_file",
        help="MP4, MOV, WebM, MKV or AVI. For larger files there is the command `agegender video`.",
    )
    if file is None or st.session_state.get(_FILE) != file.file_id:
        _forget()
    if file is None:
        return None
    st.session_state[_FILE] = file.file_id
    work = _work()
    return read_upload(file) if work is None else work.video


def choose_copy(model: str) -> Choices:
    """Lets the visitor choose what is made of the video."""
    with st.container(horizontal=True, gap="medium"):
        boxes = st.toggle("Copy with boxes and labels", value=True, key="video_boxes")
        blur = st.toggle("Copy with blurred faces", key="video_blur")
    if blur:
        st.caption(UNFOUND)
    return Choices(model, boxes or blur, boxes, blur)


def work_on(video: Photo, choices: Choices) -> Work | None:
    """Draws the button that begins, or how far the work is.

    Args:
        video: The file.
        choices: What is made of it.

    Returns:
        The work once it is done, perhaps with other choices.
    """
    work, me = _work(), _me()
    if work is not None and work.job.running:
        watch(work.job, me=me, key="video_stop")
        return None
    if work is None or work.choices != choices:
        label = "Look at it" if work is None else "Look again, with these choices"
        if st.button(label, type="primary", icon=":material/play_arrow:", key="video_begin"):
            begun = Work(video, choices)
            predictor = load_model(choices.model).predictor
            begun.job = Job(lambda report: _follow(begun, predictor, me, report), me)
            st.session_state[_WORK] = begun
            st.rerun()
    if work is not None and work.job.error:
        st.error(f"{quote(video.name)}: {work.job.error}", icon=":material/broken_image:")
    return work


def _follow(work: Work, predictor: Predictor, me: str, report: Progress) -> None:
    """The work, in a thread of its own."""
    stop, began = threading.Event(), time.monotonic()

    def waiting(before: int) -> None:
        _check(me)
        report("Waiting for the videos of other visitors", 0, 1)

    def progress(seconds: float, total: float | None) -> None:
        said = _say_progress(seconds, total, time.monotonic() - began)
        try:
            _check(me)
            report(said, round(10 * seconds) if total else 0, round(10 * total) if total else 1)
        except StopRequestedError:
            stop.set()  # what was seen by now is answered

    choices, copy = work.choices, BytesIO()
    with _turns().take(waiting):
        began = time.monotonic()
        try:
            result = follow_video(
                work.video.data,
                predictor,
                name=work.video.name,
                copy=copy if choices.copy else None,
                boxes=choices.boxes,
                blur=choices.blur,
                on_look=lambda look: work.looks.append(look.to_dict()),
                progress=progress,
                stop=stop,
            )
        except VideoError as error:
            result = VideoResult(work.video.name, error=error.reason)
    work.copy, work.result = copy.getvalue(), result


def _check(session: str) -> None:
    """Ends the work of a visitor who has left."""
    if runtime.exists() and not runtime.get_instance().is_active_session(session):
        raise StopRequestedError


def _say_progress(seconds: float, total: float | None, taken: float) -> str:
    if not total or seconds <= 0:
        return f"{seconds:.0f} seconds seen"
    left = max(0.0, taken * (total / seconds - 1))
    return f"{seconds:.0f} of {total:.0f} seconds seen, about {left:.0f} s left"


def show_result(work: Work) -> None:
    """Shows who is in the video."""
    result = work.result
    if result is None:
        return
    name = quote(work.video.name)
    if result.info is None:
        st.error(f"{name} cannot be used: {result.error}", icon=":material/broken_image:")
        return
    if result.error is not None:
        st.warning(f"Only a part of {name} was seen: {result.error}.", icon=":material/content_cut:")
    if not result.tracks:
        st.info(
            f"**No face found** in {name}. Faces are found best when they look towards the camera, are well "
            "lit and not too small.",
            icon=":material/sentiment_neutral:",
        )
        _show_downloads(work, result)
        return
    tiles = st.grid(3, min_column_width=150)
    show_tile(tiles, "People", f"{len(result.tracks):,}")
    show_tile(tiles, "Seen", f"{result.seconds:.1f} s")
    show_tile(tiles, "Frames looked at", f"{result.looks:,}")
    st.caption(
        "People are followed as long as they are to be seen. Whoever comes back after more than two seconds, "
        "or after a cut, counts as somebody new: faces are not recognised."
    )
    _show_downloads(work, result)
    show_chart(charts.track_timeline(result.tracks, result.seconds), key="video_timeline")
    _show_people(result)
    with_age = [track for track in result.tracks if track.age is not None]
    if with_age:
        numbers = {str(track.number): track for track in with_age}
        st.subheader("How an age settles")
        chosen = st.selectbox("Person", list(numbers), key="video_person", width=160)
        show_chart(charts.age_over_time(numbers[chosen]), key="video_age")
        st.subheader("How many of whom")
        show_chart(charts.people_by_band(with_age), key="video_counts")
    st.subheader("All people")
    st.dataframe(
        pd.DataFrame([_row(track) for track in result.tracks]),
        hide_index=True,
        column_config={name: st.column_config.NumberColumn(format="%.1f") for name in ("From (s)", "To (s)")},
        alt="Every person, with times, age and gender",
    )


def _show_people(result: VideoResult) -> None:
    st.subheader("The best picture of each")
    shown = choose_part(result.tracks, _PEOPLE_A_PAGE, "people", key="people_page")
    cards = st.grid(min_column_width=270, border=True)
    for track in shown:
        with cards.cell():
            person = f"Person {track.number}"
            show_face(track.pooled, f"{person}, {track.first:.1f}–{track.last:.1f} s", alt=person)


def _row(track: Track) -> dict[str, object]:
    age, gender = track.age, track.gender
    return {
        "Person": track.number,
        "From (s)": track.first,
        "To (s)": track.last,
        "Frames": track.frames,
        "Looks about": say_age(age).removeprefix("looks about ") if age else "",
        "Perceived": say_gender(gender).removeprefix("perceived ") if gender else "",
        "Notes": ", ".join(track.best.warnings),
    }


def _show_downloads(work: Work, result: VideoResult) -> None:
    stem, model = PurePath(work.video.name).stem, work.choices.model

    def tracks() -> str:
        return to_json(videos_document(model, [result.to_dict()]))

    def frames() -> str:
        return to_json({"model": model, "path": work.video.name, "frames": work.looks})

    with st.container(horizontal=True):
        if work.copy:
            blurred = work.choices.blur
            label = "Blurred video" if blurred else "Annotated video"
            offer_download(label, lambda: work.copy, f"{stem}.{'blurred' if blurred else 'annotated'}.mp4")
        offer_download("People as CSV", lambda: tracks_csv([result.to_dict()]), f"{stem}.people.csv")
        offer_download("People as JSON", tracks, f"{stem}.people.json")
        offer_download("Frames as JSON", frames, f"{stem}.frames.json")


def _work() -> Work | None:
    work: Work | None = st.session_state.get(_WORK)
    return work


def _forget() -> None:
    work: Work | None = st.session_state.pop(_WORK, None)
    if work is not None:
        work.job.stop()
    file_id: str | None = st.session_state.pop(_FILE, None)
    if file_id is not None:
        forget_upload(file_id)


def _me() -> str:
    context = get_script_run_ctx()
    return context.session_id if context is not None else ""


@st.cache_resource(max_entries=1, show_spinner=False)
def _turns() -> Turns:
    """One video at a time: each keeps all cores busy."""
    return Turns(1)
