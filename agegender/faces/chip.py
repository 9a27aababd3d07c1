"""The one way a face chip is brought to a network's input size."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


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
