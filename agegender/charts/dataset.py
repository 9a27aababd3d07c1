"""Figures about the labels of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from agegender.charts.style import GENDER_COLORS, GREEN, GREY, make_figure
from agegender.labels import GENDERS, MAX_AGE, NOT_GIVEN, group_codes, say_years

if TYPE_CHECKING:
    import pandas as pd

_AGE_TITLE = {"text": "labelled age (years)"}
_NOT_CHOSEN = 0.3
"""Opacity of the bars of what other figures leave out."""

_OPEN_YEARS = 20
"""Over how many years a range that is open above is drawn: "more than 70" until 89."""

_NAMED_RANGES = 9


def age_histogram(table: pd.DataFrame, ages: tuple[int, int] = (0, MAX_AGE)) -> go.Figure:
    """Draws how many faces there are of each age, by gender.

    Args:
        table: One row a face, at least one, with the columns ``age``, ``age_min`` and ``age_max`` (whole
            years, 0 to ``MAX_AGE``) and ``gender`` (code).
        ages: Youngest and oldest age the axis shows, in years.

    Returns:
        Stacked bars, one a year. Faces labelled with a range are spread evenly over its years, in hatched
        bars of their own; a range that is open above over the `_OPEN_YEARS` from its start.
    """
    exact = table[table["age_min"] == table["age_max"]]
    ranged = table[table["age_min"] < table["age_max"]]
    traces = []
    for faces, shape in ((exact, ""), (ranged, "/")):
        for code, gender in enumerate(GENDERS) if len(faces) else ():
            traces.append(
                {
                    "type": "bar",
                    "x": np.arange(MAX_AGE + 1),
                    "y": _faces_a_year(faces[faces["gender"] == code]),
                    "name": f"{gender}, by range" if shape and len(exact) else gender,
                    "marker": {
                        "color": GENDER_COLORS[gender],
                        "line": {"width": 0},
                        "pattern": {"shape": shape, "size": 5, "solidity": 0.35},
                    },
                    "hovertemplate": "%{y:,.0f}",
                }
            )
    low, middle, high = table["age"].quantile([0.25, 0.5, 0.75])
    sentence = (
        f"{len(table):,} faces by labelled age: the middle half are {low:.0f} to {high:.0f} years old, the "
        f"median is {middle:.0f}."
    )
    if len(ranged):
        spans = sorted(set(zip(ranged["age_min"].tolist(), ranged["age_max"].tolist(), strict=True)))
        words = [say_years(*span) for span in spans]
        named = ", ".join(words[:_NAMED_RANGES]) + (", …" if len(words) > _NAMED_RANGES else "")
        openly = f", or over {_OPEN_YEARS} where it is open above" if spans[-1][1] == MAX_AGE else ""
        sentence += f" Hatched: {len(ranged):,} labelled by range ({named}), spread over its years{openly}."
    return make_figure(
        traces,
        sentence,
        height=340,
        xaxis={
            "title": _AGE_TITLE,
            "range": [ages[0] - 0.5, ages[1] + 0.5],
            "dtick": 10 if ages[1] - ages[0] > 40 else 5 if ages[1] - ages[0] > 12 else 1,
        },
        yaxis={"title": {"text": "faces"}},
        legend=True,
        barmode="stack",
        bargap=0.1,
        hovermode="x unified",
    )


def _faces_a_year(faces: pd.DataFrame) -> NDArray[np.float64]:
    """How many faces each year has, ranges spread evenly over their years, shape (``MAX_AGE`` + 1,)."""
    low, high = (faces[name].to_numpy(np.int64) for name in ("age_min", "age_max"))
    openly = (low < high) & (high == MAX_AGE)
    last = np.where(openly, np.minimum(low + _OPEN_YEARS - 1, MAX_AGE), high)
    steps, share = np.zeros(MAX_AGE + 2), 1 / (last + 1 - low)
    np.add.at(steps, low, share)
    np.add.at(steps, last + 1, -share)
    return np.cumsum(steps)[:-1].round(6)


def gender_balance(table: pd.DataFrame, chosen: int | None = None) -> go.Figure:
    """Draws how many faces carry each gender label.

    Args:
        table: One row a face, with the column ``gender`` (code).
        chosen: The code that other figures are narrowed down to: the other bar is faint.

    Returns:
        One horizontal bar a gender, with count and share.
    """
    colors = [GENDER_COLORS[gender] for gender in GENDERS]
    return _balance(table["gender"], GENDERS, colors, "gender label", chosen)


def ethnicity_balance(table: pd.DataFrame, chosen: str | None = None) -> go.Figure:
    """Draws how many faces carry each of the words for ethnicity that their sources use.

    Args:
        table: One row a face, with the column ``group`` (words, empty where not given).
        chosen: The word that other figures are narrowed down to: the other bars are faint.

    Returns:
        One horizontal bar a word, with count and share.
    """
    import pandas as pd  # here: the app's first page draws none of these charts

    codes, names = group_codes(table["group"])
    wanted = len(names) if chosen == NOT_GIVEN else names.index(chosen) if chosen in names else None
    return _balance(pd.Series(codes), names, [GREEN] * len(names), "ethnicity label", wanted)


def source_balance(table: pd.DataFrame, chosen: str | None = None) -> go.Figure:
    """Draws how many faces come from each source.

    Args:
        table: One row a face, with the column ``source``.
        chosen: The source that other figures are narrowed down to: the other bars are faint.

    Returns:
        One horizontal bar a source, with count and share.
    """
    import pandas as pd

    codes, names = pd.factorize(table["source"], sort=True)
    wanted = list(names).index(chosen) if chosen in set(names) else None
    return _balance(pd.Series(codes), list(names), [GREEN] * len(names), "source", wanted)


def ages_by_ethnicity(table: pd.DataFrame) -> go.Figure:
    """Draws the spread of ages for each of the words for ethnicity.

    Args:
        table: One row a face, with the columns ``age`` (years; of a range its middle) and ``group`` (words,
            empty where not given).

    Returns:
        One box for each word that occurs: quartiles, with whiskers at the 5th and 95th percentile. A box
        carries these five numbers only, so the figure stays small however many faces there are.
    """
    traces, medians = [], []
    codes, names = group_codes(table["group"])
    for code, name in enumerate(names):
        ages = table.loc[codes == code, "age"]
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


def capture_days(table: pd.DataFrame) -> go.Figure:
    """Draws on which days files were collected, by the date in their names.

    Args:
        table: One row a face, with the column ``captured`` (datetime64, ``NaT`` where there is no date).

    Returns:
        One bar a day from the first to the last; no bar where no file has a date.
    """
    days = table["captured"].dropna().dt.normalize().value_counts().sort_index()
    undated = len(table) - int(days.sum())
    if days.empty:
        sentence = "None of the file names carries a date."
    else:
        first, last = (f"{day:%d %B %Y}" for day in (days.index[0], days.index[-1]))
        busiest = days.idxmax()
        when = f"from {first} to {last} on {len(days)} days, most on {busiest:%d %B} ({days.max():,})"
        sentence = f"Collected {when if len(days) > 1 else f'on {first} ({days.max():,})'}" + (
            f"; without a date: {undated:,}." if undated else "."
        )
    bars = {
        "type": "bar",
        "x": [f"{day:%Y-%m-%d}" for day in days.index],
        "y": days.to_numpy(),
        "marker": {"color": GREEN, "line": {"width": 0}},
        "hovertemplate": "%{x|%d %b %Y}: %{y:,}<extra></extra>",
    }
    return make_figure(
        [bars],
        sentence,
        height=240,
        xaxis={"type": "date", "tickformat": "%d %b\n%Y", "nticks": 6},
        yaxis={"title": {"text": "faces"}},
        bargap=0.1,
    )


def _balance(
    codes: pd.Series, names: Sequence[str], colors: Sequence[str], what: str, chosen: int | None
) -> go.Figure:
    known = codes.isin(range(len(names)))
    values = np.bincount(codes[known].to_numpy(dtype=np.int64), minlength=len(names)).tolist()
    labels, fills = list(names), list(colors)
    if not known.all():
        labels.append(NOT_GIVEN)
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
        "marker": {
            "color": fills,
            "line": {"width": 0},
            "opacity": [1 if chosen in (None, code) else _NOT_CHOSEN for code in range(len(fills))],
        },
        "hovertemplate": "%{text}<extra></extra>",
        # Without these, Plotly.js fails on a click where the text stands outside its bar.
        "selected": {"textfont": {"color": GREY}},
        "unselected": {"textfont": {"color": GREY}},
    }
    shares = ", ".join(f"{label} {text}" for label, text in zip(labels, texts, strict=True))
    return make_figure(
        [bars],
        f"Faces by {what}: {shares}.",
        height=24 + 36 * len(labels),
        # Room on the right for the text of the longest bar.
        xaxis={"visible": False, "range": [0, 1.45 * max(*values, 1)]},
        yaxis={"autorange": "reversed"},
    )
