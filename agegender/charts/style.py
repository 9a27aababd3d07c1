"""What all figures share: colours, margins, behaviour under a finger, and a sentence in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import plotly.graph_objects as go

# Okabe and Ito, "Color Universal Design", 2008, https://jfly.uni-koeln.de/color/. Of their eight colours
# only those with a contrast of 3 to 1 or more on white and on near-black: one figure serves both themes.
BLUE: Final = "#0072B2"
VERMILLION: Final = "#D55E00"
GREEN: Final = "#009E73"
PURPLE: Final = "#CC79A7"

GREY: Final = "#808080"
FAINT: Final = "rgba(128,128,128,0.25)"

GENDER_COLORS: Final[dict[str, str]] = {"male": BLUE, "female": VERMILLION}

_CLEAR: Final = "rgba(0,0,0,0)"


def description(figure: go.Figure) -> str:
    """The words for what a figure of this package shows.

    Args:
        figure: A figure made by a function of this package.

    Returns:
        One sentence, sometimes a few, for a caption or a screen reader.
    """
    return str(figure.layout.meta["description"])


def make_figure(
    traces: Sequence[dict[str, Any]],
    sentence: str,
    *,
    height: int,
    xaxis: dict[str, Any],
    yaxis: dict[str, Any],
    top: int = 8,
    side: int = 4,
    legend: bool = False,
    **layout: Any,
) -> go.Figure:
    """Builds a figure with the shared look.

    It is built at one stroke from plain dictionaries, which Plotly checks once: adding traces, shapes and
    axes one by one takes it ten times as long, and a page may show dozens of these figures.

    Args:
        traces: Plotly's traces, each with its ``type``.
        sentence: What the figure shows, in words.
        height: Of the whole figure, in pixels.
        xaxis: Settings of the axis beyond the shared ones.
        yaxis: Likewise.
        top: Upper margin, in pixels; a legend makes its own room.
        side: Left and right margin, in pixels; axis labels make their own room.
        legend: Whether to show one, above the plot, where it wraps on a narrow screen instead of squeezing
            the plot from the side.
        **layout: Further settings of Plotly's layout.

    Returns:
        The figure. `description` gives ``sentence`` back.

    Raises:
        ValueError: Plotly does not know a setting or its value.
    """
    shared_axis = {"automargin": True, "fixedrange": True}
    shared = {
        "height": height,
        "minreducedheight": 20,  # else the labels of an axis find no room in a figure under 64 pixels
        "margin": {"l": side, "r": side, "t": top, "b": 4},
        "paper_bgcolor": _CLEAR,
        "plot_bgcolor": _CLEAR,
        "showlegend": legend,
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        "dragmode": False,
        "meta": {"description": sentence},
        "xaxis": shared_axis | xaxis,
        "yaxis": shared_axis | yaxis,
    }
    return go.Figure({"data": list(traces), "layout": shared | layout})


def escape(text: str) -> str:
    """Keeps Plotly, which reads texts as a little HTML, from taking "<1 %" for a tag."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def interval_bars(measured: Sequence[tuple[float, float, float]]) -> dict[str, Any]:
    """Error bars for Plotly: of each point its value and both ends of its interval."""
    return {
        "type": "data",
        "symmetric": False,
        "arrayminus": [value - low for value, low, _ in measured],
        "array": [high - value for value, _, high in measured],
        "thickness": 1.5,
        "width": 4,
    }
