"""MTCNN's cascade: three networks that propose, refine and confirm faces, on LiteRT.

Networks, scales and thresholds are those of the `mtcnn` package 1.0.0 (agegender/assets/mtcnn), and at equal
input so are the answers (tests/faces/test_cascade.py). What is different is the way there:

- The first network sees 12 px and moves by 2, so a picture can be cut into pieces that overlap by 10 px, and
  the answers put together are those for the whole. All levels of the pyramids of all pictures are cut up and
  packed into sheets of one size: nothing is prepared for a new size of picture, and memory is bounded.
- Patches for the second and third network come from all pictures together, in batches of one size.
- Levels, sheets and batches are worked on side by side, each on one thread.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agegender.assets import MTCNN
from agegender.batch import SideBySide
from agegender.errors import ModelError, WeightsNotFoundError
from agegender.faces.pyramid import WINDOW, Pyramid
from agegender.litert import LiteRTModel, default_threads

SHEET: Final = 192
R_SIDE: Final = 24
R_BATCH: Final = 4
O_SIDE: Final = 48
O_BATCH: Final = 1
"""Sides of what the networks take, in pixels, and how many patches they are given at a time. Larger sheets
and batches are no faster a pixel or patch; smaller ones leave less unused. A photo without a face has few
patches or none for the last network, each of which takes as long as six of the second."""

_STRIDE: Final = 2
_MARGIN: Final = (WINDOW - _STRIDE) // _STRIDE
"""How many cells fewer than half its pixels a side of the first network's answer has."""

_FEWEST_CELLS: Final = 8
"""Rather than less of a level than this, the end of a shelf stays empty."""

_P_THRESHOLD: Final = 0.6
_P_LEVEL_OVERLAP: Final = 0.5
_P_OVERLAP: Final = 0.7
_R_THRESHOLD: Final = 0.7
_R_OVERLAP: Final = 0.7
_O_OVERLAP: Final = 0.7
_GREY: Final = 127.5
_EARLIER: Final = np.tri(64, k=-1, dtype=bool)
_PATCHES: Final = {R_SIDE: 64, O_SIDE: 2}
"""So many patches are cut out in one go, by their side. Of large ones there are few, for all threads."""


@dataclass(frozen=True, eq=False)
class Detections:
    """Faces in one picture, the most confident first. Pixels as the `mtcnn` package counts them.

    Attributes:
        boxes: float64, shape (n, 4): x1, y1, x2, y2, which may lie outside of the picture.
        confidences: float64 of 0 to 1, shape (n,).
        landmarks: float64, shape (n, 5, 2), x and y of the eyes, the nose and the corners of the mouth; of
            two, the one further left in the picture comes first.
    """

    boxes: NDArray[np.float64]
    confidences: NDArray[np.float64]
    landmarks: NDArray[np.float64]


@dataclass(frozen=True)
class _Level:
    """A level of a picture's pyramid: its scale, and its height and width in pixels."""

    picture: int
    scale: float
    size: tuple[int, int]

    @property
    def cells(self) -> tuple[int, int]:
        """Height and width of the first network's answer."""
        height, width = self.size
        return (height + 1) // _STRIDE - _MARGIN, (width + 1) // _STRIDE - _MARGIN


@dataclass(frozen=True)
class _Piece:
    """Cells of a level's answer, and where on a sheet they are: top, left, height and width, all in cells."""

    level: int
    at: tuple[int, int]
    size: tuple[int, int]
    on_sheet: tuple[int, int]


class Cascade:
    """The three networks, loaded.

    May be shared by any number of threads.

    Args:
        threads: How many threads a call may use; ``None`` for one a core, at most four.

    Raises:
        WeightsNotFoundError: If a network's file is missing.
        ModelError: If a network's file is damaged or was replaced.
    """

    def __init__(self, *, threads: int | None = None) -> None:
        threads = threads or default_threads()
        self._pnet, self._rnet, self._onet = (
            _load(name, copies=threads) for name in ("pnet.tflite", "rnet.tflite", "onet.tflite")
        )
        self._crew = SideBySide(threads)

    def detect(self, pictures: Sequence[Pyramid], min_confidence: float) -> list[Detections]:
        """Finds the faces in several pictures, of any sizes, at once.

        Args:
            pictures: The pictures.
            min_confidence: Faces have to be above this, 0 to 1.

        Returns:
            What was found, a picture each.
        """
        boxes = self.refine(pictures, self.propose(pictures))
        return self.confirm(pictures, boxes, min_confidence)

    def propose(self, pictures: Sequence[Pyramid]) -> list[NDArray[np.float64]]:
        """Runs the first network.

        Args:
            pictures: As for `detect`.

        Returns:
            Squares that may hold a face, shape (n, 4) as x1, y1, x2, y2, a picture.
        """
        levels = [
            _Level(index, scale, size)
            for index, picture in enumerate(pictures)
            for scale, size in picture.levels()
        ]
        self._crew.map(Pyramid.sums, pictures)
        pixels = self._crew.map(lambda level: pictures[level.picture].shrink(level.size), levels)

        def run(sheet: list[_Piece]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
            (answer,) = self._pnet(_fill(sheet, pixels))
            return _candidates(sheet, answer[0])

        found = self._crew.map(run, _pack([level.cells for level in levels]))
        by_picture: list[list[NDArray[np.float64]]] = [[np.empty((0, 5))] for _ in pictures]
        if found:
            sources, candidates = (np.concatenate(parts) for parts in zip(*found, strict=True))
            for index, level in enumerate(levels):
                rows = candidates[sources == index]
                rows[:, :4] /= level.scale
                by_picture[level.picture].append(rows[_suppress(rows[:, :4], rows[:, 4], _P_LEVEL_OVERLAP)])
        boxes = []
        for parts in by_picture:
            rows = np.concatenate(parts)
            boxes.append(_square(rows[_suppress(rows[:, :4], rows[:, 4], _P_OVERLAP), :4]))
        return boxes

    def refine(
        self,
        pictures: Sequence[Pyramid],
        boxes: Sequence[NDArray[np.float64]],
        turns: Sequence[int] | None = None,
    ) -> list[NDArray[np.float64]]:
        """Runs the second network.

        Args:
            pictures: As for `detect`.
            boxes: As `propose` gives them.
            turns: How many quarter turns each picture is turned counterclockwise before it is looked at;
                its boxes are those of the turned picture (`turn_boxes`), and so are the answers.

        Returns:
            Fewer and better squares, shape (n, 4), a picture, the most likely first.
        """
        answers = self._on_patches(self._rnet, pictures, boxes, turns, R_SIDE)
        refined = []
        for own, answer in zip(boxes, answers, strict=True):
            sure = np.flatnonzero(answer[:, -1] > _logit(_R_THRESHOLD))
            moved = _move(own, answer[:, :4])[sure]
            refined.append(_square(moved[_suppress(moved, answer[sure, -1], _R_OVERLAP)]))
        return refined

    def confirm(
        self,
        pictures: Sequence[Pyramid],
        boxes: Sequence[NDArray[np.float64]],
        min_confidence: float,
        turns: Sequence[int] | None = None,
    ) -> list[Detections]:
        """Runs the third network.

        Args:
            pictures: As for `detect`.
            boxes: As `refine` gives them.
            min_confidence: As for `detect`.
            turns: As for `refine`.

        Returns:
            As `detect`.
        """
        answers = self._on_patches(self._onet, pictures, boxes, turns, O_SIDE)
        found = []
        for own, answer in zip(boxes, answers, strict=True):
            confidence = 1 / (1 + np.exp(-answer[:, -1].astype(np.float64)))
            sure = np.flatnonzero(confidence > min_confidence)
            moved = _move(own, answer[:, :4])
            kept = sure[_suppress(moved[sure], confidence[sure], _O_OVERLAP, of_smaller=True)]
            places = answer[kept, 4:14].reshape(-1, 2, 5).swapaxes(1, 2)
            landmarks = own[kept, None, :2] + places * (own[kept, None, 2:] - own[kept, None, :2] + 1) - 1
            found.append(Detections(moved[kept], confidence[kept], landmarks))
        return found

    def _on_patches(
        self,
        network: LiteRTModel,
        pictures: Sequence[Pyramid],
        boxes: Sequence[NDArray[np.float64]],
        turns: Sequence[int] | None,
        side: int,
    ) -> list[NDArray[np.float32]]:
        """Runs the second or third network on boxes of shape (n, 4); returns its answers, a picture each."""
        turns = turns or [0] * len(pictures)
        batch, columns = (R_BATCH, 5) if side == R_SIDE else (O_BATCH, 15)
        counts = [len(own) for own in boxes]
        if not any(counts):
            return [np.empty((0, columns), np.float32)] * len(boxes)
        # Patches are cut out upright, those of all turns of a picture together, and then turned.
        places = {id(picture): place for place, picture in enumerate(pictures)}
        owners = np.repeat([places[id(picture)] for picture in pictures], counts)
        turned = np.repeat(turns, counts)
        upright = []
        for own, picture, turn in zip(boxes, pictures, turns, strict=True):
            height, width = picture.size
            upright.append(turn_boxes(own, (width, height) if turn % 2 else (height, width), -turn))
        every = np.concatenate(upright)

        def run(first: int) -> NDArray[np.float32]:
            some = np.s_[first : first + _PATCHES[side]]
            owner, box = owners[some], every[some]
            patches = np.zeros((-(-len(box) // batch) * batch, side, side, 3), np.float32)
            for place in np.unique(owner):
                own = np.flatnonzero(owner == place)
                patches[own] = _patches(pictures[place].pixels, box[own], side)
            for turn in np.unique(turned[some]):
                if turn:
                    own = np.flatnonzero(turned[some] == turn)
                    patches[own] = np.rot90(patches[own], turn, axes=(1, 2))
            answers = [network(patches[start : start + batch])[0] for start in range(0, len(box), batch)]
            return np.concatenate(answers)[: len(box)]

        joined = np.concatenate([*self._crew.map(run, range(0, len(every), _PATCHES[side]))])
        return [joined[first:last] for first, last in pairwise(np.cumsum([0, *counts]))]


def turn_boxes(boxes: NDArray[np.float64], size: tuple[int, int], quarter_turns: int) -> NDArray[np.float64]:
    """Turns boxes as ``np.rot90`` turns the picture that they lie in.

    Args:
        boxes: Shape (n, 4): x1, y1, x2, y2.
        size: Height and width of the picture before it is turned.
        quarter_turns: How often it is turned counterclockwise; negative for clockwise.

    Returns:
        The boxes in the turned picture, of the same shape.
    """
    height, width = size
    for _ in range(quarter_turns % 4):
        x1, y1, x2, y2 = boxes.T
        boxes = np.stack([y1, width - x2, y2, width - x1], axis=1)
        height, width = width, height
    return boxes


def _load(name: str, *, copies: int) -> LiteRTModel:
    try:
        content = (MTCNN / name).read_bytes()
        expected = json.loads((MTCNN / "provenance.json").read_text("utf-8"))["files"][name]["sha256"]
    except FileNotFoundError as error:
        raise WeightsNotFoundError(f"the face detector's {error.filename} is missing") from error
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"the face detector in {MTCNN} cannot be read: {error}") from error
    if hashlib.sha256(content).hexdigest() != expected:
        raise ModelError(
            f"{MTCNN / name} is damaged or was replaced: its SHA-256 is not that of its provenance"
        )
    return LiteRTModel(content, threads=1, copies=copies)


def _logit(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


def _pack(levels: Sequence[tuple[int, int]]) -> list[list[_Piece]]:
    """Lays levels out on sheets: in bands, on shelves, the highest first, cut where a shelf ends.

    Args:
        levels: Height and width of each, in cells.

    Returns:
        A list a sheet of its pieces.
    """
    most = SHEET // _STRIDE
    bands = [
        (min(most - _MARGIN, height - top), width, level, top)
        for level, (height, width) in enumerate(levels)
        for top in range(0, height, most - _MARGIN)
    ]
    bands.sort(reverse=True)
    sheets: list[list[_Piece]] = []
    ends: list[int] = []  # where a sheet's next shelf would begin
    shelves: list[list[int]] = []  # sheet, top, height, right end
    for height, width, level, top in bands:
        left = 0
        while left < width:
            least = min(width - left, _FEWEST_CELLS) + _MARGIN
            shelf = next((s for s in shelves if s[2] >= height + _MARGIN and most - s[3] >= least), None)
            if shelf is None:
                sheet = next((n for n, end in enumerate(ends) if most - end >= height + _MARGIN), len(ends))
                if sheet == len(ends):
                    sheets.append([])
                    ends.append(0)
                shelf = [sheet, ends[sheet], height + _MARGIN, 0]
                shelves.append(shelf)
                ends[sheet] += height + _MARGIN
            part = min(width - left, most - shelf[3] - _MARGIN)
            sheets[shelf[0]].append(_Piece(level, (top, left), (height, part), (shelf[1], shelf[3])))
            shelf[3] += part + _MARGIN
            left += part
    return sheets


def _fill(pieces: Sequence[_Piece], levels: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Draws a sheet, each pixel as RGB and a 1, which is 0 where a level has ended.

    Returns:
        Shape (1, SHEET, SHEET / 2, 8): two neighbours in a row are one to the network.
    """
    sheet = np.zeros((SHEET, SHEET, 4), np.float32)
    for piece in pieces:
        y, x, top, left = (_STRIDE * cell for cell in (*piece.on_sheet, *piece.at))
        # The last cells of a level of odd size look a pixel beyond it.
        height, width = (_STRIDE * (cells + _MARGIN) for cells in piece.size)
        pixels = levels[piece.level][top : top + height, left : left + width]
        place = sheet[y : y + pixels.shape[0], x : x + pixels.shape[1]]
        cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA, dst=place)
    return sheet.reshape(1, SHEET, SHEET // 2, 8)


def _candidates(
    pieces: Sequence[_Piece], answer: NDArray[np.float32]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Reads boxes off a sheet's answer, of shape (cells, cells, 5).

    Returns:
        Levels, shape (n,), and x1, y1, x2, y2 in their pixels and logits, shape (n, 5).
    """
    cells = answer.reshape(-1, answer.shape[-1])
    chosen = np.flatnonzero(cells[:, -1] > _logit(_P_THRESHOLD))
    found = cells[chosen].astype(np.float64)
    likely = np.stack(np.divmod(chosen, answer.shape[1]), axis=1)
    on_sheet = np.array([piece.on_sheet for piece in pieces])
    inside = likely[:, None] - on_sheet
    inside = ((inside >= 0) & (inside < [piece.size for piece in pieces])).all(axis=2)
    own = inside.argmax(axis=1)
    shift = np.array([piece.at for piece in pieces]) - on_sheet
    corner = _STRIDE * (likely + shift[own])[:, ::-1]
    # The network was trained on windows that span pixels 1 to 12.
    found[:, :4] = np.concatenate([corner + 1, corner + WINDOW], axis=1) + found[:, :4] * (WINDOW - 1)
    level = np.array([piece.level for piece in pieces])[own]
    some = inside.any(axis=1)
    return level[some], found[some]


def _suppress(
    boxes: NDArray[np.float64],
    scores: NDArray[np.floating],
    threshold: float,
    *,
    of_smaller: bool = False,
) -> NDArray[np.intp]:
    """Drops every box that overlaps a more confident one, be that one dropped itself or not.

    Args:
        boxes: Shape (n, 4).
        scores: Shape (n,).
        threshold: Overlap above which a box is dropped, 0 to 1.
        of_smaller: Measure the overlap as a share of the smaller box, not of the union.

    Returns:
        Indices of those that stay, the most confident first.
    """
    if len(boxes) < 2:
        return np.arange(len(boxes))
    order = np.argsort(-scores, kind="stable")
    x1, y1, x2, y2 = np.ascontiguousarray(boxes[order].T, np.float32)
    area = (x2 - x1) * (y2 - y1)
    kept = np.ones(len(order), bool)
    for start in range(0, len(order), len(_EARLIER)):
        end = min(start + len(_EARLIER), len(order))
        own = np.s_[start:end, None]
        shared = np.maximum(0, np.minimum(x2[own], x2[:end]) - np.maximum(x1[own], x1[:end]))
        shared *= np.maximum(0, np.minimum(y2[own], y2[:end]) - np.maximum(y1[own], y1[:end]))
        whole = np.minimum(area[own], area[:end]) if of_smaller else area[own] + area[:end] - shared
        over = shared > threshold * whole
        over[:, start:] &= _EARLIER[: end - start, : end - start]
        kept[start:end] = ~over.any(axis=1)
    return order[kept]


def _square(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Makes boxes squares, around their centres, as large as their longer sides."""
    size = boxes[:, 2:] - boxes[:, :2]
    side = size.max(axis=1, keepdims=True)
    corner = boxes[:, :2] + size * 0.5 - side * 0.5
    return np.concatenate([corner, corner + side], axis=1)


def _move(boxes: NDArray[np.float64], offsets: NDArray[np.float32]) -> NDArray[np.float64]:
    """Applies a network's corrections, which are shares of a box's size."""
    return boxes + offsets * np.tile(boxes[:, 2:] - boxes[:, :2] + 1, 2)


def _patches(picture: NDArray[np.float32], boxes: NDArray[np.float64], side: int) -> NDArray[np.float32]:
    """Samples boxes on a regular grid, bilinearly; what lies outside of the picture is grey.

    Returns:
        Shape (n, side, side, 3).
    """
    height, width = picture.shape[:2]
    steps = np.arange(side) / (side - 1)
    x = (boxes[:, :1] + (boxes[:, 2:3] - boxes[:, :1]) * steps) * ((width - 1) / width)
    y = (boxes[:, 1:2] + (boxes[:, 3:] - boxes[:, 1:2]) * steps) * ((height - 1) / height)
    shape = (len(boxes), side, side)
    map_x = np.broadcast_to(x[:, None, :], shape).astype(np.float32).reshape(-1, side)
    map_y = np.broadcast_to(y[:, :, None], shape).astype(np.float32).reshape(-1, side)
    patches: NDArray[np.float32] = np.empty((*shape, 3), np.float32)
    cv2.remap(picture, map_x, map_y, cv2.INTER_LINEAR, dst=patches.reshape(*map_x.shape, 3))
    patches[(y < 0) | (y > height - 1)] = _GREY
    patches.swapaxes(1, 2)[(x < 0) | (x > width - 1)] = _GREY
    return patches
