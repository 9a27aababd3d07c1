"""Augmentation of one face chip: geometry in one resampling, then light and colour, then damage.

Each kind imitates something that happens to real photos: a loose detector (rotation, shift, zoom), a
lamp (brightness, contrast, colour), a cheap or distant camera (low resolution, blur, JPEG, noise), a hand
or a mask before the face (erasing).
"""

from __future__ import annotations

import dataclasses
import math
import sys
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agegender.errors import ConfigError
from agegender.faces.chip import CHIP_SIZE
from agegender.faces.crop import fit_face
from agegender.faces.face import Face

_PROBABILITIES: Final = (
    *("tilt", "grey", "dark", "shade", "low_resolution"),
    *("blur", "jpeg", "noise", "erase", "hide_margin"),
)

_ALIASING: Final = 0.75
"""Chip pixels per photo pixel under which plain bilinear interpolation would alias."""


@dataclass(frozen=True)
class Augmentation:
    """How strongly chips are changed while training. All zero changes nothing.

    Attributes:
        flip: Probability of mirroring.
        rotation: Standard deviation of the rotation about the centre, in degrees.
        tilt: Probability of a rotation of any angle up to 40 degrees instead: a head on a shoulder.
        shift: Standard deviation of the shift along each axis, as a share of the chip's side.
        zoom: Standard deviation of the logarithm of the scale.
        brightness: Half-width of the uniform brightness offset, as a share of the full range.
        contrast: Half-width of the uniform contrast factor around 1.
        saturation: Half-width of the uniform saturation factor around 1.
        cast: Half-width of a uniform factor around 1 on each colour channel: warm and cold light.
        grey: Probability of losing all colour.
        dark: Probability of a strong darkening by gain and gamma.
        shade: Probability of light from one side: a gain that falls off across the chip.
        low_resolution: Probability of shrinking to 16 to 80 pixels and back.
        blur: Probability of a Gaussian blur, σ up to 3 % of the chip's side.
        jpeg: Probability of a JPEG round trip at quality 8 to 50.
        noise: Probability of Gaussian pixel noise.
        erase: Probability of covering a random rectangle of 10 to 70 % of each side, a third of them squares
            of at least 50 %.
        hide_margin: Probability of hiding what a network with a margin sees beyond UTKFace's chips, which end
            there: so it learns from faces with and without. Without a margin it does nothing, but that, where
            it is not 0, what lies outside a photo is not always black, and so comes to mean nothing.
    """

    flip: float = 0.5
    rotation: float = 8.0
    tilt: float = 0.12
    shift: float = 0.03
    zoom: float = 0.09
    brightness: float = 0.12
    contrast: float = 0.25
    saturation: float = 0.30
    cast: float = 0.10
    grey: float = 0.08
    dark: float = 0.12
    shade: float = 0.10
    low_resolution: float = 0.14
    blur: float = 0.10
    jpeg: float = 0.10
    noise: float = 0.07
    erase: float = 0.25
    hide_margin: float = 0.25

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not (isinstance(value, (int, float)) and 0 <= value <= sys.float_info.max):
                raise ConfigError(f"augmentation {field.name} must be a number of at least 0, not {value!r}")

    def scaled(self, strength: float) -> Augmentation:
        """The same augmentation with every value multiplied by ``strength``, probabilities capped at 1.

        The probability of mirroring stays: it is not a strength.
        """
        values = {f.name: round(getattr(self, f.name) * strength, 6) for f in dataclasses.fields(self)}
        for name in _PROBABILITIES:
            values[name] = min(values[name], 1.0)
        return Augmentation(**{**values, "flip": self.flip if strength > 0 else 0.0})


@dataclass(frozen=True, eq=False)
class Placement:
    """How a picture becomes a chip: where its pixels land.

    Attributes:
        matrix: From pixels of the picture to pixels of the chip, counted from pixel corners, shape (2, 3).
        margin: Pixels on each side that the chip, 200 px wide without, has more than UTKFace's.
    """

    matrix: NDArray[np.float64]
    margin: int = 0


def place_chip(picture: NDArray[np.uint8], face: Face | None, margin: int) -> Placement:
    """Where `crop_face`, or `change_margin` for what is a chip already, would put a picture's pixels.

    Args:
        picture: RGB ``uint8`` of shape (height, width, 3).
        face: Where its face is; ``None`` for a chip in UTKFace's geometry.
        margin: Of the wanted chip, in pixels.
    """
    if face is None:
        height, width = picture.shape[:2]
        matrix = np.array([[CHIP_SIZE / width, 0.0, 0.0], [0.0, CHIP_SIZE / height, 0.0]])
    else:
        matrix = fit_face(face).matrix()
    matrix[:, 2] += margin
    return Placement(matrix, margin)


def _warp(
    picture: NDArray[np.uint8],
    size: tuple[int, int],
    rng: np.random.Generator,
    config: Augmentation,
    placement: Placement | None,
) -> NDArray[np.uint8]:
    """Random geometry, together with the crop in one resampling."""
    height, width = size
    mirrored = rng.random() < config.flip
    tilted = rng.random() < config.tilt
    angle = math.radians(rng.uniform(-40, 40) if tilted else rng.normal(0.0, config.rotation))
    side_y, side_x = picture.shape[:2] if placement is None else (CHIP_SIZE + 2 * placement.margin,) * 2
    scale = math.exp(rng.normal(0.0, config.zoom)) * width / side_x
    shift_x, shift_y = rng.normal(0.0, config.shift, 2) * (width, height)
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    sign = -1.0 if mirrored else 1.0
    # Pixel centres: the middle of n pixels is (n − 1) / 2.
    from_x, from_y = (side_x - 1) / 2, (side_y - 1) / 2
    matrix = np.array([[sign * cosine, -sine, 0.0], [sign * sine, cosine, 0.0]])
    matrix[:, 2] = ((width - 1) / 2 + shift_x, (height - 1) / 2 + shift_y) - matrix[:, :2] @ (from_x, from_y)
    if placement is None:
        warped = cv2.warpAffine(
            picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(warped, dtype=np.uint8)
    crop = placement.matrix.copy()  # from pixel corners to pixel centres on both sides
    crop[:, 2] += crop[:, :2] @ (0.5, 0.5) - 0.5
    fill, repeats = _fill(rng), rng.random() < 0.25
    if config.hide_margin == 0:  # black, as the app's crop leaves it
        fill, repeats = (0, 0, 0), False
    part, whole = _shrunk(picture, matrix @ np.vstack([crop, (0, 0, 1)]))
    warped = cv2.warpAffine(
        part,
        whole,
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE if repeats else cv2.BORDER_CONSTANT,
        borderValue=fill,
    )
    if placement.margin and rng.random() < config.hide_margin:
        low, high = placement.margin - 0.5, placement.margin + CHIP_SIZE - 0.5
        corners = np.array([[low, low, 1], [high, low, 1], [high, high, 1], [low, high, 1]])
        inside = np.zeros((height, width), np.uint8)
        cv2.fillConvexPoly(inside, np.rint(corners @ matrix.T).astype(np.int32), 1)
        warped[inside == 0] = fill
    return np.asarray(warped, dtype=np.uint8)


def _shrunk(
    picture: NDArray[np.uint8], matrix: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Averages a picture down where a transform, between pixel centres, shrinks it much; adapts that."""
    scale = math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))
    if scale >= _ALIASING:
        return picture, matrix
    height, width = picture.shape[:2]
    columns, rows = (max(1, round(side * scale / _ALIASING)) for side in (width, height))
    x, y = width / columns, height / rows
    back = np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5], [0, 0, 1]])
    smaller = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(smaller, dtype=np.uint8), matrix @ back


def _fill(rng: np.random.Generator) -> tuple[int, int, int]:
    """Black two times in three, else any colour."""
    colour = rng.integers(0, 256, 3).tolist()
    return (0, 0, 0) if rng.random() < 2 / 3 else (colour[0], colour[1], colour[2])


def _recolour(chip: NDArray[np.uint8], rng: np.random.Generator, config: Augmentation) -> NDArray[np.float32]:
    pixels: NDArray[Any] = chip.astype(np.float32)
    saturation = 0.0 if rng.random() < config.grey else 1 + rng.uniform(-1, 1) * config.saturation
    # One 3×3 matrix does saturation (towards Rec. 601 luma) and the colour cast together.
    luma = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    mix = saturation * np.eye(3, dtype=np.float32) + (1 - saturation) * luma
    mix *= (1 + rng.uniform(-1, 1, 3) * config.cast).astype(np.float32)[:, None]
    pixels = cv2.transform(pixels, mix)
    contrast = 1 + rng.uniform(-1, 1) * config.contrast
    offset = 255 * rng.uniform(-1, 1) * config.brightness
    pixels = pixels * np.float32(contrast) + np.float32(offset + (1 - contrast) * pixels.mean())
    if rng.random() < config.dark:
        gain, gamma = rng.uniform(0.12, 0.7), rng.uniform(0.8, 1.6)
        pixels = 255 * gain * np.power(np.clip(pixels, 0, 255) / 255, gamma, dtype=np.float32)
    if rng.random() < config.shade:
        pixels = pixels * _side_light(pixels.shape[:2], rng)[..., None]
    return np.asarray(pixels, dtype=np.float32)


def _side_light(size: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """A gain of 1 on one side that falls to between 0.1 and 0.6 on the other."""
    height, width = size
    direction = rng.uniform(0, 2 * math.pi)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    along = np.clip((math.cos(direction) * x + math.sin(direction) * y + 1) / 2, 0, 1)
    return np.asarray(1 - (1 - rng.uniform(0.1, 0.6)) * along, dtype=np.float32)


def _damage(pixels: NDArray[Any], rng: np.random.Generator, config: Augmentation) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    if rng.random() < config.low_resolution:
        side = int(rng.integers(16, 81))
        small = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
        way_up = cv2.INTER_LINEAR if rng.random() < 0.5 else cv2.INTER_CUBIC
        pixels = cv2.resize(small, (width, height), interpolation=way_up)
    if rng.random() < config.blur:
        pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.003, 0.03) * width)
    if rng.random() < config.noise:
        pixels = pixels + rng.normal(0, rng.uniform(2, 14), pixels.shape).astype(np.float32)
    chip = np.clip(pixels, 0, 255).astype(np.uint8)
    if rng.random() < config.jpeg:
        # OpenCV writes and reads BGR. In the wrong order JPEG would spend its bits on the wrong colours.
        bgr = cv2.cvtColor(chip, cv2.COLOR_RGB2BGR)
        _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(8, 51))])
        decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))
        chip = np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)
    if rng.random() < config.erase:
        shares = rng.uniform(0.1, 0.7, 2)
        if rng.random() < 1 / 3:  # as much as a hand before a face, which two free sides seldom are
            shares[:] = rng.uniform(0.5, 0.7)
        h, w = (shares * (height, width)).astype(int)
        y, x = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
        chip[y : y + h, x : x + w] = rng.integers(0, 256, 3) if rng.random() < 0.5 else 128
    return chip


def augment_chip(
    picture: NDArray[np.uint8],
    size: tuple[int, int],
    rng: np.random.Generator,
    config: Augmentation,
    placement: Placement | None = None,
) -> NDArray[np.uint8]:
    """Makes one random variation of a chip at a network's input size.

    Args:
        picture: RGB ``uint8`` of shape (height, width, 3).
        size: (height, width) of the result, in pixels.
        rng: Where all randomness comes from.
        config: How strong.
        placement: How the picture becomes a chip; ``None`` where it is one, in UTKFace's geometry.

    Returns:
        RGB ``uint8`` of shape (*size, 3).
    """
    warped = _warp(picture, size, rng, config, placement)
    return _damage(_recolour(warped, rng, config), rng, config)
