"""Widgets for every page."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, Literal

import cv2
import numpy as np
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray
from streamlit.delta_generator import DeltaGenerator
from streamlit.runtime.pages_manager import PagesManager

from agegender import charts


def ensure_menu() -> None:
    """Opens the page through ``app.py`` where Streamlit opened it without.

    A server that has not run ``app.py`` yet takes ``pages/`` for its older kind of app. Whoever comes first,
    and comes by a link to a page, would get it without the menu, the title and the width.
    """
    if PagesManager.uses_pages_directory:
        PagesManager.uses_pages_directory = False
        st.rerun()


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
        settings = [cv2.IMWRITE_JPEG_QUALITY, 92]
        picture = cv2.imencode(".jpg", picture[..., ::-1], settings)[1].tobytes()
    st.image(jpeg_address(picture), width=width, alt=alt)


def jpeg_address(file: bytes) -> str:
    """An address that holds a JPEG file, so that nobody has to be asked for it."""
    return f"data:image/jpeg;base64,{base64.b64encode(file).decode('ascii')}"


def quote(name: str) -> str:
    """Puts a file name into Markdown letter by letter: nothing in it can become a link or a picture."""
    return f"`{name.replace('`', chr(0x2019))}`"
