from __future__ import annotations

import numpy as np
import pytest

from agegender import charts
from agegender.evaluation.groups import Baseline, measure_groups
from tests.conftest import label_table


@pytest.fixture(scope="module")
def groups() -> dict:
    """Women are answered worse than men, the group *Black* ten years too old, and of Others there are few."""
    rng = np.random.default_rng(2)
    n = 900
    age, gender, ethnicity = rng.integers(0, 90, n), rng.integers(0, 2, n), rng.integers(0, 4, n)
    ethnicity[:10] = 4
    right = rng.uniform(size=n) < np.where(gender == 1, 0.8, 0.95)
    answers = {"predicted_age": age + np.where(ethnicity == 1, 10.0, 1.0), "low": age - 5, "high": age + 5}
    female = np.where(right, gender, 1 - gender)
    table = label_table(age, gender=gender, ethnicity=ethnicity, female=female, **answers)
    return measure_groups(table, Baseline(30.0, "male"), resamples=100)


def test_the_weakest_of_each_grouping_comes_first(groups):
    figure = charts.fairness_points(groups, "accuracy")
    by_age, by_gender, by_group = figure.data
    assert list(by_gender.y) == ["female", "male"]
    assert "Others" not in by_group.y  # too few to say
    for trace in figure.data:
        assert list(trace.x) == sorted(trace.x)
        assert min(trace.error_x.array) >= 0 <= min(trace.error_x.arrayminus)
    assert figure.layout.shapes[0].x0 == groups["overall"]["gender"]["accuracy"]["value"]
    assert "0–4" in by_age.y


def test_a_bias_is_the_weaker_the_further_from_none(groups):
    figure = charts.fairness_points(groups, "bias")
    by_group = figure.data[2]
    assert by_group.y[0] == "Black" and by_group.x[0] == 10
    assert figure.layout.shapes[0].x0 == 0
    assert "Weakest by group: Black with +10.0 years" in charts.description(figure)


def test_what_was_not_measured_is_not_drawn(groups):
    genderless = {key: {"n": 30} if key == "overall" else {} for key in groups}
    assert charts.fairness_points(genderless, "accuracy") is None
    assert charts.fairness_points(genderless, "bias") is None
