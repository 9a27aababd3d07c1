"""A published model as a teacher: its answers on training chips, asked once and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from agegender.data.pictures import read_chip
from agegender.export import write_arrays
from agegender.faces.chip import resize_chip
from agegender.faces.face import Face
from agegender.files import read_arrays
from agegender.labels import AGE_BANDS
from agegender.models.card import find_model
from agegender.models.trained import TrainedModel
from agegender.progress import Progress

_BATCH: Final = 64


def teacher_answers(
    name: str,
    files: list[Path],
    *,
    faces: Sequence[Face | None] | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, NDArray[np.float64]]:
    """A published model's answers on chips as they are, averaged with those on their mirror images.

    Args:
        name: The model.
        files: n pictures.
        faces: Where the face is in each; ``None`` for one that is a chip already, or for all of them.
        cache: Folder to keep the answers in: asking takes minutes, and every run, every ``--resume`` wants
            the same. Only chips that are new, or changed, or of a changed model are asked about. ``None``
            keeps nothing.
        progress: Called with (files done, files in all).

    Returns:
        The model's outputs among ``age_distribution``, ``age_range`` (summed from the distribution),
        ``age`` and ``female``, each of first dimension n.
    """
    where: list[Face | None] = [None] * len(files) if faces is None else list(faces)
    if cache is None:
        return _ask(TrainedModel(name), files, where, progress)
    kept = cache / f"{name}-{fingerprint_of_model(name)}.npz"
    known = read_arrays(kept)
    if len({len(np.atleast_1d(values)) for values in known.values()}) > 1:  # of no use in part
        known = {}
    chips = [_fingerprint_of_chip(file) for file in files]
    place = {chip: i for i, chip in enumerate(known.get(_CHIPS, np.array([])).tolist())}
    new = [i for i, chip in enumerate(chips) if chip not in place]
    if new:
        answers = _ask(TrainedModel(name), [files[i] for i in new], [where[i] for i in new], progress)
        answers[_CHIPS] = np.array([chips[i] for i in new])
        known = {k: np.concatenate([known[k], v]) if k in known else v for k, v in answers.items()}
        place = {chip: i for i, chip in enumerate(known[_CHIPS].tolist())}
        write_arrays(kept, known)
    rows = [place[chip] for chip in chips]
    return {key: values[rows] for key, values in known.items() if key != _CHIPS}


_CHIPS: Final = "chips"
"""Under what a file of kept answers lists the chips they are of."""


def fingerprint_of_model(name: str) -> str:
    """16 hex digits that change with any of a published model's weights."""
    digest = hashlib.sha256()
    for path in sorted(find_model(name).glob("*.weights.*")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _fingerprint_of_chip(file: Path) -> str:
    """By content: a dataset that was copied or unpacked anew is the same one, whatever its files' dates."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:32]


def _ask(
    model: TrainedModel, files: list[Path], faces: list[Face | None], progress: Progress | None
) -> dict[str, NDArray[np.float64]]:
    parts: dict[str, list[NDArray[Any]]] = {}
    for start in range(0, len(files), _BATCH):
        part = slice(start, start + _BATCH)
        batch = (read_chip(*each, model.margin) for each in zip(files[part], faces[part], strict=True))
        chips = np.stack([resize_chip(chip, model.input_size) for chip in batch])
        both = [model.answer(chips), model.answer(np.ascontiguousarray(chips[:, :, ::-1]))]
        for key in ("age_distribution", "age", "female"):
            values = [getattr(raw, key) for raw in both]
            if values[0] is not None:
                parts.setdefault(key, []).append((values[0].astype(np.float64) + values[1]) / 2)
        if progress is not None:
            progress("Asking the teacher", min(start + _BATCH, len(files)), len(files))
    answers: dict[str, NDArray[Any]] = {key: np.concatenate(value) for key, value in parts.items()}
    if "age_distribution" in answers:
        spans = [answers["age_distribution"][:, low : high + 1].sum(axis=1) for low, high in AGE_BANDS]
        answers["age_range"] = np.stack(spans, axis=1)
    return {k: v[:, None] if v.ndim == 1 else v for k, v in answers.items()}
