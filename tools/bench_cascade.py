"""Measures the cascade against the package whose networks it runs, on the same views of the same pictures.

    python -m tools.bench_cascade [--repeats 15] [--json docs/measurements/cascade.json]

Three ways to run MTCNN take turns behind one `FaceDetector`: the `mtcnn` package as it comes, the package
with each of its networks compiled by `tf.function` (what this project did before it had a cascade of its
own), and the cascade. The pictures are the built-in example at several sizes and chips around its faces.
Times are medians: of the clock, and of the processor summed over cores, which tells more where the machine
has other work to do.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agegender.assets import EXAMPLE
from agegender.commands.bench import describe_machine, scaled
from agegender.faces import FaceDetector
from agegender.faces.cascade import Cascade, Detections
from agegender.faces.pyramid import Pyramid
from agegender.images import read_image
from agegender.runtime import prepare_tensorflow

SIDES = (1920, 1280, 640)
CHIP = 224
CHIPS = 32


class Package:
    """The `mtcnn` package, in the place of `Cascade`."""

    def __init__(self, *, compiled: bool) -> None:
        import tensorflow as tf
        from mtcnn import MTCNN

        self.mtcnn = MTCNN()
        if compiled:
            for stage, side in zip(self.mtcnn.stages, (None, 24, 48), strict=True):
                signature = [tf.TensorSpec([None, side, side, 3], tf.float32)]
                stage._model = tf.function(stage.model, input_signature=signature)

    def detect(self, pictures: Sequence[Pyramid], min_confidence: float) -> list[Detections]:
        """As `Cascade.detect`; pictures of one size go through the package together."""
        by_size: dict[tuple[int, int], list[int]] = {}
        for index, picture in enumerate(pictures):
            by_size.setdefault(picture.size, []).append(index)
        found: dict[int, Detections] = {}
        for indices in by_size.values():
            rows = self.mtcnn.detect_faces(
                [pictures[index].pixels for index in indices],
                fit_to_image=False,
                box_format="xyxy",
                output_type="numpy",
                threshold_onet=min_confidence,
            )
            for position, index in enumerate(indices):
                own = rows[rows[:, 0] == position]
                landmarks = np.stack([own[:, 6:11], own[:, 11:16]], axis=2)
                found[index] = Detections(own[:, 1:5], own[:, 5], landmarks)
        return [found[index] for index in range(len(pictures))]


def main() -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", type=Path, default=Path("docs/measurements/cascade.json"))
    options = parser.parse_args()

    prepare_tensorflow()
    ways: dict[str, Any] = {
        "package": Package(compiled=False),
        "package, compiled": Package(compiled=True),
        "cascade": Cascade(),
    }
    detectors = {name: FaceDetector() for name in ways}
    for name, way in ways.items():
        detectors[name]._cascade = way
    photo = read_image(EXAMPLE)
    chips = [cut(photo, face.box) for face in detectors["cascade"].detect(photo)]
    inputs = {f"photo, {side} px": [scaled(photo, side)] for side in SIDES}
    inputs[f"chip, {CHIP} px"] = chips[:1]
    inputs[f"{CHIPS} chips, {CHIP} px"] = [chips[index % len(chips)] for index in range(CHIPS)]

    result = {
        "machine": describe_machine(),
        "versions": {name: version(name) for name in ("ai-edge-litert", "mtcnn", "tensorflow", "numpy")},
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS"),
        "repeats": options.repeats,
        "rows": [measure(name, pictures, detectors, options.repeats) for name, pictures in inputs.items()],
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


def measure(
    name: str, pictures: list[NDArray[np.uint8]], detectors: dict[str, FaceDetector], repeats: int
) -> dict[str, Any]:
    """Times all ways on the same pictures, in turns; returns a row of the JSON file."""
    clock: dict[str, list[float]] = {way: [] for way in detectors}
    processor: dict[str, list[float]] = {way: [] for way in detectors}
    faces = {way: sum(map(len, detector.detect_many(pictures))) for way, detector in detectors.items()}
    for _ in range(repeats):
        for way, detector in detectors.items():
            began, worked = time.perf_counter(), time.process_time()
            detector.detect_many(pictures)
            processor[way].append(time.process_time() - worked)
            clock[way].append(time.perf_counter() - began)
    per_picture = 1000 / len(pictures)
    row: dict[str, Any] = {"input": name, "faces": faces}
    for key, times in (("ms", clock), ("ms_processor", processor)):
        middle = {way: median(values) * per_picture for way, values in times.items()}
        row[key] = {way: round(value, 2) for way, value in middle.items()}
        row[f"times_faster_{key}"] = {
            way: round(value / middle["cascade"], 2) for way, value in middle.items() if way != "cascade"
        }
    print(json.dumps(row), flush=True)
    return row


def cut(photo: NDArray[np.uint8], box: tuple[float, float, float, float]) -> NDArray[np.uint8]:
    """Cuts out the square around a face that is half as large again as its box, at the side of a chip."""
    centre, half = (box[0] + box[2]) / 2, 0.75 * max(box[2] - box[0], box[3] - box[1])
    top, left = max(0, int((box[1] + box[3]) / 2 - half)), max(0, int(centre - half))
    return scaled(np.ascontiguousarray(photo[top : top + int(2 * half), left : left + int(2 * half)]), CHIP)


if __name__ == "__main__":
    sys.exit(main())
