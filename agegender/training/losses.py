"""Losses for age labels that are a year or a range of years."""

from __future__ import annotations

from typing import Any, Final, Literal

import keras

TARGET_COLUMNS: Final = {"age": 2}
"""Outputs whose targets have more columns than their answers: years are judged by a lowest and a highest."""

_LEAST_PROBABILITY: Final = 1e-7

_RANGE_FROM: Final = 1.5
"""Targets whose years sum to more are ranges: a distribution sums to one, a range to its years."""


class AgeLikelihood(keras.losses.Loss):
    """Minus the log likelihood of an age label under a distribution over years.

    For an exact age the target is a distribution and the loss its cross-entropy. For a range the target says
    of each year how likely it would have been given that label, and the loss is -log of the probability that
    the network gives to it: the likelihood of an interval-censored observation (Turnbull, "The empirical
    distribution function with arbitrarily grouped, censored and truncated data", 1976).

    Takes targets and predictions of shape (batch, years); returns shape (batch,) before reduction.
    """

    def __init__(self, name: str = "age_likelihood", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each row."""
        ops = keras.ops
        p = ops.clip(y_pred, _LEAST_PROBABILITY, 1.0)
        exact = -ops.sum(y_true * ops.log(p), axis=-1)
        ranged = -ops.log(ops.maximum(ops.sum(y_true * p, axis=-1), _LEAST_PROBABILITY))
        return ops.where(ops.sum(y_true, axis=-1) > _RANGE_FROM, ranged, exact)


class YearsOutside(keras.losses.Loss):
    """Years, or their square, by which an age lies outside the labelled range; of an exact age its error.

    Takes targets of shape (batch, 2), lowest and highest year, and predictions of shape (batch, 1).
    """

    def __init__(
        self, kind: Literal["mae", "mse"] = "mae", name: str = "years_outside", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.kind = kind

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each row."""
        distance = years_outside(y_true, y_pred)
        return distance if self.kind == "mae" else keras.ops.square(distance)


def years_outside(y_true: Any, y_pred: Any) -> Any:
    """How far an age lies outside a range.

    Args:
        y_true: Lowest and highest year, shape (batch, 2).
        y_pred: Years, shape (batch, 1).

    Returns:
        Years, shape (batch,), 0 inside.
    """
    low, high, age = y_true[:, 0], y_true[:, 1], y_pred[:, 0]
    return keras.ops.relu(low - age) + keras.ops.relu(age - high)
