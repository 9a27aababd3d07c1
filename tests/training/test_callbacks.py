"""The pieces that write a run's record, one at a time."""

from __future__ import annotations

import time

import pandas as pd
import pytest

from agegender.training.callbacks import Progress, kept_row, plain_logs
from agegender.training.config import TrainingConfig
from agegender.training.runs import read_json


def test_logs_take_the_names_of_the_history():
    logs = {
        "loss": 3.0,
        "val_loss": 4.0,
        "age_mae": 5.0,
        "val_age_mae": 6.0,
        "age_distribution_loss": 1.0,
        "val_age_loss": 2.0,
    }
    assert plain_logs(logs) == {"loss": 3.0, "val_loss": 4.0, "mae": 5.0, "val_mae": 6.0}
    assert plain_logs({"accuracy": 0.5, "val_accuracy": 0.6}) == {"accuracy": 0.5, "val_accuracy": 0.6}
    assert plain_logs({"mae": 5.0, "val_mae": 6.0}) == {"mae": 5.0, "val_mae": 6.0}


@pytest.mark.parametrize(
    ("task", "values", "row"),
    [
        ("age", [6.0, 4.0, 5.0], 1),
        ("gender", [0.7, 0.9, 0.8], 1),
        ("age", [4.0, 4.0], 0),
        ("gender", [0.9, 0.9], 0),
        ("age", [float("nan"), 8.0], 1),
        ("age", [float("nan")], None),
        ("age", [], None),
    ],
)
def test_the_kept_epoch_is_the_first_of_the_best(task, values, row):
    config = TrainingConfig(task)
    assert kept_row(config, pd.DataFrame({config.monitor: pd.Series(values, dtype=float)})) == row


@pytest.fixture
def progress(tmp_path):
    callback = Progress(tmp_path, total_epochs=3, first_epoch=1, disable=True)
    callback.set_params({"steps": 4})
    return callback


def test_progress_is_mirrored_in_the_status(progress, tmp_path):
    progress.on_epoch_begin(1)
    progress.on_train_batch_end(0, {"loss": 1.0})
    status = read_json(tmp_path / "status.json")
    assert status["state"] == "running"
    assert (status["epoch"], status["epochs"], status["step"], status["steps"]) == (2, 3, 1, 4)
    assert status["updated"] > 0
    progress.close("finished")
    assert read_json(tmp_path / "status.json")["state"] == "finished"


def test_the_status_is_not_written_at_every_step(progress, tmp_path):
    progress.on_epoch_begin(1)
    progress.on_train_batch_end(0, {})
    first = (tmp_path / "status.json").read_bytes()
    progress.on_train_batch_end(1, {})
    assert (tmp_path / "status.json").read_bytes() == first


def test_time_left_counts_all_epochs_that_are_left(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("agegender.training.callbacks._STATUS_EVERY_SECONDS", 0.0)
    progress = Progress(tmp_path, total_epochs=3, first_epoch=1)
    progress.set_params({"steps": 4})
    progress.on_epoch_begin(1)
    for batch in range(3):
        time.sleep(0.25)
        progress.on_train_batch_end(batch, {"loss": 1.5})
    status = read_json(tmp_path / "status.json")
    progress.close("interrupted")
    # Five of the eight steps are left, a quarter of a second each.
    assert 1 <= status["seconds_left"] <= 4
    bar = capsys.readouterr().err
    assert "epoch 2/3" in bar
    assert "3/8" in bar
    assert "loss=1.500" in bar


def test_closing_before_the_first_epoch_is_fine(progress, tmp_path):
    progress.close("interrupted")
    assert read_json(tmp_path / "status.json")["state"] == "interrupted"
