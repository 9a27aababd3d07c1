"""`TrainedModel`: a published model's Keras networks, loaded and ready. They are the source of truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from agegender.errors import ConfigError, ModelError, UnknownModelError
from agegender.labels import NetworkTask
from agegender.models.engine import Engine
from agegender.models.registry import get_system
from agegender.models.store import load_weights
from agegender.models.system import with_named_outputs


class TrainedModel(Engine):
    """A model with its weights, compiled to one function over all its Keras networks. See `Engine`.

    Attributes:
        networks: The network of each file: one a task, or one for both.
    """

    runtime = "Keras"
    max_batch = 32

    def __init__(self, name: str, weights_dir: Path | None = None) -> None:
        super().__init__(name, weights_dir)
        self.networks = self._load(self.folder)
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
        return answers

    def _run(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        return {name: output.numpy() for name, output in self._answer(tf.constant(batch)).items()}
