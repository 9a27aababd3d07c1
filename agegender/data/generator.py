"""`ChipGenerator`: batches of chips and labels for Keras, augmented on the fly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from agegender.data.augment import Augmentation, augment_chip
from agegender.data.mixing import Mixing, mix_batch
from agegender.errors import DatasetError
from agegender.faces.chip import resize_chip

_SHUFFLE_STREAM, _AUGMENT_STREAM, _MIX_STREAM = 0, 1, 2


def read_chip(path: Path) -> NDArray[np.uint8]:
    """Decodes one dataset file.

    A plain decoder without the checks of `agegender.images`: dataset files are read hundreds of
    thousands of times.

    Args:
        path: A JPEG or PNG file.

    Returns:
        RGB ``uint8`` of shape (height, width, 3).

    Raises:
        DatasetError: The file cannot be read or decoded.
    """
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from error
    image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if data.size else None
    if image is None:
        raise DatasetError(f"{path} is not an image that can be decoded")
    return np.asarray(image, dtype=np.uint8)


class ChipGenerator(keras.utils.PyDataset):
    """Batches for ``fit`` and ``evaluate``.

    Every chip of every epoch, and every batch that is mixed, has a random stream of its own, derived from
    seed, epoch and position, so a resumed run sees what an uninterrupted one would have seen, whatever the
    number of workers.

    Args:
        paths: n chip files.
        targets: One array a model output, by the output's name, each of first dimension n.
        input_size: (height, width) of the batches, in pixels.
        batch_size: Chips a batch; the last batch may be smaller.
        augmentation: ``None`` serves the chips as they are, in order.
        seed: Of shuffling and augmentation.
        weights: Weight of each chip in the loss, shape (n,), or ``None``.
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
        batch_size: int = 64,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        weights: NDArray[np.float32] | None = None,
        mixing: Mixing | None = None,
        workers: int = 2,
    ) -> None:
        super().__init__(workers=workers, use_multiprocessing=False, max_queue_size=8)
        self.paths = list(paths)
        self.targets = {name: np.asarray(target) for name, target in targets.items()}
        self.input_size = input_size
        self.batch_size = batch_size
        self.augmentation = augmentation
        self.seed = seed
        self.weights = weights
        self.mixing = mixing
        self.start_epoch(0)

    def __len__(self) -> int:
        return math.ceil(len(self.paths) / self.batch_size)

    def start_epoch(self, epoch: int) -> None:
        """Sets the epoch, 0-based, which decides order and augmentation.

        Called by whoever runs the epochs. Keras's own ``on_epoch_end`` will not do: it is also called
        before the first epoch, and while batches are being read ahead.
        """
        order = np.arange(len(self.paths))
        if self.augmentation is not None:
            np.random.default_rng((self.seed, _SHUFFLE_STREAM, epoch)).shuffle(order)
        self._epoch = (epoch, order)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        epoch, order = self._epoch  # together: another thread may start the next epoch meanwhile
        rows = order[index * self.batch_size : (index + 1) * self.batch_size]
        chips = np.empty((len(rows), *self.input_size, 3), dtype=np.float32)
        for i, row in enumerate(rows.tolist()):
            chip = read_chip(self.paths[row])
            if self.augmentation is None:
                chips[i] = resize_chip(chip, self.input_size)
            else:
                rng = np.random.default_rng((self.seed, _AUGMENT_STREAM, epoch, row))
                chips[i] = augment_chip(chip, self.input_size, rng, self.augmentation)
        y = {name: target[rows] for name, target in self.targets.items()}
        weights = None if self.weights is None else self.weights[rows]
        if self.mixing is not None:
            rng = np.random.default_rng((self.seed, _MIX_STREAM, epoch, index))
            chips, y, weights = mix_batch(chips, y, weights, rng, self.mixing)
        return (chips, y) if weights is None else (chips, y, dict.fromkeys(y, weights))
