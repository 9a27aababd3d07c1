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
from agegender.errors import ConfigError, ModelError, UnknownModelError
from agegender.labels import NetworkTask
from agegender.models.card import WEIGHTS_DIR, read_card
from agegender.models.registry import model_spec
from agegender.models.store import load_weights
from agegender.models.systems import get_system, with_named_outputs

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
        age_range: Probability of each of the nine age ranges, float32 of shape (n, 9), or ``None``.
    """

    age: NDArray[np.float32] | None
    age_distribution: NDArray[np.float32] | None
    female: NDArray[np.float32] | None
    age_range: NDArray[np.float32] | None = None


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
        self.networks = self._load(weights_dir / name)
        self._models = [with_named_outputs(network) for network in self.networks.values()]
        self._answer = tf.function(
            self._forward,
            input_signature=[tf.TensorSpec((None, *self.input_size, 3), tf.float32)],
            autograph=False,
        )
        # Traced here, once: tracing is the part of a tf.function that threads must not race for.
        self._answer.get_concrete_function()

    def _load(self, folder: Path) -> dict[NetworkTask, keras.Model]:
        """Builds and fills the network of each file: one a task, or one for both."""
        try:
            system = get_system(self.card["system"])
            options = system.options(**self.card["options"])
        except ConfigError as error:
            raise UnknownModelError(f"{folder.name}: {error}") from error
        except TypeError as error:
            raise ModelError(
                f"the card of {folder.name} has options this version does not know: {error}"
            ) from error
        files = self.card.get("files", {})
        tasks: list[NetworkTask] = ["both"] if "both.weights.h5" in files else list(self.card["tasks"])
        networks: dict[NetworkTask, keras.Model] = {}
        for task in tasks:
            # A .json is the index of a network that shares some of its arrays with another's file.
            file = f"{task}.weights.json" if f"{task}.weights.json" in files else f"{task}.weights.h5"
            if file not in files:
                raise ModelError(f"the card of {folder.name} names no checksum of {file}")
            networks[task] = system.build(task, options)
            load_weights(networks[task], folder / file, sha256=files[file])
        return networks

    def _forward(self, chips: Any) -> dict[str, Any]:
        answers: dict[str, Any] = {}
        for model in self._models:
            answers |= model(chips, training=False)
        return {name: x[:, 0] if name in ("age", "female") else x for name, x in answers.items()}

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
        return _raw_answers(joined)

    def _no_answers(self) -> RawAnswers:
        # Not every kernel takes an empty batch.
        outputs = self._answer.get_concrete_function().structured_outputs
        empty = {key: np.zeros((0, *output.shape[1:]), np.float32) for key, output in outputs.items()}
        return _raw_answers(empty)


def _raw_answers(found: dict[str, NDArray[np.float32]]) -> RawAnswers:
    names = ("age", "age_distribution", "female", "age_range")
    return RawAnswers(*(found.get(name) for name in names))
