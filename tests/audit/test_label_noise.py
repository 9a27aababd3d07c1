"""What pairs of labels say: against simulated labellers whose error is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from agegender.audit.label_noise import estimate_label_noise, label_pairs
from agegender.data.duplicates import HASH_BITS, Fingerprints, mirrored
from tests.conftest import label_table


def labels(rows):
    ages, genders, ethnicities = zip(*rows, strict=True)
    return label_table(ages, gender=genders, ethnicity=ethnicities)


def prints(n, digests=None):
    hashes = np.random.default_rng(0).integers(0, 2, (n, HASH_BITS)).astype(bool)
    return Fingerprints(digests or [f"{i}" for i in range(n)], hashes, np.ones(n, bool))


def simulate(photos, draw_error, seed=0, flip=0.0):
    """Two independent labels of each of some photos of 60-year-olds, and of one of them a third."""
    rng = np.random.default_rng(seed)
    groups = np.concatenate([np.repeat(np.arange(photos), 2), [0]])
    truth = rng.integers(0, 2, photos)[groups]
    genders = np.where(rng.random(len(groups)) < flip, 1 - truth, truth)
    ages = 60 + draw_error(rng, len(groups))
    return label_table(ages, gender=genders), groups


def noise_of(table, groups, **options):
    return estimate_label_noise(label_pairs(table, groups, prints(len(table))), table["age"], **options)


def test_pairs_are_those_within_groups():
    table = labels([(20, 0, 0), (30, 1, 0), (26, 0, 2), (90, 1, 1), (20, 0, 0), (5, 0, 0)])
    pairs = label_pairs(table, np.array([0, 1, 0, 2, 0, 1]), prints(6))
    assert pairs[["first", "second", "photo"]].to_numpy().tolist() == [
        [0, 2, 0],
        [0, 4, 0],
        [2, 4, 0],
        [1, 5, 1],
    ]
    assert pairs["age_gap"].tolist() == [6, 0, 6, 25]
    assert pairs["age"].tolist() == [23, 20, 23, 17.5]
    assert pairs["gender_differs"].tolist() == [False, False, False, True]
    assert pairs["ethnicity_differs"].tolist() == [True, False, True, False]


def test_ranges_are_as_far_apart_as_their_nearest_years_and_sources_have_their_own_words():
    table = label_table(
        [24, 34, 24, 75, 31],
        age_min=[20, 30, 20, 70, 31],
        age_max=[29, 39, 29, 116, 31],
        group=["White", "White", "Black", "White", "white"],
        source=["faces", "faces", "faces", "faces", "chips"],
    )
    pairs = label_pairs(table, np.zeros(5, int), prints(5)).set_index(["first", "second"])
    assert pairs["age_gap"].to_dict() == {
        **{(0, 1): 1, (0, 2): 0, (0, 3): 41, (0, 4): 2, (1, 2): 1, (1, 3): 31, (1, 4): 0},
        **{(2, 3): 41, (2, 4): 2, (3, 4): 39},
    }
    assert not pairs["exact"].any()
    assert pairs["ages_differ"].sum() == 9
    assert pairs["ethnicity_differs"].sum() == 3  # of the third, within its source


def test_pairs_know_their_distance_mirrored_or_not():
    known = prints(4, digests=["a", "b", "a", "c"])
    known.hashes[1] = mirrored(known.hashes[:1])[0]
    known.hashes[1, :7] ^= True
    known.hashes[2] = known.hashes[0]
    pairs = label_pairs(labels([(1, 0, 0)] * 4), np.array([0, 0, 0, 1]), known)
    assert pairs["bits"].tolist() == [7, 0, 7]
    assert pairs["same_bytes"].tolist() == [False, True, False]


def test_without_pairs_there_is_no_estimate():
    table = labels([(20, 0, 0), (30, 1, 0)])
    pairs = label_pairs(table, np.array([0, 1]), prints(2))
    assert pairs.empty
    assert estimate_label_noise(pairs, table["age"]) is None


def test_the_floor_is_the_error_of_one_who_knows_the_truth():
    sigma = 5.0
    noise = noise_of(*simulate(20_000, lambda rng, n: rng.normal(0, sigma, n)))
    least = sigma * np.sqrt(2 / np.pi)  # of a Gaussian: its mean absolute deviation
    assert noise.age_floor.value == pytest.approx(least, rel=0.02)
    assert noise.age_floor.low < least < noise.age_floor.high
    assert noise.groups == 20_000
    assert noise.pairs == 20_002


@pytest.mark.parametrize(
    ("draw", "error_of_median"),
    [
        (lambda rng, n: rng.laplace(0, 4, n), 4.0),
        (lambda rng, n: np.where(rng.random(n) < 0.05, 30.0, 0.0), 1.5),  # a slip of the pen now and then
        (lambda rng, n: rng.choice([-5.0, 5.0], n), 5.0),
    ],
)
def test_the_bounds_hold_for_any_errors(draw, error_of_median):
    noise = noise_of(*simulate(20_000, draw), resamples=10)
    least, most = noise.age_floor_bounds
    assert least * 0.98 <= error_of_median <= most * 1.02


def test_the_ceiling_is_the_accuracy_of_one_who_knows_the_truth():
    noise = noise_of(*simulate(20_000, lambda rng, n: np.zeros(n), flip=0.04))
    assert noise.gender_differs.value == pytest.approx(2 * 0.04 * 0.96, abs=0.005)
    assert noise.gender_ceiling.value == pytest.approx(0.96, abs=0.003)
    assert noise.gender_ceiling.low < 0.96 < noise.gender_ceiling.high
    assert noise.gender_ceiling_least < 0.96


def test_labels_at_odds_more_often_than_chance_leave_chance():
    table = label_table([30] * 100, gender=[0, 1] * 50)
    noise = noise_of(table, np.repeat(np.arange(50), 2), resamples=10)
    assert noise.gender_differs.value == 1
    assert noise.gender_ceiling.value == 0.5


def test_intervals_narrow_with_photos_not_with_pairs():
    few, groups = simulate(50, lambda rng, n: rng.normal(0, 5, n))
    many, more_groups = simulate(5000, lambda rng, n: rng.normal(0, 5, n))
    # One photo with 60 files has 1,770 pairs, but it is one photo.
    crowd = label_table(60 + np.random.default_rng(1).normal(0, 5, 60))
    crowded = noise_of(pd.concat([few, crowd], ignore_index=True), np.concatenate([groups, np.full(60, 50)]))
    narrow = noise_of(many, more_groups)

    def width(estimate):
        return estimate.high - estimate.low

    assert width(noise_of(few, groups).age_gap) > 5 * width(narrow.age_gap)
    assert crowded.pairs > 1800
    assert width(crowded.age_gap) > 5 * width(narrow.age_gap)


def test_the_reweighted_floor_has_the_ages_of_the_whole_dataset():
    # Children's labels agree, adults' are 10 years apart; copies are half and half, the dataset is not.
    table = label_table([2, 2, 3, 3, 25, 35, 28, 38])
    groups = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    pairs = label_pairs(table, groups, prints(8))
    noise = estimate_label_noise(pairs, [2] * 10 + [30] * 90, resamples=10)
    assert noise.age_floor.value == pytest.approx(5 / np.sqrt(2))
    assert noise.age_floor_reweighted.value == pytest.approx(9 / np.sqrt(2))
    assert noise.by_band["pairs"].to_dict() == {"0-4": 2, "26-35": 2}
    assert noise.by_band["age_gap"].to_dict() == {"0-4": 0, "26-35": 10}


def test_the_same_seed_gives_the_same_intervals():
    table, groups = simulate(40, lambda rng, n: rng.normal(0, 5, n))
    assert noise_of(table, groups, seed=3).to_dict() == noise_of(table, groups, seed=3).to_dict()
    assert noise_of(table, groups, seed=3).age_gap != noise_of(table, groups, seed=4).age_gap
