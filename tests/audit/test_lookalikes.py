"""Pairs that look most alike and are not known as copies."""

from __future__ import annotations

import numpy as np
import pytest

from agegender.audit import lookalikes
from agegender.audit.lookalikes import most_alike


def scene(n=60, seed=0):
    features = np.random.default_rng(seed).normal(size=(n, 16))
    features[41] = features[3] + 0.01
    features[22] = features[7] * 1.3 + 0.2
    features[59] = features[58]
    return features, np.arange(n)


@pytest.mark.parametrize("rows", [1, 7, 1024])
def test_pairs_are_those_a_plain_search_finds(rows, monkeypatch):
    monkeypatch.setattr(lookalikes, "_ROWS", rows)
    features, groups = scene()
    found = most_alike(features, groups, count=10)
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    scaled /= np.linalg.norm(scaled, axis=1, keepdims=True)
    plain = sorted(((scaled[i] @ scaled[j], i, j) for i in range(60) for j in range(i + 1, 60)), reverse=True)
    assert set(zip(found["first"], found["second"], strict=True)) == {(i, j) for _, i, j in plain[:10]}
    np.testing.assert_allclose(found["similarity"], [value for value, _, _ in plain[:10]], atol=1e-4)
    assert found["similarity"].is_monotonic_decreasing


def test_known_copies_are_left_out():
    features, groups = scene()
    groups[59] = groups[58]
    pairs = most_alike(features, groups, count=2)[["first", "second"]].to_numpy().tolist()
    assert sorted(pairs) == [[3, 41], [7, 22]]


def test_files_without_features_take_no_part():
    features, groups = scene()
    features[3] = np.nan
    found = most_alike(features, groups, count=2)
    assert 3 not in found.to_numpy()
    assert found[["first", "second"]].to_numpy().tolist()[0] == [58, 59]


def test_few_files_give_the_pairs_there_are():
    found = most_alike(np.random.default_rng(0).normal(size=(4, 3)), np.array([0, 1, 2, 2]), count=60)
    assert len(found) == 5
    assert found["first"].dtype == np.int64
