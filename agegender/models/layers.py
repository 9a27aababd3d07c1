"""Layers of our own, and the heads that systems share.

Preprocessing and units live inside the models, so that a model takes plain RGB and answers in years and
probabilities, whoever calls it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import keras
from keras import ops

from agegender.errors import ModelError

AGE_CENTRE: Final = 33.0
AGE_SPREAD: Final = 20.0
"""Mean and standard deviation of UTKFace's ages, in round years: what normalised ages are measured in."""


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


@keras.saving.register_keras_serializable(package="agegender")
class LastColumn(keras.layers.Layer):
    """The probability of the last class: of *female*, after a softmax over male and female.

    Input: shape (batch, n). Output: shape (batch, 1).
    """

    def call(self, inputs: Any) -> Any:
        """Takes the column."""
        return inputs[:, -1:]

    def compute_output_shape(self, input_shape: Any) -> Any:
        """One column."""
        return (*input_shape[:-1], 1)


def age_head(features: Any) -> Any:
    """Ends a branch in years: one linear unit that learns the normalised age.

    Args:
        features: Tensor of shape (batch, n).

    Returns:
        The output of a layer ``age``: years, float32 of shape (batch, 1). An untrained unit starts near
        the mean age, and its error is of the order of one, where optimisers do well.
    """
    # Outputs stay in full precision whatever the policy: half precision has steps of 1/32 year at 60.
    unit = keras.layers.Dense(1, dtype="float32", name="age_unit")(features)
    return keras.layers.Rescaling(AGE_SPREAD, offset=AGE_CENTRE, dtype="float32", name="age")(unit)


def gender_head(features: Any) -> Any:
    """Ends a branch in the probability of *female*: one logit and its sigmoid.

    Args:
        features: Tensor of shape (batch, n).

    Returns:
        The output of a layer ``female``, float32 of shape (batch, 1), 0 to 1.
    """
    logit = keras.layers.Dense(1, dtype="float32", name="gender_logit")(features)
    return keras.layers.Activation("sigmoid", dtype="float32", name="female")(logit)


def without_pooling(backbone: keras.Model) -> keras.Model:
    """A backbone up to the map that its global pooling averages.

    Args:
        backbone: Untrained; its last layer is a global average pooling.

    Returns:
        A copy, untrained too, with the names of the original's layers and its own, from pixels to a map
        (batch, height, width, n).

    Raises:
        ModelError: The backbone ends in something else.
    """
    if not isinstance(backbone.layers[-1], keras.layers.GlobalAveragePooling2D):
        last = backbone.layers[-1].name
        raise ModelError(f"{backbone.name} ends in {last}, which is no global average pooling")
    # A layer that was called twice, as in a backbone made of another model's, has no input of its own to
    # ask for. In a copy each layer is called once.
    copy = keras.models.clone_model(backbone)
    return keras.Model(copy.inputs[0], copy.layers[-1].input, name=backbone.name)


def convolutional_blocks(
    x: Any, filters: Sequence[int], *, convolutions: Sequence[int] = (1, 1, 1), prefix: str = ""
) -> Any:
    """Blocks of convolution, batch normalisation, ReLU and pooling, flat at the end.

    Args:
        x: Tensor of shape (batch, height, width, channels).
        filters: Of each block's 3×3 convolutions.
        convolutions: How many of them each block has, with normalisation and ReLU each, before it pools.
        prefix: Of the layers' names.

    Returns:
        Features (batch, n): the last block's map, averaged over 2×2 so that the dense layer on it stays
        small, and flattened: chips are aligned, so where a feature lies says what it is of.
    """
    layers = keras.layers
    for block, (width, count) in enumerate(zip(filters, convolutions, strict=True), start=1):
        for i in range(1, count + 1):
            name = f"{prefix}block_{block}_{i}"
            x = layers.Conv2D(
                width,
                3,
                padding="same",
                use_bias=False,
                kernel_initializer="he_normal",
                name=f"{name}_conv",
            )(x)
            x = layers.BatchNormalization(name=f"{name}_bn")(x)
            x = layers.ReLU(name=f"{name}_relu")(x)
        x = layers.MaxPooling2D(2, name=f"{prefix}block_{block}_pool")(x)
    x = layers.AveragePooling2D(2, name=f"{prefix}average")(x)
    return layers.Flatten(name=f"{prefix}flatten")(x)
