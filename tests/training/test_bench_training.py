"""The throughput tool: what it measures, on a network of two layers. How fast is for nobody to assert."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from agegender.data.generator import ChipGenerator
from tools import bench_training
from tools.bench_training import KINDS, main, make_generator, measure, read_seconds

pytestmark = pytest.mark.usefixtures("eager")


def test_all_three_are_measured(tiny, dataset):
    config = tiny("age", batch_size=4, mixup=0.2, balance="age", teacher="nobody")
    report = measure(config, dataset, steps=2, warmup=1, rounds=1)
    rates = report["chips_per_second"]
    assert set(rates) == set(KINDS)
    assert all(np.isfinite(rate) and rate > 0 for rate in rates.values())
    assert report["loop_to_step"] == pytest.approx(rates["loop"] / rates["step"], rel=0.05)
    assert (report["input_size"], report["batch_size"], report["steps"]) == ([32, 32], 4, 2)
    json.dumps(report, allow_nan=False)


def test_a_slow_generator_shows_in_the_loop(tiny, dataset, monkeypatch):
    original = ChipGenerator.__getitem__

    def slow(self, index):
        time.sleep(0.2)
        return original(self, index)

    monkeypatch.setattr(ChipGenerator, "__getitem__", slow)
    report = measure(tiny("age", batch_size=4), dataset, steps=6, warmup=10, rounds=1)
    # Two workers, each busy for at least 0.2 s with a batch of four chips; not even a fast machine does more.
    assert report["chips_per_second"]["generator"] <= 41
    assert report["chips_per_second"]["loop"] <= 60


def test_only_what_comes_after_the_warm_up_is_timed(tiny, dataset, monkeypatch):
    generator = make_generator(tiny("age", batch_size=4), dataset, ["age"], batches=5)
    served = []
    monkeypatch.setattr(type(generator), "__getitem__", lambda self, i: served.append(i) or [i])
    clock = iter((10.0, 12.5))
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    assert read_seconds(generator, warmup=2) == 2.5
    assert sorted(served) == [0, 1, 2, 3, 4]


def test_the_command_writes_what_it_measured(fake_utkface, tmp_path, monkeypatch, capsys):
    figures = {"chips_per_second": {"step": 50.0, "generator": 400.0, "loop": 45.0}, "loop_to_step": 0.9}
    asked = {}

    def fake(config, dataset, **how):
        asked.update(how, config=config)
        return dict(figures)

    monkeypatch.setattr(bench_training, "measure", fake)
    path = tmp_path / "made" / "throughput.json"
    assert main(["--data", str(fake_utkface), "--steps", "7", "--json", str(path)]) == 0
    assert json.loads(path.read_text(encoding="utf-8")) == {**figures, "recipe": "default"}
    assert (asked["steps"], asked["config"].options.input_size) == (7, (160, 160))
    assert "90% of the bare step" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--data", "nowhere"], ["--recipe", "gone.toml"]])
def test_what_is_not_there_exits_2(arguments, capsys):
    assert main(arguments) == 2
    assert arguments[1] in capsys.readouterr().err
