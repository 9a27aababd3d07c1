"""Measures what reading a large JPEG costs, and whether decoding it smaller for detection would pay.

    python -m tools.once.measure_decoding [--repeats 15]

Writes docs/measurements/decoding.json. Nobody who uses or trains agegender needs this; it is where
`agegender.images` has its choices from. Pictures are made up, as large as a phone's: the band of the
built-in example, and a cup of coffee without a face, both enlarged and given a sensor's noise, so that
there is as much to decode as in a photo. Times are of the processor, summed over cores: they can be compared
even where the machine has other work.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from agegender.assets import EXAMPLE
from agegender.commands.bench import describe_machine
from agegender.faces import FaceDetector
from agegender.faces.detector import DEFAULT_MAX_SIDE
from agegender.images import read_image

SIZE: Final = (4000, 3000)
NOISE: Final = 5
QUALITY: Final = 90
OUTPUT: Final = Path("docs/measurements/decoding.json")

Pixels = NDArray[np.uint8]


def main() -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    band, coffee = read_image(EXAMPLE)[:858, :1144], skimage.data.coffee()[:399, :532]
    rows = {name: measure(picture, repeats) for name, picture in (("faces", band), ("no face", coffee))}
    result = {
        "command": "python -m tools.once.measure_decoding",
        "machine": describe_machine(),
        "versions": {name: version(name) for name in ("pillow", "opencv-python-headless", "numpy")},
        "repeats": repeats,
        "size": SIZE,
        "ms_processor": rows,
    }
    OUTPUT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


def measure(picture: Pixels, repeats: int) -> dict[str, Any]:
    """Times every step of both ways on one picture.

    Returns:
        Milliseconds of the processor: ``read`` (by `read_image`), of it ``decode`` (by Pillow; the rest is
        copied by rows); ``copy_at_once``, the other way to copy; ``read_half``, at half the size; ``detect``
        and ``detect_half``, in what was read. Of these the sums for ``now``, and for ``half_first``, where
        the whole is read too once there are faces. And how many ``faces`` and ``faces_half`` were found.
    """
    data = as_photo(picture)
    decoded = Image.open(io.BytesIO(data))
    decoded.load()
    detector = FaceDetector()
    whole, half = read_image(data), read_half(data)
    faces = len(detector.detect(whole))
    steps: dict[str, Callable[[], object]] = {
        "read": lambda: read_image(data),
        "decode": lambda: Image.open(io.BytesIO(data)).load(),
        "copy_at_once": lambda: np.array(decoded),
        "read_half": lambda: read_half(data),
        "detect": lambda: detector.detect(whole),
        "detect_half": lambda: detector.detect(half),
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(repeats + 1):
        for name, step in steps.items():
            began = time.process_time()
            step()
            if turn:  # the first one warms up
                times[name].append(1000 * (time.process_time() - began))
    row: dict[str, Any] = {name: round(median(values), 1) for name, values in times.items()}
    row["now"] = round(row["read"] + row["detect"], 1)
    row["half_first"] = round(row["read_half"] + row["detect_half"] + bool(faces) * row["read"], 1)
    row |= {"faces": faces, "faces_half": len(detector.detect(half))}
    print(json.dumps(row), flush=True)
    return row


def as_photo(picture: Pixels) -> bytes:
    """Enlarges a picture to `SIZE`, with noise, as JPEG."""
    large = cv2.resize(picture, SIZE, interpolation=cv2.INTER_CUBIC).astype(np.float32)
    large += np.random.default_rng(12).normal(0, NOISE, (*SIZE[::-1], 3)).astype(np.float32)
    stream = io.BytesIO()
    Image.fromarray(np.clip(large, 0, 255).astype(np.uint8)).save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()


def read_half(data: bytes) -> Pixels:
    """Decodes a JPEG at half its size or less, which leaves the detector at least what it looks at."""
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (DEFAULT_MAX_SIDE, 1))
    return np.array(image)


if __name__ == "__main__":
    sys.exit(main())
