"""Files that name photos: text with a path or URL a line, or Parquet with a column ``path``."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from agegender.bulk.storage import open_file, path_text
from agegender.errors import ConfigError
from agegender.files import unescape_name


def read_list(file: str) -> Iterator[str]:
    """Reads the photos that a file names.

    Args:
        file: Path or URL of UTF-8 text with one path or URL a line, or of Parquet (by its ending) with a
            column of text ``path``. Names may be escaped as `agegender.files` does it, as every file that
            this package writes has them. Relative ones are relative to the working folder.

    Yields:
        Each as the table names it.

    Raises:
        ConfigError: The file cannot be read, or is not of that form.
    """
    try:
        with open_file(file) as content:
            for name in _names(content, is_table=file.partition("?")[0].lower().endswith(".parquet")):
                if name and name.strip():
                    yield path_text(unescape_name(name))
    except (OSError, pa.ArrowException, LookupError, ValueError) as error:
        raise ConfigError(f"{file} is no list of photos: {error}") from error


def _names(content: BinaryIO, *, is_table: bool) -> Iterator[str | None]:
    if is_table:
        for batch in pq.ParquetFile(content).iter_batches(columns=["path"]):
            yield from batch.column("path").to_pylist()
    else:
        for line in io.TextIOWrapper(content, encoding="utf-8-sig"):
            yield line.rstrip("\r\n")
