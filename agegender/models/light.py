"""`LightModel`: a published model's light form, run by LiteRT. No TensorFlow.

The light form is one `.tflite` file beside each weight file; `publishing.light` writes it, proves it against
the Keras networks and notes both in the card.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agegender.batch import others_are_busy
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
        paths = {self.folder / file: sha256 for file, sha256 in files.items()}
        self._contents = {path: _read(path, sha256) for path, sha256 in paths.items()}
        self._networks = [_load(path, content) for path, content in self._contents.items()]
        self._narrow: list[LiteRTModel] | None = None
        self._lock = threading.Lock()

    def _run(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        answers: dict[str, NDArray[np.float32]] = {}
        for network in self._narrow_networks() if others_are_busy() else self._networks:
            answers |= zip(network.outputs, network(batch), strict=True)
        return answers

    def _narrow_networks(self) -> list[LiteRTModel]:
        """For many photos side by side: one thread a call, and as many calls at once as there are cores."""
        with self._lock:
            if self._narrow is None:
                copies = default_threads()
                every = self._contents.items()
                self._narrow = [_load(path, content, threads=1, copies=copies) for path, content in every]
            return self._narrow


def _read(path: Path, sha256: str) -> bytes:
    if not path.is_file():
        raise WeightsNotFoundError(f"{path} is not there: the model's card names it as its light form")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelError(f"{path} is damaged or was replaced: its SHA-256 is not the one in its card")
    return content


def _load(path: Path, content: bytes, **options: int) -> LiteRTModel:
    try:
        return LiteRTModel(content, **options)
    except ValueError as error:
        raise ModelError(f"{path} is not a LiteRT model: {error}") from error
