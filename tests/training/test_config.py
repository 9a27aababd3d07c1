"""Configs: what they refuse, and that they survive being written."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

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


def test_it_survives_json(config, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config.to_dict()), encoding="utf-8")
    again = TrainingConfig.read(path)
    assert again == config
    assert again.options.input_size == (64, 96)
    assert again.stages == THREE_STAGES


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
        ({"task": "age", "system": "quantum"}, r"'quantum'.*vggface"),
        ({"task": "age", "system": ["vggface"]}, "system must be text"),
        ({"task": "age", "rates": {"head": -1.0}}, "rates"),
        ({"task": "age", "rates": [0.5]}, "rates"),
        ({"task": "age", "sources": "fairface"}, "sources is a list"),
        ({"task": "age", "sources": [1]}, "sources is a list"),
    ],
)
def test_unknown_keys_and_broken_values_are_named(values, words):
    with pytest.raises(ConfigError, match=words):
        TrainingConfig.from_dict(values)


SENSELESS: dict[str, list[Any]] = {
    "task": ["height", None],
    "optimizer": ["sgd", 1],
    "start": [5],
    "teacher": [True],
    "base_weights": [None],
    "warmup_epochs": [-0.5, "long", float("inf"), float("nan"), None],
    "batch_size": [0, 2.5, True, "many", None],
    "limit": [0, 1.5],
    "clip_norm": [0.0],
    "layer_decay": [0.0, 1.5],
    "ema_momentum": [-0.1, 1.0],
    "oldest": [0, 117, 89.5],
    "mixup": [-0.1, 1.1, float("nan")],
}


def test_senseless_values_are_refused_by_name():
    for name, values in SENSELESS.items():
        for value in values:
            with pytest.raises(ConfigError, match=name):
                TrainingConfig.from_dict({"task": "age", name: value})
    for name, value in (
        ("warmup_epochs", 0),
        ("mixup", 1),
        ("layer_decay", 1),
        ("limit", None),
        ("teacher", None),
    ):
        assert getattr(TrainingConfig.from_dict({"task": "age", name: value}), name) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", -1),
        ("epochs", 1.5),
        ("learning_rate", 0.0),
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
def test_a_file_that_is_no_config_is_refused_by_a_typed_error(tmp_path, content):
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"config\.json"):
        TrainingConfig.read(path)


@pytest.mark.parametrize(
    "setting",
    [{"rates": {"a": 10**400}}, {"ema_momentum": 10**400}, {"weight_decay": 10**400}],
    ids=["rates", "of a range", "without an end"],
)
def test_a_number_too_large_for_a_float_is_refused(setting):
    with pytest.raises(ConfigError):
        TrainingConfig.from_dict({"task": "age", **setting})
