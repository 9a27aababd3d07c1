"""Model cards on disk: `weights/<name>/card.json`. Imports no TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from agegender.errors import ModelError, WeightsNotFoundError
from agegender.files import read_json

WEIGHTS_DIR: Final = Path(os.environ.get("AGEGENDER_WEIGHTS") or Path(__file__).parents[2] / "weights")
"""The folder with a subfolder a model; the environment variable ``AGEGENDER_WEIGHTS`` names another."""

Runtime = Literal["LiteRT", "Keras"]
"""What computes a model's answers: LiteRT its light form, or TensorFlow its Keras networks."""

CARD_FILE: Final = "card.json"
HISTORY_FILE: Final = "history.csv"


def trained_models(weights_dir: Path = WEIGHTS_DIR) -> list[str]:
    """Names of the models that have been published, sorted.

    A base that models start from has a card too, but predicts nothing: its card names no tasks.
    """
    names = []
    for path in sorted(weights_dir.glob(f"*/{CARD_FILE}")):
        try:
            tasks = read_card(path.parent.name, weights_dir).get("tasks")
        except ModelError:  # whoever asks for that model is told
            continue
        if tasks:
            names.append(path.parent.name)
    return names


def read_card(name: str, weights_dir: Path = WEIGHTS_DIR) -> dict[str, Any]:
    """Reads a model's card.

    Args:
        name: The model's name, which is its folder's.
        weights_dir: Where the models are.

    Returns:
        The card as JSON gives it.

    Raises:
        WeightsNotFoundError: There is no such card: the model has not been trained here.
        ModelError: The file is not a card.
    """
    path = weights_dir / name / CARD_FILE
    if not path.is_file():
        raise WeightsNotFoundError(
            f"model {name!r} has no trained weights in {path.parent}; trained here: "
            f"{', '.join(trained_models(weights_dir)) or 'none'}. How to train it: python train.py --help"
        )
    try:
        card = read_json(path)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if not isinstance(card, dict) or card.get("name") != name:
        raise ModelError(f"{path} is not the card of {name!r}")
    return card


def runtime_of(card: Mapping[str, Any]) -> Runtime:
    """What answers for the model of a card: its light form, where it ships one."""
    return "LiteRT" if card.get("light") else "Keras"
