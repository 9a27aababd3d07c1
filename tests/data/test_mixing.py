"""MixUp, CutMix and erasing: chips, targets and weights change alike."""

from __future__ import annotations

import numpy as np
import pytest

from agegender.data.mixing import Mixing, mix_batch

N, SIDE = 16, 24


def batch() -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Flat chips whose brightness, targets and weight all tell their number."""
    number = np.arange(N, dtype=np.float32)[:, None]
    chips = np.broadcast_to(10 * number[:, :, None, None], (N, SIDE, SIDE, 3)).copy()
    targets = {"age": 3 * number, "range": np.eye(N, dtype=np.float32), "female": number % 2}
    return chips, targets, (number[:, 0] + 1) / 4


def mixed(seed: int = 0, **kinds: float):
    chips, targets, weights = batch()
    return mix_batch(chips, targets, weights, np.random.default_rng(seed), Mixing(**kinds))


def test_nothing_is_false_and_anything_is_true():
    assert not Mixing()
    assert all(Mixing(**{kind: 0.1}) for kind in ("mixup", "cutmix", "erasing"))


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_all_targets_of_a_chip_and_its_weight_are_mixed_by_one_share(kind):
    chips, targets, weights = mixed(**{kind: 1.0})
    assert chips.shape == (N, SIDE, SIDE, 3)
    assert chips.dtype == np.float32
    shares = targets["range"]
    assert shares.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert ((shares > 1e-4).sum(axis=1) <= 2).all()
    assert ((shares > 0.05) & (shares < 0.95)).any(axis=1).sum() > N / 4
    number = shares @ np.arange(N)
    assert targets["age"][:, 0] == pytest.approx(3 * number, abs=1e-3)
    assert targets["female"][:, 0] == pytest.approx(shares @ (np.arange(N) % 2), abs=1e-4)
    assert weights == pytest.approx((number + 1) / 4, abs=1e-4)
    # On average a chip's pixels show each face by its share; a patch has whole pixels only.
    assert chips.mean(axis=(1, 2, 3)) == pytest.approx(10 * number, abs=0.01 if kind == "mixup" else 12)


def test_mixup_blends_and_cutmix_pastes():
    assert np.ptp(mixed(mixup=1.0)[0], axis=(1, 2, 3)).max() < 1e-3
    pasted = mixed(cutmix=1.0)[0]
    assert np.ptp(pasted, axis=(1, 2, 3)).max() > 5
    assert set(np.unique(pasted)) <= set(np.arange(N) * 10.0)


def test_erasing_leaves_targets_alone_and_covers_its_share_of_chips():
    plain, targets, weights = batch()
    covered = []
    for seed in range(20):
        chips, new_targets, new_weights = mixed(seed, erasing=0.25)
        covered += (chips != plain).any(axis=(1, 2, 3)).tolist()
        assert all((new_targets[name] == targets[name]).all() for name in targets)
        assert (new_weights == weights).all()
        assert chips.min() >= 0
        assert chips.max() <= 255
    assert np.mean(covered) == pytest.approx(0.25, abs=0.07)


def test_with_both_each_batch_takes_one():
    def pasted(seed: int) -> bool:
        return bool(np.ptp(mixed(seed, mixup=1.0, cutmix=1.0)[0], axis=(1, 2, 3)).max() > 1)

    assert 6 < sum(pasted(seed) for seed in range(30)) < 24


@pytest.mark.parametrize("kind", ["mixup", "cutmix", "erasing"])
def test_a_seed_decides(kind):
    first, again, other = (mixed(seed, **{kind: 0.5}) for seed in (3, 3, 4))
    assert (first[0] == again[0]).all()
    assert (first[1]["age"] == again[1]["age"]).all()
    assert (first[0] != other[0]).any()


@pytest.mark.parametrize("alpha", [1e-3, 0.05])
def test_the_smallest_alphas_give_numbers(alpha):
    for kind in ("mixup", "cutmix"):
        chips, targets, _ = mixed(1, **{kind: alpha})
        assert np.isfinite(chips).all()
        assert np.isfinite(targets["age"]).all()


def test_a_batch_of_one_and_no_weights_are_fine():
    chips, targets, _ = batch()
    one = {name: target[:1] for name, target in targets.items()}
    out, y, weights = mix_batch(chips[:1], one, None, np.random.default_rng(0), Mixing(0.5, 0.5, 0.5))
    assert weights is None
    assert out.shape == (1, SIDE, SIDE, 3)
    assert y["age"].shape == (1, 1)


def test_the_source_is_left_alone():
    chips, targets, weights = batch()
    mix_batch(chips, targets, weights, np.random.default_rng(0), Mixing(0.5, 0.5, 1.0))
    before, targets_before, weights_before = batch()
    assert (chips == before).all()
    assert (weights == weights_before).all()
    assert all((targets[name] == targets_before[name]).all() for name in targets)
