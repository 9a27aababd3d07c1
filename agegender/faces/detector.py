"""Finding faces: MTCNN's cascade, shown every picture in the ways that suit it.

Three habits of the cascade, which are those of the `mtcnn` package 1.0.0, shape this module:

- Its time grows with the area of the picture, and it looks for faces from 20 px up in whatever it is given.
  So large photos are shrunk before they reach it, and its answers are scaled back.
- It needs some room around a face: of 120 faces larger than their picture, chin and forehead cut off, it
  found a third, and nine in ten once the picture had a grey frame. So every picture is also shown to it small
  and framed.
- It cuts patches with coordinates that span ``size - 1`` pixels and reports them as if they spanned ``size``,
  so what it reports drifts by up to a pixel from the centre to the edges of the picture. `_View.to_source`
  undoes that: on a 40 px face one pixel is as much as landmarks scatter anyway.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agegender.faces.cascade import Cascade, Detections
from agegender.faces.crop import check_rgb
from agegender.faces.face import Face
from agegender.faces.pyramid import WINDOW, Pyramid

DEFAULT_MAX_SIDE: Final = 1280
"""Photos are shrunk to this long side, in pixels, before detection.

Measured by tools/bench_detection.py (docs/measurements/detection.json): it finds nearly all faces from 1/48
of the photo's long side up (27 px at this size; 83 px in a phone's photo of 4,000), 85 % at 1/64 and
over half at 1/80. At 960 half of those at 1/64 are lost, for a third less time; 1600 finds them all, for half
as much again."""

DEFAULT_MIN_CONFIDENCE: Final = 0.9
"""Faces the detector is less sure of are dropped. On UTKFace's chips 0.9 keeps 99.1 % and 0.95 keeps 97.9 %;
what the nets take for a face by mistake is usually below: a badge on a suit got 0.90, gravel 0.65."""

_FRAMED_SIDE: Final = 160
_FRAMED_CANVAS: Final = 224
"""Pixels. The small view: the picture at a long side of 160 in the middle of a grey square of 224. The
pyramid shrinks by 0.709 a level from 0.6 down to at least 12 px; from 224 px its last level is just 12 px,
one window for the whole square, so that no face is too large."""

_FRAMED_SHARE: Final = 0.25
"""The small view answers for faces from this share of the long side up, which is 40 px on its canvas; the
large view sees others better. Its pyramid's first level, for faces of 20 to 28 px, can be spared."""

_GREY: Final = 127
_BATCH_PIXELS: Final = 1_000_000
"""Views go through the networks together up to about this many pixels in all: chips gain by it, photos would
only add up their memory, about 35 bytes a pixel."""

_VISIBLE_SHARE: Final = 0.25
"""Boxes reach beyond the picture where a face does; less of a face than this share of its box is none."""

_SAME_FACE_IOU: Final = 0.6
_SAME_FACE_DISTANCE: Final = 0.15
"""Two boxes are one face if they overlap this much (intersection over union), or if the mean distance of
their landmarks is below this share of the smaller box's side."""


@dataclass(frozen=True, eq=False)
class _View:
    """A picture as it is shown to the cascade: scaled, and perhaps in a grey frame.

    Attributes:
        index: Which of the pictures it shows.
        canvas: What the cascade sees.
        scale: Columns and rows of the canvas per column and row of the picture.
        offset: Where the picture's left and top edge lie on the canvas, in pixels.
        picture: Width and height of the picture, in pixels.
        smallest: Drop faces below this size, in pixels of the picture.
    """

    index: int
    canvas: Pyramid
    scale: tuple[float, float]
    offset: tuple[int, int]
    picture: tuple[int, int]
    smallest: float

    def to_source(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turns the cascade's coordinates, shape (n, 2) as x and y, into pixels of the picture."""
        height, width = self.canvas.size
        size = np.array([width, height], dtype=np.float64)
        # The cascade's x is sampled at pixel index x · (size - 1) / size, and index 0 is the *centre* of the
        # first pixel, half a pixel to the right of the edge that `Face` counts from.
        on_canvas = points * ((size - 1) / size) + 0.5
        return (on_canvas - np.array(self.offset)) / np.array(self.scale)


class FaceDetector:
    """Finds faces and their five landmarks with MTCNN.

    Cheap to build: the networks load at the first detection. One detector may be shared by any number of
    threads; together they use no more memory for the networks than one of them.

    Args:
        max_side: Photos are shrunk to this long side, in pixels, before detection. Faces are found from about
            20 px up at that size. Time grows with its square; `DEFAULT_MAX_SIDE` says what the default finds.
        threads: How many threads of the processor detections may use; ``None`` for one a core, at most four.

    Raises:
        ValueError: If ``max_side`` is too small to hold a face, or ``threads`` is below 1.
    """

    def __init__(self, *, max_side: int = DEFAULT_MAX_SIDE, threads: int | None = None) -> None:
        if max_side < _FRAMED_SIDE:
            raise ValueError(f"max_side must be at least {_FRAMED_SIDE} px, got {max_side}")
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        self.max_side = max_side
        self._threads = threads
        self._lock = threading.Lock()
        self._cascade: Cascade | None = None

    def __reduce__(self) -> tuple[partial[FaceDetector], tuple[()]]:
        """How to copy and pickle it: by its options; a copy loads the nets anew."""
        return partial(type(self), max_side=self.max_side, threads=self._threads), ()

    def load(self) -> Cascade:
        """Loads the networks, unless they are loaded already. Called for you by the first detection.

        Raises:
            ModelError: If their files are missing or damaged.
        """
        with self._lock:
            if self._cascade is None:
                self._cascade = Cascade(threads=self._threads)
            return self._cascade

    def detect(
        self,
        image: NDArray[np.uint8],
        *,
        min_confidence: float = DEFAULT_MIN_CONFIDENCE,
        min_face: float = 0,
    ) -> list[Face]:
        """Finds the faces in one picture.

        Args:
            image: RGB, uint8, shape (height, width, 3), upright.
            min_confidence: Drop faces the detector is less sure of, 0 to 1.
            min_face: Drop faces whose box is narrower or lower than this, in pixels of ``image``.

        Returns:
            The faces, sorted from left to right by the centre of their boxes; empty where there is none.

        Raises:
            TypeError: If ``image`` is not a uint8 array.
            ValueError: If ``image`` is not of shape (height, width, 3), or an option is out of range.
            ModelError: If the networks' files are missing or damaged.
        """
        return self.detect_many([image], min_confidence=min_confidence, min_face=min_face)[0]

    def detect_many(
        self,
        images: Sequence[NDArray[np.uint8]],
        *,
        min_confidence: float = DEFAULT_MIN_CONFIDENCE,
        min_face: float = 0,
    ) -> list[list[Face]]:
        """Finds the faces in several pictures. Small ones share calls of the networks, which saves time.

        Args:
            images: Pictures as for `detect`, of any sizes.
            min_confidence: As for `detect`.
            min_face: As for `detect`.

        Returns:
            A list of faces a picture, in the order of ``images``.

        Raises:
            TypeError: As `detect`.
            ValueError: As `detect`.
            ModelError: As `detect`.
        """
        if not 0 <= min_confidence <= 1:
            raise ValueError(f"min_confidence must be from 0 to 1, got {min_confidence}")
        if not min_face >= 0:
            raise ValueError(f"min_face must not be negative, got {min_face}")
        for image in images:
            check_rgb(image)

        found: list[list[Face]] = [[] for _ in images]
        for views in self._batches(images):
            shown = [view.canvas for view in views]
            for view, detections in zip(views, self.load().detect(shown, min_confidence), strict=True):
                found[view.index] += _to_faces(detections, view)
        return [
            sorted(
                _drop_repeats([face for face in faces if face.size >= min_face]),
                key=lambda face: face.box[0] + face.box[2],
            )
            for faces in found
        ]

    def _batches(self, images: Sequence[NDArray[np.uint8]]) -> Iterator[list[_View]]:
        """Lays the pictures out, as many at a time as share calls well and memory stays small."""
        batch: list[_View] = []
        pixels = 0
        for index, image in enumerate(images):
            views = _views(index, image, self.max_side)
            size = sum(math.prod(view.canvas.size) for view in views)
            if batch and pixels + size > _BATCH_PIXELS:
                yield batch
                batch, pixels = [], 0
            batch += views
            pixels += size
        yield batch


def main_face(faces: Iterable[Face], shape: tuple[int, ...]) -> Face | None:
    """Picks the face a picture is about: a large one near the middle.

    A face's size counts in full at the middle of the picture, 61 % a quarter of the picture's shorter side
    away from it, 14 % at half of that side.

    Args:
        faces: Faces of one picture, in any order.
        shape: The picture's, (height, width) and perhaps more.

    Returns:
        The face, or ``None`` where there are none.
    """
    height, width = shape[:2]
    reach = min(height, width) / 4

    def weight(face: Face) -> float:
        x1, y1, x2, y2 = face.box
        away = math.hypot((x1 + x2 - width) / 2, (y1 + y2 - height) / 2)
        return face.size * math.exp(-0.5 * (away / reach) ** 2)

    return max(faces, key=weight, default=None)


def _views(index: int, image: NDArray[np.uint8], max_side: int) -> list[_View]:
    """Lays a picture out for the cascade: large where it is large enough, and small in a grey frame.

    Returns:
        No view of a picture too narrow for a face, otherwise one or two.
    """
    height, width = image.shape[:2]
    longest = max(height, width)
    if min(height, width) < WINDOW:
        return []

    def view(canvas: Pyramid, shown: tuple[int, int], x: int, y: int, smallest: float) -> _View:
        scale = (shown[1] / width, shown[0] / height)
        return _View(index, canvas, scale, (x, y), (width, height), smallest)

    framed = np.full((_FRAMED_CANVAS, _FRAMED_CANVAS, 3), _GREY, np.float32)
    rows, columns = _size(image, _FRAMED_SIDE)
    x, y = (_FRAMED_CANVAS - columns) // 2, (_FRAMED_CANVAS - rows) // 2
    place = framed[y : y + rows, x : x + columns]
    if longest <= _FRAMED_SIDE:
        place[:] = _resize(image, _FRAMED_SIDE)
        return [view(Pyramid(framed), (rows, columns), x, y, 0.0)]
    large = Pyramid(_resize(image, min(longest, max_side)))
    place[:] = large.shrink((rows, columns))
    return [
        view(large, large.size, 0, 0, 0.0),
        view(Pyramid(framed, first_level=1), (rows, columns), x, y, _FRAMED_SHARE * longest),
    ]


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


def _to_faces(detections: Detections, view: _View) -> list[Face]:
    """Turns what was found in a view into faces of the picture."""
    faces = []
    for box, confidence, landmarks in zip(
        detections.boxes, detections.confidences, detections.landmarks, strict=True
    ):
        points = view.to_source(np.concatenate([box.reshape(2, 2), landmarks]))
        (x1, y1), (x2, y2) = np.clip(points[:2], 0, view.picture)
        whole = float(np.prod(points[1] - points[0]))
        left_eye, right_eye, nose, mouth_left, mouth_right = ((float(x), float(y)) for x, y in points[2:])
        face = Face(
            box=(float(x1), float(y1), float(x2), float(y2)),
            confidence=float(confidence),
            landmarks=(left_eye, right_eye, nose, mouth_left, mouth_right),
        )
        if (
            np.isfinite(points).all()
            and face.size >= max(1.0, view.smallest)
            and (x2 - x1) * (y2 - y1) >= _VISIBLE_SHARE * whole
        ):
            faces.append(face)
    return faces


def _drop_repeats(faces: Sequence[Face]) -> list[Face]:
    """Keeps the most confident of boxes that show one face."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.confidence):
        if not any(_is_same_face(face, other) for other in kept):
            kept.append(face)
    return kept


def _is_same_face(one: Face, other: Face) -> bool:
    x1, y1, x2, y2 = one.box
    u1, v1, u2, v2 = other.box
    shared = max(0.0, min(x2, u2) - max(x1, u1)) * max(0.0, min(y2, v2) - max(y1, v1))
    union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - shared
    if shared > _SAME_FACE_IOU * union:
        return True
    apart = np.linalg.norm(np.subtract(one.landmarks, other.landmarks), axis=1).mean()
    return bool(apart < _SAME_FACE_DISTANCE * min(one.size, other.size))
