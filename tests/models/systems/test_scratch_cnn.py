"""The system `scratch-cnn`: three blocks and two heads, nothing learned before."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from agegender.errors import ConfigError
from agegender.models.systems.scratch_cnn import ScratchCNNOptions, build


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(6)
    return build("both", ScratchCNNOptions(input_size=(24, 32), filters=(4, 6, 8), hidden=8))


def test_three_blocks_of_convolution_normalisation_relu_and_pooling(network):
    found = [type(layer).__name__ for layer in network.layers if layer.name.startswith("block_")]
    assert found == ["Conv2D", "BatchNormalization", "ReLU", "MaxPooling2D"] * 3


def test_gender_is_a_softmax_whose_second_class_is_female(network):
    chips = np.random.default_rng(0).uniform(0, 255, (3, 24, 32, 3)).astype(np.float32)
    inside = keras.Model(
        network.inputs[0], [network.get_layer("gender").output, network.get_layer("female").output]
    )
    classes, female = (np.asarray(value) for value in inside(chips, training=False))
    assert classes.shape == (3, 2)
    assert classes.sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert female[:, 0] == pytest.approx(classes[:, 1])


def test_it_has_no_backbone():
    with pytest.raises(ConfigError, match="mobilenet"):
        ScratchCNNOptions(backbone="mobilenet")


def test_too_small_an_input_is_refused():
    with pytest.raises(ConfigError, match="16x15"):
        ScratchCNNOptions(input_size=(16, 15))
