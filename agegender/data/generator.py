"""`ChipGenerator`: batches of chips and labels for Keras, augmented on the fly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from agegender.data.augment import Augmentation, augment_chip, place_chip
from agegender.data.mixing import Mixing, mix_batch
from agegender.data.pictures import read_chip
from agegender.data.sampling import sample_rows
from agegender.faces.chip import resize_chip
from agegender.faces.face import Face

_SHUFFLE_STREAM, _AUGMENT_STREAM, _MIX_STREAM = 0, 1, 2


class ChipGenerator(keras.utils.PyDataset):
    """Batches for ``fit`` and ``evaluate``.

    Every chip of every epoch, and every batch that is mixed, has a random stream of its own, derived from
    seed, epoch and position, so a resumed run sees what an uninterrupted one would have seen, whatever the
    number of workers.

    Args:
        paths: n files.
        targets: One array a model output, by the output's name, each of first dimension n.
        input_size: (height, width) of the batches, in pixels.
        faces: Where the face is in each of n pictures; ``None`` for one that is a chip in UTKFace's geometry,
            or for all of them.
        margin: Pixels that chips show beyond UTKFace's on each side.
        batch_size: Chips a batch; the last batch may be smaller.
        augmentation: ``None`` serves the chips as they are, in order.
        seed: Of shuffling and augmentation.
        weights: Weight of each chip in the loss, shape (n,), or ``None``.
        shares: How often each picture is wanted in an epoch, shape (n,): 0.5 is every other epoch. ``None``
            takes each once. See `sample_rows`.
        mixing: What is done to whole batches after that; takes targets of two dimensions.
        workers: Threads that prepare batches ahead.

    Yields:
        ``(chips, targets)`` or ``(chips, targets, weights)``: chips float32 of shape (batch, height,
        width, 3), RGB, 0 to 255; targets and weights by output name.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        targets: Mapping[str, NDArray[Any]],
        *,
        input_size: tuple[int, int],
        faces: Sequence[Face | None] | None = None,
        margin: int = 0,
        batch_size: int = 64,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        weights: NDArray[np.float32] | None = None,
        shares: NDArray[np.float64] | None = None,
        mixing: Mixing | None = None,
        workers: int = 2,
    ) -> None:
        super().__init__(workers=workers, use_multiprocessing=False, max_queue_size=8)
        self.paths = list(paths)
        self.targets = {name: np.asarray(target) for name, target in targets.items()}
        self.input_size = input_size
        self.faces = [None] * len(self.paths) if faces is None else list(faces)
        self.margin = margin
        self.batch_size = batch_size
        self.augmentation = augmentation
        self.seed = seed
        self.weights = weights
        self.shares = shares
        self.mixing = mixing
        self.start_epoch(0)

    def __len__(self) -> int:
        return math.ceil(len(self._epoch[1]) / self.batch_size)

    def start_epoch(self, epoch: int) -> None:
        """Sets the epoch, 0-based, which decides order and augmentation.

        Called by whoever runs the epochs. Keras's own ``on_epoch_end`` will not do: it is also called
        before the first epoch, and while batches are being read ahead.
        """
        order = np.arange(len(self.paths))
        rng = np.random.default_rng((self.seed, _SHUFFLE_STREAM, epoch))
        if self.shares is not None:
            order = sample_rows(self.shares, rng)
        if self.augmentation is not None:
            rng.shuffle(order)
        self._epoch = (epoch, order)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        epoch, order = self._epoch  # together: another thread may start the next epoch meanwhile
        rows = order[index * self.batch_size : (index + 1) * self.batch_size]
        chips = np.empty((len(rows), *self.input_size, 3), dtype=np.float32)
        first = index * self.batch_size
        for i, row in enumerate(rows.tolist()):
            path, face = self.paths[row], self.faces[row]
            if self.augmentation is None:
                chips[i] = resize_chip(read_chip(path, face, self.margin), self.input_size)
                continue
            picture = read_chip(path)
            # Of a picture that comes twice in an epoch, each time is another variation.
            place = row if self.shares is None else first + i
            rng = np.random.default_rng((self.seed, _AUGMENT_STREAM, epoch, place))
            plain = face is None and not self.margin
            placement = None if plain else place_chip(picture, face, self.margin)
            chips[i] = augment_chip(picture, self.input_size, rng, self.augmentation, placement)
        y = {name: target[rows] for name, target in self.targets.items()}
        weights = None if self.weights is None else self.weights[rows]
        if self.mixing is not None:
            rng = np.random.default_rng((self.seed, _MIX_STREAM, epoch, index))
            chips, y, weights = mix_batch(chips, y, weights, rng, self.mixing)
        return (chips, y) if weights is None else (chips, y, dict.fromkeys(y, weights))
