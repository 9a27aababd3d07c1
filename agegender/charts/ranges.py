"""Figures of age ranges: which were answered for which, and what systems say of one face."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from agegender.charts.style import BLUE, FAINT, VERMILLION, make_figure
from agegender.labels import AGE_BAND_NAMES, say_span
from agegender.prediction import AgeEstimate

_CONFUSION_HEIGHT: Final = 420
_MOST: Final = 0.5  # of a row: such cells are deep enough for white text, others pale enough for the page's
_CELL_COLORS: Final = (
    (0.0, "rgba(0,114,178,0)"),
    (_MOST, "rgba(0,114,178,0.3)"),
    (_MOST, "rgba(0,84,132,0.85)"),
    (1.0, "rgba(0,84,132,1)"),
)
_AXIS_END: Final = 100  # years; older answers are rare, and a common axis lets faces be compared


def range_confusion(confusion: ArrayLike) -> go.Figure:
    """Draws which of the nine age ranges were answered for which.

    Args:
        confusion: Counts of shape (9, 9): rows by the labelled range, columns by the answered one.

    Returns:
        A heatmap of the share of each row, with the counts under the pointer.

    Raises:
        ValueError: The counts are of another shape.
    """
    counts = np.asarray(confusion, dtype=np.int64)
    size = len(AGE_BAND_NAMES)
    if counts.shape != (size, size):
        raise ValueError(f"expected counts of shape ({size}, {size}), received {counts.shape}")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [say_span(name) for name in AGE_BAND_NAMES]
    trace = {
        "type": "heatmap",
        "x": names,
        "y": names,
        "z": shares,
        "zmin": 0,
        "zmax": 1,
        "colorscale": _CELL_COLORS,
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
        "customdata": np.dstack([counts, np.broadcast_to(counts.sum(axis=1, keepdims=True), counts.shape)]),
        "hovertemplate": "labelled %{y}, answered %{x}: %{customdata[0]} of %{customdata[1]} (%{z:.1%})"
        "<extra></extra>",
    }
    # Plotly's own labels would take their colour from the cell as if the page behind were white.
    labels = [
        {"x": names[column], "y": names[row], "text": f"{100 * shares[row, column]:.0f}", "showarrow": False}
        | ({"font": {"color": "white"}} if shares[row, column] >= _MOST else {})
        for row, column in np.argwhere(shares >= 0.005)
    ]
    return make_figure(
        [trace],
        _say_confusion(counts, shares, names),
        height=_CONFUSION_HEIGHT,
        xaxis={"title": {"text": "answered range"}, "type": "category", "showgrid": False},
        yaxis={
            "title": {"text": "labelled range"},
            "type": "category",
            "autorange": "reversed",
            "showgrid": False,
        },
        annotations=labels,
    )


def _say_confusion(counts: Any, shares: Any, names: Sequence[str]) -> str:
    total = counts.sum()
    if not total:
        return "No face was measured."
    rows, columns = np.indices(counts.shape)
    near = counts[np.abs(rows - columns) <= 1].sum() / total
    wrong = np.where(rows == columns, -1.0, shares)
    row, column = divmod(int(np.argmax(wrong)), len(names))
    return (
        f"Percent of each labelled range, on the diagonal those answered as labelled: "
        f"{100 * np.trace(counts) / total:.1f} % of all faces, and {100 * near:.1f} % at most one range off. "
        f"Most often mistaken: {names[row]} for {names[column]}, {100 * shares[row, column]:.0f} % of them."
    )


def answer_ranges(answers: Mapping[str, AgeEstimate]) -> go.Figure:
    """Draws what several systems say of the age of one face.

    Args:
        answers: Each system's name and its estimate, the first on top.

    Returns:
        One row a system: a blue bar for its interval, an orange mark for its answer, whose number stands
        behind the bar. The axis goes from 0 to 100 years, further only where an interval does.
    """
    names = list(answers)
    ages = list(answers.values())
    end = max([_AXIS_END, *(math.ceil(age.high) for age in ages)])
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": names,
        "base": [age.low for age in ages],
        "x": [max(age.high - age.low, 0.5) for age in ages],
        "marker": {"color": BLUE, "opacity": 0.4, "line": {"width": 0}},
        "customdata": [[age.low, age.high] for age in ages],
        "hovertemplate": "%{y}: %{customdata[0]:.0f}–%{customdata[1]:.0f} years<extra></extra>",
    }
    marks = {
        "type": "scatter",
        "mode": "markers",
        "x": [age.years for age in ages],
        "y": names,
        "marker": {"symbol": "line-ns", "size": 18, "line": {"color": VERMILLION, "width": 3}},
        "hovertemplate": "%{y}: about %{x:.0f} years<extra></extra>",
    }
    numbers = {
        "type": "scatter",
        "mode": "text",
        "x": [age.high for age in ages],
        "y": names,
        "text": [f"{age.years:.0f}" for age in ages],
        "textposition": "middle right",
        "cliponaxis": False,
        "hoverinfo": "skip",
    }
    said = ", ".join(
        f"{name} {age.years:.0f} ({age.low:.0f}–{age.high:.0f})" for name, age in answers.items()
    )
    return make_figure(
        [bars, marks, numbers],
        f"The age in years each system answers, and its interval: {said}.",
        height=52 + 34 * max(len(names), 1),
        xaxis={"range": [0, end], "dtick": 20, "title": {"text": "years"}, "gridcolor": FAINT},
        yaxis={"autorange": "reversed", "type": "category"},
        bargap=0.45,
    )
