"""Recipes: what they refuse, and that they survive being written."""

from __future__ import annotations

import dataclasses
import json

import pytest

from agegender.data.augment import Augmentation
from agegender.errors import ConfigError
from agegender.models.vggface import VGGFaceOptions
from agegender.training.config import TrainingConfig


def test_a_recipe_survives_json(tmp_path):
    config = TrainingConfig(
        "age",
        options=VGGFaceOptions(input_size=(64, 96), hidden=(16, 8), age_head="linear"),
        augmentation=Augmentation(rotation=3.0),
        limit=50,
        seed=9,
    )
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config.to_dict()), encoding="utf-8")
    again = TrainingConfig.read(path)
    assert again == config
    assert again.options.input_size == (64, 96)


def test_everything_is_written():
    values = TrainingConfig("gender").to_dict()
    assert set(values) == {field.name for field in dataclasses.fields(TrainingConfig)}
    assert set(values["augmentation"]) == {field.name for field in dataclasses.fields(Augmentation)}
    assert values["options"]["input_size"] == [160, 160]


def test_what_is_left_out_takes_its_default():
    assert TrainingConfig.from_dict({"task": "age"}) == TrainingConfig("age")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"task": "age", "learningrate": 1}, r"learningrate.*config.*learning_rate"),
        ({"task": "age", "options": {"depth": 3}}, r"depth.*options.*backbone"),
        ({"task": "age", "augmentation": {"sepia": 1}}, r"sepia.*augmentation.*saturation"),
        ({}, "task"),
        ({"task": "age", "epochs": "many"}, "config"),
    ],
)
def test_unknown_keys_and_broken_values_are_named(values, words):
    with pytest.raises(ConfigError, match=words):
        TrainingConfig.from_dict(values)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task", "height"),
        ("epochs", -1),
        ("head_epochs", -1),
        ("frozen_blocks", -1),
        ("warmup_epochs", -0.5),
        ("weight_decay", -1.0),
        ("l1_weight", -0.1),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("head_learning_rate", -1.0),
        ("clip_norm", 0.0),
        ("age_sigma", 0.0),
        ("patience", 0),
        ("ema_momentum", 1.0),
        ("label_smoothing", 1.0),
        ("limit", 0),
    ],
)
def test_senseless_values_are_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=name):
        TrainingConfig.from_dict({"task": "age", name: value})


def test_nothing_to_train_is_refused():
    with pytest.raises(ConfigError, match="nothing to train"):
        TrainingConfig("age", head_epochs=0, epochs=0)
    assert TrainingConfig("age", head_epochs=0).head_epochs == 0


@pytest.mark.parametrize("content", [None, "{half", "[1, 2]", '"text"', '{"task": "age", "mood": 1}'])
def test_a_file_that_is_no_recipe_is_refused_by_a_typed_error(tmp_path, content):
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError):
        TrainingConfig.read(path)


def test_each_task_has_its_own_figure_to_watch():
    assert TrainingConfig("age").monitor == "val_mae"
    assert TrainingConfig("gender").monitor == "val_accuracy"
