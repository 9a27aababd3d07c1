"""A picture at many sizes, each made from the full one, and quickly."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

WINDOW: Final = 12
"""Pixels. The receptive field of the cascade's first network: nothing narrower can hold a face."""

_FIRST_SCALE: Final = WINDOW / 20
"""The smallest face looked for is 20 px: at this scale it fills the window."""

_SCALE_FACTOR: Final = 0.709

_CACHED: Final = 100_000
"""Values, of four bytes each, that are worked on at a time: few enough to stay in a core's cache."""


class Pyramid:
    """A picture, and what it takes to shrink it.

    Every pixel of a smaller one is the mean of the area it covers, as with ``cv2.INTER_AREA``. Making each
    level from the one above would be cheaper still, but blurs twice over: that loses faces and moves the
    boxes of most others. So rows are summed up once, from the top, and a row of a smaller picture is a
    difference of two such sums; only the columns, of what are few rows by then, are left to OpenCV.

    Attributes:
        pixels: RGB, float32 of 0 to 255, shape (height, width, 3).
        first_level: The largest level `levels` names; each leaves the smallest faces of the one before out.

    Args:
        picture: RGB of 0 to 255, shape (height, width, 3).
        first_level: As above.
    """

    def __init__(self, picture: NDArray[np.uint8] | NDArray[np.float32], *, first_level: int = 0) -> None:
        self.pixels: NDArray[np.float32] = np.ascontiguousarray(picture, np.float32)
        self.first_level = first_level
        self._sums: NDArray[np.float32] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def levels(self) -> list[tuple[float, tuple[int, int]]]:
        """Scales, and the height and width at each, the largest first; none for a picture of up to 20 px."""
        height, width = self.size
        count = round(np.log(min(height, width) / WINDOW) / -np.log(_SCALE_FACTOR) - 1)
        scales = [_FIRST_SCALE * _SCALE_FACTOR**level for level in range(self.first_level, count)]
        return [(scale, (int(height * scale), int(width * scale))) for scale in scales]

    def shrink(self, size: tuple[int, int]) -> NDArray[np.float32]:
        """Makes a smaller picture, of this height and width.

        Returns:
            RGB, float32 of 0 to 255, shape (height, width, 3).
        """
        height, width = size
        rows, columns = self.size
        edges = np.arange(height + 1) * (rows / height)
        row = np.minimum(edges.astype(np.intp), rows - 1)
        part = (edges - row).astype(np.float32)[:, None]
        sums, pixels = self.sums(), self.pixels.reshape(rows, -1)
        step = max(1, min(height, _CACHED // pixels.shape[1]))
        above, split = np.empty((2, step + 1, pixels.shape[1]), np.float32)
        narrow = np.empty((step, columns, 3), np.float32)
        shrunk: NDArray[np.float32] = np.empty((height, width, 3), np.float32)
        for first in range(0, height, step):
            count = min(step, height - first)
            some = np.s_[first : first + count + 1]
            # Sums of whole rows stay below 2^24 and so are exact; parts of rows are added to differences
            # only.
            np.take(sums, row[some], axis=0, out=above[: count + 1], mode="clip")
            np.take(pixels, row[some], axis=0, out=split[: count + 1], mode="clip")
            split[: count + 1] *= part[some]
            out = narrow[:count].reshape(count, -1)
            np.subtract(above[1 : count + 1], above[:count], out=out)
            out += split[1 : count + 1]
            out -= split[:count]
            place = shrunk[first : first + count]
            cv2.resize(narrow[:count], (width, count), dst=place, interpolation=cv2.INTER_AREA)
        shrunk *= np.float32(height / rows)
        return shrunk

    def sums(self) -> NDArray[np.float32]:
        """Sums of all rows above each, shape (height + 1, width · 3)."""
        if self._sums is None:
            rows = self.pixels.reshape(self.size[0], -1)
            sums = np.empty((len(rows) + 1, rows.shape[1]), np.float32)
            sums[0] = 0
            # np.cumsum goes down one column after another, which takes thirty times as long.
            for above, row, below in zip(sums, rows, sums[1:], strict=False):
                np.add(above, row, out=below)
            self._sums = sums
        return self._sums
