"""Runs that are interrupted or killed, and go on as if nothing had happened.

One run is watched from beginning to end, and its folder copied at the moments a kill could strike: a
copy is exactly what a killed process leaves. Each is then resumed and must end where the first did.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import keras
import numpy as np
import pandas as pd
import pytest

from agegender.data.generator import ChipGenerator
from agegender.data.split import partition
from agegender.labels import MAX_AGE
from agegender.models.store import load_weights
from agegender.models.systems import vggface
from agegender.runs.records import LAST_WEIGHTS, latest_run, read_history, read_json
from agegender.training.callbacks import Progress, RunRecorder
from agegender.training.config import TrainingConfig
from agegender.training.loop import train
from agegender.training.start import build_network

pytestmark = [
    pytest.mark.usefixtures("eager"),
    pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly"),
]

EPOCHS = 4
"""Two of stage "head", two of stage "finetune"."""


@dataclass
class Watched:
    config: TrainingConfig
    folder: Path
    copies: Path


def weights_in(path: Path) -> dict[str, np.ndarray]:
    values = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: values.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
        )
    return values


@pytest.fixture(scope="module")
def watched(eager, tiny, dataset, tmp_path_factory) -> Iterator[Watched]:
    """An uninterrupted run and copies of its folder: one at each epoch's start, some while it writes."""
    home = tmp_path_factory.mktemp("watched")
    folder, copies = home / "run", home / "copies"
    folder.mkdir()
    config = tiny(
        "age",
        epochs=(2, 2),
        rates=(0.1, 0.1),
        ema_momentum=0.6,
        options={"hidden": (16, 8), "dropout": 0.3},
    )

    def copy(name: str) -> None:
        shutil.copytree(folder, copies / name)

    begin, save_last, replace = Progress.on_epoch_begin, RunRecorder.save_last, Path.replace
    now = {"epoch": 0}

    def watch_begin(self, epoch, logs=None):
        now["epoch"] = epoch + 1
        copy(f"before epoch {epoch + 1}")
        begin(self, epoch, logs)

    def watch_save_last(self, epochs_done):
        if epochs_done == 2:
            copy("before the last weights of epoch 2")
        save_last(self, epochs_done)
        if epochs_done == 2:
            copy("after the last weights of epoch 2")

    def watch_replace(self, target):
        moved = replace(self, target)
        if now["epoch"] == 3 and Path(target).name == LAST_WEIGHTS:
            copy("just after the last weights of epoch 3 were moved into place")
        return moved

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Progress, "on_epoch_begin", watch_begin)
        patch.setattr(RunRecorder, "save_last", watch_save_last)
        patch.setattr(Path, "replace", watch_replace)
        train(config, dataset, folder, quiet=True)
    yield Watched(config, folder, copies)


@pytest.mark.parametrize(
    "moment",
    [
        "before epoch 2",
        pytest.param("before epoch 3", id="stage boundary"),
        "before epoch 4",
        "before the last weights of epoch 2",
        "after the last weights of epoch 2",
        "just after the last weights of epoch 3 were moved into place",
    ],
)
def test_a_killed_run_ends_where_an_uninterrupted_one_does(watched, dataset, tmp_path, moment):
    folder = tmp_path / "run"
    shutil.copytree(watched.copies / moment, folder)
    metrics = train(TrainingConfig.read(folder / "config.json"), dataset, folder, resume=True, quiet=True)

    expected, history = (read_history(path / "history.csv") for path in (watched.folder, folder))
    assert history["epoch"].tolist() == list(range(1, EPOCHS + 1))
    pd.testing.assert_frame_equal(
        history.drop(columns="seconds"), expected.drop(columns="seconds"), rtol=1e-3, check_dtype=False
    )
    for file in ("best.weights.h5", "last.weights.h5"):
        ours, theirs = weights_in(folder / file), weights_in(watched.folder / file)
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            np.testing.assert_allclose(ours[name], value, rtol=1e-2, atol=1e-3, err_msg=f"{file} {name}")
    assert metrics["best_epoch"] == read_json(watched.folder / "metrics.json")["best_epoch"]
    assert read_json(folder / "status.json")["state"] == "finished"


def test_the_watched_run_learns_enough_to_tell_runs_apart(watched):
    history = read_history(watched.folder / "history.csv")
    assert history["loss"].is_unique
    assert np.ptp(history["val_mae"]) > 0.02
    before, after = (
        weights_in(path / "last.weights.h5") for path in (watched.copies / "before epoch 4", watched.folder)
    )
    floats = [name for name, value in after.items() if value.dtype.kind == "f"]
    assert max(np.abs(after[name] - before[name]).max() for name in floats) > 0.01


def test_the_kept_weights_are_the_moving_average_that_was_validated(watched, dataset):
    config, history = watched.config, read_history(watched.folder / "history.csv")
    network = vggface.build("age", config.options)
    load_weights(network, watched.folder / "best.weights.h5")
    rows = partition(dataset).rows("selection")
    chips, _ = ChipGenerator(
        [dataset.folder / file for file in rows["file"]],
        {"age": rows["age"].to_numpy()},
        input_size=config.options.input_size,
    )[0]
    mae = np.abs(np.asarray(network(chips, training=False))[:, 0] - rows["age"]).mean()
    assert mae == pytest.approx(history["val_mae"].min(), abs=1e-2)
    best = int(history["val_mae"].argmin()) + 1
    beside = watched.folder if best == EPOCHS else watched.copies / f"before epoch {best + 1}"
    raw = weights_in(beside / "last.weights.h5")
    kept = network.get_layer("dense_1").kernel.numpy()
    same_shape = [value for value in raw.values() if value.shape == kept.shape]
    assert any(np.allclose(value, kept, atol=1e-6) for value in same_shape)  # the average
    assert any(not np.allclose(value, kept, atol=1e-3) for value in same_shape)  # the raw weights


def test_a_finished_run_that_is_resumed_stays_as_it_is(watched, dataset, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(watched.folder, folder)
    before = weights_in(folder / "best.weights.h5")
    metrics = train(watched.config, dataset, folder, resume=True, quiet=True)
    assert metrics == read_json(watched.folder / "metrics.json")
    after = weights_in(folder / "best.weights.h5")
    assert all(np.array_equal(before[name], after[name]) for name in before)
    pd.testing.assert_frame_equal(
        read_history(folder / "history.csv"), read_history(watched.folder / "history.csv")
    )


def interrupt_at(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    """Raises KeyboardInterrupt from a callback as an epoch begins; epochs count from 1."""
    original = Progress.on_epoch_begin

    def begin(self, at, logs=None):
        original(self, at, logs)
        if at + 1 == epoch:
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "on_epoch_begin", begin)


@pytest.mark.parametrize("epoch", [1, 2])
def test_an_interrupted_run_can_go_on(tiny, dataset, tmp_path, epoch):
    folder = tmp_path / "20260101-000000-vggface-gender"
    folder.mkdir()
    config = tiny("gender")
    with pytest.MonkeyPatch.context() as patch:
        interrupt_at(patch, epoch)
        with pytest.raises(KeyboardInterrupt):
            train(config, dataset, folder, quiet=True)
    assert read_json(folder / "status.json")["state"] == "interrupted"
    assert read_json(folder / "metrics.json")["epochs"] == epoch - 1
    assert latest_run("gender", tmp_path) == folder
    train(config, dataset, folder, resume=True, quiet=True)
    assert read_json(folder / "status.json")["state"] == "finished"
    assert read_history(folder / "history.csv")["epoch"].tolist() == [1, 2]


def test_ctrl_c_while_a_batch_is_read_leaves_a_resumable_record(tiny, dataset, tmp_path, monkeypatch):
    """The signal arrives while a worker thread reads chips; Python raises in the main thread."""
    original = ChipGenerator.__getitem__

    def read(self, index):
        if self.augmentation is not None and (tmp_path / "history.csv").exists():
            signal.raise_signal(signal.SIGINT)
        return original(self, index)

    monkeypatch.setattr(ChipGenerator, "__getitem__", read)
    # A shell starts what it puts in the background with the signal ignored, this process perhaps too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(tiny("gender", epochs=(1, 3)), dataset, tmp_path, quiet=True)
    finally:
        signal.signal(signal.SIGINT, before)
    assert read_json(tmp_path / "status.json")["state"] == "interrupted"
    assert len(read_history(tmp_path / "history.csv")) == 1
    assert (tmp_path / "last.weights.h5").is_file()


def test_a_run_interrupted_in_its_first_epoch_keeps_the_weights_it_started_from(
    tiny, dataset, tmp_path, monkeypatch
):
    config = tiny("age")
    interrupt_at(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        train(config, dataset, tmp_path, quiet=True)
    network = vggface.build("age", config.options)
    load_weights(network, tmp_path / "best.weights.h5")
    keras.utils.set_random_seed(config.seed)
    start, _ = build_network(config)
    for kept, started in zip(network.get_weights(), start.get_weights(), strict=True):
        np.testing.assert_allclose(kept, started)
    chips = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype(np.float32)
    years = np.asarray(network(chips))
    assert ((years > 0) & (years < MAX_AGE)).all()


def test_a_run_killed_before_its_first_checkpoint_starts_again(tiny, dataset, tmp_path):
    config = tiny("gender", epochs=(1, 0))
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    train(config, dataset, tmp_path, resume=True, quiet=True)
    assert read_history(tmp_path / "history.csv")["epoch"].tolist() == [1]
