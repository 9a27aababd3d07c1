"""MTCNN's cascade: three networks that propose, refine and confirm faces, on LiteRT.

Networks, scales and thresholds are those of the `mtcnn` package 1.0.0 (agegender/assets/mtcnn/README.md), and at
equal input so are the answers (tests/faces/test_cascade.py). What is different is the way there:

- The first network has a receptive field of 12 px and a stride of 2, so a picture can be cut into pieces that
  overlap by 10 px, and the answers put together are those for the whole. All levels of the pyramids of all
  pictures are cut up and packed into sheets of one size: one interpreter, prepared once, its memory bounded.
- Each level of a pyramid is made from the one above it, not from the picture.
- Patches for the second and third network come from all pictures together, in batches of one size.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agegender.assets import MTCNN
from agegender.litert import LiteRTModel

WINDOW: Final = 12
"""Pixels. The first network's receptive field: nothing narrower can hold a face."""

_STRIDE: Final = 2
_FIRST_SCALE: Final = WINDOW / 20
"""The smallest face it looks for is 20 px: at this scale it fills the window."""
_SCALE_FACTOR: Final = 0.709

_SHEET: Final = 256
_SHEET_CELLS: Final = (_SHEET - WINDOW) // _STRIDE + 1

_P_THRESHOLD: Final = 0.6
_P_LEVEL_NMS: Final = 0.5
_P_NMS: Final = 0.7
_R_SIDE: Final = 24
_R_BATCH: Final = 64
_R_THRESHOLD: Final = 0.7
_R_NMS: Final = 0.7
_O_SIDE: Final = 48
_O_BATCH: Final = 8
_O_NMS: Final = 0.7


@dataclass(frozen=True, eq=False)
class Detections:
    """Faces in one picture, the most confident first. Pixels as the `mtcnn` package counts them.

    Attributes:
        boxes: float64, shape (n, 4): x1, y1, x2, y2, which may lie outside of the picture.
        confidences: float64 of 0 to 1, shape (n,).
        landmarks: float64, shape (n, 5, 2), x and y of left eye, right eye, nose, left and right corner of the
            mouth, left and right as the viewer sees them.
    """

    boxes: NDArray[np.float64]
    confidences: NDArray[np.float64]
    landmarks: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Piece:
    """A rectangle of a pyramid's level, as the first network sees it.

    Attributes:
        picture: Which picture it is of.
        level: Which level of the pyramid.
        scale: The level's.
        pixels: float32, shape (h, w, 3), h and w even and at most `_SHEET`.
        cell: Row and column, in the level's output, of the first cell.
    """

    picture: int
    level: int
    scale: float
    pixels: NDArray[np.float32]
    cell: tuple[int, int]


class Cascade:
    """The three networks, loaded.

    May be shared by any number of threads.
    """

    def __init__(self, *, threads: int | None = None) -> None:
        self._proposals = LiteRTModel(MTCNN / "pnet.tflite", threads=threads)
        self._refinement = LiteRTModel(MTCNN / "rnet.tflite", threads=threads)
        self._output = LiteRTModel(MTCNN / "onet.tflite", threads=threads)
        self._sheet = np.zeros((1, _SHEET, _SHEET, 3), np.float32)
        self._lock = threading.Lock()

    def detect(self, pictures: Sequence[NDArray[np.uint8]], min_confidence: float) -> list[Detections]:
        """Finds the faces in several pictures, of any sizes, at once.

        Args:
            pictures: RGB, uint8, each of shape (h, w, 3).
            min_confidence: Faces have to be above this, 0 to 1.

        Returns:
            What was found, a picture each.
        """
        normalised = [(picture.astype(np.float32) - 127.5) / 128 for picture in pictures]
        with self._lock:
            boxes = self._propose(normalised)
            boxes = self._refine(normalised, boxes)
            return self._confirm(normalised, boxes, min_confidence)

    def _propose(self, pictures: list[NDArray[np.float32]]) -> list[NDArray[np.float64]]:
        found: dict[tuple[int, int], list[NDArray[np.float64]]] = {}
        pieces = [piece for index, picture in enumerate(pictures) for piece in _pieces(index, picture)]
        for sheet in _pack(pieces):
            for piece, (y, x) in sheet:
                h, w = piece.pixels.shape[:2]
                self._sheet[0, y : y + h, x : x + w] = piece.pixels
            offsets, scores = self._proposals(self._sheet)
            for piece, (y, x) in sheet:
                h, w = piece.pixels.shape[:2]
                cells = np.s_[
                    0,
                    y // _STRIDE : y // _STRIDE + (h - WINDOW) // _STRIDE + 1,
                    x // _STRIDE : x // _STRIDE + (w - WINDOW) // _STRIDE + 1,
                ]
                score = scores[cells][..., 1]
                rows, columns = np.nonzero(score > _P_THRESHOLD)
                if not rows.size:
                    continue
                corner = np.stack([columns + piece.cell[1], rows + piece.cell[0]], axis=1) * _STRIDE
                # It was trained with windows counted from 1 to 12.
                box = np.concatenate([corner + 1, corner + WINDOW], axis=1)
                box = box + offsets[cells][rows, columns] * (WINDOW - 1)
                found.setdefault((piece.picture, piece.level), []).append(
                    np.column_stack([box / piece.scale, score[rows, columns]])
                )
        by_picture: list[list[NDArray[np.float64]]] = [[np.empty((0, 5))] for _ in pictures]
        for (picture, _), parts in found.items():
            rows_ = np.concatenate(parts)
            by_picture[picture].append(rows_[_suppress(rows_[:, :4], rows_[:, 4], _P_LEVEL_NMS)])
        boxes = []
        for parts in by_picture:
            rows_ = np.concatenate(parts)
            boxes.append(_square(rows_[_suppress(rows_[:, :4], rows_[:, 4], _P_NMS), :4]))
        return boxes

    def _refine(
        self, pictures: list[NDArray[np.float32]], boxes: list[NDArray[np.float64]]
    ) -> list[NDArray[np.float64]]:
        patches = [_patches(p, b, _R_SIDE) for p, b in zip(pictures, boxes, strict=True)]
        offsets, scores = _in_batches(self._refinement, np.concatenate(patches), _R_BATCH)
        refined = []
        first = 0
        for own in boxes:
            score = scores[first : first + len(own), 1].astype(np.float64)
            moved = _move(own, offsets[first : first + len(own)])
            first += len(own)
            sure = score > _R_THRESHOLD
            moved, score = moved[sure], score[sure]
            refined.append(_square(moved[_suppress(moved, score, _R_NMS)]))
        return refined

    def _confirm(
        self, pictures: list[NDArray[np.float32]], boxes: list[NDArray[np.float64]], min_confidence: float
    ) -> list[Detections]:
        patches = [_patches(p, b, _O_SIDE) for p, b in zip(pictures, boxes, strict=True)]
        offsets, places, scores = _in_batches(self._output, np.concatenate(patches), _O_BATCH)
        confirmed = []
        first = 0
        for own in boxes:
            mine = slice(first, first + len(own))
            first += len(own)
            score = scores[mine, 1].astype(np.float64)
            moved = _move(own, offsets[mine])
            size = own[:, 2:] - own[:, :2] + 1
            x, y = places[mine, :5], places[mine, 5:]
            points = np.stack([x, y], axis=2) * size[:, None] + own[:, None, :2] - 1
            sure = np.flatnonzero(score > min_confidence)
            kept = sure[_suppress(moved[sure], score[sure], _O_NMS, of_smaller=True)]
            confirmed.append(Detections(moved[kept], score[kept], points[kept]))
        return confirmed


def _pieces(index: int, picture: NDArray[np.float32]) -> Iterator[_Piece]:
    """Makes a picture's pyramid and cuts it into pieces."""
    height, width = picture.shape[:2]
    shortest = min(height, width)
    levels = round(np.log(shortest / WINDOW) / -np.log(_SCALE_FACTOR) - 1)
    shown = picture
    for level in range(levels):
        scale = _FIRST_SCALE * _SCALE_FACTOR**level
        h, w = int(height * scale), int(width * scale)
        shown = cv2.resize(picture, (w, h), interpolation=cv2.INTER_AREA)
        # The last window of an odd side reaches one pixel beyond it.
        padded = (
            cv2.copyMakeBorder(shown, 0, h % 2, 0, w % 2, cv2.BORDER_REPLICATE) if h % 2 or w % 2 else shown
        )
        step = _SHEET_CELLS * _STRIDE
        for y in range(0, padded.shape[0] - WINDOW + 1, step):
            for x in range(0, padded.shape[1] - WINDOW + 1, step):
                yield _Piece(
                    index, level, scale, padded[y : y + _SHEET, x : x + _SHEET], (y // _STRIDE, x // _STRIDE)
                )


def _pack(pieces: list[_Piece]) -> list[list[tuple[_Piece, tuple[int, int]]]]:
    """Lays pieces out on sheets, in shelves, the highest first.

    Returns:
        A list a sheet: its pieces, and where their top and left edges lie.
    """
    sheets: list[list[tuple[_Piece, tuple[int, int]]]] = []
    ends: list[int] = []  # the row at which a sheet's next shelf would begin
    shelves: list[list[int]] = []  # sheet, top, height, right end
    for piece in sorted(pieces, key=lambda piece: -piece.pixels.shape[0]):
        h, w = piece.pixels.shape[:2]
        shelf = next((s for s in shelves if s[3] + w <= _SHEET and h <= s[2]), None)
        if shelf is None:
            sheet = next((n for n, end in enumerate(ends) if end + h <= _SHEET), None)
            if sheet is None:
                sheet = len(sheets)
                sheets.append([])
                ends.append(0)
            shelf = [sheet, ends[sheet], h, 0]
            shelves.append(shelf)
            ends[sheet] += h
        sheets[shelf[0]].append((piece, (shelf[1], shelf[3])))
        shelf[3] += w
    return sheets


def _suppress(
    boxes: NDArray[np.float64], scores: NDArray[np.float64], threshold: float, *, of_smaller: bool = False
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
    order = np.argsort(-scores, kind="stable")
    x1, y1, x2, y2 = boxes[order].astype(np.float32).T
    area = (x2 - x1) * (y2 - y1)
    kept = np.ones(len(order), bool)
    block = 256
    for start in range(0, len(order), block):
        end = min(start + block, len(order))
        own = np.s_[start:end, None]
        shared = np.maximum(0, np.minimum(x2[own], x2[:end]) - np.maximum(x1[own], x1[:end]))
        shared *= np.maximum(0, np.minimum(y2[own], y2[:end]) - np.maximum(y1[own], y1[:end]))
        whole = np.minimum(area[own], area[:end]) if of_smaller else area[own] + area[:end] - shared
        over = shared > threshold * whole
        kept[start:end] = ~np.tril(over, start - 1).any(axis=1)
    return order[kept]


def _square(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Widens or heightens boxes around their centres until they are squares."""
    size = boxes[:, 2:] - boxes[:, :2]
    side = size.max(axis=1, keepdims=True)
    corner = boxes[:, :2] + size * 0.5 - side * 0.5
    return np.concatenate([corner, corner + side], axis=1)


def _move(boxes: NDArray[np.float64], offsets: NDArray[np.float32]) -> NDArray[np.float64]:
    """Applies a network's corrections, given as shares of a box's size."""
    return boxes + offsets * np.tile(boxes[:, 2:] - boxes[:, :2] + 1, 2)


def _patches(picture: NDArray[np.float32], boxes: NDArray[np.float64], side: int) -> NDArray[np.float32]:
    """Samples boxes at a regular grid, bilinearly; what lies outside of the picture is mid-grey.

    Returns:
        Shape (n, side, side, 3).
    """
    if not len(boxes):
        return np.empty((0, side, side, 3), np.float32)
    height, width = picture.shape[:2]
    steps = np.arange(side) / (side - 1)
    x = (boxes[:, :1] + (boxes[:, 2:3] - boxes[:, :1]) * steps) * ((width - 1) / width)
    y = (boxes[:, 1:2] + (boxes[:, 3:] - boxes[:, 1:2]) * steps) * ((height - 1) / height)
    result = np.empty((len(boxes), side, side, 3), np.float32)
    most = 32_000 // side  # cv2.remap's largest side
    for first in range(0, len(boxes), most):
        part = np.s_[first : first + most]
        shape = (len(x[part]), side, side)
        map_x = np.broadcast_to(x[part, None, :], shape).astype(np.float32).reshape(-1, side)
        map_y = np.broadcast_to(y[part, :, None], shape).astype(np.float32).reshape(-1, side)
        result[part] = cv2.remap(
            picture, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0
        ).reshape(*shape, 3)
    result[(y < 0) | (y > height - 1)] = 0
    result.swapaxes(1, 2)[(x < 0) | (x > width - 1)] = 0
    return result


def _in_batches(network: LiteRTModel, patches: NDArray[np.float32], size: int) -> list[NDArray[np.float32]]:
    """Runs a network in batches of one size, the last filled up."""
    results = []
    for first in range(0, max(1, len(patches)), size):
        batch = patches[first : first + size]
        if len(batch) < size:
            batch = np.concatenate([batch, np.zeros((size - len(batch), *patches.shape[1:]), np.float32)])
        results.append(network(batch))
    return [np.concatenate(parts)[: len(patches)] for parts in zip(*results, strict=True)]
