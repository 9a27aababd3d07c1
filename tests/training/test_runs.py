"""Run records on disk: found, ordered, told apart, never half written."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from agegender.errors import ConfigError
from agegender.training.runs import (
    HISTORY_COLUMNS,
    LAST_WEIGHTS,
    STALE_AFTER_SECONDS,
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
    original = Path.write_text

    def slow(self, data, **options):
        original(self, data[: len(data) // 2], **options)
        seen.append(read_json(path))
        return original(self, data, **options)

    monkeypatch.setattr(Path, "write_text", slow)
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
