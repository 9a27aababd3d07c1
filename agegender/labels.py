"""The one owner of what labels mean: UTKFace's codes, the age range, the age bands.

Everything that turns a number into a word, or a word into a number, asks this module. Gender here is
the label UTKFace's annotators perceived, not a statement about a person.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Task = Literal["age", "gender"]
TASKS: Final[tuple[Task, ...]] = ("age", "gender")

NetworkTask = Literal["age", "gender", "both"]
"""What one network answers. A pair of networks is two, "age" and "gender"; a multi-task one is "both"."""

GENDERS: Final[tuple[str, str]] = ("male", "female")
"""UTKFace's code is the index: 0 male, 1 female. A model's raw output is the probability of *female*."""

ETHNICITIES: Final[tuple[str, ...]] = ("White", "Black", "Asian", "Indian", "Others")
"""UTKFace's code, 0 to 4, is the index. The words are the dataset's."""

MAX_AGE: Final = 116
"""The oldest label in UTKFace, in years. Age distributions have ``MAX_AGE + 1`` bins, one a year."""

AGE_BANDS: Final[tuple[tuple[int, int], ...]] = (
    (0, 4),
    (5, 9),
    (10, 15),
    (16, 25),
    (26, 35),
    (36, 45),
    (46, 60),
    (61, 75),
    (76, MAX_AGE),
)
"""The nine age ranges in whole years, both ends included."""

AGE_BAND_NAMES: Final[tuple[str, ...]] = (
    *(f"{low}-{high}" for low, high in AGE_BANDS[:-1]),
    f"{AGE_BANDS[-1][0]}+",
)

_UPPER_EDGES: Final = np.array([high + 0.5 for _, high in AGE_BANDS[:-1]])


def age_band(ages: ArrayLike) -> NDArray[np.int64]:
    """Bins ages into the nine ranges.

    Args:
        ages: Ages in years, any shape, whole or fractional. A fractional age belongs to the band of the
            nearest whole year.

    Returns:
        Indices into ``AGE_BANDS``, int64, the same shape.
    """
    return np.digitize(np.asarray(ages, dtype=np.float64), _UPPER_EDGES).astype(np.int64)
