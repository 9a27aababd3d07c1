"""Model cards on disk: `weights/<name>/card.json`, and `metrics.json` beside it. Imports no TensorFlow.

A card is short: what a model is, came from, is for and needs. What was measured of it, several thousand lines
by group, has a file of its own; `read_card` gives both as one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

from agegender.errors import ModelError, WeightsNotFoundError
from agegender.export import to_json, write_atomically

WEIGHTS_DIR: Final = Path(os.environ.get("AGEGENDER_WEIGHTS") or Path(__file__).parents[2] / "weights")
"""The folder with a subfolder a model; the environment variable ``AGEGENDER_WEIGHTS`` names another."""

Runtime = Literal["LiteRT", "Keras"]
"""What computes a model's answers: LiteRT its light form, or TensorFlow its Keras networks."""

CARD_FILE: Final = "card.json"
METRICS_FILE: Final = "metrics.json"
MEASURED: Final = ("metrics", "groups", "corruptions", "detect")
"""The keys of a card that stand in `METRICS_FILE`."""
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
        The card as JSON gives it, with what was measured. Other callers share what lies in it: change a copy.

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
    card = _read(path)
    if card.get("name") != name:
        raise ModelError(f"{path} is not the card of {name!r}")
    metrics = path.with_name(METRICS_FILE)
    return {**card, **_read(metrics)} if metrics.is_file() else {**card}


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Writes a card into its model's folder, as `read_card` reads it.

    Raises:
        OSError: The folder cannot be written.
    """
    measured = {key: card[key] for key in MEASURED if key in card}
    if measured:
        write_atomically(folder / METRICS_FILE, to_json(measured))
    else:
        (folder / METRICS_FILE).unlink(missing_ok=True)
    rest = {key: value for key, value in card.items() if key not in measured}
    write_atomically(folder / CARD_FILE, to_json(rest))


def _read(path: Path) -> dict[str, Any]:
    try:
        state = path.stat()
        return _parsed(path, (state.st_ino, state.st_mtime_ns, state.st_size))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error


@lru_cache(maxsize=64)
def _parsed(path: Path, state: tuple[int, int, int]) -> dict[str, Any]:
    """The JSON object in a file, parsed once a state of it: a page asks for every card at every click."""
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return found


def runtime_of(card: Mapping[str, Any]) -> Runtime:
    """What answers for the model of a card: its light form, where it ships one."""
    return "LiteRT" if card.get("light") else "Keras"
