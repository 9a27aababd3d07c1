"""`python -m agegender bench`: what this machine needs for loading, detecting and predicting."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agegender.assets import EXAMPLE
from agegender.commands import OK, prepare_outputs, progress_bar, say, write_json
from agegender.errors import AgeGenderError
from agegender.faces import FaceDetector
from agegender.images import read_image
from agegender.predictor import Predictor
from agegender.wording import ABSENT

BATCHES: Final = (1, 8, 32)
PHOTO_SIDES: Final = (640, 1280, 4000)
"""Longer sides in pixels: a web picture, a laptop's screen, a phone's camera."""

REPEATS: Final = 5
_PACKAGES: Final = (
    "agegender",
    "tensorflow",
    "keras",
    "ai-edge-litert",
    "opencv-python-headless",
    "numpy",
    "pillow",
)

Pixels = NDArray[np.uint8]


def run(*, json: str | None) -> int:
    """Measures the default model on the built-in example picture.

    Args:
        json: A file, "-" for standard output, or ``None`` for words.

    Returns:
        0.

    Raises:
        ModelError: The model is not trained.
    """
    prepare_outputs({"--json": json})
    process = measure_process()  # before this process has grown, which its children would inherit
    photo = read_image(EXAMPLE)
    began = time.perf_counter()
    detector = FaceDetector()
    predictor = Predictor(detector=detector)
    predictor.predict_chips(np.zeros((1, 200, 200, 3), np.uint8))
    loaded = time.perf_counter()
    detector.detect(photo)
    ready = time.perf_counter()
    start = {
        **process,
        "model_seconds": round(loaded - began, 3),
        "detector_seconds": round(ready - loaded, 3),
    }
    figures = {
        "model": predictor.model,
        "engine": predictor.load().runtime,
        "machine": describe_machine(),
        "versions": describe_versions(),
        "start": start,
        **measure(predictor, detector, photo),
        "peak_memory_mb": peak_memory_mb(),
    }
    if json is not None:
        write_json(figures, json)
    else:
        for line in _in_words(figures):
            say(line)
    return OK


def measure(
    predictor: Predictor,
    detector: FaceDetector,
    photo: Pixels,
    *,
    batches: Sequence[int] = BATCHES,
    sides: Sequence[int] = PHOTO_SIDES,
    repeats: int = REPEATS,
) -> dict[str, Any]:
    """Times prediction, detection and both together; each figure is a median, after one run to warm up.

    Args:
        predictor: The model, loaded.
        detector: The detector, loaded.
        photo: RGB ``uint8`` of shape (h, w, 3), with a face or more.
        batches: How many chips go to the model at once.
        sides: Longer sides, in pixels, to which the photo is scaled for detection.
        repeats: How often each call is timed.

    Returns:
        ``repeats``; ``predict_ms_per_face`` by batch; ``detect_ms`` by longer side; ``photo`` with ``width``,
        ``height`` and ``faces`` of the photo and ``ms`` for all of it, detection to prediction.

    Raises:
        AgeGenderError: No face is found in the photo.
    """
    with progress_bar(len(batches) + len(sides) + 1, "Measuring", "step") as bar:
        predictions = predictor.predict(photo)
        if not predictions:
            raise AgeGenderError(
                "no face was found in the picture to measure with; the detector is not working"
            )
        photo_ms = median_ms(lambda: predictor.predict(photo), repeats)
        bar.update()
        chips = np.stack([prediction.chip for prediction in predictions])
        predict_ms: dict[str, float] = {}
        for size in batches:
            batch = chips[np.arange(size) % len(chips)]
            predict_ms[str(size)] = round(median_ms(_call(predictor.predict_chips, batch), repeats) / size, 3)
            bar.update()
        detect_ms: dict[str, float] = {}
        for side in sides:
            detect_ms[str(side)] = round(median_ms(_call(detector.detect, scaled(photo, side)), repeats), 3)
            bar.update()
    height, width = photo.shape[:2]
    return {
        "repeats": repeats,
        "predict_ms_per_face": predict_ms,
        "detect_ms": detect_ms,
        "photo": {"width": width, "height": height, "faces": len(predictions), "ms": round(photo_ms, 3)},
    }


def measure_process(repeats: int = REPEATS) -> dict[str, float | None]:
    """Times `python -m agegender predict` of the example, from starting the process to its end.

    Returns:
        ``process_seconds``, the median, and ``process_memory_mb``, the most that one of them held, in MB of
        10⁶ bytes; ``None`` on Windows.

    Raises:
        AgeGenderError: Predicting failed.
    """
    command = [sys.executable, "-m", "agegender", "predict", str(EXAMPLE)]
    times: list[float] = []
    for _ in range(repeats):
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        times.append(time.perf_counter() - began)
        if done.returncode:
            raise AgeGenderError(f"predicting the example failed: {done.stderr.strip()}")
    return {"process_seconds": round(median(times), 3), "process_memory_mb": peak_memory_mb(of_children=True)}


def median_ms(call: Callable[[], object], repeats: int) -> float:
    """Times a call.

    Args:
        call: What to time; it runs once more, untimed, before.
        repeats: How often it is timed.

    Returns:
        The median in milliseconds, which one hiccup of the machine does not move.
    """
    call()
    times: list[float] = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return 1000 * median(times)


def scaled(photo: Pixels, side: int) -> Pixels:
    """Scales a photo so that its longer side has so many pixels.

    Args:
        photo: RGB ``uint8`` of shape (h, w, 3).
        side: In pixels.

    Returns:
        The scaled photo, the same kind of array.
    """
    factor = side / max(photo.shape[:2])
    height, width = (max(1, round(factor * length)) for length in photo.shape[:2])
    interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(photo, (width, height), interpolation=interpolation), np.uint8)


def describe_machine() -> dict[str, Any]:
    """The system, the processor, its widest vectors ("AVX-512", "AVX2", "" where unknown) and usable cores.

    How fast networks are depends on the vectors more than on anything else.
    """
    # Containers and taskset allow fewer cores than the machine has; macOS and Windows cannot tell.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    flags = Path("/proc/cpuinfo")
    known = set(flags.read_text(encoding="ascii", errors="replace").split()) if flags.exists() else set()
    vectors = "AVX-512" if "avx512f" in known else "AVX2" if "avx2" in known else ""
    return {
        "system": platform.platform(),
        "processor": platform.machine(),
        "vectors": vectors,
        "cores": cores,
    }


def describe_versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that matter; ``None`` for one that is not installed."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return versions


def peak_memory_mb(*, of_children: bool = False) -> float | None:
    """The most memory this process has held, or one that it ran, in MB of 10⁶ bytes; ``None`` on Windows."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_CHILDREN if of_children else resource.RUSAGE_SELF).ru_maxrss
    return round(peak * (1 if sys.platform == "darwin" else 1024) / 1e6, 1)  # macOS counts bytes, Linux KiB


def _call(function: Callable[[Pixels], object], pixels: Pixels) -> Callable[[], object]:
    return lambda: function(pixels)


def _megabytes(memory: float | None) -> str:
    return ABSENT if memory is None else f"{memory:.0f} MB"


def _in_words(figures: dict[str, Any]) -> list[str]:
    """Lays the figures out for people."""
    start, photo, memory = figures["start"], figures["photo"], figures["peak_memory_mb"]
    versions = ", ".join(f"{name} {number}" for name, number in figures["versions"].items() if number)
    whole = f"whole photo, {photo['width']} × {photo['height']} px, {photo['faces']} faces"
    rows = [
        (
            "predict one photo, whole process",
            f"{start['process_seconds']:.2f} s, {_megabytes(start['process_memory_mb'])}",
        ),
        ("load the model", f"{start['model_seconds']:.2f} s"),
        ("load the detector, first photo", f"{start['detector_seconds']:.2f} s"),
        *(
            (f"predict, batch of {n}", f"{ms:.1f} ms a face")
            for n, ms in figures["predict_ms_per_face"].items()
        ),
        *((f"detect, photo of {side} px", f"{ms:.0f} ms") for side, ms in figures["detect_ms"].items()),
        (whole, f"{photo['ms']:.0f} ms"),
        ("peak memory", _megabytes(memory)),
    ]
    width = max(len(name) for name, _ in rows)
    machine = figures["machine"]
    return [
        f"{figures['model']} on {figures['engine']}, {machine['cores']} cores, {machine['system']}",
        versions,
        *(f"{name:<{width}}  {value}" for name, value in rows),
    ]
