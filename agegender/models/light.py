"""`LightModel`: a published model's light form, run by LiteRT. No TensorFlow.

The light form is one `.tflite` file beside each weight file; `publishing.light` writes it, proves it against
the Keras networks and notes both in the card.
"""

from __future__ import annotations

import hashlib
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agegender.batch import SideBySide
from agegender.errors import ModelError, WeightsNotFoundError
from agegender.litert import LiteRTModel, default_threads
from agegender.models.engine import Engine


class LightModel(Engine):
    """The light form of a model, loaded. See `Engine`.

    Raises:
        WeightsNotFoundError: The model is not published here, or a file of its light form is not there.
        ModelError: It has no light form, or a file of it is damaged.
    """

    runtime = "LiteRT"
    max_batch = 8
    """From here on more chips at once gain nothing and cost memory (docs/measurements/engines.json)."""

    def __init__(self, name: str, weights_dir: Path | None = None) -> None:
        super().__init__(name, weights_dir)
        files = self.card.get("light", {}).get("files", {})
        if not files:
            raise ModelError(f"model {name!r} has no light form: publish it again with --light")
        self._networks = [_load(self.folder / file, sha256) for file, sha256 in files.items()]
        self._crew = SideBySide(default_threads())

    def _run(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        # Whole networks and parts of batches side by side gain more than threads within a network.
        parts = np.array_split(batch, min(len(batch), max(1, default_threads() // len(self._networks))))
        work = [(network, part) for network in self._networks for part in parts]
        done = iter(self._crew.map(lambda unit: unit[0](unit[1]), work))
        answers: dict[str, NDArray[np.float32]] = {}
        for network in self._networks:
            joined = map(np.concatenate, zip(*islice(done, len(parts)), strict=True))
            answers |= zip(network.outputs, joined, strict=True)
        return answers


def _load(path: Path, sha256: str) -> LiteRTModel:
    if not path.is_file():
        raise WeightsNotFoundError(f"{path} is not there: the model's card names it as its light form")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelError(f"{path} is damaged or was replaced: its SHA-256 is not the one in its card")
    try:
        return LiteRTModel(content, threads=1, copies=default_threads())
    except ValueError as error:
        raise ModelError(f"{path} is not a LiteRT model: {error}") from error
