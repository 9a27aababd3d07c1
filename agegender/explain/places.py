"""Words for where on a chip something is. Chips are aligned, so a place has a name whoever's face it is."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

# Parts of the chip by the share of its height and width that they begin and end at, drawn around
# `faces.CHIP_LANDMARKS`: eyes at 0.29, nose at 0.52, mouth at 0.69 of the height. First match counts. Left
# and right are the picture's.
_PLACES: Final = (
    ("the left edge", (0.0, 1.0), (0.0, 0.12)),
    ("the right edge", (0.0, 1.0), (0.88, 1.0)),
    ("the forehead and hair", (0.0, 0.2), (0.0, 1.0)),
    ("the eye on the left", (0.2, 0.4), (0.0, 0.42)),
    ("the bridge of the nose", (0.2, 0.4), (0.42, 0.58)),
    ("the eye on the right", (0.2, 0.4), (0.58, 1.0)),
    ("the cheek on the left", (0.4, 0.6), (0.0, 0.36)),
    ("the nose", (0.4, 0.6), (0.36, 0.62)),
    ("the cheek on the right", (0.4, 0.6), (0.62, 1.0)),
    ("the jaw on the left", (0.6, 0.8), (0.0, 0.25)),
    ("the mouth", (0.6, 0.8), (0.25, 0.75)),
    ("the jaw on the right", (0.6, 0.8), (0.75, 1.0)),
    ("the chin and neck", (0.8, 1.0), (0.0, 1.0)),
)


def place_at(down: float, across: float) -> str:
    """Names a point of a chip.

    Args:
        down: Share of the height, 0 at the top to 1.
        across: Share of the width, 0 at the left to 1.

    Returns:
        For example "the eye on the left".
    """
    for name, (top, bottom), (left, right) in _PLACES:
        if top <= down <= bottom and left <= across <= right:
            return name
    raise ValueError(f"({down}, {across}) is not on the chip")


def strongest_place(values: NDArray[np.float64], *, sign: int) -> str | None:
    """Names where a map is strongest.

    Args:
        values: Shape (rows, columns), places of a chip from the top left.
        sign: 1 for the most positive place, −1 for the most negative one.

    Returns:
        Its name, or ``None`` where no value has that sign.
    """
    signed = np.sign(sign) * values
    row, column = np.unravel_index(int(np.argmax(signed)), values.shape)
    if signed[row, column] <= 0:
        return None
    return place_at((row + 0.5) / values.shape[0], (column + 0.5) / values.shape[1])
