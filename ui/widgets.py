"""Widgets for every page."""

from __future__ import annotations

import plotly.graph_objects as go
import streamlit as st
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


def show_chart(figure: go.Figure, *, key: str, caption: bool = True) -> None:
    """Shows a figure of `agegender.charts` with its sentence, for all readers or for screen readers only.

    Args:
        figure: The figure.
        key: Unique on the page.
        caption: Whether the sentence is also shown below the figure.
    """
    sentence = charts.description(figure)
    st.plotly_chart(figure, key=key, alt=sentence, config={"displayModeBar": False})
    if caption:
        st.caption(sentence)


def quote(name: str) -> str:
    """Puts a file name into Markdown letter by letter: nothing in it can become a link or a picture."""
    return f"`{name.replace('`', chr(0x2019))}`"
