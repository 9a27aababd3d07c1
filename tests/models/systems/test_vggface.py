"""The system `vggface`, over every model of the registry and both age heads, at tiny sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from agegender.errors import ConfigError
from agegender.labels import MAX_AGE
from agegender.models.registry import MODELS
from agegender.models.store import load_weights, save_float16
from agegender.models.systems import vggface
from agegender.models.systems.vggface import VGGFaceOptions

TINY_INPUT = {"mobilenet": (32, 32), "vgg16": (48, 48)}
VGGFACE_MODELS = sorted(name for name, spec in MODELS.items() if spec.system == "vggface")
KINDS = [("age", "distribution"), ("age", "linear"), ("gender", "distribution")]


@dataclass
class Built:
    task: Any
    options: VGGFaceOptions
    network: keras.Sequential


@pytest.fixture(
    scope="module",
    params=[(name, task, head) for name in VGGFACE_MODELS for task, head in KINDS],
    ids="-".join,
)
def built(request, wake) -> Built:
    name, task, head = request.param
    keras.utils.set_random_seed(3)
    backbone = MODELS[name].options["backbone"]
    options = VGGFaceOptions(
        backbone, input_size=TINY_INPUT[backbone], hidden=(8, 4), dropout=0.2, age_head=head
    )
    network = vggface.build(task, options)
    wake(network.layers[0])
    return Built(task, options, network)


def chips(network: keras.Sequential, n: int = 3) -> np.ndarray:
    shape = network.input_shape[1:]
    return np.random.default_rng(1).uniform(0, 255, (n, *shape)).astype(np.float32)


def test_each_network_is_sequential_with_the_dense_layers_in_order(built):
    network = built.network
    assert type(network) is keras.Sequential
    backbone, *head = network.layers
    assert backbone.name == built.options.backbone
    assert [layer.name for layer in head[:4]] == ["dense_1", "dropout_1", "dense_2", "dropout_2"]
    assert [layer.units for layer in head[:4:2]] == [8, 4]
    assert all(layer.activation is keras.activations.relu for layer in head[:4:2])
    assert [layer.rate for layer in head[1:4:2]] == [0.2, 0.2]


def test_chips_become_one_number_each(built):
    network = built.network
    assert network.output_shape == (None, 1)
    answers = np.asarray(network(chips(network)))
    assert answers.shape == (3, 1)
    assert np.isfinite(answers).all()
    if built.task == "gender":
        assert ((answers >= 0) & (answers <= 1)).all()
    elif built.options.age_head == "distribution":
        assert ((answers >= 0) & (answers <= MAX_AGE)).all()
    assert np.ptp(answers) > 0


def test_the_age_distribution_sums_to_one_and_holds_the_answer(built):
    names = [layer.name for layer in built.network.layers]
    if built.task == "gender" or built.options.age_head == "linear":
        assert "age_distribution" not in names
        return
    network = built.network
    both = keras.Model(network.inputs[0], [network.get_layer("age_distribution").output, *network.outputs])
    distribution, years = (np.asarray(part) for part in both(chips(network)))
    assert distribution.shape == (3, MAX_AGE + 1)
    assert distribution.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert (distribution >= 0).all()
    assert years[:, 0] == pytest.approx(distribution @ np.arange(MAX_AGE + 1), rel=1e-4)


def test_gradients_reach_every_trainable_weight(built):
    network = built.network
    assert len(network.trainable_weights) == len(network.weights)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(network(chips(network), training=False))
    values = [variable.value for variable in network.trainable_variables]
    gradients = tape.gradient(loss, values)
    for variable, gradient in zip(network.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.path
        assert np.isfinite(gradient.numpy()).all(), variable.path
        assert gradient.numpy().any(), variable.path


def test_weights_survive_half_precision(built, tmp_path):
    network, path = built.network, tmp_path / "network.weights.h5"
    save_float16(network, path)
    again = vggface.build(built.task, built.options)
    expected = np.asarray(network(chips(network)))
    assert np.abs(np.asarray(again(chips(network))) - expected).max() > 0.001
    load_weights(again, path)
    assert all(weight.dtype == "float32" for weight in again.trainable_variables)
    assert np.asarray(again(chips(network))) == pytest.approx(expected, rel=2e-3, abs=1e-4)
    assert path.stat().st_size < 2.3 * network.count_params() + 300_000


def test_the_published_head_is_the_default():
    network = vggface.build("age", VGGFaceOptions(input_size=(32, 32)))
    _, *head = network.layers
    kinds = [(type(layer).__name__, getattr(layer, "units", None)) for layer in head]
    assert kinds == [
        ("Dense", 512),
        ("Dropout", None),
        ("Dense", 256),
        ("Dropout", None),
        ("Dense", 128),
        ("Dropout", None),
        ("Dense", MAX_AGE + 1),
        ("ExpectedAge", None),
    ]
    assert all(layer.rate > 0 for layer in head if isinstance(layer, keras.layers.Dropout))


def test_the_linear_head_is_one_unit_in_years():
    options = VGGFaceOptions(input_size=(32, 32), hidden=(4,), age_head="linear")
    *_, unit, scale = vggface.build("age", options).layers
    assert (unit.units, unit.activation) == (1, keras.activations.linear)
    assert scale.scale == vggface.AGE_SCALE
    assert np.asarray(unit.bias) * scale.scale == pytest.approx(33, abs=1)  # it starts at a plausible age


def test_building_is_pure(monkeypatch):
    """No download, no weight file: builders only build."""

    def refuse(*_args, **_kwargs):
        raise AssertionError("a builder touched a file")

    monkeypatch.setattr("h5py.File", refuse)
    monkeypatch.setattr("keras.utils.get_file", refuse)
    vggface.build("gender", VGGFaceOptions(input_size=(32, 32), hidden=(4,)))
    vggface.build("gender", VGGFaceOptions("vgg16", (48, 48), hidden=(4,)))


def test_options_take_the_backbone_s_size_and_lists_from_json():
    options = VGGFaceOptions(backbone="vgg16", hidden=[16, 8])
    assert options.input_size == (128, 128)
    assert options.hidden == (16, 8)
    assert VGGFaceOptions(input_size=[64, 96]).input_size == (64, 96)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"backbone": "resnet"}, "resnet"),
        ({"age_head": "ordinal"}, "ordinal"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
        ({"dropout": float("nan")}, "dropout"),
        ({"margin": -1}, "margin"),
        ({"margin": 25}, "0 to 24"),
        ({"margin": 1.5}, "margin"),
    ],
)
def test_senseless_options_are_refused(values, words):
    with pytest.raises(ConfigError, match=words):
        VGGFaceOptions(**values)
