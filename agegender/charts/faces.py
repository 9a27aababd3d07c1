"""Figures about one face, small enough for a card."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from agegender.charts.style import BLUE, FAINT, GENDER_COLORS, GREY, VERMILLION, escape, make_figure
from agegender.labels import GENDERS
from agegender.prediction import AgeEstimate, GenderEstimate
from agegender.wording import say_probability

_AXIS_END: Final = 100
"""Years. Older labels are rare, and a common axis lets faces be compared."""


def age_chart(age: AgeEstimate) -> go.Figure:
    """Draws how old a face looks: the distribution where there is one, else the interval alone.

    Args:
        age: The estimate, in years.

    Returns:
        A figure 110 or 72 pixels high, without a vertical axis. The interval is blue, the estimate a
        vermillion line. The axis goes from 0 to 100 years, further only where the interval does.
    """
    end = max(_AXIS_END, round(age.high))
    if age.distribution is None:
        traces = [_hover_target(age)]
        shapes = [_band(0, end, 0.35, 0.65, FAINT), _band(age.low, age.high, 0.2, 0.8, BLUE)]
        height = 72
    else:
        traces = _year_bars(age, age.distribution)
        shapes = [_band(age.low, age.high, 0, 1, BLUE) | {"opacity": 0.14, "layer": "below"}]
        height = 110
    estimate = {
        "type": "line",
        "x0": age.years,
        "x1": age.years,
        "y0": 0,
        "y1": 1,
        "yref": "paper",
        "line": {"color": VERMILLION, "width": 3},
    }
    return make_figure(
        traces,
        f"Looks about {age.years:.0f}; the shaded interval goes from {age.low:.0f} to {age.high:.0f} years.",
        height=height,
        xaxis={"range": [-0.5, end + 0.5], "dtick": 20, "showgrid": False, "zeroline": False},
        yaxis={"visible": False, "rangemode": "tozero"},
        side=12,
        shapes=[*shapes, estimate],
        barmode="overlay",
        bargap=0.1,
    )


def _hover_target(age: AgeEstimate) -> dict[str, Any]:
    """An invisible trace: of shapes alone Plotly draws no axis, and they answer to no pointer."""
    return {
        "type": "scatter",
        "x": [age.years],
        "y": [0.5],
        "mode": "markers",
        "marker": {"size": 24, "opacity": 0},
        "hovertemplate": "%{x:.0f} years<extra></extra>",
    }


def _year_bars(age: AgeEstimate, distribution: NDArray[np.float32]) -> list[dict[str, Any]]:
    """Two traces of one bar a year: the years of the interval, and the others."""
    years = np.arange(len(distribution))
    inside = (years >= np.floor(age.low)) & (years <= np.ceil(age.high))
    return [
        {
            "type": "bar",
            "x": years[chosen],
            "y": distribution[chosen].astype(np.float64),
            "marker": {"color": color, "line": {"width": 0}},
            "hovertemplate": "%{x} years: %{y:.1%}<extra></extra>",
        }
        for chosen, color in ((inside, BLUE), (~inside, GREY))
    ]


def _band(low: float, high: float, bottom: float, top: float, color: str) -> dict[str, Any]:
    """A rectangle from ``low`` to ``high`` years, at shares ``bottom`` to ``top`` of the figure's height."""
    return {
        "type": "rect",
        "x0": low,
        "x1": high,
        "y0": bottom,
        "y1": top,
        "yref": "paper",
        "fillcolor": color,
        "line": {"width": 0},
    }


def gender_gauge(gender: GenderEstimate) -> go.Figure:
    """Draws the probabilities of both labels as one bar of two parts.

    Args:
        gender: The estimate.

    Returns:
        A figure 52 pixels high: female from the left, male from the right, a mark at one half. The likelier
        part is coloured, and neither where the estimate is too near one half to call.
    """
    male, female = GENDERS
    shares = {female: gender.female, male: 1 - gender.female}
    words = {label: f"{label} {say_probability(share)}" for label, share in shares.items()}
    called = None if gender.uncertain else gender.label
    traces = [
        {
            "type": "bar",
            "x": [share],
            "y": [""],
            "name": label,
            "orientation": "h",
            "marker": {"color": GENDER_COLORS[label] if label == called else FAINT, "line": {"width": 0}},
            "hovertemplate": f"{escape(words[label])}<extra></extra>",
        }
        for label, share in shares.items()
    ]
    annotations = [
        {
            "text": escape(words[label]),
            "x": x,
            "y": 1,
            "xref": "paper",
            "yref": "paper",
            "xanchor": anchor,
            "yanchor": "bottom",
            "showarrow": False,
        }
        for label, x, anchor in ((female, 0, "left"), (male, 1, "right"))
    ]
    middle = {"type": "line", "x0": 0.5, "x1": 0.5, "y0": 0, "y1": 1, "yref": "paper"}
    return make_figure(
        traces,
        f"Perceived gender: {words[female]}, {words[male]}{'' if called else ', too close to call'}.",
        height=52,
        xaxis={"visible": False, "range": [0, 1]},
        yaxis={"visible": False},
        top=24,
        side=2,
        barmode="stack",
        bargap=0,
        annotations=annotations,
        shapes=[middle | {"line": {"color": GREY, "width": 2}}],
    )
