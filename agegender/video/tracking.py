"""Which face of one frame is which of the next: boxes in, track numbers out.

A track is predicted by a Kalman filter with constant velocity, and faces are given to tracks so that the
whole is likeliest (Kuhn, "The Hungarian method for the assignment problem", 1955), by where a face is and by
how its chip looks, as SORT (Bewley and others, "Simple online and realtime tracking", 2016) and its
successors do. As in ByteTrack (Zhang and others, 2022), a face that the detector is not sure of may go on a
track but begins none.

Ours, because the packages that were looked at cost more than these lines: `trackers` 2.6 brings the desktop
build of OpenCV, which overwrites the one of this package, and Matplotlib; `supervision` 0.31 Matplotlib and
Requests; `norfair` 2.3 asks for NumPy below 2.

How a chip looks is eight by eight averaged pixels: enough to tell two people side by side apart (on UTKFace
two chips of different people correlate above `_ALIKE` in 4 of 100 pairs, and two slightly different pictures
of one in 99), and nothing to know anybody by. It is forgotten with the track. Whoever comes back after
`LOST_SECONDS` is somebody new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from agegender.faces import DEFAULT_MIN_CONFIDENCE, Chip, Face

Box = tuple[float, float, float, float]

LOST_SECONDS: Final = 2.0
"""A track ends when its face was not found for so long, in at least `_LOST_LOOKS` looks."""

_LOST_LOOKS: Final = 2

_ACCELERATION: Final = np.array([4.0, 4.0, 1.0])
_FIRST_SPEED: Final = np.array([4.0, 4.0, 0.7])
_NOISE: Final = np.array([0.06, 0.06, 0.06])
"""Standard deviations for x, y and the logarithm of the size: of the acceleration and of the speed of a face
that has just come, in sides of the face and e-folds, a second; and of what the detector measures."""

_STEADY_SECONDS: Final = np.array([2.0, 2.0, 0.5])
"""Speeds fade with these time constants, as nobody walks on, nor comes nearer, for ever."""

_FURTHEST: Final = np.array([10.0, 10.0, 1.0])
"""More than this nothing is spread: a picture ends somewhere."""

_GATE: Final = 16.27
"""The 99.9th percentile of χ² with three degrees of freedom: a face further from where a track is predicted
is another one."""

_OUTLIER: Final = 7.8
"""The 95th percentile: what is further off is believed less."""

_LEFT_OUT: Final = 10.0
"""What it costs, in e-folds, to end a track and begin another rather than give the one a face: about what a
stranger's face somewhere in the picture costs, in an area of a hundred faces and with a correlation of
0.4."""

_SURE_SECONDS: Final = 0.5
"""After longer a face has to look alike to go on a track: motion alone says little by then."""

_SIDE: Final = 8
_ALIKE: Final = 0.75
"""Least correlation of looks for a face that takes up a track again after it was missed, or after a cut."""

_LOOKS_SCALE: Final = 0.1
"""A correlation lower by this much weighs as much as a likelihood lower by one e-fold."""

_SAME_PLACE: Final = 0.3
"""Boxes that overlap by this much (intersection over union) are in the same place."""

_FOLLOW_LOOKS: Final = 0.3


@dataclass(eq=False)
class _Path:
    """What is known of one track: the filter's state, and how its face looks.

    Attributes:
        number: Of the track.
        time: When it was predicted or measured last, in seconds.
        state: Positions and speeds of x, y (pixels) and of the logarithm of the side; shape (3, 2).
        covariance: Of each pair, in sides of the face; shape (3, 2, 2).
        shape: Width and height of the box as shares of the side.
        looks: Unit vector.
        seen: When it was found last.
        missed: Looks since then.
    """

    number: int
    time: float
    state: NDArray[np.float64]
    covariance: NDArray[np.float64]
    shape: tuple[float, float]
    looks: NDArray[np.float32]
    seen: float
    missed: int = 0

    def predicted(self, time: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """State and covariance at a later time."""
        step = max(0.0, time - self.time)
        kept = np.exp(-step / _STEADY_SECONDS)
        move = np.zeros((3, 2, 2))
        move[:, 0, 0], move[:, 0, 1], move[:, 1, 1] = 1, _STEADY_SECONDS * (1 - kept), kept
        push = np.array([step**2 / 2, step])
        noise = (_ACCELERATION**2)[:, None, None] * np.outer(push, push)
        state = np.einsum("aij,aj->ai", move, self.state)
        return state, move @ self.covariance @ move.swapaxes(1, 2) + noise

    def box(self, state: NDArray[np.float64]) -> Box:
        """The face's box, in pixels."""
        x, y, size = state[:, 0]
        width, height = (float(share * np.exp(size)) / 2 for share in self.shape)
        return float(x) - width, float(y) - height, float(x) + width, float(y) + height


@dataclass(eq=False)
class Tracker:
    """Gives faces that are found in frame after frame the numbers of their tracks.

    Attributes:
        sure: Only a face that the detector is at least so sure of begins a track, 0 to 1.
    """

    sure: float = DEFAULT_MIN_CONFIDENCE
    _paths: list[_Path] = field(default_factory=list)
    _count: int = 0
    _time: float = -np.inf

    def update(
        self, time: float, faces: Sequence[Face], chips: Sequence[Chip], *, cut: bool = False
    ) -> list[int | None]:
        """Takes in what was found in a frame.

        Args:
            time: Of the frame, in seconds. Not before that of the last one.
            faces: What was found in it.
            chips: Their crops.
            cut: Whether another scene may have begun since the last frame. Then only a face goes on a track
                that is in the same place and looks alike; all other tracks end.

        Returns:
            The number of each face's track, from 1 on; ``None`` for a face that belongs to none and that the
            detector is not sure of.

        Raises:
            ValueError: ``time`` goes back.
        """
        if time < self._time:
            raise ValueError(f"time goes back, from {self._time} to {time} seconds")
        self._time = time
        places = np.array([_place(face.box) for face in faces]).reshape(-1, 3)
        looks = [_looks(chip.pixels) for chip in chips]
        numbers: list[int | None] = [None] * len(faces)
        for path in self._paths:
            path.missed += 1
        for path, index in self._assign(time, faces, places, looks, cut=cut):
            _measure(path, time, faces[index], places[index], looks[index], forget_speed=cut)
            numbers[index] = path.number
        self._paths = [
            path
            for path in self._paths
            if path.missed == 0
            or (not cut and (path.missed < _LOST_LOOKS or time - path.seen <= LOST_SECONDS))
        ]
        for index, face in enumerate(faces):
            if numbers[index] is None and face.confidence >= self.sure:
                self._count += 1
                numbers[index] = self._count
                self._paths.append(_begin(self._count, time, face, places[index], looks[index]))
        return numbers

    def missed(self, time: float) -> dict[int, Box]:
        """Tracks whose face was not found in the last frame, and where each is expected to be, in pixels."""
        return {path.number: path.box(path.predicted(time)[0]) for path in self._paths if path.missed}

    def _assign(
        self,
        time: float,
        faces: Sequence[Face],
        places: NDArray[np.float64],
        looks: Sequence[NDArray[np.float32]],
        *,
        cut: bool,
    ) -> list[tuple[_Path, int]]:
        """Pairs of a track and the index of its face."""
        never = 1e6
        costs = np.full((len(self._paths), len(faces) + len(self._paths)), never)
        costs[:, len(faces) :] = _LEFT_OUT
        for row, path in enumerate(self._paths):
            state, covariance = path.predicted(time)
            side = np.exp(state[2, 0])
            spread = np.minimum(covariance[:, 0, 0] + _NOISE**2, _FURTHEST**2)
            off = (places - state[:, 0]) / np.array([side, side, 1.0])
            distance = (off**2 / spread).sum(axis=1)
            for column, face in enumerate(faces):
                alike = float(path.looks @ looks[column])
                if cut:
                    allowed = alike >= _ALIKE and overlap(path.box(state), face.box) >= _SAME_PLACE
                else:
                    # The detector now and then takes half a face for the whole, so a box that is off but in
                    # the right place is not a stranger's.
                    soon = path.missed == 1 and time - path.seen <= _SURE_SECONDS
                    near = distance[column] <= _GATE or overlap(path.box(state), face.box) >= _SAME_PLACE
                    allowed = near and (soon or alike >= _ALIKE)
                if allowed:
                    unlikely = 0.5 * (min(distance[column], _GATE) + float(np.log(spread).sum()))
                    costs[row, column] = unlikely + (1 - alike) / _LOOKS_SCALE
        pairs = zip(*linear_sum_assignment(costs), strict=True)
        return [(self._paths[row], int(column)) for row, column in pairs if column < len(faces)]


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    shared = width * height
    return shared / (sum(areas) - shared) if shared else 0.0


def _place(box: Box) -> NDArray[np.float64]:
    """Centre in pixels and logarithm of the side, which is that of a square of the same area."""
    x1, y1, x2, y2 = box
    return np.array([(x1 + x2) / 2, (y1 + y2) / 2, 0.5 * np.log((x2 - x1) * (y2 - y1))])


def _shape(box: Box, place: NDArray[np.float64]) -> tuple[float, float]:
    side = float(np.exp(place[2]))
    return (box[2] - box[0]) / side, (box[3] - box[1]) / side


def _looks(chip: NDArray[np.uint8]) -> NDArray[np.float32]:
    small = cv2.resize(chip, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    small -= small.mean()
    return np.asarray(small / max(float(np.linalg.norm(small)), 1e-6), np.float32)


def _begin(
    number: int, time: float, face: Face, place: NDArray[np.float64], looks: NDArray[np.float32]
) -> _Path:
    state = np.stack([place, np.zeros(3)], axis=1)
    covariance = np.zeros((3, 2, 2))
    covariance[:, 0, 0], covariance[:, 1, 1] = _NOISE**2, _FIRST_SPEED**2
    return _Path(number, time, state, covariance, _shape(face.box, place), looks, time)


def _measure(
    path: _Path,
    time: float,
    face: Face,
    place: NDArray[np.float64],
    looks: NDArray[np.float32],
    *,
    forget_speed: bool,
) -> None:
    """Moves a track to where its face was found."""
    if forget_speed:
        fresh = _begin(path.number, time, face, place, looks)
        path.state, path.covariance = fresh.state, fresh.covariance
    else:
        state, covariance = path.predicted(time)
        side = np.exp(state[2, 0])
        unit = np.array([side, side, 1.0])
        off = (place - state[:, 0]) / unit
        distance = float((off**2 / (covariance[:, 0, 0] + _NOISE**2)).sum())
        noise = _NOISE**2 * max(1.0, distance / _OUTLIER)
        gain = covariance[:, :, 0] / (covariance[:, 0, 0] + noise)[:, None]
        # Speeds are kept in pixels, covariances in sides of the face.
        path.state = state + gain * (off * unit)[:, None]
        path.covariance = covariance - gain[:, :, None] * covariance[:, None, 0, :]
    mixed = (1 - _FOLLOW_LOOKS) * path.looks + _FOLLOW_LOOKS * looks
    path.looks = np.asarray(mixed / max(float(np.linalg.norm(mixed)), 1e-6), np.float32)
    path.time, path.seen, path.missed, path.shape = time, time, 0, _shape(face.box, place)
