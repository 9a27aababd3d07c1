"""Measures a folder of photos: one after another against side by side, and memory over the whole of it.

    python -m tools.bench_folder --photos 1000 --json docs/measurements/folder.json

The photos are made of the built-in example: cut out, turned a little, 1,920 px wide, every one another. Three
ways take turns on the same photos, so that a busy machine is busy for all; ratios are medians of the turns:
one after another on one core; one after another on all, where a single photo's networks use several threads;
and side by side, as `predict` does.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from agegender import Predictor
from agegender.assets import EXAMPLE
from agegender.batch import cores, in_order
from agegender.commands.predict import _predict_one
from agegender.runtime import prepare_tensorflow
from tools.records import write_record

WIDTH = 1920
TURN = 20
"""Photos a turn."""


def make_photos(count: int, folder: Path) -> list[Path]:
    """Writes so many different photos as JPEG."""
    example = Image.open(EXAMPLE).convert("RGB")
    random = np.random.default_rng(5)
    paths = []
    for number in range(count):
        left, top, right, bottom = random.uniform(0, 0.12, 4) * (*example.size, *example.size)
        box = (left, top, example.width - right, example.height - bottom)
        photo = example.rotate(random.uniform(-4, 4), Image.Resampling.BILINEAR).crop(tuple(map(round, box)))
        height = round(WIDTH * photo.height / photo.width)
        paths.append(folder / f"{number:05}.jpg")
        photo.resize((WIDTH, height), Image.Resampling.BILINEAR).save(paths[-1], quality=88)
    return paths


def measure(paths: Sequence[Path], predictor: Predictor) -> dict[str, Any]:
    """Predicts all photos both ways, turn by turn."""

    def work(path: Path) -> int:
        record, _ = _predict_one(path, predictor, chips=False, copy=None, blur=False)
        return len(record["faces"])

    def alone(part: Sequence[Path]) -> list[int]:
        return [work(path) for path in part]

    def on_one_core(part: Sequence[Path]) -> list[int]:
        everywhere = os.sched_getaffinity(0)
        pin({min(everywhere)})
        try:
            return alone(part)
        finally:
            pin(everywhere)

    ways = {
        "one_core": on_one_core,
        "one_after_another": alone,
        "side_by_side": lambda part: list(in_order(work, part, threading.Event())),
    }
    for name in ("one_after_another", "side_by_side"):  # networks are made for the cores there are then
        ways[name](paths[:4])
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    memory = []
    for start in range(0, len(paths), TURN):
        part = paths[start : start + TURN]
        found = {}
        for name, run in list(ways.items())[:: 1 if start // TURN % 2 else -1]:
            began, cpu_began = time.perf_counter(), time.process_time()
            found[name] = run(part)
            seconds[name].append((time.perf_counter() - began) / len(part))
            cpu[name].append((time.process_time() - cpu_began) / len(part))
        assert len(set(map(tuple, found.values()))) == 1, "the two ways differ"
        memory.append(round(resident_mb(), 1))

    def times_as_fast_as(name: str) -> float:
        turns = zip(seconds[name], seconds["side_by_side"], strict=True)
        return round(median(other / beside for other, beside in turns), 3)

    return {
        "photos": len(paths),
        "width": WIDTH,
        "cores": cores(),
        **{name: {"ms_a_photo": ms(seconds[name]), "cpu_ms_a_photo": ms(cpu[name])} for name in ways},
        "side_by_side_times_as_fast_as": {name: times_as_fast_as(name) for name in list(ways)[:2]},
        "memory_mb": {"after_first_turn": memory[0], "median": median(memory), "after_last_turn": memory[-1]},
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def pin(where: set[int]) -> None:
    """Keeps every thread of this process on these cores."""
    for thread in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), where)


def ms(values: Sequence[float]) -> float:
    """The median of seconds, in milliseconds."""
    return round(1000 * median(values), 1)


def resident_mb() -> float:
    """Memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def main() -> int:
    """Makes the photos, measures, writes."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench_folder", description=__doc__)
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--model", help="another model than the default one")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    prepare_tensorflow()
    predictor = Predictor() if options.model is None else Predictor(options.model)
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(make_photos(options.photos, Path(folder)), predictor)
    write_record({"engine": predictor.load().runtime, **figures}, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
