"""Losses on ages: by hand, against each other, and at the ends where logarithms break."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from agegender.labels import MAX_AGE
from agegender.training.losses import AgeLikelihood, YearsOutside, years_outside
from agegender.training.targets import age_distribution_targets, age_range_targets

YEARS = MAX_AGE + 1


def likelihood(targets, answers) -> np.ndarray:
    return np.asarray(AgeLikelihood(reduction=None)(np.float32(targets), np.float32(answers)))


def answers(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(YEARS, 0.5), n).astype(np.float32)


def test_of_an_exact_age_it_is_the_cross_entropy():
    targets, p = age_distribution_targets([0, 31, 116], sigma=2.0), answers(3)
    expected = -(targets * np.log(np.clip(p, 1e-7, 1))).sum(axis=1)
    assert likelihood(targets, p) == pytest.approx(expected, rel=1e-5)
    keras_s = keras.losses.CategoricalCrossentropy(reduction=None)(targets, p)
    assert likelihood(targets, p) == pytest.approx(np.asarray(keras_s), rel=1e-3)


def test_of_a_range_it_is_the_logarithm_of_the_probability_within():
    target = np.zeros((1, YEARS))
    target[0, 20:30] = 1
    p = answers(1)
    assert likelihood(target, p)[0] == pytest.approx(-np.log(p[0, 20:30].sum()), rel=1e-5)
    inside = np.zeros((1, YEARS))
    inside[0, 22:24] = 0.5
    assert likelihood(target, inside)[0] == pytest.approx(0, abs=1e-5)
    noisy = age_range_targets([20], [29])
    assert likelihood(noisy, p)[0] == pytest.approx(-np.log((noisy * p).sum()), rel=1e-5)


def test_within_a_range_no_year_is_preferred_and_a_near_miss_costs_less_than_a_far_one():
    target = age_range_targets([20], [39])
    sure = {year: np.eye(YEARS)[[year]] for year in (25, 30, 35, 41, 60)}
    cost = {year: likelihood(target, p)[0] for year, p in sure.items()}
    assert cost[25] == pytest.approx(cost[30], abs=0.01)
    assert cost[30] == pytest.approx(cost[35], abs=0.1)
    assert cost[35] < cost[41] < cost[60]


@pytest.mark.parametrize("low", range(0, MAX_AGE, 5))
def test_every_range_of_two_years_or_more_is_told_from_a_distribution(low):
    """The two kinds share one array: what tells them apart must hold from the first years to the last."""
    for high in (low + 1, low + 9, MAX_AGE):
        p = answers(1, seed=low)
        [target] = age_range_targets([low], [min(high, MAX_AGE)])
        assert likelihood(target[None], p)[0] == pytest.approx(
            -np.log((target * p[0]).sum()), rel=1e-4, abs=1e-6
        )
    assert age_distribution_targets([low], 3.0).sum() == pytest.approx(1)


def test_both_kinds_share_a_batch():
    targets = np.concatenate([age_distribution_targets([31], 2.0), age_range_targets([20], [29])])
    p = answers(2)
    together = likelihood(targets, p)
    assert together[0] == pytest.approx(likelihood(targets[:1], p[:1])[0])
    assert together[1] == pytest.approx(likelihood(targets[1:], p[1:])[0])


@pytest.mark.parametrize("kind", ["sure and wrong", "sure and right", "flat"])
def test_gradients_are_finite_and_point_to_the_label(kind):
    targets = np.concatenate([age_distribution_targets([31], 2.0), age_range_targets([20], [29])])
    logits = np.zeros((2, YEARS), np.float32)
    if kind != "flat":
        logits[:, 100 if kind == "sure and wrong" else 25] = 200.0
    x = tf.Variable(logits)
    with tf.GradientTape() as tape:
        loss = AgeLikelihood()(targets, tf.nn.softmax(x))
    gradient = tape.gradient(loss, x).numpy()
    assert np.isfinite(float(loss))
    assert np.isfinite(gradient).all()
    if kind == "flat":
        assert gradient[0, 31] < 0 < gradient[0, 100]
        assert gradient[1, 25] < 0 < gradient[1, 100]


def test_years_outside_are_counted_from_the_nearer_end():
    ranges = np.float32([[20, 29]] * 5 + [[31, 31]] * 2)
    ages = np.float32([[15], [20], [24.5], [29], [32.5], [30], [33]])
    assert years_outside(ranges, ages).numpy().tolist() == [5, 0, 0, 0, 3.5, 1, 2]
    absolute, square = (YearsOutside(kind, reduction=None)(ranges, ages).numpy() for kind in ("mae", "mse"))
    assert absolute.tolist() == [5, 0, 0, 0, 3.5, 1, 2]
    assert square == pytest.approx(absolute**2)


def test_of_exact_ages_they_are_keras_s_own_losses():
    rng = np.random.default_rng(4)
    labels, said = (
        rng.uniform(0, 100, (50, 1)).astype(np.float32),
        rng.uniform(0, 100, (50, 1)).astype(np.float32),
    )
    both_ends = np.repeat(labels, 2, axis=1)
    assert float(YearsOutside("mae")(both_ends, said)) == pytest.approx(
        float(keras.losses.MeanAbsoluteError()(labels, said)), rel=1e-5
    )
    assert float(YearsOutside("mse")(both_ends, said)) == pytest.approx(
        float(keras.losses.MeanSquaredError()(labels, said)), rel=1e-5
    )
