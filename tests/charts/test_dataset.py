from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from agegender import charts
from agegender.audit.split_report import split_balance
from agegender.labels import MAX_AGE
from tests.conftest import assert_rules_of_figures, label_table


@pytest.fixture
def table() -> pd.DataFrame:
    days = ["2017-01-16 17:45:25", "2017-01-16 08:00:00", "2017-01-20", None, "2017-01-16"]
    return label_table(
        [1, 1, 25, 25, 116],
        gender=[0, 1, 1, 1, 0],
        ethnicity=[0, 0, 3, 4, -1],
        captured=pd.to_datetime(days, format="mixed"),
    )


@pytest.fixture
def balance() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    n = 300
    faces = label_table(rng.integers(0, 100, n), gender=rng.integers(0, 2, n))
    return split_balance(faces.assign(split=["train"] * 240 + ["validation"] * 30 + ["test"] * 30), "gender")


def all_figures(table, balance) -> dict:
    return {
        "ethnicities": charts.ethnicity_balance(table),
        "boxes": charts.ages_by_ethnicity(table),
        "days": charts.capture_days(table),
        "gaps": charts.label_gaps({0: 3, 7: 1, 48: 1}),
        "bands": charts.gaps_by_band(["0-4", "26-35"], [0.4, 3.6], [104, 321]),
        "split": charts.split_shares(balance),
        "chosen": charts.gender_balance(table, 1),
        "zoomed": charts.age_histogram(table, (20, 30)),
    }


def test_figures_keep_the_rules_of_all_figures(table, balance):
    assert_rules_of_figures(all_figures(table, balance))


def test_the_axis_of_the_histogram_zooms_to_the_ages_asked_for(table):
    assert charts.age_histogram(table).layout.xaxis.range == (-0.5, MAX_AGE + 0.5)
    assert charts.age_histogram(table, (20, 30)).layout.xaxis.range == (19.5, 30.5)
    assert charts.age_histogram(table, (25, 25)).layout.xaxis.dtick == 1


def test_what_other_figures_leave_out_is_faint(table):
    assert charts.gender_balance(table).data[0].marker.opacity == (1, 1)
    male, female = charts.gender_balance(table, 1).data[0].marker.opacity
    assert male < 0.5
    assert female == 1
    opacities = charts.ethnicity_balance(table, "Indian").data[0].marker.opacity
    assert [opacity == 1 for opacity in opacities] == [False, False, False, True, False, False]


def test_ranges_are_spread_over_their_years_in_bars_of_their_own(table):
    ranged = label_table([24, 24, 75], age_min=[20, 20, 70], age_max=[29, 29, MAX_AGE], gender=[1, 1, 0])
    figure = charts.age_histogram(pd.concat([table, ranged]))
    names = [trace.name for trace in figure.data]
    assert names == ["male", "female", "male, by range", "female, by range"]
    assert [bool(trace.marker.pattern.shape) for trace in figure.data] == [False, False, True, True]
    male, female, old, young = (np.asarray(trace.y) for trace in figure.data)
    assert male[[1, 116]].tolist() == [1, 1]
    assert female[25] == 2
    assert (young[20:30].tolist(), young.sum()) == ([0.2] * 10, pytest.approx(2))
    assert (old[70:90].tolist(), old.sum()) == ([0.05] * 20, pytest.approx(1))
    assert charts.description(figure).endswith(
        "Hatched: 3 labelled by range (20–29, 70+), spread over its years, or over 20 where it is open above."
    )
    assert [trace.name for trace in charts.age_histogram(ranged).data] == ["male", "female"]
    assert [trace.name for trace in charts.age_histogram(table).data] == ["male", "female"]


def test_sources_and_the_words_of_others_are_counted(table):
    mixed = table.assign(group=["Han", "Sami", "", "Sami", "Sami"], source=["a", "b", "b", "b", "b"])
    bars = charts.source_balance(mixed, "b").data[0]
    assert (bars.y, bars.x) == (("a", "b"), (1, 4))
    assert [opacity == 1 for opacity in bars.marker.opacity] == [False, True]
    bars = charts.ethnicity_balance(mixed, "not given").data[0]
    assert (bars.y, bars.x) == (("Han", "Sami", "not given"), (1, 3, 1))
    assert [opacity == 1 for opacity in bars.marker.opacity] == [False, False, True]
    assert [trace.y for trace in charts.ages_by_ethnicity(mixed).data] == [("Han",), ("Sami",)]


def test_balance_counts_and_keeps_what_is_not_given(table):
    bar = charts.ethnicity_balance(table).data[0]
    assert list(bar.y) == ["White", "Black", "Asian", "Indian", "Others", "not given"]
    assert list(bar.x) == [2, 0, 0, 1, 1, 1]
    assert bar.text[0] == "2 (40%)"
    bar = charts.gender_balance(table).data[0]
    assert (bar.y, bar.x) == (("male", "female"), (2, 3))


def test_boxes_hold_the_quantiles_of_the_groups_that_occur():
    ages = np.arange(101)
    asian, others = charts.ages_by_ethnicity(label_table(ages, ethnicity=np.where(ages == 100, 4, 2))).data
    assert asian.y == ("Asian",)
    assert asian.median[0] == pytest.approx(49.5)
    assert asian.lowerfence[0] == pytest.approx(4.95)
    assert others.median[0] == 100


def test_a_part_without_files_is_not_drawn(balance):
    no_test = balance.assign(files=balance["files"].where(balance["split"] != "test", 0))
    figure = charts.split_shares(no_test)
    assert [trace.name for trace in figure.data] == ["by chance", "train", "validation"]
    assert "as small as the validation split" in charts.description(figure)


def test_days_are_counted_and_undated_files_named(table):
    figure = charts.capture_days(table)
    assert figure.data[0].x == ("2017-01-16", "2017-01-20")
    assert figure.data[0].y.tolist() == [3, 1]
    assert charts.description(figure) == (
        "Collected from 16 January 2017 to 20 January 2017 on 2 days, most on 16 January (3); "
        "without a date: 1."
    )
    undated = charts.capture_days(table.assign(captured=pd.NaT).astype({"captured": "datetime64[s]"}))
    assert charts.description(undated) == "None of the file names carries a date."


def test_long_gaps_share_the_last_bar():
    bar = charts.label_gaps({0: 2, 5: 1, 6: 1, 20: 2, 48: 4}).data[0]
    assert bar.y[0] == pytest.approx(0.2)
    assert bar.y[20] == pytest.approx(0.6)
    assert sum(bar.y) == pytest.approx(1)
    assert bar.customdata[20] == "20 or more years apart: 6 pairs"
    sentence = charts.description(charts.label_gaps({0: 2, 5: 1, 6: 1, 20: 2, 48: 4}))
    assert sentence.startswith("Of 10 pairs of copies 20% carry the same age, 70% ages more than 5 years")


def test_the_band_of_most_disagreement_is_named():
    words = charts.description(charts.gaps_by_band(["0-4", "36-45"], [0.4, 8.1], [104, 94]))
    assert words == "Two labels of one photo are 0.4 years apart at 0-4 years, and most, 8.1 years, at 36-45."


def test_parts_of_a_split_are_told_apart_by_more_than_colour(balance):
    chance, *marks = charts.split_shares(balance).data
    assert [mark.name for mark in marks] == ["train", "validation", "test"]
    assert len({mark.marker.symbol for mark in marks}) == 3
    test = balance[balance["split"] == "test"]
    assert np.asarray(chance.base) == pytest.approx(test["low"].to_numpy())
    assert np.asarray(marks[2].x) == pytest.approx(test["share"].to_numpy())
