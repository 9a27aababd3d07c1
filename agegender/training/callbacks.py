"""Callbacks that write the run record: history, checkpoints, progress."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pandas as pd
from tqdm import tqdm

from agegender.errors import ModelError
from agegender.models.card import HISTORY_FILE
from agegender.training.config import TrainingConfig
from agegender.training.runs import BEST_WEIGHTS, HISTORY_COLUMNS, LAST_WEIGHTS, read_json, write_json

_STATUS_EVERY_SECONDS = 5.0


def plain_logs(logs: dict[str, Any]) -> dict[str, float]:
    """Renames Keras's metric names to the history's: "val_age_mae" becomes "val_mae"."""
    names = {
        f"{p}{output}_{m}": f"{p}{m}"
        for p in ("", "val_")
        for output, m in (("age", "mae"), ("female", "accuracy"))
    }
    plain = {names.get(key, key): float(value) for key, value in logs.items()}
    return {key: value for key, value in plain.items() if key in HISTORY_COLUMNS}


def kept_row(config: TrainingConfig, history: pd.DataFrame) -> int | None:
    """Position of the epoch whose weights are kept: the first with the best validation figure.

    Returns:
        The row's position, or ``None`` where no epoch was validated.
    """
    values = history[config.monitor].to_numpy(np.float64)
    if not np.isfinite(values).any():
        return None
    return int(np.nanargmin(values) if config.task == "age" else np.nanargmax(values))


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
    """Appends each epoch to ``history.csv`` and keeps the best and the last weights.

    The best weights are those of the moving average, which is what validation measured; the last are
    the raw ones with their optimiser, which is what training goes on from.

    Args:
        folder: The run's.
        config: Its recipe.
        network: The Sequential whose weights are kept.
        stage: Name of the current stage.
    """

    def __init__(self, folder: Path, config: TrainingConfig, network: keras.Sequential, stage: str) -> None:
        super().__init__()
        self.folder, self.config, self.network, self.stage = folder, config, network, stage
        self._started = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the epoch's clock, and dropout's random stream, which checkpoints do not hold."""
        self._started = time.monotonic()
        for number, layer in enumerate(self.network.layers):
            if isinstance(layer, keras.layers.Dropout) and layer.rate > 0:
                layer.seed_generator.state.assign([self.config.seed * 1000 + number, epoch])

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the history row, then the best weights, then the last.

        In this order a run that is killed between two of them does the epoch again, and nothing is missing.
        """
        row: dict[str, Any] = plain_logs(logs or {})
        row |= {
            "task": self.config.task,
            "stage": self.stage,
            "epoch": epoch + 1,
            "seconds": round(time.monotonic() - self._started, 1),
            "learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
        }
        path = self.folder / HISTORY_FILE
        old = pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=list(HISTORY_COLUMNS))
        rows = [*old[old["epoch"] <= epoch].to_dict("records"), row]
        history = pd.DataFrame(rows, columns=list(HISTORY_COLUMNS))
        temporary = path.with_suffix(".tmp")
        history.to_csv(temporary, index=False)
        temporary.replace(path)
        if kept_row(self.config, history) == len(history) - 1:
            self.save_best()
        self.save_last(epoch + 1)

    def save_last(self, epochs_done: int) -> None:
        """Saves weights, moving average and optimiser, in one file with which epoch they are of."""
        path = self.folder / LAST_WEIGHTS
        temporary = self.folder / f".{LAST_WEIGHTS}"
        self.model.save_weights(temporary)
        with h5py.File(temporary, "r+") as file:
            file.attrs["stage"], file.attrs["epochs_done"] = self.stage, epochs_done
        temporary.replace(path)

    def save_best(self) -> None:
        """Saves the moving average of the network's weights, leaving the network as it was."""
        raw = [variable.numpy() for variable in self.model.trainable_variables]
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        temporary = self.folder / f".{BEST_WEIGHTS}"
        self.network.save_weights(temporary)
        temporary.replace(self.folder / BEST_WEIGHTS)
        for variable, value in zip(self.model.trainable_variables, raw, strict=True):
            variable.assign(value)


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
        self.folder, self.total_epochs, self.first_epoch, self.disable = (
            folder,
            total_epochs,
            first_epoch,
            disable,
        )
        self._bar: tqdm[Any] | None = None
        self._steps = 0
        self._epoch = first_epoch
        self._written = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Opens the bar on the first epoch, once the number of steps is known."""
        self._steps = int(self.params["steps"])
        self._epoch = epoch
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
        rate = self._bar.format_dict["rate"]
        left = ((self._bar.total or 0) - self._bar.n) / rate if rate else None
        self.write("running", step=batch + 1, seconds_left=left)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Prints the epoch's figures above the bar."""
        figures = ", ".join(f"{key} {value:.4f}" for key, value in plain_logs(logs or {}).items())
        if not self.disable:
            tqdm.write(f"epoch {epoch + 1}/{self.total_epochs}: {figures}")

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
