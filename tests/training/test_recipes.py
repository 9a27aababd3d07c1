"""Recipes: how a file becomes runs, and that those that ship are how the models that ship were made."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from agegender.data.augment import Augmentation
from agegender.errors import ConfigError
from agegender.models.card import read_card
from agegender.models.registry import MODELS, SYSTEMS, get_system
from agegender.models.systems.vggface import VGGFaceOptions
from agegender.runs.how_to_train import RECIPES_DIR
from agegender.training.config import Stage, TrainingConfig
from agegender.training.recipes import NOT_REBUILT, build_config, read_recipe

RECIPES = sorted(path.stem for path in RECIPES_DIR.glob("*.toml"))


# --- those that ship ------------------------------------------------------------------------------------


def test_every_model_of_the_registry_has_one_and_every_system_too():
    assert sorted(MODELS) == RECIPES
    assert {run.config.system for name in RECIPES for run in read_recipe(name)} == set(SYSTEMS)


@pytest.mark.parametrize("name", RECIPES)
def test_it_trains_the_networks_of_its_model(name):
    runs = read_recipe(name)
    starts = {run.config.start for run in runs}
    spec, last = MODELS[name], [run.config for run in runs if run.name not in starts]
    assert sorted(config.task for config in last) in (["both"], ["age", "gender"])
    for config in last:
        assert config.system == spec.system
        assert config.options == get_system(spec.system).options(**spec.options)
    for config in (run.config for run in runs):
        assert TrainingConfig.from_dict(config.to_dict()) == config
        # The moving average is of what trains; statistics of batch normalisation are of the raw weights.
        assert not config.ema_momentum or (config.system, config.options.backbone) in (
            ("vggface", "mobilenet"),
            ("vggface", "vgg16"),
        )


def effective(config: TrainingConfig) -> TrainingConfig:
    """Without what does nothing to a network without a margin, and came after some were trained."""
    if getattr(config.options, "margin", 0):
        return config
    return dataclasses.replace(config, augmentation=dataclasses.replace(config.augmentation, hide_margin=0.0))


@pytest.mark.parametrize("name", RECIPES)
def test_a_card_s_recorded_configuration_is_its_recipe(name):
    """Run for run, back to where it began or to a published model it went on from."""
    runs = {run.name: run for run in read_recipe(name)}
    reached, stopped = set(), False
    for task, newest in read_card(name)["training"].items():
        starts = {run.config.start for run in runs.values()}
        run = next(run for run in runs.values() if run.config.task == task and run.name not in starts)
        record: dict[str, Any] = newest
        while True:
            reached.add(run.name)
            stopped |= record["validation"].get("ended") not in (None, "finished", "stopped early")
            recorded, expected = effective(TrainingConfig.from_dict(record["config"])), effective(run.config)
            before = runs.get(run.config.start)
            if before is None:
                assert recorded == expected, run.name
                break
            assert recorded.start in (record["start"]["run"], name)  # or from that run as it was published
            assert dataclasses.replace(recorded, start=expected.start) == expected, run.name
            run, record = before, record["start"]
    assert reached == set(runs)
    assert not stopped or name in NOT_REBUILT  # that a person stopped it, no recipe can say


def test_only_these_models_are_not_what_their_recipe_makes_and_none_joins():
    assert set(NOT_REBUILT) <= {"vggface-vgg16", "age-range"}
    for name in NOT_REBUILT:
        assert read_card(name)["published"] <= "2026-11-25", f"{name} was trained anew: take it off the list"


# --- how a file becomes runs ----------------------------------------------------------------------------

RECIPE = """
patience = 3
[options]
hidden = [16]
[augmentation]
rotation = 4.0
[[runs]]
name = "first"
task = "both"
[[runs]]
name = "second"
task = "gender"
start = "first"
augmentation = 0.5
head_epochs = 0
epochs = 6
dropout = 0.1
[runs.options]
input_size = [64, 64]
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_runs_share_settings_and_have_their_own(write):
    first, second = read_recipe(write(RECIPE))
    assert (first.recipe, first.name, second.name) == ("mine", "first", "second")
    shared = TrainingConfig(
        "both", options=VGGFaceOptions(hidden=(16,)), patience=3, augmentation=Augmentation(rotation=4.0)
    )
    assert first.config == shared
    assert second.config == dataclasses.replace(
        shared,
        task="gender",
        start="first",
        options=VGGFaceOptions(hidden=(16,), dropout=0.1, input_size=(64, 64)),
        augmentation=shared.augmentation.scaled(0.5),
        stages=(Stage("head", 0, 1e-3, "all"), Stage("finetune", 6, 2e-4, 0)),
    )


def test_overrides_go_before_every_run(write):
    first, second = read_recipe(write(RECIPE), {"limit": 9, "learning_rate": 0.1, "augmentation": 0.5})
    assert (first.config.limit, second.config.limit) == (9, 9)
    assert [run.config.stages[-1].learning_rate for run in (first, second)] == [0.1, 0.1]
    assert (first.config.augmentation.rotation, second.config.augmentation.rotation) == (2.0, 1.0)
    with pytest.raises(ConfigError, match="several runs"):
        read_recipe(write(RECIPE), {"task": "age"})


def test_without_runs_there_is_one_called_by_its_task(write):
    [run] = read_recipe(write('system = "scratch-cnn"\n'))
    assert (run.name, run.config) == ("both", TrainingConfig("both", system="scratch-cnn"))
    [run] = read_recipe(write('task = "age"\nstart = "vggface"\n'), {"task": "gender", "start": None})
    assert (run.name, run.config) == ("gender", TrainingConfig("gender"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("speed = 9", "speed"),
        ("task = ", "TOML"),
        ("stages = 3", "stages"),
        ("stages = 3\nepochs = 2", "stages"),
        ("epochs = 2\nstages = ['head']", "stages"),
        ('options = "deep"', "options"),
        ('augmentation = "strong"', "augmentation"),
        ("augmentation = nan", "augmentation"),
        ("patience = 'long'", "patience"),
        ("system = ['vggface']", "system"),
        ("start = 5", "start"),
        ("runs = 3", "runs"),
        ("runs = []", "runs"),
        ("[[runs]]\n[[runs]]", "name"),
        ("[[runs]]\nname = 'a'\n[[runs]]\nname = 'a'", "'a'"),
        ("[[runs]]\nname = 'odd'\nspeed = 9", "run odd: .*speed"),
        ("head_epochs = 2\nstages = [{ name = 'one', epochs = 1, learning_rate = 0.1 }]", "head_epochs"),
    ],
)
def test_what_makes_no_sense_in_a_file_is_named_with_it(write, text, words):
    text = text if "task" in text or "runs" in text else f'task = "age"\n{text}'
    text = text.replace("[[runs]]", '[[runs]]\ntask = "age"')
    with pytest.raises(ConfigError, match=rf"mine\.toml.*{words}"):
        read_recipe(write(text))


def test_a_pair_has_to_say_which_network_it_trains(write):
    with pytest.raises(ConfigError, match="task age, gender or both"):
        read_recipe(write("patience = 3"))


@pytest.mark.parametrize("name", ["nobody", "gone.toml"])
def test_a_recipe_that_is_not_there_is_named(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=name):
        read_recipe(name)
    assert not Path(name).exists()


def test_later_layers_go_before_earlier_ones():
    config = build_config({"task": "age", "input_size": 64}, {"input_size": 96, "epochs": 2})
    assert config.options.input_size == (96, 96)
    assert [stage.epochs for stage in config.stages] == [1, 2]
