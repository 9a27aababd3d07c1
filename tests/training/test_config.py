"""Recipes: what they refuse, and that they survive being written."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from agegender.data.augment import Augmentation
from agegender.errors import ConfigError
from agegender.models.systems.vggface import VGGFaceOptions
from agegender.training.config import Stage, TrainingConfig

THREE_STAGES = (Stage("head", 2, 1e-3, "all"), Stage("top", 3, 3e-4, 9), Stage("whole", 4, 1e-4))


@pytest.fixture
def config() -> TrainingConfig:
    return TrainingConfig(
        "age",
        options=VGGFaceOptions(input_size=(64, 96), hidden=(16, 8), age_head="linear"),
        stages=THREE_STAGES,
        augmentation=Augmentation(rotation=3.0),
        teacher="vggface",
        limit=50,
        seed=9,
    )


def test_a_recipe_survives_json(config, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config.to_dict()), encoding="utf-8")
    again = TrainingConfig.read(path)
    assert again == config
    assert again.options.input_size == (64, 96)
    assert again.stages == THREE_STAGES


def test_a_recipe_is_written_by_hand_in_toml(config, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        """
        task = "age"
        teacher = "vggface"
        limit = 50
        seed = 9
        [options]
        input_size = [64, 96]
        hidden = [16, 8]
        age_head = "linear"
        [augmentation]
        rotation = 3
        [[stages]]
        name = "head"
        epochs = 2
        learning_rate = 1e-3
        frozen_blocks = "all"
        [[stages]]
        name = "top"
        epochs = 3
        learning_rate = 3e-4
        frozen_blocks = 9
        [[stages]]
        name = "whole"
        epochs = 4
        learning_rate = 1e-4
        """,
        encoding="utf-8",
    )
    assert TrainingConfig.read(path) == config


RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_recipe_that_is_shipped_is_one(path):
    config = TrainingConfig.read(path)
    assert TrainingConfig.from_dict(config.to_dict()) == config
    assert config.system in path.read_text(encoding="utf-8")


def test_there_are_recipes():
    assert {path.suffix for path in RECIPES} == {".toml"}


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
        ({"task": "age", "batchsize": 1}, r"batchsize.*config.*batch_size"),
        ({"task": "age", "options": {"depth": 3}}, r"depth.*options.*backbone"),
        ({"task": "age", "augmentation": {"sepia": 1}}, r"sepia.*augmentation.*saturation"),
        ({"task": "age", "stages": [{"name": "one", "rate": 1}]}, r"rate.*stages.*learning_rate"),
        ({"task": "age", "stages": [{"name": "one"}]}, "stages"),
        ({"task": "age", "stages": 3}, "stages is a list"),
        ({"task": "age", "options": "deep"}, "options"),
        ({}, "task"),
        ({"task": "age", "batch_size": "many"}, "batch_size"),
        ({"task": "age", "system": "quantum"}, r"'quantum'.*vggface"),
    ],
)
def test_unknown_keys_and_broken_values_are_named(values, words):
    with pytest.raises(ConfigError, match=words):
        TrainingConfig.from_dict(values)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task", "height"),
        ("optimizer", "sgd"),
        ("schedule", "step"),
        ("age_loss", "huber"),
        ("balance", "ethnicity"),
        ("weighting", "learned"),
        ("rates", {"head": -1.0}),
        ("rates", [0.5]),
        ("precision", "float64"),
        ("start", 5),
        ("teacher", True),
        ("base_weights", None),
        ("warmup_epochs", -0.5),
        ("weight_decay", -1.0),
        ("age_weight", -0.1),
        ("gender_weight", float("inf")),
        ("range_weight", float("nan")),
        ("batch_size", 0),
        ("batch_size", 2.5),
        ("batch_size", True),
        ("clip_norm", 0.0),
        ("age_sigma", 0.0),
        ("plateau_factor", 1.0),
        ("plateau_patience", 0),
        ("patience", 0),
        ("layer_decay", 0.0),
        ("layer_decay", 1.5),
        ("ema_momentum", 1.0),
        ("label_smoothing", 1.0),
        ("teacher_weight", 1.1),
        ("mixup", -0.1),
        ("cutmix", 1.1),
        ("erasing", float("nan")),
        ("limit", 0),
        ("seed", -1),
    ],
)
def test_senseless_values_are_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=name):
        TrainingConfig.from_dict({"task": "age", name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", -1),
        ("epochs", 1.5),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("learning_rate", "fast"),
        ("frozen_blocks", -1),
        ("frozen_blocks", 14),
        ("frozen_blocks", "some"),
        ("frozen_blocks", None),
    ],
)
def test_senseless_stages_are_refused_by_name(name, value):
    stage = {"name": "one", "epochs": 1, "learning_rate": 0.1, name: value}
    with pytest.raises(ConfigError, match=name):
        TrainingConfig.from_dict({"task": "age", "stages": [stage]})


def test_stages_have_names_of_their_own():
    with pytest.raises(ConfigError, match="different names"):
        TrainingConfig("age", stages=(Stage("one", 1, 0.1), Stage("one", 1, 0.1)))


def test_the_options_are_the_system_s_own():
    with pytest.raises(ConfigError, match="AgeRangeOptions"):
        TrainingConfig("both", system="age-range", options=VGGFaceOptions())
    with pytest.raises(ConfigError, match=r"'mood'.*age-range: both, age, gender"):
        TrainingConfig("mood", system="age-range")


@pytest.mark.parametrize("stages", [(), (Stage("one", 0, 0.1),)])
def test_nothing_to_train_is_refused(stages):
    with pytest.raises(ConfigError, match="nothing to train"):
        TrainingConfig("age", stages=stages)


def test_empty_stages_are_allowed_beside_others():
    assert TrainingConfig("age", stages=(Stage("one", 0, 0.1), Stage("two", 3, 0.1))).epochs == 3


@pytest.mark.parametrize("content", [None, "{half", "[1, 2]", '"text"', '{"task": "age", "mood": 1}'])
def test_a_file_that_is_no_recipe_is_refused_by_a_typed_error(tmp_path, content):
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"config\.json"):
        TrainingConfig.read(path)


def test_broken_toml_is_refused_by_name(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("task = ", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.toml"):
        TrainingConfig.read(path)
