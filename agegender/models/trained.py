"""`TrainedModel`: a published model loaded and ready, face chips in, raw answers out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from agegender.data.augment import resize_chip
from agegender.errors import ModelError, UnknownModelError
from agegender.labels import Task
from agegender.models import vggface
from agegender.models.card import WEIGHTS_DIR, read_card
from agegender.models.registry import model_spec
from agegender.models.store import load_weights

MAX_BATCH: Final = 32
"""Chips that go through the networks at once; more are done in turns, so that memory stays bounded."""


@dataclass(frozen=True, eq=False)
class RawAnswers:
    """What the networks say of n chips, before calibration.

    Attributes:
        age: Years, float32 of shape (n,), or ``None`` where age is not predicted.
        age_distribution: Probability of each year, float32 of shape (n, 117), or ``None`` where the age
            network answers with a number only.
        female: Probability of *female*, float32 of shape (n,), or ``None``.
    """

    age: NDArray[np.float32] | None
    age_distribution: NDArray[np.float32] | None
    female: NDArray[np.float32] | None


class TrainedModel:
    """A model with its weights, compiled to one function over all its networks. Safe to share by threads.

    Args:
        name: A trained model.
        weights_dir: Where the models are.

    Raises:
        UnknownModelError: No such model.
        WeightsNotFoundError: It has no weights here.
        ModelError: Its files are damaged.
    """

    def __init__(self, name: str, weights_dir: Path = WEIGHTS_DIR) -> None:
        spec = model_spec(name, weights_dir)
        self.name = name
        self.card = read_card(name, weights_dir)
        self.input_size = spec.input_size
        self.networks = {task: self._load(task, weights_dir / name) for task in spec.tasks}
        self._answer = tf.function(
            self._forward,
            input_signature=[tf.TensorSpec((None, *self.input_size, 3), tf.float32)],
            autograph=False,
        )
        # Traced here, once: tracing is the part of a tf.function that threads must not race for.
        self._answer.get_concrete_function()

    def _load(self, task: Task, folder: Path) -> keras.Sequential:
        if self.card["system"] != "vggface":
            raise UnknownModelError(f"{folder.name}: unknown system {self.card['system']!r}")
        try:
            options = vggface.VGGFaceOptions(**self.card["options"])
        except TypeError as error:
            raise ModelError(
                f"the card of {folder.name} has options this version does not know: {error}"
            ) from error
        network = vggface.build(task, options)
        file = f"{task}.weights.h5"
        if file not in self.card.get("files", {}):
            raise ModelError(f"the card of {folder.name} names no checksum of {file}")
        load_weights(network, folder / file, sha256=self.card["files"][file])
        return network

    def _forward(self, chips: Any) -> dict[str, Any]:
        answers = {}
        for task, network in self.networks.items():
            x = chips
            for layer in network.layers:
                x = (
                    layer(x, training=False)
                    if isinstance(layer, (keras.Model, keras.layers.Dropout))
                    else layer(x)
                )
                if layer.name == "age_distribution":
                    answers["age_distribution"] = x
            answers[task] = x[:, 0]
        return answers

    def answer(self, chips: NDArray[np.uint8]) -> RawAnswers:
        """Runs all networks on face chips.

        Args:
            chips: RGB ``uint8`` of shape (n, height, width, 3), any size, UTKFace geometry; n may be 0.

        Returns:
            Raw answers for n chips.

        Raises:
            ValueError: The array is not of that form.
        """
        if chips.ndim != 4 or chips.shape[-1] != 3 or chips.dtype != np.uint8:
            raise ValueError(
                f"chips must be uint8 of shape (n, height, width, 3), not {chips.dtype} {chips.shape}"
            )
        if not len(chips):
            return self._no_answers()
        parts: list[dict[str, NDArray[np.float32]]] = []
        for start in range(0, len(chips), MAX_BATCH):
            part = chips[start : start + MAX_BATCH]
            batch = np.stack([resize_chip(chip, self.input_size) for chip in part]).astype(np.float32)
            parts.append({key: value.numpy() for key, value in self._answer(tf.constant(batch)).items()})
        joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        return RawAnswers(joined.get("age"), joined.get("age_distribution"), joined.get("gender"))

    def _no_answers(self) -> RawAnswers:
        # Not every kernel takes an empty batch.
        outputs = self._answer.get_concrete_function().structured_outputs
        empty = {key: np.zeros((0, *output.shape[1:]), np.float32) for key, output in outputs.items()}
        return RawAnswers(empty.get("age"), empty.get("age_distribution"), empty.get("gender"))
