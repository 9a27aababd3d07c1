"""Measures `predict --parquet`: what it costs beside the bare predictor, memory over many photos, and Ray.

    python -m tools.bench_bulk --photos 400 --ray --json docs/measurements/bulk.json

The photos are made of the built-in example, 640 pixels wide. Bare predictor (`Predictor.predict` of many,
side by side) and the local engine take turns on the same photos, so that a busy machine is busy for both;
processor time is what is compared, and each ratio is a median of the turns. Memory is what this process
holds after each turn. With ``--ray`` the same photos also go through Ray clusters of this machine, of more
and more workers; the time to the first part, in which a worker loads the model, counts separately.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from agegender import Predictor
from agegender.batch import cores
from agegender.bulk.local import predict_local
from agegender.bulk.part import Origin
from agegender.bulk.table import open_folder
from agegender.models.card import fingerprint
from tools import bench_folder
from tools.records import write_record

WIDTH = 640
TURN = 40
"""Photos a turn."""


def measure(paths: list[Path], folder: Path) -> dict[str, Any]:
    """Predicts all photos both ways, turn by turn."""
    predictor = Predictor()
    origin = Origin(predictor.model, fingerprint(predictor.card))
    list(predictor.predict(paths[:8]))
    cpu: dict[str, list[float]] = {"bare": [], "local": []}
    wall: dict[str, list[float]] = {"bare": [], "local": []}
    memory = []
    with open_folder(folder, origin) as parts:

        def bare(part: list[Path]) -> None:
            faces = sum(len(result.faces) for result in predictor.predict(part))
            assert faces

        def local(part: list[Path]) -> None:
            predict_local(list(map(str, part)), predictor, parts, lambda _totals, _failures: None)

        for start in range(0, len(paths), TURN):
            part = paths[start : start + TURN]
            ways = {"bare": bare, "local": local}
            for name in list(ways)[:: 1 if start // TURN % 2 else -1]:
                began, cpu_began = time.perf_counter(), time.process_time()
                ways[name](part)
                wall[name].append((time.perf_counter() - began) / len(part))
                cpu[name].append((time.process_time() - cpu_began) / len(part))
            memory.append(round(bench_folder.resident_mb(), 1))
        faces = parts.totals.faces
    ratios = [local / bare for local, bare in zip(cpu["local"], cpu["bare"], strict=True)]
    return {
        "photos": len(paths),
        "faces": faces,
        "turns": len(ratios),
        "cpu_ms_a_photo": {name: bench_folder.ms(values) for name, values in cpu.items()},
        "wall_ms_a_photo": {name: bench_folder.ms(values) for name, values in wall.items()},
        "overhead": round(median(ratios) - 1, 4),
        "memory_mb": {"first_turn": memory[0], "median": median(memory), "last_turn": memory[-1]},
    }


def measure_ray(paths: list[Path], folder: Path) -> list[dict[str, Any]]:
    """The command with Ray, as somebody would call it, on clusters of one, two, … workers of a core each."""
    from ray.cluster_utils import Cluster

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    photos = folder.with_name("list.txt")
    photos.write_text("\n".join(map(str, paths)), encoding="utf-8")
    command = [sys.executable, "-m", "agegender", "predict", "--list", str(photos), "--quiet"]
    found = []
    for workers in range(1, cores() + 1):
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        try:
            for _ in range(workers - 1):
                cluster.add_node(num_cpus=1)
            answers = folder / str(workers)
            engine = ["--engine", "ray", "--address", cluster.address, "--parquet", str(answers)]
            began = time.time()
            subprocess.run([*command, *engine], check=True, stderr=subprocess.DEVNULL)
            whole = time.time() - began
        finally:
            cluster.shutdown()
        written = sorted(part.stat().st_mtime for part in answers.glob("part-*"))
        photos_after_first = len(paths) * (len(written) - 1) / len(written)
        found.append(
            {
                "workers": workers,
                "seconds": round(whole, 1),
                "seconds_to_first_part": round(written[0] - began, 1),
                "photos_a_second_then": round(photos_after_first / (written[-1] - written[0]), 2),
            }
        )
    return found


def main() -> int:
    """Makes the photos, measures, writes."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench_bulk", description=__doc__)
    parser.add_argument("--photos", type=int, default=400)
    parser.add_argument("--ray", action="store_true", help="measure Ray clusters of this machine, too")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    bench_folder.WIDTH = WIDTH
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as place:
        paths = bench_folder.make_photos(options.photos, Path(place))
        local = measure(paths, Path(place) / "local")
        distributed = measure_ray(paths, Path(place) / "ray") if options.ray else None
    report = {
        "photo_width": WIDTH,
        "cores": cores(),
        "load_before": round(load, 1),
        "local": local,
        "ray": distributed,
    }
    write_record(report, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
