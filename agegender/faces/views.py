"""How a picture is shown to the cascade, and what it found there in pixels of the picture.

Two of the cascade's habits, which are those of the `mtcnn` package 1.0.0, shape this module:

- It needs some room around a face: of 120 faces larger than their picture, chin and forehead cut off, it
  found a third, and nine in ten once the picture had a grey frame. So every picture is also shown to it small
  and framed.
- It cuts patches with coordinates that span ``size - 1`` pixels and reports them as if they spanned ``size``,
  so what it reports drifts by up to a pixel from the centre to the edges of the picture. `View.to_source`
  undoes that: on a 40 px face one pixel is as much as landmarks scatter anyway.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agegender.faces.cascade import Detections
from agegender.faces.face import Face
from agegender.faces.pyramid import WINDOW, Pyramid

FRAMED_SIDE: Final = 160
_FRAMED_CANVAS: Final = 224
"""Pixels. The small view: the picture at a long side of 160 in the middle of a grey square of 224. The
pyramid shrinks by 0.709 a level from 0.6 down to at least 12 px; from 224 px its last level is just 12 px,
one window for the whole square, so that no face is too large."""

_FRAMED_SHARE: Final = 0.25
"""The small view answers for faces from this share of the long side up, which is 40 px on its canvas; the
large view sees others better. Its pyramid's first level, for faces of 20 to 28 px, can be spared."""

_FRAMED_RATIO: Final = 2.5
_LARGEST_RATIO: Final = 64.0
"""Between these ratios of a picture's sides its small view is longer, with a short side of 64 px."""

_LONGEST_VIEW: Final = 32_000
"""Pixels. OpenCV cuts patches out of nothing longer."""

_GREY: Final = 127
_VISIBLE_SHARE: Final = 0.25
"""Boxes reach beyond the picture where a face does; less of a face than this share of its box is none."""

_PROPOSALS_PER_PIXEL: Final = 8e-5
_FEWEST_PROPOSALS: Final = 5
"""How many proposals of a view are looked at turned, the most likely first, and how many of a picture at
least: what bounds the time. Where that shows a face, all others are looked at in that direction."""

_FEWEST_LARGE_PROPOSALS: Final = 2
"""How many of a picture's fewest are the large view's, where there are two."""

_WORTHWHILE_SHARE: Final = 0.8
"""Of the size that a view's faces need at least, proposals need this share to be looked at turned. In a view
that is there for large faces most are smaller."""


@dataclass(frozen=True, eq=False)
class View:
    """A picture as it is shown to the cascade: scaled, and perhaps in a grey frame.

    Attributes:
        index: Which of the pictures it shows.
        canvas: What the cascade sees.
        scale: Columns and rows of the canvas per column and row of the picture.
        offset: Where the picture's left and top edge lie on the canvas, in pixels.
        picture: Width and height of the picture, in pixels.
        smallest: Drop faces below this size, in pixels of the picture.
        fewest_proposals: At least so many of its proposals are looked at turned.
    """

    index: int
    canvas: Pyramid
    scale: tuple[float, float]
    offset: tuple[int, int]
    picture: tuple[int, int]
    smallest: float
    fewest_proposals: int

    @property
    def most_proposals(self) -> int:
        """How many of its proposals are looked at turned before there is reason to look at all."""
        return max(self.fewest_proposals, int(_PROPOSALS_PER_PIXEL * math.prod(self.canvas.size)))

    def to_source(self, points: NDArray[np.float64], quarter_turns: int = 0) -> NDArray[np.float64]:
        """Turns the cascade's coordinates, shape (n, 2) as x and y, into pixels of the picture.

        Args:
            points: Found on the canvas after so many quarter turns.
            quarter_turns: 0 to 3, counterclockwise.
        """
        size = np.array(self.canvas.size[::-1], dtype=np.float64)
        for back in range(quarter_turns, 0, -1):
            # Before this turn the picture was as wide as the canvas, or as the canvas is high.
            points = np.stack([size[(back - 1) % 2] - points[:, 1], points[:, 0]], axis=1)
        # The cascade's x is sampled at pixel index x · (size - 1) / size, and index 0 is the *centre* of the
        # first pixel, half a pixel to the right of the edge that `Face` counts from.
        on_canvas = points * ((size - 1) / size) + 0.5
        return (on_canvas - np.array(self.offset)) / np.array(self.scale)

    def worthwhile(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Those of the cascade's boxes, shape (n, 4), that may become a face that is large enough."""
        size = (boxes[:, 2:] - boxes[:, :2]) / self.scale
        return boxes[size.max(axis=1) >= _WORTHWHILE_SHARE * self.smallest]

    def squares(self, faces: Sequence[Face]) -> NDArray[np.float64]:
        """The squares around faces of the picture in the cascade's coordinates, shape (n, 4)."""
        size = np.array(self.canvas.size[::-1], dtype=np.float64)
        corners = np.reshape([face.box for face in faces], (-1, 2, 2)) * self.scale + self.offset
        centre = corners.mean(axis=1)
        reach = (corners[:, 1] - corners[:, 0]).max(axis=1, keepdims=True) / 2
        ends = np.stack([centre - reach, centre + reach], axis=1)
        return ((ends - 0.5) * (size / (size - 1))).reshape(-1, 4)


def lay_out(index: int, image: NDArray[np.uint8], max_side: int) -> list[View]:
    """Lays a picture out for the cascade: large where it is large enough, and small in a grey frame.

    Returns:
        No view of a picture too narrow for a face, otherwise one or two.
    """
    height, width = image.shape[:2]
    longest = max(height, width)
    if min(height, width) < WINDOW:
        return []

    def view(
        canvas: Pyramid, shown: tuple[int, int], place: tuple[int, int], smallest: float, fewest: int
    ) -> View:
        scale = (shown[1] / width, shown[0] / height)
        return View(index, canvas, scale, place, (width, height), smallest, fewest)

    large_side, framed_side = _long_sides(image.shape, max_side)
    rows, columns = _size(image, framed_side)
    frame = _FRAMED_CANVAS - FRAMED_SIDE
    canvas = (_FRAMED_CANVAS,) * 2 if framed_side == FRAMED_SIDE else (rows + frame, columns + frame)
    framed = np.full((*canvas, 3), _GREY, np.float32)
    x, y = (canvas[1] - columns) // 2, (canvas[0] - rows) // 2
    place = framed[y : y + rows, x : x + columns]
    if longest <= FRAMED_SIDE:
        place[:] = _resize(image, FRAMED_SIDE)
        return [view(Pyramid(framed), (rows, columns), (x, y), 0.0, _FEWEST_PROPOSALS)]
    large = Pyramid(_resize(image, large_side))
    place[:] = large.shrink((rows, columns))
    smallest = _FRAMED_SHARE * longest * FRAMED_SIDE / framed_side
    others = _FEWEST_PROPOSALS - _FEWEST_LARGE_PROPOSALS
    return [
        view(large, large.size, (0, 0), 0.0, _FEWEST_LARGE_PROPOSALS),
        view(Pyramid(framed, first_level=1), (rows, columns), (x, y), smallest, others),
    ]


def _long_sides(shape: tuple[int, ...], max_side: int) -> tuple[int, int]:
    """The long sides, in pixels, of the large and of the small view of a picture.

    A panorama or a long screenshot that was scaled by its long side alone would show no face at all. From a
    ratio of the sides of 2 on the large view may be longer, and from 4 on it has the area of a square
    photo's, so that it takes no more time. The small view stays high enough for a face.
    """
    longest, shortest = max(shape[:2]), min(shape[:2])
    ratio = longest / shortest
    large = min(longest, round(max_side * max(1, min(ratio / 2, math.sqrt(ratio)))), _LONGEST_VIEW)
    framed = round(FRAMED_SIDE * max(1, min(ratio, _LARGEST_RATIO) / _FRAMED_RATIO))
    return large, max(FRAMED_SIDE, min(framed, large))


def _size(image: NDArray[np.uint8], longest: int) -> tuple[int, int]:
    """Height and width of a picture scaled to this long side, in pixels."""
    scale = longest / max(image.shape[:2])
    return max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale))


def _resize(image: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """Scales a picture to this long side, in pixels."""
    height, width = _size(image, longest)
    if (height, width) == image.shape[:2]:
        return image
    interpolation = cv2.INTER_AREA if height < image.shape[0] else cv2.INTER_CUBIC
    return cv2.resize(image, (width, height), interpolation=interpolation).astype(np.uint8, copy=False)


def to_faces(detections: Detections, view: View, quarter_turns: int = 0) -> list[Face]:
    """Turns what was found in a view, after so many quarter turns, into faces of the picture."""
    faces = []
    for box, confidence, landmarks in zip(
        detections.boxes, detections.confidences, detections.landmarks, strict=True
    ):
        points = view.to_source(np.concatenate([box.reshape(2, 2), landmarks]), quarter_turns)
        points[:2] = np.sort(points[:2], axis=0)
        (x1, y1), (x2, y2) = np.clip(points[:2], 0, view.picture)
        whole = float(np.prod(points[1] - points[0]))
        left_eye, right_eye, nose, mouth_left, mouth_right = ((float(x), float(y)) for x, y in points[2:])
        face = Face(
            box=(float(x1), float(y1), float(x2), float(y2)),
            confidence=float(confidence),
            landmarks=(left_eye, right_eye, nose, mouth_left, mouth_right),
            quarter_turns=quarter_turns,
        )
        if (
            np.isfinite(points).all()
            and face.size >= max(1.0, view.smallest)
            and (x2 - x1) * (y2 - y1) >= _VISIBLE_SHARE * whole
        ):
            faces.append(face)
    return faces
