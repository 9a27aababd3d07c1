"""Finding faces: MTCNN's cascade, shown every picture in the ways that suit it.

Four habits of the cascade, which are those of the `mtcnn` package 1.0.0, shape this module:

- Its time grows with the area of the picture, and it looks for faces from 20 px up in whatever it is given.
  So large photos are shrunk before they reach it, and its answers are scaled back.
- It needs some room around a face: of 120 faces larger than their picture, chin and forehead cut off, it
  found a third, and nine in ten once the picture had a grey frame. So every picture is also shown to it small
  and framed.
- It was trained on upright faces, and of faces on their side or head it finds one in six, with landmarks as
  if they were upright. But its first network proposes most of these too, so that a look at the proposals
  turned (`FaceDetector._look_turned`) finds them for a few patches more.
- It cuts patches with coordinates that span ``size - 1`` pixels and reports them as if they spanned ``size``,
  so what it reports drifts by up to a pixel from the centre to the edges of the picture. `_View.to_source`
  undoes that: on a 40 px face one pixel is as much as landmarks scatter anyway.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agegender.faces.cascade import Cascade, Detections, turn_boxes
from agegender.faces.crop import check_rgb, fit_face, tilt_of
from agegender.faces.face import Face
from agegender.faces.pyramid import WINDOW, Pyramid

DEFAULT_MAX_SIDE: Final = 1280
"""Photos are shrunk to this long side, in pixels, before detection; long strips less (`_long_sides`).

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

_FRAMED_RATIO: Final = 2.5
_LARGEST_RATIO: Final = 64.0
"""Between these ratios of a picture's sides its small view is longer, with a short side of 64 px."""

_LONGEST_VIEW: Final = 32_000
"""Pixels. OpenCV cuts patches out of nothing longer."""

_GREY: Final = 127
_BATCH_PIXELS: Final = 1_000_000
"""Views go through the networks together up to about this many pixels in all: chips gain by it, photos would
only add up their memory, about 35 bytes a pixel."""

_VISIBLE_SHARE: Final = 0.25
"""Boxes reach beyond the picture where a face does; less of a face than this share of its box is none."""

_BEYOND_DOUBT: Final = 0.999
_LARGEST_SURE_TILT: Final = 30.0
"""A face of at least this confidence and at most this tilt, in degrees, is upright. Others are looked at in
the other directions too, a few patches each. Measured by tools/bench_turned.py
(docs/measurements/turned.json), as is what follows."""

_SURE: Final = 0.995
"""Where a picture shows no upright face of this confidence, all that is proposed is looked at turned."""

_TURNED_CONFIDENCE: Final = 0.95
"""Three more looks are three more chances to take something for a face, so that more is asked of it."""

_TURNED_ODDS: Final = math.exp(2)
"""Of two answers for one face, upright and turned, the turned one has to have so many times the odds."""

_PROPOSALS_PER_PIXEL: Final = 8e-5
_FEWEST_PROPOSALS: Final = 5
"""How many proposals of a view are looked at turned, the most likely first, and how many of a picture at
least: what bounds the time. Where that shows a face, all others are looked at in that direction."""

_FEWEST_LARGE_PROPOSALS: Final = 2
"""How many of a picture's fewest are the large view's, where there are two."""

_CONFIRMED_SHARE: Final = 0.25
"""So many of them, one at least, may go on to the last network in each direction, which takes six times as
long for a patch as the one before."""

_WORTHWHILE_SHARE: Final = 0.8
"""Of the size that a view's faces need at least, proposals need this share to be looked at turned. In a view
that is there for large faces most are smaller."""

_SAME_FACE_IOU: Final = 0.6
_SAME_FACE_DISTANCE: Final = 0.15
"""Two boxes are one face if they overlap this much (intersection over union), or if the mean distance of
their landmarks is below this share of the smaller box's side."""

_TURNED_FACE_OVERLAP: Final = 0.5
"""Nobody has a face in two directions: boxes of two that share this much of the smaller one show one face."""


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


@dataclass(frozen=True, eq=False)
class _Look:
    """Boxes of an upright view, shape (n, 4), that are looked at after so many quarter turns."""

    view: _View
    boxes: NDArray[np.float64]
    turns: int

    @property
    def most_confirmed(self) -> int:
        """How many of its boxes go on to the last network before there is reason to look at all."""
        return max(1, int(_CONFIRMED_SHARE * self.view.most_proposals))


class FaceDetector:
    """Finds faces and their five landmarks with MTCNN.

    Cheap to build: the networks load at the first detection. One detector may be shared by any number of
    threads; together they use no more memory for the networks than one of them.

    Args:
        max_side: Photos are shrunk to this long side, in pixels, before detection; long strips less, to the
            area of a square of this side at most. Faces are found from about 20 px up at that size. Time
            grows with its square; `DEFAULT_MAX_SIDE` says what the default finds.
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

        cascade = self.load()
        found: list[list[Face]] = [[] for _ in images]
        for views in self._batches(images):
            shown = [view.canvas for view in views]
            proposals = cascade.propose(shown)
            upright = cascade.confirm(shown, cascade.refine(shown, proposals), min_confidence)
            for view, detections in zip(views, upright, strict=True):
                found[view.index] += _to_faces(detections, view)
            self._look_turned(views, proposals, found, min_confidence)
        return [
            sorted(
                _drop_repeats([face for face in faces if face.size >= min_face]),
                key=lambda face: face.box[0] + face.box[2],
            )
            for faces in found
        ]

    def _look_turned(
        self,
        views: Sequence[_View],
        proposals: Sequence[NDArray[np.float64]],
        found: list[list[Face]],
        min_confidence: float,
    ) -> None:
        """Looks for faces that are not upright, where there is reason to.

        Args:
            views: All views of some pictures.
            proposals: What the first network proposes in each.
            found: Faces by picture: those found upright, to which those found turned are added.
            min_confidence: As for `detect`.
        """
        least = max(min_confidence, _TURNED_CONFIDENCE)
        pictures = {view.index for view in views}
        self._compare_directions(views, {index: found[index] for index in pictures}, found, least)
        undecided = {
            index
            for index in pictures
            if not any(
                face.confidence >= _SURE and not face.quarter_turns for face in _drop_repeats(found[index])
            )
        }
        looks = [
            _Look(view, view.worthwhile(boxes), turns)
            for view, boxes in zip(views, proposals, strict=True)
            if view.index in undecided
            for turns in (1, 2, 3)
        ]
        looks = [look for look in looks if len(look.boxes)]
        likely = [replace(look, boxes=look.boxes[: look.view.most_proposals]) for look in looks]
        faces = self._look(likely, least, refine=True, briefly=True)
        again = [look for look, some in zip(looks, faces, strict=True) if some]
        turned: dict[int, list[Face]] = {index: [] for index in undecided}
        for look, some in zip(looks + again, faces + self._look(again, least, refine=True), strict=True):
            turned[look.view.index] += some
            found[look.view.index] += some
        self._compare_directions(views, turned, found, least)

    def _compare_directions(
        self,
        views: Sequence[_View],
        faces: Mapping[int, Sequence[Face]],
        found: list[list[Face]],
        min_confidence: float,
    ) -> None:
        """Looks at faces by picture in other directions, unless they are beyond doubt."""
        doubtful = {index: list(filter(_is_doubtful, _drop_repeats(some))) for index, some in faces.items()}
        looks = [
            _Look(view, view.squares([face]), turns)
            for view in views
            for face in doubtful.get(view.index, ())
            if face.size >= view.smallest
            for turns in (1, 2, 3)  # upright they were looked at already
            if turns != face.quarter_turns
        ]
        for refine in (False, True):  # a box that was made for another direction may be off, or lose by it
            for look, some in zip(looks, self._look(looks, min_confidence, refine=refine), strict=True):
                found[look.view.index] += some

    def _look(
        self, looks: Sequence[_Look], min_confidence: float, *, refine: bool, briefly: bool = False
    ) -> list[list[Face]]:
        """Has boxes confirmed, before that also refined, briefly only the best; returns each look's faces."""
        if not looks:
            return []
        canvases, turns = [look.view.canvas for look in looks], [look.turns for look in looks]
        boxes = [turn_boxes(look.boxes, look.view.canvas.size, look.turns) for look in looks]
        if refine:
            boxes = self.load().refine(canvases, boxes, turns)
        if briefly:
            boxes = [own[: look.most_confirmed] for own, look in zip(boxes, looks, strict=True)]
        found = self.load().confirm(canvases, boxes, min_confidence, turns)
        return [
            _to_faces(detections, look.view, look.turns)
            for look, detections in zip(looks, found, strict=True)
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

    def view(
        canvas: Pyramid, shown: tuple[int, int], place: tuple[int, int], smallest: float, fewest: int
    ) -> _View:
        scale = (shown[1] / width, shown[0] / height)
        return _View(index, canvas, scale, place, (width, height), smallest, fewest)

    large_side, framed_side = _long_sides(image.shape, max_side)
    rows, columns = _size(image, framed_side)
    frame = _FRAMED_CANVAS - _FRAMED_SIDE
    canvas = (_FRAMED_CANVAS,) * 2 if framed_side == _FRAMED_SIDE else (rows + frame, columns + frame)
    framed = np.full((*canvas, 3), _GREY, np.float32)
    x, y = (canvas[1] - columns) // 2, (canvas[0] - rows) // 2
    place = framed[y : y + rows, x : x + columns]
    if longest <= _FRAMED_SIDE:
        place[:] = _resize(image, _FRAMED_SIDE)
        return [view(Pyramid(framed), (rows, columns), (x, y), 0.0, _FEWEST_PROPOSALS)]
    large = Pyramid(_resize(image, large_side))
    place[:] = large.shrink((rows, columns))
    smallest = _FRAMED_SHARE * longest * _FRAMED_SIDE / framed_side
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
    framed = round(_FRAMED_SIDE * max(1, min(ratio, _LARGEST_RATIO) / _FRAMED_RATIO))
    return large, max(_FRAMED_SIDE, min(framed, large))


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


def _to_faces(detections: Detections, view: _View, quarter_turns: int = 0) -> list[Face]:
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


def _is_doubtful(face: Face) -> bool:
    """Whether another direction may suit a face better."""
    tilt = abs(tilt_of(fit_face(face), face))
    return face.quarter_turns > 0 or face.confidence < _BEYOND_DOUBT or tilt > _LARGEST_SURE_TILT


def _drop_repeats(faces: Sequence[Face]) -> list[Face]:
    """Keeps the most confident of boxes that show one face; among equals, upright ones."""

    def rank(face: Face) -> float:
        handicap = _TURNED_ODDS if face.quarter_turns else 1.0
        return face.confidence / (face.confidence + handicap * (1 - face.confidence))

    kept: list[Face] = []
    for face in sorted(faces, key=rank, reverse=True):
        if not any(_is_same_face(face, other) for other in kept):
            kept.append(face)
    return kept


def _is_same_face(one: Face, other: Face) -> bool:
    x1, y1, x2, y2 = one.box
    u1, v1, u2, v2 = other.box
    shared = max(0.0, min(x2, u2) - max(x1, u1)) * max(0.0, min(y2, v2) - max(y1, v1))
    union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - shared
    if one.quarter_turns != other.quarter_turns:
        # Landmarks of different directions cannot be compared, and boxes overlap less.
        return shared > _TURNED_FACE_OVERLAP * min((x2 - x1) * (y2 - y1), (u2 - u1) * (v2 - v1))
    if shared > _SAME_FACE_IOU * union:
        return True
    apart = np.linalg.norm(np.subtract(one.landmarks, other.landmarks), axis=1).mean()
    return bool(apart < _SAME_FACE_DISTANCE * min(one.size, other.size))
