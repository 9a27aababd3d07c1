"""The system `vgg16-multitask`: a VGG16 without its pooling, and the head that takes its whole map."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from agegender.models.backbones import get_backbone, load_base_weights
from agegender.models.systems.vgg16_multitask import VGG16MultitaskOptions, build

OPTIONS = VGG16MultitaskOptions(input_size=(64, 96), shared=8, branch=4, dropout=0.5)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(2)
    return build("both", OPTIONS)


def kinds(network: keras.Model, prefix: str) -> list[str]:
    return [type(layer).__name__ for layer in network.layers if layer.name.startswith(prefix)]


def test_the_map_is_flattened_not_pooled(network):
    assert network.get_layer("vgg16").output_shape == (None, 2, 3, 512)
    assert network.get_layer("flatten").output.shape == (None, 2 * 3 * 512)


def test_each_dense_layer_has_batch_normalisation_and_dropout(network):
    for prefix in ("shared", "age_branch", "gender_branch"):
        assert kinds(network, prefix) == ["Dense", "BatchNormalization", "ReLU", "Dropout"]
    assert network.get_layer("age_branch").units == 4
    assert network.get_layer("shared_dropout").rate == 0.5


def test_age_is_one_unit_and_gender_one_sigmoid(network):
    assert network.get_layer("age_unit").units == network.get_layer("gender_logit").units == 1
    assert network.get_layer("female").activation is keras.activations.sigmoid


def test_it_takes_the_weights_of_the_backbone_that_pools(network, tmp_path):
    pooled = get_backbone("vgg16").build((48, 48))
    pooled.save_weights(tmp_path / "base.weights.h5")
    load_base_weights(network.get_layer("vgg16"), "vgg16", tmp_path / "base.weights.h5")
    held = network.get_layer("vgg16").get_weights()
    assert len(held) == 26
    assert all((a == b).all() for a, b in zip(held, pooled.get_weights(), strict=True))


def test_an_untrained_network_answers_near_the_mean_age(network):
    chips = np.random.default_rng(0).uniform(0, 255, (3, 64, 96, 3)).astype(np.float32)
    age, _ = network(chips, training=False)
    assert np.abs(np.asarray(age) - 33).max() < 60
