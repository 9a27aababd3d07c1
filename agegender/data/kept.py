"""Arrays kept on disk because they took minutes to make: read if they can be, written whole or not at all."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agegender.export import write_atomically


def read_arrays(path: Path | None) -> dict[str, NDArray[Any]]:
    """Reads what `write_arrays` wrote.

    Args:
        path: An ``.npz`` file, or ``None``.

    Returns:
        Arrays by name; none where there is no such file, or none that can be read: what is kept can be made
        again.
    """
    if path is None:
        return {}
    try:
        with np.load(path) as kept:
            return {name: kept[name] for name in kept.files}
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error):
        return {}  # TypeError: a lone array, which numpy reads too


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes arrays of numbers and text to one ``.npz`` file; folders that are missing are made.

    Raises:
        OSError: The place cannot be written.
    """
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]  # of its flags, to the stubs
    write_atomically(path, content.getvalue())
