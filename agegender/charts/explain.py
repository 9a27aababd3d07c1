"""Figures that explain one answer: maps over the face, the distribution, the same face under other light."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Final, Literal

import cv2
import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from agegender.charts.style import BLUE, GREY, VERMILLION, escape, make_figure
from agegender.explain.contributions import ContributionMap
from agegender.explain.occlusion import OcclusionMap, exact_years
from agegender.explain.places import strongest_place
from agegender.explain.stability import Variant
from agegender.labels import GENDERS, Task
from agegender.prediction import AgeEstimate
from agegender.wording import say_probability

Unit = Literal["years", "log-odds", "points"]

_ENDS: Final[dict[Task, tuple[str, str]]] = {"age": ("younger", "older"), "gender": GENDERS}
_FORMATS: Final[dict[Unit, str]] = {"years": "+.1f", "log-odds": "+.2f", "points": "+.0f"}
_FAINTEST: Final[dict[Unit, float]] = {"years": 0.3, "log-odds": 0.05, "points": 2.0}
"""The full colour stands for at least this much: next to nothing must not look like something."""

_COLORS: Final = (
    # See-through where nothing is added, so that the face shows; never one colour through the other.
    (0.0, "rgba(0,114,178,0.8)"),
    (0.5, "rgba(0,114,178,0)"),
    (0.5, "rgba(213,94,0,0)"),
    (1.0, "rgba(213,94,0,0.8)"),
)
_MAP_HEIGHT: Final = 360
_DISTRIBUTION_HEIGHT: Final = 240


def contribution_chart(chip: NDArray[np.uint8], found: ContributionMap) -> go.Figure:
    """Draws what each place of a face adds to the answer.

    Args:
        chip: The face, RGB ``uint8`` of shape (height, width, 3).
        found: The contributions.

    Returns:
        The face in grey, orange where it looks older or *female*, blue where younger or *male*.
    """
    unit: Unit = "years" if found.task == "age" else "log-odds"
    low, high = _ENDS[found.task]
    parts = [
        f"mostly {word} around {place}"
        for word, place in (
            (high, strongest_place(found.values, sign=1)),
            (low, strongest_place(found.values, sign=-1)),
        )
        if place is not None
    ]
    sentence = f"What makes the face look {high} or {low}: {', '.join(parts) or 'nothing in particular'}."
    return _face_map(chip, found.values, found.task, unit, sentence)


def occlusion_chart(chip: NDArray[np.uint8], found: OcclusionMap, task: Task) -> go.Figure:
    """Draws what the answer loses when a place of the face is covered.

    Args:
        chip: The face, RGB ``uint8`` of shape (height, width, 3).
        found: The differences.
        task: Of which answer.

    Returns:
        The face in grey, orange where it looks older or more *female* because of that place, blue where
        younger or more *male*.

    Raises:
        ValueError: The model does not give that answer.
    """
    values = found.age if task == "age" else found.female
    if values is None:
        raise ValueError(f"there is no {task} in this occlusion map")
    largest = float(values.flat[int(np.abs(values).argmax())])
    place = strongest_place(values, sign=1 if largest > 0 else -1)
    if task == "age":
        change = f"the face looks {abs(largest):.1f} years {'younger' if largest > 0 else 'older'}"
    else:
        whole = found.whole[1].female if found.whole[1] else float("nan")
        after = say_probability(whole - largest)
        change = f"the probability of female goes from {say_probability(whole)} to {after}"
    sentence = (
        f"Most depends on {place}: covered, {change}." if place else "Covering a place changes nothing."
    )
    if task == "age":
        return _face_map(chip, values, task, "years", sentence)
    return _face_map(chip, 100 * values, task, "points", sentence)


def _face_map(
    chip: NDArray[np.uint8], values: NDArray[np.float64], task: Task, unit: Unit, sentence: str
) -> go.Figure:
    rows, columns = values.shape
    limit = max(float(np.abs(values).max()), _FAINTEST[unit])
    low, high = _ENDS[task]
    number = f"%{{z:{_FORMATS[unit]}}} {'points of probability' if unit == 'points' else unit}"
    heat = {
        "type": "heatmap",
        "z": values,
        # In shares of the chip, from the middle of the first place to that of the last.
        "x": (np.arange(columns) + 0.5) / columns,
        "y": (np.arange(rows) + 0.5) / rows,
        "zmin": -limit,
        "zmax": limit,
        "zsmooth": "best",
        "colorscale": [list(stop) for stop in _COLORS],
        "hovertemplate": f"{number}<extra></extra>",
        "colorbar": {
            "orientation": "h",
            "x": 0.5,
            "y": 0,
            "yanchor": "top",
            "ypad": 6,
            "thickness": 10,
            "len": 0.9,
            "outlinewidth": 0,
            "tickvals": [-limit, 0, limit],
            "ticktext": [_end(low, -limit, unit), "0", _end(high, limit, unit)],
        },
    }
    axis = {"visible": False, "constrain": "domain"}
    face = {
        "source": _as_uri(cv2.cvtColor(chip, cv2.COLOR_RGB2GRAY)),
        "xref": "x",
        "yref": "y",
        "x": 0,
        "y": 0,
        "sizex": 1,
        "sizey": 1,
        "layer": "below",
    }
    return make_figure(
        [heat],
        sentence,
        height=_MAP_HEIGHT,
        xaxis=axis | {"range": [0, 1]},
        yaxis=axis | {"range": [1, 0], "scaleanchor": "x"},
        images=[face],
    )


def _end(word: str, value: float, unit: Unit) -> str:
    suffix = "" if unit == "log-odds" else f" {unit}"
    return f"{word}<br>{value:{_FORMATS[unit]}}{suffix}".replace("-", "−")


def _as_uri(pixels: NDArray[Any]) -> str:
    """A grey picture as the address of itself, so that a figure needs no file."""
    encoded = cv2.imencode(".png", pixels)[1].tobytes()
    return f"data:image/png;base64,{base64.b64encode(encoded).decode('ascii')}"


def year_distribution(age: AgeEstimate) -> go.Figure:
    """Draws the predicted distribution over years.

    Args:
        age: The estimate, with its distribution.

    Returns:
        One bar a year, those of the interval in blue, and a line at the estimate.

    Raises:
        ValueError: The model gave no distribution.
    """
    if age.distribution is None:
        raise ValueError("this age has no distribution over years")
    years = np.arange(len(age.distribution))
    inside = (years >= np.floor(age.low)) & (years <= np.ceil(age.high))
    traces = [
        {
            "type": "bar",
            "x": years[chosen],
            "y": age.distribution[chosen].astype(np.float64),
            "name": name,
            "marker": {"color": color, "line": {"width": 0}},
            "hovertemplate": "%{x} years: %{y:.1%}<extra></extra>",
        }
        for chosen, name, color in ((inside, "in the interval", BLUE), (~inside, "outside", GREY))
    ]
    likeliest = int(age.distribution.argmax())
    estimate = {"type": "line", "x0": age.years, "x1": age.years, "y0": 0, "y1": 1, "yref": "paper"}
    shown = np.flatnonzero(age.distribution >= 0.001)
    first, last = (int(shown[0]), int(shown[-1])) if len(shown) else (0, len(years) - 1)
    return make_figure(
        traces,
        f"The likeliest single year is {likeliest}, the mean of all is {exact_years(age):.1f}, and "
        f"{say_probability(float(age.distribution[inside].sum()))} of the probability lies from "
        f"{age.low:.0f} to {age.high:.0f} years.",
        height=_DISTRIBUTION_HEIGHT,
        xaxis={"title": {"text": "years"}, "range": [max(first - 3, -0.5), last + 3]},
        yaxis={"title": {"text": "probability"}, "tickformat": ".0%", "rangemode": "tozero"},
        legend=True,
        barmode="overlay",
        bargap=0.1,
        shapes=[estimate | {"line": {"color": VERMILLION, "width": 3}}],
    )


def stability_chart(variants: Sequence[Variant], task: Task) -> go.Figure:
    """Draws the answers for versions of one face, a row each.

    Args:
        variants: The face as it is, then its versions, as `agegender.explain.vary` gives them.
        task: Of which answer.

    Returns:
        A dot a version and a line at the answer for the face as it is. For "age" the shaded band is its
        interval; for "gender" the axis goes from male to female.

    Raises:
        ValueError: The model does not give that answer.
    """
    names = [escape(variant.name) for variant in variants]
    if task == "age":
        ages = [variant.age for variant in variants if variant.age is not None]
        values = [exact_years(age) for age in ages]
    else:
        values = [variant.gender.female for variant in variants if variant.gender is not None]
    if len(values) != len(variants):
        raise ValueError(f"there is no {task} in these answers")
    first, low, high = values[0], min(values), max(values)
    axis: dict[str, Any]
    line: dict[str, Any] = {
        "type": "line",
        "x0": first,
        "x1": first,
        "y0": 0,
        "y1": 1,
        "yref": "paper",
        "layer": "below",
    }
    shapes = [line | {"line": {"color": GREY, "width": 1, "dash": "dot"}}]
    if task == "age":
        band = {"type": "rect", "x0": ages[0].low, "x1": ages[0].high, "y0": 0, "y1": 1, "yref": "paper"}
        shapes.append(band | {"fillcolor": BLUE, "opacity": 0.1, "line": {"width": 0}, "layer": "below"})
        sentence = f"Ages from {low:.1f} to {high:.1f} years; {first:.1f} for the face as it is."
        hover = "%{y}: %{x:.1f} years"
        left, right = min(low, ages[0].low), max(high, ages[0].high)
        room = 0.05 * (right - left) + 0.5
        axis = {"title": {"text": "years"}, "range": [left - room, right + room]}
    else:
        sentence = (
            f"Probability of female from {say_probability(low)} to {say_probability(high)}; "
            f"{say_probability(first)} for the face as it is."
        )
        hover = "%{y}: female %{x:.0%}"
        axis = {
            "range": [-0.03, 1.03],
            "tickvals": [0, 0.25, 0.5, 0.75, 1],
            "ticktext": ["male", "", "50 %", "", "female"],
        }
    dots = {
        "type": "scatter",
        "x": values,
        "y": names,
        "mode": "markers",
        "marker": {"size": 11, "color": [VERMILLION, *[BLUE] * (len(values) - 1)]},
        "hovertemplate": f"{hover}<extra></extra>",
    }
    return make_figure(
        [dots],
        sentence,
        height=70 + 26 * len(names),
        xaxis=axis,
        yaxis={"autorange": "reversed", "showgrid": True},
        side=28,  # half of the last tick's word
        shapes=shapes,
    )
