"""What a model says of files, before calibration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from agegender.data.pictures import read_chip
from agegender.faces.chip import resize_chip
from agegender.faces.face import Face
from agegender.models.engine import Engine, RawAnswers
from agegender.progress import Progress

_BATCH: Final = 256


def answer_files(
    engine: Engine,
    files: Sequence[Path],
    progress: Progress | None = None,
    what: str = "Predicting",
    *,
    faces: Sequence[Face | None] | None = None,
) -> RawAnswers:
    """Raw answers for pictures on disk, of which a few hundred are in memory at a time.

    Args:
        engine: The model.
        files: At least one.
        progress: Called after each batch.
        what: What is being done, in words.
        faces: Where the face is in each file; ``None`` for one that is a chip, or for all of them.

    Returns:
        Raw answers, one a file, in order.

    Raises:
        DatasetError: A file cannot be read.
    """
    parts = []
    where = [None] * len(files) if faces is None else faces
    for start in range(0, len(files), _BATCH):
        batch = list(zip(files, where, strict=True))[start : start + _BATCH]
        chips = (read_chip(file, face, engine.margin) for file, face in batch)
        parts.append(engine.answer(np.stack([resize_chip(chip, engine.input_size) for chip in chips])))
        if progress is not None:
            progress(what, start + len(batch), len(files))

    def joined(field: str) -> Any:
        values = [getattr(part, field) for part in parts]
        return None if values[0] is None else np.concatenate(values)

    return RawAnswers(*(joined(field) for field in ("age", "age_distribution", "female", "age_range")))
