"""The one crop: any face in any photo, into the geometry of UTKFace's chips.

Training, evaluation and the app all see faces through `crop_face`. UTKFace's chips were cut by an alignment
that puts eyes, nose and mouth in the same place every time; a model trained on them loses years of accuracy
on looser or tighter crops, so a photo's face is moved, turned and scaled until its landmarks lie there too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from agegender.faces.chip import CHIP_SIZE
from agegender.faces.condition import CONDITION_WARNINGS, condition_warnings
from agegender.faces.face import Face

CHIP_LANDMARKS: Final[NDArray[np.float64]] = np.array(
    [[59.3, 57.7], [136.9, 57.8], [97.6, 103.4], [63.2, 137.4], [132.9, 137.5]]
)
"""Where UTKFace's chips have left eye, right eye, nose tip, left and right corner of the mouth: x and y in
pixels from the top left corner of the chip, shape (5, 2).

Measured by tools/once/measure_landmarks.py on every eighth chip (docs/measurements/landmarks.json): the
medians, which half profiles and misplaced mouths pull less than the means (the two are within 0.5 px), spread
by 0.5 % about their centre so that the median chip is cropped again at scale 1. Not quite symmetric, because
the chips are not.
"""
CHIP_LANDMARKS.flags.writeable = False

SMALL: Final = "small face"
EDGE: Final = "face at the edge of the photo"
TILTED: Final = "tilted"
TURNED: Final = "turned far to the side"
NODDING: Final = "looking far up or down"
CROP_WARNINGS: Final[tuple[str, ...]] = (SMALL, EDGE, TILTED, TURNED, NODDING, *CONDITION_WARNINGS)
"""Every warning a crop can carry, in the order in which a chip lists them."""

LANDMARK_WEIGHTS: Final[NDArray[np.float64]] = np.array([1.0, 1.0, 1.0, 0.5, 0.5]) / 4
# On UTKFace's chips the corners of the mouth scatter twice as far as the eyes, because mouths move. Half the
# weight cuts the mean error of the fitted crop by a tenth (see tools/once/measure_landmarks.py).

_SMALLEST_SOURCE: Final = 60.0
"""A chip that was made of fewer source pixels a side than this is a *small face*. Its eyes were less than
about 23 px apart in the photo."""

_LARGEST_TILT: Final = 30.0
"""Degrees in the plane of the picture. The crop turns the face upright, but MTCNN's landmarks get less exact
from about here on, and it soon finds no face at all."""

_LARGEST_TURN: Final = 23.0
_PITCH_RANGE: Final = (0.25, 0.87)
# Chosen on UTKFace, where 1.6 % of the chips cross one of the two. Those with the nose more than 23 px of
# the chip off its place between eyes and mouth are, by eye, half profiles; those where its height between the
# line of the eyes (0) and that of the mouth (1) leaves the range are babies and heads thrown back or bowed.

_CORE_RADIUS: Final = 80.0
_LARGEST_MISSING: Final = 0.1
"""A face is *at the edge* when more than this share of the chip's inner disc, 80 px in radius, is not in the
photo. The corners of a chip are background and may be missing."""

_DIRECT_SCALE: Final = 0.75
"""Chip pixels per photo pixel from which plain bilinear interpolation does not alias visibly."""

_DEGENERATE_SPREAD: Final = 1e-3
_CHIP_BOX_CENTRE: Final = complex(97.3, 86.2)
_CHIP_BOX_HEIGHT: Final = 213.0
"""Where MTCNN's box lies on a UTKFace chip, in pixels (medians); used when landmarks give no scale."""

CHIP_PAD: Final = 50
"""How many pixels of grey `pad_chip` puts on each side."""

_PAD_GREY: Final = 127


@dataclass(frozen=True, eq=False)
class Chip:
    """One face in the geometry of UTKFace's chips.

    Attributes:
        pixels: RGB, uint8, 200 px and twice the margin a side. What lies outside the photo is black, as in
            UTKFace, where one chip in twenty shows a black edge.
        warnings: Reasons to trust a prediction on it less, from `CROP_WARNINGS`. Often empty.
        margin: Pixels that it shows beyond UTKFace's chips on each side.
    """

    pixels: NDArray[np.uint8]
    warnings: tuple[str, ...] = ()
    margin: int = 0


@dataclass(frozen=True)
class Similarity:
    """A similarity transform of the plane: turn and scale by ``turn``, then shift by ``shift``.

    Points are complex numbers, x + iy, so that the transform is ``turn * point + shift``.

    Attributes:
        turn: Its modulus is the scale, its argument the angle (clockwise on screen, as y points down).
        shift: In pixels of the target.
    """

    turn: complex
    shift: complex

    @property
    def scale(self) -> float:
        """Target pixels per source pixel."""
        return abs(self.turn)

    def inverse(self) -> Similarity:
        """The transform from target to source."""
        return Similarity(1 / self.turn, -self.shift / self.turn)

    def matrix(self) -> NDArray[np.float64]:
        """The same as a 2×3 matrix for columns (x, y, 1)."""
        turn, shift = self.turn, self.shift
        return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def crop_face(image: NDArray[np.uint8], face: Face, margin: int = 0) -> Chip:
    """Crops a face into the geometry of UTKFace's chips.

    Args:
        image: RGB, uint8, shape (height, width, 3), upright.
        face: Where the face is, in pixels of ``image``.
        margin: How many pixels more than UTKFace's chips it shows on each side, at their scale.

    Returns:
        The chip and its warnings.

    Raises:
        TypeError: If ``image`` is not a uint8 array.
        ValueError: If ``image`` is not of shape (height, width, 3), the face's coordinates are not finite
            numbers, or the face lies wholly outside the image.
    """
    check_rgb(image)
    if not np.isfinite([*face.box, *np.ravel(face.landmarks)]).all():
        raise ValueError(f"a face's coordinates must be finite, got {face}")

    to_chip = fit_face(face)
    present = _present_share(to_chip, image.shape[1], image.shape[0])
    if present == 0:
        raise ValueError(f"the face lies outside the image of shape {image.shape}: {face}")
    warnings = set(_pose_warnings(to_chip, face))
    if CHIP_SIZE / to_chip.scale < _SMALLEST_SOURCE:
        warnings.add(SMALL)
    if present < 1 - _LARGEST_MISSING:
        warnings.add(EDGE)
    pixels = _render(image, to_chip, margin)
    if SMALL not in warnings:  # which says enough of what cannot be seen
        warnings.update(condition_warnings(pixels))
    return Chip(pixels, tuple(word for word in CROP_WARNINGS if word in warnings), margin)


def check_rgb(image: NDArray[np.uint8]) -> None:
    """Refuses what is not an RGB image.

    Raises:
        TypeError: If ``image`` is not a uint8 array.
        ValueError: If its shape is not (height, width, 3).
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        received = f"{image.dtype} array" if isinstance(image, np.ndarray) else type(image).__name__
        raise TypeError(f"an image must be a uint8 array, got {received}")
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"an image must be RGB of shape (height, width, 3), got shape {image.shape}")


def fit_face(face: Face) -> Similarity:
    """Finds the similarity transform that carries a face's landmarks to `CHIP_LANDMARKS`.

    Rotation and shift are the least-squares ones, without reflection (S. Umeyama, "Least-squares estimation
    of transformation parameters between two point patterns", PAMI 1991), which in the plane is one complex
    product. The scale is the symmetric one, the ratio of the two spreads (B. K. P. Horn, "Closed-form
    solution of absolute orientation using unit quaternions", JOSA A 1987): the least-squares one shrinks the
    more, the less a face resembles the average one, so turned heads came out small.

    Args:
        face: Any face. Where its landmarks fall into one point, its box gives scale and place.

    Returns:
        The transform from pixels of the photo to pixels of the chip.
    """
    source, target = _as_complex(face.landmarks), _as_complex(CHIP_LANDMARKS)
    source_centre, target_centre = complex(LANDMARK_WEIGHTS @ source), complex(LANDMARK_WEIGHTS @ target)
    around_source, around_target = source - source_centre, target - target_centre
    spread = float(np.sqrt(LANDMARK_WEIGHTS @ np.abs(around_source) ** 2))
    direction = complex(LANDMARK_WEIGHTS @ (np.conj(around_source) * around_target))
    if spread < _DEGENERATE_SPREAD or direction == 0:
        x1, y1, x2, y2 = face.box
        scale = _CHIP_BOX_HEIGHT / max(y2 - y1, x2 - x1, 1.0)
        return Similarity(complex(scale), _CHIP_BOX_CENTRE - scale * complex(x1 + x2, y1 + y2) / 2)
    target_spread = float(np.sqrt(LANDMARK_WEIGHTS @ np.abs(around_target) ** 2))
    turn = direction / abs(direction) * target_spread / spread
    return Similarity(turn, target_centre - turn * source_centre)


def tilt_of(to_chip: Similarity, face: Face) -> float:
    """How far the crop turns a face beyond its quarter turns: degrees, clockwise, -180 to 180."""
    return float(np.degrees(np.angle(to_chip.turn * 1j**face.quarter_turns)))


def pad_chip(chip: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Gives a chip the room around it that a face detector needs.

    Grey did best of what was tried on 403 chips: at a confidence of 0.9 the bare package found 98.0 % with 50
    or 100 px of grey, 97.3 % with 50 px of repeated edge or none at all, 96.5 % with a reflection (and second
    faces in it), 95.5 % with black.

    Args:
        chip: RGB, uint8, shape (height, width, 3); UTKFace's are 200×200.

    Returns:
        The chip in a grey frame a quarter of 200 px wide: height and width grow by 100.
    """
    grey = (_PAD_GREY,) * 3
    padded = cv2.copyMakeBorder(chip, CHIP_PAD, CHIP_PAD, CHIP_PAD, CHIP_PAD, cv2.BORDER_CONSTANT, value=grey)
    return padded.astype(np.uint8, copy=False)


def _pose_warnings(to_chip: Similarity, face: Face) -> list[str]:
    """Judges the pose from where the landmarks land on the chip: crude, and enough for a warning."""
    landed = to_chip.turn * _as_complex(face.landmarks) + to_chip.shift
    warnings = []
    if abs(tilt_of(to_chip, face)) > _LARGEST_TILT:
        warnings.append(TILTED)
    if abs(_turn_of(landed) - _turn_of(_as_complex(CHIP_LANDMARKS))) > _LARGEST_TURN:
        warnings.append(TURNED)
    eyes, nose, mouth = landed[:2].imag.mean(), landed[2].imag, landed[3:].imag.mean()
    # Written as products: where mouth and eyes are at one height, there is nothing to divide by.
    low, high = _PITCH_RANGE
    if not low * (mouth - eyes) <= nose - eyes <= high * (mouth - eyes):
        warnings.append(NODDING)
    return warnings


def _turn_of(landed: NDArray[np.complex128]) -> float:
    """How far right of the middle between eyes and mouth the nose is, in pixels of the chip."""
    return float(landed[2].real - (landed[:2].real.mean() + landed[3:].real.mean()) / 2)


def _present_share(to_chip: Similarity, width: int, height: int) -> float:
    """The share of the chip's inner disc that lies in a photo of this size, 0 to 1."""
    steps = np.linspace(-_CORE_RADIUS, _CORE_RADIUS, 33)
    disc = (steps[None, :] + 1j * steps[:, None]).ravel()
    disc = disc[np.abs(disc) <= _CORE_RADIUS] + complex(CHIP_SIZE, CHIP_SIZE) / 2
    back = to_chip.inverse()
    points = back.turn * disc + back.shift
    inside = (points.real >= 0) & (points.real < width) & (points.imag >= 0) & (points.imag < height)
    return float(inside.mean())


def _render(image: NDArray[np.uint8], tight: Similarity, margin: int) -> NDArray[np.uint8]:
    """Draws the chip, without aliasing at any scale.

    Only the part of the photo that the chip shows is touched, so time does not grow with the photo (and
    OpenCV's limit of 32,767 px a side is never met). A chip clearly smaller than that part is drawn at twice
    its size and averaged, after the part was averaged down to about that size.
    """
    side = CHIP_SIZE + 2 * margin
    to_chip = Similarity(tight.turn, tight.shift + complex(margin, margin))
    part, left, top = _visible_part(image, to_chip, side)
    matrix = to_chip.matrix() @ _scale_and_shift(1, 1, left, top)
    if to_chip.scale >= _DIRECT_SCALE:
        return _warp(part, matrix, side)
    shrink = 2 * to_chip.scale
    if shrink < 1:
        height, width = part.shape[:2]
        columns, rows = max(1, round(width * shrink)), max(1, round(height * shrink))
        part = _shrink(part, columns, rows)
        matrix = matrix @ _scale_and_shift(width / columns, height / rows, 0, 0)
    return _shrink(_warp(part, 2 * matrix, 2 * side), side, side)


def _visible_part(
    image: NDArray[np.uint8], to_chip: Similarity, side: int
) -> tuple[NDArray[np.uint8], int, int]:
    """Cuts out what a chip of this side shows of the photo.

    Returns:
        The part, and the column and row of the photo where it begins.
    """
    back = to_chip.inverse()
    corners = back.turn * (side * np.array([0, 1, 1j, 1 + 1j])) + back.shift
    reach = 2 + 1 / to_chip.scale  # interpolation and averaging look beyond the corners
    height, width = image.shape[:2]
    left, top = (max(0, int(start - reach)) for start in (corners.real.min(), corners.imag.min()))
    right, bottom = (int(stop + reach) + 1 for stop in (corners.real.max(), corners.imag.max()))
    return image[top : min(bottom, height), left : min(right, width)], left, top


def _warp(part: NDArray[np.uint8], matrix: NDArray[np.float64], side: int) -> NDArray[np.uint8]:
    """Applies a 2×3 matrix that counts from pixel corners; OpenCV counts from pixel centres."""
    centred = matrix.copy()
    centred[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    black = (0, 0, 0)
    drawn = cv2.warpAffine(part, centred, (side, side), borderMode=cv2.BORDER_CONSTANT, borderValue=black)
    return drawn.astype(np.uint8, copy=False)


def _shrink(image: NDArray[np.uint8], columns: int, rows: int) -> NDArray[np.uint8]:
    """Averages the image down to this size."""
    return cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _scale_and_shift(scale_x: float, scale_y: float, x: float, y: float) -> NDArray[np.float64]:
    return np.array([[scale_x, 0, x], [0, scale_y, y], [0, 0, 1]], dtype=np.float64)


def _as_complex(points: ArrayLike) -> NDArray[np.complex128]:
    """Turns points of shape (n, 2), x and y, into x + iy."""
    pairs = np.asarray(points, dtype=np.float64)
    return pairs[:, 0] + 1j * pairs[:, 1]
