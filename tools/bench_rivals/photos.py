"""Six photos of 1,920 px with one to five faces, made from pictures that anyone may use."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from agegender.assets import EXAMPLE
from agegender.commands.bench import scaled
from agegender.images import read_image

SIDE: Final = 1920
QUALITY: Final = 92

COLLINS, HOPPER = (1230, 89, 1511, 370), (1230, 488, 1511, 769)
TWO_PORTRAITS, BAND = (1180, 40, 1560, 820), (87, 88, 1112, 768)
"""Parts of the built-in example: left, top, right and bottom in its pixels."""

PLACES: Final = (
    (COLLINS, 1, (80, 90), 620),
    (HOPPER, 1, (800, 120), 520),
    (COLLINS, -1, (1420, 200), 400),
    (HOPPER, -1, (820, 760), 420),
    (COLLINS, 1, (1420, 720), 340),
)
"""Portraits on a picture of `SIDE` px: which, mirrored where -1, left and top, and side, in pixels."""

Pixels = NDArray[np.uint8]


def write_photos(folder: Path) -> dict[Path, int]:
    """Writes the photos.

    Args:
        folder: Where they go; exists.

    Returns:
        The JPEG files, and how many faces each shows.
    """
    pictures = {
        "astronaut": (skimage.data.astronaut()[:384], 1),
        "two-portraits": (_part(TWO_PORTRAITS), 2),
        **{f"{count}-on-a-table": (_portraits(count), count) for count in (3, 4, 5)},
        "band": (_part(BAND), 5),
    }
    faces = {}
    for name, (picture, count) in pictures.items():
        path = folder / f"{name}.jpg"
        Image.fromarray(scaled(picture, SIDE)).save(path, quality=QUALITY)
        faces[path] = count
    return faces


def _part(box: tuple[int, int, int, int]) -> Pixels:
    left, top, right, bottom = box
    return read_image(EXAMPLE)[top:bottom, left:right]


def _portraits(count: int) -> Pixels:
    """Lays so many portraits on a table with a cup of coffee."""
    photo = scaled(skimage.data.coffee(), SIDE)
    for box, direction, (left, top), side in PLACES[:count]:
        photo[top : top + side, left : left + side] = scaled(_part(box), side)[:, ::direction]
    return photo
