"""What becomes of the answer when the photo changes and the person does not.

Mirrored, darker or slightly turned, a face is as old as before. How far the answers part tells how much of
an answer is the photo's doing. It is a lower bound of the error: a model can be wrong and stand firm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agegender.explain.occlusion import exact_years
from agegender.prediction import AgeEstimate, ChipPredictor, GenderEstimate

AS_IT_IS: Final = "as it is"


@dataclass(frozen=True, eq=False)
class Variant:
    """One version of a face and the answer for it.

    Attributes:
        name: What was changed, for people.
        chip: The changed chip, RGB ``uint8`` of the chip's own shape.
        age: ``None`` where the model predicts no age.
        gender: ``None`` where it predicts no gender.
    """

    name: str
    chip: NDArray[np.uint8]
    age: AgeEstimate | None
    gender: GenderEstimate | None


def vary(predictor: ChipPredictor, chip: NDArray[np.uint8], *, margin: int = 0) -> tuple[Variant, ...]:
    """Asks for a face and for every version of it in `CHANGES`, in one batch.

    Args:
        predictor: The model's predictor.
        chip: RGB ``uint8`` of shape (height, width, 3), UTKFace geometry.
        margin: Pixels that it shows beyond that on each side, as `Predictor.predict_chips` counts them.

    Returns:
        The face as it is, then its versions.
    """
    chips = {AS_IT_IS: chip} | {name: change(chip) for name, change in CHANGES.items()}
    answers = predictor.predict_chips(np.stack(list(chips.values())), margin=margin)
    return tuple(
        Variant(name, pixels, age, gender)
        for (name, pixels), (age, gender) in zip(chips.items(), answers, strict=True)
    )


def largest_change(variants: Sequence[Variant]) -> Variant | None:
    """The version whose age is farthest from that of the face as it is, or ``None`` without ages."""
    first = variants[0].age
    changes = [
        (abs(exact_years(variant.age) - exact_years(first)), variant)
        for variant in variants[1:]
        if variant.age is not None and first is not None
    ]
    return max(changes, key=itemgetter(0))[1] if changes else None


def _mirror(chip: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(chip[:, ::-1])


def _light(gain: float) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
    def change(chip: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.clip(np.rint(chip.astype(np.float32) * gain), 0, 255).astype(np.uint8)

    return change


def _grey(chip: NDArray[np.uint8]) -> NDArray[np.uint8]:
    luma = cv2.cvtColor(chip, cv2.COLOR_RGB2GRAY)
    return np.repeat(np.asarray(luma, dtype=np.uint8)[..., None], 3, axis=2)


def _move(angle: float = 0.0, zoom: float = 1.0) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
    """A turn about the middle, in degrees clockwise, and a scale; the border repeats, as in training."""

    def change(chip: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = chip.shape[:2]
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -angle, zoom)
        moved = cv2.warpAffine(
            chip, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(moved, dtype=np.uint8)

    return change


def _coarse(side: int) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
    def change(chip: NDArray[np.uint8]) -> NDArray[np.uint8]:
        small = cv2.resize(chip, (side, side), interpolation=cv2.INTER_AREA)
        back = cv2.resize(small, (chip.shape[1], chip.shape[0]), interpolation=cv2.INTER_LINEAR)
        return np.asarray(back, dtype=np.uint8)

    return change


CHANGES: Final[Mapping[str, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]]] = MappingProxyType(
    {
        "mirrored": _mirror,
        "darker": _light(0.55),
        "brighter": _light(1.45),
        "turned left": _move(angle=-8),
        "turned right": _move(angle=8),
        "cut closer": _move(zoom=1.1),
        "cut wider": _move(zoom=0.9),
        "without colour": _grey,
        "48 pixels small": _coarse(48),
    }
)
"""Changes that ordinary photos differ by anyway. All lie within what training varies, so that the answer is
asked about faces of a kind the model was made for."""
