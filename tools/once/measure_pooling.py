"""Measures what pooling is worth, and how errors grow with small and blurred faces.

    python -m tools.once.measure_pooling --data UTKFACE --json docs/measurements/pooling.json

There are no labelled videos, so clips are made of UTKFace's test chips: of each chip a few seconds in which
it moves, turns, gets smaller, darker and blurred by chance, smoothly over time. So this measures what frames
differ in by how they were taken; what a face looks older or younger by in all of its frames stays, as in a
video.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from agegender import Predictor
from agegender.data.table import read_dataset
from agegender.evaluation.evaluate import select_rows
from agegender.faces import Chip, Face
from agegender.faces.condition import condition_warnings, sharpness
from agegender.files import paths_below
from agegender.images import read_image
from agegender.prediction import AgeEstimate, Answer
from agegender.video.pooling import CORRELATION_SECONDS, Pool, chip_quality
from tools.records import write_record

Pixels = NDArray[np.uint8]

FRAMES: Final = 15
STEP: Final = 0.4
SEED: Final = 15


def main() -> int:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="UTKFace")
    parser.add_argument("--limit", type=int, default=500, help="so many chips of the test split")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    table = read_dataset([str(options.data)])
    rows = select_rows(table, split="test", limit=options.limit)
    chips = [read_image(path) for path in paths_below(table.folder, rows["file"])]
    ages, predictor = rows["age"].to_numpy(float), Predictor()
    report = {
        "model": predictor.model,
        "n": len(chips),
        "mean_square_error_by_size": {
            str(side): round(_error(predictor, [_small(chip, side) for chip in chips], ages), 2)
            for side in (200, 120, 80, 60, 40, 30, 20)
        },
        "mean_square_error_by_blur": {
            str(sigma): {
                "error": round(_error(predictor, blurred, ages), 2),
                "median_sharpness": round(float(np.median([_sharpness(chip) for chip in blurred])), 1),
            }
            for sigma in (1, 2, 3, 4, 6)
            for blurred in [[_blurred(chip, sigma) for chip in chips]]
        },
        "clips": _clips(predictor, chips, ages),
    }
    write_record(report, options.json)
    return 0


def _clips(predictor: Predictor, chips: list[Pixels], ages: NDArray[np.float64]) -> dict[str, Any]:
    rng = np.random.default_rng(SEED)
    single, plain, pooled, held, held_single, widths, widths_single, worth = ([] for _ in range(8))
    for chip, age in zip(tqdm(chips, disable=None), ages, strict=True):
        frames, sides = _film(chip, rng)
        answers = predictor.predict_chips(np.stack(frames))
        pool = Pool()
        for index, (frame, side, answer) in enumerate(zip(frames, sides, answers, strict=True)):
            face = Face((0.0, 0.0, side, side), 1.0, ((0.0, 0.0),) * 5)
            pool.add(STEP * index, answer, chip_quality(face, Chip(frame, condition_warnings(frame))))
        frame_ages, final = [_age(answer) for answer in answers], _age(pool.answer())
        years = np.array([one.years for one in frame_ages])
        single.append(np.abs(years - age).mean())
        plain.append(abs(years.mean() - age))
        pooled.append(abs(final.years - age))
        held.append(final.low <= age <= final.high)
        held_single.append(np.mean([one.low <= age <= one.high for one in frame_ages]))
        widths.append(final.high - final.low)
        widths_single.append(np.mean([one.high - one.low for one in frame_ages]))
        worth.append(pool.worth)
    return {
        "frames": FRAMES,
        "seconds": round(FRAMES * STEP, 1),
        "correlation_seconds": CORRELATION_SECONDS,
        "worth_of_all_frames": round(float(np.mean(worth)), 2),
        "mean_absolute_error": {
            "one frame": round(float(np.mean(single)), 3),
            "mean of all frames": round(float(np.mean(plain)), 3),
            "pooled": round(float(np.mean(pooled)), 3),
        },
        "label_in_the_interval": {
            "one frame": round(float(np.mean(held_single)), 4),
            "pooled": round(float(np.mean(held)), 4),
        },
        "width_of_the_interval": {
            "one frame": round(float(np.mean(widths_single)), 2),
            "pooled": round(float(np.mean(widths)), 2),
        },
    }


def _film(chip: Pixels, rng: np.random.Generator) -> tuple[list[Pixels], list[float]]:
    """Frames of a chip, and how many pixels wide each face was."""
    keep = np.exp(-STEP / CORRELATION_SECONDS)
    noise = rng.normal(size=(FRAMES, 6))
    for index in range(1, FRAMES):
        noise[index] = keep * noise[index - 1] + np.sqrt(1 - keep**2) * noise[index]
    frames, sides = [], []
    for turn, zoom, x, y, light, focus in noise:
        move = cv2.getRotationMatrix2D((100, 100), 8 * turn, float(np.exp(0.05 * zoom)))
        move[:, 2] += 4 * x, 4 * y
        frame = cv2.warpAffine(chip, move, (200, 200), borderMode=cv2.BORDER_REFLECT)
        side = float(np.clip(60 * np.exp(0.6 * zoom - 0.3 * focus), 16, 200))
        frame = _blurred(_small(np.asarray(frame, np.uint8), round(side)), max(0.0, 1.5 * focus))
        frames.append(np.clip(frame * np.exp(0.35 * light), 0, 255).astype(np.uint8))
        sides.append(side)
    return frames, sides


def _error(predictor: Predictor, chips: list[Pixels], ages: NDArray[np.float64]) -> float:
    years = [_age(answer).years for answer in predictor.predict_chips(np.stack(chips))]
    return float(np.mean((np.array(years) - ages) ** 2))


def _age(answer: Answer) -> AgeEstimate:
    age, _ = answer
    assert age is not None  # the default model says it
    return age


def _small(chip: Pixels, side: int) -> Pixels:
    if side >= 200:
        return chip
    small = cv2.resize(chip, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (200, 200), interpolation=cv2.INTER_CUBIC), np.uint8)


def _blurred(chip: Pixels, sigma: float) -> Pixels:
    return chip if sigma <= 0 else np.asarray(cv2.GaussianBlur(chip, (0, 0), sigma), np.uint8)


def _sharpness(chip: Pixels) -> float:
    return sharpness(np.asarray(cv2.cvtColor(chip, cv2.COLOR_RGB2GRAY), np.uint8))


if __name__ == "__main__":
    sys.exit(main())
