"""Compares what could run the networks: time, memory, size, and how the projects are kept.

    python -m tools.bench_engines --packages --json docs/measurements/engines.json --report docs/engines.md

The networks of a model are converted once; each engine then runs them in fresh processes, in turns, so that a
disturbance of the machine meets all of them. Engines that are not installed are left out. OpenVINO and ONNX
Runtime read the same ONNX files. With ``--packages``, pip is asked for releases and wheels.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from agegender.commands.bench import describe_machine, peak_memory_mb
from agegender.models.registry import DEFAULT_MODEL
from agegender.reports.markdown import table, wrap
from agegender.wording import ABSENT

PACKAGES: Final = {
    "LiteRT": "ai-edge-litert",
    "ONNX Runtime": "onnxruntime",
    "OpenVINO": "openvino",
    "TensorFlow": "tensorflow",
    "TensorFlow, oneDNN": "tensorflow",
}
BATCHES: Final = (1, 8, 32)
_MANYLINUX: Final = (*(f"manylinux_2_{minor}" for minor in range(17, 36)), "manylinux2014")
PLATFORMS: Final = {
    "Linux x86-64": tuple(f"{name}_x86_64" for name in _MANYLINUX),
    "Linux ARM64": tuple(f"{name}_aarch64" for name in _MANYLINUX),
    "macOS ARM64": tuple(f"macosx_{major}_0_arm64" for major in range(11, 15)),
    "macOS x86-64": tuple(f"macosx_{major}_{minor}_x86_64" for major, minor in ((10, 15), (11, 0), (14, 0))),
    "Windows x86-64": ("win_amd64",),
}
_CHOICE: Final = """
    LiteRT was chosen: of those that need no TensorFlow it starts soonest, is the smallest to install, runs on
    phones and in browsers from the same file, and TensorFlow's own converter writes that file. It has wheels
    where TensorFlow has them; Intel Macs have neither. ONNX Runtime comes next, and is what `export --format
    onnx` writes for. The choice stands in one class, `agegender.models.light.LightModel`.
"""

ROUNDS: Final = 3
REPEATS: Final = 9

Run = Callable[[NDArray[np.float32]], dict[str, NDArray[np.float32]]]


def main() -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--report", type=Path, help="also write the tables as Markdown")
    parser.add_argument("--packages", action="store_true", help="ask pip for releases and wheels")
    parser.add_argument("--convert", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--measure", choices=PACKAGES, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        found = measure(options.measure, options.folder, options.threads) if options.measure else None
        if options.convert:
            convert(options.model, options.folder)
        options.json.write_text(json.dumps(found), encoding="utf-8")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        found = compare(options.model, Path(folder), asking_pip=options.packages)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if options.report:
        options.report.write_text(report(found), encoding="utf-8")
    for engine, by_threads in found["engines"].items():
        for threads, figures in by_threads.items():
            first = f"{figures['first_answer_s']} s, {figures['first_answer_mb']} MB"
            ms = ", ".join(f"{n}: {t['fastest']} ({t['median']})" for n, t in figures["ms_per_face"].items())
            print(f"{engine:19} {threads}: first answer {first}; ms a face, fastest (median), by batch {ms}")
    return 0


def compare(model: str, folder: Path, *, asking_pip: bool) -> dict[str, Any]:
    """Converts, measures every engine that is installed, and returns what the JSON file holds."""
    _run_apart(["--convert", "--model", model], folder)
    engines = [engine for engine, package in PACKAGES.items() if _installed(package)]
    cores = describe_machine()["cores"]
    rounds: dict[str, list[Any]] = {engine: [] for engine in engines}
    for _ in range(ROUNDS):
        for engine in engines:
            settings = {"TF_ENABLE_ONEDNN_OPTS": str(int(engine.endswith("oneDNN")))}
            by_threads = {
                f"{threads} threads": _run_apart(
                    ["--measure", engine, "--threads", str(threads)], folder, settings
                )
                for threads in sorted({1, cores})
            }
            rounds[engine].append(by_threads)
            print(engine, by_threads, file=sys.stderr)
    return {
        "command": "python -m tools.bench_engines",
        "model": model,
        "machine": describe_machine(),
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "rounds": ROUNDS,
        "repeats": REPEATS,
        "engines": {engine: _over_rounds(found) for engine, found in rounds.items()},
        "packages": {package: describe(package, asking_pip) for package in dict.fromkeys(PACKAGES.values())},
    }


def convert(model: str, folder: Path) -> None:
    """Writes every network of a model in both formats, chips, and what Keras says of them."""
    from agegender.models.conversion import to_litert, to_onnx
    from agegender.models.system import with_named_outputs
    from agegender.models.trained import TrainedModel

    loaded = TrainedModel(model)
    for task, network in loaded.networks.items():
        (folder / f"{task}.tflite").write_bytes(to_litert(with_named_outputs(network)))
        (folder / f"{task}.onnx").write_bytes(to_onnx(with_named_outputs(network)).SerializeToString())
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (BATCHES[-1], 10, 10, 3)).astype(np.float32)
    height, width = loaded.input_size
    chips = coarse.repeat(-(-height // 10), axis=1).repeat(-(-width // 10), axis=2)[:, :height, :width]
    np.save(folder / "chips.npy", chips)
    np.savez(folder / "keras.npz", allow_pickle=False, **loaded._run(chips))
    (folder / "model").write_text(model, encoding="utf-8")


def measure(engine: str, folder: Path, threads: int) -> dict[str, Any]:
    """Times one engine in this process, which has imported none yet."""
    chips = np.load(folder / "chips.npy")
    began = time.perf_counter()
    run = {
        "LiteRT": _litert,
        "ONNX Runtime": _onnxruntime,
        "OpenVINO": _openvino,
        "TensorFlow": _tensorflow,
        "TensorFlow, oneDNN": _tensorflow,
    }[engine](folder, threads)
    run(chips[:1])
    first = time.perf_counter() - began
    memory = peak_memory_mb()
    expected, found = np.load(folder / "keras.npz"), run(chips)
    figures: dict[str, Any] = {
        "first_answer_s": round(first, 3),
        "first_answer_mb": memory,
        "ms_per_face": {str(n): _time(partial(run, chips[:n]), n) for n in BATCHES},
        "peak_mb": peak_memory_mb(),
        "difference": {name: float(f"{np.abs(found[name] - expected[name]).max():.2g}") for name in found},
    }
    if engine == "LiteRT" and threads > 1:
        figures |= _litert_in_threads(folder, chips, threads)
    return figures


def _litert(folder: Path, threads: int) -> Run:
    from agegender.litert import LiteRTModel

    networks = [LiteRTModel(path, threads=threads) for path in sorted(folder.glob("*.tflite"))]
    return lambda batch: {
        name: output
        for network in networks
        for name, output in zip(network.outputs, network(batch), strict=True)
    }


def _onnxruntime(folder: Path, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    sessions = [onnxruntime.InferenceSession(path, options) for path in sorted(folder.glob("*.onnx"))]
    names = [[output.name for output in session.get_outputs()] for session in sessions]
    return lambda batch: {
        name: output
        for session, outputs in zip(sessions, names, strict=True)
        for name, output in zip(outputs, session.run(outputs, {"rgb": batch}), strict=True)
    }


def _openvino(folder: Path, threads: int) -> Run:
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    # The processor's own choice may be half precision; all engines are to compute the same.
    settings["INFERENCE_PRECISION_HINT"] = "f32"
    models = [core.compile_model(str(path), "CPU", settings) for path in sorted(folder.glob("*.onnx"))]
    return lambda batch: {
        output.any_name: np.array(values)
        for model in models
        for output, values in model({"rgb": batch}).items()
    }


def _tensorflow(folder: Path, threads: int) -> Run:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    from agegender.models.trained import TrainedModel

    return TrainedModel((folder / "model").read_text(encoding="utf-8"))._run


def _litert_in_threads(folder: Path, chips: NDArray[np.float32], cores: int) -> dict[str, Any]:
    """Single faces from several threads: through one model behind its lock, or each thread with its own."""
    from agegender.litert import LiteRTModel

    threads, count = 2 * cores, 24
    path = sorted(folder.glob("*.tflite"))[0]
    shared = LiteRTModel(path, threads=cores)
    own = [LiteRTModel(path, threads=1) for _ in range(threads)]

    def answer(models: list[LiteRTModel]) -> None:
        def work(model: LiteRTModel) -> None:
            for i in range(count):
                model(chips[i % len(chips)][np.newaxis])

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, models))

    faces = threads * count
    return {
        "threads": {
            "threads": threads,
            "one_behind_a_lock_ms_per_face": _time(lambda: answer([shared] * threads), faces),
            "one_a_thread_ms_per_face": _time(lambda: answer(own), faces),
        },
        "sizes": {
            "same_batch_size_ms": _time(lambda: shared(chips[:2]), 1),
            "new_batch_size_each_time_ms": _time(lambda: [shared(chips[:1]), shared(chips[:3])], 2),
        },
    }


def _time(call: Callable[[], object], parts: int) -> dict[str, float]:
    """Milliseconds a part of a call, after one call to warm up.

    The fastest repeat is what the engine can do; the median also tells how it fares beside the machine's
    other work, which engines whose threads wait busily suffer from most.
    """
    call()
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        call()
        times.append((time.perf_counter() - began) * 1000 / parts)
    return {"fastest": round(min(times), 2), "median": round(median(times), 2)}


def _run_apart(what: list[str], folder: Path, settings: Mapping[str, str] | None = None) -> Any:
    """Runs a part of this tool in a process of its own: imports and memory are then that part's."""
    output = folder / "figures.json"
    arguments = [*what, "--folder", str(folder), "--json", str(output)]
    command = [sys.executable, "-m", "tools.bench_engines", *arguments]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **(settings or {})}
    subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)
    return json.loads(output.read_text(encoding="utf-8"))


def _over_rounds(rounds: list[Any], of: Callable[[list[Any]], Any] = median) -> Any:
    if not isinstance(rounds[0], dict):
        return of(rounds)
    return {
        key: _over_rounds([figures[key] for figures in rounds], min if key == "fastest" else of)
        for key in rounds[0]
    }


def describe(package: str, asking_pip: bool) -> dict[str, Any] | None:
    """Version, size and keepers of an installed package; ``None`` of one that is not installed."""
    if not _installed(package):
        return None
    found = distribution(package)
    metadata = found.metadata.json
    size = sum(file.size or 0 for file in found.files or ())
    facts: dict[str, Any] = {
        "version": found.version,
        "installed_mb": round(size / 1e6, 1),
        "requires": [line for line in found.requires or () if "extra ==" not in line],
        "licence": metadata.get("license_expression") or metadata.get("license") or _classified(metadata),
        "author": metadata.get("author") or metadata.get("author_email"),
        "python": metadata.get("requires_python"),
    }
    if asking_pip:
        answer = _pip("index", "versions", package, "--json")
        facts["releases"] = len(json.loads(answer)["versions"]) if answer else None
        facts["wheels"] = {name: _has_wheel(package, found.version, tags) for name, tags in PLATFORMS.items()}
    return facts


def report(found: dict[str, Any]) -> str:
    """The tables as Markdown, and what was chosen."""
    machine, rows, kept = found["machine"], [], []
    for engine, by_threads in found["engines"].items():
        for threads, figures in by_threads.items():
            first = (f"{figures['first_answer_s']:.2f}", f"{figures['first_answer_mb']:.0f}")
            ms = (f"{figures['ms_per_face'][str(n)]['fastest']:.1f}" for n in BATCHES)
            rows.append((engine, threads.partition(" ")[0], *first, *ms))
    for package, facts in found["packages"].items():
        if facts is not None:
            wheels = ", ".join(name for name, there in facts.get("wheels", {}).items() if there)
            size, releases = f"{facts['installed_mb']:.0f}", str(facts.get("releases", ABSENT))
            author = facts["author"].partition(" <")[0]
            kept.append((package, facts["version"], size, facts["licence"], author, releases, wheels))
    header = (
        "engine",
        "threads",
        "first answer, s",
        "MB then",
        *(f"ms a face, {n} at once" for n in BATCHES),
    )
    how = (
        f"Written by `{found['command']}` with docs/measurements/engines.json. Both networks of "
        f"`{found['model']}` on {machine['cores']} cores ({machine['vectors'] or machine['processor']}); the "
        f"fastest of {found['rounds'] * found['repeats']} repeats in {found['rounds']} processes. The "
        f"machine's load was {found['load_before']:.1f}: the more it is over the cores, the more only ratios "
        "count."
    )
    kept_header = ("package", "version", "MB", "licence", "author", "releases", "wheels")
    lines = ["# What runs the networks", "", wrap(how), "", table(header, rows), "", table(kept_header, kept)]
    shared = found["engines"]["LiteRT"].get(f"{machine['cores']} threads", {}).get("threads")
    if shared:
        ways = ("one_behind_a_lock", "one_a_thread")
        one, own = (shared[f"{way}_ms_per_face"]["fastest"] for way in ways)
        lines += [
            "",
            wrap(
                f"LiteRT asked by {shared['threads']} threads at once: one network behind a lock needs "
                f"{one:.1f} ms a face, a network for each thread {own:.1f} ms and as many times the memory."
            ),
        ]
    return "\n".join([*lines, "", wrap(_CHOICE)]) + "\n"


def _classified(metadata: Mapping[str, str | list[str]]) -> str | None:
    said = [line for line in metadata.get("classifier", ()) if line.startswith("License")]
    return said[0].rpartition(" :: ")[2] if said else None


def _has_wheel(package: str, version: str, platforms: Sequence[str]) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["--dry-run", "--no-deps", "--only-binary=:all:", "--target", folder]
        arguments += [f"--platform={platform}" for platform in platforms]
        return _pip("install", *arguments, f"{package}=={version}") is not None


def _pip(*arguments: str) -> str | None:
    command = [sys.executable, "-m", "pip", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None


def _installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
