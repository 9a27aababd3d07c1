"""What a run leaves behind, for either task and either head."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import h5py
import keras
import numpy as np
import pandas as pd
import pytest

from agegender.data.generator import ChipGenerator
from agegender.data.pictures import read_chip
from agegender.data.split import partition
from agegender.data.table import Dataset, read_dataset
from agegender.errors import ConfigError, DatasetError
from agegender.faces.chip import resize_chip
from agegender.models.store import load_weights
from agegender.models.systems import vggface
from agegender.runs.records import HISTORY_COLUMNS, list_runs, read_history, read_json
from agegender.training import loop
from agegender.training.callbacks import Progress, RunRecorder
from agegender.training.config import Stage, TrainingConfig
from agegender.training.loop import describe_stage_plan, train
from agegender.training.start import build_network

RECORD = {
    *("config.json", "environment.json", "split.csv", "history.csv", "status.json", "metrics.json"),
    *("best.weights.h5", "last.weights.h5"),
}


def folder_in(tmp_path: Path, name: str = "run") -> Path:
    (tmp_path / name).mkdir()
    return tmp_path / name


def train_until_interrupted(config: TrainingConfig, dataset: Dataset, folder: Path, *, epoch: int) -> None:
    """Trains until somebody presses Ctrl-C at the beginning of an epoch, counted from 0."""
    original = Progress.on_epoch_begin

    def begin(self, number, logs=None):
        original(self, number, logs)
        if number == epoch:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Progress, "on_epoch_begin", begin)
        with pytest.raises(KeyboardInterrupt):
            train(config, dataset, folder, quiet=True)


# --- the plan -------------------------------------------------------------------------------------------


def test_the_plan_reads_as_a_sentence():
    plan = describe_stage_plan(
        TrainingConfig(
            "gender", stages=(Stage("head", 2, 1e-3, "all"), Stage("no", 0, 1), Stage("all", 5, 2e-4))
        )
    )
    assert plan.startswith("vggface, gender on mobilenet at 160x160")
    assert plan.endswith("head: 2 epochs, learning rate 0.001; all: 5 epochs, learning rate 0.0002")


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
    assert metrics["split"] == "selection"
    assert metrics["epochs"] == 2
    assert metrics["best_epoch"] == best + 1
    assert metrics["mae" if task == "age" else "accuracy"] == pytest.approx(values[best], abs=1e-4)
    assert metrics["ended"] == "finished"


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
    splits = partition(dataset)
    sizes = environment["split"]["sizes"]
    assert environment["split"]["hash"] == splits.hash
    assert sum(sizes[name] for name in ("train", "validation", "test")) == len(dataset.table) == 120
    assert sizes["selection"] + sizes["calibration"] == sizes["validation"]
    data = {"files": 120, "skipped": 2, "undecodable": 0, "labels": splits.labels_hash}
    assert environment["dataset"] == data
    assert environment["packages"]["keras"] == keras.__version__
    assert environment["base"] == "random"
    assert (environment["precision"], environment["strategy"]) == ("float32", "none")
    assert environment["started"].endswith("+00:00")
    written = pd.read_csv(folder / "split.csv", names=["digest", "split"])
    assert written["digest"].tolist() == splits.digests
    assert written["split"].tolist() == splits.names.tolist()


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


@pytest.mark.usefixtures("eager")
def test_one_network_learns_both(tiny, dataset, tmp_path):
    config = tiny("both", epochs=(0, 2))
    metrics = train(config, dataset, tmp_path, quiet=True)
    history = read_history(tmp_path / "history.csv")
    figures = ["loss", "val_loss", "mae", "val_mae", "accuracy", "val_accuracy"]
    assert np.isfinite(history[figures]).all(axis=None)
    assert history[["range_accuracy", "val_range_accuracy"]].isna().all(axis=None)
    best = int((history["val_mae"] + 50 * (1 - history["val_accuracy"])).argmin())
    assert metrics["best_epoch"] == best + 1
    assert metrics["mae"] == pytest.approx(history["val_mae"][best], abs=1e-4)
    assert metrics["accuracy"] == pytest.approx(history["val_accuracy"][best], abs=1e-4)


@pytest.mark.usefixtures("eager")
def test_a_system_with_age_ranges_and_no_stages_of_its_own_trains(dataset, tmp_path):
    values = {"filters": [4, 4, 4], "hidden": 8, "embedding": 2, "input_size": [32, 32]}
    config = TrainingConfig.from_dict(
        {"task": "both", "system": "age-range", "options": values, "base_weights": "none", "batch_size": 128}
        | {"stages": [{"name": "all", "epochs": 1, "learning_rate": 1e-3}]}
    )
    metrics = train(config, dataset, tmp_path, quiet=True)
    history = read_history(tmp_path / "history.csv")
    assert np.isfinite(history[list(HISTORY_COLUMNS[2:])]).all(axis=None)
    assert metrics["range_accuracy"] == pytest.approx(history["val_range_accuracy"][0], abs=1e-4)


@pytest.mark.usefixtures("eager")
def test_the_linear_head_trains_and_so_does_a_network_without_dropout(tiny, dataset, tmp_path):
    config = tiny("age", options={"age_head": "linear", "dropout": 0.0}, epochs=(0, 1), ema_momentum=0.0)
    metrics = train(config, dataset, tmp_path, quiet=True)
    history = read_history(tmp_path / "history.csv")
    assert history["stage"].tolist() == ["finetune"]
    assert metrics["mae"] == pytest.approx(history["val_mae"][0], abs=1e-4)
    assert 5 < metrics["mae"] < 60


@pytest.mark.usefixtures("eager")
def test_without_a_moving_average_the_weights_themselves_are_kept(tiny, dataset, tmp_path):
    config = tiny("age", epochs=(0, 2), rates=(1, 0.1), ema_momentum=0.0)
    metrics = train(config, dataset, tmp_path, quiet=True)
    kept = vggface.build("age", config.options)
    load_weights(kept, tmp_path / "best.weights.h5")
    rows = partition(dataset).rows("selection")
    chips = np.stack([resize_chip(read_chip(dataset.folder / file), (32, 32)) for file in rows["file"]])
    mae = np.abs(np.asarray(kept(chips.astype(np.float32)))[:, 0] - rows["age"]).mean()
    assert mae == pytest.approx(metrics["mae"], abs=1e-2)


def test_everything_at_once_trains_in_half_precision_and_leaves_the_process_as_it_was(
    tiny, dataset, tmp_path
):
    """With graphs: they, not eager operations, have refused what mixes precisions."""
    config = tiny(
        "both",
        epochs=(1, 1),
        precision="mixed_bfloat16",
        mixup=0.4,
        cutmix=0.4,
        erasing=0.5,
        balance="both",
        schedule="plateau",
        optimizer="adam",
        layer_decay=0.5,
    )
    before = keras.config.dtype_policy().name
    seen = {}

    def remember(self, epochs_done: int) -> None:
        seen["network"], seen["outputs"] = self.network, self.model.output

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunRecorder, "save_last", remember)
        train(config, dataset, tmp_path, quiet=True)
    assert keras.config.dtype_policy().name == before == "float32"
    network = seen["network"]
    assert network.get_layer("age_dense_1").compute_dtype == "bfloat16"
    assert {output.dtype for output in seen["outputs"].values()} == {"float32"}
    assert {variable.dtype for variable in network.trainable_variables} == {"float32"}
    [years, female] = (np.asarray(x) for x in network(np.full((2, 32, 32, 3), 90, np.float32)))
    assert ((years > 0) & (years < 116)).all()
    assert ((female > 0) & (female < 1)).all()
    history = read_history(tmp_path / "history.csv")
    assert np.isfinite(history[["loss", "val_loss", "val_mae", "val_accuracy"]]).all(axis=None)
    assert read_json(tmp_path / "environment.json")["precision"] == "mixed_bfloat16"


@pytest.mark.usefixtures("eager")
def test_a_limit_and_files_that_cannot_be_decoded_are_respected(tiny, fake_utkface, tmp_path, monkeypatch):
    copy = tmp_path / "chips"
    shutil.copytree(fake_utkface, copy)
    broken = [f"{age}_0_0_20180101000000{age:03d}.jpg.chip.jpg" for age in range(10, 40)]
    for i, name in enumerate(broken):
        (copy / name).write_bytes(b"broken %d" % i)
    served = []

    def recording(paths, *args, **options):
        served.append([path.name for path in paths])
        return ChipGenerator(paths, *args, **options)

    monkeypatch.setattr(loop, "ChipGenerator", recording)
    train(tiny("gender", limit=5, epochs=(1, 0)), read_dataset(copy), folder_in(tmp_path), quiet=True)
    training, validation = served
    assert len(training) == len(validation) == 5
    assert not set(training + validation) & set(broken)
    assert not set(training) & set(validation)


@pytest.mark.usefixtures("eager")
def test_copies_with_conflicting_labels_are_resolved_for_training_and_left_for_validation(
    tiny, fake_utkface, tmp_path, monkeypatch
):
    copy = tmp_path / "chips"
    shutil.copytree(fake_utkface, copy)
    splits = partition(read_dataset(copy))
    for name in ("train", "selection"):
        # The same photo again, seven years older and of the other gender.
        row = splits.rows(name).query("age < 100").iloc[0]
        again = f"{row['age'] + 7}_{1 - row['gender']}_0_20180101000000000.jpg.chip.jpg"
        shutil.copy(copy / row["file"], copy / again)
    served = []

    def recording(paths, targets, **options):
        served.append({path.name: {k: v[i, 0] for k, v in targets.items()} for i, path in enumerate(paths)})
        return ChipGenerator(paths, targets, **options)

    monkeypatch.setattr(loop, "ChipGenerator", recording)
    for task in ("age", "gender"):
        train(tiny(task, epochs=(1, 0)), read_dataset(copy), folder_in(tmp_path, task), quiet=True)
    ages, age_validation, genders, gender_validation = served
    [older] = [name for name in ages if "20180101" in name]
    conflicting = {name for name, targets in ages.items() if targets["age"] % 1 == 0.5}
    assert older in conflicting
    assert len(conflicting) == 2
    assert ages[older]["age"] == int(older.split("_")[0]) - 3.5
    # A gender that is one against one teaches nothing.
    assert not conflicting & set(genders)
    assert len(genders) == len(ages) - 2
    assert all(targets["age"] == int(name.split("_")[0]) for name, targets in age_validation.items())
    assert all(targets["female"] == int(name.split("_")[1]) for name, targets in gender_validation.items())
    assert sum("20180101" in name for name in age_validation) == 1


# --- how a run ends -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("eager")
def test_a_run_without_progress_stops_early_and_says_so(tiny, dataset, tmp_path):
    config = tiny("gender", epochs=(0, 8), patience=2, rates=(1, 1e-12))
    metrics = train(config, dataset, tmp_path, quiet=True)
    assert metrics["epochs"] == 3
    assert metrics["best_epoch"] == 1
    assert metrics["ended"] == read_json(tmp_path / "status.json")["state"] == "stopped early"
    # Going on changes nothing, and trains nothing.
    before = (tmp_path / "last.weights.h5").read_bytes()
    assert train(config, dataset, tmp_path, resume=True, quiet=True) == metrics
    assert (tmp_path / "last.weights.h5").read_bytes() == before


@pytest.mark.usefixtures("eager")
def test_weights_take_their_place_only_once_they_are_whole(tiny, dataset, tmp_path, monkeypatch):
    written = []
    save = keras.Model.save_weights

    def save_noting(model, path, *args, **kwargs):
        written.append(Path(path).name)
        save(model, path, *args, **kwargs)

    monkeypatch.setattr(keras.Model, "save_weights", save_noting)
    train_until_interrupted(tiny("gender", epochs=(0, 2)), dataset, tmp_path, epoch=1)
    assert len(written) == 4  # best and last, before the first epoch and after it
    assert not RECORD.intersection(written)
    assert {path.name for path in tmp_path.glob("*.h5")} == {"best.weights.h5", "last.weights.h5"}


@pytest.mark.usefixtures("eager")
def test_patience_is_counted_across_an_interruption(tiny, dataset, tmp_path):
    config = tiny("gender", epochs=(0, 8), patience=3, rates=(1, 1e-12))
    train_until_interrupted(config, dataset, tmp_path, epoch=2)
    assert read_json(tmp_path / "metrics.json")["ended"] == "interrupted"
    metrics = train(config, dataset, tmp_path, resume=True, quiet=True)
    assert (metrics["epochs"], metrics["ended"]) == (4, "stopped early")


@pytest.mark.usefixtures("eager")
def test_a_run_that_loses_patience_with_its_last_epoch_is_finished(tiny, dataset, tmp_path):
    config = tiny("gender", epochs=(0, 2), patience=1, rates=(1, 1e-12))
    assert train(config, dataset, tmp_path, quiet=True)["ended"] == "finished"


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("task", ["age", "gender"])
def test_a_run_that_diverges_ends_with_a_record_and_with_weights_that_are_numbers(
    tiny, dataset, tmp_path, task
):
    config = tiny(task, options={"age_head": "linear"}, epochs=(1, 2), rates=(1e-3, 1e30), warmup_epochs=0.0)
    metrics = train(config, dataset, tmp_path, quiet=True)
    assert metrics["ended"] == read_json(tmp_path / "status.json")["state"] == "diverged"
    assert len(read_history(tmp_path / "history.csv")) == metrics["epochs"] == 2
    assert metrics["best_epoch"] == 1
    json.dumps(metrics, allow_nan=False)
    network = vggface.build(task, config.options)
    for file in ("best.weights.h5", "last.weights.h5"):
        with h5py.File(tmp_path / file) as weights:
            weights.visititems(
                lambda _, x: np.testing.assert_(not hasattr(x, "dtype") or np.isfinite(x).all())
            )
    load_weights(network, tmp_path / "best.weights.h5")
    # It goes on from the epoch before, and diverges again.
    assert train(config, dataset, tmp_path, resume=True, quiet=True)["ended"] == "diverged"


# --- stages ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("eager")
def test_layers_are_unfrozen_stage_by_stage(tiny, dataset, tmp_path):
    config = dataclasses.replace(
        tiny("gender", ema_momentum=0.0),
        stages=(Stage("head", 1, 1e-2, "all"), Stage("top", 1, 1e-2, 1), Stage("whole", 1, 1e-2)),
    )
    keras.utils.set_random_seed(config.seed)
    start = build_network(config)[0]
    after = {0: {variable.path: variable.numpy() for variable in start.variables}}

    def remember(self, epochs_done: int) -> None:
        after[epochs_done] = {variable.path: variable.numpy().copy() for variable in self.network.variables}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunRecorder, "save_last", remember)
        train(config, dataset, tmp_path, quiet=True)

    def moved(epoch: int) -> list[str]:
        return [
            layer
            for layer in ("conv1", "conv2", "dense_1", "female")
            for path, value in after[epoch].items()
            if path.endswith(f"{layer}/kernel") and not np.allclose(value, after[epoch - 1][path], atol=1e-6)
        ]

    assert moved(1) == ["dense_1", "female"]
    assert moved(2) == ["conv2", "dense_1", "female"]
    assert moved(3) == ["conv1", "conv2", "dense_1", "female"]
    assert read_history(tmp_path / "history.csv")["stage"].tolist() == ["head", "top", "whole"]


@pytest.mark.usefixtures("eager")
def test_a_plateau_divides_the_rate_across_an_interruption(tiny, dataset, tmp_path):
    config = tiny(
        "gender",
        epochs=(0, 5),
        rates=(1, 1e-12),
        schedule="plateau",
        plateau_patience=1,
        plateau_factor=10.0,
    )
    train_until_interrupted(config, dataset, tmp_path, epoch=3)
    train(config, dataset, tmp_path, resume=True, quiet=True)
    rates = read_history(tmp_path / "history.csv")["learning_rate"].tolist()
    assert rates == pytest.approx([1e-12, 1e-12, 1e-13, 1e-14, 1e-15], rel=1e-4)


@pytest.mark.usefixtures("eager")
def test_resuming_needs_neither_base_weights_nor_the_run_it_started_from(tiny, dataset, tmp_path):
    base = tmp_path / "base.weights.h5"
    config = tiny("gender", epochs=(1, 1), base_weights=str(base))
    build_network(tiny("gender"))[0].get_layer("tiny").save_weights(base)
    folder = folder_in(tmp_path)
    train(dataclasses.replace(config, stages=config.stages), dataset, folder, quiet=True)
    started = dataclasses.replace(config, start=str(folder))
    second = folder_in(tmp_path, "second")
    train_until_interrupted(started, dataset, second, epoch=1)
    base.unlink()
    shutil.rmtree(folder)
    assert train(started, dataset, second, resume=True, quiet=True)["epochs"] == 2


# --- refusals -------------------------------------------------------------------------------------------


def test_too_few_chips_are_refused(tiny, fake_utkface, tmp_path):
    copy = folder_in(tmp_path, "chips")
    shutil.copy(next(fake_utkface.glob("*_*_*_*.jpg.chip.jpg")), copy)
    with pytest.raises(DatasetError, match="a few hundred"):
        train(tiny(), read_dataset(copy), folder_in(tmp_path), quiet=True)


def test_a_checkpoint_of_a_stage_that_the_recipe_does_not_have_is_refused(tiny, dataset, age_run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(age_run, folder)
    config = TrainingConfig.read(folder / "config.json")
    other = dataclasses.replace(config, stages=(Stage("another", 2, 1e-3),))
    with pytest.raises(ConfigError, match="'finetune'"):
        train(other, dataset, folder, resume=True, quiet=True)


@pytest.mark.parametrize("resume", [False, True])
def test_memory_growth_comes_before_the_first_variable(monkeypatch, tiny, dataset, tmp_path, resume):
    """TensorFlow refuses it once the first variable has been placed on the card."""
    events = []

    class EnoughError(Exception):
        pass

    def build(_config, **_options):
        events.append("build")
        raise EnoughError

    monkeypatch.setattr(loop, "grow_gpu_memory", lambda: events.append("grow") or 0)
    monkeypatch.setattr(loop, "build_network", build)
    with pytest.raises(EnoughError):
        train(tiny(), dataset, folder_in(tmp_path), resume=resume, quiet=True)
    assert events[0] == "grow"
