"""How a face chip is brought to what a network takes: its size, and how much it shows around the face."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

CHIP_SIZE: Final = 200
"""Side of a chip without a margin, in pixels."""

MAX_MARGIN: Final = 24
"""The most that a model may see around UTKFace's chips, in pixels on each side: a face that was found is
cropped with so much, once for all models, and each cuts off what it does not want."""


def resize_chip(chip: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Brings a chip to a network's input size, as training, evaluation and the app all do it.

    Args:
        chip: RGB ``uint8`` of shape (height, width, 3).
        size: (height, width) wanted, in pixels.

    Returns:
        RGB ``uint8`` of shape (*size, 3): averaged where it shrinks, interpolated where it grows.
    """
    height, width = size
    if chip.shape[:2] == (height, width):
        return chip
    shrinks = chip.shape[0] >= height and chip.shape[1] >= width
    resized = cv2.resize(chip, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.uint8)


def change_margin(chips: NDArray[np.uint8], margin: int, wanted: int) -> NDArray[np.uint8]:
    """Makes chips show more or less around the face.

    Args:
        chips: RGB ``uint8`` of shape (…, height, width, 3), at any size.
        margin: What they show beyond UTKFace's chips on each side, in pixels of a chip of `CHIP_SIZE`.
        wanted: What they should show.

    Returns:
        The chips cut off, or in a black frame: as a crop shows what lies outside a photo.
    """
    if margin == wanted:
        return chips
    height, width = chips.shape[-3:-1]
    y, x = (round((wanted - margin) * side / (CHIP_SIZE + 2 * margin)) for side in (height, width))
    if wanted < margin:
        return chips[..., -y : height + y, -x : width + x, :]
    framed = np.zeros((*chips.shape[:-3], height + 2 * y, width + 2 * x, 3), np.uint8)
    framed[..., y : y + height, x : x + width, :] = chips
    return framed
