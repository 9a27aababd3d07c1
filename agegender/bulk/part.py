"""One part of the table: its schema, and a Parquet file that holds it whole.

A row a face, and one for each photo without a face or with an error; docs/scale.md tells every column. Each
part's metadata has ``agegender``, a JSON object: ``schema`` (the version, a whole number), ``model``,
``model_sha256`` and ``chips``. A newer version adds columns at the end; a column keeps its meaning.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from agegender.bulk.rows import Row
from agegender.bulk.storage import read_file, remove_file, write_file
from agegender.errors import ConfigError
from agegender.files import MALFORMED, escape_no_text

SCHEMA_VERSION: Final = 1

SCHEMA: Final = pa.schema(
    [
        ("path", pa.string()),
        ("face", pa.int32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("box", pa.list_(pa.float64())),
        ("confidence", pa.float64()),
        ("landmarks", pa.list_(pa.list_(pa.float64()))),
        ("age", pa.float64()),
        ("age_interval", pa.list_(pa.float64())),
        ("gender", pa.string()),
        ("gender_probability", pa.float64()),
        ("uncertain", pa.bool_()),
        ("warnings", pa.list_(pa.string())),
        ("error", pa.string()),
        ("error_kind", pa.string()),
        ("taken", pa.timestamp("ms")),
        ("size", pa.int64()),
        ("modified", pa.timestamp("ns", "UTC")),
        ("model", pa.string()),
        ("model_sha256", pa.string()),
    ]
)

_METADATA_KEY: Final = b"agegender"


class DamagedPartError(ConfigError):
    """A part that cannot be read: cut short as the power failed, or no Parquet at all."""

    def __init__(self, part: str, error: Exception) -> None:
        super().__init__(f"{part} cannot be read: {escape_no_text(str(error))}")


@dataclass(frozen=True)
class Origin:
    """What the rows of a folder come from; one folder holds one.

    Attributes:
        model: The model's name.
        model_sha256: `agegender.models.card.fingerprint` of it.
        chips: Whether the photos were taken for face chips.
    """

    model: str
    model_sha256: str
    chips: bool = False


def write_part(part: str | os.PathLike[str], rows: Sequence[Row], origin: Origin) -> None:
    """Writes rows as one part, whole or not at all; a part of that name is replaced.

    Raises:
        OSError: The place cannot be written.
    """
    made_by = {"model": origin.model, "model_sha256": origin.model_sha256}
    table = pa.Table.from_pylist([row | made_by for row in rows], _schema(origin))
    _write_table(os.fspath(part), table)


def _schema(origin: Origin) -> pa.Schema:
    words = json.dumps({"schema": SCHEMA_VERSION, **asdict(origin)})
    return SCHEMA.with_metadata({_METADATA_KEY: words.encode()})


def _write_table(part: str, table: pa.Table) -> None:
    content = io.BytesIO()
    pq.write_table(table, content, compression="zstd", write_page_checksum=True)
    write_file(part, content.getvalue())


def read_part(part: str, columns: Sequence[str] = SCHEMA.names) -> pa.Table:
    """Reads columns of a part.

    Raises:
        DamagedPartError: It is damaged.
        ConfigError: It is a table of something else.
        OSError: It cannot be read.
    """
    # All of it first: of a file that is damaged Arrow says much the same as of a disk or a store that is.
    content = read_file(part)
    try:
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        table = file.read(list(columns))
        table.validate(full=True)  # text that is none, lists without an end
    except pa.ArrowMemoryError as error:  # says nothing about the part, which must stay
        raise ConfigError(f"{part} cannot be read: {escape_no_text(str(error))}") from error
    except (pa.ArrowException, OSError, *MALFORMED) as error:
        raise DamagedPartError(part, error) from error
    found = {column.name: column.type for column in table.schema}
    if found != {name: SCHEMA.field(name).type for name in columns}:
        raise _of_something_else(part)
    return table


def _of_something_else(part: str) -> ConfigError:
    return ConfigError(f"{part} is a Parquet file of something else; name another folder")


def take_out(part: str, paths: Collection[str]) -> None:
    """Writes a part anew without the rows of some photos, or removes it where no others are left."""
    table = read_part(part)
    kept = table.filter(pc.invert(pc.is_in(table["path"], pa.array(sorted(paths), pa.string()))))
    if not len(kept):
        remove_file(part)
    elif len(kept) < len(table):
        _write_table(part, kept)


def check_origin(part: str, table: pa.Table, origin: Origin) -> None:
    """Sees that what was read of a part belongs to a folder.

    Raises:
        ConfigError: It is no part of this table, or of another version, model or kind of picture.
    """
    try:
        found = dict(json.loads((table.schema.metadata or {})[_METADATA_KEY]))
    except MALFORMED as error:
        raise _of_something_else(part) from error
    if found.get("schema") != SCHEMA_VERSION:
        raise ConfigError(f"{part} has version {found.get('schema')} of the schema, not {SCHEMA_VERSION}")
    other = {key: found.get(key) for key in asdict(origin)}
    if other != asdict(origin):
        kind = "chips" if other["chips"] else "photos"
        raise ConfigError(
            f"{part} holds answers of model {other['model']!r} "
            f"({str(other['model_sha256'])[:12]}) on {kind}: one folder holds one model and one kind of "
            "picture. Name another folder, or say --force to do all of it anew"
        )
