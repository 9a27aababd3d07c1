"""A photo's rows: what reading and predicting it gives, and what rows of many photos add up to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agegender.bulk.storage import read_photo_at, state_of
from agegender.errors import ModelError, reason_of
from agegender.prediction import ImageResult, Prediction

Row = dict[str, Any]
Failure = tuple[str, str]
"""A photo and what is wrong with it."""


class PhotoPredictor(Protocol):
    """What this room needs of `agegender.Predictor`."""

    def predict(self, source: NDArray[np.uint8]) -> list[Prediction]:
        """Every face of a photo."""

    def predict_chip_image(self, source: NDArray[np.uint8]) -> Prediction:
        """The one face of a picture that is a chip."""


@dataclass
class Totals:
    """What parts hold.

    Attributes:
        photos: How many photos.
        faces: How many faces.
        errors: How many photos with an error, by `error_kind`.
    """

    photos: int = 0
    faces: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    def __iadd__(self, other: Totals) -> Totals:
        """Adds what other parts hold."""
        self.photos += other.photos
        self.faces += other.faces
        self.errors += other.errors
        return self


def answer_photo(path: str, predictor: PhotoPredictor, *, chips: bool) -> list[Row]:
    """Reads a photo and predicts it.

    Args:
        path: The photo, as the table names it.
        predictor: The model.
        chips: Whether the photo is a face chip already.

    Returns:
        Its rows without the model's columns: one a face, or one that says that there is none, or what is
        wrong with the photo.

    Raises:
        ModelError: The model cannot be used: that is no matter of this photo.
    """
    shape: tuple[int, int] | None = None
    taken: datetime | None = None
    faces: list[Prediction] = []
    error = kind = None
    size, modified = state_of(path)
    try:
        pixels, taken = read_photo_at(path)
        shape = (pixels.shape[1], pixels.shape[0])
        faces = [predictor.predict_chip_image(pixels)] if chips else predictor.predict(pixels)
    except ModelError:
        raise
    except Exception as problem:  # not only the expected ones: one photo must not stop the others
        error, kind = reason_of(problem), type(problem).__name__
    record = ImageResult(path, shape, faces, error).to_dict()
    shared = {
        "path": path,
        "width": record["width"],
        "height": record["height"],
        "error": record["error"],
        "error_kind": kind,
        "taken": taken,
        "size": size,
        "modified": modified,
    }
    if not faces:
        return [shared]
    return [
        {
            **shared,
            **row,
            "face": number,
            "landmarks": [[round(float(x), 1), round(float(y), 1)] for x, y in face.face.landmarks],
            "uncertain": None if face.gender is None else face.gender.uncertain,
        }
        for number, (face, row) in enumerate(zip(faces, record["faces"], strict=True), start=1)
    ]


def totals_of(rows: Iterable[Row]) -> Totals:
    """Counts what rows of whole photos hold."""
    totals = Totals()
    for row in rows:
        number = row.get("face")
        totals.photos += number in {None, 1}
        totals.faces += number is not None
        if row["error_kind"] is not None and number in {None, 1}:
            totals.errors[row["error_kind"]] += 1
    return totals


def failures_of(rows: Iterable[Row]) -> list[Failure]:
    """The photos that could not be used, each with why."""
    return [
        (row["path"], row["error"])
        for row in rows
        if row["error"] is not None and row.get("face") in {None, 1}
    ]
