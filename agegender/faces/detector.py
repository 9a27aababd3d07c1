"""Finding faces: MTCNN's cascade, shown every picture in the ways that suit it.

Two habits of the cascade, which are those of the `mtcnn` package 1.0.0, shape this module; two more
`agegender.faces.views`:

- Its time grows with the area of the picture, and it looks for faces from 20 px up in whatever it is given.
  So large photos are shrunk before they reach it, and its answers are scaled back.
- It was trained on upright faces, and of faces on their side or head it finds one in six, with landmarks as
  if they were upright. But its first network proposes most of these too, so that a look at the proposals
  turned (`FaceDetector._look_turned`) finds them for a few patches more.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agegender.faces.cascade import Cascade, turn_boxes
from agegender.faces.crop import check_rgb, fit_face, tilt_of
from agegender.faces.face import Face
from agegender.faces.repeats import drop_repeats
from agegender.faces.views import FRAMED_SIDE, View, lay_out, to_faces

DEFAULT_MAX_SIDE: Final = 1280
"""Photos are shrunk to this long side, in pixels, before detection; long strips less.

Measured by tools/bench_detection.py (docs/measurements/detection.json): it finds nearly all faces from 1/48
of the photo's long side up (27 px at this size; 83 px in a phone's photo of 4,000), 85 % at 1/64 and
over half at 1/80. At 960 half of those at 1/64 are lost, for a third less time; 1600 finds them all, for half
as much again."""

DEFAULT_MIN_CONFIDENCE: Final = 0.9
"""Faces the detector is less sure of are dropped. On UTKFace's chips 0.9 keeps 99.1 % and 0.95 keeps 97.9 %;
what the nets take for a face by mistake is usually below: a badge on a suit got 0.90, gravel 0.65."""

_BATCH_PIXELS: Final = 1_000_000
"""Views go through the networks together up to about this many pixels in all: chips gain by it, photos would
only add up their memory, about 35 bytes a pixel."""

_BEYOND_DOUBT: Final = 0.999
_LARGEST_SURE_TILT: Final = 30.0
"""A face of at least this confidence and at most this tilt, in degrees, is upright. Others are looked at in
the other directions too, a few patches each. Measured by tools/bench_turned.py
(docs/measurements/turned.json), as is what follows."""

_SURE: Final = 0.995
"""Where a picture shows no upright face of this confidence, all that is proposed is looked at turned."""

_TURNED_CONFIDENCE: Final = 0.95
"""Three more looks are three more chances to take something for a face, so that more is asked of it."""

_CONFIRMED_SHARE: Final = 0.25
"""So many of them, one at least, may go on to the last network in each direction, which takes six times as
long for a patch as the one before."""


@dataclass(frozen=True, eq=False)
class _Look:
    """Boxes of an upright view, shape (n, 4), that are looked at after so many quarter turns."""

    view: View
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
        if max_side < FRAMED_SIDE:
            raise ValueError(f"max_side must be at least {FRAMED_SIDE} px, got {max_side}")
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
                found[view.index] += to_faces(detections, view)
            self._look_turned(views, proposals, found, min_confidence)
        return [
            sorted(
                drop_repeats([face for face in faces if face.size >= min_face]),
                key=lambda face: face.box[0] + face.box[2],
            )
            for faces in found
        ]

    def _look_turned(
        self,
        views: Sequence[View],
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
                face.confidence >= _SURE and not face.quarter_turns for face in drop_repeats(found[index])
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
        views: Sequence[View],
        faces: Mapping[int, Sequence[Face]],
        found: list[list[Face]],
        min_confidence: float,
    ) -> None:
        """Looks at faces by picture in other directions, unless they are beyond doubt."""
        doubtful = {index: list(filter(_is_doubtful, drop_repeats(some))) for index, some in faces.items()}
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
            to_faces(detections, look.view, look.turns) for look, detections in zip(looks, found, strict=True)
        ]

    def _batches(self, images: Sequence[NDArray[np.uint8]]) -> Iterator[list[View]]:
        """Lays the pictures out, as many at a time as share calls well and memory stays small."""
        batch: list[View] = []
        pixels = 0
        for index, image in enumerate(images):
            views = lay_out(index, image, self.max_side)
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


def _is_doubtful(face: Face) -> bool:
    """Whether another direction may suit a face better."""
    tilt = abs(tilt_of(fit_face(face), face))
    return face.quarter_turns > 0 or face.confidence < _BEYOND_DOUBT or tilt > _LARGEST_SURE_TILT
