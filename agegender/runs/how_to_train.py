"""Where the repository's recipes are, and the commands that make a model. Imports no TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from agegender.places import PRODUCT, TRAIN_COMMAND

RECIPES_DIR: Final = PRODUCT / "recipes"


def training_commands(model: str, system: str, recipes_dir: Path = RECIPES_DIR) -> list[str]:
    """The commands that train and publish a model.

    Args:
        model: Its name, which is its recipe's.
        system: The family to train by its defaults, where there is no such recipe.
        recipes_dir: Where the recipes are.

    Returns:
        What to run, in order.
    """
    if (recipes_dir / f"{model}.toml").is_file():
        return [f"{TRAIN_COMMAND} --recipe {model}", f"python -m agegender publish --recipe {model}"]
    return [
        f"{TRAIN_COMMAND} --system {system} --task both",
        f"python -m agegender publish --both runs/<id> --name {model}",
    ]
