"""Answers and intervals that hold what they promise, and probabilities that mean what they say."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from agegender.calibration import (
    COVERAGE,
    AgeCalibration,
    GenderCalibration,
    fit_age,
    fit_gender,
    sharpen,
)
from agegender.errors import ModelError
from agegender.labels import AGE_BANDS, MAX_AGE, age_band

YEARS = np.arange(MAX_AGE + 1)


def gaussians(means: np.ndarray, spread: float) -> np.ndarray:
    weights = np.exp(-0.5 * ((YEARS - means[:, None]) / spread) ** 2)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def faces(n: int, seed: int, *, said: float = 2.0) -> SimpleNamespace:
    """Faces whose labels scatter more with age, seen by a network that always says ±``said`` years.

    So the network's own spread is wrong everywhere, as that of real ones is.
    """
    rng = np.random.default_rng(seed)
    predicted = rng.uniform(12, 95, n)
    labels = np.clip(np.rint(rng.normal(predicted, 2 + predicted / 15)), 0, MAX_AGE).astype(int)
    return SimpleNamespace(labels=labels, predicted=predicted, distribution=gaussians(predicted, said))


def held(calibration: AgeCalibration, sample: SimpleNamespace) -> np.ndarray:
    answers = calibration.answer(sample.predicted, sample.distribution)
    return (answers.low <= sample.labels) & (sample.labels <= answers.high)


def fitted(method: str, sample: SimpleNamespace, share: float = COVERAGE) -> AgeCalibration:
    distribution = sample.distribution if method == "bands" else None
    calibration = fit_age(sample.labels, sample.predicted, distribution, share)
    assert calibration.method == method
    return calibration


METHODS = pytest.mark.parametrize("method", ["bands", "residuals"])


# --- the answer -----------------------------------------------------------------------------------------


@METHODS
def test_answers_are_whole_years_inside_their_whole_intervals(method):
    sample = faces(2000, seed=8)
    answers = fitted(method, sample).answer(sample.predicted, sample.distribution)
    for column in (answers.years, answers.low, answers.high):
        assert (column == np.rint(column)).all()
    assert (answers.low <= answers.years).all()
    assert (answers.years <= answers.high).all()
    assert answers.low.min() >= 0
    assert answers.high.max() <= MAX_AGE


def test_a_number_without_a_distribution_is_rounded_half_up():
    calibration = fitted("residuals", faces(100, seed=9))
    answers = calibration.answer(np.array([-7.0, 30.4, 30.5, 31.5, 140.0]), None)
    assert answers.years.tolist() == [0, 30, 31, 32, MAX_AGE]
    assert answers.distribution is None


@pytest.mark.parametrize("said", [3.0, 5.0, 9.0])
def test_the_distribution_is_made_as_wide_as_the_errors(said):
    rng = np.random.default_rng(3)
    means = rng.uniform(30, 80, 3000)
    labels = np.rint(rng.normal(means, 5.0)).astype(int)
    distribution = gaussians(means, said)
    calibration = fit_age(labels, means, distribution)
    # A Gaussian to the power g is a Gaussian with its spread divided by the root of g.
    assert calibration.sharpness == pytest.approx((said / 5.0) ** 2, rel=0.08)
    sharp = calibration.answer(means, distribution).distribution
    assert sharp.sum(axis=1) == pytest.approx(np.ones(len(means)), abs=1e-5)
    spread = np.sqrt(sharp @ YEARS**2 - (sharp @ YEARS) ** 2)
    assert spread.mean() == pytest.approx(5.0, rel=0.05)


def test_the_answer_is_the_nearest_year_to_the_mean_of_the_sharpened_distribution():
    # Two thirds say 20, one third 50: a power of 2 makes that 4 to 1.
    distribution = np.zeros((1, MAX_AGE + 1))
    distribution[0, [20, 50]] = 2 / 3, 1 / 3
    calibration = AgeCalibration("bands", 0.9, 9, sharpness=2.0, band_tails=(0.01,) * len(AGE_BANDS))
    answers = calibration.answer(np.array([30.0]), distribution)
    assert sharpen(distribution, 2.0)[0, [20, 50]] == pytest.approx([0.8, 0.2], abs=1e-9)
    assert answers.years.tolist() == [26]
    assert (answers.low[0], answers.high[0]) == (20, 50)


# --- the interval ---------------------------------------------------------------------------------------


@METHODS
@pytest.mark.parametrize("share", [0.8, 0.9, 0.95])
def test_intervals_hold_the_promised_share_of_fresh_faces(method, share):
    calibration = fitted(method, faces(4000, seed=1, said=6.0), share)
    assert calibration.coverage == share
    # Never less; the intervals of neighbouring bands overlap, so a little more is inevitable.
    assert share - 0.015 < held(calibration, faces(8000, seed=2, said=6.0)).mean() < share + 0.035


@METHODS
def test_a_network_too_sure_of_itself_is_corrected(method):
    calibration = fitted(method, faces(2000, seed=1, said=3.0))
    assert held(calibration, faces(8000, seed=2, said=3.0)).mean() == pytest.approx(0.91, abs=0.03)


def biased(n: int, seed: int) -> SimpleNamespace:
    """People of 36 to 45, one in seven, look like 30 to a network that is sure of it; all others it knows."""
    rng = np.random.default_rng(seed)
    labels = np.where(rng.uniform(size=n) < 1 / 7, rng.integers(36, 46, n), rng.integers(16, 80, n))
    taken = np.where(age_band(labels) == 5, rng.normal(31, 4, n), rng.normal(labels, 3))
    predicted = np.clip(taken, 0, MAX_AGE)
    return SimpleNamespace(labels=labels, predicted=predicted, distribution=gaussians(predicted, 4.0))


def test_every_band_is_held_even_one_that_is_mistaken_for_another():
    fresh = biased(20_000, seed=2)
    inside = held(fitted("bands", biased(5000, seed=1)), fresh)
    bands = age_band(fresh.labels)
    for band in range(3, 8):
        assert inside[bands == band].mean() > COVERAGE - 0.035, AGE_BANDS[band]
    # With one threshold for all, the same network loses the band: what the own thresholds are for.
    common = AgeCalibration(
        "bands", COVERAGE, 5000, band_tails=(max(fitted("bands", biased(5000, seed=1)).band_tails),) * 9
    )
    assert held(common, fresh)[bands == 5].mean() < 0.75


def test_a_band_s_threshold_is_the_conformal_quantile_of_its_faces_and_that_of_all_where_they_are_few():
    rng = np.random.default_rng(4)

    def thresholds(children: int) -> np.ndarray:
        labels = np.r_[np.full(children, 7), rng.integers(26, 36, 2000)]
        # Children are seen as anything; adults are known.
        means = np.r_[rng.uniform(5, 60, children), rng.normal(labels[children:], 2)]
        distribution = sharpen(gaussians(means, 3.0), 1)
        younger = distribution[:children, :8].sum(axis=1)
        own = np.sort(np.minimum(younger, distribution[:children, 7:].sum(axis=1)))
        fit = np.array(fit_age(labels, means, distribution).band_tails)
        # Nine of ten are at least as far inside: of 39 the 36th from the top, of 30 the 28th.
        assert children < 30 or fit[1] == pytest.approx(own[children - int(np.ceil((children + 1) * 0.9))])
        return fit

    assert thresholds(39)[1] < 1e-3
    assert thresholds(30)[1] < 1e-3
    few = thresholds(29)
    assert few[1] == few[0] > 1e-3


def test_residual_intervals_widen_where_errors_do():
    calibration = fitted("residuals", faces(4000, seed=5))
    answers = calibration.answer(np.array([15.0, 50.0, 85.0]), None)
    widths = answers.high - answers.low
    assert widths[0] < widths[1] < widths[2]
    # 2 × 1.645 standard deviations of the scatter at 50 years.
    assert widths[1] == pytest.approx(3.29 * (2 + 50 / 15), rel=0.15)


def test_residual_offsets_are_corrected_for_a_finite_sample():
    # Errors −9 … 9 of 19 faces: ⌈20 × 0.95⌉ = 19, so each end is the largest error, not the 95 % quantile.
    calibration = fit_age(np.arange(-9, 10) + 50, np.full(19, 50.0), None, 0.9)
    assert (calibration.lower_offsets, calibration.upper_offsets) == ((-9.0,), (9.0,))


@METHODS
@pytest.mark.parametrize("n", [1, 5, 12, 60])
def test_few_faces_give_a_calibration_all_the_same(method, n):
    calibration = fitted(method, faces(n, seed=6))
    assert calibration.n == n
    answers = calibration.answer(faces(40, seed=7).predicted, faces(40, seed=7).distribution)
    assert np.isfinite([answers.years, answers.low, answers.high]).all()
    assert (answers.low <= answers.high).all()


def test_no_faces_have_no_answers():
    for method in ("bands", "residuals"):
        distribution = np.zeros((0, MAX_AGE + 1)) if method == "bands" else None
        answers = fitted(method, faces(100, seed=9)).answer(np.zeros(0), distribution)
        assert answers.years.shape == answers.low.shape == answers.high.shape == (0,)


def test_a_calibration_of_distributions_needs_them():
    calibration = fitted("bands", faces(100, seed=9))
    with pytest.raises(ModelError, match="distribution"):
        calibration.answer(np.array([30.0]), None)


# --- cards ----------------------------------------------------------------------------------------------


@METHODS
def test_age_calibrations_survive_json(method):
    sample = faces(300, seed=10)
    calibration = fitted(method, sample)
    again = AgeCalibration.from_dict(json.loads(json.dumps(calibration.to_dict())))
    assert again == calibration
    before = calibration.answer(sample.predicted, sample.distribution)
    after = again.answer(sample.predicted, sample.distribution)
    assert np.array_equal(before.low, after.low)
    assert np.array_equal(before.high, after.high)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"method": "residuals", "coverage": 0.9, "n": 3, "knots": [1.0], "mood": "good"},
        {"method": "tarot", "coverage": 0.9, "n": 3},
        {"method": "bands", "coverage": 0.9, "n": 3, "band_tails": [0.1, 0.2]},
        {"method": "residuals", "coverage": 0.9, "n": 3},
    ],
    ids=["missing", "unknown key", "unknown method", "too few bands", "no knots"],
)
def test_what_is_no_age_calibration_is_refused(values):
    with pytest.raises(ModelError, match="age calibration"):
        AgeCalibration.from_dict(values)


def test_distributions_need_not_sum_to_exactly_one():
    distribution = faces(5, seed=12).distribution
    assert sharpen(distribution * 1.001, 1.5) == pytest.approx(sharpen(distribution, 1.5), abs=1e-6)


# --- gender ---------------------------------------------------------------------------------------------


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


def test_a_chip_of_more_weight_moves_the_threshold_as_copies_of_it_would():
    rng = np.random.default_rng(8)
    ages, centre = rng.integers(26, 36, 4000), rng.normal(30, 4, 4000)
    distribution = np.exp(-0.5 * ((np.arange(117) - centre[:, None]) / 4) ** 2)
    distribution /= distribution.sum(axis=1, keepdims=True)
    far = np.abs(ages - centre) > 6
    alike = fit_age(ages, centre, distribution)
    assert fit_age(ages, centre, distribution, weights=np.full(4000, 7.0)) == alike
    weighted = fit_age(ages, centre, distribution, weights=np.where(far, 3.0, 1.0))
    copies = np.repeat(np.arange(4000), np.where(far, 3, 1))
    copied = fit_age(ages[copies], centre[copies], distribution[copies])
    assert weighted.band_tails[4] == pytest.approx(copied.band_tails[4], rel=0.02)
    assert weighted.band_tails[4] < 0.9 * alike.band_tails[4]
    assert weighted.sharpness == alike.sharpness


def in_ranges(labels: np.ndarray) -> np.ndarray:
    """Lowest and highest year of FairFace's ranges for these ages, 70 or more up to 89."""
    edges = np.array([0, 3, 10, 20, 30, 40, 50, 60, 70, 90])
    place = np.searchsorted(edges, labels, side="right") - 1
    return np.stack([edges[place], edges[place + 1] - 1], axis=1)


def test_of_ranges_every_year_counts_and_an_age_drawn_from_them_is_held():
    sample, fresh = faces(3000, 1), faces(3000, 2)
    for some in (sample, fresh):
        some.labels = np.minimum(some.labels, 89)
    calibration = fit_age(in_ranges(sample.labels), sample.predicted, sample.distribution)
    assert (calibration.n, calibration.ranges_n) == (3000, 3000)
    assert AgeCalibration.from_dict(calibration.to_dict()) == calibration
    low, high = in_ranges(fresh.labels).T
    drawn = np.random.default_rng(3).integers(low, high + 1)
    assert held(calibration, SimpleNamespace(**{**vars(fresh), "labels": drawn})).mean() == pytest.approx(
        COVERAGE, abs=0.02
    )
    # Ages themselves lie nearer to what is seen than ages drawn from their ranges do.
    assert held(calibration, fresh).mean() > COVERAGE


def test_a_range_of_one_year_is_an_exact_age():
    sample = faces(800, 5)
    ends = np.stack([sample.labels, sample.labels], axis=1)
    exact = fit_age(sample.labels, sample.predicted, sample.distribution)
    assert fit_age(ends, sample.predicted, sample.distribution) == exact
    assert exact.ranges_n == 0


def test_a_distribution_is_as_wide_as_ranges_say():
    """One that is far too narrow misses ranges that it should allow for, as it would miss exact ages."""
    sample = faces(3000, 6, said=1.0)
    wide = fit_age(in_ranges(np.minimum(sample.labels, 89)), sample.predicted, sample.distribution)
    exact = fit_age(sample.labels, sample.predicted, sample.distribution)
    assert wide.sharpness < 0.5
    assert wide.sharpness == pytest.approx(exact.sharpness, rel=0.5)


def test_ranges_alone_say_nothing_of_the_error_of_a_number():
    sample = faces(100, 7)
    with pytest.raises(ModelError, match="exact ages"):
        fit_age(in_ranges(np.minimum(sample.labels, 89)), sample.predicted, None)
