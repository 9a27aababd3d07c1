"""Experiment tracking: with a stand-in for Trackio, and with Trackio itself where it is installed."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from agegender.errors import ConfigError
from agegender.runs.records import HISTORY_COLUMNS, read_history, write_json
from agegender.training import callbacks
from agegender.training.config import TrainingConfig
from agegender.training.loop import train
from agegender.training.tracking import PROJECT, Tracker, open_tracker


class FakeTrackio(ModuleType):
    """What `Tracker` uses of Trackio, with its rules: no run, no log; a name is resumed where it exists."""

    def __init__(self) -> None:
        super().__init__("trackio")
        self.runs: dict[str, list[tuple[int, dict]]] = {}
        self.configs: dict[str, dict] = {}
        self.current: str | None = None
        self.SQLiteStorage = self

    def init(self, *, project, name, config, resume, embed, auto_log_gpu, auto_log_cpu):
        assert (project, resume) == (PROJECT, "allow")
        assert not (embed or auto_log_gpu or auto_log_cpu)
        print("* Trackio talks")
        self.runs.setdefault(name, [])
        self.configs[name] = config
        self.current = name

    def log(self, metrics, step):
        assert self.current is not None
        self.runs[self.current].append((step, metrics))

    def finish(self):
        assert self.current is not None
        print("* Trackio talks")
        self.current = None

    def get_max_step_for_run(self, project, name):
        return max((step for step, _ in self.runs[name]), default=None)


@pytest.fixture
def trackio(monkeypatch) -> FakeTrackio:
    fake = FakeTrackio()
    monkeypatch.setitem(sys.modules, "trackio", fake)
    return fake


@pytest.fixture(autouse=True)
def no_ways_out(monkeypatch):
    monkeypatch.delenv("TRACKIO_SPACE_ID", raising=False)
    monkeypatch.delenv("TRACKIO_SERVER_URL", raising=False)


def write_record(folder: Path, epochs: int, ended: str | None = None) -> Path:
    """A run record of so many epochs, the loss of epoch n being 1/n."""
    folder.mkdir(exist_ok=True)
    write_json(folder / "config.json", TrainingConfig("age").to_dict())
    row = {"task": "age", "stage": "head", "seconds": 2.5, "learning_rate": 0.001, "val_mae": 6.0}
    rows = [{**row, "epoch": n, "loss": 1 / n} for n in range(1, epochs + 1)]
    pd.DataFrame(rows, columns=list(HISTORY_COLUMNS)).to_csv(folder / "history.csv", index=False)
    if ended is not None:
        write_json(folder / "metrics.json", {"ended": ended, "mae": 6.0})
    return folder


# --- getting one ----------------------------------------------------------------------------------------


def test_without_trackio_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "trackio", None)  # as if it were not installed
    with pytest.raises(ConfigError, match=r"pip install -r requirements-track\.txt"):
        open_tracker("trackio")


def test_the_named_requirements_hold_trackio():
    lines = (Path(__file__).parents[2] / "requirements-track.txt").read_text(encoding="utf-8").splitlines()
    assert any(line.startswith("trackio>=") for line in lines)


def test_a_trackio_that_does_not_load_is_told_from_one_that_is_not_there(monkeypatch):
    def refuse(name):
        raise PermissionError("no place for its folder")

    monkeypatch.setattr("importlib.import_module", refuse)
    with pytest.raises(ConfigError, match="does not load: no place"):
        open_tracker("trackio")


def test_an_unknown_tracker_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"'wandb'.*trackio"):
        open_tracker("wandb")


@pytest.mark.parametrize("variable", ["TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"])
def test_what_would_send_the_run_elsewhere_is_refused(trackio, monkeypatch, variable):
    monkeypatch.setenv(variable, "someone/somewhere")
    with pytest.raises(ConfigError, match=variable):
        open_tracker("trackio")


# --- what is logged -------------------------------------------------------------------------------------


def test_each_epoch_is_a_step_with_the_numbers_of_the_history(trackio, tmp_path):
    tracker = Tracker(trackio)
    for epochs in (0, 1, 2):
        tracker.update(write_record(tmp_path / "run", epochs))
    steps = trackio.runs["run"]
    assert [step for step, _ in steps] == [1, 2]
    assert steps[1][1] == {"seconds": 2.5, "learning_rate": 0.001, "loss": 0.5, "val_mae": 6.0}


def test_the_recipe_is_the_config(trackio, tmp_path):
    Tracker(trackio).update(write_record(tmp_path / "run", 0))
    config = trackio.configs["run"]
    assert config["options.dropout"] == TrainingConfig("age").options.dropout
    assert config["stages.finetune.learning_rate"] == TrainingConfig("age").stages[1].learning_rate
    assert not any(
        (isinstance(value, dict) and value) or key.startswith("_") for key, value in config.items()
    )


def test_the_end_is_logged_and_the_run_finished(trackio, tmp_path):
    tracker = Tracker(trackio)
    tracker.close(write_record(tmp_path / "run", 3, ended="stopped early"))
    assert trackio.runs["run"][-1] == (3, {"ended": "stopped early"})
    assert len(trackio.runs["run"]) == 4
    assert trackio.current is None


def test_a_resumed_run_goes_on_where_trackio_is(trackio, tmp_path):
    record = write_record(tmp_path / "run", 2, ended="interrupted")
    Tracker(trackio).close(record)
    tracker = Tracker(trackio)
    tracker.update(record)
    tracker.close(write_record(record, 3, ended="finished"))
    assert [step for step, row in trackio.runs["run"] if "loss" in row] == [1, 2, 3]
    assert [row["ended"] for _, row in trackio.runs["run"] if "ended" in row] == ["interrupted", "finished"]


def test_a_run_that_ended_before_its_first_epoch_goes_on_with_the_first(trackio, tmp_path):
    record = write_record(tmp_path / "run", 0, ended="interrupted")
    Tracker(trackio).close(record)
    Tracker(trackio).update(write_record(record, 1))
    assert [step for step, _ in trackio.runs["run"]] == [0, 1]


def test_standard_output_stays_free(trackio, tmp_path, capsys):
    Tracker(trackio).close(write_record(tmp_path / "run", 1, ended="finished"))
    assert capsys.readouterr().out == ""


# --- failures -------------------------------------------------------------------------------------------


def test_a_failure_is_told_and_made_up_for_later(trackio, tmp_path, capsys):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    tracker = Tracker(trackio)
    record = write_record(tmp_path / "run", 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trackio, "log", fail)
        tracker.update(record)
    assert "disk full" in capsys.readouterr().err
    tracker.update(write_record(record, 2))
    assert [step for step, _ in trackio.runs["run"]] == [1, 2]


@pytest.fixture(params=["init", "log", "finish", "get_max_step_for_run"])
def broken(request, trackio) -> FakeTrackio:
    def fail(*args, **kwargs):
        raise RuntimeError(f"{request.param} is broken")

    setattr(trackio, request.param, fail)
    return trackio


@pytest.mark.usefixtures("eager")
def test_no_failure_of_it_ends_a_training(broken, tiny, dataset, tmp_path, capsys):
    metrics = train(tiny("age", epochs=(0, 1)), dataset, tmp_path, quiet=True, tracker=Tracker(broken))
    assert metrics["ended"] == "finished"
    assert "is broken" in capsys.readouterr().err


# --- in the loop ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("eager")
def test_a_run_is_tracked_through_interruption_and_resumption(trackio, tiny, dataset, tmp_path):
    config = tiny("age", epochs=(1, 2))

    def interrupt(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks.Progress, "on_epoch_end", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(config, dataset, tmp_path, quiet=True, tracker=Tracker(trackio))
    train(config, dataset, tmp_path, resume=True, quiet=True, tracker=Tracker(trackio))
    [logged] = trackio.runs.values()
    assert [row["ended"] for _, row in logged if "ended" in row] == ["interrupted", "finished"]
    history = read_history(tmp_path / "history.csv")
    assert [step for step, row in logged if "loss" in row] == history["epoch"].tolist() == [1, 2, 3]
    assert [row["loss"] for _, row in logged if "loss" in row] == history["loss"].tolist()
    assert [row["val_mae"] for _, row in logged if "val_mae" in row] == history["val_mae"].tolist()


# --- Trackio itself -------------------------------------------------------------------------------------

REAL = """
import json, socket, sys
from pathlib import Path

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise SystemExit("went to the network")

sys.addaudithook(refuse)
from agegender.training.tracking import PROJECT, open_tracker
tracker = open_tracker("trackio")
tracker.close(Path(sys.argv[1]))
import trackio
[run] = trackio.Api().runs(PROJECT)
logs = trackio.SQLiteStorage.get_logs(PROJECT, run.name)
print(json.dumps({"name": run.name, "config": run.config, "logs": logs}))
"""


def test_the_real_trackio_keeps_it_and_asks_nobody(tmp_path):
    pytest.importorskip("trackio", reason="Trackio is not installed: pip install -r requirements-track.txt")
    record = write_record(tmp_path / "run", 2, ended="interrupted")
    # With an access token around, Trackio would ask Hugging Face whose it is.
    environment = {**os.environ, "TRACKIO_DIR": str(tmp_path / "trackio"), "HF_TOKEN": "hf_none"}
    for epochs, ended in ((2, "interrupted"), (3, "finished")):
        write_record(record, epochs, ended)
        done = subprocess.run(
            [sys.executable, "-c", REAL, str(record)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        kept = json.loads(done.stdout)
    assert kept["name"] == "run"
    assert kept["config"]["batch_size"] == TrainingConfig("age").batch_size
    trained = [log for log in kept["logs"] if "loss" in log]
    assert [log["step"] for log in trained] == [1, 2, 3]
    assert math.isclose(trained[2]["loss"], 1 / 3)
    assert [log["ended"] for log in kept["logs"] if "ended" in log] == ["interrupted", "finished"]
