"""Files that name photos: text with a path a line, or Parquet with a column ``path``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from agegender.bulk.table import path_text
from agegender.errors import ConfigError
from agegender.files import unescape_name


def read_list(file: Path) -> Iterator[str]:
    """Reads the paths that a file names.

    Args:
        file: UTF-8 text with one path a line, or Parquet (by its ending) with a column of text ``path``.
            Names may be escaped as `agegender.files` does it, as every file that this package writes has
            them. Relative ones are relative to the working folder.

    Yields:
        Each path as the table names it.

    Raises:
        ConfigError: The file cannot be read, or is not of that form.
    """
    try:
        if file.suffix.lower() == ".parquet":
            with pq.ParquetFile(file) as table:
                for batch in table.iter_batches(columns=["path"]):
                    for name in batch.column("path").to_pylist():
                        if name:
                            yield path_text(unescape_name(name))
        else:
            with file.open(encoding="utf-8-sig") as lines:
                for line in lines:
                    name = line.rstrip("\r\n")
                    if name.strip():
                        yield path_text(unescape_name(name))
    except (OSError, pa.ArrowException, LookupError, ValueError) as error:
        raise ConfigError(f"{file} is no list of photos: {error}") from error
