"""How often pictures come: the shares that rules ask for, and rows that keep to them."""

from __future__ import annotations

import numpy as np
import pytest

from agegender.data.sampling import SamplingRule, sample_rows, sampling_shares
from agegender.errors import ConfigError
from tests.conftest import label_table

TABLE = label_table(
    [3, 8, 30, 40, 70, 75],
    gender=[0, 1, 0, 1, 0, 1],
    source=["chips", "faces", "faces", "faces", "chips", "faces"],
    group=["White", "Sami", "", "Sami", "White", "Han"],
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("rule", "rows"),
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"source": "chips"}, [0, 4]),
        ({"group": "Sami"}, [1, 3]),
        ({"gender": "female"}, [1, 3, 5]),
        ({"age_to": 8}, [0, 1]),
        ({"age_from": 8, "age_to": 70}, [1, 2, 3, 4]),
        ({"source": "faces", "gender": "male", "age_from": 30}, [2]),
    ],
)
def test_a_rule_is_about_the_rows_that_match_all_of_it(rule, rows):
    assert np.flatnonzero(SamplingRule(2.0, **rule).matches(TABLE)).tolist() == rows


def test_a_range_counts_by_its_middle():
    ranged = label_table([34, 75], age_min=[30, 70], age_max=[39, 116])
    assert SamplingRule(2.0, age_from=35).matches(ranged).tolist() == [False, True]


def test_weights_of_rules_multiply_and_shares_add_up_to_the_epoch():
    rules = [
        SamplingRule(3.0, source="chips"),
        SamplingRule(2.0, age_to=9),
        SamplingRule(0.5, gender="female"),
    ]
    weights = np.array([6, 1, 1, 0.5, 3, 0.5])
    assert sampling_shares(rules, TABLE, 24) == pytest.approx(weights * 24 / weights.sum())
    assert sampling_shares(rules, TABLE, None) == pytest.approx(weights * 6 / weights.sum())
    assert sampling_shares([], TABLE, 3) == pytest.approx(np.full(6, 0.5))
    assert sampling_shares([], TABLE, None) is None
    assert sampling_shares([SamplingRule(0, source="chips")], TABLE, 8) == pytest.approx([0, 2, 2, 2, 0, 2])


def test_a_rule_about_nobody_and_rules_that_leave_nobody_are_refused():
    with pytest.raises(ConfigError, match=r"no training picture matches .*'source': 'fairfaces'"):
        sampling_shares([SamplingRule(2.0, source="fairfaces")], TABLE, None)
    with pytest.raises(ConfigError, match="leave no picture"):
        sampling_shares([SamplingRule(0.0)], TABLE, None)


@pytest.mark.parametrize(
    "values",
    [
        {"weight": -1},
        {"weight": float("nan")},
        {"weight": float("inf")},
        {"weight": "2"},
        {"weight": True},
        {"weight": 1, "gender": "boy"},
        {"weight": 1, "age_from": "3"},
        {"weight": 1, "age_from": 9, "age_to": 3},
        {"weight": 1, "age_to": -1},
        {"weight": 1, "source": 3},
    ],
)
def test_rules_that_make_no_sense_are_refused(values):
    with pytest.raises(ConfigError, match="sampling"):
        SamplingRule(**values)


def test_every_row_comes_its_share_rounded_one_way_or_the_other():
    shares = rng(1).uniform(0, 3.5, 200)
    shares[:20] = 0
    for seed in range(20):
        counts = np.bincount(sample_rows(shares, rng(seed)), minlength=200)
        assert (counts >= np.floor(shares)).all()
        assert (counts <= np.ceil(shares)).all()
        assert counts.sum() == round(shares.sum())


def test_on_average_every_row_comes_its_share():
    shares = np.array([0.05, 0.3, 1.0, 1.7, 0.95])
    counts = np.mean([np.bincount(sample_rows(shares, rng(i)), minlength=5) for i in range(3000)], axis=0)
    assert counts == pytest.approx(shares, abs=0.03)


def test_rows_are_drawn_independently_of_their_neighbours():
    """In one order for all epochs, systematic sampling would take every second row of a half together."""
    both = [np.isin([0, 1], sample_rows(np.full(10, 0.5), rng(i))).all() for i in range(2000)]
    assert np.mean(both) == pytest.approx(0.5 * 4 / 9, abs=0.04)


def test_the_same_stream_draws_the_same_rows_in_the_same_order():
    shares = rng(3).uniform(0, 2, 50)
    assert (sample_rows(shares, rng(7)) == sample_rows(shares, rng(7))).all()
    assert (np.bincount(sample_rows(shares, rng(7))) != np.bincount(sample_rows(shares, rng(8)))).any()
    assert sample_rows(np.full(30, 1.0), rng(0)).tolist() != sorted(range(30))
