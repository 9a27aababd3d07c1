"""The recipes that ship: each reads, is sound, and trains the network that the registry describes."""

from __future__ import annotations

from pathlib import Path

import pytest

from agegender.models.registry import MODELS, SYSTEMS, get_system
from agegender.training.config import TrainingConfig

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_it_reads_and_is_sound(path):
    config = TrainingConfig.read(path)
    assert config.system in SYSTEMS
    assert TrainingConfig.from_dict(config.to_dict()) == config
    assert path.read_text(encoding="utf-8").startswith("#")  # what it is, and how to run it


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_has_one(name):
    assert any(TrainingConfig.read(path).system == name for path in RECIPES)


@pytest.mark.parametrize(
    "path", [path for path in RECIPES if path.stem in MODELS], ids=lambda path: path.stem
)
def test_a_recipe_of_a_model_s_name_trains_that_model(path):
    spec, config = MODELS[path.stem], TrainingConfig.read(path)
    assert config.system == spec.system
    assert config.options == get_system(spec.system).options(**spec.options)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_it_averages_no_weights_beside_batch_statistics_of_others(path):
    """The moving average is of what trains; statistics of batch normalisation are of the raw weights."""
    config = TrainingConfig.read(path)
    normalised = config.system != "vggface" or config.options.backbone == "resnet18"
    if normalised:
        assert config.ema_momentum == 0
