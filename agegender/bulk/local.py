"""The engine for one machine: photos side by side on its cores, a part at a time into the folder."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial

from agegender.batch import in_order
from agegender.bulk.rows import Failure, PhotoPredictor, Row, Totals, answer_photo, failures_of, totals_of
from agegender.bulk.table import PART_PHOTOS, PART_ROWS, PART_SECONDS, PartsFolder


def predict_local(
    paths: Sequence[str],
    predictor: PhotoPredictor,
    folder: PartsFolder,
    answered: Callable[[Totals, Sequence[Failure]], None],
    *,
    stop: threading.Event | None = None,
    part_photos: int = PART_PHOTOS,
) -> None:
    """Predicts photos and writes their rows, in order.

    Whatever ends it early, what is done by then is written.

    Args:
        paths: The photos, as `PartsFolder.missing` gives them.
        predictor: The model.
        folder: Where the rows go.
        answered: Called for each photo with what came of it, before that is written.
        stop: Once set, no further photo is begun.
        part_photos: How many photos a part holds at most.

    Raises:
        ModelError: The model cannot be used.
        OSError: The folder cannot be written.
    """
    rows: list[Row] = []
    photos, opened = 0, time.monotonic()
    work = partial(answer_photo, predictor=predictor, chips=folder.origin.chips)
    try:
        with closing(in_order(work, paths, stop)) as answers:
            for found in answers:
                rows += found
                photos += 1
                answered(totals_of(found), failures_of(found))
                full = photos >= part_photos or len(rows) >= PART_ROWS
                if full or time.monotonic() - opened > PART_SECONDS:
                    part, rows = rows, []
                    folder.add(part)
                    photos, opened = 0, time.monotonic()
    finally:
        if rows:
            folder.add(rows)
