"""Predictions as records, tables and JSON: what programs read, in the shape the contract fixes.

{"model": "NAME",
 "images": [{"path": "a.jpg", "width": 640, "height": 480, "error": null,
             "faces": [{"box": [x1, y1, x2, y2], "confidence": 0.99,
                        "age": 31.2, "age_interval": [26.0, 37.1],
                        "gender": "female", "gender_probability": 0.97,
                        "warnings": ["small face"]}]}]}
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from agegender.files import escape_bytes, escape_name, escape_no_text, printable

if TYPE_CHECKING:
    import pandas as pd

_BOX: Final = ("x1", "y1", "x2", "y2")
_ANSWER: Final = ("age", "age_low", "age_high", "gender", "gender_probability", "warnings", "error")

FACES_TABLE_COLUMNS: Final[tuple[str, ...]] = ("path", "face", *_BOX, "confidence", *_ANSWER)
"""Columns of `faces_csv`, in order. Coordinates are pixels, ages years, probabilities 0 to 1."""

NO_FACE: Final = "no face found"
"""What the ``warnings`` column says of a picture that was read but shows no face."""

_FORMULA_STARTS: Final = ("=", "+", "-", "@")

_TRACK: Final = ("track", "first", "last", "frames", "worth", "best_time")
TRACKS_TABLE_COLUMNS: Final[tuple[str, ...]] = ("path", *_TRACK, *_BOX, *_ANSWER)
"""Columns of `tracks_csv`, in order. Times are seconds; the box is that of the best chip, in pixels."""


def predictions_document(model: str, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Puts the records of several pictures under the name of the model that made them.

    Args:
        model: Name of the model.
        records: What `ImageResult.to_dict` gives.

    Returns:
        The whole document of the contract above, ready for `to_json`.
    """
    return {"model": model, "images": list(records)}


def videos_document(model: str, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Puts the records of several videos under the name of the model that made them.

    Args:
        model: Name of the model.
        records: What `VideoResult.to_dict` gives.

    Returns:
        ``model`` and ``videos``, ready for `to_json`.
    """
    return {"model": model, "videos": list(records)}


def faces_csv(records: Sequence[dict[str, Any]]) -> str:
    r"""Lays the faces of several pictures out as one table, in the form that `to_csv` writes.

    Args:
        records: What `ImageResult.to_dict` gives.

    Returns:
        One row a face, numbered from 1 within its picture, with the columns `FACES_TABLE_COLUMNS` and ``\n``
        between lines. A picture that failed, or that shows no face, keeps one row without a face number, so
        that no input vanishes from the table; ``error`` or ``warnings`` says which of the two it is.
    """
    # Not through pandas: importing it takes longer than predicting a photo.
    return _csv(FACES_TABLE_COLUMNS, (row for record in records for row in _face_rows(record)))


def tracks_csv(records: Sequence[dict[str, Any]]) -> str:
    r"""Lays the people of several videos out as one table, as `faces_csv` does it for pictures.

    Args:
        records: What `VideoResult.to_dict` gives.

    Returns:
        One row a track, with the columns `TRACKS_TABLE_COLUMNS`. A video that failed, or that shows no face,
        keeps one row.
    """
    return _csv(TRACKS_TABLE_COLUMNS, (row for record in records for row in _track_rows(record)))


def _csv(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows({name: _csv_cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _face_rows(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if not record["faces"]:
        yield _empty_row(record)
    for number, face in enumerate(record["faces"], start=1):
        row = {"path": record["path"], "face": number, "confidence": face["confidence"]}
        yield row | _answer_cells(face) | {"error": record["error"]}


def _track_rows(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if not record["tracks"]:
        yield _empty_row(record)
    for track in record["tracks"]:
        times = {name: track[name] for name in ("track", "first", "last", "frames", "worth", "best_time")}
        yield {"path": record["path"]} | times | _answer_cells(track) | {"error": record["error"]}


def _empty_row(record: dict[str, Any]) -> dict[str, Any]:
    error = record["error"]
    return {"path": record["path"], "warnings": None if error else NO_FACE, "error": error}


def _answer_cells(face: dict[str, Any]) -> dict[str, Any]:
    low, high = face["age_interval"] or (None, None)
    return {
        **dict(zip(("x1", "y1", "x2", "y2"), face["box"], strict=True)),
        **{name: face[name] for name in ("age", "gender", "gender_probability")},
        "age_low": low,
        "age_high": high,
        "warnings": "; ".join(face["warnings"]) or None,
    }


def to_csv(table: pd.DataFrame) -> str:
    r"""Writes a table as CSV in which every row is one line, and no cell is taken for a formula.

    A spreadsheet runs a cell that begins with ``=``, ``+``, ``-`` or ``@``, and a terminal obeys control
    characters. So both are written as ``\xHH`` in cells of text, as `agegender.files.printable` does it;
    `agegender.files.unescape_name` takes it back.

    Args:
        table: The table; its index is left out.

    Returns:
        The text, with ``\n`` between lines.
    """
    text = table.select_dtypes(include=["object", "string"]).columns
    return table.assign(**{name: table[name].map(_csv_cell) for name in text}).to_csv(
        index=False, lineterminator="\n"
    )


def _csv_cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    start = value.startswith(_FORMULA_STARTS)
    return escape_bytes(value[:start]) + printable(value[start:])


def to_json(value: object) -> str:
    """Writes a value as indented JSON that every parser accepts.

    Args:
        value: Dicts, sequences, strings, numbers, paths and numpy values, nested at will.

    Returns:
        JSON text ending in a newline, valid UTF-8: what is no text is escaped as `agegender.files` does it.
        NaN and infinities, which JSON does not know, become ``null``.

    Raises:
        TypeError: A value has no JSON form.
    """
    return json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes arrays of numbers and text to one ``.npz`` file, whole or not at all; see `read_arrays`.

    Raises:
        OSError: The place cannot be written.
    """
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]  # of its flags, to the stubs
    write_atomically(path, content.getvalue())


def write_atomically(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Writes a file so that a reader sees the old content or the new, never a half.

    Args:
        path: Where to; missing parent folders are made.
        data: The content; text is encoded as UTF-8, with what UTF-8 cannot hold escaped.

    Raises:
        OSError: The place cannot be written.
    """
    content = escape_no_text(data).encode() if isinstance(data, str) else data
    target = Path(path)
    if target.exists() and not target.is_file():
        target.write_bytes(content)  # a pipe or a device such as /dev/null: written to, never replaced
        return
    with open_atomically(target) as file:
        file.write(content)


@contextmanager
def open_atomically(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Opens a new file that takes its place when the context is left, and vanishes where that fails.

    Args:
        path: Where to; missing parent folders are made.

    Yields:
        The file, to write and to read.

    Raises:
        OSError: The place cannot be written.
    """
    target = Path(path).resolve()  # a link stays a link, its target gets the new content
    target.parent.mkdir(parents=True, exist_ok=True)
    # The same folder, because a rename is atomic only within one file system.
    # A name of its own, not a longer one of the target's, which may have no room for it.
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("w+b") as file:
            yield file
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _plain(value: object) -> object:
    """Replaces numpy values, paths and non-finite numbers by what ``json`` can write."""
    if isinstance(value, dict):
        return {escape_no_text(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, os.PathLike):
        return escape_name(value)
    return escape_no_text(value) if isinstance(value, str) else value
