"""From finished runs to a model that predicts: `weights/<name>/` with weights, history and card.

The validation split fits the calibration; the test split is then looked at, once, for the card.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from agegender.data.generator import read_chip
from agegender.data.table import Dataset
from agegender.errors import ConfigError
from agegender.evaluation.calibration import AgeCalibration, GenderCalibration, fit_age, fit_gender
from agegender.evaluation.evaluate import evaluate, select_rows
from agegender.labels import Task
from agegender.models import vggface
from agegender.models.card import CARD_FILE, HISTORY_FILE, WEIGHTS_DIR, read_card
from agegender.models.store import file_sha256, load_weights, save_float16
from agegender.models.trained import TrainedModel
from agegender.predictor import Predictor
from agegender.training.config import TrainingConfig
from agegender.training.runs import BEST_WEIGHTS, read_history, read_json, write_json

Progress = Callable[[int, int], None]

_SHARED_OPTIONS: Final = ("backbone", "input_size", "hidden")
_RECORDED_ENVIRONMENT: Final = ("started", "python", "packages", "machine")

LICENCE: Final = {
    "weights": "Research and education only, non-commercial: trained on UTKFace, whose licence is that.",
    "data": "UTKFace: non-commercial research; the photos belong to their owners.",
    "base": "See the card of the base (weights/mobilenet-vggface2/card.json).",
    "code": "MIT",
}
INTENDED_USE: Final = (
    "Teaching how such models are trained and measured; exploring one's own photos; research on age and "
    "gender estimation. Output is how a face looks to annotators of UTKFace, not what a person is."
)
LIMITS: Final = (
    "Not for decisions about people: no identification, access, hiring, pricing, policing or age checks.",
    "Gender is what annotators perceived, in two classes; it says nothing about identity.",
    "Errors differ between groups: see the figures by age band. Children and old people fare differently.",
    "Trained on aligned, mostly well-lit faces; dark, blurred, covered or turned faces are answered worse.",
)


def publish(
    runs: dict[Task, Path],
    name: str,
    dataset: Dataset,
    *,
    title: str,
    weights_dir: Path = WEIGHTS_DIR,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Makes a model out of finished runs and measures it.

    Args:
        runs: The run folder of each task; one task alone will do.
        name: The model's name and folder. A model that is there under that name is replaced.
        dataset: The chips the runs were trained on.
        title: For people.
        weights_dir: Where models live.
        progress: Called with (files done, files in all) in each of the passes over files.

    Returns:
        The card.

    Raises:
        ConfigError: A run is of another task, has no weights, or the runs do not fit together.
        DatasetError: A split is empty.
    """
    configs = {task: TrainingConfig.read(folder / "config.json") for task, folder in runs.items()}
    environments = {task: read_json(folder / "environment.json") for task, folder in runs.items()}
    options = _common_options(configs, environments)

    weights_dir.mkdir(parents=True, exist_ok=True)
    # Made beside the models and moved in whole, so that a failure costs no model that was there.
    with tempfile.TemporaryDirectory(dir=weights_dir, prefix=".publishing-") as staging:
        folder = Path(staging) / name
        folder.mkdir()
        card: dict[str, Any] = {
            "name": name,
            "system": next(iter(configs.values())).system,
            "title": title,
            "published": datetime.now(UTC).date().isoformat(),
            "tasks": list(runs),
            "options": options,
            **_write_networks(runs, configs, folder),
            **_provenance(runs, configs, environments),
            "licence": LICENCE,
            "intended_use": INTENDED_USE,
            "limits": list(LIMITS),
        }
        write_json(folder / CARD_FILE, card)
        card["calibration"] = _calibrate(name, dataset, folder.parent, progress)
        write_json(folder / CARD_FILE, card)
        rows = select_rows(dataset, split="test", progress=progress)
        predictor = Predictor(name, weights_dir=folder.parent)
        document = evaluate(predictor, dataset, rows, progress=progress).document()
        figures = {key: value for key, value in document.items() if key != "model"}
        card["metrics"] = {"split": "test", **figures}
        write_json(folder / CARD_FILE, card)
        if (weights_dir / name).exists():
            (weights_dir / name).rename(Path(staging) / "replaced")
        folder.rename(weights_dir / name)
    return read_card(name, weights_dir)


def _write_networks(
    runs: dict[Task, Path], configs: dict[Task, TrainingConfig], folder: Path
) -> dict[str, Any]:
    files, parameters = {}, 0
    for task, run in runs.items():
        network = vggface.build(task, configs[task].options)
        load_weights(network, run / BEST_WEIGHTS)
        path = folder / f"{task}.weights.h5"
        save_float16(network, path)
        files[path.name] = file_sha256(path)
        parameters += network.count_params()
    history = pd.concat([read_history(run / HISTORY_FILE) for run in runs.values()], ignore_index=True)
    history.to_csv(folder / HISTORY_FILE, index=False)
    return {"parameters": parameters, "files": files}


def _provenance(
    runs: dict[Task, Path],
    configs: dict[Task, TrainingConfig],
    environments: dict[Task, dict[str, Any]],
) -> dict[str, Any]:
    first = next(iter(environments.values()))
    return {
        "base": first["base"],
        "data": {"name": "UTKFace", **first["dataset"]},
        "split": first["split"],
        "training": {
            task: {
                "config": configs[task].to_dict(),
                "validation": read_json(run / "metrics.json"),
                "environment": {key: environments[task][key] for key in _RECORDED_ENVIRONMENT},
            }
            for task, run in runs.items()
        },
    }


def _common_options(
    configs: dict[Task, TrainingConfig], environments: dict[Task, dict[str, Any]]
) -> dict[str, Any]:
    for task, config in configs.items():
        if config.task != task:
            raise ConfigError(f"the run given for {task} was trained for {config.task}")
    hashes = {environment.get("split", {}).get("hash") for environment in environments.values()}
    if len(hashes) != 1 or None in hashes:
        raise ConfigError("the runs were trained on different splits")
    kinds = [config.to_dict() for config in configs.values()]
    for key in _SHARED_OPTIONS:
        if any(kind["options"][key] != kinds[0]["options"][key] for kind in kinds):
            raise ConfigError(f"the runs differ in {key}")
    options: dict[str, Any] = configs["age" if "age" in configs else "gender"].to_dict()["options"]
    return options


def _calibrate(
    name: str, dataset: Dataset, weights_dir: Path, progress: Progress | None
) -> dict[str, dict[str, Any]]:
    model = TrainedModel(name, weights_dir)
    rows = select_rows(dataset, split="validation", progress=progress)
    chips = [read_chip(dataset.folder / file) for file in rows["file"]]
    raw = model.answer(np.stack(chips))
    calibration: dict[str, AgeCalibration | GenderCalibration] = {}
    if raw.age is not None:
        calibration["age"] = fit_age(rows["age"], raw.age, raw.age_distribution)
    if raw.female is not None:
        calibration["gender"] = fit_gender(rows["gender"], raw.female)
    return {task: fitted.to_dict() for task, fitted in calibration.items()}
