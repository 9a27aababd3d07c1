"""Callbacks that write the run record: history, checkpoints, progress."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import h5py
import keras
import numpy as np
import pandas as pd
from tqdm import tqdm

from agegender.errors import ModelError
from agegender.models.card import HISTORY_FILE
from agegender.runs.records import (
    BEST_WEIGHTS,
    HISTORY_COLUMNS,
    LAST_WEIGHTS,
    read_history,
    read_json,
    write_json,
)
from agegender.training.config import ACCURACY_IN_YEARS, Stage, TrainingConfig

_STATUS_EVERY_SECONDS = 5.0


def plain_logs(logs: dict[str, Any]) -> dict[str, float]:
    """Renames Keras's metric names to the history's: "val_age_mae" becomes "val_mae"."""
    names = {f"{p}{output}_{metric}": f"{p}{metric}" for p in ("", "val_") for output, metric in _METRICS}
    plain = {names.get(key, key): float(value) for key, value in logs.items()}
    return {key: value for key, value in plain.items() if key in HISTORY_COLUMNS}


_METRICS: Final = (("age", "mae"), ("female", "accuracy"), ("age_range", "range_accuracy"))


def scores(config: TrainingConfig, history: pd.DataFrame) -> np.ndarray[Any, Any]:
    """What each epoch is judged by, float64, the lower the better, NaN where it was not validated."""
    if config.task == "gender":
        return 1 - history["val_accuracy"].to_numpy(np.float64)
    years = history["val_mae"].to_numpy(np.float64)
    if config.task == "age":
        return years
    return years + ACCURACY_IN_YEARS * (1 - history["val_accuracy"].to_numpy(np.float64))


def kept_row(config: TrainingConfig, history: pd.DataFrame) -> int | None:
    """Position of the epoch whose weights are kept: the first with the best validation figure.

    Returns:
        The row's position, or ``None`` where no epoch was validated.
    """
    values = scores(config, history)
    return int(np.nanargmin(values)) if np.isfinite(values).any() else None


def is_exhausted(config: TrainingConfig, history: pd.DataFrame) -> bool:
    """Whether the last stage has gone ``config.patience`` epochs without a better validation figure.

    Read from the history, so that it is the same whether or not a run was interrupted in between.
    """
    last = [stage.name for stage in config.stages if stage.epochs][-1]
    in_last = np.flatnonzero((history["stage"] == last).to_numpy())
    if not len(in_last):
        return False
    best = kept_row(config, history)
    since = in_last[0] if best is None else max(best + 1, in_last[0])
    return bool(len(history) - since >= config.patience)


def plateau_rate(config: TrainingConfig, stage: Stage, history: pd.DataFrame) -> float:
    """The learning rate of the next epoch of a stage under the schedule "plateau".

    Args:
        config: The recipe.
        stage: The stage.
        history: The epochs that are done.

    Returns:
        The stage's rate, divided by ``plateau_factor`` for every ``plateau_patience`` epochs of the stage
        without a better validation figure.
    """
    rate, best, waited = stage.learning_rate, np.inf, 0
    for score in scores(config, history[history["stage"] == stage.name]):
        waited = 0 if score < best else waited + 1
        best = min(best, score) if np.isfinite(score) else best
        if waited == config.plateau_patience:
            rate, waited = rate / config.plateau_factor, 0
    return rate


def read_checkpoint(folder: Path) -> tuple[str, int]:
    """What ``last.weights.h5`` of a run is of.

    Returns:
        The stage, and how many epochs were done; ("", 0) where nothing was saved.
    """
    path = folder / LAST_WEIGHTS
    if not path.is_file():
        return "", 0
    try:
        with h5py.File(path) as file:
            return str(file.attrs["stage"]), int(file.attrs["epochs_done"])
    except (OSError, KeyError) as error:
        raise ModelError(f"{path} is no checkpoint of a run: {error}") from error


class RunRecorder(keras.callbacks.Callback):
    """Appends each epoch to ``history.csv``, keeps the best and the last weights, and stops a run early.

    The best weights are those of the moving average, which is what validation measured; the last are
    the raw ones with their optimiser, which is what training goes on from.

    Args:
        folder: The run's.
        config: Its recipe.
        network: The network whose weights are kept.
        stage: Name of the current stage.

    Attributes:
        ended: Why training must not go on, "stopped early" or "diverged"; empty while it may.
    """

    def __init__(self, folder: Path, config: TrainingConfig, network: keras.Model, stage: str) -> None:
        super().__init__()
        self.folder, self.config, self.network, self.stage = folder, config, network, stage
        self.ended = ""
        self._started = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the epoch's clock, and the random streams of dropout, which checkpoints do not hold."""
        self._started = time.monotonic()
        for number, layer in enumerate(_all_layers(self.network)):
            generator = getattr(layer, "seed_generator", None)
            if isinstance(generator, keras.random.SeedGenerator):
                generator.state.assign([self.config.seed * 1000 + number, epoch])

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the history row, then the best weights, then the last.

        In this order a run that is killed between two of them does the epoch again, and nothing is missing.
        """
        row: dict[str, Any] = plain_logs(logs or {})
        diverged = not math.isfinite(row.get("loss", math.nan))
        if diverged:
            # Weights that are not numbers still have an accuracy: every comparison with them is false.
            row = {key: value for key, value in row.items() if not key.startswith("val_")}
        row |= {
            "task": self.config.task,
            "stage": self.stage,
            "epoch": epoch + 1,
            "seconds": round(time.monotonic() - self._started, 1),
            "learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
        }
        history = self._append(row)
        if diverged:  # the weights of the epoch before are the last that are worth anything
            self._stop("diverged")
            return
        if kept_row(self.config, history) == len(history) - 1:
            self.save_best()
        self.save_last(epoch + 1)
        if epoch + 1 < self.config.epochs and is_exhausted(self.config, history):
            self._stop("stopped early")

    def _append(self, row: dict[str, Any]) -> pd.DataFrame:
        path = self.folder / HISTORY_FILE
        old = read_history(path)
        rows = [*old[old["epoch"] < row["epoch"]].to_dict("records"), row]
        history = pd.DataFrame(rows, columns=list(HISTORY_COLUMNS))
        temporary = path.with_suffix(".tmp")
        history.to_csv(temporary, index=False)
        temporary.replace(path)
        return history

    def _stop(self, why: str) -> None:
        self.ended = why
        self.model.stop_training = True

    def save_untrained(self) -> None:
        """Saves the network as it is: to use, and to go on from, whatever the first epoch brings."""
        self._save(self.network, BEST_WEIGHTS)
        self.save_last(0)

    def save_last(self, epochs_done: int) -> None:
        """Saves weights, moving average and optimiser, in one file with which epoch they are of."""
        self._save(self.model, LAST_WEIGHTS, stage=self.stage, epochs_done=epochs_done)

    def save_best(self) -> None:
        """Saves the moving average of the network's weights, leaving the network as it was."""
        variables = self.model.trainable_variables
        raw = [variable.numpy() for variable in variables]
        if self.config.ema_momentum:
            self.model.optimizer.finalize_variable_values(variables)
        self._save(self.network, BEST_WEIGHTS)
        for variable, value in zip(variables, raw, strict=True):
            variable.assign(value)

    def _save(self, model: keras.Model, name: str, **attributes: str | int) -> None:
        """Writes weights whole or not at all: Keras would write them into place bit by bit."""
        temporary = self.folder / f".{name}"
        model.save_weights(temporary)
        with h5py.File(temporary, "r+") as file:
            file.attrs.update(attributes)
        temporary.replace(self.folder / name)


def _all_layers(network: keras.Model) -> Iterator[keras.layers.Layer]:
    """The layers of a network and of the models among them, in order."""
    for layer in network.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _all_layers(layer)


class PlateauRate(keras.callbacks.Callback):
    """Sets the learning rate of each epoch under the schedule "plateau".

    Unlike Keras's ``ReduceLROnPlateau`` it remembers nothing that a resumed run would have lost.

    Args:
        folder: The run's.
        config: Its recipe.
        stage: The current stage.
    """

    def __init__(self, folder: Path, config: TrainingConfig, stage: Stage) -> None:
        super().__init__()
        self.folder, self.config, self.stage = folder, config, stage

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Derives the rate from the epochs that are done."""
        history = read_history(self.folder / HISTORY_FILE)
        done = history[history["epoch"] <= epoch]
        self.model.optimizer.learning_rate = plateau_rate(self.config, self.stage, done)


class Progress(keras.callbacks.Callback):
    """One progress bar over all that is left of a run, with the time left, mirrored in ``status.json``.

    Args:
        folder: The run's.
        total_epochs: Of all stages.
        first_epoch: Epochs that were done before.
        disable: Shows no bar; the status is written all the same.
    """

    def __init__(self, folder: Path, *, total_epochs: int, first_epoch: int, disable: bool = False) -> None:
        super().__init__()
        self.folder, self.disable = folder, disable
        self.total_epochs, self.first_epoch = total_epochs, first_epoch
        self._bar: tqdm[Any] | None = None
        self._steps = 0
        self._epoch = first_epoch
        self._written = self._epoch_began = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Opens the bar on the first epoch, once the number of steps is known."""
        self._steps = int(self.params["steps"])
        self._epoch, self._epoch_began = epoch, time.monotonic()
        if self._bar is None:
            total = (self.total_epochs - self.first_epoch) * self._steps
            self._bar = tqdm(total=total, unit="step", disable=self.disable, smoothing=0.05)
        self._bar.set_description(f"epoch {epoch + 1}/{self.total_epochs}")

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Moves the bar."""
        assert self._bar is not None
        self._bar.update(1)
        if time.monotonic() - self._written < _STATUS_EVERY_SECONDS:
            return
        self._written = time.monotonic()
        self._bar.set_postfix({k: f"{v:.3f}" for k, v in plain_logs(logs or {}).items()})
        # Not the bar's own reckoning, which there is none of where it is not shown.
        step_seconds = (self._written - self._epoch_began) / (batch + 1)
        steps_left = (self.total_epochs - self._epoch) * self._steps - (batch + 1)
        self.write("running", step=batch + 1, seconds_left=steps_left * step_seconds)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Prints the epoch's figures above the bar."""
        figures = ", ".join(f"{key} {value:.4f}" for key, value in plain_logs(logs or {}).items())
        if not self.disable:
            tqdm.write(f"epoch {epoch + 1}/{self.total_epochs}: {figures}", file=sys.stderr)

    def write(self, state: str, *, step: int = 0, seconds_left: float | None = None) -> None:
        """Writes ``status.json``."""
        status = {
            "state": state,
            "epoch": self._epoch + 1,
            "epochs": self.total_epochs,
            "step": step,
            "steps": self._steps,
            "seconds_left": None if seconds_left is None else round(seconds_left),
            "updated": time.time(),
        }
        write_json(self.folder / "status.json", {**read_json(self.folder / "status.json"), **status})

    def close(self, state: str) -> None:
        """Ends the bar and says how the run ended."""
        if self._bar is not None:
            self._bar.close()
        self.write(state)
