from __future__ import annotations

from pathlib import Path

import pytest

from agegender.runs.progress import RunProgress, read_progress, say_progress
from agegender.runs.records import RunRecord, read_history

STAGES = [{"name": "head", "epochs": 1}, {"name": "finetune", "epochs": 8}]


def run(tmp_path: Path, seconds: list[float], **status) -> RunRecord:
    """A run whose epochs so far took so long, the first of them in the stage "head"."""
    lines = [f"age,{'head' if i == 0 else 'finetune'},{i + 1},{s}" for i, s in enumerate(seconds)]
    path = tmp_path / "history.csv"
    path.write_text("\n".join(["task,stage,epoch,seconds", *lines]), encoding="utf-8")
    status = {"state": "running", "epochs": 9, "step": 0, "steps": 100, "seconds_left": None} | status
    return RunRecord("r", tmp_path, "r", {"stages": STAGES}, read_history(path), {}, status)


def test_time_left_goes_by_the_latest_epochs_of_the_stage(tmp_path):
    progress = read_progress(run(tmp_path, [10, 500, 200, 210, 190], epoch=6, step=25))
    assert progress is not None
    assert (progress.epoch, progress.epochs) == (6, 9)
    assert progress.fraction == pytest.approx(5.25 / 9)
    assert progress.seconds_left == pytest.approx(200 * 3.75)


def test_in_the_first_epoch_of_a_stage_the_run_itself_is_believed(tmp_path):
    progress = read_progress(run(tmp_path, [10], epoch=2, seconds_left=1234))
    assert progress is not None
    assert progress.seconds_left == 1234
    progress = read_progress(run(tmp_path, [10], epoch=2))
    assert progress is not None
    assert progress.seconds_left is None


@pytest.mark.parametrize(
    "status",
    [
        {"state": "finished", "epoch": 9},
        {"state": "killed", "epoch": 2},
        {"state": "starting"},
        {"epoch": 0},
        {"epoch": 12},
        {"epoch": "three"},
        {"epoch": 2, "epochs": None},
    ],
)
def test_what_is_not_under_way_has_no_progress(tmp_path, status):
    assert read_progress(run(tmp_path, [], **status)) is None


@pytest.mark.parametrize("status", [{"steps": 0}, {"step": None}, {"step": float("nan")}, {"step": 500}])
def test_damaged_steps_leave_the_fraction_in_its_range(tmp_path, status):
    progress = read_progress(run(tmp_path, [10, 100], **{"epoch": 3, **status}))
    assert progress is not None
    assert 2 / 9 <= progress.fraction <= 3 / 9
    assert progress.seconds_left is not None
    assert progress.seconds_left >= 0


def test_a_recipe_without_stages_uses_all_epochs(tmp_path):
    record = run(tmp_path, [100, 100], epoch=3)
    record.config.clear()
    progress = read_progress(record)
    assert progress is not None
    assert progress.seconds_left == pytest.approx(700)


def test_words():
    assert say_progress(None) == "getting ready"
    assert say_progress(RunProgress(5, 9, 0.4799, 840)) == "epoch 5 of 9, 47 % done, about 14 minutes left"
    assert say_progress(RunProgress(1, 9, 0.0, None)) == "epoch 1 of 9, 0 % done"
