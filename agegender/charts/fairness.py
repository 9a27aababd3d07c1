"""For whom a model is better or worse: one model's figures by group, weakest first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import plotly.graph_objects as go

from agegender.charts.style import BLUE, FAINT, GREEN, VERMILLION, interval_bars, make_figure
from agegender.labels import say_span

FairnessFigure = Literal["accuracy", "bias"]

_GROUPINGS: Final = (
    # (key of `measure_groups`, what it is by, colour, symbol)
    ("by_age", "age", BLUE, "circle"),
    ("by_gender", "gender", VERMILLION, "diamond"),
    ("by_ethnicity", "group", GREEN, "square"),
)
_ROW: Final = 24  # pixels
_ADDITIONAL: Final = 110


def fairness_points(groups: Mapping[str, Any], figure: FairnessFigure) -> go.Figure | None:
    """Draws how a model fares with each group of labelled age, gender and ethnicity.

    Args:
        groups: As `agegender.evaluation.groups.measure_groups` gives them.
        figure: "accuracy" of gender, or "bias" of age: predicted minus labelled years, where labels are
            ranges the years beyond the range.

    Returns:
        A row a group with its bootstrap interval, the weakest of each grouping first, and a line at what the
        model reaches over all; ``None`` where nothing was measured.
    """
    task = "gender" if figure == "accuracy" else "age"
    name = "accuracy"
    if figure == "bias":
        overall = groups.get("overall", {}).get("age", {})
        name = "bias" if (overall.get("bias") or {}).get("value") is not None else "bias_outside"
    known: list[tuple[str, str, Mapping[str, Any]]] = []
    traces: list[dict[str, Any]] = []
    for key, by, color, symbol in _GROUPINGS:
        found = {
            group: {**figures[task][name], "n": figures["n"]}
            for group, figures in groups.get(key, {}).items()
            if (figures.get(task, {}).get(name) or {}).get("value") is not None
        }
        ranked = sorted(found, key=lambda group: _goodness(found[group]["value"], figure))
        rows = [found[group] for group in ranked]
        if not rows:
            continue
        known += [(by, group, row) for group, row in zip(ranked, rows, strict=True)]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"by {by}",
                "x": [row["value"] for row in rows],
                "y": [say_span(group) for group in ranked],
                "marker": {"color": color, "symbol": symbol, "size": 10},
                "error_x": interval_bars([(row["value"], row["low"], row["high"]) for row in rows]),
                "customdata": [[row["low"], row["high"], row["n"]] for row in rows],
                "hovertemplate": (
                    "%{y}: %{x:.1%} (%{customdata[0]:.1%} to %{customdata[1]:.1%}), %{customdata[2]:,} faces"
                    if figure == "accuracy"
                    else "%{y}: %{x:+.1f} years (%{customdata[0]:+.1f} to %{customdata[1]:+.1f}), "
                    "%{customdata[2]:,} faces"
                )
                + "<extra></extra>",
            }
        )
    if not known:
        return None
    overall_value = groups["overall"][task][name]["value"] if figure == "accuracy" else 0.0
    title = "accuracy of gender" if figure == "accuracy" else "predicted minus labelled age, years"
    if name == "bias_outside":
        title = "years above (+) or below (−) the labelled range"
    return make_figure(
        traces,
        _describe(known, figure),
        height=_ADDITIONAL + _ROW * len(known),
        xaxis={"title": {"text": title}, **({"tickformat": ".0%"} if figure == "accuracy" else {})},
        yaxis={"autorange": "reversed", "type": "category"},
        legend=True,
        shapes=[
            {
                "type": "line",
                "x0": overall_value,
                "x1": overall_value,
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "line": {"color": FAINT, "width": 2},
            }
        ],
    )


def _goodness(value: float, figure: FairnessFigure) -> float:
    return value if figure == "accuracy" else -abs(value)


def _describe(known: list[tuple[str, str, Mapping[str, Any]]], figure: FairnessFigure) -> str:
    by, group, row = min(known, key=lambda found: _goodness(found[2]["value"], figure))
    best = max(known, key=lambda found: _goodness(found[2]["value"], figure))
    form = ".1%" if figure == "accuracy" else "+.1f"
    unit = "" if figure == "accuracy" else " years"
    ends = f"{row['low']:{form}} to {row['high']:{form}}"
    what = "Accuracy of gender" if figure == "accuracy" else "Age bias"
    return (
        f"{what} by group with 95% bootstrap intervals. Weakest by {by}: {group.replace('-', '–')} with "
        f"{row['value']:{form}}{unit} ({ends}, {row['n']:,} faces); best: {best[1].replace('-', '–')} "
        f"with {best[2]['value']:{form}}{unit}."
    ).replace("%", " %")
