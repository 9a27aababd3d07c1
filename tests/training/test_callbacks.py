"""The pieces that write a run's record and steer it, one at a time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from agegender.errors import ModelError
from agegender.runs.records import HISTORY_COLUMNS, LAST_WEIGHTS, read_json
from agegender.training.callbacks import (
    Progress,
    is_exhausted,
    kept_row,
    plain_logs,
    plateau_rate,
    read_checkpoint,
    scores,
)
from agegender.training.config import Stage, TrainingConfig

NAN = float("nan")


def history(values: list[float], column: str = "val_mae", stages: list[str] | None = None) -> pd.DataFrame:
    rows = {"stage": stages or ["finetune"] * len(values), column: pd.Series(values, dtype=float)}
    return pd.DataFrame(rows).reindex(columns=list(HISTORY_COLUMNS))


def test_logs_take_the_names_of_the_history():
    logs = {
        "loss": 3.0,
        "val_loss": 4.0,
        "age_mae": 5.0,
        "val_age_mae": 6.0,
        "female_accuracy": 0.8,
        "age_range_range_accuracy": 0.4,
        "val_age_range_range_accuracy": 0.3,
        "age_distribution_loss": 1.0,
        "val_age_loss": 2.0,
    }
    assert plain_logs(logs) == {
        "loss": 3.0,
        "val_loss": 4.0,
        "mae": 5.0,
        "val_mae": 6.0,
        "accuracy": 0.8,
        "range_accuracy": 0.4,
        "val_range_accuracy": 0.3,
    }


@pytest.mark.parametrize("name", ["accuracy", "mae", "range_accuracy"])
def test_logs_of_a_single_output_have_no_prefix(name):
    logs = {name: 0.5, f"val_{name}": 0.6}
    assert plain_logs(logs) == logs


@pytest.mark.parametrize(
    ("task", "column", "values", "row"),
    [
        ("age", "val_mae", [6.0, 4.0, 5.0], 1),
        ("gender", "val_accuracy", [0.7, 0.9, 0.8], 1),
        ("age", "val_mae", [4.0, 4.0], 0),
        ("gender", "val_accuracy", [0.9, 0.9], 0),
        ("age", "val_mae", [NAN, 8.0], 1),
        ("age", "val_mae", [NAN], None),
        ("age", "val_mae", [], None),
    ],
)
def test_the_kept_epoch_is_the_first_of_the_best(task, column, values, row):
    assert kept_row(TrainingConfig(task), history(values, column)) == row


def test_a_network_of_both_is_judged_by_both():
    epochs = pd.DataFrame({"val_mae": [4.0, 5.0, 5.0], "val_accuracy": [0.90, 0.95, 0.91]})
    # Two points of accuracy are worth a year.
    assert scores(TrainingConfig("both"), epochs) == pytest.approx([9.0, 7.5, 9.5])
    assert kept_row(TrainingConfig("both"), epochs) == 1


# --- when to stop, when to slow down --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "stages", "exhausted"),
    [
        ([5.0, 6.0], "ff", False),
        ([5.0, 6.0, 6.0], "ff", True),
        ([5.0, 6.0, 4.0, 4.5], "ffff", False),
        ([5.0, 6.0, 4.0, 4.0, 4.0], "fffff", True),
        # A head that no longer learns is no reason not to train the rest.
        ([5.0, 6.0, 6.0, 6.0], "hhhh", False),
        # Nor is a stage that begins where the one before was better.
        ([5.0, 6.0, 6.0, 7.0], "hhhf", False),
        ([5.0, 6.0, 6.0, 7.0, 8.0], "hhhff", True),
        ([NAN, NAN], "ff", True),
        ([], "", False),
    ],
)
def test_patience_counts_the_epochs_of_the_last_stage(values, stages, exhausted):
    config = TrainingConfig("age", patience=2)
    names = [{"h": "head", "f": "finetune"}[letter] for letter in stages.ljust(len(values), "f")]
    assert is_exhausted(config, history(values, stages=names)) is exhausted


def test_the_last_stage_is_the_last_that_has_epochs():
    config = TrainingConfig("age", patience=1, stages=(Stage("one", 3, 0.1), Stage("none", 0, 0.1)))
    assert is_exhausted(config, history([5.0, 6.0], stages=["one", "one"]))


@pytest.mark.parametrize(
    ("values", "rate"),
    [
        ([], 1.0),
        ([5.0, 4.0, 3.0, 2.0], 1.0),
        ([5.0, 6.0], 1.0),
        ([5.0, 6.0, 5.0], 0.5),
        ([5.0, 6.0, 6.0, 4.0, 6.0], 0.5),
        ([5.0, 6.0, 6.0, 6.0, 6.0], 0.25),
        ([5.0, NAN, NAN], 0.5),
    ],
)
def test_on_a_plateau_the_rate_is_divided(values, rate):
    stage = Stage("finetune", 9, 1.0)
    config = TrainingConfig(
        "age", schedule="plateau", plateau_patience=2, plateau_factor=2.0, stages=(stage,)
    )
    assert plateau_rate(config, stage, history(values)) == pytest.approx(rate)


def test_each_stage_begins_at_its_own_rate():
    config = TrainingConfig("age", schedule="plateau")
    epochs = history([5.0, 6.0, 6.0, 6.0], stages=["head"] * 4)
    assert plateau_rate(config, config.stages[1], epochs) == config.stages[1].learning_rate


# --- checkpoints ----------------------------------------------------------------------------------------


def test_no_checkpoint_is_no_epoch(tmp_path):
    assert read_checkpoint(tmp_path) == ("", 0)


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path):
    (tmp_path / LAST_WEIGHTS).write_bytes(b"no weights")
    with pytest.raises(ModelError, match=LAST_WEIGHTS):
        read_checkpoint(tmp_path)


# --- progress -------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("quiet", [False, True])
def test_time_left_counts_all_epochs_that_are_left(tmp_path, monkeypatch, capsys, quiet):
    monkeypatch.setattr("agegender.training.callbacks._STATUS_EVERY_SECONDS", 0.0)
    clock = iter(np.arange(100.0, 200.0, 2.5))  # the epoch begins, then two looks at the clock a step
    monkeypatch.setattr("agegender.training.callbacks.time.monotonic", lambda: float(next(clock)))
    progress = Progress(tmp_path, total_epochs=3, first_epoch=1, disable=quiet)
    progress.set_params({"steps": 4})
    progress.on_epoch_begin(1)
    for batch in range(3):
        progress.on_train_batch_end(batch, {"loss": 1.5})
    status = read_json(tmp_path / "status.json")
    progress.close("interrupted")
    # Five of the eight steps are left, five seconds each.
    assert status["seconds_left"] == 25
    bar = capsys.readouterr().err
    if quiet:
        assert not bar
    else:
        assert "epoch 2/3" in bar
        assert "3/8" in bar
        assert "loss=1.500" in bar


def test_figures_of_an_epoch_go_to_standard_error(tmp_path, capsys):
    Progress(tmp_path, total_epochs=3, first_epoch=0).on_epoch_end(0, {"loss": 1.5, "val_age_mae": 4.25})
    shown = capsys.readouterr()
    assert not shown.out
    assert "epoch 1/3: loss 1.5000, val_mae 4.2500" in shown.err


def test_closing_before_the_first_epoch_is_fine(progress, tmp_path):
    progress.close("interrupted")
    assert read_json(tmp_path / "status.json")["state"] == "interrupted"
