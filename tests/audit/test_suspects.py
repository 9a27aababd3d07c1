"""Which labels are doubted, in what order, and for what reason."""

from __future__ import annotations

import numpy as np
import pytest

from agegender.audit.suspects import Predictions, find_suspects
from tests.conftest import label_table


def table(ages, genders):
    return label_table(ages, gender=genders)


def relabel(labels, rows, age):
    labels.loc[rows, ["age", "age_min", "age_max"]] = age


def predictions(ages, reach, female):
    years = np.asarray(ages, dtype=np.float64)
    return Predictions(years, years - reach, years + reach, np.asarray(female, dtype=np.float64))


def crowd(n=1000):
    """Files whose labels nobody would doubt, with errors up to one interval."""
    errors = np.linspace(-8, 8, n).round()
    return table((40 + errors).astype(int), np.arange(n) % 2), predictions(
        np.full(n, 40), 8, np.where(np.arange(n) % 2, 0.9, 0.1)
    )


def test_ordinary_labels_are_not_doubted():
    assert find_suspects(*crowd()).empty


def test_far_ages_and_sure_genders_are_doubted_the_rarest_first():
    labels, expected = crowd()
    relabel(labels, 7, 60)  # 2.5 times the reach
    relabel(labels, 500, 75)  # 4.4 times
    expected.female[901] = 0.01  # labelled female
    relabel(labels, 901, 64)  # and 3 times
    expected.female[300] = 0.985  # labelled male
    found = find_suspects(labels, expected)
    assert found["row"].tolist() == [901, 500, 300, 7]
    assert found["age_suspicious"].tolist() == [True, True, False, True]
    assert found["gender_suspicious"].tolist() == [True, False, True, False]
    assert found["age_excess"].tolist()[1] == pytest.approx(35 / 8)
    assert found["other_gender"].tolist()[2] == pytest.approx(0.985)
    assert found["surprise"].tolist()[1] == pytest.approx(3)  # the one of a thousand that is farthest off
    assert found["file"].tolist()[0] == "901.jpg"
    assert found["reasons"].tolist() == [
        "labelled 64, looks 40 (32–48): 3.0 times as far off as usual; labelled female, looks male (99.0 %)",
        "labelled 75, looks 40 (32–48): 4.4 times as far off as usual",
        "labelled male, looks female (98.5 %)",
        "labelled 60, looks 40 (32–48): 2.5 times as far off as usual",
    ]


def test_each_side_of_an_interval_has_its_own_reach():
    expected = Predictions(*np.array([[40.0, 40.0], [20, 20], [50, 50], [0.5, 0.5]]))
    found = find_suspects(table([10, 70], [0, 0]), expected)
    assert found["row"].tolist() == [1]
    assert found["age_excess"].tolist() == [3.0]


def test_of_a_range_the_nearest_year_is_compared():
    expected = Predictions(*np.array([[40.0] * 3, [32] * 3, [48] * 3, [0.5] * 3]))
    labels = label_table([34, 24, 75], age_min=[30, 10, 70], age_max=[39, 19, 116])
    found = find_suspects(labels, expected)
    assert found["row"].tolist() == [2, 1]
    assert found["age_excess"].tolist() == [30 / 8, 21 / 8]
    assert found["reasons"].tolist() == [
        "labelled 70+, looks 40 (32–48): 3.8 times as far off as usual",
        "labelled 10–19, looks 40 (32–48): 2.6 times as far off as usual",
    ]


def test_small_errors_are_not_doubted_however_narrow_the_interval():
    expected = Predictions(*np.array([[1.0, 1.0], [1, 1], [1.5, 1.5], [0.5, 0.5]]))
    assert find_suspects(table([5, 6], [0, 0]), expected)["row"].tolist() == [1]


def test_files_without_predictions_are_not_doubted_and_count_for_nothing():
    labels, expected = crowd()
    relabel(labels, [7, 8], 75)
    for values in (expected.age, expected.low, expected.high, expected.female):
        values[8:508] = np.nan
    found = find_suspects(labels, expected)
    assert found["row"].tolist() == [7]
    assert found["surprise"].tolist() == [pytest.approx(np.log10(500))]


def test_no_suspects_are_a_table_too():
    found = find_suspects(*crowd(10))
    assert found.empty
    assert {"row", "file", "reasons", "surprise"} <= set(found.columns)
