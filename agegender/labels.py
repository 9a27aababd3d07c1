"""The one owner of what labels mean: UTKFace's codes, the age range, the age bands.

Everything that turns a number into a word, or a word into a number, asks this module. Gender here is
the label UTKFace's annotators perceived, not a statement about a person.
"""

from __future__ import annotations

from collections.abc import Iterable
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

SOURCE_NAMES: Final = {
    "utkface": "UTKFace",
    "fairface": "FairFace",
    "appa-real": "APPA-REAL",
    "all-age-faces": "All-Age-Faces",
}
"""What the authors of known sources call them, by the folder's name in lower case."""

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


NOT_GIVEN: Final = "not given"


def group_codes(
    groups: Iterable[str], *, with_unknown: bool = False
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Numbers the groups that sources name, in their own words.

    Args:
        groups: Of each of n faces; empty where unknown.
        with_unknown: Whether an unknown group is the last one, `NOT_GIVEN`, where there is any.

    Returns:
        int64 of shape (n,), and the names they stand for: UTKFace's five in its own order where there are no
        others, else those that occur, sorted. Unknown ones are -1, or the last name's number.
    """
    words = list(groups)
    named = set(words) - {""}
    names = ETHNICITIES if named <= set(ETHNICITIES) else tuple(sorted(named))
    code = {name: number for number, name in enumerate(names)}
    if with_unknown and "" in words:
        code[""] = len(names)
        names = (*names, NOT_GIVEN)
    return np.array([code.get(word, -1) for word in words], dtype=np.int64), names


def say_years(low: int, high: int) -> str:
    """A labelled age in words: "31", "20–29" or "70+"."""
    if low == high:
        return str(low)
    return f"{low}+" if high >= MAX_AGE else f"{low}–{high}"


def say_span(name: str) -> str:
    """An age band, or a group named after one, as it is printed: "0–4, female" for "0-4, female"."""
    return name.replace("-", "–")


def say_source(source: str) -> str:
    """A source as its authors write it; one that is not known as its folder is called."""
    return SOURCE_NAMES.get(source.lower(), source)


def age_band(ages: ArrayLike) -> NDArray[np.int64]:
    """Bins ages into the nine ranges.

    Args:
        ages: Ages in years, any shape, whole or fractional. A fractional age belongs to the band of the
            nearest whole year.

    Returns:
        Indices into ``AGE_BANDS``, int64, the same shape.
    """
    return np.digitize(np.asarray(ages, dtype=np.float64), _UPPER_EDGES).astype(np.int64)
