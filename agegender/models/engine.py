"""`Engine`: what answers for a published model. One interface, two engines behind it.

A model that ships a light form answers through LiteRT (`light.LightModel`), any other through its Keras
networks (`trained.TrainedModel`). Only the second imports TensorFlow.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from agegender.faces.chip import resize_chip
from agegender.models.card import Runtime, find_model, read_card
from agegender.models.registry import model_spec

_ANSWERS: Final = ("age", "age_distribution", "female", "age_range")


@dataclass(frozen=True, eq=False)
class RawAnswers:
    """What the networks say of n chips, before calibration.

    Attributes:
        age: Years, float32 of shape (n,), or ``None`` where age is not predicted.
        age_distribution: Probability of each year, float32 of shape (n, 117), or ``None`` where the age
            network answers with a number only.
        female: Probability of *female*, float32 of shape (n,), or ``None``.
        age_range: Probability of each of the nine age ranges, float32 of shape (n, 9), or ``None``.
    """

    age: NDArray[np.float32] | None
    age_distribution: NDArray[np.float32] | None
    female: NDArray[np.float32] | None
    age_range: NDArray[np.float32] | None = None


class Engine(ABC):
    """A published model, loaded: face chips in, raw answers out. Safe to share by threads.

    Args:
        name: A published model.
        weights_dir: Where the models are; ``None`` looks in the places that `agegender.places` lists.

    Attributes:
        folder: Where its files are.
        card: The model's.
        input_size: (height, width) of its input in pixels.
        margin: Pixels that its chips show beyond UTKFace's on each side, where those are 200 wide.

    Raises:
        UnknownModelError: No such model.
        WeightsNotFoundError: It is not published here.
        ModelError: Its files are damaged.
    """

    runtime: ClassVar[Runtime]

    max_batch: ClassVar[int]
    """Chips that go through the networks at once; more are done in turns, so that memory stays bounded."""

    def __init__(self, name: str, weights_dir: Path | None = None) -> None:
        self.input_size = model_spec(name, weights_dir).input_size
        self.name = name
        self.folder = find_model(name, weights_dir)
        self.card = read_card(name, weights_dir)
        self.margin = int(self.card["options"].get("margin", 0))

    @abstractmethod
    def _run(self, batch: NDArray[np.float32]) -> Mapping[str, NDArray[np.float32]]:
        """Runs all networks on RGB (n, *input_size, 3), 0 to 255, n from 1 to ``max_batch``.

        Returns:
            Outputs by their names in `system.OUTPUTS`, each of shape (n, width).
        """

    def answer(self, chips: NDArray[np.uint8]) -> RawAnswers:
        """Runs all networks on face chips.

        Args:
            chips: RGB ``uint8`` of shape (n, height, width, 3), any size, UTKFace's geometry with the model's
                own margin; n may be 0.

        Returns:
            Raw answers for n chips.

        Raises:
            ValueError: The array is not of that form.
        """
        if chips.ndim != 4 or chips.shape[-1] != 3 or chips.dtype != np.uint8:
            raise ValueError(
                f"chips must be uint8 of shape (n, height, width, 3), not {chips.dtype} {chips.shape}"
            )
        count = len(chips)
        if not count:  # not every kernel takes an empty batch: one blank chip shows the shapes
            chips = np.zeros((1, *self.input_size, 3), np.uint8)
        parts = []
        for start in range(0, len(chips), self.max_batch):
            turn = chips[start : start + self.max_batch]
            batch = np.stack([resize_chip(chip, self.input_size) for chip in turn]).astype(np.float32)
            parts.append(self._run(batch))
        found = {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}
        columns = {name: x[:, 0] if x.shape[1] == 1 else x for name, x in found.items()}
        return RawAnswers(*(columns.get(name) for name in _ANSWERS))
