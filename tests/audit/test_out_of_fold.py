"""Predictions for files that their model never saw."""

from __future__ import annotations

import numpy as np
import pytest

from agegender.audit.out_of_fold import (
    LEAST_FILES,
    group_folds,
    logistic_fit,
    predict_out_of_fold,
    residual_intervals,
    ridge_out_of_fold,
)
from agegender.errors import DatasetError


def faces(n=1200, seed=0):
    """Features that say age and gender with some noise, and the labels."""
    rng = np.random.default_rng(seed)
    ages, genders = rng.integers(0, 90, n), rng.integers(0, 2, n)
    signal = np.stack([np.sqrt(ages + 1.0), genders * 2 - 1.0], axis=1)
    mixed = signal @ rng.normal(size=(2, 12)) + rng.normal(0, 0.6, (n, 12))
    return mixed.astype(np.float32), ages, genders


def test_a_group_stays_in_one_fold_and_folds_are_even():
    groups = np.arange(3000) // 3
    folds = group_folds(groups)
    assert (folds.reshape(-1, 3) == folds[::3, None]).all()
    assert np.bincount(folds).tolist() == [600] * 5
    assert (group_folds(groups) == folds).all()
    assert (group_folds(groups, seed=1) != folds).any()


def test_each_fold_is_predicted_by_the_others_alone():
    rng = np.random.default_rng(0)
    features, folds = rng.normal(3, 2, (200, 6)), np.arange(200) % 4
    targets = np.stack([features @ rng.normal(size=6) + 5, rng.normal(size=200)], axis=1)
    predicted = ridge_out_of_fold(features, targets, folds, penalty=0.1)

    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    for fold in range(4):
        seen, unseen = scaled[folds != fold], scaled[folds == fold]
        centre, level = seen.mean(axis=0), targets[folds != fold].mean(axis=0)
        left = (seen - centre).T @ (seen - centre) + 0.1 * len(seen) * np.eye(6)
        weights = np.linalg.solve(left, (seen - centre).T @ (targets[folds != fold] - level))
        np.testing.assert_allclose(
            predicted[folds == fold], (unseen - centre) @ weights + level, rtol=1e-3, atol=1e-3
        )


def test_a_label_does_not_reach_its_own_prediction_nor_a_copys():
    features, ages, genders = faces()
    groups = np.arange(len(ages))
    groups[1] = 0  # 0 and 1 are copies
    before = predict_out_of_fold(features, ages, genders, groups)
    ages[:2], genders[:2] = 110, 1 - genders[:2]
    after = predict_out_of_fold(features, ages, genders, groups)
    # Only the calibration, fitted on all, may feel them; a model that saw them would move by years.
    assert after.age[:2] == pytest.approx(before.age[:2], abs=1e-3)
    assert after.female[:2] == pytest.approx(before.female[:2], abs=0.01)
    others = np.flatnonzero(group_folds(groups) != group_folds(groups)[0])
    assert np.abs(after.age - before.age)[others].max() > 0.01


def test_predictions_are_good_where_features_are():
    features, ages, genders = faces()
    found = predict_out_of_fold(features, ages, genders, np.arange(len(ages)))
    assert np.abs(found.age - ages).mean() < 4
    assert ((found.female > 0.5) == genders).mean() > 0.97
    assert np.mean((found.low <= ages) & (ages <= found.high)) == pytest.approx(0.9, abs=0.02)
    assert (found.low <= found.age).all() and (found.age <= found.high).all()
    assert found.low.min() >= 0


def test_features_that_say_nothing_give_the_usual_answer():
    _, ages, genders = faces()
    noise = np.random.default_rng(5).normal(size=(len(ages), 8))
    found = predict_out_of_fold(noise, ages, genders, np.arange(len(ages)))
    assert found.age.std() < 5
    assert np.abs(found.female - genders.mean()).max() < 0.2


def test_files_without_features_have_no_prediction():
    features, ages, genders = faces()
    features[[3, 700]] = np.nan
    found = predict_out_of_fold(features, ages, genders, np.arange(len(ages)))
    for values in (found.age, found.low, found.high, found.female):
        assert np.flatnonzero(np.isnan(values)).tolist() == [3, 700]


def test_too_few_files_are_refused():
    features, ages, genders = faces(LEAST_FILES)
    features[0] = np.nan
    with pytest.raises(DatasetError, match=str(LEAST_FILES)):
        predict_out_of_fold(features, ages, genders, np.arange(len(ages)))


def test_a_column_without_variation_does_no_harm():
    features, ages, genders = faces()
    features[:, 3] = 7.0
    found = predict_out_of_fold(features, ages, genders, np.arange(len(ages)))
    assert np.isfinite(found.age).all()
    assert np.abs(found.age - ages).mean() < 5


def test_intervals_follow_the_spread_at_each_age():
    rng = np.random.default_rng(0)
    predicted = rng.uniform(10, 70, 20_000)
    labelled = predicted + rng.normal(0, predicted / 10)
    low, high = residual_intervals(labelled, predicted)
    inside = (low <= labelled) & (labelled <= high)
    for least, most in ((10, 20), (60, 70)):
        here = (predicted > least) & (predicted < most)
        assert inside[here].mean() == pytest.approx(0.9, abs=0.02)
    assert np.mean((high - low)[predicted > 65]) > 4 * np.mean((high - low)[predicted < 15])


def test_logistic_fit_recovers_probabilities():
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 2, 50_000)
    truth = 1 / (1 + np.exp(-(1.7 * scores - 0.4)))
    fitted = logistic_fit(scores[:, None], rng.random(50_000) < truth)
    assert np.abs(fitted - truth).max() < 0.02
