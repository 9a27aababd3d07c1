"""Run records: what a training run leaves behind, written as it goes and read by people and pages.

    runs/<id>/
        config.json        the recipe (TrainingConfig)
        environment.json   versions, machine, start time, size and hash of the split
        split.csv          digest and split of every chip
        history.csv        one row an epoch
        status.json        running, finished or interrupted; progress and time left
        metrics.json       validation figures of the kept epoch
        best.weights.h5    the kept epoch
        last.weights.h5    the last epoch with its optimiser, to resume from

Imports no TensorFlow.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pandas as pd

from agegender.errors import ConfigError
from agegender.models.card import CARD_FILE, HISTORY_FILE, WEIGHTS_DIR

RUNS_DIR: Final = Path("runs")
BEST_WEIGHTS: Final = "best.weights.h5"
LAST_WEIGHTS: Final = "last.weights.h5"
STALE_AFTER_SECONDS: Final = 180.0
"""A run that says it is running but has not written for so long was killed."""

HISTORY_COLUMNS: Final = (
    *("task", "stage", "epoch", "seconds", "learning_rate", "loss", "val_loss"),
    *("mae", "val_mae", "accuracy", "val_accuracy"),
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
        status: ``state`` ("running", "finished", "interrupted", "killed" or "published") and, while it
            runs, ``epoch``, ``step``, ``steps`` and ``seconds_left``.
    """

    id: str
    folder: Path
    title: str
    config: dict[str, Any]
    history: pd.DataFrame
    metrics: dict[str, Any]
    status: dict[str, Any]


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes JSON so that a reader sees the old file or the new one, never half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object; an absent or broken file is an empty one."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


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
    """Reads a ``history.csv`` into the columns `HISTORY_COLUMNS`; an absent file has no rows."""
    try:
        history = pd.read_csv(path)
    except (OSError, ValueError):
        history = pd.DataFrame()
    return history.reindex(columns=list(HISTORY_COLUMNS))


def list_runs(weights_dir: Path = WEIGHTS_DIR, runs_dir: Path = RUNS_DIR) -> list[RunRecord]:
    """All published models with a history, then all runs, newest first."""
    records = []
    for path in sorted(weights_dir.glob(f"*/{HISTORY_FILE}")):
        card = read_json(path.parent / CARD_FILE)
        title = f"{path.parent.name} (published)"
        config, metrics = card.get("training", {}), card.get("metrics", {})
        records.append(
            RunRecord(
                path.parent.name,
                path.parent,
                title,
                config,
                read_history(path),
                metrics,
                {"state": "published"},
            )
        )
    for path in sorted(runs_dir.glob("*/config.json"), reverse=True):
        folder, config = path.parent, read_json(path)
        status = read_json(folder / "status.json")
        if status.get("state") == "running" and time.time() - status.get("updated", 0) > STALE_AFTER_SECONDS:
            status["state"] = "killed"
        title = f"{folder.name} ({status.get('state', 'unknown')})"
        history, metrics = read_history(folder / HISTORY_FILE), read_json(folder / "metrics.json")
        records.append(RunRecord(folder.name, folder, title, config, history, metrics, status))
    return records
