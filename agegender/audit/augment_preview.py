"""Looking at what training makes of one face: its own augmentation, with its own random numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agegender.data.augment import Augmentation, augment_chip, place_chip
from agegender.faces.face import Face

KINDS: Final[dict[str, tuple[str, ...]]] = {
    "position": ("rotation", "tilt", "shift", "zoom"),
    "light and colour": ("brightness", "contrast", "saturation", "cast", "grey", "dark", "shade"),
    "picture quality": ("low_resolution", "blur", "jpeg", "noise"),
    "covering": ("erase", "hide_margin"),
}
"""Kinds of change, and the settings of `Augmentation` that belong to each; mirroring stands alone."""

_AUGMENT_STREAM: Final = 1  # as in agegender.data.generator, which imports Keras; a test holds them together


def strengthened(
    base: Augmentation, strengths: Mapping[str, float], *, flip: float | None = None
) -> Augmentation:
    """Makes some kinds of change stronger or weaker.

    Args:
        base: What 1 stands for.
        strengths: Factor for each of `KINDS`; a kind that is not named stays as it is.
        flip: Probability of mirroring; ``None`` leaves it.

    Returns:
        The augmentation, probabilities capped at 1.
    """
    values = {"flip": base.flip if flip is None else flip}
    for kind, strength in strengths.items():
        scaled = base.scaled(strength)
        values |= {name: getattr(scaled, name) for name in KINDS[kind]}
    return replace(base, **values)


def preview(
    picture: NDArray[np.uint8],
    size: tuple[int, int],
    augmentation: Augmentation,
    *,
    face: Face | None = None,
    count: int,
    seed: int = 0,
    row: int = 0,
) -> list[NDArray[np.uint8]]:
    """Makes what `agegender.data.generator.ChipGenerator` serves of one picture, epoch after epoch.

    Args:
        picture: RGB ``uint8`` of shape (height, width, 3).
        size: (height, width) of the network's input, in pixels.
        augmentation: How strong.
        face: Where the face is in the picture; ``None`` for a chip.
        count: Epochs.
        seed: The generator's.
        row: The picture's place among the generator's files.

    Returns:
        ``count`` pictures, RGB ``uint8`` of shape (*size, 3).
    """
    streams = (np.random.default_rng((seed, _AUGMENT_STREAM, epoch, row)) for epoch in range(count))
    placement = None if face is None else place_chip(picture, face, 0)
    return [augment_chip(picture, size, rng, augmentation, placement) for rng in streams]
