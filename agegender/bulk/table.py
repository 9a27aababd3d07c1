"""The table of many photos: a folder of parts.

Parts are written whole or not at all, and hold all rows of each photo in them. So a photo is done when a part
names it: to go on after a crash, or with photos that were added, is to do what no part names.
"""

from __future__ import annotations

import os
import re
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from agegender.batch import in_order
from agegender.bulk.part import DamagedPartError, Origin, check_origin, read_part, take_out, write_part
from agegender.bulk.rows import Row, Totals, totals_of
from agegender.bulk.storage import State, base_name, join, make_folder, parquet_files, remove_file, state_of
from agegender.errors import ConfigError
from agegender.files import escape_no_text, is_url, lock_file

PART_PHOTOS: Final = 4096
PART_ROWS: Final = 16384
PART_SECONDS: Final = 60.0
"""A part is closed at so many photos, at so many rows or after so long, whichever comes first: a crash costs
a minute of work, and photos of crowds no more memory than portraits."""

STATE_THREADS: Final = 32
"""So many photos of an object store are asked for their state at a time."""

_OWN_NAME: Final = re.compile(r"part-\d{6,}(-[0-9a-z]+)?\.parquet")
"""Others' parts, such as Spark's, are never taken for damaged ones of this table."""
_LOCK: Final = ".agegender.lock"


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
                take_out(part, paths)
            self.read()

    def _columns(self, part: str) -> pa.Table | None:
        """What tells the photos of a part; none of one that is damaged, which goes.

        Raises:
            ConfigError: It is no part of this table.
            OSError: It cannot be read.
        """
        name = base_name(part)
        try:
            columns = read_part(part, ["path", "face", "size", "modified", "error_kind"])
        except DamagedPartError:
            if not _OWN_NAME.fullmatch(name):
                raise
            remove_file(part)
            self.damaged.append(name)
            return None
        check_origin(part, columns, self.origin)
        with suppress(ValueError, IndexError):
            self._next = max(self._next, int(name.removesuffix(".parquet").split("-")[1]) + 1)
        return columns

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
                take_out(part, stale)
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
            tables.append(read_part(file, columns).replace_schema_metadata())
        except OSError as error:
            raise ConfigError(f"{file} cannot be read: {escape_no_text(str(error))}") from error
    return pa.concat_tables(tables)
