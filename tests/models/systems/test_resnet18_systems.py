"""What `resnet18-multitask` and `resnet18-finetuned` put on the backbone they share."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from agegender.models.layers import AGE_CENTRE, AGE_SPREAD
from agegender.models.systems import resnet18_finetuned, resnet18_multitask


@pytest.fixture(scope="module")
def multitask() -> keras.Model:
    options = resnet18_multitask.ResNet18MultitaskOptions(input_size=(32, 32), hidden=(6, 5), dropout=0.2)
    return resnet18_multitask.build("both", options)


@pytest.fixture(scope="module")
def finetuned() -> keras.Model:
    options = resnet18_finetuned.ResNet18FinetunedOptions(input_size=(32, 32))
    return resnet18_finetuned.build("both", options)


def test_each_task_has_dense_layers_with_relu_and_dropout(multitask):
    for branch in ("age", "gender"):
        dense = [multitask.get_layer(f"{branch}_branch_{i}") for i in (1, 2)]
        assert [layer.units for layer in dense] == [6, 5]
        assert all(layer.activation is keras.activations.relu for layer in dense)
        assert [multitask.get_layer(f"{branch}_branch_{i}_dropout").rate for i in (1, 2)] == [0.2, 0.2]


def test_age_is_normalised_inside_and_gender_a_logit(multitask):
    chips = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 3)).astype(np.float32)
    names = ("age_unit", "age", "gender_logit", "female")
    inside = keras.Model(multitask.inputs[0], {name: multitask.get_layer(name).output for name in names})
    values = {name: np.asarray(value) for name, value in inside(chips, training=False).items()}
    assert values["age"] == pytest.approx(AGE_CENTRE + AGE_SPREAD * values["age_unit"], rel=1e-5)
    assert values["female"] == pytest.approx(1 / (1 + np.exp(-values["gender_logit"])), rel=1e-5)


def test_two_linear_heads_are_all_that_replaces_the_last_layer(finetuned):
    weighted = [layer.name for layer in finetuned.layers if layer.weights]
    assert weighted == ["resnet18", "age_unit", "gender_logit"]
    assert finetuned.count_params() - finetuned.get_layer("resnet18").count_params() == 2 * (512 + 1)
