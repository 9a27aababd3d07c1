"""Figures that lay several systems side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import plotly.graph_objects as go

from agegender.charts.style import (
    BLUE,
    GREEN,
    GREY,
    PURPLE,
    VERMILLION,
    escape,
    interval_bars,
    make_figure,
)
from agegender.labels import AGE_BAND_NAMES, say_source, say_span

Entry = Mapping[str, Any]
Figure = Literal["mae", "gender_accuracy"]
Cost = Literal["parameters", "megabytes", "ms_per_face"]

_COLORS: Final = (BLUE, VERMILLION, GREEN, PURPLE)
_SYMBOLS: Final = (
    *("circle", "square", "diamond", "triangle-up"),
    *("circle-open", "square-open", "diamond-open", "triangle-up-open"),
    *("cross", "x", "star", "hexagon"),
)
_DASHES: Final = ("solid", "dash", "dot")

TEST_SET: Final = "UTKFace test"
"""What the test split is called beside photos of other sources."""

MAX_SYSTEMS: Final = len(_SYMBOLS)
"""How many systems one figure can tell apart; the looks of later ones repeat."""

_TITLES: Final[Mapping[Figure, str]] = {"mae": "mean absolute error (years)", "gender_accuracy": "accuracy"}
_FORMATS: Final[Mapping[Figure, str]] = {"mae": ".2f", "gender_accuracy": ".1%"}
_COST_TITLES: Final[Mapping[Cost, str]] = {
    "parameters": "parameters",
    "megabytes": "megabytes of weight files",
    "ms_per_face": "milliseconds a face",
}
_COST_FORMATS: Final[Mapping[Cost, str]] = {"parameters": ".3s", "megabytes": ".1f", "ms_per_face": ".1f"}
_SHARE: Final = ".1~%"  # 56 %, and 55.5 % where ticks are close
_GROUPINGS: Final = ("by_gender", "by_ethnicity")

_HEIGHT: Final = 340  # pixels, and more for each line of the legend
_LEGEND_LINE: Final = 20
_BREAK: Final = "<br>"  # in a name too long for two beside each other on a phone, before its brackets


@dataclass(frozen=True)
class _Look:
    """How one system is drawn, the same in every figure."""

    color: str
    symbol: str
    dash: str


def trade_off(entries: Sequence[Entry], figure: Figure, cost: Cost, order: Sequence[str]) -> go.Figure:
    """Draws how good systems are against what they cost.

    Args:
        entries: Entries of `agegender.reports.comparison.compare_models`; those without the figure or
            the cost are left out.
        figure: The quantity upwards.
        cost: The quantity to the right.
        order: Names of all systems there are; a system's colour and symbol go by its place here.

    Returns:
        One point a system, with its bootstrap interval where it has one.
    """
    looks, form, cost_form = _looks(order), _FORMATS[figure], _COST_FORMATS[cost]
    known = [entry for entry in entries if None not in (entry.get(figure), entry.get(cost))]
    traces = [
        {
            **_points(entry["name"], looks[entry["name"]], size=12),
            "x": [entry[cost]],
            "y": [entry[figure]],
            "error_y": _error_bars([entry], figure),
            "hovertemplate": f"%{{y:{form}}}, %{{x:{cost_form}}} {_COST_TITLES[cost]}",
        }
        for entry in known
    ]
    sentence = f"{_lead(figure)} against {_COST_TITLES[cost]}."
    if len(known) > 1:
        best = (min if figure == "mae" else max)(known, key=lambda entry: entry[figure])
        least = min(known, key=lambda entry: entry[cost])
        sentence += f" Best is {best['name']} with {best[figure]:{form}}"
        sentence += (
            ", which also needs least."
            if best is least
            else f"; {least['name']} needs least and gets to {least[figure]:{form}}."
        )
    xaxis = {"title": {"text": _COST_TITLES[cost]}, "rangemode": "tozero"}
    return _figure(traces, sentence.replace("%", " %"), figure, xaxis=xaxis)


def band_lines(entries: Sequence[Entry], figure: Figure, order: Sequence[str]) -> go.Figure:
    """Draws a quantity over the nine age bands, a line a system.

    Args:
        entries: Entries of `agegender.reports.comparison.compare_models` with ``by_band``.
        figure: Which quantity.
        order: As for `trade_off`.

    Returns:
        The figure. Bands without a figure leave a gap.
    """
    looks, form = _looks(order), _FORMATS[figure]
    traces, sentences = [], [f"{_lead(figure)} by labelled age."]
    for entry in entries:
        bands = [entry["by_band"].get(name, {}) for name in AGE_BAND_NAMES]
        values = [band.get(figure) for band in bands]
        known = {name: v for name, v in zip(AGE_BAND_NAMES, values, strict=True) if v is not None}
        if not known:
            continue
        traces.append(
            {
                **_line(entry["name"], looks),
                "x": [say_span(name) for name in AGE_BAND_NAMES],
                "y": values,
                "customdata": [band.get("n") for band in bands],
                "hovertemplate": f"%{{y:{form}}} (%{{customdata}} faces)",
            }
        )
        best, worst = (pick(known, key=lambda name: known[name]) for pick in (min, max))
        if figure != "mae":
            best, worst = worst, best
        sentences.append(
            f"{entry['name']}: best at {say_span(best)} ({known[best]:{form}}), worst at {say_span(worst)} "
            f"({known[worst]:{form}})."
        )
    xaxis = {"title": {"text": "labelled age"}, "type": "category"}
    sentence = " ".join(sentences).replace("%", " %")
    return _figure(traces, sentence, figure, xaxis=xaxis, hovermode="x unified")


def group_points(entries: Sequence[Entry], figure: Figure, order: Sequence[str]) -> go.Figure:
    """Draws a quantity for each labelled gender and ethnicity code, with bootstrap intervals.

    Args:
        entries: Entries of `agegender.reports.comparison.compare_models` with ``by_gender`` and
            ``by_ethnicity``.
        figure: Which quantity.
        order: As for `trade_off`.

    Returns:
        One row a group, one point a system.
    """
    looks, form = _looks(order), _FORMATS[figure]
    traces, sentences = [], [f"{_lead(figure)} by group, with bootstrap intervals."]
    for entry in entries:
        groups = {name: group for key in _GROUPINGS for name, group in entry.get(key, {}).items()}
        known = {name: group for name, group in groups.items() if group.get(figure) is not None}
        if not known:
            continue
        traces.append(
            {
                **_points(entry["name"], looks[entry["name"]], size=9),
                "x": [group[figure] for group in known.values()],
                "y": list(known),
                "error_x": _error_bars(list(known.values()), figure),
                "orientation": "h",
                "customdata": [group["n"] for group in known.values()],
                "hovertemplate": f"%{{y}}: %{{x:{form}}} (%{{customdata}} faces)",
            }
        )
        least, most = (pick(known, key=lambda name: known[name][figure]) for pick in (min, max))
        sentences.append(
            f"{entry['name']}: from {known[least][figure]:{form}} ({least}) to {known[most][figure]:{form}} "
            f"({most})."
        )
    rows = len({name for trace in traces for name in trace["y"]})
    every = [group for entry in entries for key in _GROUPINGS for group in entry.get(key, {}).values()]
    ends = [
        end
        for group in every
        if group.get(figure) is not None
        for end in (group[figure], *(group.get(f"{figure}_interval") or ()))
    ]
    axis: dict[str, Any] = {"title": {"text": _TITLES[figure]}} | _ticks(figure)
    if figure != "mae" and ends:  # grouped points would begin at zero
        room = 0.05 * (max(ends) - min(ends)) or 0.01
        axis["range"] = [min(ends) - room, max(ends) + room]
    return make_figure(
        traces,
        " ".join(sentences).replace("%", " %"),
        height=90 + rows * (20 + 12 * len(traces)) + _legend_height(traces),
        xaxis=axis,
        yaxis={"autorange": "reversed", "type": "category"},
        legend=True,
        scattermode="group",
        scattergap=0.35,
    )


def set_lines(entries: Sequence[Entry], order: Sequence[str]) -> go.Figure:
    """Draws the accuracy of gender on the test split and on photos of other sources, a line a system.

    Args:
        entries: Entries of `agegender.reports.comparison.compare_models` with ``sets``.
        order: As for `trade_off`.

    Returns:
        The figure, with bootstrap intervals where there are any; a set without a figure leaves a gap.
    """
    looks, form = _looks(order), _FORMATS["gender_accuracy"]
    names = list(dict.fromkeys(name for entry in entries for name in entry.get("sets", {})))
    traces, sentences = [], ["Accuracy of gender on the test split, then on photos of other sources."]
    for entry in entries:
        rows = [entry, *(entry.get("sets", {}).get(name, {}) for name in names)]
        values = [row.get("gender_accuracy") for row in rows]
        if values[0] is None or not any(value is not None for value in values[1:]):
            continue
        spread = [
            row if value is not None else {"gender_accuracy": 0}
            for row, value in zip(rows, values, strict=True)
        ]
        traces.append(
            {
                **_line(entry["name"], looks, size=9),
                "x": [TEST_SET, *map(say_source, names)],
                "y": values,
                "error_y": _error_bars(spread, "gender_accuracy"),
                "customdata": [row.get("n") for row in rows],
                "hovertemplate": f"%{{y:{form}}} (%{{customdata:,}} faces)",
            }
        )
        least = min(value for value in values[1:] if value is not None)
        sentences.append(f"{entry['name']}: from {values[0]:{form}} to {least:{form}}.")
    sentence = " ".join(sentences).replace("%", " %")
    return _figure(traces, sentence, "gender_accuracy", xaxis={"type": "category"}, hovermode="x unified")


def reliability_diagram(entries: Sequence[Entry], order: Sequence[str]) -> go.Figure:
    """Draws how often gender is right against how sure the system says it is.

    The diagram of DeGroot and Fienberg (The Statistician 32, 1983), as Guo et al. (ICML 2017) use it.

    Args:
        entries: Entries of `agegender.reports.comparison.compare_models` with ``reliability`` and ``ece``.
        order: As for `trade_off`.

    Returns:
        One line a system. On the dotted diagonal a probability means what it says.
    """
    looks = _looks(order)
    diagonal = {
        "type": "scatter",
        "x": [0.5, 1],
        "y": [0.5, 1],
        "mode": "lines",
        "line": {"color": GREY, "dash": "dot", "width": 2},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    traces: list[dict[str, Any]] = []
    sentences = [
        "How often gender is as labelled, by how sure the system says it is; under the dots, too sure."
    ]
    for entry in entries:
        bins = entry.get("reliability") or ()
        if not bins:
            continue
        traces.append(
            {
                **_line(entry["name"], looks),
                "x": [row["confidence"] for row in bins],
                "y": [row["accuracy"] for row in bins],
                "customdata": [row["n"] for row in bins],
                "hovertemplate": "says %{x:.1%}, right %{y:.1%} (%{customdata} faces)",
            }
        )
        if entry.get("ece") is not None:
            sentences.append(f"{entry['name']}: off by {100 * entry['ece']:.1f} points on average.")
    ticks = {"tickformat": _SHARE}
    return make_figure(
        [diagonal, *traces],
        " ".join(sentences),
        height=_HEIGHT + _legend_height(traces),
        xaxis={"title": {"text": "stated probability"}, "range": [0.49, 1.01], **ticks},
        yaxis={"title": {"text": "share that is right"}, **ticks},
        legend=True,
    )


def _looks(order: Sequence[str]) -> dict[str, _Look]:
    return {
        name: _Look(
            _COLORS[place % len(_COLORS)],
            _SYMBOLS[place % len(_SYMBOLS)],
            _DASHES[place // len(_COLORS) % len(_DASHES)],
        )
        for place, name in enumerate(order)
    }


def _points(name: str, look: _Look, *, size: int) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": escape(name).replace(" (", _BREAK + "("),
        "marker": {
            "color": look.color,
            "symbol": look.symbol,
            "size": size,
            "line": {"width": 2, "color": look.color},
        },
    }


def _line(name: str, looks: Mapping[str, _Look], *, size: int = 8) -> dict[str, Any]:
    look = looks[name]
    line = {"color": look.color, "dash": look.dash, "width": 2}
    return {**_points(name, look, size=size), "mode": "lines+markers", "line": line}


def _error_bars(rows: Sequence[Entry], figure: Figure) -> dict[str, Any]:
    return interval_bars(
        [(row[figure], *(row.get(f"{figure}_interval") or (row[figure], row[figure]))) for row in rows]
    )


def _figure(
    traces: list[dict[str, Any]], sentence: str, figure: Figure, *, xaxis: dict[str, Any], **layout: Any
) -> go.Figure:
    return make_figure(
        traces,
        sentence,
        height=_HEIGHT + _legend_height(traces),
        xaxis=xaxis,
        yaxis={"title": {"text": _TITLES[figure]}} | _ticks(figure),
        legend=True,
        **layout,
    )


def _ticks(figure: Figure) -> dict[str, Any]:
    return {"rangemode": "tozero"} if figure == "mae" else {"tickformat": _SHARE}


def _legend_height(traces: Sequence[Any]) -> int:
    """Room for a legend that on a phone holds two names a line."""
    lines = math.ceil(len(traces) / 2) + sum(_BREAK in trace.get("name", "") for trace in traces)
    return _LEGEND_LINE * lines


def _lead(figure: Figure) -> str:
    return "Age error in years" if figure == "mae" else "Accuracy of gender"
