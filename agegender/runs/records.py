"""Run records: what a training run leaves behind, written as it goes and read by people and pages.

    runs/<id>/
        config.json        the recipe (TrainingConfig)
        environment.json   versions, machine, start time, hashes of split and labels, the recipe it belongs to
        split.csv          digest and split of every chip
        history.csv        one row an epoch
        status.json        running, or how it ended; progress and time left
        metrics.json       figures of the kept epoch on the selection half of validation
        best.weights.h5    the kept epoch
        last.weights.h5    the last epoch with its optimiser, to resume from
        .lock              there while a process trains it

Imports no TensorFlow.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pandas as pd

from agegender import files
from agegender.errors import ConfigError
from agegender.export import to_json, write_atomically
from agegender.labels import Task
from agegender.models.card import CARD_FILE, HISTORY_FILE, METRICS_FILE, folders_with
from agegender.models.registry import default_first
from agegender.places import runs_folder
from agegender.runs.progress import finite

RUNS_DIR: Final = runs_folder()
"""The one place of run records; see `agegender.places`."""

BEST_WEIGHTS: Final = "best.weights.h5"
LAST_WEIGHTS: Final = "last.weights.h5"
TEACHER_CACHE: Final = ".teacher"
"""Folder beside the runs with answers of teachers, which runs share. It can be deleted at any time."""
LANDMARKS_CACHE: Final = ".landmarks.npz"
"""File beside the runs with the faces that were found in pictures to train on, which runs share."""
SPLITS_CACHE: Final = ".splits"
"""Folder beside the runs with copies and splits of datasets, by content. It can be deleted at any time."""
STALE_AFTER_SECONDS: Final = 180.0
"""A run that says it is running but has not written for so long, or for as long as its slowest epoch took if
that is longer, was killed: within an epoch it writes every few seconds, but not while it validates."""

_MOST_EPOCHS: Final = 10**9

HISTORY_COLUMNS: Final = (
    *("task", "stage", "epoch", "seconds", "learning_rate", "loss", "val_loss"),
    *("mae", "val_mae", "accuracy", "val_accuracy", "range_accuracy", "val_range_accuracy"),
)


@dataclass(frozen=True, eq=False)
class RunRecord:
    """One training run as the pages see it.

    Attributes:
        id: Folder name under ``runs/``, or the model's name for a published one.
        folder: Where the record is.
        title: What to call it in a list.
        config: The recipe, as JSON gives it; of a published pair ``{"age": …, "gender": …}``.
        history: One row an epoch with the columns `HISTORY_COLUMNS`, NaN where one does not apply.
        metrics: What the run measured; empty while it runs.
        status: ``state`` ("starting" until the first training step, "running", "finished", "stopped early",
            "diverged", "interrupted", "killed", "published", or "unknown" where the record is damaged) and,
            while it runs, ``epoch``, ``epochs``, ``step``, ``steps`` and ``seconds_left``.
        validation_faces: How many faces its validation figures were measured on: the selection half, or the
            whole split where it was not yet halved; ``None`` where that is not recorded.
    """

    id: str
    folder: Path
    title: str
    config: dict[str, Any]
    history: pd.DataFrame
    metrics: dict[str, Any]
    status: dict[str, Any]
    validation_faces: int | None = None

    @property
    def state(self) -> str:
        """The status in a word; see ``status``."""
        return str(self.status.get("state", "unknown"))

    @property
    def running(self) -> bool:
        """Whether it is being trained right now."""
        return self.state in ("starting", "running")

    def history_of(self, task: Task) -> pd.DataFrame:
        """The epochs in which a network learned a task, alone or together with the other, in order.

        A published pair holds the epochs of two networks, and each counts its own from 1.
        """
        rows = self.history[self.history["task"].isin([task, "both"])]
        return rows.drop_duplicates("epoch", keep="last").sort_values("epoch", kind="stable")

    def config_of(self, task: Task) -> dict[str, Any]:
        """The recipe of the network that learned a task; empty where none is recorded."""
        return _dict(self._network(task).get("config")) if self.state == "published" else self.config

    def kept_epoch(self, task: Task) -> int | None:
        """The epoch whose weights were kept, or ``None`` while that is open.

        A network of both tasks is judged by both at once, so it may be the best epoch of neither.
        """
        if self.state == "published":
            epoch = self._network(task).get("kept_epoch")
        else:
            epoch = self.metrics.get("best_epoch")
        return epoch if isinstance(epoch, int) else None

    def _network(self, task: Task) -> dict[str, Any]:
        """What a published model's card says of the network that learned a task."""
        return _dict(self.config.get(task) or self.config.get("both"))


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes JSON so that a reader sees the old file or the new one, never half of it."""
    write_atomically(path, to_json(values))


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object; an absent or broken file is an empty one."""
    try:
        values = files.read_json(path)
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


@contextmanager
def lock_folder(folder: Path, work: str) -> Iterator[None]:
    """Holds a folder, such as a run's, for this process. The lock dies with its process, however that ends.

    Args:
        folder: It exists.
        work: What is done there, to say so to others: "trained".

    Raises:
        ConfigError: Another process holds it.
    """
    path = folder / ".lock"
    with path.open("a") as file:
        if not (files.lock_file(file.fileno()) and _is_same_file(file.fileno(), path)):
            raise ConfigError(f"{folder} is being {work} by another process")
        try:
            yield
        finally:
            # While it is still held: whoever opened it before finds another file in its place, or none.
            with suppress(OSError):
                path.unlink()


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def new_run_folder(system: str, task: str, runs_dir: Path = RUNS_DIR) -> Path:
    """Creates ``runs/<UTC time>-<system>-<task>/`` and returns it; never one that exists."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    for number in range(1000):
        folder = runs_dir / (f"{stamp}-{system}-{task}" + (f"-{number}" if number else ""))
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise ConfigError(f"cannot make a new run folder in {runs_dir}")


def latest_run(task: str, runs_dir: Path = RUNS_DIR) -> Path:
    """The newest run of a task that can be resumed.

    Raises:
        ConfigError: There is none.
    """
    for folder in sorted(runs_dir.glob("*/"), reverse=True):
        resumable = (folder / LAST_WEIGHTS).is_file()
        if resumable and read_json(folder / "config.json").get("task") == task:
            return folder
    raise ConfigError(f"no run of task {task!r} in {runs_dir} to resume")


def read_history(path: Path) -> pd.DataFrame:
    """Reads a ``history.csv`` into the columns `HISTORY_COLUMNS`; an absent file has no rows.

    What is no number in a column of numbers reads as NaN, and a row without a possible epoch is left out.
    """
    try:
        history = pd.read_csv(path, dtype=dict.fromkeys(HISTORY_COLUMNS[2:], "str"))
    except (OSError, ValueError):
        history = pd.DataFrame()
    history = history.reindex(columns=list(HISTORY_COLUMNS))
    for name in HISTORY_COLUMNS[2:]:
        history[name] = pd.to_numeric(history[name], errors="coerce").astype("float64")
    return history[history["epoch"].between(0, _MOST_EPOCHS)].astype({"epoch": "int64"})


def list_runs(weights_dir: Path | None = None, runs_dir: Path = RUNS_DIR) -> list[RunRecord]:
    """All published models with a history, the default one first, then all runs, newest first."""
    models = folders_with(HISTORY_FILE, weights_dir)
    published = [_read_published(models[name]) for name in sorted(models, key=default_first)]
    folders = sorted((path.parent for path in runs_dir.glob("*/config.json")), reverse=True)
    return published + [_read_run(folder) for folder in folders]


def _read_published(folder: Path) -> RunRecord:
    card = read_json(folder / CARD_FILE) | read_json(folder / METRICS_FILE)
    return RunRecord(
        id=folder.name,
        folder=folder,
        title=f"{folder.name} (published)",
        config=_dict(card.get("training")),
        history=read_history(folder / HISTORY_FILE),
        metrics=_dict(card.get("metrics")),
        status={"state": "published"},
        validation_faces=_validation_faces(card),
    )


def _read_run(folder: Path) -> RunRecord:
    history = read_history(folder / HISTORY_FILE)
    status = _read_status(folder, history)
    return RunRecord(
        id=folder.name,
        folder=folder,
        title=f"{folder.name} ({status['state']})",
        config=read_json(folder / "config.json"),
        history=history,
        metrics=read_json(folder / "metrics.json"),
        status=status,
        validation_faces=_validation_faces(read_json(folder / "environment.json")),
    )


def _read_status(folder: Path, history: pd.DataFrame) -> dict[str, Any]:
    path = folder / "status.json"
    status = read_json(path)
    state, updated = status.get("state", "unknown"), status.get("updated")
    if not path.exists():  # it comes with the first training step, minutes after the recipe
        state, updated = "starting", (folder / "config.json").stat().st_mtime
    if state in ("starting", "running"):
        silent = time.time() - finite(updated)
        slowest = float(history["seconds"].max()) if history["seconds"].notna().any() else 0.0
        if silent > max(STALE_AFTER_SECONDS, slowest):
            state = "killed"
    return {**status, "state": state}


def _validation_faces(record: dict[str, Any]) -> int | None:
    sizes = _dict(_dict(record.get("split")).get("sizes"))
    size = sizes.get("selection", sizes.get("validation"))
    return size if isinstance(size, int) and size > 0 else None


def _dict(value: Any) -> dict[str, Any]:
    """The value where it is a JSON object, and an empty one where a damaged file holds anything else."""
    return value if isinstance(value, dict) else {}
