"""`python -m agegender bench`: what predicting takes on this machine, stage by stage, in time and memory."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agegender.assets import EXAMPLE
from agegender.batch import cores, in_order
from agegender.commands import OK, prepare_outputs, progress_bar, say, text_table, write_json
from agegender.errors import AgeGenderError
from agegender.faces import FaceDetector
from agegender.images import read_image
from agegender.litert import LiteRTModel
from agegender.models.engine import Engine
from agegender.predictor import Predictor
from agegender.runtime import without_chatter
from agegender.wording import ABSENT

BATCHES: Final = (1, 8, 32)
PHOTO_SIDES: Final = (640, 1280, 4000)
"""Longer sides in pixels: a web picture, a laptop's screen, a phone's camera."""

FOLDER_PHOTOS: Final = 40
"""So many photos are timed as a folder of photos."""

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

_RUN_AND_TELL: Final = """
import json, subprocess, sys, time
began = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
seconds = time.perf_counter() - began
try:
    import resource
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures = seconds, used.ru_utime + used.ru_stime, used.ru_maxrss
except ImportError:
    figures = seconds, None, None
print(json.dumps(figures))
sys.exit(code)
"""
"""A small process between this one and the one to be measured: on Linux, what a process holds when it starts
another counts as the other's."""

_DETECTION: Final = {"propose": "P-Net", "refine": "R-Net", "confirm": "O-Net"}

Pixels = NDArray[np.uint8]
ColdAndWarm = dict[str, dict[str, float]]
"""Milliseconds by stage, each ``cold``, in the first photo after loading, and ``warm``, a median."""


def run(*, json: str | None) -> int:
    """Measures the default model on the built-in example picture.

    Returns:
        0.

    Raises:
        ModelError: The model is not trained.
    """
    prepare_outputs({"--json": json})
    with progress_bar(7, "Measuring", "step") as bar:
        process = time_process([sys.executable, "-m", "agegender", "predict", str(EXAMPLE)], REPEATS)
        bar.update()
        began = time.perf_counter()
        detector = FaceDetector()
        detector.load()
        detector_loaded = time.perf_counter()
        predictor = Predictor(detector=detector)
        with without_chatter():
            engine = predictor.load()
        loaded = time.perf_counter()
        bar.update()
        figures: dict[str, Any] = {
            "model": predictor.model,
            "engine": engine.runtime,
            "machine": describe_machine(),
            "versions": describe_versions(),
            "repeats": REPEATS,
            "process": process,
            "load_ms": {
                "detector": _ms(detector_loaded - began),
                "model": _ms(loaded - detector_loaded),
            },
        }
        figures |= measure_stages(predictor, detector, EXAMPLE)
        bar.update()
        figures["networks_ms"] = measure_networks(engine, figures["photo"]["faces"])
        bar.update()
        figures["predict_ms_per_face"] = measure_batches(predictor)
        bar.update()
        photo = read_image(EXAMPLE)
        figures["detect_ms"] = {
            str(side): round(median_ms(_call(detector.detect, scaled(photo, side)), REPEATS), 3)
            for side in PHOTO_SIDES
        }
        bar.update()
        figures["folder"] = measure_folder(predictor, [EXAMPLE] * FOLDER_PHOTOS)
        bar.update()
    figures["peak_memory_mb"] = peak_memory_mb()
    if json is not None:
        write_json(figures, json)
    else:
        for line in _in_words(figures):
            say(line)
    return OK


class Stopwatch:
    """Adds up how long methods of objects take, while the objects do their usual work.

    Attributes:
        seconds: By method's name. What one watched method spends in another counts for both.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def watch(self, owner: object, *methods: str) -> None:
        """From now on times these methods of an object, which should be called from one thread only."""
        for name in methods:
            setattr(owner, name, self._timed(name, getattr(owner, name)))

    def _timed(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **options: Any) -> Any:
            began = time.perf_counter()
            try:
                return method(*args, **options)
            finally:
                self.seconds[name] += time.perf_counter() - began

        return timed


def measure_stages(
    predictor: Predictor, detector: FaceDetector, path: Path, repeats: int = REPEATS
) -> dict[str, Any]:
    """Times the stages of predicting a photo, as they happen.

    Args:
        predictor: Loaded, and not used yet.
        detector: Its detector, likewise.
        path: The photo.
        repeats: How often it is predicted once all is warm.

    Returns:
        ``stages_ms``, a `ColdAndWarm`; and ``photo``: its ``width``, ``height``, ``faces``, and ``ms`` from
        pixels to predictions, a median.

    Raises:
        AgeGenderError: No face is found in the photo.
    """
    clock, engine = Stopwatch(), predictor.load()
    watched: list[tuple[Any, tuple[str, ...]]] = [
        (detector.load(), tuple(_DETECTION)),
        (detector, ("detect",)),
        (engine, ("answer",)),
        (predictor, ("find_faces", "predict_faces")),
    ]
    for owner, methods in watched:
        clock.watch(owner, *methods)
    rounds: list[dict[str, float]] = []
    for _ in range(repeats + 1):
        clock.seconds.clear()
        began = time.perf_counter()
        photo = read_image(path)
        read = time.perf_counter()
        predictions = predictor.predict(photo)
        whole = time.perf_counter() - read
        spent = clock.seconds
        if not predictions:
            raise AgeGenderError(
                "no face was found in the picture to measure with; the detector is not working"
            )
        rounds.append(
            {
                "decode": read - began,
                **{stage: spent[method] for method, stage in _DETECTION.items()},
                "rest of detection": spent["detect"] - sum(spent[method] for method in _DETECTION),
                "crop": spent["find_faces"] - spent["detect"],
                "networks": spent["answer"],
                "calibrate": spent["predict_faces"] - spent["answer"],
                "pixels to predictions": whole,
            }
        )
    for owner, methods in watched:
        for method in methods:
            delattr(owner, method)  # of the object: the class has its own
    stages = _cold_and_warm(rounds)
    height, width = photo.shape[:2]
    ms = stages.pop("pixels to predictions")["warm"]
    return {
        "stages_ms": stages,
        "photo": {"width": width, "height": height, "faces": len(predictions), "ms": ms},
    }


def measure_networks(engine: Engine, faces: int, repeats: int = REPEATS) -> ColdAndWarm:
    """Times each network of a model's light form by itself, on one core and as many blank chips as faces.

    Returns:
        By task; nothing where TensorFlow runs the model's networks as one.
    """
    if engine.runtime != "LiteRT":
        return {}
    batch = np.zeros((faces, *engine.input_size, 3), np.float32)
    found: ColdAndWarm = {}
    for file in engine.card["light"]["files"]:
        network, task = LiteRTModel(engine.folder / file, threads=1), Path(file).stem
        rounds = []
        for _ in range(repeats + 1):
            began = time.perf_counter()
            network(batch)
            rounds.append({task: time.perf_counter() - began})
        found |= _cold_and_warm(rounds)
    return found


def measure_batches(
    predictor: Predictor, batches: Sequence[int] = BATCHES, repeats: int = REPEATS
) -> dict[str, float]:
    """Times predicting chips, all networks and calibration.

    Returns:
        Milliseconds a face, medians, by how many faces are predicted at once.
    """
    chips = np.random.default_rng(1).integers(0, 256, (max(batches), 200, 200, 3), np.uint8)
    return {
        str(size): round(median_ms(_call(predictor.predict_chips, chips[:size]), repeats) / size, 3)
        for size in batches
    }


def measure_folder(predictor: Predictor, paths: Sequence[Path]) -> dict[str, Any]:
    """Predicts photos one after another, and then side by side as `python -m agegender predict` does.

    Returns:
        ``photos``; photos a second ``one_after_another`` and ``side_by_side``, and ``times`` as fast.
    """
    began = time.perf_counter()
    for path in paths:
        predictor.predict(path)
    middle = time.perf_counter()
    for _ in in_order(predictor.predict, paths, threading.Event()):
        pass
    first, second = middle - began, time.perf_counter() - middle
    return {
        "photos": len(paths),
        "one_after_another": round(len(paths) / first, 2),
        "side_by_side": round(len(paths) / second, 2),
        "times": round(first / second, 2),
    }


def time_process(
    command: Sequence[str],
    repeats: int = 1,
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> dict[str, float | None]:
    """Times a program from its start to its end, and its memory.

    Args:
        command: The program and its arguments.
        repeats: How often it is run.
        cwd: Where it runs; ``None`` for where this process does.
        environment: Variables on top of this process's.

    Returns:
        Medians, ``seconds`` of the clock and ``processor_seconds``; and ``memory_mb``, the most that one of
        them held, in MB of 10⁶ bytes. The last two are ``None`` on Windows, which does not tell.

    Raises:
        AgeGenderError: The program failed.
    """
    runs = []
    for _ in range(repeats):
        done = subprocess.run(
            [sys.executable, "-S", "-c", _RUN_AND_TELL, *command],
            cwd=cwd,
            env=os.environ | dict(environment or {}),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise AgeGenderError(f"{' '.join(command)} failed: {done.stderr.strip()}")
        runs.append(json.loads(done.stdout))
    seconds, processor, memory = zip(*runs, strict=True)
    told = None not in memory
    return {
        "seconds": round(median(seconds), 3),
        "processor_seconds": round(median(processor), 3) if told else None,
        "memory_mb": _megabytes(max(memory)) if told else None,
    }


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
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="ascii", errors="replace").splitlines() if info.exists() else []
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = facts.get("flags", "").split()
    return {
        "system": platform.platform(),
        "processor": facts.get("model name") or platform.processor() or platform.machine(),
        "vectors": "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "",
        "cores": cores(),
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


def peak_memory_mb() -> float | None:
    """The most memory this process has held, in MB of 10⁶ bytes; ``None`` on Windows, which does not tell."""
    if sys.platform == "win32":
        return None
    import resource

    return _megabytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _megabytes(peak: int) -> float:
    return round(peak * (1 if sys.platform == "darwin" else 1024) / 1e6, 1)  # macOS counts bytes, Linux KiB


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 3)


def _cold_and_warm(rounds: Sequence[Mapping[str, float]]) -> ColdAndWarm:
    """From seconds by stage, the first round being the cold one."""
    return {
        stage: {"cold": _ms(rounds[0][stage]), "warm": _ms(median(row[stage] for row in rounds[1:]))}
        for stage in rounds[0]
    }


def _call(function: Callable[[Pixels], object], pixels: Pixels) -> Callable[[], object]:
    return lambda: function(pixels)


def _in_words(figures: dict[str, Any]) -> list[str]:
    """Lays the figures out for people."""
    machine, process, photo = (figures[key] for key in ("machine", "process", "photo"))
    load, folder = figures["load_ms"], figures["folder"]

    def said(value: float | None, unit: str, form: str = ".0f") -> str:
        return ABSENT if value is None else f"{value:{form}} {unit}"

    whole = [said(process[key], "s", ".2f") for key in ("seconds", "processor_seconds")]
    stages = {**figures["stages_ms"], **{f"networks: {k}": v for k, v in figures["networks_ms"].items()}}
    rows = [
        (
            "predict one photo, whole process",
            f"{whole[0]}, of the processor {whole[1]}, {said(process['memory_mb'], 'MB')}",
        ),
        *((f"load the {what}", said(ms, "ms")) for what, ms in load.items()),
        (
            f"photo of {photo['width']} × {photo['height']} px, {photo['faces']} faces",
            said(photo["ms"], "ms"),
        ),
        *(
            (f"predict, batch of {n}", f"{ms:.1f} ms a face")
            for n, ms in figures["predict_ms_per_face"].items()
        ),
        *((f"detect, photo of {side} px", said(ms, "ms")) for side, ms in figures["detect_ms"].items()),
        *(
            (
                f"{folder['photos']} photos, {way.replace('_', ' ')}",
                said(folder[way], "photos a second", ".1f"),
            )
            for way in ("one_after_another", "side_by_side")
        ),
        ("peak memory", said(figures["peak_memory_mb"], "MB")),
    ]
    where = [machine["processor"], machine["vectors"], f"{machine['cores']} cores"]
    return [
        f"{figures['model']} on {figures['engine']}; {', '.join(filter(None, where))}",
        ", ".join(f"{name} {number}" for name, number in figures["versions"].items() if number),
        "",
        *text_table(rows),
        "",
        *text_table(
            [
                ("stage of a photo, ms", "cold", "warm"),
                *((stage, f"{ms['cold']:.1f}", f"{ms['warm']:.1f}") for stage, ms in stages.items()),
            ]
        ),
    ]
