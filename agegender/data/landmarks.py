"""Where the faces of a dataset are: found once with the app's own detector, kept, and found again by content.

Sources cut their pictures differently. All of them meet one crop, that of the app, and it needs landmarks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.data.pictures import read_chip
from agegender.data.table import Dataset
from agegender.errors import DatasetError
from agegender.export import write_arrays
from agegender.faces import Face, FaceDetector, main_face, pad_chip, shift_face
from agegender.faces.crop import CHIP_PAD
from agegender.files import paths_below, read_arrays
from agegender.progress import Progress

_BATCH: Final = 64
_SAVE_EVERY: Final = 4096
_NUMBERS: Final = 15  # box, confidence, five points


def find_faces(
    dataset: Dataset,
    rows: pd.DataFrame | None = None,
    *,
    detector: FaceDetector | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> list[Face | None]:
    """Finds the main face of each picture that is not a chip in UTKFace's geometry already.

    Args:
        dataset: Where the pictures are.
        rows: n rows of its table; all where not given.
        detector: Finds faces; a default one where not given.
        cache: Where results are kept, an ``.npz`` file keyed by each picture's content; ``None`` keeps none.
            Saved as it grows, so that an interrupted search goes on. To be deleted when the detector changes.
        progress: Called with (pictures done, pictures in all).

    Returns:
        n faces, in pixels of their pictures; ``None`` for a chip, and where no face was found or the picture
        cannot be read.
    """
    rows = dataset.table if rows is None else rows
    photos = np.flatnonzero(~rows["aligned"].to_numpy(bool))
    paths = paths_below(dataset.folder, rows["file"].iloc[photos])
    digests = [_digest(path) for path in paths]
    known = _read(cache)
    missing = {digest: path for digest, path in zip(digests, paths, strict=True) if digest not in known}
    missing.pop("", None)
    if missing:
        detector = detector or FaceDetector()
        new = list(missing)
        try:
            for start in range(0, len(new), _BATCH):
                batch = new[start : start + _BATCH]
                faces = _detect(detector, [missing[digest] for digest in batch])
                known |= {digest: _to_numbers(face) for digest, face in zip(batch, faces, strict=True)}
                if progress is not None:
                    progress("Finding faces", start + len(batch), len(new))
                if (start // _BATCH + 1) % (_SAVE_EVERY // _BATCH) == 0:
                    _write(cache, known)
        finally:
            _write(cache, known)
    found: list[Face | None] = [None] * len(rows)
    for place, digest in zip(photos.tolist(), digests, strict=True):
        found[place] = _to_face(known[digest]) if digest else None
    return found


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
    kept = {} if cache is None else read_arrays(cache)
    digests, faces = kept.get("digests"), kept.get("faces")
    if digests is None or faces is None or faces.shape != (len(digests), _NUMBERS):
        return {}
    return dict(zip(digests.tolist(), faces, strict=True))


def _write(cache: Path | None, known: dict[str, NDArray[np.float32]]) -> None:
    if cache is not None and known:
        # Another run may have found others meanwhile.
        known = _read(cache) | known
        write_arrays(cache, {"digests": np.array(list(known)), "faces": np.stack(list(known.values()))})
