"""From finished runs to a model that predicts: `weights/<name>/` with weights, history, split and card.

The calibration half of validation, which chose nothing, fits the calibration; the test split is then looked
at, once, for the card.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from agegender.assets import AUDIT
from agegender.calibration import AgeCalibration, GenderCalibration, fit_age, fit_gender
from agegender.data.split import Partition, partition
from agegender.data.split_file import write_split
from agegender.data.table import Dataset
from agegender.errors import ConfigError
from agegender.evaluation.corruptions import evaluate_corruptions
from agegender.evaluation.evaluate import evaluate
from agegender.evaluation.groups import Baseline, fit_baseline, measure_groups
from agegender.faces import FaceDetector
from agegender.files import paths_below
from agegender.labels import NetworkTask
from agegender.models.card import (
    CARD_FILE,
    HISTORY_FILE,
    SPLIT_FILE,
    find_model,
    folders_with,
    read_card,
    write_card,
)
from agegender.models.registry import get_system
from agegender.models.store import file_sha256, load_weights, save_float16
from agegender.models.system import named_outputs
from agegender.models.trained import TrainedModel
from agegender.places import weights_folders
from agegender.predictor import Predictor
from agegender.progress import Progress
from agegender.publishing.answers import answer_files
from agegender.publishing.light import write_light
from agegender.publishing.place import new_model
from agegender.publishing.provenance import FinishedRun, provenance, whole_history
from agegender.publishing.sets import figures, measure_on_sets, name_sets
from agegender.runs.records import BEST_WEIGHTS, RUNS_DIR
from agegender.training.config import TrainingConfig
from agegender.training.loop import take_apart
from agegender.training.targets import age_ends

Runs = Mapping[NetworkTask, Path]

_LEARNT_FROM: Final = ("train", "selection", "calibration")
_WITHOUT_EFFECT: Final = ("dropout", "age_head")
"""Options in which the networks of a pair may differ: the gender network is the same whatever they are."""

INTENDED_USE: Final = (
    "Teaching how such models are trained and measured; exploring one's own photos; research on age and "
    "gender estimation. Output is how a face looks to those who labelled the photos, not what a person is."
)
LIMITS: Final = (
    "Not for decisions about people: no identification, access, hiring, pricing, policing or age checks.",
    "Gender is what annotators perceived, in two classes; it says nothing about identity.",
    "Errors differ between groups: see the figures by age band, gender and ethnicity code. Children and old "
    "people fare differently.",
    "The ethnicity codes are UTKFace's, five words for all people; they are used to compare errors only.",
    "Trained on aligned, mostly well-lit faces; dark, blurred, covered or turned faces are answered worse: "
    "see the figures under corruptions.",
)


def limits() -> list[str]:
    """`LIMITS`, and what the audit of UTKFace found of its labels."""
    noise = json.loads(AUDIT.read_text(encoding="utf-8"))["label_noise"]
    years, share = noise["age_gap"]["value"], noise["gender_differs"]["value"]
    labels = (
        f"Labels are guesses too: two labels of the same photo differ by {years:.1f} years on average in "
        f"UTKFace, and by gender in {share:.1%} of such pairs. No figure on it can be free of that."
    )
    return [*LIMITS, labels.replace("%", " %")]


def publish(
    runs: Runs,
    name: str,
    dataset: Dataset,
    *,
    title: str,
    notes: tuple[str, ...] = (),
    corruptions: bool = True,
    detector: FaceDetector | None = None,
    sets: Sequence[Dataset] = (),
    share: bool = False,
    light: bool = True,
    weights_dir: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Makes a model out of finished runs and measures it.

    Args:
        runs: The run folder of each network: "age" and "gender" or one of them, or "both" alone.
        name: The model's name and folder. A model that is there under that name is replaced.
        dataset: The chips the runs were trained on.
        title: For people.
        notes: Remarks for the card, such as what the model learned from.
        corruptions: Whether the test split is also measured under each corruption: seven more passes.
        detector: When given, the test split is also measured through detection and the crop of photos.
        sets: Other labelled photos to measure it on, as `measure_sets` does.
        share: Whether layers that both networks of a pair have in common are stored once.
        light: Whether to write the light form too, which predicts without TensorFlow.
        weights_dir: Where models live; ``None`` for the first place that `agegender.places` lists.
        progress: Called in each of the passes over files.

    Returns:
        The card.

    Raises:
        ConfigError: A run is of another task, has no weights, or the runs do not fit together.
        DatasetError: A split is empty, or has one label only.
        ModelError: The light form does not answer as the networks do.
    """
    if not runs or ("both" in runs and len(runs) > 1):
        raise ConfigError(f"a model is made of an age run, a gender run, or both; not of {', '.join(runs)}")
    networks = [FinishedRun.of(task, folder) for task, folder in runs.items()]
    options = _common_options(networks)
    splits = _take_apart(dataset, networks[0].folder.parent, progress)
    for network in networks:
        splits.rows("train", network.task, network.config.sources)
        told_apart: NetworkTask | None = None if network.task == "age" else "gender"
        splits.rows("calibration", told_apart, network.config.sources)
        splits.rows("test", told_apart)

    home = weights_folders(weights_dir)[0]
    with new_model(home, name) as folder:
        card: dict[str, Any] = {
            "name": name,
            "system": networks[0].config.system,
            "title": title,
            "published": datetime.now(UTC).date().isoformat(),
            "notes": list(notes),
            "options": options,
            **_write_networks(networks, folder, share=share),
            **provenance(networks),
            "intended_use": INTENDED_USE,
            "limits": limits(),
        }
        sources = networks[0].config.sources
        if sources:  # the sizes of the split are those of all
            card["data"]["used"] = {use: len(splits.rows(use, sources=sources)) for use in _LEARNT_FROM}
        write_card(folder, card)
        write_split(folder / SPLIT_FILE, splits.digests, splits.names)
        if splits.hash != card["split"]["hash"]:
            card["notes"].append("Measured on another state of the dataset than it was trained on.")
        _calibrate_and_measure(
            folder,
            card,
            splits,
            corruptions=corruptions,
            detector=detector,
            sets=sets,
            light=light,
            progress=progress,
        )
    return read_card(name, home)


def measure_again(
    name: str,
    dataset: Dataset,
    *,
    corruptions: bool = False,
    detect: bool = False,
    detector: Callable[[], FaceDetector] = FaceDetector,
    sets: Sequence[Dataset] = (),
    light: bool = False,
    weights_dir: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Calibrates a published model anew and repeats every measurement that its card holds; its weights stay.

    Args:
        name: The model.
        dataset: The chips it was trained on.
        corruptions: Whether to measure under corruptions where the card has no such figures yet.
        detect: The same of figures through detection.
        detector: Makes what those are measured through.
        sets: As for `publish`; all that the card has figures on must be among them.
        light: Whether to write the light form first, anew where there is one.
        weights_dir: Where models live; ``None`` for the first place that `agegender.places` lists.
        progress: Called in each of the passes over files.

    Returns:
        The card.

    Raises:
        UnknownModelError: There is no such model.
        WeightsNotFoundError: It has not been published here.
        ConfigError: The dataset is in another state than the model was trained on: no figure of it belongs
            in the card. Or a set is missing.
        ModelError: The light form does not answer as the networks do.
    """
    card = read_card(name, weights_dir)
    missing = sorted(set(card.get("sets", {})) - set(name_sets(sets)))
    if missing:
        raise ConfigError(
            f"the card has figures on {', '.join(missing)} too: name their folders, to repeat them"
        )
    splits = _take_apart(dataset, RUNS_DIR, progress)
    if splits.hash != card["split"]["hash"]:
        raise ConfigError(
            f"{dataset.folder} is not in the state that {name!r} was trained on: its split differs"
        )
    home = next(home for home in weights_folders(weights_dir) if name in folders_with(CARD_FILE, home))
    with new_model(home, name) as folder:
        # A copy is calibrated and measured, and takes the model's place at once.
        shutil.copytree(find_model(name, home), folder, dirs_exist_ok=True)
        _calibrate_and_measure(
            folder,
            card,
            splits,
            corruptions=corruptions or "corruptions" in card,
            detector=detector() if detect or "detect" in card else None,
            sets=sets,
            light=light,
            progress=progress,
        )
    return read_card(name, weights_dir)


def _write_networks(networks: list[FinishedRun], folder: Path, *, share: bool) -> dict[str, Any]:
    files: dict[str, str] = {}
    parameters, tasks = 0, set()
    first: Path | None = None
    for network in networks:
        model = get_system(network.config.system).build(network.task, network.config.options)
        load_weights(model, network.folder / BEST_WEIGHTS)
        if share and first is not None:
            written = save_float16(model, folder / f"{network.task}.weights.json", share_with=first)
        else:
            first = folder / f"{network.task}.weights.h5"
            written = save_float16(model, first)
        files |= {path.name: file_sha256(path) for path in written}
        parameters += model.count_params()
        outputs = named_outputs(model)
        tasks |= {task for task, output in (("age", "age"), ("gender", "female")) if output in outputs}
    whole_history([network.folder for network in networks]).to_csv(folder / HISTORY_FILE, index=False)
    return {"tasks": sorted(tasks), "parameters": parameters, "files": files}


def _common_options(networks: list[FinishedRun]) -> dict[str, Any]:
    """The options that build every network of the model."""
    hashes = {network.environment.get("split", {}).get("hash") for network in networks}
    if len(hashes) != 1 or None in hashes:
        raise ConfigError("the runs were trained on different splits")
    for key in ("system", "sources"):
        if len({getattr(network.config, key) for network in networks}) > 1:
            raise ConfigError(f"the runs differ in {key}")
    kinds = [network.config.to_dict()["options"] for network in networks]
    for key in kinds[0]:
        if key not in _WITHOUT_EFFECT and any(kind[key] != kinds[0][key] for kind in kinds):
            raise ConfigError(f"the runs differ in {key}")
    options: dict[str, Any] = next(
        (kind for kind, network in zip(kinds, networks, strict=True) if network.task == "age"), kinds[0]
    )
    return options


def _take_apart(dataset: Dataset, runs: Path, progress: Progress | None) -> Partition:
    """The split, and where its sources have the faces, of which the runs kept record."""
    if dataset.table["aligned"].all():
        return partition(dataset, progress=progress)
    return take_apart(dataset, runs, progress=progress)


def _calibrate_and_measure(
    folder: Path,
    card: dict[str, Any],
    splits: Partition,
    *,
    corruptions: bool,
    detector: FaceDetector | None,
    sets: Sequence[Dataset],
    light: bool,
    progress: Progress | None,
) -> None:
    """Fills in the card of the model whose weights are in the folder, and writes it there."""
    model = TrainedModel(folder.name, folder.parent)
    config = TrainingConfig.from_dict(next(iter(card["training"].values()))["config"])
    card["calibration"] = _calibrate(model, splits, config, progress)
    if light:
        card["light"] = _write_light(model, folder, splits, progress)
    write_card(folder, card)
    predictor = Predictor(folder.name, weights_dir=folder.parent)
    card |= _measure(
        predictor,
        splits,
        card["calibration"],
        fit_baseline(splits.rows("train", sources=config.sources)),
        corruptions=corruptions,
        detector=detector,
        progress=progress,
    )
    if sets:
        card["sets"] = measure_on_sets(folder.name, folder.parent, sets, progress)
    write_card(folder, card)


def _write_light(
    model: TrainedModel, folder: Path, splits: Partition, progress: Progress | None
) -> dict[str, Any]:
    rows = splits.rows("test")
    files, faces = paths_below(splits.dataset.folder, rows["file"]), splits.faces_in(rows)
    return write_light(model, folder, files, progress, faces=faces)


def _calibrate(
    model: TrainedModel, splits: Partition, config: TrainingConfig, progress: Progress | None
) -> dict[str, dict[str, Any]]:
    rows = splits.rows("calibration", sources=config.sources)
    files = paths_below(splits.dataset.folder, rows["file"])
    raw = answer_files(model, files, progress, "Calibrating", faces=splits.faces_in(rows))
    calibration: dict[str, AgeCalibration | GenderCalibration] = {}
    if raw.age is not None:
        used = (rows["age_min"] == rows["age_max"]).to_numpy()  # of a range nobody knows the error
        used = used if used.any() else np.ones(len(rows), dtype=bool)
        distribution = None if raw.age_distribution is None else raw.age_distribution[used]
        # Sources count alike, however many photos each has: a face from outside is like none of them.
        sources = rows["source"][used]
        weights = 1 / sources.map(sources.value_counts())
        calibration["age"] = fit_age(
            age_ends(config, rows[used]), raw.age[used], distribution, weights=weights
        )
    if raw.female is not None:
        calibration["gender"] = fit_gender(rows["gender"], raw.female)
    return {task: fitted.to_dict() for task, fitted in calibration.items()}


def _measure(
    predictor: Predictor,
    splits: Partition,
    calibration: dict[str, dict[str, Any]],
    baseline: Baseline,
    *,
    corruptions: bool,
    detector: FaceDetector | None,
    progress: Progress | None,
) -> dict[str, Any]:
    """The card's figures on the test split."""
    dataset, rows = splits.dataset, splits.rows("test")
    clean = evaluate(predictor, dataset, rows, progress=progress)
    found: dict[str, Any] = {"metrics": figures(clean)}
    faces = clean.faces.merge(rows[["file", "ethnicity"]], on="file", validate="one_to_one")
    if "female" in faces:
        below = GenderCalibration.from_dict(calibration["gender"]).uncertain_below
        faces["uncertain"] = np.maximum(faces["female"], 1 - faces["female"]) < below
    photos = dict(zip(rows["file"], splits.groups[rows.index], strict=True))
    found["groups"] = measure_groups(faces, baseline, clusters=faces["file"].map(photos))
    chips = rows[rows["aligned"]]
    if corruptions and not chips.empty:
        if len(chips) < len(rows):
            clean = evaluate(predictor, dataset, chips, progress=progress)
        found["corruptions"] = evaluate_corruptions(predictor, dataset, chips, clean=clean, progress=progress)
    if detector is not None:
        found["detect"] = figures(evaluate(predictor, dataset, rows, detector=detector, progress=progress))
    return found
