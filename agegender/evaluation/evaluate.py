"""Runs a model over labelled chips and measures it, in the shape that cards and `evaluate --json` share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.data.split import assign_splits
from agegender.data.table import Dataset
from agegender.errors import ConfigError, DatasetError, ImageError
from agegender.evaluation.metrics import (
    age_metrics,
    gender_metrics,
    range_label_metrics,
    range_metrics,
    reliability,
)
from agegender.faces import FaceDetector, crop_face, main_face, pad_chip
from agegender.files import unescape_name
from agegender.images import read_image
from agegender.labels import age_band
from agegender.prediction import Answer, ChipPredictor
from agegender.progress import Progress

BATCH_SIZE: Final = 64
SAMPLE_SEED: Final = 20
_READERS: Final = 4
_DECIMALS: Final = 4
_LABELS: Final = ("file", "age", "age_min", "age_max", "gender", "group", "source")

Pixels = NDArray[np.uint8]

Change = Callable[[str, Pixels], Pixels]
"""From a file's path below the folder and its RGB pixels to other pixels; called in several threads."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A model's predictions on labelled chips.

    Attributes:
        model: Name of the model.
        faces: One row a measured chip, in the order of the dataset's table: its columns ``file``, ``age``,
            ``age_min``, ``age_max``, ``gender``, ``group`` and ``source``, then ``predicted_age``, ``low``
            and ``high`` (years), ``female`` (probability), ``uncertain`` (whether gender is left open). The
            columns of what the model does not predict are missing; ``predicted_range`` (index of one of the
            nine) is there only where the model answers age ranges by themselves.
        no_face: Files in which, under detection, no face was found.
        failed: Files that could not be read, as (file, reason).
        unlabelled: Files of the folder whose names are no labels, as (file, reason).
        seconds: Time spent predicting, with detection and cropping where these are part of it; reading and
            changing files and loading the model are not.
    """

    model: str
    faces: pd.DataFrame
    no_face: list[str]
    failed: list[tuple[str, str]]
    unlabelled: list[tuple[str, str]]
    seconds: float

    def document(self) -> dict[str, Any]:
        """The figures in the shape of the `evaluate --json` contract, rounded to four decimals."""
        n, figures = len(self.faces), measure(self.faces)
        if "age" in figures:
            figures["age"]["ranges"] = self._ranges()
        if "gender" in figures:
            figures["gender"]["reliability"] = self._reliability()
        for name in ("source", "group"):
            parts = self.faces.groupby(name, sort=True)
            figures[f"by_{name}"] = {
                str(key): {"n": len(part), **measure(part)} for key, part in parts if key
            }
        return {
            "model": self.model,
            "n": n,
            "skipped": len(self.failed) + len(self.unlabelled),
            "no_face": len(self.no_face),
            **rounded(figures),
            "ms_per_face": round(1000 * self.seconds / n, 3) if n else None,
        }

    def _ranges(self) -> dict[str, Any]:
        """The nine age ranges: as the model answers them by themselves, or else those its years fall into."""
        own = "predicted_range" in self.faces
        answered = self.faces["predicted_range"] if own else age_band(self.faces["predicted_age"])
        return {"own_answer": own, **range_metrics(self.faces["age"], answered)}

    def _reliability(self) -> list[dict[str, Any]]:
        female = self.faces["female"].to_numpy()
        correct = (female >= 0.5) == self.faces["gender"].to_numpy().astype(bool)
        return reliability(np.maximum(female, 1 - female), correct)


def measure(faces: pd.DataFrame) -> dict[str, Any]:
    """Measures predictions against labels.

    Args:
        faces: A table like `Evaluation.faces`, or some rows of one.

    Returns:
        `age_metrics` under "age" and `gender_metrics` under "gender", each only where it was predicted. Where
        labels are ranges, the figures of `age_metrics` take their middle for the age, and beside them stand
        ``ranges_n``, how many are, and what `range_label_metrics` says of these.
    """
    figures: dict[str, Any] = {}
    if "predicted_age" in faces:
        answers = (faces["predicted_age"], faces["low"], faces["high"])
        figures["age"] = age_metrics(faces["age"], *answers)
        ranged = (faces["age_min"] < faces["age_max"]).to_numpy(bool)
        if ranged.any():
            ends = faces["age_min"][ranged], faces["age_max"][ranged]
            within = range_label_metrics(*ends, *(answer[ranged] for answer in answers))
            figures["age"] |= {"ranges_n": int(ranged.sum()), **within}
    if "female" in faces:
        figures["gender"] = gender_metrics(
            faces["gender"], faces["female"], faces["age"], faces.get("uncertain")
        )
    return figures


def select_rows(
    dataset: Dataset,
    *,
    split: str | None = None,
    limit: int | None = None,
    seed: int = SAMPLE_SEED,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Chooses the labelled files to evaluate on.

    Args:
        dataset: The labelled files.
        split: "train", "validation", "test" or, of sources that have one, "dev"; ``None`` takes all.
        limit: At most so many files, drawn at random without replacement: names sort by age, so the first
            ones would all be babies.
        seed: Of the draw; the same seed on the same files gives the same sample.
        progress: Called while the files are read to find the split.

    Returns:
        Rows of ``dataset.table``, in its order.

    Raises:
        ConfigError: ``limit`` is less than 1.
        DatasetError: The split has no file.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"the limit must be at least 1, received {limit}")
    rows = dataset.table
    if split == "dev":  # which sources say themselves: no picture has to be read for it
        rows = rows[rows["given_split"] == split]
    elif split is not None:
        rows = rows[assign_splits(dataset, progress=progress) == split]
    if rows.empty:
        raise DatasetError(f"no file of {dataset.folder} is in the {split} split")
    if limit is not None and limit < len(rows):
        chosen = np.random.default_rng(seed).choice(len(rows), size=limit, replace=False)
        rows = rows.iloc[np.sort(chosen)]
    return rows


def evaluate(
    predictor: ChipPredictor,
    dataset: Dataset,
    rows: pd.DataFrame | None = None,
    *,
    detector: FaceDetector | None = None,
    change: Change | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Predicts labelled chips.

    Args:
        predictor: The model.
        dataset: Where the chips are.
        rows: Which rows of ``dataset.table``; all where not given.
        detector: When given, every picture goes through detection, with room added around it, and the crop of
            photos; its main face is predicted. Otherwise chips go to the model as they are, and only pictures
            that are none through detection, by a detector of its own.
        change: When given, what is done to each chip after it was read.
        progress: Called after each batch.

    Returns:
        The predictions, and the files that have none.

    Raises:
        ModelError: The model is unknown or its weights are missing.
    """
    rows = dataset.table if rows is None else rows
    as_it_is = rows["aligned"].to_numpy(bool) & (detector is None)
    if detector is None and not as_it_is.all():
        detector = FaceDetector()
    _warm_up(predictor, detector)

    kept: list[int] = []
    estimates: list[Answer] = []
    no_face: list[str] = []
    failed: list[tuple[str, str]] = []
    files = rows["file"].tolist()
    seconds = 0.0
    for start, batch in _batches(dataset.folder, files, change):
        readable: dict[int, Pixels] = {}
        for position, pixels in enumerate(batch, start=start):
            if isinstance(pixels, ImageError):
                failed.append((files[position], pixels.reason))
            else:
                readable[position] = pixels
        began = time.perf_counter()
        chips = {position: (chip, 0) for position, chip in readable.items() if as_it_is[position]}
        if detector is not None:
            photos = {position: photo for position, photo in readable.items() if position not in chips}
            chips = dict(sorted({**chips, **_detected_chips(detector, photos, predictor.margin)}.items()))
        estimates += _predict_any_size(predictor, list(chips.values()))
        seconds += time.perf_counter() - began
        kept += chips
        no_face += [files[position] for position in readable if position not in chips]
        if progress is not None:
            progress("Predicting" if detector is None else "Detecting", start + len(batch), len(files))

    faces = _tabulate(rows.iloc[kept], estimates)
    unlabelled = [(str(file), str(reason)) for file, reason in dataset.skipped.itertuples(index=False)]
    return Evaluation(predictor.model, faces, no_face, failed, unlabelled, seconds)


def _warm_up(predictor: ChipPredictor, detector: FaceDetector | None) -> None:
    """Loads models and lets them compile, so that neither is timed; missing weights show here."""
    predictor.predict_chips(np.zeros((BATCH_SIZE, 200, 200, 3), np.uint8))
    if detector is not None:
        detector.detect_many([np.zeros((300, 300, 3), np.uint8)])


def _batches(
    folder: Path, files: Sequence[str], change: Change | None
) -> Iterator[tuple[int, list[Pixels | ImageError]]]:
    """Reads and changes files in batches, the next one while the caller works on this one.

    Yields:
        ``(start, images)``: position of the batch's first file, and for each file its pixels or the error.
    """

    def read(file: str) -> Pixels | ImageError:
        try:
            pixels = read_image(folder / unescape_name(file))
        except ImageError as error:
            return error
        return pixels if change is None else change(file, pixels)

    starts = range(0, len(files), BATCH_SIZE)
    with ThreadPoolExecutor(_READERS) as pool:

        def submit(start: int) -> list[Future[Pixels | ImageError]]:
            return [pool.submit(read, file) for file in files[start : start + BATCH_SIZE]]

        waiting = submit(0)
        for start in starts:
            current, waiting = waiting, submit(start + BATCH_SIZE)
            yield start, [future.result() for future in current]


def _detected_chips(
    detector: FaceDetector, pictures: dict[int, Pixels], margin: int
) -> dict[int, tuple[Pixels, int]]:
    """Finds the main face of each picture as in a photo, and crops it; leaves out those without one."""
    if not pictures:
        return {}
    padded = {position: pad_chip(picture) for position, picture in pictures.items()}
    found: dict[int, tuple[Pixels, int]] = {}
    for (position, image), faces in zip(
        padded.items(), detector.detect_many(list(padded.values())), strict=True
    ):
        face = main_face(faces, image.shape)
        if face is not None:
            found[position] = crop_face(image, face, margin).pixels, margin
    return found


def _predict_any_size(predictor: ChipPredictor, chips: Sequence[tuple[Pixels, int]]) -> list[Answer]:
    """Predicts chips of mixed sizes and margins, in as few batches as there are kinds."""
    kinds: dict[tuple[tuple[int, ...], int], list[int]] = {}
    for index, (chip, margin) in enumerate(chips):
        kinds.setdefault((chip.shape, margin), []).append(index)
    answers: dict[int, Answer] = {}
    for (_, margin), indices in kinds.items():
        batch = np.stack([chips[index][0] for index in indices])
        answers |= zip(indices, predictor.predict_chips(batch, margin=margin), strict=True)
    return [answers[index] for index in range(len(chips))]


def _tabulate(rows: pd.DataFrame, estimates: Sequence[Answer]) -> pd.DataFrame:
    """Sets labels and estimates side by side."""
    table = rows[list(_LABELS)].reset_index(drop=True)
    ages = [age for age, _ in estimates if age is not None]
    genders = [gender for _, gender in estimates if gender is not None]
    # A model predicts a task for every face or for none.
    if ages:
        table["predicted_age"] = [age.years for age in ages]
        table["low"] = [age.low for age in ages]
        table["high"] = [age.high for age in ages]
        if ages[0].ranges is not None:
            table["predicted_range"] = [int(np.argmax(age.ranges)) for age in ages if age.ranges is not None]
    if genders:
        table["female"] = [gender.female for gender in genders]
        table["uncertain"] = [gender.uncertain for gender in genders]
    return table


def rounded(value: Any) -> Any:
    """Rounds every float of nested dicts and lists to four decimals, as reports and cards state them."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return round(value, _DECIMALS) if isinstance(value, float) else value
