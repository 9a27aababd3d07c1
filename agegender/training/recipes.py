"""Recipes: files that say in which runs a model is trained, and what became of them on this machine.

    system = "vggface"            settings of all runs, keys of `TrainingConfig`
    [options]                     how the network is built
    input_size = [160, 160]

    [[runs]]                      the runs, one after the other
    name = "both"
    task = "both"                 settings of its own, which go before those of all

    [[runs]]
    name = "age"
    start = "both"                an earlier run to go on from, or a published model
    task = "age"
    epochs = 3                    as on the command line: of the last stage; head_epochs of the stage head
    augmentation = 0.8            a strength: a share of what the recipe has
    dropout = 0.2                 an option

Without ``[[runs]]`` a recipe is of one run, which is called by its task.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agegender.errors import ConfigError
from agegender.labels import NetworkTask
from agegender.places import TRAIN_COMMAND
from agegender.runs.how_to_train import RECIPES_DIR
from agegender.runs.records import read_json
from agegender.training.config import DEFAULT_STAGES, TrainingConfig, read_config_values, system_of

OPTION_KEYS: Final = ("backbone", "age_head", "dropout", "input_size")
"""Options of systems that may be said like settings."""

STAGE_KEYS: Final = ("epochs", "learning_rate", "frozen_blocks")
"""Settings of the last stage that may be said like settings of the run."""

HEAD_STAGE: Final = "head"
HEAD_KEYS: Final = ("epochs", "learning_rate")
"""Those of the stage of that name, with "head_" before them."""

NOT_REBUILT: Final[Mapping[str, str]] = {
    "vggface-vgg16": "its run both-2 was stopped by hand after two of four epochs",
    "age-range": "its run nets-1 was stopped by hand after three of twelve epochs",
}
"""Published models that their recipe trains anew, but not the same, and why. Nothing may join: a model is
published with a recipe that was executed to its end."""


@dataclass(frozen=True)
class RecipeRun:
    """One run of a recipe.

    Attributes:
        recipe: The recipe's name.
        name: Its name in it.
        config: Everything that decides it; its ``start`` may be the name of an earlier run of the recipe.
    """

    recipe: str
    name: str
    config: TrainingConfig

    @property
    def label(self) -> dict[str, str]:
        """What its record calls it."""
        return {"name": self.recipe, "run": self.name}


def read_recipe(
    name: str, overrides: Mapping[str, Any] | None = None, *, recipes_dir: Path = RECIPES_DIR
) -> tuple[RecipeRun, ...]:
    """Reads a recipe.

    Args:
        name: One of the repository's recipes, or a TOML file; the ``config.json`` of a run is one, too.
        overrides: Settings that go before the recipe's in each of its runs, named like there.
        recipes_dir: Where the repository's recipes are.

    Returns:
        Its runs, in the order in which they are trained.

    Raises:
        ConfigError: There is no such recipe, or something in it, or in the overrides, makes no sense.
    """
    path = recipes_dir / f"{name}.toml"
    if not path.is_file():
        path = Path(name)
        if path.suffix not in (".toml", ".json"):
            known = ", ".join(sorted(file.stem for file in recipes_dir.glob("*.toml")))
            raise ConfigError(f"there is no recipe {name!r}; there are {known}, or name a .toml file")
    shared = read_config_values(path)
    try:
        runs = tuple(_runs(path.stem, shared))
    except ConfigError as error:  # so that what is wrong in the file is not blamed on an option
        raise ConfigError(f"{path}: {error}") from error
    if overrides and len(runs) > 1 and {"task", "start"} & overrides.keys():
        raise ConfigError(
            f"recipe {path.stem} has several runs: task and start are theirs, and not to be overridden"
        )
    return tuple(_runs(path.stem, shared, overrides)) if overrides else runs


def _runs(
    recipe: str, shared: Mapping[str, Any], overrides: Mapping[str, Any] | None = None
) -> Iterator[RecipeRun]:
    rest = dict(shared)
    listed = rest.pop("runs", [{}])
    if not isinstance(listed, list) or not listed or not all(isinstance(run, dict) for run in listed):
        raise ConfigError("runs is a list of [[runs]]")
    names: set[str] = set()
    for own in listed:
        settings = dict(own)
        name = settings.pop("name", None)
        try:
            config = build_config(rest, settings, overrides or {})
        except ConfigError as error:
            raise ConfigError(f"run {name}: {error}" if name else str(error)) from error
        name = name or (config.task if len(listed) == 1 else None)
        if not isinstance(name, str) or name in names:
            raise ConfigError(f"each of the runs needs a name of its own, not {name!r}")
        names.add(name)
        yield RecipeRun(recipe, name, config)


def build_config(*layers: Mapping[str, Any]) -> TrainingConfig:
    """Makes a config of settings, of which the later go before the earlier, and all before the defaults.

    Args:
        layers: Keys of `TrainingConfig`, and `OPTION_KEYS`, `STAGE_KEYS` and "head_" with `HEAD_KEYS` for
            what is nested there. Of ``options`` and ``augmentation`` each layer replaces what it names; a
            number for ``augmentation`` multiplies the strength of what the layers before it have.

    Raises:
        ConfigError: A key is unknown, a value makes no sense, or the task is missing.
    """
    values: dict[str, Any] = {"options": {}, "augmentation": {}}
    strength = 1.0
    for layer in layers:
        of_stages = {}
        for key, value in layer.items():
            if key in OPTION_KEYS:
                values["options"][key] = value
            elif key in STAGE_KEYS or key.removeprefix("head_") in HEAD_KEYS:
                of_stages[key] = value
            elif key == "augmentation" and isinstance(value, (int, float)):
                strength *= value if abs(value) <= sys.float_info.max else math.inf
            elif key in ("options", "augmentation"):
                if not isinstance(value, Mapping):
                    raise ConfigError(f"{key} holds no keys: {value!r}")
                values[key] |= value
            else:
                values[key] = value
        if of_stages:
            values["stages"] = _change_stages(values.get("stages"), of_stages)
    if isinstance(values["options"].get("input_size"), int):
        values["options"]["input_size"] = [values["options"]["input_size"]] * 2
    if "task" not in values:
        values["task"] = _usual_task(values)
    config = TrainingConfig.from_dict(values)
    if strength == 1:
        return config
    return dataclasses.replace(config, augmentation=config.augmentation.scaled(strength))


def _usual_task(values: Mapping[str, Any]) -> NetworkTask:
    tasks = system_of(values).tasks
    if tasks[0] != "both":
        raise ConfigError(f"say which network: task {', '.join(tasks[:-1])} or {tasks[-1]}")
    return tasks[0]


def _change_stages(stages: Any, changes: Mapping[str, Any]) -> list[dict[str, Any]]:
    if stages is None:
        stages = [dataclasses.asdict(stage) for stage in DEFAULT_STAGES]
    if not isinstance(stages, list) or not all(isinstance(stage, Mapping) for stage in stages) or not stages:
        raise ConfigError(f"stages is a list of stages, not {stages!r}")
    changed = [dict(stage) for stage in stages]
    head = next((stage for stage in changed if stage.get("name") == HEAD_STAGE), None)
    for key, value in changes.items():
        if key in STAGE_KEYS:
            changed[-1][key] = value
        elif head is None:
            raise ConfigError(f"there is no stage {HEAD_STAGE!r} for {key}")
        else:
            head[key.removeprefix("head_")] = value
    return changed


def place_run(run: RecipeRun, done: Mapping[str, Path], runs_dir: Path) -> tuple[TrainingConfig, Path | None]:
    """Finds what there is of a run of a recipe.

    Args:
        run: The run.
        done: Folders of the recipe's runs before it, by name.
        runs_dir: Where run records are.

    Returns:
        Its config, going on from one of those folders where it says so; and the folder of the newest run of
        this recipe and name with that same config, or ``None`` where there is none yet.
    """
    config = run.config
    if config.start is not None and config.start in done:
        config = dataclasses.replace(config, start=str(done[config.start]))
    for folder in sorted(runs_dir.glob("*/"), reverse=True):
        if read_json(folder / "environment.json").get("recipe") != run.label:
            continue
        recorded = read_json(folder / "config.json")
        if _without_place(recorded) == _without_place(config.to_dict()):
            return config, folder
    return config, None


def _without_place(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config whose start is a run by its name, wherever the folder of runs was named from."""
    start = config.get("start")
    return {**config, "start": Path(start).name if isinstance(start, str) else start}


def is_finished(folder: Path) -> bool:
    """Whether a run has trained all that it will: it is done, or stopped by itself."""
    return read_json(folder / "metrics.json").get("ended") in ("finished", "stopped early")


def finished_runs(recipe: str, runs_dir: Path, recipes_dir: Path = RECIPES_DIR) -> dict[NetworkTask, Path]:
    """The runs of a recipe that make its model: those that no other run of it goes on from.

    Args:
        recipe: See `read_recipe`.
        runs_dir: Where run records are.
        recipes_dir: Where the repository's recipes are.

    Returns:
        The run's folder of each network.

    Raises:
        ConfigError: There is no such recipe, or one of its runs is not finished.
    """
    runs = read_recipe(recipe, recipes_dir=recipes_dir)
    done: dict[str, Path] = {}
    for run in runs:
        _, folder = place_run(run, done, runs_dir)
        if folder is None or not is_finished(folder):
            raise ConfigError(
                f"run {run.name} of recipe {run.recipe} is not finished in {runs_dir}: "
                f"{TRAIN_COMMAND} --recipe {recipe}"
            )
        done[run.name] = folder
    starts = {run.config.start for run in runs}
    return {run.config.task: done[run.name] for run in runs if run.name not in starts}
