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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from agegender.files import escape_bytes, escape_name, escape_no_text, printable

if TYPE_CHECKING:
    import pandas as pd

FACES_TABLE_COLUMNS: Final[tuple[str, ...]] = (
    "path",
    "face",
    "x1",
    "y1",
    "x2",
    "y2",
    "confidence",
    "age",
    "age_low",
    "age_high",
    "gender",
    "gender_probability",
    "warnings",
    "error",
)
"""Columns of `faces_csv`, in order. Coordinates are pixels, ages years, probabilities 0 to 1."""

NO_FACE: Final = "no face found"
"""What the ``warnings`` column says of a picture that was read but shows no face."""

_FORMULA_STARTS: Final = ("=", "+", "-", "@")


def predictions_document(model: str, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Puts the records of several pictures under the name of the model that made them.

    Args:
        model: Name of the model.
        records: What `ImageResult.to_dict` gives.

    Returns:
        The whole document of the contract above, ready for `to_json`.
    """
    return {"model": model, "images": list(records)}


def faces_csv(records: Sequence[dict[str, Any]]) -> str:
    r"""Lays the faces of several pictures out as one table, in the form that `to_csv` writes.

    Args:
        records: What `ImageResult.to_dict` gives.

    Returns:
        One row a face, numbered from 1 within its picture, with the columns `FACES_TABLE_COLUMNS` and ``\n``
        between lines. A picture that failed, or that shows no face, keeps one row without a face number, so
        that no input vanishes from the table; ``error`` or ``warnings`` says which of the two it is.
    """
    text = io.StringIO()
    # Not through pandas: importing it takes longer than predicting a photo.
    table = csv.DictWriter(text, FACES_TABLE_COLUMNS, lineterminator="\n")
    table.writeheader()
    for record in records:
        table.writerows({name: _csv_cell(value) for name, value in row.items()} for row in _face_rows(record))
    return text.getvalue()


def _face_rows(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    path, error = record["path"], record["error"]
    if not record["faces"]:
        yield {"path": path, "warnings": None if error else NO_FACE, "error": error}
    for number, face in enumerate(record["faces"], start=1):
        low, high = face["age_interval"] or (None, None)
        yield {
            "path": path,
            "face": number,
            **dict(zip(("x1", "y1", "x2", "y2"), face["box"], strict=True)),
            **{name: face[name] for name in ("confidence", "age", "gender", "gender_probability")},
            "age_low": low,
            "age_high": high,
            "warnings": "; ".join(face["warnings"]) or None,
            "error": error,
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
    target = target.resolve()  # a link stays a link, its target gets the new content
    target.parent.mkdir(parents=True, exist_ok=True)
    # The same folder, because a rename is atomic only within one file system.
    # A name of its own, not a longer one of the target's, which may have no room for it.
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        temporary.write_bytes(content)
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
