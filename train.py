"""Trains one network: python train.py --task age, python train.py --task gender."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from agegender.data.table import read_dataset
from agegender.errors import AgeGenderError, ConfigError
from agegender.runtime import prepare_tensorflow
from agegender.training.runs import RUNS_DIR, latest_run, new_run_folder

if TYPE_CHECKING:
    from agegender.training.config import TrainingConfig

EXIT_OK, EXIT_USAGE, EXIT_INTERRUPTED = 0, 2, 130


def parser() -> argparse.ArgumentParser:
    """The command line; defaults are `TrainingConfig`'s."""
    p = argparse.ArgumentParser(description=__doc__, argument_default=argparse.SUPPRESS)
    p.add_argument("--task", choices=("age", "gender"), required=True, help="which of the two networks")
    p.add_argument("--data", default=None, metavar="DIR", help="UTKFace folder (default: $UTKFACE_DIR)")
    p.add_argument("--system", help="the network family (default: vggface)")
    p.add_argument("--backbone", help="mobilenet (default) or vgg16")
    p.add_argument("--age-head", help="distribution (default) or linear")
    p.add_argument("--input-size", type=int, metavar="PIXELS", help="side of the network's square input")
    p.add_argument("--dropout", type=float)
    p.add_argument("--base-weights", help="default, none, or a weight file")
    p.add_argument("--head-epochs", type=int, help="epochs with the backbone frozen")
    p.add_argument("--epochs", type=int, help="epochs with everything trained")
    p.add_argument("--frozen-blocks", type=int, help="lowest blocks of the backbone that never train")
    p.add_argument("--batch-size", type=int)
    p.add_argument("--head-learning-rate", type=float)
    p.add_argument("--learning-rate", type=float)
    p.add_argument("--ema-momentum", type=float)
    p.add_argument("--patience", type=int, help="epochs without progress before it stops early")
    p.add_argument("--augmentation", type=float, metavar="STRENGTH", help="1 as tuned, 0 none")
    p.add_argument("--limit", type=int, metavar="N", help="train on N chips only, to try things out")
    p.add_argument("--seed", type=int)
    p.add_argument("--runs", type=Path, default=RUNS_DIR, metavar="DIR", help="where run records go")
    p.add_argument(
        "--resume",
        nargs="?",
        const="latest",
        default=None,
        metavar="RUN",
        help="go on from a run's last epoch; without a name, from the task's latest run",
    )
    p.add_argument("--quiet", action="store_true", default=False, help="no progress bar")
    return p


def make_config(given: dict[str, Any]) -> TrainingConfig:
    """Turns the options that were given into a recipe; the rest are its defaults."""
    from agegender.training.config import TrainingConfig

    values = dict(given)
    options = {key: values.pop(key) for key in ("backbone", "age_head", "dropout") if key in values}
    if "input_size" in values:
        options["input_size"] = (values["input_size"], values.pop("input_size"))
    strength = values.pop("augmentation", 1.0)
    config = TrainingConfig.from_dict({**values, "options": options})
    return dataclasses.replace(config, augmentation=config.augmentation.scaled(strength))


def find_run(given: dict[str, Any], runs: Path, name: str) -> tuple[Path, TrainingConfig]:
    """Finds the run to go on with, and its own recipe.

    Raises:
        ConfigError: There is no such run, it is of another task, or options were given besides.
    """
    from agegender.training.config import TrainingConfig

    options = dict(given)
    task = options.pop("task")
    folder = latest_run(task, runs) if name == "latest" else runs / name
    config = TrainingConfig.read(folder / "config.json")
    if config.task != task:
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


def show_reading() -> Callable[[int, int], None]:
    """A progress bar over the files that are read to find the split; ends itself with the last one."""
    bar: tqdm[Any] = tqdm(desc="reading chips", unit="file", leave=False)

    def advance(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done == total:
            bar.close()

    return advance


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    given = vars(parser().parse_args(arguments))
    data, runs, resume, quiet = (given.pop(key) for key in ("data", "runs", "resume", "quiet"))
    task = given["task"]
    folder: Path | None = None
    try:
        dataset = read_dataset(data)
        prepare_tensorflow()
        # TensorFlow takes seconds to import, and reads its settings then.
        from agegender.training.loop import describe_stage_plan, train

        if resume is None:
            config = make_config(given)
            folder = new_run_folder(config.system, task, runs)
        else:
            folder, config = find_run(given, runs, resume)
        print(f"{describe_stage_plan(config)}\nrecord: {folder}", file=sys.stderr)
        metrics = train(
            config,
            dataset,
            folder,
            resume=resume is not None,
            quiet=quiet,
            file_progress=None if quiet else show_reading(),
        )
    except AgeGenderError as error:
        drop_if_empty(folder)
        print(f"train.py: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("\ninterrupted.", file=sys.stderr)
        if not drop_if_empty(folder):
            elsewhere = [] if runs == RUNS_DIR else ["--runs", str(runs)]
            command = ["python", "train.py", "--task", task, *elsewhere, "--resume", folder.name]
            print(f"Go on with: {shlex.join(command)}", file=sys.stderr)
        return EXIT_INTERRUPTED
    print(f"{folder}: {metrics}", file=sys.stderr)
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
