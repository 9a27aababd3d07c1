"""Measures how often chips are called blurred, dark or drawn: good ones, corrupted ones, and drawn faces.

python -m tools.once.measure_conditions --data UTKFACE --fairface DIR --json docs/measurements/conditions.json
"""

from __future__ import annotations

import argparse
import io
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from agegender.data.table import read_dataset
from agegender.evaluation.evaluate import select_rows
from agegender.faces import FaceDetector, crop_face
from agegender.faces.condition import CONDITION_WARNINGS, condition_warnings
from agegender.files import paths_below
from agegender.images import read_image
from tools.records import write_record

Chip = NDArray[np.uint8]
SOME = 600
DRAWN = 200
"""Drawn faces that the detector takes for real ones."""


def main() -> int:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="UTKFace")
    parser.add_argument("--fairface", type=Path, required=True, help="FairFace with its labels.csv")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    utkface = read_dataset([str(options.data)])
    test = select_rows(utkface, split="test", limit=None)
    chips = [read_image(path) for path in paths_below(utkface.folder, test["file"])]
    fairface = read_dataset([str(options.fairface)])
    dev = select_rows(fairface, split="dev", limit=None)
    others = [read_image(path)[12:212, 12:212] for path in paths_below(fairface.folder, dev["file"])]
    report: dict[str, Any] = {"UTKFace, test": share(chips), "FairFace, dev": share(others)}
    for sigma in (1, 2, 3, 4, 5, 6, 8):
        blurred = (np.asarray(cv2.GaussianBlur(chip, (0, 0), sigma), np.uint8) for chip in chips[:SOME])
        report[f"UTKFace, blurred with a σ of {sigma} px"] = share(blurred)
    changes: dict[str, Callable[[Chip], Chip]] = {
        "a source of 80 px": lambda chip: resized(resized(chip, 80), 200),
        "brightness × 0.15": lambda chip: scaled(chip, 0.15),
        "brightness × 2.5": lambda chip: scaled(chip, 2.5),
        "contrast × 3": lambda chip: np.clip((chip.astype(int) - 128) * 3 + 128, 0, 255).astype(np.uint8),
        "JPEG quality 15": lambda chip: compressed(chip, 15),
        "JPEG quality 8": lambda chip: compressed(chip, 8),
    }
    for name, change in changes.items():
        report[f"UTKFace, {name}"] = share(map(change, chips[:SOME]))
    report["drawn faces that were found"] = share(drawn_chips(DRAWN))
    write_record({"chips": report}, options.json)
    return 0


def share(chips: Iterable[Chip]) -> dict[str, float]:
    """How many chips there are, and the share of each warning."""
    counts: Counter[str] = Counter()
    n = 0
    for chip in chips:
        n += 1
        counts.update(condition_warnings(chip))
    return {"n": n, **{word: round(counts[word] / n, 4) for word in CONDITION_WARNINGS}}


def resized(chip: Chip, side: int) -> Chip:
    """Scales a chip, averaging where it shrinks."""
    way = cv2.INTER_AREA if side < chip.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(chip, (side, side), interpolation=way), np.uint8)


def scaled(chip: Chip, by: float) -> Chip:
    """Changes the brightness."""
    return np.clip(chip * by, 0, 255).astype(np.uint8)


def compressed(chip: Chip, quality: int) -> Chip:
    """Sends a chip through JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(chip).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer), np.uint8)


def drawn_chips(count: int) -> Iterable[Chip]:
    """Draws faces until so many were found, at any size and as PNG or JPEG, and crops them."""
    random, detector = Random(11), FaceDetector()
    while count > 0:
        picture = np.asarray(draw_face(random, random.choice((200, 300, 400, 600))), np.uint8)
        quality = random.choice((None, 90, 75, 50))
        picture = picture if quality is None else compressed(picture, quality)
        for face in detector.detect(picture)[:count]:
            count -= 1
            yield crop_face(picture, face).pixels


def draw_face(random: Random, side: int) -> Image.Image:
    """Draws a face of plain shapes: skin, hair, eyes, nose and mouth, each in a few variants."""

    def dark(most: int) -> tuple[int, ...]:
        return tuple(random.randrange(most) for _ in range(3))

    skins = [
        (255, 220, 60),
        (250, 210, 180),
        (240, 190, 150),
        (200, 150, 110),
        (120, 80, 50),
        (255, 255, 255),
    ]
    picture, skin, line = (
        Image.new("RGB", (side, side), dark(256)),
        random.choice(skins),
        random.choice((0, 2, 4, 8)),
    )
    draw, middle, across = ImageDraw.Draw(picture), side / 2, side * random.uniform(0.25, 0.42)
    down = across * random.uniform(1, 1.3)

    def oval(x: float, y: float, wide: float, high: float, **how: Any) -> None:
        draw.ellipse((middle + x - wide, middle + y - high, middle + x + wide, middle + y + high), **how)

    if random.random() < 0.5:
        oval(0, -0.3 * down, 1.1 * across, 0.95 * down, fill=dark(120))
    oval(0, 0, across, down, fill=skin, outline="black" if line else None, width=line)
    x, y, size = (
        across * random.uniform(0.3, 0.45),
        -down * random.uniform(0.15, 0.35),
        across * random.uniform(0.06, 0.2),
    )
    whites, brows = random.random() < 0.6, random.random() < 0.6
    for eye in (-x, x):
        if whites:
            oval(eye, y, 1.4 * size, size, fill="white", outline="black", width=max(1, line // 2))
        oval(eye, y, 0.7 * size, 0.8 * size, fill=dark(90))
        if brows:
            at = (
                middle + eye - 1.6 * size,
                middle + y - 2 * size,
                middle + eye + 1.6 * size,
                middle + y - 2.2 * size,
            )
            draw.line(at, fill=dark(60), width=max(2, int(size / 2)))
    if random.random() < 0.7:
        nose = [(0, -0.1 * down), (-0.12 * across, 0.2 * down), (0.12 * across, 0.2 * down)]
        shade = tuple(int(0.8 * value) for value in skin)
        draw.polygon([(middle + a, middle + b) for a, b in nose], fill=shade)
    wide, mouth = across * random.uniform(0.3, 0.6), middle + down * random.uniform(0.35, 0.5)
    box = (middle - wide, mouth - wide / 2, middle + wide, mouth + wide / 2)
    if random.random() < 0.5:
        draw.arc(box, 20, 160, fill=(150, 20, 20), width=max(3, int(0.06 * across)))
    else:
        draw.chord(box, 0, 180, fill=(170, 40, 40))
    return picture


if __name__ == "__main__":
    sys.exit(main())
