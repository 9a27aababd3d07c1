"""The table of many photos: its rows, its schema, and the folder of parts that it lies in.

A row a face, and one for each photo without a face or with an error; docs/scale.md tells every column. Each
part's metadata has ``agegender``, a JSON object: ``schema`` (the version, a whole number), ``model``,
``model_sha256`` and ``chips``. A newer version adds columns at the end; a column keeps its meaning.

Parts are written whole or not at all, and hold all rows of each photo in them. So a photo is done when a part
names it: to go on after a crash, or with photos that were added, is to do what no part names.
"""

from __future__ import annotations

import io
import json
import os
import re
import secrets
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from agegender.batch import in_order
from agegender.bulk.storage import (
    State,
    base_name,
    join,
    make_folder,
    parquet_files,
    read_file,
    read_photo_at,
    remove_file,
    state_of,
    write_file,
)
from agegender.errors import ConfigError, ModelError, reason_of
from agegender.files import MALFORMED, escape_no_text, is_url, lock_file
from agegender.prediction import ImageResult, Prediction

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

PART_PHOTOS: Final = 4096
PART_ROWS: Final = 16384
PART_SECONDS: Final = 60.0
"""A part is closed at so many photos, at so many rows or after so long, whichever comes first: a crash costs
a minute of work, and photos of crowds no more memory than portraits."""

STATE_THREADS: Final = 32
"""So many photos of an object store are asked for their state at a time."""

_METADATA_KEY: Final = b"agegender"
_OWN_NAME: Final = re.compile(r"part-\d{6,}(-[0-9a-z]+)?\.parquet")
"""Others' parts, such as Spark's, are never taken for damaged ones of this table."""
_LOCK: Final = ".agegender.lock"

Row = dict[str, Any]
Failure = tuple[str, str]
"""A photo and what is wrong with it."""


class _DamagedPartError(ConfigError):
    """A part that cannot be read: cut short as the power failed, or no Parquet at all."""

    def __init__(self, part: str, error: Exception) -> None:
        super().__init__(f"{part} cannot be read: {escape_no_text(str(error))}")


class PhotoPredictor(Protocol):
    """What this room needs of `agegender.Predictor`."""

    def predict(self, source: NDArray[np.uint8]) -> list[Prediction]:
        """Every face of a photo."""

    def predict_chip_image(self, source: NDArray[np.uint8]) -> Prediction:
        """The one face of a picture that is a chip."""


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


@dataclass
class Totals:
    """What parts hold.

    Attributes:
        photos: How many photos.
        faces: How many faces.
        errors: How many photos with an error, by `error_kind`.
    """

    photos: int = 0
    faces: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    def __iadd__(self, other: Totals) -> Totals:
        """Adds what other parts hold."""
        self.photos += other.photos
        self.faces += other.faces
        self.errors += other.errors
        return self


def answer_photo(path: str, predictor: PhotoPredictor, *, chips: bool) -> list[Row]:
    """Reads a photo and predicts it.

    Args:
        path: The photo, as the table names it.
        predictor: The model.
        chips: Whether the photo is a face chip already.

    Returns:
        Its rows without the model's columns: one a face, or one that says that there is none, or what is
        wrong with the photo.

    Raises:
        ModelError: The model cannot be used: that is no matter of this photo.
    """
    shape: tuple[int, int] | None = None
    taken: datetime | None = None
    faces: list[Prediction] = []
    error = kind = None
    size, modified = state_of(path)
    try:
        pixels, taken = read_photo_at(path)
        shape = (pixels.shape[1], pixels.shape[0])
        faces = [predictor.predict_chip_image(pixels)] if chips else predictor.predict(pixels)
    except ModelError:
        raise
    except Exception as problem:  # not only the expected ones: one photo must not stop the others
        error, kind = reason_of(problem), type(problem).__name__
    record = ImageResult(path, shape, faces, error).to_dict()
    shared = {
        "path": path,
        "width": record["width"],
        "height": record["height"],
        "error": record["error"],
        "error_kind": kind,
        "taken": taken,
        "size": size,
        "modified": modified,
    }
    if not faces:
        return [shared]
    return [
        {
            **shared,
            **row,
            "face": number,
            "landmarks": [[round(float(x), 1), round(float(y), 1)] for x, y in face.face.landmarks],
            "uncertain": None if face.gender is None else face.gender.uncertain,
        }
        for number, (face, row) in enumerate(zip(faces, record["faces"], strict=True), start=1)
    ]


def totals_of(rows: Iterable[Row]) -> Totals:
    """Counts what rows of whole photos hold."""
    totals = Totals()
    for row in rows:
        number = row.get("face")
        totals.photos += number in {None, 1}
        totals.faces += number is not None
        if row["error_kind"] is not None and number in {None, 1}:
            totals.errors[row["error_kind"]] += 1
    return totals


def failures_of(rows: Iterable[Row]) -> list[Failure]:
    """The photos that could not be used, each with why."""
    return [
        (row["path"], row["error"])
        for row in rows
        if row["error"] is not None and row.get("face") in {None, 1}
    ]


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


def _read_table(part: str, columns: Sequence[str] = SCHEMA.names) -> pa.Table:
    """Reads columns of a part.

    Raises:
        _DamagedPartError: It is damaged.
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
        raise _DamagedPartError(part, error) from error
    found = {column.name: column.type for column in table.schema}
    if found != {name: SCHEMA.field(name).type for name in columns}:
        raise _of_something_else(part)
    return table


def _of_something_else(part: str) -> ConfigError:
    return ConfigError(f"{part} is a Parquet file of something else; name another folder")


def _take_out(part: str, paths: Collection[str]) -> None:
    """Writes a part anew without the rows of some photos, or removes it where no others are left."""
    table = _read_table(part)
    kept = table.filter(pc.invert(pc.is_in(table["path"], pa.array(sorted(paths), pa.string()))))
    if not len(kept):
        remove_file(part)
    elif len(kept) < len(table):
        _write_table(part, kept)


class PartsFolder:
    """A folder of parts, held by one process at a time; see `open_folder`.

    Attributes:
        place: The folder: a path or a URL.
        origin: What its rows come from.
        done: The state in which each photo was done.
        totals: What its parts hold.
        damaged: Names of parts that could not be read and were removed.
    """

    def __init__(self, place: str, origin: Origin) -> None:
        self.place, self.origin = place, origin
        self.done: dict[str, State] = {}
        self.totals = Totals()
        self.damaged: list[str] = []
        self._next = 1
        # A worker of a run that was killed may still write, and nothing locks a folder of an object store.
        self._run = secrets.token_hex(4)
        self.read()

    def read(self) -> None:
        """Reads what the parts hold, as is done once at first.

        Raises:
            ConfigError: Some part is none of this table, or of another origin.
            OSError: A part cannot be read.
        """
        self.done, self.totals = {}, Totals()
        part_of: dict[str, str] = {}
        old: dict[str, set[str]] = {}  # what a later part has, too: somebody, or a lost worker, wrote it here
        for part in parquet_files(self.place):
            columns = self._columns(part)
            if columns is None:
                continue
            first = columns.filter(pc.fill_null(pc.equal(columns["face"], 1), True))
            states = zip(
                first["path"].to_pylist(),
                first["size"].to_pylist(),
                first["modified"].cast(pa.int64()).to_pylist(),
                strict=True,
            )
            for path, size, modified in states:
                if path in part_of:
                    old.setdefault(part_of[path], set()).add(path)
                self.done[path], part_of[path] = (size, modified), part
            errors = Counter(kind for kind in first["error_kind"].to_pylist() if kind is not None)
            self.totals += Totals(len(first), len(columns) - columns["face"].null_count, errors)
        if old:
            for part, paths in old.items():
                _take_out(part, paths)
            self.read()

    def _columns(self, part: str) -> pa.Table | None:
        """What tells the photos of a part; none of one that is damaged, which goes.

        Raises:
            ConfigError: It is no part of this table.
            OSError: It cannot be read.
        """
        name = base_name(part)
        try:
            columns = _read_table(part, ["path", "face", "size", "modified", "error_kind"])
        except _DamagedPartError:
            if not _OWN_NAME.fullmatch(name):
                raise
            remove_file(part)
            self.damaged.append(name)
            return None
        self._check(part, columns.schema.metadata or {})
        with suppress(ValueError, IndexError):
            self._next = max(self._next, int(name.removesuffix(".parquet").split("-")[1]) + 1)
        return columns

    def _check(self, part: str, metadata: Mapping[bytes, bytes]) -> None:
        try:
            found = dict(json.loads(metadata[_METADATA_KEY]))
        except MALFORMED as error:
            raise _of_something_else(part) from error
        if found.get("schema") != SCHEMA_VERSION:
            raise ConfigError(f"{part} has version {found.get('schema')} of the schema, not {SCHEMA_VERSION}")
        other = {key: found.get(key) for key in asdict(self.origin)}
        if other != asdict(self.origin):
            kind = "chips" if other["chips"] else "photos"
            raise ConfigError(
                f"{part} holds answers of model {other['model']!r} "
                f"({str(other['model_sha256'])[:12]}) on {kind}: one folder holds one model and one kind of "
                "picture. Name another folder, or say --force to do all of it anew"
            )

    def missing(self, photos: Mapping[str, State | None]) -> list[str]:
        """The photos that are not done, or were in another state, in order.

        Args:
            photos: The photos, as the table names them, each with its state where that is known.
        """
        states = {path: state for path, state in photos.items() if path in self.done}
        unknown = [path for path, state in states.items() if state is None]
        far = any(map(is_url, unknown))
        found = in_order(state_of, unknown, threads=STATE_THREADS) if far else map(state_of, unknown)
        states.update(zip(unknown, found, strict=True))
        return [path for path in photos if path not in states or states[path] != self.done[path]]

    def forget(self, paths: Iterable[str]) -> None:
        """Takes photos out, so that they can be done again.

        Raises:
            OSError: The folder cannot be written.
        """
        stale = self.done.keys() & set(paths)
        if stale:
            for part in parquet_files(self.place):
                _take_out(part, stale)
            self.read()

    def new_part(self) -> str:
        """Where the next part goes; each call names another place."""
        name = f"part-{self._next:06}-{self._run}.parquet"
        self._next += 1
        return join(self.place, name)

    def add(self, rows: Sequence[Row]) -> None:
        """Writes rows of whole photos as a new part.

        Raises:
            OSError: The folder cannot be written.
        """
        write_part(self.new_part(), rows, self.origin)
        self.totals += totals_of(rows)


@contextmanager
def open_folder(
    place: str | os.PathLike[str], origin: Origin, *, force: bool = False
) -> Iterator[PartsFolder]:
    """Opens a folder of parts for one process, and makes it where there is none.

    What an earlier process left half written is removed, and so is a part that cannot be read: its photos are
    done again.

    Args:
        place: The folder: a path, or the URL of one in an object store, which no lock can keep others from.
        origin: What its rows come from.
        force: Whether all parts that it has go first.

    Yields:
        The folder.

    Raises:
        ConfigError: Another process writes to it, it holds other Parquet files, or answers of another model.
        OSError: It cannot be read or written.
    """
    folder = os.fspath(place)
    if not is_url(folder):
        folder = os.path.abspath(folder)  # noqa: PTH100 - for workers elsewhere, links not followed
    make_folder(folder)
    with ExitStack() as held:
        if not is_url(folder):
            lock = held.enter_context((Path(folder) / _LOCK).open("ab"))
            if not lock_file(lock.fileno()):
                raise ConfigError(f"{folder} is being written by another process")
            for left in Path(folder).glob(".*.tmp"):
                left.unlink(missing_ok=True)
        if force:
            for part in parquet_files(folder):
                if _OWN_NAME.fullmatch(base_name(part)):
                    remove_file(part)
        yield PartsFolder(folder, origin)


def read_columns(source: str | os.PathLike[str], columns: Sequence[str]) -> pa.Table:
    """Reads columns of a folder of parts, or of one part.

    Args:
        source: The folder or the file, by its path or URL.
        columns: Names of columns of `SCHEMA`.

    Returns:
        The table.

    Raises:
        ConfigError: There is none, or it is none that this package wrote.
    """
    files = parquet_files(os.fspath(source))
    if not files:
        raise ConfigError(f"{source} holds no Parquet file")
    tables = []
    for file in files:
        try:
            tables.append(_read_table(file, columns).replace_schema_metadata())
        except OSError as error:
            raise ConfigError(f"{file} cannot be read: {escape_no_text(str(error))}") from error
    return pa.concat_tables(tables)
