"""A model's card in words for people: what its figures mean in front of the camera."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import pandas as pd
import streamlit as st

from agegender import charts
from agegender.charts.compare import TEST_SET
from agegender.charts.fairness import FairnessFigure
from agegender.export import to_json
from agegender.labels import AGE_BAND_NAMES, AGE_BANDS, say_source
from agegender.reports.card import card_markdown
from agegender.wording import say_probability
from ui.widgets import offer_download, show_chart, show_tile

FEW_FACES: Final = 100
"""Under so many test faces a band's figures are shaky themselves."""

_CARD_HEIGHT: Final = 640  # pixels

_EXAMPLE_AGES: Final = (3, 7, 13, 20, 30, 40, 55, 68, 80)
"""An age of each of the nine bands, to say an error by."""


def show_figures(metrics: dict[str, Any]) -> None:
    """The figures that sum a model up, each with what it means."""
    age, gender = metrics.get("age"), metrics.get("gender")
    grid = st.grid(4, min_column_width=150)
    if age:
        show_tile(
            grid,
            "Age, average error",
            f"{age['mae']:.1f} years",
            help="Mean absolute error: how far the answer is from the label, either way, on average.",
        )
        show_tile(
            grid,
            "Within 5 years",
            say_probability(age["cs5"]),
            help="The share of faces whose answer is at most five years from the label.",
        )
        show_tile(
            grid,
            "In the interval",
            say_probability(age["interval_coverage"]),
            help="The share of faces whose labelled age lies in the interval in brackets, which is "
            f"{age['interval_width']:.0f} years wide on average.",
        )
    if gender:
        show_tile(
            grid,
            "Gender as labelled",
            say_probability(gender["accuracy"]),
            help="The share of faces for which the likelier gender is the one in the label, which is itself "
            "how somebody perceived the face.",
        )


def measured_groups(card: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Figures by group of each kind of photos that a model was measured on, by what they are."""
    found = {}
    if "groups" in card:
        found[f"{TEST_SET} ({card['groups']['overall']['n']:,})"] = card["groups"]
    for source, measured in card.get("sets", {}).items():
        found[f"{say_source(source)} ({measured['n']:,})"] = measured["groups"]
    return found


def show_fairness(groups: Mapping[str, Any], figure: FairnessFigure) -> None:
    """One model's figures by group, the weakest first, and how far its ethnic groups lie apart."""
    drawn = charts.fairness_points(groups, figure)
    if drawn is None:
        st.caption("Not measured here.")
        return
    show_chart(drawn, key="fairness_chart")
    gap = (groups.get("ethnicity_gap") or {}).get("gender")
    if gap and figure == "accuracy":
        points = [100 * gap[key] for key in ("value", "low", "high")]
        st.markdown(
            f"Between {gap['best']} and {gap['worst']} lie **{points[0]:.1f} points** of accuracy; with so "
            f"few faces it may be anything from {max(points[1], 0):.1f} to {points[2]:.1f}."
        )


def bands_table(metrics: dict[str, Any]) -> pd.DataFrame:
    """What the errors by age band mean for somebody of that age.

    Args:
        metrics: The test figures of a card, with ``by_band`` for the tasks that the model has.

    Returns:
        One row a measured band, all text.
    """
    age_bands = metrics.get("age", {}).get("by_band", {})
    gender_bands = metrics.get("gender", {}).get("by_band", {})
    rows: list[dict[str, str]] = []
    for name, example, (low, high) in zip(AGE_BAND_NAMES, _EXAMPLE_AGES, AGE_BANDS, strict=True):
        age, gender = age_bands.get(name), gender_bands.get(name)
        if not (age or gender):
            continue
        row = {"Labelled age": f"{low} or older" if name.endswith("+") else f"{low} to {high}"}
        if age:
            row["Off by about"] = say_years(age["mae"])
            row["For example"] = say_miss(example, age["mae"])
        if gender:
            row["Gender as labelled"] = say_odds(gender["accuracy"])
        n = (age or gender)["n"]
        row["Faces"] = f"{n:,}{' (few)' if n < FEW_FACES else ''}"
        rows.append(row)
    return pd.DataFrame(rows)


def say_years(error: float) -> str:
    """For example "4 years"."""
    years = max(round(error), 1)
    return f"{years} {'year' if years == 1 else 'years'}"


def say_miss(age: int, error: float) -> str:
    """For example "30 as 26 or 34"."""
    off = max(round(error), 1)
    return f"{age} as {max(age - off, 0)} or {age + off}"


def say_odds(accuracy: float) -> str:
    """For example "98 in 100", never all of them."""
    return f"{min(round(100 * accuracy), 99)} in 100"


def show_card(card: dict[str, Any]) -> None:
    """The whole card, folded up, with its downloads."""
    name, text = card["name"], card_markdown(card)
    with (
        st.expander("The whole model card", icon=":material/badge:"),
        st.container(height=_CARD_HEIGHT, border=False),  # its tables are wider than a phone: they scroll
    ):
        # Its headings stand below those of the page.
        st.markdown(re.sub(r"^#", "###", text, flags=re.MULTILINE))
    with st.container(horizontal=True):
        offer_download("Card as Markdown", text, f"{name}.card.md")
        offer_download("Card as JSON", lambda: to_json(card), f"{name}.card.json")
