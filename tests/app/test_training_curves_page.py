from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from agegender.runs.records import HISTORY_COLUMNS, RunRecord, list_runs
from tests.app.driving import open_link, texts

PAGE = "training_curves"


def run_record(
    name: str,
    tasks: tuple[str, ...],
    epochs: int = 4,
    *,
    state: str = "finished",
    config: dict | None = None,
    metrics: dict | None = None,
    status: dict | None = None,
) -> RunRecord:
    """A run in which everything got better by the epoch, except the age error in the last one."""
    rows = []
    for task in tasks:
        for epoch in range(1, epochs + 1):
            row = {"task": task, "stage": "full", "epoch": epoch, "seconds": 60.0, "learning_rate": 1e-4}
            row |= {"loss": 1 / epoch, "val_loss": 1.5 / epoch}
            if task != "gender":
                row |= {"mae": 5.0 - epoch / 10, "val_mae": 5.5 - epoch / 10 + 0.3 * (epoch == epochs)}
            if task != "age":
                row |= {"accuracy": 0.8 + epoch / 100, "val_accuracy": 0.79 + epoch / 100}
            if task == "both":
                row |= {"range_accuracy": 0.5 + epoch / 100, "val_range_accuracy": 0.49 + epoch / 100}
            rows.append(row)
    history = pd.DataFrame(rows, columns=list(HISTORY_COLUMNS))
    history = history.astype(dict.fromkeys(HISTORY_COLUMNS[3:], "float64"))
    return RunRecord(
        name, Path(name), name, config or {}, history, metrics or {}, {"state": state} | (status or {}), 2141
    )


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[RunRecord]:
    records = [run_record("pair", ("age", "gender")), run_record("second", ("age",)), run_record("new", ())]
    monkeypatch.setattr("agegender.runs.records.list_runs", lambda: records)
    return records


def look_again(app: AppTest) -> AppTest:
    """Reruns the page as its timer would, once the runs on disk have changed."""
    st.cache_data.clear()
    return app.run()


def test_without_runs_the_page_says_what_to_do(open_page, runs):
    runs.clear()
    app = open_page(PAGE)
    assert not app.exception
    assert "No training is recorded" in app.info[0].value
    assert "python train.py --task gender" in app.code[0].value


def test_the_first_run_is_shown_with_its_best_epoch(open_page, runs):
    app = open_page(PAGE)
    assert not app.exception
    assert len(app.get("plotly_chart")) == 4
    assert all(chart.proto.alt for chart in app.get("plotly_chart"))
    assert app.metric[0].value == "5.20 years"
    assert app.metric[0].delta == "epoch 3 of 4, 4 minutes in all"
    assert "Best 5.20 at epoch 3 of 4" in texts(app)
    assert len(app.dataframe[-1].value) == 4
    assert "accuracy" not in app.dataframe[-1].value.columns


def test_the_other_task(open_page, runs):
    app = open_page(PAGE)
    app.segmented_control(key="about").set_value("gender").run()
    assert app.metric[0].value == "83.0%"
    assert "mae" not in app.dataframe[-1].value.columns
    assert "Still improving when it ended." in texts(app)


def test_runs_are_laid_over_each_other(open_page, runs):
    app = open_page(PAGE)
    app.multiselect(key="runs").set_value(["pair", "second"]).run()
    assert not app.exception
    assert len(app.metric) == 2
    assert app.dataframe[-1].value["run"].unique().tolist() == ["pair", "second"]
    assert "second: best 5.20 at epoch 3 of 4" in texts(app)


def test_a_network_of_both_tasks_appears_under_either(open_page, runs):
    runs.insert(0, run_record("both", ("both",), metrics={"best_epoch": 4}))
    app = open_page(PAGE)
    assert app.multiselect(key="runs").value == ["both"]
    assert app.metric[0].delta == "epoch 3 of 4, 4 minutes in all; weights kept from epoch 4"
    assert len(app.get("plotly_chart")) == 5  # one more, for the age ranges
    assert "val_range_accuracy" in app.dataframe[-1].value.columns
    app.segmented_control(key="about").set_value("gender").run()
    assert not app.exception
    assert app.metric[0].value == "83.0%"
    assert app.metric[0].delta == "epoch 4 of 4, 4 minutes in all"
    assert len(app.get("plotly_chart")) == 4
    app.multiselect(key="runs").set_value(["both", "pair"]).run()
    assert len(app.metric) == 2


def test_only_what_differs_between_recipes_is_listed(open_page, runs):
    config = {"seed": 0, "batch_size": 64, "augmentation": {"flip": 0.5}}
    runs[:2] = [
        run_record("one", ("age",), config=config),
        run_record("two", ("age",), config=config | {"augmentation": {"flip": 0.0}}),
        run_record("three", ("age",), config=config),
    ]
    app = open_page(PAGE)
    assert len(app.dataframe[0].value) == 3
    app.multiselect(key="runs").set_value(["one", "two"]).run()
    assert app.dataframe[0].value.to_numpy().tolist() == [["augmentation.flip", "0.5", "0"]]
    app.multiselect(key="runs").set_value(["one", "three"]).run()
    assert "trained by the same recipe" in texts(app)


def test_hours_smoothing_and_zoom_reach_the_figures(open_page, runs):
    app = open_page(PAGE)
    app.segmented_control(key="over").set_value("hours").run()
    app.slider(key="smoothing").set_value(0.5).run()
    app.toggle(key="zoom").set_value(False).run()
    assert not app.exception
    assert "hours of training" in app.get("plotly_chart")[0].proto.spec
    assert "Smoothed by 0.5" in texts(app)


def test_choices_come_from_the_link_and_survive_other_pages(runs):
    app = open_link(PAGE, runs=["second"], over="Hours", smoothing="0.3")
    assert not app.exception
    assert app.multiselect(key="runs").value == ["second"]
    assert app.segmented_control(key="over").value == "hours"
    assert app.slider(key="smoothing").value == 0.3


def test_a_link_to_a_run_that_is_gone_shows_another(runs):
    app = open_link(PAGE, runs=["deleted"])
    assert not app.exception
    assert len(app.get("plotly_chart")) in (0, 4)


def test_a_run_under_way_comes_first_and_grows(open_page, runs):

    def live(epochs: int) -> RunRecord:
        status = {"epoch": epochs + 1, "epochs": 9, "step": 50, "steps": 100}
        return run_record("live", ("age",), epochs, state="running", status=status)

    runs.append(live(3))
    app = open_page(PAGE)
    assert app.multiselect(key="runs").value == ["live"]
    bar = app.get("progress")[0].proto
    assert bar.value == 38  # three epochs and a half, of nine
    assert "`live`, epoch 4 of 9, 38 % done, about 6 minutes left" in bar.text
    assert "epoch 2 of 3" in app.metric[0].delta
    runs[-1] = live(4)
    look_again(app)
    assert "epoch 3 of 4" in app.metric[0].delta
    runs[-1] = run_record("live", ("age",), 9)
    look_again(app)
    assert not app.exception
    assert len(app.get("progress")) == 0
    assert app.multiselect(key="runs").value == ["live"]
    assert "`live` :gray-badge[finished]" in texts(app)


@pytest.mark.parametrize(("state", "often"), [("running", True), ("finished", False), ("killed", False)])
def test_the_page_looks_again_by_itself_and_often_while_a_run_goes_on(
    open_page, runs, monkeypatch, state, often
):
    timers = []
    original = st.fragment

    def fragment(function=None, *, run_every=None, **options):
        timers.append(run_every)
        return original(function, run_every=run_every, **options)

    monkeypatch.setattr("streamlit.fragment", fragment)
    runs.append(run_record("live", ("age",), 3, state=state, status={"epoch": 4, "epochs": 9}))
    open_page(PAGE)
    assert [timer < 10 for timer in timers] == [often]


def test_a_run_that_is_starting_says_so(open_page, runs):
    runs[:] = [run_record("live", (), state="starting")]
    app = open_page(PAGE)
    assert not app.exception
    assert "getting ready" in app.get("progress")[0].proto.text
    app.multiselect(key="runs").set_value(["live"]).run()
    assert "appear by themselves" in app.info[0].value


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


def test_a_run_without_validation_is_shown_without_a_best(open_page, runs):
    record = run_record("blind", ("age",))
    record.history[[name for name in HISTORY_COLUMNS if name.startswith("val_")]] = np.nan
    runs[:] = [record]
    app = open_page(PAGE)
    assert not app.exception
    assert len(app.metric) == 0
    assert "Too early to tell." in texts(app)


def test_shipped_weights_have_curves(open_page, tmp_path, monkeypatch):
    monkeypatch.setattr("agegender.runs.records.list_runs", lambda: list_runs(runs_dir=tmp_path))
    app = open_page(PAGE)
    assert not app.exception
    names = app.multiselect(key="runs").options
    assert "vggface" in names
    for name in names:
        app.multiselect(key="runs").set_value([name]).run()
        assert not app.exception, name
        assert len(app.get("plotly_chart")) >= 4, name
