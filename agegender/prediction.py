"""What the predictor says: frozen results that the app, the command line and the exports share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agegender.faces.face import Face
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
