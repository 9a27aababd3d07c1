"""The ResNet18 backbone: its shape, its blocks, and KerasHub's weights for it."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from agegender.errors import ConfigError, ModelError, WeightsNotFoundError
from agegender.models.backbones import get_backbone, load_base_weights
from agegender.models.resnet18 import IMAGENET_PRESET, build_resnet18, load_imagenet

PARAMETERS = 11_186_112  # KerasHub's own count for resnet_18_imagenet


def hub_backbone(filters: int = 64) -> keras.Model:
    """ResNet18 with the layers and names of KerasHub's: its input is normalised, its output a map."""
    layers = keras.layers

    def convolution(x, width, size, stride, name):
        padding = "same" if stride == 1 else "valid"
        x = layers.Conv2D(width, size, strides=stride, padding=padding, use_bias=False, name=f"{name}_conv")(
            x
        )
        return layers.BatchNormalization(epsilon=1e-5, momentum=0.9, name=f"{name}_bn")(x)

    image = keras.Input((None, None, 3))
    x = layers.ZeroPadding2D(3, name="conv1_pad")(image)
    x = layers.Activation("relu", name="conv1_relu")(convolution(x, filters, 7, 2, "conv1"))
    x = layers.MaxPooling2D(3, 2, name="pool1_pool")(layers.ZeroPadding2D(1, name="pool1_pad")(x))
    for stack in range(4):
        width = filters * 2**stack
        for block in range(2):
            name, stride = f"stack{stack}_block{block}", 2 if stack and not block else 1
            shortcut = convolution(x, width, 1, stride, f"{name}_0") if stride > 1 else x
            x = layers.ZeroPadding2D(1, name=f"{name}_1_pad")(x) if stride > 1 else x
            x = layers.Activation("relu", name=f"{name}_1_relu")(
                convolution(x, width, 3, stride, f"{name}_1")
            )
            x = layers.Add(name=f"{name}_add")([shortcut, convolution(x, width, 3, 1, f"{name}_2")])
            x = layers.Activation("relu", name=f"{name}_out")(x)
    return keras.Model(image, x, name="res_net_backbone")


@pytest.fixture(scope="module")
def hub() -> keras.Model:
    keras.utils.set_random_seed(7)
    network = hub_backbone()
    rng = np.random.default_rng(7)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):  # untrained statistics hide mix-ups
            layer.set_weights([rng.uniform(0.5, 1.0, weight.shape) for weight in layer.get_weights()])
    return network


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(8)
    return build_resnet18((40, 48))


@pytest.fixture
def install(monkeypatch):
    """Puts something in the place of KerasHub."""

    def put(from_preset) -> None:
        models = SimpleNamespace(ResNetBackbone=SimpleNamespace(from_preset=from_preset))
        package = SimpleNamespace(models=models)
        monkeypatch.setitem(sys.modules, "keras_hub", package)
        monkeypatch.setitem(sys.modules, "keras_hub.models", models)

    return put


def assert_same_features(network: keras.Model, hub: keras.Model) -> None:
    chips = np.random.default_rng(0).uniform(0, 255, (2, *network.input_shape[1:])).astype(np.float32)
    normalised = (chips / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    expected = np.asarray(hub(normalised.astype(np.float32), training=False)).mean(axis=(1, 2))
    found = np.asarray(network(chips, training=False))
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_it_has_as_many_parameters_as_the_published_one(network):
    assert network.count_params() == PARAMETERS
    assert network.output_shape == (None, 512)


def test_too_small_an_input_is_refused():
    with pytest.raises(ConfigError, match="31x64"):
        build_resnet18((31, 64))


def test_freezing_three_blocks_leaves_layer3_and_layer4(network):
    names = [layer.name for layer in network.layers if layer.weights]
    start = [layer.name for layer in network.layers].index(get_backbone("resnet18").blocks[3])
    trained = {layer.name for layer in network.layers[start:] if layer.weights}
    assert trained == {name for name in names if name.startswith(("stack2", "stack3"))}


def test_a_preset_s_weight_file_fits_as_it_is(network, hub, tmp_path):
    path = tmp_path / "model.weights.h5"
    hub.save_weights(path)
    load_base_weights(network, "resnet18", str(path))
    assert_same_features(network, hub)


def test_kerashub_gives_the_preset_where_it_is_installed(network, hub, install):
    asked = []
    install(lambda name: asked.append(name) or hub)
    source = load_base_weights(network, "resnet18", "imagenet")
    assert asked == [IMAGENET_PRESET]
    assert IMAGENET_PRESET in source and "ImageNet" in source
    assert_same_features(network, hub)


def test_the_default_is_imagenet(network, hub, install):
    install(lambda _name: hub)
    assert load_base_weights(network, "resnet18") == load_base_weights(network, "resnet18", "imagenet")


def test_without_kerashub_it_says_what_to_do(network, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)  # as if it were not installed
    with pytest.raises(WeightsNotFoundError, match=r"keras-hub.*model\.weights\.h5.*--start"):
        load_imagenet(network)


@pytest.mark.parametrize("kind", [ConnectionError, ValueError, FileNotFoundError])
def test_without_network_it_says_what_failed(network, install, kind):
    def fail(_name):
        raise kind("no route to the presets")

    install(fail)
    with pytest.raises(WeightsNotFoundError, match="no route to the presets"):
        load_imagenet(network)


def test_another_network_s_preset_is_refused(network, install):
    install(lambda _name: hub_backbone(filters=8))
    with pytest.raises(ModelError, match="conv1_conv"):
        load_imagenet(network)


def test_another_network_s_file_is_refused(network, tmp_path):
    hub_backbone(filters=8).save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(ModelError, match=r"model\.weights\.h5"):
        load_base_weights(network, "resnet18", tmp_path / "model.weights.h5")
