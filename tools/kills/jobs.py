"""The work that is killed: small, on made-up chips, through the same functions as the commands."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image

from agegender.assets import EXAMPLE
from agegender.commands.audit import run as run_audit
from agegender.commands.predict import run as run_predict
from agegender.data.table import read_dataset
from agegender.models.card import HISTORY_FILE, read_card, trained_models
from agegender.models.store import file_sha256
from agegender.models.systems.vggface import VGGFaceOptions
from agegender.publishing.publish import publish
from agegender.runs.records import BEST_WEIGHTS, LAST_WEIGHTS, read_history
from agegender.training.config import Stage, TrainingConfig
from agegender.training.loop import train

EPOCHS = 3
_CHIPS = 120
_NAME = "killed"


@dataclass(frozen=True)
class Job:
    """A kind of work.

    Attributes:
        name: What it is.
        prepare: Puts what it needs into a folder of its own.
        work: Does it there, or goes on with it; raises where that fails.
        check: Raises where something in the folder is there and not whole.
        check_done: The same, and where something is missing.
    """

    name: str
    prepare: Callable[[Path], None]
    work: Callable[[Path], None]
    check: Callable[[Path], None]
    check_done: Callable[[Path], None]


def jobs(made: Path) -> list[Job]:
    """The kinds of work.

    Args:
        made: Folder for what they are done on. A process that has begun to use TensorFlow cannot be forked,
            so the run that is published is made where it is published first.
    """
    chips = made / "chips"
    _write_chips(chips)

    def work_training(folder: Path) -> None:
        _train(chips, folder / "run")

    def prepare_publishing(folder: Path) -> None:
        run, first = made / "run", made / "weights"
        if run.is_dir() and first.is_dir():
            shutil.copytree(run, folder / "run")
            shutil.copytree(first, folder / "weights")

    def work_publishing(folder: Path) -> None:
        if not (folder / "run").is_dir():  # once: the run, and a first model that later ones replace
            _train(chips, folder / "run")
            _publish(chips, folder)
            shutil.copytree(folder / "run", made / "run")
            shutil.copytree(folder / "weights", made / "weights")
        _publish(chips, folder)

    def work_export(folder: Path) -> None:
        failed = run_predict(
            paths=[str(folder / "photos")],
            model=None,
            chips=False,
            json=str(folder / "faces.json"),
            csv=str(folder / "faces.csv"),
            annotate=folder / "annotated",
            blur=None,
        )
        if failed:
            raise RuntimeError("a photo failed")

    def work_audit(folder: Path) -> None:
        run_audit(
            [str(chips)],
            suspects=False,
            json=str(folder / "audit.json"),
            csv=str(folder / "audit.csv"),
            pictures=folder / "sheets",
        )

    return [
        Job("training", lambda folder: (folder / "run").mkdir(), work_training, _check_run, _check_whole_run),
        Job("publishing", prepare_publishing, work_publishing, _check_models, _check_published),
        Job("export", _write_photos, work_export, _check_files, _check_exported),
        Job("audit", lambda folder: None, work_audit, _check_files, _check_audited),
    ]


def _write_chips(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(7)
    for i in range(_CHIPS):
        pixels = _noise(rng)
        age, gender = int(rng.integers(1, 90)), i % 2
        Image.fromarray(pixels).save(folder / f"{age}_{gender}_0_20170116{i:09d}.jpg.chip.jpg")


def _noise(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A blurred random picture of 64 pixels: no two are near copies."""
    small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    return np.asarray(small.resize((64, 64)))


def _write_photos(folder: Path) -> None:
    (folder / "photos").mkdir()
    with Image.open(EXAMPLE) as photo:
        small = photo.convert("RGB").resize((photo.width // 4, photo.height // 4))
    for i in range(6):
        small.rotate(i).save(folder / "photos" / f"{i}.jpg")


def _train(chips: Path, run: Path) -> None:
    tf.config.run_functions_eagerly(True)  # tracing takes longer than these few steps
    run.mkdir(exist_ok=True)
    options = VGGFaceOptions(backbone="mobilenet", input_size=(32, 32), hidden=(8,))
    config = TrainingConfig(
        "gender",
        options=options,
        stages=(Stage("head", 1, 1e-3, "all"), Stage("finetune", EPOCHS - 1, 2e-4, 0)),
        base_weights="none",
        batch_size=64,
    )
    train(config, read_dataset(str(chips)), run, resume=True, quiet=True)


def _publish(chips: Path, folder: Path) -> None:
    publish(
        {"gender": folder / "run"},
        _NAME,
        read_dataset(str(chips)),
        title="Killed now and then",
        corruptions=False,
        weights_dir=folder / "weights",
    )


# --- what must hold -------------------------------------------------------------------------------------


def _check_run(folder: Path) -> None:
    for path in (folder / "run").glob("*.json"):
        json.loads(path.read_bytes())
    read_history(folder / "run" / HISTORY_FILE)
    for name in (BEST_WEIGHTS, LAST_WEIGHTS):
        if (path := folder / "run" / name).is_file():
            _open_weights(path)


def _check_whole_run(folder: Path) -> None:
    _check_run(folder)
    history = read_history(folder / "run" / HISTORY_FILE)
    if history["epoch"].tolist() != list(range(1, EPOCHS + 1)):
        raise RuntimeError(f"the history has the epochs {history['epoch'].tolist()}")


def _check_models(folder: Path) -> None:
    weights = folder / "weights"
    if not weights.is_dir():
        return
    for name in trained_models(weights):
        card = read_card(name, weights)
        for file, checksum in {**card["files"], **card["light"]["files"]}.items():
            if file_sha256(weights / name / file) != checksum:
                raise RuntimeError(f"{file} is not what the card says")
        if not card["metrics"]["n"]:
            raise RuntimeError("the card has no figures")
    if (folder / "run" / LAST_WEIGHTS).is_file() and trained_models(weights) != [_NAME]:
        raise RuntimeError("the model that was there is gone")


def _check_published(folder: Path) -> None:
    _check_models(folder)
    if trained_models(folder / "weights") != [_NAME]:
        raise RuntimeError("no model is there")


def _check_files(folder: Path) -> None:
    for path in (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")):
        match path.suffix:
            case ".json":
                json.loads(path.read_bytes())
            case ".csv":
                with path.open(encoding="utf-8", newline="") as file:
                    if len({len(row) for row in csv.reader(file)}) > 1:
                        raise RuntimeError(f"{path.name} has rows of several lengths")
            case ".jpg" | ".png":
                with Image.open(path) as image:
                    image.load()


def _check_exported(folder: Path) -> None:
    _check_files(folder)
    images = json.loads((folder / "faces.json").read_bytes())["images"]
    if len(images) != 6 or len(list((folder / "annotated").iterdir())) != 6:
        raise RuntimeError("photos are missing")
    if not (folder / "faces.csv").is_file():
        raise RuntimeError("the table is missing")


def _check_audited(folder: Path) -> None:
    _check_files(folder)
    if json.loads((folder / "audit.json").read_bytes())["files"] != _CHIPS:
        raise RuntimeError("chips are missing")


def _open_weights(path: Path) -> None:
    import h5py

    with h5py.File(path) as file:
        if not list(file):
            raise RuntimeError(f"{path.name} is empty")
