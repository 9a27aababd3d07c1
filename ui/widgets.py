"""Widgets for every page."""

from __future__ import annotations

import base64
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any, Final, Literal, TypeVar

import cv2
import numpy as np
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray
from streamlit.delta_generator import DeltaGenerator

from agegender import charts
from agegender.errors import AgeGenderError
from agegender.files import escape_no_text
from agegender.places import PRODUCT, weights_folders
from agegender.prediction import AgeEstimate, GenderEstimate, Prediction
from agegender.wording import say_age, say_gender

Item = TypeVar("Item")
Word = TypeVar("Word", bound=str)

UNFOUND: Final = (
    ":material/visibility: **A face that was not found stays visible**: turned away, covered, small or dark. "
    "Look through the copy before you pass it on."
)

_LOGGER: Final = logging.getLogger(__name__)
_DRAWING_WIDTH: Final = 420  # pixels at most; a card on a phone has less
_PATH: Final = re.compile(r"(?<![\w.:/\\])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\'\"`:;,)]+[/\\])*[^\s/\\'\"`:;,)]+")
"""A path from the root or from somebody's home; as PureWindowsPath reads it, either slash parts it."""


def show_link(page: str, label: str, icon: str, **query_params: str) -> None:
    """A link to another page.

    Args:
        page: Its file in ``pages/``, without its ending.
        label: What to click on.
        icon: See Streamlit.
        **query_params: Choices that its address carries.
    """
    st.page_link(PRODUCT / "pages" / f"{page}.py", label=label, icon=icon, query_params=query_params or None)


def show_failure(error: AgeGenderError, icon: str = ":material/model_training:") -> None:
    """Says what went wrong, without telling visitors where the server keeps its files; the log has it all."""
    _LOGGER.warning("%s", error)
    st.error(without_paths(str(error)), icon=icon)


def without_paths(text: str) -> str:
    """Takes folders out of a message: of a path its last part stays, or what lies below a known folder."""
    known = {PRODUCT, *(folder.parent for folder in weights_folders()), Path.cwd(), Path.home()}
    for folder in sorted(known, key=lambda folder: -len(str(folder))):
        if folder != folder.parent:
            text = text.replace(f"{folder}{os.sep}", "").replace(str(folder), folder.name)
    return _PATH.sub(lambda match: PureWindowsPath(match[0]).name or match[0], text)


def show_chart(
    figure: go.Figure,
    *,
    key: str,
    caption: bool = True,
    on_click: Callable[[Mapping[str, Any]], None] | None = None,
) -> None:
    """Shows a figure of `agegender.charts` with its sentence, for all readers or for screen readers only.

    Args:
        figure: The figure.
        key: Unique on the page.
        caption: Whether the sentence is also shown below the figure.
        on_click: Called before the page is drawn anew with what was clicked, as Plotly tells it: ``x`` and
            ``y``. What it does should be possible by keyboard too.
    """
    sentence = charts.description(figure)
    looks: dict[str, Any] = {"alt": sentence, "config": {"displayModeBar": False}}
    if on_click is None:
        st.plotly_chart(figure, key=key, **looks)
    else:
        # A chart keeps what was selected in it and greys the rest. Here a click means something once, so the
        # next chart is another one.
        turn = f"{key}_turn"
        current = f"{key}_{st.session_state.setdefault(turn, 0)}"

        def take() -> None:
            st.session_state[turn] += 1
            for point in st.session_state[current]["selection"]["points"][:1]:
                on_click(point)

        st.plotly_chart(figure, key=current, on_select=take, selection_mode="points", **looks)
    if caption:
        st.caption(sentence)


def choose_one(label: str, options: Iterable[Word], *, key: str, **looks: Any) -> Word:
    """Lets the visitor choose one of a few words, the first to begin with; the address carries it.

    Args:
        label: For people.
        options: The words; each is shown with a capital letter.
        key: Of the widget, and of the choice in the address.
        **looks: For `st.segmented_control`.
    """
    words = list(options)
    return st.segmented_control(
        label,
        words,
        default=words[0],
        required=True,
        format_func=lambda word: word[:1].upper() + word[1:],
        key=key,
        bind="query-params",
        **looks,
    )


def offer_download(
    label: str, data: str | Callable[[], bytes | str], file: str, *, help: str | None = None
) -> None:
    """A button that saves a file.

    Args:
        label: What to click on.
        data: The file's content, or what makes it when it is asked for.
        file: Its name, whose ending says what it is.
        help: What a question mark beside the label explains.
    """
    mime, icon = _FILES[PurePath(file).suffix]
    st.download_button(
        label,
        data,
        file,
        mime,
        key=f"download_{label}",
        icon=f":material/{icon}:",
        on_click="ignore",
        help=help,
    )


_FILES: Final = {
    ".csv": ("text/csv", "table"),
    ".json": ("application/json", "data_object"),
    ".md": ("text/markdown", "article"),
    ".mp4": ("video/mp4", "movie"),
    ".png": ("image/png", "image"),
    ".zip": ("application/zip", "folder_zip"),
}


def choose_part(items: Sequence[Item], size: int, what: str, *, key: str) -> Sequence[Item]:
    """Lets the visitor turn pages, where there is more than one.

    Args:
        items: What there is to show.
        size: How many at a time.
        what: Their name, in words.
        key: Of the widget.

    Returns:
        Those of the page.
    """
    if len(items) <= size:
        return items
    pages = -(-len(items) // size)
    with st.container(horizontal=True, vertical_alignment="center"):
        page = st.pagination(pages, key=key)
        first = size * (min(page, pages) - 1)
        st.caption(
            f"{what.capitalize()} {first + 1:,} to {min(first + size, len(items)):,} of {len(items):,}"
        )
    return items[first : first + size]


def show_tile(
    where: DeltaGenerator, label: str, value: str, *, note: str | None = None, help: str | None = None
) -> None:
    """Shows one number in a box, as high as its neighbours.

    Args:
        where: What the box is put into, such as a column or a row of boxes.
        label: What the number is.
        value: The number as text, with its unit.
        note: What belongs to it, in small letters below it.
        help: What a question mark beside the label explains.
    """
    where.metric(
        label,
        value,
        delta=note,
        delta_color="off",
        delta_arrow="off",
        border=True,
        height="stretch",
        help=help,
    )


def show_picture(
    picture: NDArray[np.uint8] | bytes, *, alt: str, width: int | Literal["stretch"] = "stretch"
) -> None:
    """Shows a picture that comes with the page itself.

    Streamlit would keep it at an address of its own until the visitor turns to something else, and a browser
    that is slower than they are would ask for it too late.

    Args:
        picture: RGB pixels of shape (height, width, 3), or a JPEG file.
        alt: What is to be seen, for those who do not see it.
        width: In CSS pixels, or as wide as there is room.
    """
    if not isinstance(picture, bytes):
        picture = encode(picture, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 92)
    st.image(jpeg_address(picture), width=width, alt=alt)


def show_face(face: Prediction, title: str, *, alt: str) -> None:
    """Shows a face, beside it what a model says of it, and what makes it hard to judge.

    Args:
        face: The face and its answer.
        title: Which one it is.
        alt: As of `show_picture`.
    """
    with st.container(horizontal=True, vertical_alignment="center"):
        show_picture(face.chip, width=96, alt=alt)
        with st.container(gap="xxsmall"):
            st.caption(title)
            if face.age is not None:
                st.markdown(f"**{say_age(face.age)}**")
            if face.gender is not None:
                st.markdown(say_gender(face.gender))
    show_warnings(face)


def show_warnings(face: Prediction) -> None:
    """Shows what makes a face hard to judge, a badge each."""
    if face.warnings:
        st.markdown(" ".join(f":orange-badge[:material/warning: {text}]" for text in face.warnings))


def encode(picture: NDArray[np.uint8], suffix: Literal[".jpg", ".png"], *settings: int) -> bytes:
    """Writes RGB pixels of shape (height, width, 3) as a file, with OpenCV's settings for it."""
    return bytes(cv2.imencode(suffix, picture[..., ::-1], settings)[1])


def show_drawing(age: AgeEstimate | None, gender: GenderEstimate | None) -> None:
    """Draws what a model says of a face, small."""
    ink = "#e7ecf1" if st.context.theme.type == "dark" else "#101820"  # as .streamlit/config.toml has it
    drawing = charts.draw_answer(age, gender, ink=ink)
    address = base64.b64encode(drawing.svg.encode()).decode("ascii")
    with st.container(width=_DRAWING_WIDTH):
        st.image(f"data:image/svg+xml;base64,{address}", width="stretch", alt=drawing.words)


def jpeg_address(file: bytes) -> str:
    """An address that holds a JPEG file, so that nobody has to be asked for it."""
    return f"data:image/jpeg;base64,{base64.b64encode(file).decode('ascii')}"


def quote(name: str) -> str:
    """Puts a file name into Markdown letter by letter: nothing in it can become a link or a picture."""
    return f"`{escape_no_text(name).replace('`', chr(0x2019))}`"
