"""Trains one network: python train.py --task age, python train.py --task gender.

Everything a recipe holds can be written in a file (--config recipes/vggface-age.toml); what is given on the
command line goes before it. Each run leaves a record in runs/, can be stopped with Ctrl-C, and goes on with
--resume from its last finished epoch.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from agegender.data.table import read_dataset
from agegender.errors import AgeGenderError, ConfigError
from agegender.places import TRAIN_COMMAND
from agegender.progress import Progress
from agegender.runs.records import RUNS_DIR, latest_run, new_run_folder
from agegender.runtime import prepare_tensorflow
from agegender.training.tracking import DASHBOARD_COMMAND, TRACKERS, open_tracker

if TYPE_CHECKING:
    from agegender.training.config import TrainingConfig

EXIT_OK, EXIT_USAGE, EXIT_INTERRUPTED = 0, 2, 130

_HEAD_STAGE = "head"
_OPTIONS = ("backbone", "age_head", "dropout", "input_size")


def parser() -> argparse.ArgumentParser:
    """The command line. It names `TrainingConfig`'s defaults, but leaves out what was not given."""
    p = argparse.ArgumentParser(
        prog=TRAIN_COMMAND,
        usage="%(prog)s --task TASK | --config FILE | --resume RUN [--data DIR] [option ...]",
        description=__doc__,
        epilog="Defaults are those without --config.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    _add_recipe(p)
    add = p.add_argument_group("run").add_argument
    add(
        "--runs", type=Path, default=RUNS_DIR, metavar="DIR", help="where run records go; default %(default)s"
    )
    add(
        "--resume",
        nargs="?",
        const="latest",
        default=None,
        metavar="RUN",
        help="go on from a run's last epoch, with its own recipe; without a name, from the task's latest run",
    )
    add(
        "--strategy",
        choices=("none", "mirrored", "multiworker"),
        default="none",
        help="spread each batch over all GPUs of this machine (mirrored), or over the machines in TF_CONFIG "
        "(multiworker: start the same command on each); default none",
    )
    add(
        "--track",
        choices=TRACKERS,
        default=None,
        help="copy the record into this tracker too, on this computer only; see requirements-track.txt; "
        "default none",
    )
    add("--quiet", action="store_true", default=False, help="no progress bar")
    return p


def _add_recipe(p: argparse.ArgumentParser) -> None:
    add = p.add_argument_group("network").add_argument
    add("--task", choices=("age", "gender", "both"), help="what it answers")
    add("--config", type=Path, metavar="FILE", help="a recipe, TOML or JSON; see recipes/")
    add("--system", help="family of networks; default vggface")
    add("--backbone", help="default mobilenet; or vgg16, where the system lets you choose")
    add("--age-head", help="distribution (default) or linear")
    add("--input-size", type=int, metavar="PIXELS", help="side of its square input; default the backbone's")
    add("--dropout", type=float, metavar="SHARE", help="after each dense layer; default 0.3")
    add("--base-weights", metavar="BASE", help="default, none, another base by name, or a weight file")
    add("--start", metavar="RUN", help="a run or a model to go on from, wherever layers match; or none")

    add = p.add_argument_group("stages").add_argument
    add("--head-epochs", type=int, metavar="N", help="of the stage head, backbone frozen; default 1")
    add("--head-learning-rate", type=float, metavar="RATE", help="its peak; default 0.001")
    add("--epochs", type=int, metavar="N", help="of the last stage; default 8")
    add("--learning-rate", type=float, metavar="RATE", help="its peak; default 0.0002")
    add("--frozen-blocks", type=_blocks, metavar="N", help="lowest blocks it leaves as they are; default 0")
    add(
        "--schedule", choices=("cosine", "constant", "plateau"), help="of the rate in a stage; default cosine"
    )
    add("--warmup-epochs", type=float, metavar="N", help="in which it rises, under cosine; default 0.3")
    add("--plateau-factor", type=float, metavar="F", help="divides it, under plateau; default 2.0")
    add("--plateau-patience", type=int, metavar="N", help="epochs without progress before that; default 2")
    add("--patience", type=int, metavar="N", help="such epochs before the last stage ends early; default 5")

    add = p.add_argument_group("optimiser").add_argument
    add("--optimizer", choices=("adamw", "adam"), help="default adamw")
    add("--batch-size", type=int, metavar="N", help="chips a step, over all devices; default 64")
    add("--layer-decay", type=float, metavar="F", help="rate of a block to the one above it; default 1.0")
    add("--weight-decay", type=float, metavar="F", help="default 0.01")
    add("--clip-norm", type=float, metavar="NORM", help="of a gradient, over all weights; default 5.0")
    add("--ema-momentum", type=float, metavar="F", help="of the weights' average, 0 for none; default 0.998")
    add(
        "--precision",
        choices=("auto", "float32", "mixed_float16", "mixed_bfloat16"),
        help="default auto: mixed_float16 on a GPU",
    )

    add = p.add_argument_group("labels and loss").add_argument
    add("--age-loss", choices=("mse", "mae"), help="on years, with a linear head; default mse")
    add("--age-sigma", type=float, metavar="YEARS", help="spread of a label's distribution; default 2.0")
    add("--age-weight", type=float, metavar="W", help="of the loss on years beside others; default 0.2")
    add("--gender-weight", type=float, metavar="W", help="of gender's loss beside age's; default 1.0")
    add("--range-weight", type=float, metavar="W", help="of the loss on age ranges; default 1.0")
    add(
        "--weighting",
        choices=("fixed", "uncertainty"),
        help="of several losses: as given, or learned from there; default fixed",
    )
    add("--label-smoothing", type=float, metavar="SHARE", help="of gender's label; default 0.04")
    add("--teacher", metavar="MODEL", help="a published model whose answers are mixed into the labels")
    add("--teacher-weight", type=float, metavar="SHARE", help="its share, 0 to 1; default 0.5")
    add("--balance", choices=("none", "age", "gender", "both"), help="weigh rare chips more; default none")

    add = p.add_argument_group("data").add_argument
    add("--data", default=None, nargs="+", metavar="DIR", help="folders of faces; default $UTKFACE_DIR")
    add("--augmentation", type=float, metavar="STRENGTH", help="1 as the recipe has it, 0 none")
    add("--mixup", type=float, metavar="ALPHA", help="blend pairs of chips, 0 to 1; default 0.0")
    add("--cutmix", type=float, metavar="ALPHA", help="paste patches of other chips, 0 to 1; default 0.0")
    add("--erasing", type=float, metavar="SHARE", help="of chips partly covered with noise; default 0.0")
    add("--limit", type=int, metavar="N", help="use N chips only, to try things out")
    add("--seed", type=int, help="of the first weights, order and augmentation; default 0")


def _blocks(text: str) -> int | str:
    return text if text == "all" else int(text)


def make_config(given: dict[str, Any], runs: Path = RUNS_DIR) -> TrainingConfig:
    """Turns the options that were given into a recipe: over a recipe file's, over the defaults.

    Args:
        given: By the names of the parser.
        runs: Where ``start`` may be a folder by its bare name; "none" undoes a recipe's.

    Raises:
        ConfigError: The task is missing, a key is unknown, or a value makes no sense.
    """
    from agegender.training.config import DEFAULT_STAGES, TrainingConfig

    values = dict(given)
    recipe = _read_recipe(values.pop("config", None), values)
    options = {**recipe.pop("options", {}), **{key: values.pop(key) for key in _OPTIONS if key in values}}
    if isinstance(options.get("input_size"), int):
        options["input_size"] = (options["input_size"], options["input_size"])
    strength = values.pop("augmentation", 1.0)
    start = values.get("start")
    if start == "none":
        values["start"] = None
    elif start is not None and not Path(start).is_dir() and (runs / start).is_dir():
        values["start"] = str(runs / start)

    stages = recipe.pop("stages", None) or [dataclasses.asdict(stage) for stage in DEFAULT_STAGES]
    heads = [stage for stage in stages if stage["name"] == _HEAD_STAGE]
    for key in ("epochs", "learning_rate"):
        if key in values:
            stages[-1][key] = values.pop(key)
        if f"head_{key}" in values:
            if not heads:
                raise ConfigError(
                    f"the recipe has no stage {_HEAD_STAGE!r} for --head-{key.replace('_', '-')}"
                )
            heads[0][key] = values.pop(f"head_{key}")
    if "frozen_blocks" in values:
        stages[-1]["frozen_blocks"] = values.pop("frozen_blocks")

    config = TrainingConfig.from_dict({**recipe, **values, "options": options, "stages": stages})
    return dataclasses.replace(config, augmentation=config.augmentation.scaled(strength))


def _read_recipe(file: Path | None, values: dict[str, Any]) -> dict[str, Any]:
    """Reads a recipe file and checks it by itself, so that what is wrong in it is not blamed on an option.

    Gives it the task "both" where neither it nor an option says one, and its system is multi-task.
    """
    from agegender.models.registry import get_system
    from agegender.training.config import TrainingConfig, read_config_values

    recipe = {} if file is None else read_config_values(file)
    if "task" not in recipe and "task" not in values:
        tasks = get_system(values.get("system", recipe.get("system", "vggface"))).tasks
        if tasks[0] != "both":
            raise ConfigError(f"say which network: --task {' or --task '.join(tasks)}")
        recipe["task"] = "both"
    if file is not None:
        try:
            TrainingConfig.from_dict({"task": values.get("task"), **recipe})
        except ConfigError as error:
            raise ConfigError(f"{file}: {error}") from error
    return recipe


def find_run(given: dict[str, Any], runs: Path, name: str) -> tuple[Path, TrainingConfig]:
    """Finds the run to go on with, and its own recipe.

    Raises:
        ConfigError: There is no such run, it is of another task, or options were given besides.
    """
    from agegender.training.config import TrainingConfig

    options = dict(given)
    task = options.pop("task", None)
    if name == "latest" and task is None:
        raise ConfigError("say which network's latest run: --task age, --task gender or --task both")
    if name == "latest":
        folder = latest_run(task, runs)
    else:
        folder = next((f for f in (runs / name, Path(name)) if (f / "config.json").is_file()), None)
        if folder is None:
            raise ConfigError(f"there is no run {name} in {runs} to resume")
    config = TrainingConfig.read(folder / "config.json")
    if task not in (None, config.task):
        raise ConfigError(f"{folder} is a run of task {config.task!r}, not {task!r}")
    if options:
        raise ConfigError(f"--resume keeps the run's own options; drop {', '.join(sorted(options))}")
    return folder, config


def drop_if_empty(folder: Path | None) -> bool:
    """Removes a run folder in which nothing was recorded; returns whether there is no record."""
    if folder is None:
        return True
    with contextlib.suppress(OSError):
        folder.rmdir()
    return not folder.exists()


def show_reading() -> Progress:
    """A progress bar over the files that are read to find the split; ends itself with the last one."""
    bar: tqdm[Any] = tqdm(desc="reading chips", unit="file", leave=False)

    def advance(_what: str, done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done == total:
            bar.close()

    return advance


def how_to_go_on(folder: Path, *, data: str | None, runs: Path, strategy: str, track: str | None) -> str:
    """The command that resumes a run."""
    where = [] if data is None else ["--data", *map(str, data)]
    elsewhere = [] if runs == RUNS_DIR else ["--runs", str(runs)]
    devices = [] if strategy == "none" else ["--strategy", strategy]
    tracker = [] if track is None else ["--track", track]
    name = folder.name if folder.parent == runs else str(folder)
    return shlex.join([*TRAIN_COMMAND.split(), *where, *elsewhere, *devices, *tracker, "--resume", name])


def describe_end(folder: Path, metrics: dict[str, Any]) -> str:
    """One line on how a run ended."""
    figures = [f"{key} {metrics[key]}" for key in ("mae", "accuracy", "range_accuracy") if key in metrics]
    line = f"{metrics.get('ended', 'ended')} after {metrics.get('epochs', 0)} epochs"
    if figures:
        line += f"; epoch {metrics['best_epoch']} is kept, with a validation {', '.join(figures)}"
    return f"{folder}: {line}"


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    command_line = parser()
    given = vars(command_line.parse_args(arguments))
    data, runs, resume, strategy, track, quiet = (
        given.pop(key) for key in ("data", "runs", "resume", "strategy", "track", "quiet")
    )
    if resume is None and not given.keys() & {"task", "config", "system"}:
        command_line.error("say what to train: --task age, --task gender, or a recipe with --config")
    folder: Path | None = None
    try:
        tracker = None if track is None else open_tracker(track)
        dataset = read_dataset(data)
        prepare_tensorflow(training=True)
        # TensorFlow takes seconds to import, and reads its settings then.
        from agegender.training.loop import describe_stage_plan, train

        if resume is None:
            config = make_config(given, runs)
            folder = new_run_folder(config.system, config.task, runs)
        else:
            folder, config = find_run(given, runs, resume)
        print(f"{describe_stage_plan(config)}\nrecord: {folder}", file=sys.stderr)
        if tracker is not None:
            print(f"dashboard: {DASHBOARD_COMMAND}", file=sys.stderr)
        metrics = train(
            config,
            dataset,
            folder,
            resume=resume is not None,
            quiet=quiet,
            strategy=strategy,
            tracker=tracker,
            file_progress=None if quiet else show_reading(),
        )
    except AgeGenderError as error:
        drop_if_empty(folder)
        print(f"{TRAIN_COMMAND}: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("\ninterrupted.", file=sys.stderr)
        if folder is not None and not drop_if_empty(folder):
            command = how_to_go_on(folder, data=data, runs=runs, strategy=strategy, track=track)
            print(f"Go on with: {command}", file=sys.stderr)
        return EXIT_INTERRUPTED
    print(describe_end(folder, metrics), file=sys.stderr)
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
