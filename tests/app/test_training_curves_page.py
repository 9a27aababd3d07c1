from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import texts

from agegender.training.runs import RunRecord

PAGE = "pages/training_curves.py"


def run_record(name: str, tasks: tuple[str, ...], epochs: int = 4) -> RunRecord:
    rows = []
    for task in tasks:
        for epoch in range(1, epochs + 1):
            row = {"task": task, "stage": "full", "epoch": epoch, "seconds": 60.0, "learning_rate": 1e-4}
            row |= {"loss": 1 / epoch, "val_loss": 1.5 / epoch}
            row |= dict.fromkeys(("mae", "val_mae", "accuracy", "val_accuracy"), np.nan)
            if task == "age":
                row |= {"mae": 5.0 - epoch / 10, "val_mae": 5.5 - epoch / 10 + 0.3 * (epoch == epochs)}
            else:
                row |= {"accuracy": 0.8 + epoch / 100, "val_accuracy": 0.79 + epoch / 100}
            rows.append(row)
    columns = ["task", "stage", "epoch", "seconds", "learning_rate", "loss", "val_loss"]
    history = pd.DataFrame(rows, columns=[*columns, "mae", "val_mae", "accuracy", "val_accuracy"])
    return RunRecord(name, Path(name), f"{name} (finished)", {}, history, {}, {"state": "finished"})


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[RunRecord]:
    records = [run_record("pair", ("age", "gender")), run_record("second", ("age",)), run_record("new", ())]
    monkeypatch.setattr("agegender.training.runs.list_runs", lambda: records)
    return records


def test_without_runs_the_page_says_what_to_do(open_page, runs):
    runs.clear()
    app = open_page(PAGE)
    assert not app.exception
    assert "No training is recorded" in app.info[0].value
    assert "python train.py --task gender" in app.code[0].value


def test_the_first_run_is_shown_with_its_best_epoch(open_page, runs):
    app = open_page(PAGE)
    assert not app.exception
    assert len(app.get("plotly_chart")) == 3
    assert app.metric[0].value == "5.20 years"
    assert app.metric[0].delta == "epoch 3 of 4, 4 minutes in all"
    assert "best 5.20 at epoch 3 of 4" in texts(app)
    assert len(app.dataframe[0].value) == 4
    assert "accuracy" not in app.dataframe[0].value.columns


def test_the_other_task(open_page, runs):
    app = open_page(PAGE)
    app.segmented_control(key="task").set_value("gender").run()
    assert app.metric[0].value == "83.0%"
    assert "mae" not in app.dataframe[0].value.columns


def test_runs_are_laid_over_each_other(open_page, runs):
    app = open_page(PAGE)
    app.multiselect(key="runs").set_value(["pair", "second"]).run()
    assert not app.exception
    assert len(app.metric) == 2
    assert app.dataframe[0].value["run"].unique().tolist() == ["pair (finished)", "second (finished)"]


def test_a_run_without_an_epoch_is_not_the_one_shown_first(open_page, runs):
    runs.insert(0, runs.pop())
    app = open_page(PAGE)
    assert app.multiselect(key="runs").value == ["pair"]


@pytest.mark.parametrize(("chosen", "word"), [([], "Choose a run"), (["new"], "finished an epoch")])
def test_nothing_to_show_is_explained(open_page, runs, chosen, word):
    app = open_page(PAGE)
    app.multiselect(key="runs").set_value(chosen).run()
    assert not app.exception
    assert word in app.info[0].value


def test_shipped_weights_have_curves(open_page):
    app = open_page(PAGE)
    assert not app.exception
    assert app.multiselect(key="runs").value == ["vggface"]
    assert len(app.get("plotly_chart")) == 3
