"""Run records on disk: found, ordered, told apart, never half written."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from agegender.errors import ConfigError
from agegender.runs.records import (
    HISTORY_COLUMNS,
    LAST_WEIGHTS,
    STALE_AFTER_SECONDS,
    RunRecord,
    latest_run,
    list_runs,
    new_run_folder,
    read_history,
    read_json,
    write_json,
)


def make_run(runs_dir: Path, name: str, *, task: str = "age", status: dict | None = None) -> Path:
    folder = runs_dir / name
    folder.mkdir(parents=True)
    write_json(folder / "config.json", {"task": task})
    if status is not None:
        write_json(folder / "status.json", status)
    rows = "task,stage,epoch,loss,val_mae\nage,head,1,5.1,9.5\n"
    (folder / "history.csv").write_text(rows, encoding="utf-8")
    return folder


def test_json_is_written_whole_and_readable(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1, "ü": "—"})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": 1, "ü": "—"}
    assert "ü" in path.read_text(encoding="utf-8")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert read_json(path) == {"a": 1}


def test_a_reader_never_sees_half_a_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_json(path, {"a": "old"})
    seen = []
    original = Path.replace

    def late(self, target):
        seen.append(read_json(path))
        return original(self, target)

    monkeypatch.setattr(Path, "replace", late)
    write_json(path, {"a": "new"})
    assert seen == [{"a": "old"}]
    assert read_json(path) == {"a": "new"}


@pytest.mark.parametrize("content", [None, b"{half", b"[1]", b"\xff"])
def test_absent_or_broken_json_reads_as_empty(tmp_path, content):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    assert read_json(path) == {}


def test_run_folders_are_named_by_time_and_never_reused(tmp_path):
    folders = [new_run_folder("vggface", "age", tmp_path / "runs") for _ in range(3)]
    assert len(set(folders)) == 3
    assert all(folder.is_dir() for folder in folders)
    assert all(re.fullmatch(r"\d{8}-\d{6}-vggface-age(-\d)?", folder.name) for folder in folders)


def test_the_latest_run_is_the_newest_of_its_task_that_can_go_on(tmp_path):
    tasks = {"20260101-000000-a": "age", "20260102-000000-a": "age", "20260103-000000-g": "gender"}
    for name, task in tasks.items():
        (make_run(tmp_path, name, task=task) / LAST_WEIGHTS).write_bytes(b"")
    make_run(tmp_path, "20260104-000000-a")  # killed before its first checkpoint
    assert latest_run("age", tmp_path).name == "20260102-000000-a"
    assert latest_run("gender", tmp_path).name == "20260103-000000-g"


def test_no_run_to_resume_is_said(tmp_path):
    for runs_dir in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ConfigError, match="'age'"):
            latest_run("age", runs_dir)


def test_history_always_has_its_columns(tmp_path):
    path = make_run(tmp_path, "r") / "history.csv"
    history = read_history(path)
    assert list(history.columns) == list(HISTORY_COLUMNS)
    assert history["val_mae"].tolist() == [9.5]
    assert history["accuracy"].isna().all()
    assert list(read_history(tmp_path / "none.csv").columns) == list(HISTORY_COLUMNS)
    assert read_history(tmp_path / "none.csv").empty


def test_an_empty_history_file_has_no_rows(tmp_path):
    (tmp_path / "history.csv").write_bytes(b"")
    assert read_history(tmp_path / "history.csv").empty


def test_published_models_come_first_then_runs_newest_first(tmp_path):
    weights, runs_dir = tmp_path / "weights", tmp_path / "runs"
    (weights / "vggface").mkdir(parents=True)
    write_json(
        weights / "vggface" / "card.json",
        {"name": "vggface", "training": {"age": {}}, "metrics": {"split": "test"}},
    )
    pd.DataFrame({"task": ["age"], "epoch": [1]}).to_csv(weights / "vggface" / "history.csv")
    (weights / "base").mkdir()
    write_json(weights / "base" / "card.json", {"name": "base"})
    make_run(runs_dir, "20260101-000000-a")
    make_run(runs_dir, "20260102-000000-a")
    (runs_dir / "not a run").mkdir()

    published, newest, oldest = list_runs(weights, runs_dir)
    assert (published.id, published.status) == ("vggface", {"state": "published"})
    assert published.config == {"age": {}}
    assert published.metrics == {"split": "test"}
    assert [newest.id, oldest.id] == ["20260102-000000-a", "20260101-000000-a"]
    assert newest.config == {"task": "age"}
    assert newest.folder == runs_dir / "20260102-000000-a"
    assert list(newest.history.columns) == list(HISTORY_COLUMNS)


def test_of_published_models_the_default_one_comes_first(tmp_path):
    for name in ("age-range", "vggface", "zebra"):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "card.json", {"name": name})
        pd.DataFrame({"task": ["age"], "epoch": [1]}).to_csv(tmp_path / name / "history.csv")
    found = [record.id for record in list_runs(tmp_path, tmp_path / "runs")]
    assert found == ["vggface", "age-range", "zebra"]


def test_nothing_to_list_is_an_empty_list(tmp_path):
    assert list_runs(tmp_path / "weights", tmp_path / "runs") == []


def test_a_run_that_fell_silent_was_killed(tmp_path):
    now = time.time()
    for name, state, updated in (
        ("1-silent", "running", now - STALE_AFTER_SECONDS - 5),
        ("2-alive", "running", now - 1),
        ("3-done", "finished", now - 10 * STALE_AFTER_SECONDS),
    ):
        make_run(tmp_path, name, status={"state": state, "updated": updated, "epoch": 2})
    states = {record.id: record.status["state"] for record in list_runs(tmp_path / "w", tmp_path)}
    assert states == {"1-silent": "killed", "2-alive": "running", "3-done": "finished"}
    titles = [record.title for record in list_runs(tmp_path / "w", tmp_path)]
    assert any("killed" in title for title in titles)
    # Looking must not change the record.
    assert read_json(tmp_path / "1-silent" / "status.json")["state"] == "running"


def test_damaged_records_are_listed_all_the_same(tmp_path):
    folder = make_run(tmp_path, "r", status={"state": "finished"})
    (folder / "status.json").write_text("{half", encoding="utf-8")
    (folder / "history.csv").write_bytes(b"\x00\xff\xfe")
    (folder / "metrics.json").write_text("[]", encoding="utf-8")
    [record] = list_runs(tmp_path / "w", tmp_path)
    assert record.metrics == {}
    assert record.status.get("state", "unknown") == "unknown"
    assert np.array_equal(record.history.columns, HISTORY_COLUMNS)


def test_a_status_without_a_time_is_stale(tmp_path):
    make_run(tmp_path, "r", status={"state": "running"})
    [record] = list_runs(tmp_path / "w", tmp_path)
    assert record.status["state"] == "killed"


def test_a_run_that_has_not_begun_its_first_step_is_starting(tmp_path):
    folder = make_run(tmp_path, "r")
    [record] = list_runs(tmp_path / "w", tmp_path)
    assert (record.state, record.running) == ("starting", True)
    long_ago = time.time() - STALE_AFTER_SECONDS - 5
    os.utime(folder / "config.json", (long_ago, long_ago))
    [record] = list_runs(tmp_path / "w", tmp_path)
    assert (record.state, record.running) == ("killed", False)


def test_a_run_with_slow_epochs_may_be_silent_as_long_as_one(tmp_path):
    """It writes nothing while it validates, which on a large network takes minutes."""
    silent = time.time() - STALE_AFTER_SECONDS - 60
    for name, seconds in (("1-slow", STALE_AFTER_SECONDS + 600), ("2-quick", 20)):
        folder = make_run(tmp_path, name, status={"state": "running", "updated": silent})
        (folder / "history.csv").write_text(f"task,epoch,seconds\nage,1,{seconds}\n", encoding="utf-8")
    states = {record.id: record.state for record in list_runs(tmp_path / "w", tmp_path)}
    assert states == {"1-slow": "running", "2-quick": "killed"}


@pytest.mark.parametrize("updated", ["yesterday", None, [1]])
def test_a_damaged_time_is_no_sign_of_life(tmp_path, updated):
    make_run(tmp_path, "r", status={"state": "running", "updated": updated})
    assert list_runs(tmp_path / "w", tmp_path)[0].state == "killed"


def test_damaged_lines_of_a_history_are_left_out_or_read_as_missing(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text(
        "task,stage,epoch,val_mae\nage,head,1,9.5\nage,head,,8\nage,head,2,oops\n", encoding="utf-8"
    )
    history = read_history(path)
    assert history["epoch"].tolist() == [1, 2]
    assert history["epoch"].dtype == "int64"
    assert history["val_mae"].dtype == "float64"
    assert history["val_mae"].isna().tolist() == [False, True]


def published(tmp_path: Path, card: object, rows: str) -> RunRecord:
    folder = tmp_path / "w" / "model"
    folder.mkdir(parents=True)
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    (folder / "history.csv").write_text(rows, encoding="utf-8")
    [record] = list_runs(tmp_path / "w", tmp_path / "runs")
    return record


def test_the_networks_of_a_published_pair_are_told_apart(tmp_path):
    training = {
        "age": {"config": {"seed": 1}, "kept_epoch": 2},
        "gender": {"config": {"seed": 2}, "kept_epoch": 1},
    }
    card = {"name": "model", "training": training, "split": {"sizes": {"validation": 2141}}}
    rows = "task,epoch,val_mae,val_accuracy\nage,1,9,\nage,2,8,\ngender,1,,0.9\n"
    record = published(tmp_path, card, rows)
    assert record.history_of("age")["val_mae"].tolist() == [9, 8]
    assert record.history_of("gender")["val_accuracy"].tolist() == [0.9]
    assert (record.config_of("age"), record.config_of("gender")) == ({"seed": 1}, {"seed": 2})
    assert (record.kept_epoch("age"), record.kept_epoch("gender")) == (2, 1)
    assert record.validation_faces == 2141


def test_a_network_of_both_tasks_is_of_either(tmp_path):
    card = {"training": {"both": {"config": {"seed": 3}, "kept_epoch": 1}}}
    record = published(tmp_path, card, "task,epoch,val_mae,val_accuracy\nboth,1,9,0.9\n")
    for task in ("age", "gender"):
        assert len(record.history_of(task)) == 1
        assert record.config_of(task) == {"seed": 3}
        assert record.kept_epoch(task) == 1


@pytest.mark.parametrize("card", [[], {"training": []}, {"training": {"age": 5}, "split": 3, "metrics": "?"}])
def test_a_damaged_card_costs_its_facts_not_the_page(tmp_path, card):
    record = published(tmp_path, card, "task,epoch,val_mae\nage,1,9\n")
    assert record.config_of("age") == {}
    assert record.kept_epoch("age") is None
    assert record.validation_faces is None
    assert record.metrics == {}
    assert len(record.history_of("age")) == 1


def test_a_run_knows_its_recipe_its_kept_epoch_and_its_faces(tmp_path):
    folder = make_run(tmp_path, "r", task="both", status={"state": "finished"})
    write_json(folder / "metrics.json", {"best_epoch": 7})
    write_json(folder / "environment.json", {"split": {"sizes": {"validation": 200, "selection": 100}}})
    [record] = list_runs(tmp_path / "w", tmp_path)
    assert record.config_of("gender") == {"task": "both"}
    assert record.kept_epoch("age") == 7
    assert record.validation_faces == 100
    assert not record.running


def test_an_epoch_that_was_done_twice_counts_once_and_in_order(tmp_path):
    rows = "task,epoch,val_mae\nage,2,8\nage,1,9\nage,2,7\n"
    assert published(tmp_path, {}, rows).history_of("age")["val_mae"].tolist() == [9, 7]
