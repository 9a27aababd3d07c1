"""Measures how well maps of contributions agree with what happens when places of a face are covered.

    python -m tools.once.measure_explanations --data DIR [--model vggface] [--n 40] [--json FILE]

For each chip, the answer is asked for again with every place covered (`agegender.explain.occlude`), which is
what really happens, and the differences are correlated with the maps of four methods: Grad-CAM as published,
the same with signs, and integrated gradients at the last map and at the one that the package takes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from agegender import Predictor, read_image
from agegender.data.split import assign_splits
from agegender.data.table import read_dataset
from agegender.explain import ContributionMapper, occlude
from agegender.explain.occlusion import CELLS, PATCH
from agegender.files import paths_below
from agegender.labels import Task
from agegender.models.trained import TrainedModel
from agegender.runtime import prepare_tensorflow

LAST_MAP = 2
"""Places a side: whatever map comes last."""


def main() -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of UTKFace's chips")
    parser.add_argument("--model", default="vggface")
    parser.add_argument("--n", type=int, default=40, help="how many chips of the validation split")
    parser.add_argument("--json", type=Path, default=Path("docs/measurements/explanations.json"))
    options = parser.parse_args()
    prepare_tensorflow()
    result = measure(options.model, validation_chips(options.data, options.n))
    text = json.dumps(result, indent=2)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


def validation_chips(folder: Path, n: int) -> list[NDArray[np.uint8]]:
    """Evenly spaced chips of the validation split, in the order of their names."""
    dataset = read_dataset(folder)
    with tqdm(total=len(dataset.table), desc="reading", unit="file") as bar:
        splits = assign_splits(dataset, progress=lambda _what, done, _all: bar.update(done - bar.n))
    files = dataset.table.loc[splits == "validation", "file"].sort_values().tolist()
    chosen = np.linspace(0, len(files) - 1, min(n, len(files))).round().astype(int)
    return [read_image(path) for path in paths_below(dataset.folder, [files[index] for index in chosen])]


def measure(model: str, chips: list[NDArray[np.uint8]]) -> dict[str, object]:
    """Correlates the maps of every chip, and returns the figures for the JSON file."""
    predictor = Predictor(model)
    trained = TrainedModel(model)
    last, ours = ContributionMapper(trained, min_cells=LAST_MAP), ContributionMapper(trained)
    agreement: dict[str, dict[str, list[float]]] = {}
    incomplete: dict[str, list[float]] = {}
    sizes: dict[str, dict[str, list[int]]] = {}
    for chip in tqdm(chips, desc="explaining", unit="face"):
        covered = occlude(predictor, chip)
        for task in ours.tasks:
            truth = covered.age if task == "age" else covered.female
            assert truth is not None
            explained = {"last_map": last.explain(chip, task), "ours": ours.explain(chip, task)}
            grad_cam = signed_grad_cam(last, chip, task)
            maps = {
                "grad_cam": np.maximum(grad_cam, 0),
                "grad_cam_signed": grad_cam,
                "integrated_last_map": explained["last_map"].values,
                "integrated": explained["ours"].values,
            }
            for name, values in maps.items():
                agreement.setdefault(task, {}).setdefault(name, []).append(correlation(values, truth))
            whole = explained["ours"]
            gap = abs(whole.values.sum() - (whole.answer - whole.reference))
            incomplete.setdefault(task, []).append(gap)
            sizes[task] = {name: list(found.values.shape) for name, found in explained.items()}
    return {
        "model": model,
        "split": "validation",
        "n": len(chips),
        "occlusion": {"places": [CELLS, CELLS], "patch": PATCH},
        "maps": sizes,
        "mean_correlation_with_occlusion": {
            task: {name: round(float(np.mean(values)), 3) for name, values in methods.items()}
            for task, methods in agreement.items()
        },
        "mean_error_of_the_sum": {task: round(float(np.mean(gaps)), 4) for task, gaps in incomplete.items()},
    }


def signed_grad_cam(mapper: ContributionMapper, chip: NDArray[np.uint8], task: Task) -> NDArray[np.float64]:
    """Grad-CAM before its last step, which drops what is negative; of shape (rows, columns)."""
    import tensorflow as tf

    face, _, score = mapper.cut(chip, task)
    maps = face[None]
    with tf.GradientTape() as tape:
        tape.watch(maps)
        answer = score(maps)
    slopes = tf.reduce_mean(tape.gradient(answer, maps), axis=(1, 2), keepdims=True)
    return np.asarray(tf.reduce_sum(maps * slopes, axis=-1)[0], dtype=np.float64)


def correlation(values: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Pearson's, at the resolution of the truth; 0 for a map without any differences.

    A cover reaches over the places beside its own, so a map of as many places is averaged likewise.
    """
    resized = cv2.resize(values.astype(np.float32), truth.shape[::-1], interpolation=cv2.INTER_LINEAR)
    if values.shape == truth.shape:
        resized = cv2.blur(resized, (3, 3), borderType=cv2.BORDER_REFLECT)
    if np.ptp(resized) == 0 or np.ptp(truth) == 0:
        return 0.0
    return float(np.corrcoef(resized.ravel(), truth.ravel())[0, 1])


if __name__ == "__main__":
    raise SystemExit(main())
