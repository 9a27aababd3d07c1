"""Weights of several losses that are learned with the network, in place of fixed ones.

Kendall, Gal and Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and
Semantics" (2018): each task has a noise of its own, learned as s, the logarithm of its scale. A loss L counts
as exp(−s) L + c s. A task that stays noisy is turned down by the first term, and the second keeps the network
from calling everything noise. c = 1 makes the absolute error a Laplace likelihood; c = ½ is the paper's for
cross-entropy (equation 10) and, up to a factor, for the squared error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import keras
from keras import ops

from agegender.errors import ConfigError

_LAPLACE: Final = 1.0
_SOFTMAX_OR_GAUSS: Final = 0.5


@keras.saving.register_keras_serializable(package="agegender")
class TaskUncertainty(keras.layers.Layer):
    """Holds the learned logarithm of each task's noise scale. It is not part of a network's graph.

    Args:
        weights: What each task's loss is multiplied by before anything is learned, over 0, by its name.
    """

    def __init__(self, weights: Mapping[str, float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.initial = {name: float(weight) for name, weight in weights.items()}
        self.build()

    def build(self, input_shape: Any = None) -> None:
        """Makes one scalar a task."""
        self.log_scales = {
            name: self.add_weight(
                shape=(),
                initializer=keras.initializers.Constant(-math.log(weight)),
                dtype="float32",
                name=f"{name}_log_scale",
            )
            for name, weight in self.initial.items()
        }
        self.built = True

    def current(self) -> dict[str, float]:
        """What each task's loss is multiplied by now."""
        return {name: math.exp(-float(ops.convert_to_numpy(s))) for name, s in self.log_scales.items()}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "weights": self.initial}


class UncertainLoss(keras.losses.Loss):
    """A loss weighted by a learned scale: exp(−s) times the loss, plus ``penalty`` times s.

    Args:
        loss: A Keras loss, or its name.
        log_scale: The variable s, a scalar.
        penalty: The factor c of s.
    """

    def __init__(self, loss: Any, log_scale: keras.Variable, *, penalty: float) -> None:
        super().__init__(name=f"uncertain_{getattr(loss, 'name', loss)}")
        self.log_scale, self.penalty = log_scale, penalty
        found = keras.losses.get(loss)
        # A Loss's own call gives one value a sample, before sample weights and the mean over the batch.
        self._each = found.call if isinstance(found, keras.losses.Loss) else found

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """One value a sample, shape (batch,)."""
        each = self._each(y_true, y_pred)
        log_scale = ops.cast(self.log_scale, each.dtype)
        return ops.exp(-log_scale) * each + self.penalty * log_scale


def weigh_by_uncertainty(
    model: keras.Model, losses: Mapping[str, Any], weights: Mapping[str, float]
) -> dict[str, UncertainLoss]:
    """Makes a model learn how much each of its losses weighs.

    Args:
        model: What is about to be compiled; it gets a layer ``task_uncertainty`` that is trained and saved
            with it, while networks that share its layers stay as they are.
        losses: By output.
        weights: What each loss is multiplied by at first: the recipe's fixed weights.

    Returns:
        The losses to compile the model with, without loss weights.

    Raises:
        ConfigError: A weight is not over 0: such a task could never be learned.
    """
    for name in losses:
        if not weights[name] > 0:
            raise ConfigError(f"learned weights start over 0, not at {weights[name]} for {name}")
    layer = TaskUncertainty({name: weights[name] for name in losses}, name="task_uncertainty")
    model.task_uncertainty = layer
    return {
        name: UncertainLoss(
            loss,
            layer.log_scales[name],
            penalty=_LAPLACE if loss in ("mae", "mean_absolute_error") else _SOFTMAX_OR_GAUSS,
        )
        for name, loss in losses.items()
    }
