"""The recipes of the repository, and the commands that make a model by them. Imports no TensorFlow."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from agegender.places import PRODUCT

RECIPES_DIR: Final = PRODUCT / "recipes"

_COMMAND: Final = "#   "
_RUN_OF: Final = re.compile(r"<run of ([\w-]+)>")


def training_commands(model: str, system: str, recipes_dir: Path = RECIPES_DIR) -> list[str]:
    """The commands that train and publish a model.

    Args:
        model: Its name; its recipe is ``<model>.toml``, or ``<model>-age.toml`` and ``<model>-gender.toml``.
        system: The family to train by its defaults, where there is no such recipe.
        recipes_dir: Where the recipes are.

    Returns:
        What to run, in order, as the recipes themselves say it: those of runs that others start from come
        first. ``<run of NAME>`` stands for the folder's name of the run by that recipe.
    """
    pair = {task: f"{model}-{task}" for task in ("age", "gender")}
    if (recipes_dir / f"{model}.toml").is_file():
        networks = {"both": model}
    elif all((recipes_dir / f"{name}.toml").is_file() for name in pair.values()):
        networks = pair
    else:
        return [
            f"python train.py --system {system} --task both",
            f"python -m agegender publish --both runs/<id> --name {model}",
        ]
    commands = [command for name in networks.values() for command in _commands_of(name, recipes_dir)]
    runs = " ".join(f"--{task} runs/<run of {name}>" for task, name in networks.items())
    return [*dict.fromkeys(commands), f"python -m agegender publish {runs} --name {model}"]


def _commands_of(recipe: str, recipes_dir: Path) -> list[str]:
    """The command in the head of a recipe, after those of the runs that it starts from."""
    path = recipes_dir / f"{recipe}.toml"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    said = (line.removeprefix(_COMMAND) for line in lines if line.startswith(f"{_COMMAND}python train.py"))
    command = next(said, f"python train.py --config recipes/{recipe}.toml")
    before = [c for name in _RUN_OF.findall(command) for c in _commands_of(name, recipes_dir)]
    return [*before, command]
