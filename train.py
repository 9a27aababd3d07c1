"""Trains networks: python train.py --task age, python train.py --task gender, or all runs of a recipe.

A recipe (--recipe vggface, or a file like those in recipes/) is a list of runs, trained one after another;
what is given on the command line goes before it. Each run leaves a record in runs/ and can be stopped with
Ctrl-C. The same command goes on with a recipe where it was stopped; --resume goes on with a single run.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agegender.commands import complain, progress_bars
from agegender.data.split import Partition
from agegender.data.table import read_dataset
from agegender.errors import AgeGenderError, ConfigError
from agegender.places import TRAIN_COMMAND
from agegender.runs.records import RUNS_DIR, latest_run, new_run_folder
from agegender.runtime import prepare_tensorflow, without_chatter
from agegender.training.config import DEFAULT_STAGES, TrainingConfig
from agegender.training.recipes import (
    HEAD_KEYS,
    STAGE_KEYS,
    build_config,
    is_finished,
    place_run,
    read_recipe,
)
from agegender.training.settings import add_options
from agegender.training.tracking import DASHBOARD_COMMAND, TRACKERS, open_tracker

EXIT_OK, EXIT_USAGE, EXIT_INTERRUPTED = 0, 2, 130


def parser() -> argparse.ArgumentParser:
    """The command line. It names the defaults of settings, but leaves out what was not given."""
    p = argparse.ArgumentParser(
        prog=TRAIN_COMMAND,
        usage="%(prog)s --task TASK | --recipe NAME | --resume [RUN] [--data DIR] [option ...]",
        description=__doc__,
        epilog="Defaults are those without a recipe.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    group = functools.cache(p.add_argument_group)
    add = group("run").add_argument
    add(
        "--recipe",
        "--config",
        default=None,
        metavar="NAME",
        help="one of recipes/, or a TOML file like those",
    )
    add("--data", default=None, nargs="+", metavar="DIR", help="folders of faces; default $UTKFACE_DIR")
    add(
        "--runs", type=Path, default=RUNS_DIR, metavar="DIR", help="where run records go; default %(default)s"
    )
    add(
        "--resume",
        nargs="?",
        const="latest",
        default=None,
        metavar="RUN",
        help="go on from a run's last epoch, as it was started; without a name, from the task's latest run",
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

    add_options(group, TrainingConfig)
    add = group("network").add_argument
    add("--backbone", metavar="NAME", help="default mobilenet; or vgg16, where the system lets you choose")
    add("--age-head", metavar="NAME", help="distribution or linear; default distribution")
    add("--input-size", type=int, metavar="PIXELS", help="side of its square input; default the backbone's")
    add("--dropout", type=float, metavar="X", help="after each dense layer; default 0.3")
    add_options(group, DEFAULT_STAGES[-1], only=STAGE_KEYS, of="in the last stage")
    add_options(group, DEFAULT_STAGES[0], only=HEAD_KEYS, prefix="head-", of="in the stage head")
    group("data").add_argument(
        "--augmentation", type=float, metavar="X", help="strength: 1 as the recipe has it, 0 none"
    )
    return p


def find_run(given: Mapping[str, Any], runs: Path, name: str) -> tuple[Path, TrainingConfig]:
    """Finds the run to go on with, and how it was started.

    Raises:
        ConfigError: There is no such run, it is of another task, or options were given besides.
    """
    options = dict(given)
    task = options.pop("task", None)
    if name == "latest" and task is None:
        raise ConfigError("say which network's latest run: --task age, --task gender or --task both")
    if name == "latest":
        folder = latest_run(task, runs)
    else:
        found = next((f for f in (runs / name, Path(name)) if (f / "config.json").is_file()), None)
        if found is None:
            raise ConfigError(f"there is no run {name} in {runs} to resume")
        folder = found
    config = TrainingConfig.read(folder / "config.json")
    if task not in (None, config.task):
        raise ConfigError(f"{folder} is a run of task {config.task!r}, not {task!r}")
    if options:
        raise ConfigError(f"--resume keeps the run's own options; drop {', '.join(sorted(options))}")
    return folder, config


@dataclass(frozen=True)
class Job:
    """One run to train.

    Attributes:
        config: Everything that decides it.
        folder: Its record's, which exists.
        resume: Whether that may hold epochs to go on from.
        label: Which run of which recipe it is; ``None`` where it is of none.
    """

    config: TrainingConfig
    folder: Path
    resume: bool
    label: dict[str, str] | None = None


def plan(given: dict[str, Any], *, recipe: str | None, resume: str | None, runs: Path) -> Iterator[Job]:
    """The runs that the command line asks for, each planned when the one before it is done.

    Raises:
        ConfigError: What was asked for makes no sense.
    """
    if resume is not None:
        folder, config = find_run(given, runs, resume)
        yield Job(config, folder, resume=True)
        return
    start = given.get("start")
    if start is not None and not Path(start).is_dir() and (runs / start).is_dir():
        given = {**given, "start": str(runs / start)}
    if recipe is None:
        config = build_config(given)
        yield Job(config, new_run_folder(config.system, config.task, runs), resume=False)
        return
    done: dict[str, Path] = {}
    for run in read_recipe(recipe, given):
        config, found = place_run(run, done, runs)
        done[run.name] = found or new_run_folder(config.system, config.task, runs)
        yield Job(config, done[run.name], resume=found is not None, label=run.label)


def drop_if_empty(folder: Path | None) -> bool:
    """Removes a run folder in which nothing was recorded; returns whether there is no record."""
    if folder is None:
        return True
    with contextlib.suppress(OSError):
        folder.rmdir()
    return not folder.exists()


def how_to_go_on(
    folder: Path, *, data: list[str] | None, runs: Path, strategy: str, track: str | None
) -> str:
    """The command that resumes a run."""
    where = [] if data is None else ["--data", *data]
    elsewhere = [] if runs == RUNS_DIR else ["--runs", str(runs)]
    devices = [] if strategy == "none" else ["--strategy", strategy]
    tracker = [] if track is None else ["--track", track]
    name = folder.name if folder.parent == runs else str(folder)
    return shlex.join([*TRAIN_COMMAND.split(), *where, *elsewhere, *devices, *tracker, "--resume", name])


def describe_end(folder: Path, metrics: Mapping[str, Any]) -> str:
    """One line on how a run ended."""
    figures = [f"{key} {metrics[key]}" for key in ("mae", "accuracy", "range_accuracy") if key in metrics]
    line = f"{metrics.get('ended', 'ended')} after {metrics.get('epochs', 0)} epochs"
    if figures:
        line += f"; epoch {metrics['best_epoch']} is kept, with a validation {', '.join(figures)}"
    return f"{folder}: {line}"


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    command_line = parser()
    given = vars(command_line.parse_args(arguments))
    data, runs, recipe, resume, strategy, track, quiet = (
        given.pop(key) for key in ("data", "runs", "recipe", "resume", "strategy", "track", "quiet")
    )
    if recipe is not None and resume is not None:
        command_line.error("--resume is for one run: the recipe goes on by itself")
    if recipe is None and resume is None and not given.keys() & {"task", "system"}:
        command_line.error("say what to train: --task age, --task gender, or a recipe with --recipe")
    folder: Path | None = None
    try:
        if track is not None:
            open_tracker(track)  # to be refused before any work
        dataset = read_dataset(data)
        prepare_tensorflow(training=True)
        with without_chatter():
            # TensorFlow takes seconds to import, and reads its settings then.
            from agegender.training.devices import grow_gpu_memory
            from agegender.training.loop import check_same_data, describe_stage_plan, take_apart, train

            grow_gpu_memory()

        found: Partition | None = None
        for job in plan(given, recipe=recipe, resume=resume, runs=runs):
            folder = job.folder
            name = "" if job.label is None else f"{job.label['run']}: "
            print(f"{name}{describe_stage_plan(job.config)}\nrecord: {folder}", file=sys.stderr)
            with contextlib.nullcontext() if quiet else progress_bars("file") as progress:
                found = found or take_apart(dataset, runs, limit=job.config.limit, progress=progress)
                if job.label is not None and is_finished(folder):
                    check_same_data(folder, job.config, found)
                    complain("done before")
                    continue
                tracker = None if track is None else open_tracker(track)
                if tracker is not None:
                    complain(f"dashboard: {DASHBOARD_COMMAND}")
                metrics = train(
                    job.config,
                    dataset,
                    folder,
                    resume=job.resume,
                    quiet=quiet,
                    strategy=strategy,
                    tracker=tracker,
                    file_progress=progress,
                    partition=found,
                    recipe=job.label,
                    say=complain,
                )
            print(describe_end(folder, metrics), file=sys.stderr)
            if job.label is not None and metrics.get("ended") == "diverged":
                raise ConfigError(f"run {job.label['run']} diverged: nothing goes on from it; lower its rate")
    except (AgeGenderError, OSError) as error:
        drop_if_empty(folder)
        print(f"{TRAIN_COMMAND}: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("\ninterrupted.", file=sys.stderr)
        there = folder is not None and not drop_if_empty(folder)
        if recipe is not None:
            print(f"Go on with: {shlex.join([*TRAIN_COMMAND.split(), *arguments])}", file=sys.stderr)
        elif folder is not None and there:
            command = how_to_go_on(folder, data=data, runs=runs, strategy=strategy, track=track)
            print(f"Go on with: {command}", file=sys.stderr)
        return EXIT_INTERRUPTED
    if recipe is not None and not given:
        print(f"Publish it with: python -m agegender publish --recipe {recipe}", file=sys.stderr)
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
