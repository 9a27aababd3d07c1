"""What the face-recognition base sees in a chip, without any training of ours.

It never saw UTKFace, so a label it cannot explain is doubted by somebody who did not learn it by heart.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import keras
import numpy as np
from numpy.typing import NDArray

from agegender.audit.faceres import HEADS_FILE, build_heads
from agegender.data.pictures import read_chip
from agegender.errors import DatasetError
from agegender.faces.chip import resize_chip
from agegender.models.backbones import MOBILENET_BASE, build_mobilenet, load_base_weights
from agegender.models.card import find_model
from agegender.models.store import load_weights
from agegender.progress import Progress

INPUT_SIZE: Final = (128, 128)
"""Height and width in pixels: a ridge regression of age on the features has an error of 5.0 years on UTKFace
here and of 5.9 years at 96, for 1.7 times the work."""

FEATURES: Final = 2149

_POOLED: Final = ("conv_pw_5_relu", "conv_pw_11_relu", "conv_pw_13_relu")
_BATCH: Final = 64
_READERS: Final = 2


def join_base(body: keras.Model, heads: keras.Model) -> keras.Model:
    """Makes one network of all that the base has to say.

    Args:
        body: Result of `build_mobilenet`.
        heads: Result of `faceres.build_heads`.

    Returns:
        RGB (batch, height, width, 3), 0 to 255, to features (batch, `FEATURES`): averages over the maps of
        three blocks, and the hidden layer and answers of the base's own age and gender heads.
    """
    pooling = keras.layers.GlobalAveragePooling2D
    maps = [pooling(name=f"{name}_pooled")(body.get_layer(name).output) for name in _POOLED]
    hidden = heads.get_layer("feats")(body.output)
    answers = [heads.get_layer(name)(hidden) for name in ("age_pred", "gender_pred")]
    outputs = keras.layers.Concatenate(name="features")([*maps, hidden, *answers])
    return keras.Model(body.input, outputs, name="frozen_features")


def frozen_features(
    files: Sequence[Path],
    *,
    input_size: tuple[int, int] = INPUT_SIZE,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Looks at chips with the base that ships with the project.

    Args:
        files: n chips.
        input_size: (height, width) they are brought to, in pixels.
        progress: Called after each batch.

    Returns:
        float32 of shape (n, `FEATURES`); rows of files that cannot be decoded are NaN.

    Raises:
        WeightsNotFoundError: The base's weights are not there.
    """
    body, heads = build_mobilenet(input_size), build_heads()
    load_base_weights(body, "mobilenet")
    load_weights(heads, find_model(MOBILENET_BASE) / HEADS_FILE)
    network = join_base(body, heads)
    found = np.full((len(files), FEATURES), np.nan, dtype=np.float32)

    def read(start: int) -> tuple[list[int], NDArray[np.uint8]]:
        rows, chips = [], []
        for row, file in enumerate(files[start : start + _BATCH], start=start):
            try:
                chips.append(resize_chip(read_chip(file), input_size))
            except DatasetError:
                continue
            rows.append(row)
        return rows, np.array(chips, dtype=np.uint8)

    with ThreadPoolExecutor(_READERS) as pool:
        # Two batches ahead, no more: the queue of all of them would hold every chip in memory.
        starts = range(0, len(files), _BATCH)
        waiting = [pool.submit(read, start) for start in starts[:_READERS]]
        for index, start in enumerate(starts):
            rows, chips = waiting.pop(0).result()
            if index + _READERS < len(starts):
                waiting.append(pool.submit(read, starts[index + _READERS]))
            if rows:
                found[rows] = network.predict_on_batch(chips)
            if progress is not None:
                progress("Looking at faces", min(start + _BATCH, len(files)), len(files))
    return found
