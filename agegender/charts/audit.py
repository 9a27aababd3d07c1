"""Figures about what an audit found: labels in conflict, and the parts of a split side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import plotly.graph_objects as go

from agegender.charts.style import BLUE, FAINT, GREEN, GREY, VERMILLION, make_figure

if TYPE_CHECKING:
    import pandas as pd

_LONGEST_GAP: Final = 20
"""Years; larger differences share the last bar."""

_SPLIT_MARKS: Final = {
    "train": (GREY, "line-ns-open", 16),
    "validation": (BLUE, "circle", 10),
    "test": (VERMILLION, "diamond", 10),
    "dev": (GREEN, "square", 9),
}


def label_gaps(pairs_by_gap: Mapping[int, int]) -> go.Figure:
    """Draws by how many years two labels of one photo differ.

    Args:
        pairs_by_gap: How many pairs of files of one photo differ by each whole number of years; at least one
            pair.

    Returns:
        One bar a year, the last one for all from 20 years on.
    """
    gaps = np.repeat(list(pairs_by_gap), list(pairs_by_gap.values()))
    counts = np.bincount(np.minimum(gaps, _LONGEST_GAP), minlength=_LONGEST_GAP + 1)
    shares = counts / len(gaps)
    years = np.arange(_LONGEST_GAP + 1)
    names = [*(str(year) for year in years[:-1]), f"{_LONGEST_GAP} or more"]
    bars = {
        "type": "bar",
        "x": years,
        "y": shares,
        "customdata": [
            f"{name} years apart: {count:,} pairs" for name, count in zip(names, counts, strict=True)
        ],
        "marker": {"color": BLUE, "line": {"width": 0}},
        "hovertemplate": "%{customdata} (%{y:.1%})<extra></extra>",
    }
    return make_figure(
        [bars],
        f"Of {len(gaps):,} pairs of copies {shares[0]:.0%} carry the same age, "
        f"{(gaps > 5).mean():.0%} ages more than 5 years apart and {(gaps > 10).mean():.0%} more than 10.",
        height=260,
        xaxis={
            "title": {"text": "difference of the two ages (years)"},
            "tickvals": [0, 5, 10, 15, _LONGEST_GAP],
            "ticktext": ["0", "5", "10", "15", f"{_LONGEST_GAP}+"],
        },
        yaxis={"title": {"text": "share of pairs"}, "tickformat": ".0%"},
        bargap=0.1,
    )


def gaps_by_band(bands: Sequence[str], gaps: Sequence[float], pairs: Sequence[int]) -> go.Figure:
    """Draws how far two labels of one photo are apart at each age.

    Args:
        bands: Names of the age bands, youngest first; at least one.
        gaps: Mean difference of a pair's ages in each, in years.
        pairs: How many pairs that rests on.

    Returns:
        One bar a band.
    """
    bars = {
        "type": "bar",
        "x": list(bands),
        "y": list(gaps),
        "customdata": list(pairs),
        "marker": {"color": GREEN, "line": {"width": 0}},
        "hovertemplate": "%{x} years: %{y:.1f} years apart (%{customdata:,} pairs)<extra></extra>",
    }
    most = int(np.argmax(gaps))
    return make_figure(
        [bars],
        f"Two labels of one photo are {gaps[0]:.1f} years apart at {bands[0]} years, and most, "
        f"{gaps[most]:.1f} years, at {bands[most]}.",
        height=260,
        xaxis={"title": {"text": "age (mean of the two labels)"}, "type": "category"},
        yaxis={"title": {"text": "mean difference (years)"}},
        bargap=0.2,
    )


def split_shares(balance: pd.DataFrame) -> go.Figure:
    """Draws the make-up of the parts of a split side by side.

    Args:
        balance: Result of `agegender.audit.split_report.split_balance`, of at least one file.

    Returns:
        One row a value, one mark a part that has files; a grey bar spans what chance alone does to parts as
        small as the test split, or the smallest where there is none.
    """
    sizes = balance.groupby("split")["files"].sum()
    sizes = sizes[sizes > 0]
    small = "test" if "test" in sizes else str(sizes.idxmin())
    test = balance[balance["split"] == small]
    balance = balance[balance["split"].isin(sizes.index)]
    chance = {
        "type": "bar",
        "orientation": "h",
        "y": test["value"],
        "base": test["low"],
        "x": test["high"] - test["low"],
        "name": "by chance",
        "marker": {"color": FAINT, "line": {"width": 0}},
        "hoverinfo": "skip",
    }
    marks = []
    for split, (color, symbol, size) in _SPLIT_MARKS.items():
        part = balance[balance["split"] == split]
        if part.empty:
            continue
        marks.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": part["share"],
                "y": part["value"],
                "name": split,
                "customdata": part["files"],
                "marker": {
                    "color": color,
                    "symbol": symbol,
                    "size": size,
                    "line": {"width": 3, "color": color},
                }
                if symbol.endswith("open")
                else {"color": color, "symbol": symbol, "size": size},
                "hovertemplate": "%{y}: %{x:.1%} of " + split + " (%{customdata:,})<extra></extra>",
            }
        )
    shares = balance.groupby("value", sort=False)["share"]
    apart = 100 * float((shares.max() - shares.min()).max())
    return make_figure(
        [chance, *marks],
        f"Shares of the parts are at most {apart:.1f} percentage points apart. Grey spans where the share of "
        f"a part as small as the {small} split would lie 19 times of 20 by chance.",
        height=70 + 34 * len(test),
        xaxis={"tickformat": ".0%", "rangemode": "tozero"},
        yaxis={"autorange": "reversed", "type": "category"},
        legend=True,
        bargap=0.4,
    )
