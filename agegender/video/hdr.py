"""High dynamic range to plain RGB: colours of BT.2100, as phones and cameras film them, to those of sRGB.

Light is taken as ITU-R BT.2408 has it, with white at 203 cd/m², and up to 1000 cd/m². The roll-off of ITU-R
BT.2390 (its EETF) fits that into what is below white; what is less than half as bright as white, as faces
mostly are, stays as it is. What lies outside sRGB's gamut is cut off.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

PQ: Final = 16
HLG: Final = 18
"""FFmpeg's numbers for the two transfer functions of BT.2100, as `av.VideoFrame.color_trc` has them."""

_WHITE: Final = 203.0
_PEAK: Final = 1000.0
_STEPS: Final = 65
_LUMA: Final = np.array([0.2627, 0.6780, 0.0593])
_TO_SRGB: Final = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
)
_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 32, 107 / 128, 2413 / 128, 2392 / 128
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073


def to_sdr(pixels: NDArray[np.uint8], transfer: int) -> NDArray[np.uint8]:
    """Tone-maps a picture.

    Args:
        pixels: ``uint8`` of shape (height, width, 3): red, green and blue as BT.2100 codes them, 0 to 255.
        transfer: `PQ` or `HLG`.

    Returns:
        Of the same shape, sRGB.
    """
    return np.asarray(Image.fromarray(pixels).filter(_table(transfer)), np.uint8)


@cache
def _table(transfer: int) -> ImageFilter.Color3DLUT:
    steps = np.linspace(0, 1, _STEPS)
    blue, green, red = np.meshgrid(
        steps, steps, steps, indexing="ij"
    )  # red changes fastest, as Pillow has it
    coded = np.stack([red, green, blue], axis=-1)
    light = _light_of_pq(coded) if transfer == PQ else _light_of_hlg(coded)
    light = np.minimum(light, _PEAK)
    brightest = light.max(axis=-1, keepdims=True)
    rolled = light * _roll_off(brightest) / np.maximum(brightest, 1e-6)  # one factor, so that hues stay
    linear = np.clip(rolled @ _TO_SRGB.T / _WHITE, 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return ImageFilter.Color3DLUT(_STEPS, srgb.ravel().tolist())


def _light_of_pq(coded: NDArray[np.float64]) -> NDArray[np.float64]:
    """Light in cd/m²: the EOTF of SMPTE ST 2084."""
    power = coded ** (1 / _M2)
    return 10_000 * (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1)


def _pq_of_light(light: NDArray[np.float64]) -> NDArray[np.float64]:
    power = (light / 10_000) ** _M1
    return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2


def _light_of_hlg(coded: NDArray[np.float64]) -> NDArray[np.float64]:
    """Light in cd/m² of a display of 1000: the inverse OETF of BT.2100, then its OOTF."""
    scene = np.where(coded <= 0.5, coded**2 / 3, (np.exp((coded - _C) / _A) + _B) / 12)
    return _PEAK * scene * (scene @ _LUMA)[..., None] ** 0.2


def _roll_off(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """The EETF of BT.2390, from `_PEAK` to `_WHITE`, in cd/m²."""
    peak, white = (float(_pq_of_light(np.array(level))) for level in (_PEAK, _WHITE))
    found, most = _pq_of_light(light) / peak, white / peak
    knee = 1.5 * most - 0.5
    t = np.maximum(found - knee, 0) / (1 - knee)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * most
    )
    return _light_of_pq(np.where(found < knee, found, spline) * peak)
