"""What becomes of the answer when a part of the face is covered.

Zeiler and Fergus, "Visualizing and understanding convolutional networks" (2014,
https://arxiv.org/abs/1311.2901), section 4.2. Nothing of the network is looked into, so it works for every
model, and what it shows did happen: the model was asked, and gave that other answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agegender.prediction import AgeEstimate, Answer, ChipPredictor
from agegender.progress import Progress

GREY: Final = 128
"""What places are covered with: the grey that training hides patches of faces behind, so that the models have
met it, and which is no face's colour."""

CELLS: Final = 10
"""Places along each side."""

PATCH: Final = 0.25
"""Side of the cover, as a share of the chip's: about an eye with its brow, or the mouth."""

_BATCH: Final = 20


@dataclass(frozen=True, eq=False)
class OcclusionMap:
    """What each place of a face holds up: the answer for the whole face less the one with the place covered.

    Attributes:
        age: Years, float64 of shape (rows, columns), places from the top left; positive where the face looks
            younger without the place. ``None`` where the model predicts no age.
        female: Probability of *female*, −1 to 1, likewise; positive where it falls.
        whole: The answer for the whole face.
    """

    age: NDArray[np.float64] | None
    female: NDArray[np.float64] | None
    whole: Answer


def occlude(
    predictor: ChipPredictor,
    chip: NDArray[np.uint8],
    *,
    margin: int = 0,
    cells: int = CELLS,
    patch: float = PATCH,
    progress: Progress | None = None,
) -> OcclusionMap:
    """Covers a face place by place and asks again each time.

    Args:
        predictor: The model's predictor.
        chip: RGB ``uint8`` of shape (height, width, 3), UTKFace geometry.
        margin: Pixels that it shows beyond that on each side, as `Predictor.predict_chips` counts them.
        cells: Places along each side; their number squared is how many answers it takes.
        patch: Side of the cover, as a share of the chip's side, over 0 to 1. It is centred on the place, and
            at the border of the chip only part of it falls on the face.
        progress: Called after each batch.

    Returns:
        The differences.

    Raises:
        ValueError: ``cells`` is under 1 or ``patch`` out of range.
    """
    if cells < 1 or not 0 < patch <= 1:
        raise ValueError(f"cells must be at least 1 and patch over 0 to 1, not {cells} and {patch}")
    whole = predictor.predict_chips(chip[None], margin=margin)[0]
    places = [(row, column) for row in range(cells) for column in range(cells)]
    answers: list[Answer] = []
    for start in range(0, len(places), _BATCH):
        batch = [_cover(chip, *place, cells, patch) for place in places[start : start + _BATCH]]
        answers += predictor.predict_chips(np.stack(batch), margin=margin)
        if progress is not None:
            progress("Covering the face", len(answers), len(places))
    shape = (cells, cells)
    age = female = None
    if whole[0] is not None:
        covered = [exact_years(years) for years, _ in answers if years is not None]
        age = exact_years(whole[0]) - np.array(covered, dtype=np.float64).reshape(shape)
    if whole[1] is not None:
        shares = [gender.female for _, gender in answers if gender is not None]
        female = whole[1].female - np.array(shares, dtype=np.float64).reshape(shape)
    return OcclusionMap(age, female, whole)


def exact_years(age: AgeEstimate) -> float:
    """An age before it was rounded to a whole year, where the model's distribution tells."""
    if age.distribution is None:
        return age.years
    weights = np.asarray(age.distribution, dtype=np.float64)
    return float(weights @ np.arange(len(weights)) / weights.sum())


def _cover(chip: NDArray[np.uint8], row: int, column: int, cells: int, patch: float) -> NDArray[np.uint8]:
    height, width = chip.shape[:2]
    covered = chip.copy()
    rows, columns = _reach(row, cells, patch, height), _reach(column, cells, patch, width)
    covered[rows, columns] = GREY
    return covered


def _reach(index: int, cells: int, patch: float, side: int) -> slice:
    centre, half = (index + 0.5) / cells * side, patch * side / 2
    return slice(max(0, round(centre - half)), min(side, round(centre + half)))
