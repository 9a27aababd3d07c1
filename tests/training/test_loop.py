"""What a run leaves behind, for either task and either head."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from agegender.data.duplicates import fingerprint
from agegender.data.split import assign_splits, split_hash
from agegender.data.table import read_dataset
from agegender.errors import ConfigError, DatasetError, WeightsNotFoundError
from agegender.labels import MAX_AGE
from agegender.models import vggface
from agegender.models.store import load_weights
from agegender.training import loop
from agegender.training.config import TrainingConfig
from agegender.training.loop import (
    age_distribution_targets,
    build_network,
    describe_stage_plan,
    grow_gpu_memory,
    stages,
    train,
)
from agegender.training.runs import HISTORY_COLUMNS, list_runs, read_history, read_json

RECORD = {
    *("config.json", "environment.json", "split.csv", "history.csv", "status.json", "metrics.json"),
    *("best.weights.h5", "last.weights.h5"),
}


def folder_in(tmp_path: Path, name: str = "run") -> Path:
    (tmp_path / name).mkdir()
    return tmp_path / name


# --- the plan -------------------------------------------------------------------------------------------


def test_stages_follow_each_other():
    head, fine = stages(TrainingConfig("age", head_epochs=2, epochs=5))
    assert (head.name, head.first_epoch, head.end, head.train_backbone) == ("head", 0, 2, False)
    assert (fine.name, fine.first_epoch, fine.end, fine.train_backbone) == ("finetune", 2, 7, True)
    assert head.learning_rate > fine.learning_rate


@pytest.mark.parametrize(("epochs", "names"), [((0, 3), ["finetune"]), ((3, 0), ["head"])])
def test_empty_stages_are_left_out(epochs, names):
    config = TrainingConfig("age", head_epochs=epochs[0], epochs=epochs[1])
    assert [stage.name for stage in stages(config)] == names
    assert [stage.first_epoch for stage in stages(config)] == [0]


def test_the_plan_reads_as_a_sentence():
    plan = describe_stage_plan(TrainingConfig("gender", head_epochs=2, epochs=5))
    assert plan.startswith("gender on mobilenet at 160x160")
    assert "head: 2 epochs" in plan
    assert "finetune: 5 epochs, learning rate 0.0002" in plan


# --- targets --------------------------------------------------------------------------------------------


def test_age_targets_are_distributions_around_the_label():
    ages = np.array([10, 33, 60, 100])
    targets = age_distribution_targets(ages, sigma=2.0)
    assert targets.shape == (4, MAX_AGE + 1)
    assert targets.dtype == np.float32
    assert targets.sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert targets.argmax(axis=1).tolist() == ages.tolist()
    years = np.arange(MAX_AGE + 1)
    mean = targets @ years
    assert mean == pytest.approx(ages, abs=1e-3)
    assert np.sqrt((targets * (years - mean[:, None]) ** 2).sum(axis=1)) == pytest.approx(2.0, abs=0.02)


@pytest.mark.parametrize("age", [0, 1, MAX_AGE])
def test_age_targets_at_the_ends_still_sum_to_one(age):
    [target] = age_distribution_targets(np.array([age]), sigma=3.0)
    assert target.sum() == pytest.approx(1, abs=1e-6)
    assert target.argmax() == age


# --- the record -----------------------------------------------------------------------------------------


@pytest.fixture(params=["age", "gender"])
def run(request) -> tuple[str, Path]:
    return request.param, request.getfixturevalue(f"{request.param}_run")


def test_a_finished_run_leaves_its_whole_record(run):
    task, folder = run
    assert {path.name for path in folder.iterdir()} - {"checkpoint.json"} == RECORD
    assert read_json(folder / "status.json")["state"] == "finished"
    assert TrainingConfig.read(folder / "config.json").task == task


def test_history_has_one_row_an_epoch(run):
    task, folder = run
    header = (folder / "history.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header.split(",") == list(HISTORY_COLUMNS)
    history = read_history(folder / "history.csv")
    assert history["epoch"].tolist() == [1, 2]
    assert history["stage"].tolist() == ["head", "finetune"]
    assert (history["task"] == task).all()
    own, others = (
        (["mae", "val_mae"], ["accuracy", "val_accuracy"])
        if task == "age"
        else (["accuracy", "val_accuracy"], ["mae", "val_mae"])
    )
    assert np.isfinite(history[["loss", "val_loss", "learning_rate", *own]]).all(axis=None)
    assert history[others].isna().all(axis=None)
    assert (history[["seconds", "learning_rate"]] > 0).all(axis=None)


def test_metrics_are_those_of_the_best_epoch(run):
    task, folder = run
    metrics = read_json(folder / "metrics.json")
    values = read_history(folder / "history.csv")["val_mae" if task == "age" else "val_accuracy"]
    best = int(values.argmin() if task == "age" else values.argmax())
    assert metrics["split"] == "validation"
    assert metrics["epochs"] == 2
    assert metrics["best_epoch"] == best + 1
    assert metrics["mae" if task == "age" else "accuracy"] == pytest.approx(values[best], abs=1e-4)


def test_best_weights_fit_the_network_of_the_recipe(run):
    task, folder = run
    config = TrainingConfig.read(folder / "config.json")
    network = vggface.build(task, config.options)
    load_weights(network, folder / "best.weights.h5")
    answers = np.asarray(network(np.zeros((2, 32, 32, 3), np.float32)))
    assert answers.shape == (2, 1)
    assert np.isfinite(answers).all()


def test_the_record_says_what_it_was_trained_on_and_with(run, dataset):
    _, folder = run
    environment = read_json(folder / "environment.json")
    prints = fingerprint(dataset)
    splits = assign_splits(dataset, prints=prints)
    assert environment["split"]["hash"] == split_hash(prints.digests, splits)
    assert sum(environment["split"]["sizes"].values()) == len(dataset.table) == 120
    assert environment["dataset"] == {"files": 120, "skipped": 2}
    assert environment["packages"]["keras"] == keras.__version__
    assert environment["base"] == "random"
    assert environment["started"].endswith("+00:00")
    written = pd.read_csv(folder / "split.csv", names=["digest", "split"])
    assert written["digest"].tolist() == prints.digests
    assert written["split"].tolist() == splits.tolist()


def test_the_record_names_no_place_on_this_machine(run):
    _, folder = run
    for path in folder.glob("*.json"):
        text = path.read_text(encoding="utf-8")
        assert str(folder.parent) not in text, path.name
        assert str(Path.home()) not in text, path.name


def test_runs_are_listed_with_their_history(run):
    task, folder = run
    [record] = list_runs(folder.parent / "no weights", folder.parent)
    assert record.config["task"] == task
    assert len(record.history) == 2
    assert record.status["state"] == "finished"
    assert record.metrics


# --- other ways to train --------------------------------------------------------------------------------


def test_the_linear_head_trains_and_so_does_a_network_without_dropout(tiny, dataset, tmp_path):
    config = tiny("age", options={"age_head": "linear", "dropout": 0.0}, head_epochs=0)
    folder = folder_in(tmp_path)
    metrics = train(config, dataset, folder, quiet=True)
    history = read_history(folder / "history.csv")
    assert history["stage"].tolist() == ["finetune"]
    assert metrics["mae"] == pytest.approx(history["val_mae"][0], abs=1e-4)
    assert 5 < metrics["mae"] < 60


def test_a_limit_and_files_that_cannot_be_decoded_are_respected(tiny, fake_utkface, tmp_path, monkeypatch):
    copy = tmp_path / "chips"
    shutil.copytree(fake_utkface, copy)
    broken = [f"{age}_0_0_20180101000000{age:03d}.jpg.chip.jpg" for age in range(10, 40)]
    for i, name in enumerate(broken):
        (copy / name).write_bytes(b"broken %d" % i)
    served = []
    original = loop.ChipGenerator

    def recording(paths, *args, **options):
        served.append([path.name for path in paths])
        return original(paths, *args, **options)

    monkeypatch.setattr(loop, "ChipGenerator", recording)
    train(tiny("gender", limit=40, epochs=0), read_dataset(copy), folder_in(tmp_path), quiet=True)
    training, validation = served
    assert len(training) == 40
    assert not set(training + validation) & set(broken)
    assert not set(training) & set(validation)


def test_a_run_without_progress_stops_early(tiny, dataset, tmp_path):
    config = tiny("gender", head_epochs=0, epochs=8, patience=2, learning_rate=1e-12)
    folder = folder_in(tmp_path)
    metrics = train(config, dataset, folder, quiet=True)
    assert metrics["epochs"] == 3
    assert metrics["best_epoch"] == 1
    assert read_json(folder / "status.json")["state"] == "finished"


def test_a_run_that_diverges_ends_with_a_record(tiny, dataset, tmp_path):
    config = tiny("age", options={"age_head": "linear"}, head_epochs=0, epochs=2, learning_rate=1e30)
    folder = folder_in(tmp_path)
    metrics = train(dataclasses.replace(config, warmup_epochs=0.0), dataset, folder, quiet=True)
    assert read_json(folder / "status.json")["state"] == "finished"
    assert len(read_history(folder / "history.csv")) == metrics["epochs"] == 1
    json.dumps(metrics, allow_nan=False)


def test_lowest_blocks_stay_as_they_were_and_the_head_stage_trains_the_head_alone(tiny, dataset, tmp_path):
    config = tiny("gender", head_epochs=1, epochs=1, frozen_blocks=1, learning_rate=1e-2, ema_momentum=0.0)
    keras.utils.set_random_seed(config.seed)
    start = build_network(config)[0]
    after = {}

    def remember(self, epochs_done: int) -> None:
        after[epochs_done] = {v.path: v.numpy().copy() for v in self.network.trainable_variables}
        after[epochs_done] |= {v.path: v.numpy().copy() for v in self.network.non_trainable_variables}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.RunRecorder, "save_last", remember)
        train(config, dataset, folder_in(tmp_path), quiet=True)

    def moved(epochs_done: int, layer: str) -> bool:
        expected = next(v for v in start.variables if v.path.endswith(f"{layer}/kernel")).numpy()
        value = next(v for path, v in after[epochs_done].items() if path.endswith(f"{layer}/kernel"))
        return not np.allclose(value, expected, atol=1e-6)

    assert {layer: moved(1, layer) for layer in ("conv1", "conv2", "dense_1")} == {
        "conv1": False,
        "conv2": False,
        "dense_1": True,
    }
    assert moved(2, "conv2")
    assert not moved(2, "conv1")


# --- refusals -------------------------------------------------------------------------------------------


def test_freezing_everything_is_refused(tiny, dataset, tmp_path):
    with pytest.raises(ConfigError, match="frozen_blocks 2"):
        train(tiny("gender", frozen_blocks=2), dataset, folder_in(tmp_path), quiet=True)


def test_too_few_chips_are_refused(tiny, fake_utkface, tmp_path):
    copy = folder_in(tmp_path, "chips")
    shutil.copy(next(fake_utkface.glob("*_*_*_*.jpg.chip.jpg")), copy)
    with pytest.raises(DatasetError, match="a few hundred"):
        train(tiny(), read_dataset(copy), folder_in(tmp_path), quiet=True)


def test_an_unknown_system_is_refused(make_config):
    with pytest.raises(ConfigError, match=r"'quantum'.*vggface"):
        build_network(make_config(system="quantum"))


def test_missing_base_weights_are_named(make_config, tmp_path):
    with pytest.raises(WeightsNotFoundError, match=r"gone\.weights\.h5"):
        build_network(make_config(base_weights=str(tmp_path / "gone.weights.h5")))


def test_base_weights_are_loaded_by_default(make_config):
    network, source = build_network(make_config(base_weights="default"))
    assert "VGGFace2" in source
    again, _ = build_network(make_config(base_weights="default"))
    assert all(
        np.array_equal(a, b)
        for a, b in zip(network.layers[0].get_weights(), again.layers[0].get_weights(), strict=True)
    )


# --- graphics cards -------------------------------------------------------------------------------------


def test_memory_growth_is_asked_of_every_gpu(monkeypatch):
    grown = []
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda kind: [f"{kind}:0", f"{kind}:1"])
    monkeypatch.setattr(
        "tensorflow.config.experimental.set_memory_growth", lambda gpu, growth: grown.append((gpu, growth))
    )
    assert grow_gpu_memory() == 2
    assert grown == [("GPU:0", True), ("GPU:1", True)]


@pytest.mark.parametrize("resume", [False, True])
def test_memory_growth_comes_before_the_first_variable(monkeypatch, tiny, dataset, tmp_path, resume):
    """TensorFlow refuses it once the first variable has been placed on the card."""
    events = []

    class EnoughError(Exception):
        pass

    def build(_config):
        events.append("build")
        raise EnoughError

    monkeypatch.setattr(loop, "grow_gpu_memory", lambda: events.append("grow") or 0)
    monkeypatch.setattr(loop, "build_network", build)
    with pytest.raises(EnoughError):
        train(tiny(), dataset, folder_in(tmp_path), resume=resume, quiet=True)
    assert events[0] == "grow"
