"""Which pictures are dim or out of focus: cheap measures of the pixels, for finding them and no more.

Nothing is left out of training by these. They say which faces a person, or a network, can hardly see.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agegender.data.pictures import read_chip
from agegender.data.table import Dataset
from agegender.errors import DatasetError
from agegender.faces.chip import resize_chip
from agegender.faces.condition import highlights, sharpness
from agegender.faces.face import Face
from agegender.files import paths_below
from agegender.progress import Progress

DIM_HIGHLIGHTS: Final = 130.0
"""A picture is dim where its highlights are below this, of 255: 0.5 % of UTKFace. Highlights and not the
mean, which would call a dark skin a dark picture: in good light the whites of eyes, teeth and shirts are
bright whoever is shown."""

BLURRED_SHARPNESS: Final = 8.0
"""A picture is blurred where its sharpness is below this: 1.5 % of UTKFace, by eye all of them soft."""

_SIDE: Final = 200


@dataclass(frozen=True, eq=False)
class Conditions:
    """What was measured in each of n pictures; NaN where one cannot be decoded.

    Attributes:
        highlights: 99th percentile of the luma (Rec. 601), 0 to 255, float64 of shape (n,).
        sharpness: Of the chip at 200×200 pixels, as `agegender.faces.condition` measures it, float64 of
            shape (n,).
    """

    highlights: NDArray[np.float64]
    sharpness: NDArray[np.float64]

    @property
    def dim(self) -> NDArray[np.bool_]:
        """Which pictures have no bright spot."""
        return self.highlights < DIM_HIGHLIGHTS

    @property
    def blurred(self) -> NDArray[np.bool_]:
        """Which pictures have no fine detail."""
        return self.sharpness < BLURRED_SHARPNESS


def measure_conditions(
    dataset: Dataset, *, faces: Sequence[Face | None] | None = None, progress: Progress | None = None
) -> Conditions:
    """Decodes every picture once and measures it.

    Args:
        dataset: The files.
        faces: Where they are, as `agegender.data.landmarks.find_faces` says of all: of what is no chip the
            face is measured, cut out, and not the picture.
        progress: Called after each file.

    Returns:
        Measures in the order of ``dataset.table``.
    """
    paths = paths_below(dataset.folder, dataset.table["file"])
    measures = np.full((len(paths), 2), np.nan)
    with ThreadPoolExecutor() as pool:
        where = [None] * len(paths) if faces is None else faces
        for i, measured in enumerate(pool.map(_measure, paths, where, chunksize=64)):
            measures[i] = measured
            if progress is not None:
                progress("Looking at light and focus", i + 1, len(paths))
    return Conditions(measures[:, 0], measures[:, 1])


def _luma(path: Path) -> NDArray[Any]:
    data = np.fromfile(path, dtype=np.uint8)
    luma = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if data.size else None
    if luma is None:
        raise DatasetError(f"{path} is not an image that can be decoded")
    return np.asarray(luma)


def _measure(path: Path, face: Face | None) -> tuple[float, float]:
    try:
        luma = _luma(path) if face is None else cv2.cvtColor(read_chip(path, face), cv2.COLOR_RGB2GRAY)
    except (OSError, DatasetError):
        return np.nan, np.nan
    chip = resize_chip(np.asarray(luma, dtype=np.uint8), (_SIDE, _SIDE))
    return highlights(chip), sharpness(chip)
