"""Measures what `FaceDetector` finds, and how long it takes, as a function of its `max_side`.

    python -m tools.bench_detection --data DIR [--photos 12] [--json docs/measurements/detection.json]

The photos are made up: UTKFace chips, blended into pictures from scikit-image that show no face. Every photo
has faces of all sizes of SHARES, so that recall can be told by size. The time is processor time, summed over
cores, of one photo: it can be compared even if the machine has other work to do.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray

from agegender.faces import Face, FaceDetector
from agegender.images import read_image

LONG_SIDES = (1920, 4000)
MAX_SIDES = (480, 640, 960, 1280, 1600, 1920)
SHARES = (1 / 100, 1 / 80, 1 / 64, 1 / 48, 1 / 32, 1 / 16, 1 / 8)
"""Heights of faces, as a share of the photo's long side."""

CONFIDENCES = (0.8, 0.85, 0.9, 0.95)
FACE_HEIGHT_ON_CHIP = 213
"""Height of MTCNN's box on a 200 px chip (median): foreheads reach out of it."""

COLUMNS, ROWS = 4, 3
SEED = 20


@dataclass(frozen=True)
class Planted:
    """A face that was put into a photo: its centre, in pixels, and its height as an index into SHARES."""

    x: float
    y: float
    height: float
    share: int


def main() -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of UTKFace's *.jpg chips")
    parser.add_argument("--photos", type=int, default=12, help="photos a size")
    parser.add_argument("--json", type=Path, default=Path("docs/measurements/detection.json"))
    options = parser.parse_args()
    files = sorted(options.data.glob("*.jpg"))
    if not files:
        print(f"no *.jpg files in {options.data}", file=sys.stderr)
        return 2
    result = {
        "ai-edge-litert": version("ai-edge-litert"),
        "photos": options.photos,
        "faces_per_photo": COLUMNS * ROWS,
        "rows": [
            measure(files, long_side, max_side, options.photos)
            for long_side in LONG_SIDES
            for max_side in MAX_SIDES
        ],
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


def measure(files: list[Path], long_side: int, max_side: int, photos: int) -> dict[str, object]:
    """Runs one detector over all photos of one size, and returns a row of the JSON file."""
    detector = FaceDetector(max_side=max_side)
    random = np.random.default_rng(SEED)
    hits = np.zeros((len(CONFIDENCES), len(SHARES)), int)
    planted_count = np.zeros(len(SHARES), int)
    false = np.zeros(len(CONFIDENCES), int)
    processor: list[float] = []
    for number in range(photos + 1):
        photo, planted = compose(files, long_side, number, random)
        started = time.process_time()
        faces = detector.detect(photo, min_confidence=min(CONFIDENCES))
        if number == 0:
            continue  # the first one loads and compiles the nets
        processor.append(time.process_time() - started)
        for spot in planted:
            planted_count[spot.share] += 1
        for level, limit in enumerate(CONFIDENCES):
            sure = [face for face in faces if face.confidence >= limit]
            for spot in planted:
                hits[level, spot.share] += any(shows(face, spot) for face in sure)
            false[level] += sum(not any(shows(face, spot) for spot in planted) for face in sure)
    row: dict[str, object] = {
        "long_side": long_side,
        "max_side": max_side,
        "ms_processor": round(1000 * float(np.median(processor))),
        "by_confidence": {
            str(limit): {
                "recall_by_share": {
                    f"1/{round(1 / share)}": round(float(hits[level, index] / planted_count[index]), 3)
                    for index, share in enumerate(SHARES)
                },
                "false_faces_per_photo": round(float(false[level] / photos), 3),
            }
            for level, limit in enumerate(CONFIDENCES)
        },
    }
    print(json.dumps(row), flush=True)
    return row


def shows(face: Face, spot: Planted) -> bool:
    """Whether a detected face is the planted one: near it, and between half and twice as high."""
    x1, y1, x2, y2 = face.box
    away = np.hypot((x1 + x2) / 2 - spot.x, (y1 + y2) / 2 - spot.y)
    return bool(away < spot.height / 3 and 0.5 < (y2 - y1) / spot.height < 2)


def compose(
    files: list[Path], long_side: int, number: int, random: np.random.Generator
) -> tuple[NDArray[np.uint8], list[Planted]]:
    """Makes a photo with a face in each cell of a grid, at a random place in it.

    Returns:
        RGB, uint8, shape (2/3 of long_side, long_side, 3), and what was planted in it.
    """
    makers = (
        skimage.data.coffee,
        skimage.data.rocket,
        skimage.data.chelsea,
        skimage.data.immunohistochemistry,
    )
    height = long_side * 2 // 3
    photo = cv2.resize(
        makers[number % len(makers)](), (long_side, height), interpolation=cv2.INTER_CUBIC
    ).astype(np.float32)
    planted = []
    for cell in range(COLUMNS * ROWS):
        share = int((cell + number) % len(SHARES))
        tall = SHARES[share] * long_side
        side = round(tall * 200 / FACE_HEIGHT_ON_CHIP)
        chip = read_image(files[random.integers(len(files))])
        interpolation = cv2.INTER_AREA if side < chip.shape[0] else cv2.INTER_CUBIC
        small = cv2.resize(chip, (side, side), interpolation=interpolation)
        column, row = cell % COLUMNS, cell // COLUMNS
        x = int(column * long_side / COLUMNS + random.uniform(0, long_side / COLUMNS - side))
        y = int(row * height / ROWS + random.uniform(0, height / ROWS - side))
        # An edge that fades over a tenth of the chip, so that no hard square says where to look.
        ramp = np.clip(np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5) / (0.1 * side), 0, 1)
        alpha = np.minimum.outer(ramp, ramp)[..., None]
        photo[y : y + side, x : x + side] += alpha * (small - photo[y : y + side, x : x + side])
        planted.append(Planted(x + side / 2, y + side / 2 - 0.07 * side, tall, share))
    return np.clip(photo, 0, 255).astype(np.uint8), planted


if __name__ == "__main__":
    sys.exit(main())
