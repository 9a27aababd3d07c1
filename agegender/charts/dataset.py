"""Figures about the labels of a dataset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from agegender.charts.style import GENDER_COLORS, GREEN, GREY, make_figure
from agegender.labels import ETHNICITIES, GENDERS, MAX_AGE

_AGE_TITLE = {"text": "labelled age (years)"}


def age_histogram(table: pd.DataFrame) -> go.Figure:
    """Draws how many faces there are of each age, by gender.

    Args:
        table: One row a face, at least one, with the columns ``age`` (whole years, 0 to ``MAX_AGE``) and
            ``gender`` (code).

    Returns:
        Stacked bars, one a year.
    """
    traces = []
    for code, gender in enumerate(GENDERS):
        ages = table.loc[table["gender"] == code, "age"].to_numpy(dtype=np.int64)
        traces.append(
            {
                "type": "bar",
                "x": np.arange(MAX_AGE + 1),
                "y": np.bincount(ages, minlength=MAX_AGE + 1),
                "name": gender,
                "marker": {"color": GENDER_COLORS[gender], "line": {"width": 0}},
                "hovertemplate": "%{y:,}",
            }
        )
    low, middle, high = table["age"].quantile([0.25, 0.5, 0.75])
    return make_figure(
        traces,
        f"{len(table):,} faces by labelled age: the middle half are {low:.0f} to {high:.0f} years old, "
        f"the median is {middle:.0f}.",
        height=340,
        xaxis={"title": _AGE_TITLE, "dtick": 10},
        yaxis={"title": {"text": "faces"}},
        legend=True,
        barmode="stack",
        bargap=0.1,
        hovermode="x unified",
    )


def gender_balance(table: pd.DataFrame) -> go.Figure:
    """Draws how many faces carry each gender label.

    Args:
        table: One row a face, with the column ``gender`` (code).

    Returns:
        One horizontal bar a gender, with count and share.
    """
    return _balance(table["gender"], GENDERS, [GENDER_COLORS[gender] for gender in GENDERS], "gender")


def ethnicity_balance(table: pd.DataFrame) -> go.Figure:
    """Draws how many faces carry each of the dataset's ethnicity codes.

    Args:
        table: One row a face, with the column ``ethnicity`` (code; any other number counts as not given).

    Returns:
        One horizontal bar a code, with count and share.
    """
    return _balance(table["ethnicity"], ETHNICITIES, [GREEN] * len(ETHNICITIES), "ethnicity")


def ages_by_ethnicity(table: pd.DataFrame) -> go.Figure:
    """Draws the spread of ages for each of the dataset's ethnicity codes.

    Args:
        table: One row a face, with the columns ``age`` (years) and ``ethnicity`` (code).

    Returns:
        One box for each code that occurs: quartiles, with whiskers at the 5th and 95th percentile. A box
        carries these five numbers only, so the figure stays small however many faces there are.
    """
    traces, medians = [], []
    for code, name in enumerate(ETHNICITIES):
        ages = table.loc[table["ethnicity"] == code, "age"]
        if ages.empty:
            continue
        least, first, middle, third, most = ages.quantile([0.05, 0.25, 0.5, 0.75, 0.95])
        traces.append(
            {
                "type": "box",
                "y": [name],
                "lowerfence": [least],
                "q1": [first],
                "median": [middle],
                "q3": [third],
                "upperfence": [most],
                "orientation": "h",
                "line": {"color": GREEN},
                "hoverinfo": "x",
            }
        )
        medians.append(f"{name} {middle:.0f}")
    return make_figure(
        traces,
        f"Median labelled age: {', '.join(medians)}. Boxes hold half of the faces, whiskers 90 %.",
        height=400,
        xaxis={"title": _AGE_TITLE, "rangemode": "tozero"},
        yaxis={"autorange": "reversed"},
    )


def _balance(codes: pd.Series, names: Sequence[str], colors: Sequence[str], what: str) -> go.Figure:
    known = codes.isin(range(len(names)))
    values = np.bincount(codes[known].to_numpy(dtype=np.int64), minlength=len(names)).tolist()
    labels, fills = list(names), list(colors)
    if not known.all():
        labels.append("not given")
        fills.append(GREY)
        values.append(int((~known).sum()))
    texts = [f"{value:,} ({value / max(len(codes), 1):.0%})" for value in values]
    bars = {
        "type": "bar",
        "x": values,
        "y": labels,
        "orientation": "h",
        "text": texts,
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": fills, "line": {"width": 0}},
        "hoverinfo": "skip",
    }
    shares = ", ".join(f"{label} {text}" for label, text in zip(labels, texts, strict=True))
    return make_figure(
        [bars],
        f"Faces by {what} label: {shares}.",
        height=24 + 36 * len(labels),
        # Room on the right for the text of the longest bar.
        xaxis={"visible": False, "range": [0, 1.45 * max(*values, 1)]},
        yaxis={"autorange": "reversed"},
    )
