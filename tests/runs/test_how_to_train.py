"""The commands that make a model, read from the recipes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agegender.models.registry import MODELS
from agegender.runs.how_to_train import RECIPES_DIR, training_commands


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_of_the_registry_has_its_recipes(name):
    commands = training_commands(name, MODELS[name].system)
    recipes = [found for command in commands for found in re.findall(r"--config (\S+)", command)]
    assert recipes
    assert all((RECIPES_DIR.parent / recipe).is_file() for recipe in recipes)
    assert commands[-1].startswith("python -m agegender publish ")
    # Whatever a command goes on from was trained by one before it.
    for number, command in enumerate(commands):
        for run in re.findall(r"<run of ([\w-]+)>", command):
            assert any(f"recipes/{run}.toml" in before for before in commands[:number]), command


def test_a_run_that_two_start_from_is_trained_once(tmp_path):
    head = "#   python train.py --config recipes/{0}.toml{1}\n"
    start = " --start runs/<run of pair-both>"
    for name, rest in (("pair-both", ""), ("pair-age", start), ("pair-gender", start)):
        (tmp_path / f"{name}.toml").write_text(head.format(name, rest), encoding="utf-8")
    assert training_commands("pair", "vggface", tmp_path) == [
        "python train.py --config recipes/pair-both.toml",
        f"python train.py --config recipes/pair-age.toml{start}",
        f"python train.py --config recipes/pair-gender.toml{start}",
        "python -m agegender publish --age runs/<run of pair-age> "
        "--gender runs/<run of pair-gender> --name pair",
    ]


def test_a_recipe_that_does_not_say_how_to_run_it_is_run_by_its_name(tmp_path):
    (tmp_path / "quiet.toml").write_text('task = "both"\n', encoding="utf-8")
    assert training_commands("quiet", "x", tmp_path)[0] == "python train.py --config recipes/quiet.toml"


def test_without_a_recipe_the_system_is_trained_by_its_defaults(tmp_path: Path):
    assert training_commands("none", "scratch-cnn", tmp_path)[0] == (
        "python train.py --system scratch-cnn --task both"
    )
