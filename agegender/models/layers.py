"""The two layers of our own: pixel preprocessing and the expectation over years.

Both live inside the models, so that a model takes plain RGB and answers in years, whoever calls it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="agegender")
class MeanSubtraction(keras.layers.Layer):
    """Turns RGB pixels into what Caffe-era face networks expect: BGR minus a mean per channel.

    Input and output: float tensors of shape (batch, height, width, 3); input in RGB, 0 to 255.

    Args:
        mean: Mean pixel values in the order blue, green, red.
    """

    def __init__(self, mean: Sequence[float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mean = tuple(float(value) for value in mean)

    def call(self, inputs: Any) -> Any:
        """Reverses the channels and subtracts the mean."""
        return ops.flip(inputs, axis=-1) - ops.convert_to_tensor(self.mean, dtype=inputs.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "mean": list(self.mean)}


@keras.saving.register_keras_serializable(package="agegender")
class ExpectedAge(keras.layers.Layer):
    """The mean of a distribution over the years 0, 1, …, n − 1.

    Rothe, Timofte and Van Gool, "Deep expectation of real and apparent age from a single image" (2018):
    the expectation over a softmax is a better age than its peak.

    Input: probabilities of shape (batch, n). Output: years, shape (batch, 1).
    """

    def call(self, inputs: Any) -> Any:
        """Weights each year by its probability."""
        years = ops.arange(inputs.shape[-1], dtype=inputs.dtype)
        return ops.sum(inputs * years, axis=-1, keepdims=True)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """One column."""
        return (*input_shape[:-1], 1)
