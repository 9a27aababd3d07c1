"""`python -m tools.fuzz`: damaged files by the million, in shards that can be resumed.

    python -m tools.fuzz --inputs 1000000 --folder DIR --json docs/measurements/fuzz.json
    python -m tools.fuzz --inputs 200000 --folder DIR2 --readers videos requests --json …

Each shard is a process of its own, so that a crash of the interpreter or a file that takes forever costs
one input and is told. What a shard found is kept in DIR; a second call does only what is missing. An input is
made from the numbers of its shard and of itself, so any can be made again; those that are faults are kept in
DIR too. With ``--readers`` only these are tried, in a folder of their own, and what the JSON file holds of
others stays in it.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any, Final

from agegender.export import write_atomically
from agegender.files import read_json
from tools.fuzz.limits import peak_memory_mb
from tools.fuzz.target import Target
from tools.fuzz.targets import MAX_BYTES, MAX_PIXELS, targets
from tools.records import write_record

SHARD: Final = 10_000
SLOW: Final = 2.0
"""Seconds of the processor, as this runs beside other work. No file within the bounds may take longer."""

_PATIENCE: Final = 60
"""Seconds of the processor after which a file is given up, with its process."""


def main() -> int:
    """Runs the shards that are missing and sums up all."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=SHARD, help=f"how many, in shards of {SHARD:,}")
    parser.add_argument("--folder", type=Path, default=Path("fuzz"), help="where shards and faults are kept")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument(
        "--readers", nargs="+", default=[], help="only these; by name, as the figures have them"
    )
    parser.add_argument("--shard", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--start", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.shard is not None:
        run_shard(options.shard, options.start, options.folder, options.readers)
        return 0
    count = -(-options.inputs // SHARD)
    shards = [_whole_shard(number, options.folder, options.readers) for number in range(count)]
    if options.readers and options.json and options.json.is_file():
        shards.append(_of_others(read_json(options.json), options.readers))
    figures = summed(shards)
    write_record(figures, options.json)
    return int(bool(figures["faults"]))


def _of_others(figures: dict[str, Any], readers: Sequence[str]) -> dict[str, Any]:
    """Figures of an earlier run without those of some readers."""
    targets = {name: found for name, found in figures["targets"].items() if name not in readers}
    faults = [fault for fault in figures["faults"] if fault["target"] not in readers]
    return figures | {"targets": targets, "faults": faults}


def _whole_shard(number: int, folder: Path, readers: Sequence[str]) -> dict[str, Any]:
    """Runs a shard to its end, past inputs that take the process with them; or reads what it found before."""
    kept = folder / f"{number:05}.json"
    if not kept.is_file():
        parts, faults, start = [], [], 0
        while start < SHARD:
            command = [sys.executable, "-m", "tools.fuzz", "--shard", str(number), "--start", str(start)]
            command += ["--folder", str(folder), *(["--readers", *readers] if readers else [])]
            run = subprocess.run(command, stdout=subprocess.PIPE, check=False)
            at = folder / f"{number:05}.at"
            if run.returncode == 0:
                parts.append(json.loads(run.stdout))
                break
            if -run.returncode in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT):
                raise SystemExit("stopped from outside; the same call goes on with this shard")
            start = int(at.read_text()) + 1
            target, data = make_input(number, start - 1, readers)
            faults.append(
                _keep(folder, data, target.name, (number, start - 1), f"the process ended: {run.returncode}")
            )
            parts.append(json.loads((folder / f"{number:05}.part").read_text()))
        found = summed([*parts, {"targets": {}, "faults": faults}])
        kept.write_text(json.dumps(found), encoding="utf-8")
        for rest in (".at", ".part"):
            (folder / f"{number:05}{rest}").unlink(missing_ok=True)
        print(f"shard {number}: {len(found['faults'])} faults", file=sys.stderr)
    shard: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    return shard


def make_input(shard: int, index: int, readers: Sequence[str]) -> tuple[Target, bytes]:
    """The input of this number: which reader it is for, and the file."""
    random = Random(f"{shard}:{index}")
    everything = [target for target in targets() if not readers or target.name in readers]
    limits = list(accumulate(target.share for target in everything))
    drawn = random.random() * limits[-1]
    target = next(target for target, limit in zip(everything, limits, strict=True) if drawn < limit)
    return target, target.make(random)


def run_shard(number: int, start: int, folder: Path, readers: Sequence[str]) -> None:
    """Reads the inputs of a shard from one on, and prints what came of it as JSON."""
    os.nice(10)
    warnings.simplefilter("ignore")
    logging.disable()
    found: dict[str, Any] = {"targets": {}, "faults": []}
    at, part = (folder / f"{number:05}.at").open("wb"), folder / f"{number:05}.part"
    for index in range(start, SHARD):
        target, data = make_input(number, index, readers)
        if index % 100 == start % 100:
            write_atomically(part, json.dumps(found))
        os.pwrite(at.fileno(), b"%8d" % index, 0)
        signal.setitimer(signal.ITIMER_PROF, _PATIENCE)
        signal.alarm(10 * _PATIENCE)
        began = time.process_time()
        fault, came_of_it = None, "accepted"
        try:
            came_of_it = "accepted" if target.survives(data) else "refused"
        except Exception as error:
            fault = f"{type(error).__name__}: {str(error)[:200]}"
        seconds = time.process_time() - began
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        if fault is None and seconds > SLOW:
            fault = f"it took {seconds:.1f} seconds"
        if fault is not None:
            came_of_it = "faults"
            found["faults"].append(_keep(folder, data, target.name, (number, index), fault))
        figures = found["targets"].setdefault(target.name, {"inputs": 0, "slowest_seconds": 0.0})
        figures["inputs"] += 1
        figures[came_of_it] = figures.get(came_of_it, 0) + 1
        figures["slowest_seconds"] = max(figures["slowest_seconds"], round(seconds, 3))
    found["peak_memory_mb"] = peak_memory_mb()
    print(json.dumps(found))


def _keep(folder: Path, data: bytes, target: str, number: tuple[int, int], fault: str) -> dict[str, Any]:
    shard, index = number
    (folder / f"fault-{shard}-{index}").write_bytes(data)
    return {"target": target, "shard": shard, "index": index, "fault": fault, "bytes": len(data)}


def summed(shards: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums the figures of shards up."""
    total: dict[str, Any] = {
        "bounds": {"file_bytes": MAX_BYTES, "stated_pixels": MAX_PIXELS, "seconds": SLOW},
        "shard": SHARD,
        "inputs": 0,
        "peak_memory_mb": max((shard.get("peak_memory_mb", 0) for shard in shards), default=0),
        "targets": {},
        "faults": [fault for shard in shards for fault in shard["faults"]],
    }
    for shard in shards:
        for name, figures in shard["targets"].items():
            before = total["targets"].setdefault(name, Counter())
            slowest = max(before.pop("slowest_seconds", 0), figures["slowest_seconds"])
            before.update({key: value for key, value in figures.items() if key != "slowest_seconds"})
            before["slowest_seconds"] = slowest
            total["inputs"] += figures["inputs"]
    return total


if __name__ == "__main__":
    sys.exit(main())
