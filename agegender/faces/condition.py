"""What can be seen in a chip itself: whether it has detail, light, and the shades of a photo.

Thresholds are from ``tools/once/measure_conditions.py`` (docs/measurements/conditions.json).
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

BLURRED: Final = "blurred"
DARK: Final = "dark"
DRAWN: Final = "drawn or covered"
CONDITION_WARNINGS: Final = (BLURRED, DARK, DRAWN)

_MIDDLE: Final = 60
"""Pixels around the middle of a chip, on each side: the face without the background."""

_LEAST_SHARPNESS: Final = 4.5
"""Below it a chip has no detail. None of UTKFace's test chips is and 0.5 % of FairFace's, but 91 % of the
first when they are blurred with a σ of 5 px."""

_DARK_HIGHLIGHTS: Final = 60
"""Of 255: where the brightest percent is darker, light is what detail lacks."""

_FEW_SHADES, _MOST_IN_FEW, _HARD_EDGES = 4, 0.5, 100.0
"""A drawing has few shades and hard edges: over half of it in four of the 256 levels of luma, black and
white not counted, which over- and underexposed photos have much of too. Of drawn faces that the detector took
for real ones 83 % are so, no chip of UTKFace or FairFace, and 0.5 % at JPEG quality 15. A face that an even
patch hides is so as well."""


def sharpness(luma: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian over the middle of a chip.

    The measure of focus of Pech-Pacheco and others, "Diatom autofocusing in brightfield microscopy", ICPR
    2000.

    Args:
        luma: uint8 of shape (height, width), at the scale of UTKFace's chips, the face in the middle.
    """
    return float(cv2.Laplacian(_middle(luma), cv2.CV_32F).var())


def highlights(luma: NDArray[np.uint8]) -> float:
    """The 99th percentile of the luma of a chip, 0 to 255."""
    return float(np.percentile(luma, 99))


def condition_warnings(chip: NDArray[np.uint8]) -> tuple[str, ...]:
    """Says what makes a chip hard to judge.

    Args:
        chip: RGB, uint8, shape (height, width, 3), at the scale of UTKFace's chips, the face in the middle.

    Returns:
        None or one of `BLURRED`, `DARK` and `DRAWN`.
    """
    luma = np.asarray(cv2.cvtColor(chip, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    sharp = sharpness(luma)
    if sharp < _LEAST_SHARPNESS:
        return (DARK if highlights(_middle(luma)) < _DARK_HIGHLIGHTS else BLURRED,)
    shades = np.bincount(_middle(luma).ravel(), minlength=256)
    few = np.sort(shades[6:250])[-_FEW_SHADES:].sum()
    if sharp > _HARD_EDGES and few > _MOST_IN_FEW * shades.sum():
        return (DRAWN,)
    return ()


def _middle(luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = luma.shape
    rows = slice(height // 2 - _MIDDLE, height // 2 + _MIDDLE)
    return np.ascontiguousarray(luma[rows, width // 2 - _MIDDLE : width // 2 + _MIDDLE])
