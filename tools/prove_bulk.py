"""Puts many photos through both engines of `predict --parquet`, kills each in between, and compares the rows.

    python -m tools.prove_bulk --photos 20000 --json docs/measurements/bulk-engines.json

The photos are cut out of the built-in example, 640 pixels wide, every one another, and one in a thousand is
broken. Each engine is killed (``kill -9``) once a third of them is done, then started again, and once more
when nothing is left to do. Memory of the process that was started, and of Ray's workers, is looked at every
few seconds. Meant to run for an hour or two beside other work: on a machine that does something else, too,
its seconds are no speed worth quoting.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from agegender.assets import EXAMPLE
from agegender.batch import cores
from agegender.bulk.part import SCHEMA
from agegender.bulk.table import read_columns
from tools.records import write_record

WIDTH = 640
SHARE = 0.4
"""How much of the example's width and height a photo shows."""
BROKEN_EVERY = 1000
LOOK_SECONDS = 5.0
NUMBERS = ("age", "gender_probability", "confidence", "age_interval", "box", "landmarks")
"""Columns that may differ a little."""


def make_photos(count: int, folder: Path) -> None:
    """Writes so many different photos as JPEG; what is there already stays."""
    example = Image.open(EXAMPLE).convert("RGB")
    random = np.random.default_rng(7)
    width, height = (round(SHARE * side) for side in example.size)
    places = random.uniform(0, 1 - SHARE, (count, 2)) * example.size
    angles = random.uniform(-4, 4, count)
    folder.mkdir(parents=True, exist_ok=True)

    def make(number: int) -> None:
        path = folder / f"{number:06}.jpg"
        if path.exists():
            return
        left, top = places[number].round().astype(int).tolist()
        photo = example.crop((left, top, left + width, top + height))
        photo = photo.rotate(angles[number], Image.Resampling.BILINEAR)
        photo.resize((WIDTH, round(WIDTH * height / width)), Image.Resampling.BILINEAR).save(path, quality=88)
        if number % BROKEN_EVERY == BROKEN_EVERY // 2:
            path.write_bytes(path.read_bytes()[:2000])

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(make, range(count)))


def run_engine(engine: str, photos: Path, answers: Path) -> dict[str, Any]:
    """Starts an engine, kills it, lets it finish, and asks it once more."""
    total = sum(1 for _ in photos.iterdir())
    command = [sys.executable, "-m", "agegender", "predict", str(photos), "--parquet", str(answers)]
    command += ["--engine", engine, "--quiet"]
    first = _run(command, answers, kill_at=total // 3)
    begun = done_in(answers)
    second = _run(command, answers)
    third = _run(command, answers)
    return {
        "killed_after_photos": begun,
        "exit_code_of_the_killed": first["exit_code"],
        "left_of_it_after_a_minute": first["left"],
        "seconds": [first["seconds"], second["seconds"]],
        "exit_code": second["exit_code"],
        "memory_mb": second["memory_mb"],
        "with_nothing_to_do": {"exit_code": third["exit_code"], "seconds": third["seconds"]},
    }


def _run(command: list[str], answers: Path, kill_at: int | None = None) -> dict[str, Any]:
    began = time.monotonic()
    samples: list[tuple[float, float]] = []
    with subprocess.Popen(command) as process:
        done = threading.Event()

        def look() -> None:
            while not done.wait(LOOK_SECONDS):
                samples.append((resident_mb([process.pid]), resident_mb(workers_of(process.pid))))
                if kill_at is not None and done_in(answers) >= kill_at:
                    process.send_signal(signal.SIGKILL)
                    return

        looking = threading.Thread(target=look)
        looking.start()
        below: set[tuple[int, str]] = set()
        while process.poll() is None:
            below = {(one, began_at(one)) for one in descendants(process.pid)} or below
            time.sleep(1)
        done.set()
        looking.join()
    seconds = round(time.monotonic() - began, 1)
    end = time.monotonic() + 60
    while time.monotonic() < end and any(began_at(one) == when for one, when in below):
        time.sleep(1)
    return {
        "seconds": seconds,
        "exit_code": process.returncode,
        "left": sum(began_at(one) == when for one, when in below),
        "memory_mb": {
            name: tenths([sample[index] for sample in samples])
            for index, name in enumerate(("started", "workers"))
        },
    }


def tenths(values: list[float]) -> list[float]:
    """The median of each tenth of the samples, in order."""
    ends = np.linspace(0, len(values), 11).round().astype(int)
    return [round(median(values[start:end]), 1) for start, end in pairwise(ends) if end > start]


def processes() -> Iterator[tuple[int, int]]:
    """Every process and its parent."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            yield int(entry.name), int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended meanwhile
            continue


def descendants(root: int) -> list[int]:
    """Processes below one."""
    parents = dict(processes())
    found: list[int] = []
    for process in parents:
        ancestor = process
        while ancestor in parents and ancestor != root:
            ancestor = parents[ancestor]
        if ancestor == root != process:
            found.append(process)
    return found


def workers_of(root: int) -> list[int]:
    """Ray's workers below a process: those that hold the model."""
    found = []
    for process in descendants(root):
        with suppress(OSError):
            if b"MapWorker" in Path(f"/proc/{process}/cmdline").read_bytes():
                found.append(process)
    return found


def began_at(process: int) -> str:
    """When a process began, by which it is known again; nothing where it has ended."""
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state == "Z" else fields[18]


def resident_mb(these: list[int]) -> float:
    """Memory that processes hold by themselves; what they share with others is left out."""
    pages = 0
    for process in these:
        try:
            _, resident, shared, *_ = Path(f"/proc/{process}/statm").read_text().split()
        except OSError:
            continue
        pages += int(resident) - int(shared)
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def done_in(answers: Path) -> int:
    """Photos in the parts that are there."""
    count = 0
    for part in answers.glob("part-*.parquet"):
        faces = pq.ParquetFile(part).read(["face"])["face"]
        count += pc.sum(pc.fill_null(pc.equal(faces, 1), True)).as_py() or 0
    return count


def compare(photos: Path, local: Path, ray: Path) -> dict[str, Any]:
    """What the answers lack, have twice, and differ in."""
    names = [name for name in SCHEMA.names if name != "model_sha256"]
    here, there = (
        sorted(read_columns(answers, names).to_pylist(), key=lambda row: (row["path"], row["face"] or 0))
        for answers in (local, ray)
    )
    keys = [[(row["path"], row["face"] or 0) for row in rows] for rows in (here, there)]
    wanted = {str(path) for path in photos.iterdir()}
    off = dict.fromkeys(NUMBERS, 0.0)
    differing = 0
    for mine, other in zip(here, there, strict=False):
        for name in NUMBERS:
            values = [np.ravel(row[name]) for row in (mine, other) if row[name] is not None]
            if len(values) == 2 and values[0].shape == values[1].shape:
                off[name] = max(off[name], float(np.abs(values[0] - values[1]).max()))
            else:
                differing += bool(values)
        differing += any(mine[name] != other[name] for name in names if name not in NUMBERS)
    return {
        "photos": len(wanted),
        "rows": len(here),
        "faces": sum(row["face"] is not None for row in here),
        "errors": sum(row["error"] is not None for row in here),
        "missing": {
            name: len(wanted - {path for path, _ in found})
            for name, found in zip(("local", "ray"), keys, strict=True)
        },
        "twice": {
            name: len(found) - len(set(found)) for name, found in zip(("local", "ray"), keys, strict=True)
        },
        "same_rows": keys[0] == keys[1],
        "rows_that_differ_otherwise": differing,
        "largest_difference": {name: round(value, 6) for name, value in off.items()},
    }


def main() -> int:
    """Makes the photos, runs both engines, compares, writes."""
    parser = argparse.ArgumentParser(prog="python -m tools.prove_bulk", description=__doc__)
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, help="work there, and leave photos and answers there")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as temporary:
        place = options.folder or Path(temporary)
        photos = place / "photos"
        make_photos(options.photos, photos)
        engines = {engine: run_engine(engine, photos, place / engine) for engine in ("local", "ray")}
        found = compare(photos, place / "local", place / "ray")
    report = {
        "photo_width": WIDTH,
        "cores": cores(),
        "load_before": round(load, 1),
        "engines": engines,
        "rows": found,
    }
    write_record(report, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
