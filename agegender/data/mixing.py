"""Mixing of whole batches by Keras's own layers: RandomErasing, MixUp, CutMix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Mixing:
    """What is done to a training batch after each chip was augmented. All zero does nothing.

    Attributes:
        mixup: Alpha of MixUp (Zhang et al. 2018), 0 to 1: how often two faces and their labels are blended
            in halves rather than nearly not.
        cutmix: Alpha of CutMix (Yun et al. 2019), 0 to 1: a patch of another face is pasted in, and labels
            are blended by its area. Where MixUp is on too, each batch takes one of them by chance.
        erasing: Probability of covering a rectangle of a chip with noise.
    """

    mixup: float = 0.0
    cutmix: float = 0.0
    erasing: float = 0.0

    def __bool__(self) -> bool:
        return any((self.mixup, self.cutmix, self.erasing))


def mix_batch(
    chips: NDArray[np.float32],
    targets: dict[str, NDArray[Any]],
    weights: NDArray[np.float32] | None,
    rng: np.random.Generator,
    mixing: Mixing,
) -> tuple[NDArray[np.float32], dict[str, NDArray[Any]], NDArray[np.float32] | None]:
    """Changes a batch; all targets of a chip, and its weight, are mixed by the same share.

    Args:
        chips: RGB of shape (n, height, width, 3), 0 to 255.
        targets: By output name, each of shape (n, columns).
        weights: Shape (n,), or ``None``.
        rng: Where all randomness comes from.
        mixing: What to do.

    Returns:
        Chips, targets and weights of the same shapes, float32.
    """
    erase_seed, mix_seed = (int(seed) for seed in rng.integers(1, 2**31, 2))
    cutmix = mixing.cutmix > 0 and (mixing.mixup == 0 or rng.random() < 0.5)
    # The layers know one array of labels; side by side, all of ours are one.
    columns = [*targets.values(), *([] if weights is None else [weights[:, None]])]
    batch = {"images": chips, "labels": np.concatenate(columns, axis=1).astype(np.float32)}
    # A layer each time: threads that shared one would race for its random state. On the processor, because
    # the graphics card, where there is one, is busy with the batch before.
    with keras.device("cpu:0"):
        if mixing.erasing > 0:
            share = (mixing.erasing, mixing.erasing)
            batch = keras.layers.RandomErasing(share, seed=erase_seed, dtype="float32")(batch)
        if cutmix:
            alpha = (mixing.cutmix, mixing.cutmix)
            batch = keras.layers.CutMix(alpha, seed=mix_seed, dtype="float32")(batch)
        elif mixing.mixup > 0:
            batch = keras.layers.MixUp(mixing.mixup, seed=mix_seed, dtype="float32")(batch)
    edges = np.cumsum([column.shape[1] for column in columns])[:-1]
    mixed = np.split(np.asarray(batch["labels"], dtype=np.float32), edges, axis=1)
    new_weights = None if weights is None else mixed.pop()[:, 0]
    images = np.asarray(batch["images"], dtype=np.float32)
    return images, dict(zip(targets, mixed, strict=True)), new_weights
