"""Measures where MTCNN finds the five landmarks on UTKFace's chips, and how well re-cropping returns a chip.

    python -m tools.once.measure_landmarks --data DIR [--every 8] [--json docs/measurements/landmarks.json]

`CHIP_LANDMARKS` in `agegender/faces/crop.py` is the `template` this prints, rounded to a tenth of a pixel.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from agegender.faces import CHIP_SIZE, Face, FaceDetector, crop_face, main_face, pad_chip
from agegender.faces.crop import LANDMARK_WEIGHTS, NODDING, TURNED, fit_face
from agegender.images import read_image

POINTS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
CONFIDENCES = (0.8, 0.85, 0.9, 0.95)
READ_AT_ONCE = 32


def main() -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of UTKFace's *.jpg chips")
    parser.add_argument("--every", type=int, default=8, help="take every n-th file in sorted order")
    parser.add_argument("--json", type=Path, default=Path("docs/measurements/landmarks.json"))
    options = parser.parse_args()
    files = sorted(options.data.glob("*.jpg"))[:: options.every]
    if not files:
        print(f"no *.jpg files in {options.data}", file=sys.stderr)
        return 2
    result = measure(files)
    result["sample"] = f"every {options.every}th file in sorted order"
    options.json.parent.mkdir(parents=True, exist_ok=True)
    text = re.sub(
        r"\[\s+([-\d.]+),\s+([-\d.]+)\s+\]", r"[\1, \2]", json.dumps(result, indent=2)
    )  # a point a line
    options.json.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


def measure(files: list[Path]) -> dict[str, object]:
    """Detects and re-crops every chip, and returns the figures for the JSON file."""
    detector = FaceDetector()
    landmarks: list[NDArray[np.float64]] = []
    confidences: list[float] = []
    several = 0
    fits: list[tuple[float, float, float, float, float]] = []
    difference: list[float] = []
    pose_warnings = 0
    # A landmark's place on the chip is its place on the padded chip, less the frame.
    frame = (pad_chip(np.zeros((CHIP_SIZE, CHIP_SIZE, 3), np.uint8)).shape[0] - CHIP_SIZE) / 2
    for start in range(0, len(files), READ_AT_ONCE):
        chips = [read_image(path) for path in files[start : start + READ_AT_ONCE]]
        padded = [pad_chip(chip) for chip in chips]
        for chip, room, faces in zip(
            chips, padded, detector.detect_many(padded, min_confidence=min(CONFIDENCES)), strict=True
        ):
            face = main_face(faces, room.shape)
            confidences.append(face.confidence if face else 0.0)
            if face is None or face.confidence < 0.9:
                continue
            several += len([other for other in faces if other.confidence >= 0.9]) > 1
            landmarks.append(np.array(face.landmarks) - frame)
            fits.append(deviation(face, frame))
            again = crop_face(room, face)
            pose_warnings += bool({TURNED, NODDING} & set(again.warnings))
            core = slice(CHIP_SIZE // 8, -CHIP_SIZE // 8)
            difference.append(float(cv2.absdiff(again.pixels[core, core], chip[core, core]).mean()))
        print(
            f"\r{min(start + READ_AT_ONCE, len(files))} of {len(files)}", end="", file=sys.stderr, flush=True
        )
    print(file=sys.stderr)

    found = np.array(landmarks)
    scale, angle, shift_x, shift_y, apart = np.array(fits).T
    sure = np.array(confidences)
    return {
        "ai-edge-litert": version("ai-edge-litert"),
        "n": len(files),
        "n_found": len(found),
        "found_share_by_confidence": {
            str(limit): round(float((sure >= limit).mean()), 4) for limit in CONFIDENCES
        },
        "several_faces": several,
        "points": list(POINTS),
        "mean": rounded(found.mean(axis=0)),
        "median": rounded(np.median(found, axis=0)),
        "sd": rounded(found.std(axis=0)),
        "template": rounded(template(found)),
        "recrop": {
            "scale": {"median": rounded(np.median(scale), 4), "sd": rounded(scale.std(), 4)},
            "angle_degrees": {"median": rounded(np.median(angle)), "sd": rounded(angle.std())},
            "shift_x": {"median": rounded(np.median(shift_x)), "sd": rounded(shift_x.std())},
            "shift_y": {"median": rounded(np.median(shift_y)), "sd": rounded(shift_y.std())},
            "displacement": {
                "mean": rounded(apart.mean()),
                "median": rounded(np.median(apart)),
                "p95": rounded(np.percentile(apart, 95)),
            },
            "mean_absolute_pixel_difference": rounded(np.mean(difference)),
            "pose_warning_share": rounded(pose_warnings / len(found), 4),
        },
    }


def template(found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Medians of the landmarks, spread about their centre until the median chip is re-cropped at scale 1.

    Args:
        found: Landmarks, shape (n, 5, 2).

    Returns:
        Shape (5, 2).
    """

    def spread(points: NDArray[np.float64]) -> NDArray[np.float64]:
        centre = np.tensordot(points, LANDMARK_WEIGHTS, axes=(-2, 0))
        return np.sqrt(((points - centre[..., None, :]) ** 2).sum(-1) @ LANDMARK_WEIGHTS)

    middle = np.median(found, axis=0)
    centre = LANDMARK_WEIGHTS @ middle
    return centre + (middle - centre) * np.median(spread(found)) / spread(middle)


def deviation(face: Face, frame: float) -> tuple[float, float, float, float, float]:
    """How far a re-crop is from returning the chip itself.

    Returns:
        Scale; angle in degrees; shift of the chip's centre in x and y, and mean displacement of four points
        at 60 px to the sides of and above and below the centre, in pixels of the chip.
    """
    fit = fit_face(face)
    middle = CHIP_SIZE / 2 * (1 + 1j)
    around = np.array([-1 - 1j, 1 - 1j, -1 + 1j, 1 + 1j]) * 60 + middle
    moved = fit.turn * (around + frame * (1 + 1j)) + fit.shift - around
    shift = fit.turn * (middle + frame * (1 + 1j)) + fit.shift - middle
    return (
        fit.scale,
        float(np.degrees(np.angle(fit.turn))),
        shift.real,
        shift.imag,
        float(np.abs(moved).mean()),
    )


def rounded(values: object, digits: int = 2) -> object:
    """Rounds numbers and arrays for the JSON file."""
    return np.round(np.asarray(values, dtype=np.float64), digits).tolist()


if __name__ == "__main__":
    sys.exit(main())
