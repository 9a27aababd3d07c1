"""Times agegender on photos: this version, or another whose checkout is first on PYTHONPATH.

python run_agegender.py PHOTO... --repeats N prints JSON. Only what both versions have is used.
"""

from __future__ import annotations

import argparse
import json
import time

from agegender.runtime import prepare_tensorflow

prepare_tensorflow()  # as the program itself does, before anything imports TensorFlow

import numpy as np  # noqa: E402

from agegender import Predictor  # noqa: E402


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("photos", nargs="+")
    parser.add_argument("--repeats", type=int, required=True)
    options = parser.parse_args()
    predictor = Predictor()
    faces = [len(predictor.predict(photo)) for photo in options.photos]
    ms: list[list[float]] = [[] for _ in options.photos]
    for _ in range(options.repeats):
        for photo, times in zip(options.photos, ms, strict=True):
            began = time.perf_counter()
            predictor.predict(photo)
            times.append(1000 * (time.perf_counter() - began))
    chip = np.random.default_rng(1).integers(0, 256, (1, 200, 200, 3), np.uint8)
    single: list[float] = []
    for _ in range(10 * options.repeats + 1):
        began = time.perf_counter()
        predictor.predict_chips(chip)
        single.append(1000 * (time.perf_counter() - began))
    print(json.dumps({"faces": faces, "ms": ms, "single_face_ms": single[1:]}))


if __name__ == "__main__":
    main()
