"""The system `vggface`: Sequential networks, with either age head. `test_systems.py` has what all share."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from agegender.errors import ConfigError
from agegender.labels import MAX_AGE
from agegender.models.systems import vggface
from agegender.models.systems.vggface import VGGFaceOptions


@pytest.mark.parametrize(
    ("backbone", "side", "task", "head"),
    [
        ("mobilenet", 32, "age", "distribution"),
        ("mobilenet", 32, "age", "linear"),
        ("vgg16", 48, "gender", "distribution"),
    ],
)
def test_each_network_is_sequential_with_the_dense_layers_in_order(backbone, side, task, head, wake):
    keras.utils.set_random_seed(3)
    options = VGGFaceOptions(backbone, input_size=(side, side), hidden=(8, 4), dropout=0.2, age_head=head)
    network = vggface.build(task, options)
    assert type(network) is keras.Sequential
    first, *layers = network.layers
    assert first.name == backbone
    assert [layer.name for layer in layers[:4]] == ["dense_1", "dropout_1", "dense_2", "dropout_2"]
    assert [layer.units for layer in layers[:4:2]] == [8, 4]
    assert all(layer.activation is keras.activations.relu for layer in layers[:4:2])
    assert [layer.rate for layer in layers[1:4:2]] == [0.2, 0.2]
    assert len(network.trainable_weights) == len(network.weights)

    wake(first)
    chips = np.random.default_rng(1).uniform(0, 255, (3, side, side, 3)).astype(np.float32)
    answers = np.asarray(network(chips))
    assert answers.shape == (3, 1)
    assert np.isfinite(answers).all()
    assert np.ptp(answers) > 0
    if head == "distribution":
        assert ((answers >= 0) & (answers <= (1 if task == "gender" else MAX_AGE))).all()
    assert ("age_distribution" in [layer.name for layer in layers]) == (
        task == "age" and head == "distribution"
    )


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
