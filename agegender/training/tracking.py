"""Experiment tracking: copies a run record into Trackio while it grows, on this computer only.

The record in ``runs/<id>/`` stays the source of truth. A `Tracker` reads it and hands on what Trackio does
not have yet. So a resumed run goes on under its name, and one that was not tracked from the start arrives
whole.

Imports neither TensorFlow nor, before `open_tracker`, Trackio.
"""

from __future__ import annotations

import importlib
import io
import math
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from agegender.errors import ConfigError
from agegender.models.card import HISTORY_FILE
from agegender.places import install_command
from agegender.runs.comparison import flatten
from agegender.runs.records import read_history, read_json

TRACKERS: Final = ("trackio",)
PROJECT: Final = "agegender"
"""What Trackio files the runs under."""

DASHBOARD_COMMAND: Final = f"trackio show --project {PROJECT}"
INSTALL_COMMAND: Final = install_command("track")

_WAYS_OUT: Final = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")
"""Environment variables under which Trackio sends runs to another computer, whatever its caller asks for."""


def open_tracker(name: str) -> Tracker:
    """Loads a tracker, before there is any work that its absence could waste.

    Args:
        name: One of `TRACKERS`.

    Returns:
        A tracker that has no run yet.

    Raises:
        ConfigError: There is no such tracker, it is not installed or does not load, or the environment would
            make it send runs elsewhere.
    """
    if name not in TRACKERS:
        raise ConfigError(f"there is no tracker {name!r}; there is {', '.join(TRACKERS)}")
    ways_out = [variable for variable in _WAYS_OUT if os.environ.get(variable)]
    if ways_out:
        raise ConfigError(
            f"{' and '.join(ways_out)} would make Trackio send the run to another computer; training logs to "
            "this one only, so unset it (what is logged here can be shared with `trackio sync` later)"
        )
    try:
        trackio = importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"tracking needs Trackio, which is not installed here ({error}); get it with: {INSTALL_COMMAND}"
        ) from error
    except Exception as error:  # it makes folders and opens databases as it is imported
        raise ConfigError(f"Trackio is installed but does not load: {error}") from error
    return Tracker(trackio)


class Tracker:
    """One run in Trackio, kept like its record. No failure of it reaches the training: it warns and goes on.

    Args:
        trackio: The module, or what behaves like it.
    """

    def __init__(self, trackio: Any) -> None:
        self._trackio = trackio
        self._logged: int | None = None  # the last epoch that Trackio has; None before the run is opened

    def update(self, record: Path) -> None:
        """Logs the epochs of a record that Trackio does not have, each as the step of its number.

        The first call opens the Trackio run that is called like the record's folder, with the recipe as its
        config, or goes on with it where there is one. A repeated epoch is not logged again: a resumed run
        comes to the same figures.

        Args:
            record: The run's folder, with ``config.json``.
        """
        try:
            if self._logged is None:
                self._logged = self._open(record)
            history = read_history(record / HISTORY_FILE)
            for row in history[history["epoch"] > self._logged].to_dict("records"):
                epoch = int(row["epoch"])
                self._trackio.log(_figures(row), step=epoch)
                self._logged = epoch
        except Exception as error:
            _warn(error)

    def close(self, record: Path) -> None:
        """Logs what is left of a record and how the run ended, and waits until Trackio has written it.

        Args:
            record: The run's folder, with ``metrics.json``.
        """
        self.update(record)
        if self._logged is None:
            return
        try:
            # A word, which the dashboard draws no curve of: `trackio get metric --metric ended` tells it.
            ended = read_json(record / "metrics.json").get("ended", "unknown")
            self._trackio.log({"ended": ended}, step=self._logged)
            with _local_and_silent():
                self._trackio.finish()
        except Exception as error:
            _warn(error)

    def _open(self, record: Path) -> int:
        with _local_and_silent():
            self._trackio.init(
                project=PROJECT,
                name=record.name,
                config=flatten(read_json(record / "config.json")),
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        last = self._trackio.SQLiteStorage.get_max_step_for_run(PROJECT, record.name)
        return 0 if last is None else int(last)


def _figures(row: Mapping[Any, Any]) -> dict[str, float]:
    """The numbers of a history row that apply, without the epoch, which is the step."""
    numbers = {str(key): value for key, value in row.items() if isinstance(value, int | float)}
    return {key: float(value) for key, value in numbers.items() if key != "epoch" and math.isfinite(value)}


@contextmanager
def _local_and_silent() -> Iterator[None]:
    """Keeps Trackio from the network and from standard output, which is for results.

    Opening a run, it asks Hugging Face whose access token this is, wherever it finds one.
    """
    try:
        hub: Any = importlib.import_module("huggingface_hub.constants")
    except ImportError:
        hub = None
    before = getattr(hub, "HF_HUB_OFFLINE", False)
    if hub is not None:
        hub.HF_HUB_OFFLINE = True
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        if hub is not None:
            hub.HF_HUB_OFFLINE = before


def _warn(error: Exception) -> None:
    tqdm.write(
        f"warning: Trackio failed ({type(error).__name__}: {error}); training goes on, and its own record is "
        "complete",
        file=sys.stderr,
    )
