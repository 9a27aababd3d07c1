"""Intervals that hold what they promise, and probabilities that mean what they say."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from agegender.errors import ModelError
from agegender.evaluation.calibration import (
    COVERAGE,
    AgeCalibration,
    GenderCalibration,
    fit_age,
    fit_gender,
    probability_below,
    quantile,
)
from agegender.labels import MAX_AGE

YEARS = np.arange(MAX_AGE + 1)


def faces(n: int, seed: int, *, said: float = 2.0) -> SimpleNamespace:
    """Faces whose labels scatter more with age, seen by a network that always says ±``said`` years.

    So the network's own spread is wrong everywhere, as that of real ones is.
    """
    rng = np.random.default_rng(seed)
    predicted = rng.uniform(12, 95, n)
    labels = np.clip(np.rint(rng.normal(predicted, 2 + predicted / 15)), 0, MAX_AGE)
    weights = np.exp(-0.5 * ((YEARS - predicted[:, None]) / said) ** 2)
    distribution = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return SimpleNamespace(labels=labels, predicted=predicted, distribution=distribution)


def coverage(calibration: AgeCalibration, sample: SimpleNamespace) -> float:
    low, high = calibration.interval(sample.predicted, sample.distribution)
    return float(((low <= sample.labels) & (sample.labels <= high)).mean())


def fitted(method: str, sample: SimpleNamespace, share: float = COVERAGE) -> AgeCalibration:
    distribution = sample.distribution if method == "distribution" else None
    calibration = fit_age(sample.labels, sample.predicted, distribution, share)
    assert calibration.method == method
    return calibration


METHODS = pytest.mark.parametrize("method", ["distribution", "residuals"])


@METHODS
@pytest.mark.parametrize("share", [0.8, 0.9, 0.95])
def test_intervals_hold_the_promised_share_of_fresh_faces(method, share):
    calibration = fitted(method, faces(4000, seed=1, said=6.0), share)
    assert calibration.coverage == share
    assert coverage(calibration, faces(8000, seed=2, said=6.0)) == pytest.approx(share, abs=0.02)


@METHODS
def test_a_network_too_sure_of_itself_is_corrected(method):
    calibration = fitted(method, faces(2000, seed=1, said=3.0))
    assert coverage(calibration, faces(8000, seed=2, said=3.0)) == pytest.approx(0.9, abs=0.025)


@METHODS
def test_both_ends_miss_equally_often(method):
    fresh = faces(8000, seed=4, said=6.0)
    low, high = fitted(method, faces(2000, seed=3, said=6.0)).interval(fresh.predicted, fresh.distribution)
    assert (fresh.labels < low).mean() == pytest.approx(0.05, abs=0.02)
    assert (fresh.labels > high).mean() == pytest.approx(0.05, abs=0.02)


def test_residual_intervals_widen_where_errors_do():
    calibration = fitted("residuals", faces(4000, seed=5))
    low, high = calibration.interval(np.array([15.0, 50.0, 85.0]), None)
    widths = high - low
    assert widths[0] < widths[1] < widths[2]
    # 2 × 1.645 standard deviations of the scatter at 50 years.
    assert widths[1] == pytest.approx(3.29 * (2 + 50 / 15), rel=0.15)


@METHODS
@pytest.mark.parametrize("n", [1, 5, 12, 60])
def test_few_faces_give_a_calibration_all_the_same(method, n):
    calibration = fitted(method, faces(n, seed=6))
    assert calibration.n == n
    low, high = calibration.interval(faces(40, seed=7).predicted, faces(40, seed=7).distribution)
    assert np.isfinite([low, high]).all()
    assert (low <= high).all()


@METHODS
def test_intervals_hold_their_own_prediction_and_stay_in_range(method):
    sample = faces(2000, seed=8)
    low, high = fitted(method, sample).interval(sample.predicted, sample.distribution)
    assert (low <= sample.predicted).all()
    assert (sample.predicted <= high).all()
    assert low.min() >= 0
    assert high.max() <= MAX_AGE


def test_no_faces_have_no_intervals():
    for method in ("distribution", "residuals"):
        low, high = fitted(method, faces(100, seed=9)).interval(np.zeros(0), np.zeros((0, MAX_AGE + 1)))
        assert low.shape == high.shape == (0,)


def test_a_calibration_of_distributions_needs_them():
    calibration = fitted("distribution", faces(100, seed=9))
    with pytest.raises(ModelError, match="distribution"):
        calibration.interval(np.array([30.0]), None)


@METHODS
def test_age_calibrations_survive_json(method):
    calibration = fitted(method, faces(300, seed=10))
    again = AgeCalibration.from_dict(json.loads(json.dumps(calibration.to_dict())))
    assert again == calibration


@pytest.mark.parametrize(
    "values",
    [{}, {"method": "residuals", "coverage": 0.9, "n": 3, "mood": "good"}],
    ids=["missing", "unknown"],
)
def test_what_is_no_age_calibration_is_refused(values):
    with pytest.raises(ModelError, match="age calibration"):
        AgeCalibration.from_dict(values)


def test_quantile_and_probability_are_inverse():
    distribution = faces(50, seed=11, said=8.0).distribution
    for share in (0.01, 0.05, 0.3, 0.5, 0.9, 0.99):
        ages = quantile(distribution, share)
        assert probability_below(distribution, ages) == pytest.approx(np.full(50, share), abs=1e-6)


def test_quantiles_spread_each_year_over_its_width():
    certain = np.eye(MAX_AGE + 1)[[40]]
    assert quantile(certain, 0.5) == pytest.approx([40.0])
    assert quantile(certain, 0.1) == pytest.approx([39.6])
    assert probability_below(certain, [39.0]) == pytest.approx([0.0])
    assert probability_below(certain, [40.0]) == pytest.approx([0.5])
    assert probability_below(certain, [41.0]) == pytest.approx([1.0])


def test_distributions_need_not_sum_to_exactly_one():
    distribution = faces(5, seed=12).distribution
    assert quantile(distribution * 1.001, 0.9) == pytest.approx(quantile(distribution, 0.9), abs=1e-6)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("distortion", [0.5, 1.0, 2.5])
def test_temperature_recovers_a_known_distortion(distortion):
    rng = np.random.default_rng(13)
    logits = rng.normal(0, 2.5, 6_000)
    codes = (rng.uniform(size=6_000) < sigmoid(logits)).astype(int)
    calibration = fit_gender(codes, sigmoid(logits * distortion))
    assert calibration.temperature == pytest.approx(distortion, rel=0.1)
    assert calibration.n == 6_000
    assert calibration.probability(sigmoid(logits * distortion)) == pytest.approx(sigmoid(logits), abs=0.03)


def test_temperature_never_changes_the_answer():
    female = np.linspace(0, 1, 101)
    for temperature in (0.3, 1.0, 4.0):
        calibrated = GenderCalibration(temperature, 10).probability(female)
        assert (np.diff(calibrated) >= 0).all()
        assert ((calibrated >= 0.5) == (female >= 0.5)).all()
        assert calibrated[50] == pytest.approx(0.5)


def test_certain_outputs_stay_finite():
    calibrated = GenderCalibration(2.0, 10).probability(np.array([0.0, 1.0], np.float32))
    assert np.isfinite(calibrated).all()
    assert 0 <= calibrated[0] < 1e-3
    assert 1 - 1e-3 < calibrated[1] <= 1


def test_faces_told_apart_without_error_can_be_fitted():
    codes = np.array([0, 0, 1, 1] * 10)
    calibration = fit_gender(codes, np.where(codes == 1, 0.9, 0.1))
    assert 0 < calibration.temperature < 1


def test_gender_calibrations_survive_json():
    calibration = GenderCalibration(1.37, 2000, uncertain_below=0.65)
    assert GenderCalibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration


def test_what_is_no_gender_calibration_is_refused():
    with pytest.raises(ModelError, match="gender calibration"):
        GenderCalibration.from_dict({"heat": 2})
