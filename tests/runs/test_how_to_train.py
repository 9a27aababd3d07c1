"""The commands that make a model."""

from __future__ import annotations

import pytest

from agegender.models.registry import MODELS
from agegender.runs.how_to_train import training_commands


@pytest.mark.parametrize("name", MODELS)
def test_every_model_of_the_registry_is_made_by_its_recipe(name):
    assert training_commands(name, MODELS[name].system) == [
        f"python train.py --recipe {name}",
        f"python -m agegender publish --recipe {name}",
    ]


def test_without_a_recipe_the_system_is_trained_by_its_defaults(tmp_path):
    assert training_commands("none", "scratch-cnn", tmp_path) == [
        "python train.py --system scratch-cnn --task both",
        "python -m agegender publish --both runs/<id> --name none",
    ]
