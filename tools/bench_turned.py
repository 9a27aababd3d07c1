"""Measures what becomes of faces that are not upright, and what it costs those that are.

    python -m tools.bench_turned [UTKFace=DIR "FairFace, dev=DIR" …] [--faces 200] [--json FILE]

Pictures of the folders are put on a grey page each and shown upright and turned by 90, 180 and 270 degrees.
The same detector without its look at turned faces is what they are compared with. What photos without a face
cost is measured on those of scikit-image, as processor time of one thread. Figures of other folders that the
file holds stay in it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray

from agegender import Prediction, Predictor
from agegender.faces import Face, FaceDetector, main_face
from agegender.images import read_image

PAGE = 600
GREY = (120, 130, 140)
SEED = 14
DEGREES = (90, 180, 270)
WITHOUT_FACES = (
    "coffee",
    "rocket",
    "chelsea",
    "immunohistochemistry",
    "retina",
    "hubble_deep_field",
    "brick",
    "grass",
    "gravel",
    "coins",
    "page",
    "text",
    "horse",
    "moon",
    "logo",
)
LONG_SIDES = (200, 480, 1920)
REPEATS = 5
LEAST_MS = 100
"""Processor time of each repeat: a small photo is looked at several times, as one time of it scatters."""
SAME_PLACE = 0.25
"""Landmarks are in place up to this share of the distance of the eyes, on average."""

OFF = 10
"""Years that are more than the difference of two looks at one face."""


class UprightOnly(FaceDetector):
    """The detector without its look at turned faces."""

    def _look_turned(self, *args: Any) -> None:
        """Looks nowhere."""


@dataclass(frozen=True)
class Answer:
    """What was said of the one face of a page; ``None`` where nothing was."""

    prediction: Prediction | None
    others: int


def main() -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folders", nargs="*", metavar="NAME=DIR", help="pictures of one face each")
    parser.add_argument("--faces", type=int, default=200, help="pictures of each folder")
    parser.add_argument("--json", type=Path, default=Path("docs/measurements/turned.json"))
    options = parser.parse_args()
    before = Predictor(detector=UprightOnly(threads=1))
    after = Predictor(detector=FaceDetector(threads=1))
    report: dict[str, Any] = {"faces": {}}
    if options.json.exists():
        report = json.loads(options.json.read_text(encoding="utf-8"))
    for name, _, folder in (given.partition("=") for given in options.folders):
        pages = list(read_pages(Path(folder), options.faces))
        if not pages:
            print(f"no pictures in {folder!r}", file=sys.stderr)
            return 2
        report["faces"][name] = measure(pages, before, after)
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    report["without_faces"] = cost()
    options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def read_pages(folder: Path, count: int) -> Iterator[NDArray[np.uint8]]:
    """Puts some pictures of a folder, always the same ones, in the middle of a page each."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in {".jpg", ".webp", ".png"})
    for path in Random(SEED).sample(files, min(count, len(files))):
        picture = read_image(path)
        page = np.full((PAGE, PAGE, 3), GREY, np.uint8)
        height, width = picture.shape[:2]
        top, left = (PAGE - height) // 2, (PAGE - width) // 2
        page[top : top + height, left : left + width] = picture
        yield page


def measure(pages: Sequence[NDArray[np.uint8]], before: Predictor, after: Predictor) -> dict[str, Any]:
    """Compares the two on upright pages, and on these turned."""
    report: dict[str, Any] = {"n": len(pages)}
    for name, predictor in (("before", before), ("after", after)):
        upright = [answer_to(page, predictor) for page in pages]
        # An upright face has one direction: whatever is said of another one is wrong.
        report[name] = {
            "upright": {
                "answered": share(answer.prediction is not None for answer in upright),
                "warned": share(bool(answer.prediction and answer.prediction.warnings) for answer in upright),
                "turned by mistake": share(
                    bool(answer.prediction and answer.prediction.face.quarter_turns) for answer in upright
                ),
                "other faces": sum(answer.others for answer in upright),
            }
        }
        report[name] |= {
            f"{degrees}": measure_turned(pages, upright, predictor, degrees // 90) for degrees in DEGREES
        }
    return report


def measure_turned(
    pages: Sequence[NDArray[np.uint8]], upright: Sequence[Answer], predictor: Predictor, turns: int
) -> dict[str, float]:
    """What is said of turned pages, beside what is said of them upright, as shares of those found upright."""
    rows = []
    for page, known in zip(pages, upright, strict=True):
        if known.prediction is None:
            continue
        answer = answer_to(np.ascontiguousarray(np.rot90(page, turns)), predictor)
        said, right = answer.prediction, known.prediction
        if said is None:
            rows.append((False, False, False, False, False))
            continue
        assert said.age is not None and right.age is not None and said.gender and right.gender
        in_place = is_in_place(said.face, right.face, turns)
        off = abs(said.age.years - right.age.years) > OFF
        flipped = said.gender.label != right.gender.label
        rows.append((True, in_place, not in_place and not said.warnings, off, flipped))
    names = (
        "answered",
        "cropped upright",
        "otherwise, without a warning",
        "age off by over 10",
        "gender other",
    )
    return {name: share(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


def answer_to(page: NDArray[np.uint8], predictor: Predictor) -> Answer:
    """What is said of the face in the middle of a page."""
    predictions = predictor.predict(page)
    main = main_face([prediction.face for prediction in predictions], page.shape)
    return Answer(
        next((prediction for prediction in predictions if prediction.face is main), None),
        max(0, len(predictions) - 1),
    )


def is_in_place(face: Face, upright: Face, turns: int) -> bool:
    """Whether landmarks on a turned page are those of the upright page, in the same order."""
    points = np.array(upright.landmarks)
    eyes = float(np.hypot(*(points[1] - points[0])))
    for _ in range(turns):
        points = np.stack([points[:, 1], PAGE - points[:, 0]], axis=1)
    away = np.linalg.norm(np.array(face.landmarks) - points, axis=1).mean()
    return bool(away < SAME_PLACE * eyes)


def share(values: Any) -> float:
    """The share of values that are true, to four places."""
    return round(float(np.mean([bool(value) for value in values])), 4)


def cost() -> dict[str, Any]:
    """Milliseconds of processor time that photos without a face take, and faces that are found in them."""
    before, after = UprightOnly(threads=1), FaceDetector(threads=1)
    rows = {}
    for name in WITHOUT_FACES:
        photo = np.asarray(getattr(skimage.data, name)())
        photo = photo.astype(np.uint8) * 255 if photo.dtype == bool else photo
        photo = np.ascontiguousarray(np.stack([photo] * 3, axis=-1) if photo.ndim == 2 else photo[..., :3])
        for side in LONG_SIDES:
            scale = side / max(photo.shape)
            method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
            shown = np.asarray(cv2.resize(photo, None, fx=scale, fy=scale, interpolation=method), np.uint8)
            times = np.array([[spent(one, shown) for one in (before, after)] for _ in range(REPEATS + 1)])[1:]
            ms = np.median(times, axis=0)
            rows[f"{name}, {side} px"] = {
                "ms_before": round(float(ms[0]), 2),
                "ms_after": round(float(ms[1]), 2),
                "ratio": round(float(np.median(times[:, 1] / times[:, 0])), 3),
                "faces_before": len(before.detect(shown)),
                "faces_after": len(after.detect(shown)),
            }
    ratios = [row["ratio"] for row in rows.values()]
    return {"median_ratio": round(float(np.median(ratios)), 3), "largest_ratio": max(ratios), "photos": rows}


def spent(detector: FaceDetector, photo: NDArray[np.uint8]) -> float:
    """Milliseconds of processor time of one detection."""
    started, times, ms = time.process_time(), 0, 0.0
    while ms < LEAST_MS:
        detector.detect(photo)
        times += 1
        ms = 1000 * (time.process_time() - started)
    return ms / times


if __name__ == "__main__":
    sys.exit(main())
