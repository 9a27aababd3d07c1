"""Measures how fast `agegender video` is beside how long the clip plays, and what memory it takes.

    python -m tools.bench_video [--seconds 20] [--repeats 3] [--json docs/measurements/video.json]

The clip is made up: two people of free portraits walk about, 1280 × 720 at 25 frames a second, H.264 with
sound. Each run is a whole process, from its start to its exit, in the median of some; once more with a clip
three times as long, because memory must not grow with it. The processor's seconds are summed over cores: they
can be compared even if the machine has other work to do. Linux only, for the memory.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final

from tqdm import tqdm

from agegender.batch import cores
from tools.clips import Pixels, film, portraits, put, save_clip
from tools.records import write_record

SIZE: Final = (1280, 720)
RATE: Final = 25
WAYS: Final = {
    "five looks a second": (),
    "the same with --annotate": ("--annotate", "{folder}"),
    "the same with --annotate --blur faces": ("--annotate", "{folder}", "--blur", "faces"),
}


def main() -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seconds", type=int, default=20, help="length of the clip")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--note", default="", help="what else the machine was at")
    parser.add_argument("--json", type=Path, default=Path("docs/measurements/video.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = {length: folder / f"{length}.mp4" for length in (options.seconds, 3 * options.seconds)}
        for length, path in clips.items():
            make_clip(path, length)
        load = os.getloadavg()[0]
        rows = [
            measure(clips[options.seconds], options.seconds, way, options.repeats, folder)
            for way in tqdm(WAYS, desc="ways", disable=None)
        ]
        long = measure(clips[3 * options.seconds], 3 * options.seconds, next(iter(WAYS)), 1, folder)
    report = {
        "date": date.today().isoformat(),
        "load_before": round(load, 1),
        "note": options.note,
        "packages": {name: version(name) for name in ("av", "ai-edge-litert", "opencv-python-headless")},
        "cores": cores(),
        "clip": {"size": SIZE, "rate": RATE, "people": 2, "seconds": options.seconds},
        "repeats": options.repeats,
        "rows": rows,
        "three_times_as_long": long,
    }
    write_record(report, options.json)
    return 0


def make_clip(path: Path, seconds: int) -> None:
    """Writes the clip: two people who sway and come and go a little."""
    heads = portraits()

    def draw(frame: Pixels, time: float) -> None:
        put(frame, heads["collins"], 380 + 160 * math.sin(0.7 * time), 330, 300 + 50 * math.sin(0.4 * time))
        put(frame, heads["singer"], 900 + 120 * math.cos(0.5 * time), 360, 280)

    save_clip(path, film(draw, seconds, RATE, SIZE), sound="aac")


def measure(clip: Path, seconds: int, way: str, repeats: int, folder: Path) -> dict[str, Any]:
    """Runs the command so many times; returns medians."""
    runs = []
    for _ in range(repeats):
        extra = [text.format(folder=folder / "copies") for text in WAYS[way]]
        json_path = folder / "tracks.json"
        command = [sys.executable, "-m", "agegender", "video", str(clip), *extra, "--json", str(json_path)]
        began = time.perf_counter()
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if os.waitstatus_to_exitcode(status) != 0:
            raise RuntimeError(f"{' '.join(command)} failed")
        wall = time.perf_counter() - began
        found = json.loads(json_path.read_text(encoding="utf-8"))["videos"][0]
        runs.append((wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6, found))
    wall, processor, memory = (median(run[index] for run in runs) for index in range(3))
    return {
        "way": way,
        "clip_seconds": seconds,
        "seconds": round(wall, 2),
        "times_as_fast_as_it_plays": round(seconds / wall, 2),
        "processor_seconds": round(processor, 2),
        "peak_memory_mb": round(memory),
        "looks": runs[0][3]["looks"],
        "people": len(runs[0][3]["tracks"]),
    }


if __name__ == "__main__":
    sys.exit(main())
