"""Where the faces of a dataset are: found once with the app's own detector, kept, and found again by content.

Sources cut their pictures differently. All of them meet one crop, that of the app, and it needs landmarks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.data.generator import read_chip
from agegender.data.table import Dataset
from agegender.errors import DatasetError
from agegender.faces import Face, FaceDetector, main_face, pad_chip, shift_face
from agegender.faces.crop import CHIP_PAD
from agegender.files import paths_below, read_arrays
from agegender.progress import Progress

_BATCH: Final = 64
_SAVE_EVERY: Final = 4096
_NUMBERS: Final = 15  # box, confidence, five points


def find_faces(
    dataset: Dataset,
    rows: pd.DataFrame,
    *,
    detector: FaceDetector | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> list[Face | None]:
    """Finds the main face of each picture that is not an aligned chip already.

    Args:
        dataset: Where the pictures are.
        rows: n rows of its table, none of them aligned.
        detector: Finds faces; a default one where not given.
        cache: Where results are kept, an ``.npz`` file keyed by each picture's content; ``None`` keeps none.
            Saved as it grows, so that an interrupted search goes on.
        progress: Called after each batch.

    Returns:
        n faces, in pixels of their pictures; ``None`` where no face was found or the picture cannot be read.
    """
    paths = paths_below(dataset.folder, rows["file"])
    digests = [_digest(path) for path in paths]
    known = _read(cache)
    missing = [i for i, digest in enumerate(digests) if digest and digest not in known]
    if missing:
        detector = detector or FaceDetector()
        done = len(paths) - len(missing)
        for start in range(0, len(missing), _BATCH):
            batch = missing[start : start + _BATCH]
            faces = _detect(detector, [paths[i] for i in batch])
            known |= {digests[i]: _to_numbers(face) for i, face in zip(batch, faces, strict=True)}
            done += len(batch)
            if progress is not None:
                progress("Finding faces", done, len(paths))
            if cache is not None and (start // _BATCH) % (_SAVE_EVERY // _BATCH) == _SAVE_EVERY // _BATCH - 1:
                _write(cache, known)
        if cache is not None:
            _write(cache, known)
    elif progress is not None:
        progress("Finding faces", len(paths), len(paths))
    return [_to_face(known[digest]) if digest else None for digest in digests]


def _detect(detector: FaceDetector, paths: Sequence[Path]) -> list[Face | None]:
    pictures: list[NDArray[np.uint8] | None] = []
    for path in paths:
        try:
            pictures.append(read_chip(path))
        except DatasetError:
            pictures.append(None)
    # Faces that fill their picture are found where there is room around it.
    padded = [pad_chip(picture) for picture in pictures if picture is not None]
    found = iter(zip(padded, detector.detect_many(padded), strict=True))
    faces: list[Face | None] = []
    for picture in pictures:
        if picture is None:
            faces.append(None)
            continue
        image, candidates = next(found)
        face = main_face(candidates, image.shape)
        faces.append(None if face is None else shift_face(face, -CHIP_PAD))
    return faces


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    except OSError:
        return ""


def _to_numbers(face: Face | None) -> NDArray[np.float32]:
    if face is None:
        return np.full(_NUMBERS, np.nan, np.float32)
    return np.array([*face.box, face.confidence, *np.ravel(face.landmarks)], np.float32)


def _to_face(numbers: NDArray[np.float32]) -> Face | None:
    if not np.isfinite(numbers).all():
        return None
    x1, y1, x2, y2, confidence, *points = numbers.tolist()
    pairs = tuple(zip(points[::2], points[1::2], strict=True))
    return Face((x1, y1, x2, y2), confidence, pairs)  # type: ignore[arg-type]  # five by _NUMBERS


def _read(cache: Path | None) -> dict[str, NDArray[np.float32]]:
    """What was kept; nothing where there is nothing, or nothing that can be read."""
    kept = read_arrays(cache) if cache is not None else {}
    digests, faces = kept.get("digests"), kept.get("faces")
    if digests is None or faces is None or faces.shape != (len(digests), _NUMBERS):
        return {}
    return dict(zip(digests.tolist(), faces, strict=True))


def _write(cache: Path, known: dict[str, NDArray[Any]]) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    part = cache.with_suffix(".part.npz")
    np.savez_compressed(part, digests=np.array(list(known)), faces=np.stack(list(known.values())))
    part.replace(cache)
