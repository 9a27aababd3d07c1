"""Figures by group: the right faces in each, intervals that mean what they say, the same each time."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from agegender.evaluation.groups import (
    CONFIDENCE,
    LEAST_FACES,
    Baseline,
    fit_baseline,
    measure_groups,
)
from agegender.evaluation.metrics import age_metrics, gender_metrics
from agegender.labels import AGE_BAND_NAMES, ETHNICITIES, GENDERS, age_band
from tests.conftest import label_table

BASELINE = Baseline(30.0, "male")


def people(n: int, seed: int = 0, error: float = 5.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    age = rng.integers(0, 100, n)
    predicted = np.clip(age + rng.normal(0, error, n), 0, 116)
    female = rng.uniform(0, 1, n)
    return label_table(
        age,
        gender=(rng.uniform(size=n) < female).astype(int),
        ethnicity=rng.integers(0, 5, n),
        predicted_age=predicted,
        low=predicted - 8,
        high=predicted + 8,
        female=female,
        uncertain=np.maximum(female, 1 - female) < 0.75,
    )


def values(figures: dict[str, Any]) -> dict[str, float]:
    return {name: f["value"] if isinstance(f, dict) else f for name, f in figures.items()}


def test_overall_figures_are_those_of_the_metrics():
    faces = people(500)
    overall = measure_groups(faces, BASELINE, resamples=50)["overall"]
    age = age_metrics(faces["age"], faces["predicted_age"], faces["low"], faces["high"])
    gender = gender_metrics(faces["gender"], faces["female"], faces["age"], faces["uncertain"])
    assert overall["n"] == 500
    for name in ("mae", "cs5", "bias", "interval_coverage", "interval_width"):
        assert overall["age"][name]["value"] == pytest.approx(age[name], abs=1e-4)
    for name in ("accuracy", "uncertain_share", "accuracy_outside"):
        assert overall["gender"][name]["value"] == pytest.approx(gender[name], abs=1e-4)


def test_every_group_holds_its_own_faces():
    faces = people(4000, seed=1)
    document = measure_groups(faces, BASELINE, resamples=20)
    bands = np.array(AGE_BAND_NAMES)[age_band(faces["age"])]
    genders, codes = np.array(GENDERS)[faces["gender"]], np.array(ETHNICITIES)[faces["ethnicity"]]
    columns = {"age": bands, "gender": genders, "ethnicity": codes}
    error = np.abs(faces["predicted_age"] - faces["age"])
    for one, members in columns.items():
        assert list(document[f"by_{one}"]) == [name for name in dict.fromkeys(_order(one)) if name in members]
        for name, figures in document[f"by_{one}"].items():
            assert figures["n"] == (members == name).sum()
            assert figures["age"]["mae"]["value"] == pytest.approx(error[members == name].mean(), abs=1e-4)
    for one, other in (("age", "gender"), ("age", "ethnicity"), ("gender", "ethnicity")):
        crossed = document[f"by_{one}_and_{other}"]
        assert sum(figures["n"] for figures in crossed.values()) == len(faces)
        for name, figures in crossed.items():
            first, second = name.split(", ")
            assert figures["n"] == ((columns[one] == first) & (columns[other] == second)).sum()


def _order(name: str) -> tuple[str, ...]:
    return {"age": AGE_BAND_NAMES, "gender": GENDERS, "ethnicity": ETHNICITIES}[name]


def test_small_groups_get_their_number_only_and_empty_ones_nothing():
    faces = people(400, seed=2)
    faces["age"] = np.r_[np.full(LEAST_FACES - 1, 2), np.full(LEAST_FACES, 7), np.full(361, 30)]
    by_age = measure_groups(faces, BASELINE, resamples=20)["by_age"]
    assert by_age["0-4"] == {"n": LEAST_FACES - 1}
    assert set(by_age["5-9"]) == {"n", "age", "gender"}
    assert set(by_age) == {"0-4", "5-9", "26-35"}


def test_the_baseline_answers_the_same_faces():
    faces = people(600, seed=3)
    overall = measure_groups(faces, BASELINE, resamples=20)["overall"]
    assert overall["age"]["baseline_mae"] == pytest.approx(np.abs(30 - faces["age"]).mean(), abs=1e-4)
    assert overall["age"]["baseline_cs5"] == pytest.approx((np.abs(30 - faces["age"]) <= 5).mean(), abs=1e-4)
    assert overall["gender"]["baseline_accuracy"] == pytest.approx((faces["gender"] == 0).mean(), abs=1e-4)


def test_the_best_fixed_answers_are_the_median_and_the_commoner_gender():
    train = pd.DataFrame({"age": [1, 20, 30, 31, 90], "gender": [1, 1, 0, 1, 0]})
    assert fit_baseline(train) == Baseline(30.0, "female")
    assert fit_baseline(train.iloc[:4]).age == 25.0


def test_intervals_are_as_wide_as_theory_says():
    faces = people(2000, seed=4)
    mae = measure_groups(faces, BASELINE)["overall"]["age"]["mae"]
    error = np.abs(faces["predicted_age"] - faces["age"])
    assert mae["high"] - mae["low"] == pytest.approx(2 * 1.96 * error.std() / np.sqrt(2000), rel=0.1)
    assert mae["low"] < mae["value"] < mae["high"]


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say():
    true = 5.0 * np.sqrt(2 / np.pi)  # mean of the absolute value of a Gaussian of spread 5
    hits = []
    for seed in range(200):
        faces = people(150, seed=seed)
        faces["age"], faces["predicted_age"] = 50, 50 + np.random.default_rng(seed).normal(0, 5, 150)
        mae = measure_groups(faces, BASELINE, resamples=200)["overall"]["age"]["mae"]
        hits.append(mae["low"] <= true <= mae["high"])
    assert np.mean(hits) == pytest.approx(CONFIDENCE, abs=0.045)


def test_copies_are_drawn_together():
    """The same photo four times is one photo: the interval is twice as wide as of four people."""
    once = people(300, seed=5)
    copied = pd.concat([once] * 4, ignore_index=True)
    photos = np.tile(np.arange(300), 4)

    def width(**options: Any) -> float:
        mae = measure_groups(copied, BASELINE, **options)["overall"]["age"]["mae"]
        return mae["high"] - mae["low"]

    assert width(clusters=photos) == pytest.approx(2 * width(), rel=0.1)
    single = measure_groups(once, BASELINE)["overall"]["age"]["mae"]
    assert width(clusters=photos) == pytest.approx(single["high"] - single["low"], rel=0.1)


def test_the_same_seed_gives_the_same_document_and_json_takes_it():
    faces = people(200, seed=6)
    first, second = (measure_groups(faces, BASELINE, resamples=50) for _ in range(2))
    assert first == second
    assert json.loads(json.dumps(first, allow_nan=False)) == first
    other = measure_groups(faces, BASELINE, resamples=50, seed=1)
    assert other["overall"]["age"]["mae"]["low"] != first["overall"]["age"]["mae"]["low"]


@pytest.mark.parametrize(
    "columns", [["female", "uncertain"], ["predicted_age", "low", "high"], ["uncertain"]]
)
def test_what_was_not_predicted_has_no_figures(columns):
    overall = measure_groups(people(100).drop(columns=columns), BASELINE, resamples=20)["overall"]
    assert ("age" in overall) == ("predicted_age" not in columns)
    assert ("gender" in overall) == ("female" not in columns)
    if "gender" in overall:
        assert ("uncertain_share" in overall["gender"]) == ("uncertain" not in columns)


def test_a_group_that_is_never_called_has_no_accuracy_outside():
    faces = people(100)
    faces["uncertain"] = True
    gender = measure_groups(faces, BASELINE, resamples=20)["overall"]["gender"]
    assert gender["accuracy_outside"] == {"value": None, "low": None, "high": None}
    assert values(gender)["uncertain_share"] == 1.0


def test_no_faces_have_no_figures():
    document = measure_groups(people(0), BASELINE, resamples=20)
    assert document["overall"] == {"n": 0}
    assert document["by_age"] == {}


def test_clusters_must_be_one_a_face():
    with pytest.raises(ValueError, match="clusters"):
        measure_groups(people(10), BASELINE, clusters=np.arange(9))


def test_of_labels_that_are_ranges_the_figures_are_those_of_ranges():
    rng = np.random.default_rng(3)
    low = rng.choice([0, 3, 10, 20], 400)
    high = pd.Series(low).map({0: 2, 3: 9, 10: 19, 20: 29}).to_numpy()
    faces = people(400).assign(age_min=low, age_max=high, predicted_age=12.0, low=8.0, high=15.0)
    groups = measure_groups(faces, BASELINE, resamples=50)
    assert list(groups["by_age"]) == ["0-2", "3-9", "10-19", "20-29"]
    overall = values(groups["overall"]["age"])
    assert overall["mae"] is overall["interval_coverage"] is None
    assert overall["in_range"] == pytest.approx((low == 10).mean(), abs=1e-4)
    assert values(groups["by_age"]["0-2"]["age"])["years_outside"] == 10
    assert values(groups["by_age"]["0-2"]["age"])["bias_outside"] == 10
    assert values(groups["by_age"]["20-29"]["age"])["bias_outside"] == -8
    assert values(groups["by_age"]["3-9"]["age"])["interval_touches"] == 1
    assert groups["children"]["n"] == (high <= 9).sum()
    assert groups["teenagers"]["n"] == (low == 10).sum()


def test_the_gap_between_groups_names_the_two_and_says_what_chance_makes_of_it():
    table = people(3000, seed=5)
    right = np.random.default_rng(5).uniform(size=len(table)) < np.where(table["group"] == "Asian", 0.8, 0.95)
    codes = table["gender"].to_numpy()
    faces = table.assign(female=np.where(right, codes, 1 - codes) * 0.8 + 0.1)
    gap = measure_groups(faces, BASELINE)["ethnicity_gap"]["gender"]
    accuracy = {name: right[table["group"] == name].mean() for name in ETHNICITIES}
    assert (gap["worst"], gap["best"]) == ("Asian", max(accuracy, key=accuracy.get))
    assert gap["value"] == pytest.approx(max(accuracy.values()) - accuracy["Asian"], abs=1e-4)
    assert gap["low"] < gap["value"] < gap["high"] < gap["value"] + 0.06
    alone = faces[faces["group"] == "Asian"].reset_index(drop=True)
    assert measure_groups(alone, BASELINE, resamples=50)["ethnicity_gap"]["gender"] is None
