"""Metrics against values worked out by hand, and against their definitions written the slow way."""

from itertools import pairwise

import numpy as np
import pytest

from agegender.evaluation.metrics import (
    age_metrics,
    area_under_roc,
    expected_calibration_error,
    gender_metrics,
    range_metrics,
    reliability,
)
from agegender.labels import AGE_BAND_NAMES, AGE_BANDS


def test_age_metrics_by_hand():
    metrics = age_metrics(
        labelled=[2, 30, 31, 80],
        predicted=[3.0, 35.0, 25.0, 70.0],
        low=[0.0, 31.0, 20.0, 65.0],
        high=[6.0, 40.0, 31.0, 79.0],
    )
    assert metrics == {
        "mae": (1 + 5 + 6 + 10) / 4,
        "cs5": 0.5,  # an error of exactly five years counts
        "bias": (1 + 5 - 6 - 10) / 4,
        "interval_coverage": 0.5,  # an interval holds its ends: 31 is in 20 to 31
        "interval_width": (6 + 9 + 11 + 14) / 4,
        "by_band": {
            "0-4": {"n": 1, "mae": 1.0},
            "26-35": {"n": 2, "mae": 5.5},
            "76+": {"n": 1, "mae": 10.0},
        },
    }


def test_bands_come_in_order_and_by_labelled_age():
    lows = [low for low, _ in reversed(AGE_BANDS)]
    metrics = age_metrics(lows, np.full(9, 50.0), np.zeros(9), np.full(9, 116.0))
    assert tuple(metrics["by_band"]) == AGE_BAND_NAMES
    assert metrics["by_band"]["5-9"] == {"n": 1, "mae": 45.0}


def test_gender_metrics_by_hand():
    metrics = gender_metrics(labelled=[1, 0, 1, 0], female=[0.9, 0.2, 0.4, 0.3], ages=[2, 2, 30, 80])
    assert metrics["accuracy"] == 0.75
    assert metrics["auc"] == 1.0  # every woman scores above every man
    # Bins of width 1/15: 0.6 (wrong), 0.7, 0.8 and 0.9 (right) each alone in its bin.
    assert metrics["ece"] == pytest.approx((0.6 + 0.3 + 0.2 + 0.1) / 4)
    assert metrics["by_band"] == {
        "0-4": {"n": 2, "accuracy": 1.0},
        "26-35": {"n": 1, "accuracy": 0.0},
        "76+": {"n": 1, "accuracy": 1.0},
    }


def test_what_is_not_called_is_counted_and_left_out_of_the_accuracy_outside():
    metrics = gender_metrics([1, 0, 1, 0], [0.9, 0.2, 0.4, 0.6], [2, 2, 30, 80], [False, False, True, False])
    assert metrics["uncertain_share"] == 0.25
    assert metrics["accuracy"] == 0.5
    assert metrics["accuracy_outside"] == pytest.approx(2 / 3)
    assert gender_metrics([1], [0.6], [30], [True])["accuracy_outside"] is None
    assert "uncertain_share" not in gender_metrics([1], [0.6], [30])


def test_one_half_counts_as_female():
    assert gender_metrics([1, 0], [0.5, 0.5], [30, 30])["accuracy"] == 0.5
    assert gender_metrics([1, 1], [0.5, 0.5], [30, 30])["accuracy"] == 1.0


def test_nothing_gives_no_figures():
    assert age_metrics([], [], [], []) == {
        "mae": None,
        "cs5": None,
        "bias": None,
        "interval_coverage": None,
        "interval_width": None,
        "by_band": {},
    }
    assert gender_metrics([], [], []) == {"accuracy": None, "auc": None, "ece": None, "by_band": {}}


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1]])
def test_auc_needs_both_classes(labels):
    metrics = gender_metrics(labels, [0.1, 0.6, 0.9], [30, 30, 30])
    assert metrics["auc"] is None
    assert metrics["accuracy"] is not None


def test_auc_is_the_share_of_pairs_in_order_with_ties_half():
    rng = np.random.default_rng(0)
    positive = rng.random(200) < 0.3
    score = np.round(rng.random(200) + 0.3 * positive, 1)  # one decimal: many ties
    above = score[positive][:, None] - score[~positive][None, :]
    pairs = np.mean((above > 0) + 0.5 * (above == 0))
    assert area_under_roc(positive, score) == pytest.approx(pairs, abs=1e-12)


@pytest.mark.parametrize(
    ("score", "auc"), [([1, 2, 3, 4], 1.0), ([4, 3, 2, 1], 0.0), ([7, 7, 7, 7], 0.5), ([1, 2, 2, 3], 0.875)]
)
def test_auc_by_hand(score, auc):
    assert area_under_roc([False, False, True, True], score) == auc


def test_ranges_are_counted_by_labelled_and_answered_range():
    found = range_metrics([2, 3, 20, 90], [0, 1, 5, 8])
    assert found["accuracy"] == 0.5
    assert found["within_one"] == 0.75
    expected = np.zeros((9, 9), int)
    for row, column in ((0, 0), (0, 1), (3, 5), (8, 8)):
        expected[row, column] = 1
    assert found["confusion"] == expected.tolist()


def test_reliability_lists_the_bins_that_hold_something():
    rows = reliability([0.55, 0.6, 1.0], [1, 0, 1], bins=5)
    assert rows == [
        {"low": 0.4, "high": 0.6, "n": 2, "confidence": pytest.approx(0.575), "accuracy": 0.5},
        {"low": 0.8, "high": 1.0, "n": 1, "confidence": 1.0, "accuracy": 1.0},
    ]
    assert reliability([], []) == []
    assert reliability([np.nan], [1]) == []


def test_ece_is_zero_where_confidence_is_accuracy():
    correct = np.r_[np.ones(8), np.zeros(2), np.ones(6), np.zeros(4)]
    confidence = np.r_[np.full(10, 0.8), np.full(10, 0.6)]
    assert expected_calibration_error(confidence, correct) == pytest.approx(0, abs=1e-12)


def test_ece_follows_its_definition():
    rng = np.random.default_rng(1)
    confidence = rng.uniform(0.5, 1, 500)
    correct = rng.random(500) < confidence**2  # overconfident
    edges = np.linspace(0, 1, 16)
    expected = 0.0
    for low, high in pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert expected_calibration_error(confidence, correct) == pytest.approx(expected, abs=1e-12)
    assert expected > 0.05


def test_ece_does_not_cancel_between_bins():
    # Overconfident below, underconfident above: the mean gap is zero, the error is not.
    assert expected_calibration_error([0.6, 0.9], [0, 1]) == pytest.approx((0.6 + 0.1) / 2)


@pytest.mark.parametrize("confidence", [0.0, 1.0])
def test_ece_takes_the_ends_of_the_scale(confidence):
    assert expected_calibration_error([confidence], [1]) == 1.0 - confidence


def test_nan_gives_no_figure_instead_of_a_wrong_one():
    assert area_under_roc([True, False], [np.nan, 0.2]) is None
    assert expected_calibration_error([np.nan], [1]) is None


@pytest.mark.parametrize(
    "call",
    [
        lambda: age_metrics([1, 2], [1], [1], [1]),
        lambda: gender_metrics([[1]], [[0.5]], [[30]]),
        lambda: gender_metrics([1, 0], [0.5, 0.5], [30, 30], [True]),
        lambda: area_under_roc(True, 0.5),
    ],
)
def test_shapes_must_agree(call):
    with pytest.raises(ValueError, match="one shape"):
        call()
