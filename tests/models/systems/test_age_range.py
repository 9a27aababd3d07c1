"""The system `age-range`: nine ranges, and an age that hangs on them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from agegender.labels import AGE_BANDS
from agegender.models.systems.age_range import AgeRangeOptions, build

OPTIONS = AgeRangeOptions(input_size=(32, 32), filters=(4, 6, 8), hidden=8, embedding=3)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(5)
    return build("both", OPTIONS)


def test_there_is_a_vector_for_each_range(network):
    assert network.get_layer("age_net_embedding").kernel.shape == (len(AGE_BANDS), 3)


def test_the_embedding_is_the_mean_of_the_vectors_under_the_probabilities(network):
    layer = network.get_layer("age_net_embedding")
    vectors = np.asarray(layer.kernel)
    sure, torn = np.eye(9, dtype=np.float32)[[4]], np.zeros((1, 9), np.float32)
    torn[0, [4, 5]] = 0.5
    assert np.asarray(layer(sure))[0] == pytest.approx(vectors[4])
    assert np.asarray(layer(torn))[0] == pytest.approx((vectors[4] + vectors[5]) / 2)


def test_the_age_error_teaches_the_range_net_and_not_the_gender_net(network):
    age = keras.Model(network.inputs[0], network.get_layer("age").output)
    chips = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype(np.float32)
    watched = {
        name: network.get_layer(name).kernel
        for name in ("age_range", "range_net_block_1_1_conv", "gender_net_dense")
    }
    with tf.GradientTape() as tape:
        error = tf.reduce_mean(age(chips, training=False) ** 2)
    gradients = tape.gradient(error, {name: kernel.value for name, kernel in watched.items()})
    assert np.any(gradients["age_range"])
    assert np.any(gradients["range_net_block_1_1_conv"])
    assert gradients["gender_net_dense"] is None


def test_the_range_net_has_three_blocks(network):
    convolutions = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.filters for layer in convolutions] == [4, 6, 6, 8, 8]
    assert sum(isinstance(layer, keras.layers.MaxPooling2D) for layer in network.layers) == 3
