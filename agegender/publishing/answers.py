"""What a model says of files, before calibration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from agegender.data.pictures import read_chip
from agegender.faces.chip import change_margin
from agegender.models.engine import Engine, RawAnswers
from agegender.progress import Progress

_BATCH: Final = 256


def answer_files(
    engine: Engine, files: Sequence[Path], progress: Progress | None = None, what: str = "Predicting"
) -> RawAnswers:
    """Raw answers for chips on disk, of which a few hundred are in memory at a time.

    Args:
        engine: The model.
        files: Chips of equal size, at least one.
        progress: Called after each batch.
        what: What is being done, in words.

    Returns:
        Raw answers, one a file, in order.

    Raises:
        ImageError: A file cannot be read.
    """
    parts = []
    for start in range(0, len(files), _BATCH):
        batch = files[start : start + _BATCH]
        chips = np.stack([read_chip(file) for file in batch])
        parts.append(engine.answer(change_margin(chips, 0, engine.margin)))
        if progress is not None:
            progress(what, start + len(batch), len(files))

    def joined(field: str) -> Any:
        values = [getattr(part, field) for part in parts]
        return None if values[0] is None else np.concatenate(values)

    return RawAnswers(*(joined(field) for field in ("age", "age_distribution", "female", "age_range")))
