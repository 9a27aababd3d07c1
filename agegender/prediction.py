"""What the predictor says: frozen results that the app, the command line and the exports share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agegender.faces.face import Face
from agegender.files import escape_name, escape_no_text
from agegender.labels import GENDERS


@dataclass(frozen=True, eq=False)
class AgeEstimate:
    """How old a face looks.

    Attributes:
        years: The point estimate, in years: whole, as labels are.
        low: Lower end of the interval, in years; the interval holds its ends.
        high: Upper end of the interval, in years.
        coverage: The share of faces whose labelled age the interval is calibrated to hold, 0 to 1.
        distribution: Calibrated probability of each year 0, 1, …, ``labels.MAX_AGE``, float32 of shape
            (117,), sum 1; ``years`` is its mean. ``None`` where the model predicts only a number.
        ranges: Probability of each of the nine age ranges, float32 of shape (9,), where the model answers
            these by themselves; otherwise ``None``.
    """

    years: float
    low: float
    high: float
    coverage: float
    distribution: NDArray[np.float32] | None = None
    ranges: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class GenderEstimate:
    """Which gender a face is perceived as.

    Attributes:
        label: "female" or "male".
        probability: The model's calibrated probability of ``label``, 0.5 to 1.
        uncertain: True where the probability is too near one half to call; say so instead of the label.
    """

    label: str
    probability: float
    uncertain: bool = False

    @property
    def female(self) -> float:
        """The probability of *female*, whichever label is the likelier."""
        return self.probability if self.label == GENDERS[1] else 1 - self.probability


Answer = tuple[AgeEstimate | None, GenderEstimate | None]
"""Age and gender of one face chip; ``None`` for what the model does not predict."""


class ChipPredictor(Protocol):
    """Whatever predicts face chips as `agegender.Predictor` does."""

    @property
    def model(self) -> str:
        """Name of the model."""

    @property
    def margin(self) -> int:
        """Pixels that its model's chips show beyond UTKFace's on each side, where those are 200 wide."""

    def predict_chips(self, chips: NDArray[np.uint8], *, margin: int = 0) -> list[Answer]:
        """Answers for RGB chips of shape (n, height, width, 3) that show so many pixels beyond UTKFace's."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """One face and what the model says of it.

    Attributes:
        face: Where it is; for an input that already was a chip, the whole chip.
        chip: The crop the model saw, RGB ``uint8``, UTKFace's geometry at 200 px and ``margin`` around it.
        age: ``None`` where the model does not predict age.
        gender: ``None`` where the model does not predict gender.
        warnings: Short reasons to trust the answer less, such as "small face". Often empty.
        margin: Pixels that the chip shows beyond UTKFace's on each side.
    """

    face: Face
    chip: NDArray[np.uint8]
    age: AgeEstimate | None
    gender: GenderEstimate | None
    warnings: tuple[str, ...] = ()
    margin: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The face as plain values, as ``predict --json`` writes it.

        Returns:
            ``box`` ([x1, y1, x2, y2] in pixels), ``confidence``, ``age`` (years), ``age_interval``
            ([low, high]), ``gender``, ``gender_probability`` and ``warnings``. Boxes are rounded to a tenth
            of a pixel, ages to a hundredth of a year, probabilities to four places. What the model does not
            predict, and whatever is not finite, is ``None``.
        """
        age, gender = self.age, self.gender
        return {
            "box": [_rounded(value, 1) for value in self.face.box],
            "confidence": _rounded(self.face.confidence, 4),
            "age": None if age is None else _rounded(age.years, 2),
            "age_interval": None if age is None else [_rounded(age.low, 2), _rounded(age.high, 2)],
            "gender": None if gender is None else gender.label,
            "gender_probability": None if gender is None else _rounded(gender.probability, 4),
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, eq=False)
class ImageResult:
    """What came of one of many pictures.

    Attributes:
        path: Its path, or whatever else the caller knows it by.
        size: (width, height) in pixels of the upright picture; ``None`` where it could not be read.
        faces: One prediction a face, from left to right; empty where there is none, or an error.
        error: Why the picture could not be used, in words without its name; otherwise ``None``.
    """

    path: str
    size: tuple[int, int] | None
    faces: Sequence[Prediction]
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The picture as plain values, as ``predict --json`` writes it.

        Returns:
            ``path``, escaped as `agegender.files` does it where it is no text, ``width``, ``height``,
            ``error``, and ``faces`` as `Prediction.to_dict` gives them.
        """
        width, height = self.size if self.size is not None else (None, None)
        return {
            "path": escape_name(self.path),
            "width": None if width is None else int(width),
            "height": None if height is None else int(height),
            "error": None if self.error is None else escape_no_text(self.error),
            "faces": [face.to_dict() for face in self.faces],
        }


def _rounded(value: float, digits: int) -> float | None:
    """Rounds to a plain float, since numpy's scalars are not JSON; not finite gives None."""
    number = float(value)
    return round(number, digits) if math.isfinite(number) else None
