"""Graphics cards, precision, and batches spread over several devices."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pandas as pd
import pytest

from agegender.errors import ConfigError
from agegender.runs.records import read_history, read_json
from agegender.training.config import TrainingConfig
from agegender.training.devices import Machine, grow_gpu_memory, make_strategy, precision_policy

ROOT = Path(__file__).parents[2]
TIMEOUT = 600


def test_memory_growth_is_asked_of_every_gpu(monkeypatch):
    grown = []
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda kind: [f"{kind}:0", f"{kind}:1"])
    monkeypatch.setattr(
        "tensorflow.config.experimental.set_memory_growth", lambda gpu, growth: grown.append((gpu, growth))
    )
    assert grow_gpu_memory() == 2
    assert grown == [("GPU:0", True), ("GPU:1", True)]


@pytest.mark.parametrize(
    ("precision", "gpus", "policy"),
    [
        ("auto", 0, "float32"),
        ("auto", 2, "mixed_float16"),
        ("float32", 2, "float32"),
        ("mixed_bfloat16", 0, "mixed_bfloat16"),
    ],
)
def test_precision_is_mixed_where_there_is_a_gpu_or_the_recipe_says_so(precision, gpus, policy):
    assert precision_policy(TrainingConfig("age", precision=precision), gpus) == policy


def test_the_precision_stays_with_what_was_built():
    with Machine("mixed_bfloat16", None).building():
        layer = keras.layers.Dense(3)
    assert (layer.compute_dtype, layer.variable_dtype) == ("bfloat16", "float32")
    assert keras.config.dtype_policy().name == "float32"
    with pytest.raises(ZeroDivisionError), Machine("mixed_float16", None).building():
        _ = 1 / 0
    assert keras.config.dtype_policy().name == "float32"


def test_one_device_needs_no_strategy():
    assert make_strategy("none", 7) is None


@pytest.mark.parametrize("text", ["{half", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "cook"}}'])
def test_a_cluster_that_makes_no_sense_is_refused(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ConfigError, match="TF_CONFIG"):
        make_strategy("multiworker", 8)


# --- spread over devices --------------------------------------------------------------------------------


def start(data: Path, folder: Path, name: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.training.spread_run", str(data), str(folder), name],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait(process: subprocess.Popen) -> None:
    output, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, output


@pytest.fixture(scope="module")
def spread(fake_utkface, tmp_path_factory) -> Path:
    """Runs on one device, and on two virtual ones with an interruption."""
    folder = tmp_path_factory.mktemp("spread")
    wait(start(fake_utkface, folder, "mirrored"))
    return folder


def assert_same_run(folder: Path, expected: Path) -> None:
    ours, theirs = (read_history(path / "history.csv").drop(columns="seconds") for path in (folder, expected))
    assert len(theirs) == 3
    # In accuracy, rounding may turn one face of a dozen.
    pd.testing.assert_frame_equal(
        ours.drop(columns=["accuracy", "val_accuracy"]),
        theirs.drop(columns=["accuracy", "val_accuracy"]),
        rtol=1e-4,
    )
    for file in ("best.weights.h5", "last.weights.h5"):
        with h5py.File(folder / file) as left, h5py.File(expected / file) as right:
            names: list[str] = []
            right.visititems(
                lambda name, item, names=names: names.append(name) if isinstance(item, h5py.Dataset) else None
            )
            assert names
            for name in names:
                np.testing.assert_allclose(
                    left[name][()], right[name][()], rtol=1e-2, atol=1e-4, err_msg=name
                )


@pytest.mark.slow
def test_two_devices_end_where_one_does_even_when_interrupted(spread):
    assert_same_run(spread / "two", spread / "one")
    assert read_json(spread / "two" / "environment.json")["strategy"] == "mirrored"
    assert read_json(spread / "two" / "status.json")["state"] == "finished"


@pytest.mark.slow
def test_a_batch_that_does_not_divide_is_refused(spread):
    refusal = (spread / "refusal.txt").read_text(encoding="utf-8")
    assert "batch_size 33" in refusal
    assert "2 devices" in refusal


@pytest.mark.slow
def test_two_machines_end_where_one_device_does(spread, fake_utkface, tmp_path):
    with socket.socket() as one, socket.socket() as two:
        for each in (one, two):
            each.bind(("localhost", 0))
        workers = [f"localhost:{each.getsockname()[1]}" for each in (one, two)]
    processes = []
    for index in range(2):
        place = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        folder = tmp_path / f"worker {index}"
        processes.append(start(fake_utkface, folder, "multiworker", TF_CONFIG=json.dumps(place)))
    try:
        for process in processes:
            wait(process)
    finally:
        for process in processes:
            process.kill()
    for index in range(2):
        assert_same_run(tmp_path / f"worker {index}", spread / "one")
