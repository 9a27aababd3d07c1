"""Model cards on disk: `weights/<name>/card.json`, and `metrics.json` beside it. Imports no TensorFlow.

A card is short: what a model is, came from, is for and needs. What was measured of it, several thousand lines
by group, has a file of its own; `read_card` gives both as one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

from agegender.errors import ModelError, WeightsNotFoundError
from agegender.export import to_json, write_atomically
from agegender.files import MAX_NAME_BYTES, read_json
from agegender.places import INSTALLED, TRAIN_COMMAND, WEIGHTS_VARIABLE, weights_folders

Runtime = Literal["LiteRT", "Keras"]
"""What computes a model's answers: LiteRT its light form, or TensorFlow its Keras networks."""

CARD_FILE: Final = "card.json"
METRICS_FILE: Final = "metrics.json"
MEASURED: Final = ("metrics", "groups", "corruptions", "detect", "sets")
"""The keys of a card that stand in `METRICS_FILE`."""
HISTORY_FILE: Final = "history.csv"
SPLIT_FILE: Final = "split.txt"


def publishing_folder(home: Path, name: str) -> Path:
    """Where a model of that folder of models is made; see `agegender.publishing.place`."""
    return home / ".publishing" / name


def arrived_model(home: Path, name: str) -> Path:
    """Where a finished model waits for the moment until it takes the place of the one before."""
    return publishing_folder(home, name) / "whole" / name


def find_model(name: str, weights_dir: Path | None = None) -> Path:
    """Finds the folder of a model, or of a base that models start from.

    Args:
        name: Its name, which is its folder's.
        weights_dir: Where the models are; ``None`` looks in the places that `agegender.places` lists.

    Returns:
        The first folder of that name with a card.

    Raises:
        WeightsNotFoundError: There is none; says where to get one.
    """
    folders = weights_folders(weights_dir)
    # Names come from files, too: what is no folder's name must not lead out of the folder.
    is_name = name == Path(name).name and len(os.fsencode(name)) <= MAX_NAME_BYTES
    for folder in folders if is_name else ():
        # The last of the three is for who looked at the first just before the model moved there.
        for found in (folder / name, arrived_model(folder, name), folder / name):
            if (found / CARD_FILE).is_file():
                return found
    if INSTALLED and weights_dir is None:
        hint = f"A checkout of the project has more in its weights folder: name that in {WEIGHTS_VARIABLE}"
    else:
        hint = f"How to train it: {TRAIN_COMMAND} --help"
    raise WeightsNotFoundError(
        f"model {name!r} has no trained weights in {' or '.join(map(str, folders))}; trained here: "
        f"{', '.join(trained_models(weights_dir)) or 'none'}. {hint}"
    )


def folders_with(file: str, weights_dir: Path | None = None) -> dict[str, Path]:
    """The folders of models that hold a file, by name; of several of one name the first, as `find_model`."""
    found: dict[str, Path] = {}
    for folder in weights_folders(weights_dir):
        for pattern in ("*", arrived_model(Path(), "*"), "*"):  # as `find_model` does
            for path in sorted(folder.glob(f"{pattern}/{file}")):
                if path.is_file():
                    found.setdefault(path.parent.name, path.parent)
    return found


def trained_models(weights_dir: Path | None = None) -> list[str]:
    """Names of the models that have been published, sorted.

    A base that models start from has a card too, but predicts nothing: its card names no tasks.
    """
    names = []
    for name in sorted(folders_with(CARD_FILE, weights_dir)):
        try:
            tasks = read_card(name, weights_dir).get("tasks")
        except ModelError:  # whoever asks for that model is told
            continue
        if tasks:
            names.append(name)
    return names


def read_card(name: str, weights_dir: Path | None = None) -> dict[str, Any]:
    """Reads a model's card.

    Args:
        name: The model's name.
        weights_dir: As for `find_model`.

    Returns:
        The card as JSON gives it, with what was measured. Other callers share what lies in it: change a copy.

    Raises:
        WeightsNotFoundError: There is no such card: the model has not been trained here.
        ModelError: The file is not a card.
    """
    path = find_model(name, weights_dir) / CARD_FILE
    card = _read(path)
    if card.get("name") != name:
        raise ModelError(f"{path} is not the card of {name!r}")
    metrics = path.with_name(METRICS_FILE)
    return {**card, **_read(metrics)} if metrics.is_file() else {**card}


def read_test_files(name: str, weights_dir: Path | None = None) -> frozenset[str]:
    """The first digits of the digests of the files that a model was tested on; none where there is no record.

    Raises:
        WeightsNotFoundError: There is no such model.
    """
    try:
        lines = (find_model(name, weights_dir) / SPLIT_FILE).read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return frozenset()
    return frozenset(line.removeprefix("test ") for line in lines if line.startswith("test "))


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
    found = read_json(path)
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return found


def runtime_of(card: Mapping[str, Any]) -> Runtime:
    """What answers for the model of a card: its light form, where it ships one."""
    return "LiteRT" if card.get("light") else "Keras"


def fingerprint(card: Mapping[str, Any]) -> str:
    """One checksum of all that a model's answers depend on: its files and its calibration.

    Args:
        card: The model's card.

    Returns:
        The SHA-256, in hexadecimal digits, of the SHA-256 of each file that answers and of the calibration.
    """
    files = (card.get("light") or {}).get("files") or card.get("files")
    parts = json.dumps([files, card.get("calibration")], sort_keys=True)
    return hashlib.sha256(parts.encode()).hexdigest()
