"""Where photos and answers lie: under paths of this machine, or under URLs of object stores.

A URL is what `pyarrow.fs.FileSystem.from_uri` takes, with its query: ``s3://bucket/photos``,
``s3://bucket/photos?endpoint_override=http%3A%2F%2Flocalhost%3A9000``, ``gs://…``, ``abfs://…``, and
``fsspec+…://…`` for whatever fsspec knows. Names are percent-encoded in it where they have to be. Credentials
never stand in one, because tables name every photo: stores find them in the environment.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final, cast
from urllib.parse import quote, unquote

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow.fs import FileSelector, FileSystem, FileType

from agegender.errors import ConfigError, ImageError
from agegender.export import write_atomically
from agegender.files import escape_name, is_glob, is_url, unescape_name
from agegender.images import IMAGE_SUFFIXES, find_images, read_photo

State = tuple[int | None, int | None]
"""A file's size in bytes and its time of change in ns; ``None`` where there is no such file."""

_URL: Final = re.compile(r"([^:]+://[^/?]*)([^?]*)(\?.*)?", re.DOTALL)


def path_text(name: str | os.PathLike[str]) -> str:
    """How the table names a photo: its URL, or its absolute path, links not followed, as text."""
    text = os.fspath(name)
    if is_url(text):
        root, path, query = _split(text)
        return root + quote(path) + query
    return escape_name(os.path.abspath(text))  # noqa: PTH100 - takes ".." out, follows no link


def state_of(photo: str) -> State:
    """The state of a photo, as the table names it, by which a changed one is known."""
    try:
        if is_url(photo):
            store, path = _locate(photo)
            info = store.get_file_info(path)
            return (info.size, info.mtime_ns) if info.is_file else (None, None)
        found = os.stat(unescape_name(photo))  # noqa: PTH116 - Path takes half as long again, a million times
    except (OSError, ValueError):
        return None, None
    return found.st_size, found.st_mtime_ns


def read_photo_at(photo: str) -> tuple[NDArray[np.uint8], datetime | None]:
    """Reads a photo, as the table names it.

    Returns:
        As `agegender.images.read_photo`.

    Raises:
        ImageError: It cannot be read.
    """
    if not is_url(photo):
        return read_photo(unescape_name(photo))
    store, path = _locate(photo)
    try:
        with store.open_input_file(path) as file:
            return read_photo(file)
    except FileNotFoundError as error:
        raise ImageError(photo, "no such file") from error
    except OSError as error:
        raise ImageError(photo, f"cannot be read ({error})") from error


def find_photos(patterns: Iterable[str]) -> dict[str, State | None]:
    """Finds the photos that a person's words mean.

    Args:
        patterns: Files, folders and globs, by the rules of `agegender.images.find_images`; these go for URLs,
            too, except that ``?`` begins the query there.

    Returns:
        The photos as the table names them, each with its state where listing the folder told it.

    Raises:
        ConfigError: A URL is none that can be used.
        OSError: An object store does not answer.
    """
    words = list(patterns)
    found: dict[str, State | None] = {
        path_text(path): None for path in find_images(word for word in words if not is_url(word))
    }
    for word in filter(is_url, words):
        found.update(_find_in_store(word))
    return found


def _find_in_store(url: str) -> Iterator[tuple[str, State | None]]:
    root, path, query = _split(url)
    store, place = _locate(url)
    info = store.get_file_info(place)
    if info.is_file or not (is_glob(path) or info.type == FileType.Directory):
        yield path_text(url), None  # which may not exist, for reading to report
        return
    fixed = path.strip("/").split("/")
    pattern: list[str] = []
    while info.type != FileType.Directory and is_glob("/".join(fixed)):
        pattern.insert(0, fixed.pop())
    folder = place.removesuffix("/".join(["", *pattern])) if pattern else place
    for file in sorted(
        store.get_file_info(FileSelector(folder, allow_not_found=True, recursive=True)),
        key=lambda file: file.path,
    ):
        parts = file.path.removeprefix(folder).strip("/").split("/")
        if file.is_file and _is_meant(parts, pattern):
            key = quote("/".join(filter(None, [*fixed, *parts])))
            yield f"{root}/{key}{query}", (file.size, file.mtime_ns)


def _is_meant(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a pattern means a file below its folder: by itself, or by a folder that it is in."""
    ending = PurePosixPath(parts[-1]).suffix
    if ending.lower() not in IMAGE_SUFFIXES:
        spelt = bool(pattern) and PurePosixPath(pattern[-1]).suffix
        return bool(spelt) and not is_glob(str(spelt)) and ending == spelt and _fits(parts, pattern)
    return any(
        _fits(parts[:depth], pattern) and not any(part.startswith(".") for part in parts[depth:])
        for depth in range(len(parts) + 1)
    )


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not parts
    first, *rest = pattern
    if first == "**":
        visible = next((i for i, part in enumerate(parts) if part.startswith(".")), len(parts))
        return any(_fits(parts[depth:], rest) for depth in range(visible + 1))
    if not parts or (parts[0].startswith(".") and not first.startswith(".")):
        return False
    return fnmatch.fnmatchcase(parts[0], first) and _fits(parts[1:], rest)


def join(folder: str, name: str) -> str:
    """The place of a file in a folder."""
    if not is_url(folder):
        return os.path.join(folder, name)  # noqa: PTH118 - text in, text out
    root, path, query = _split(folder)
    return f"{root}{quote(path.rstrip('/'))}/{quote(name)}{query}"


def make_folder(folder: str) -> None:
    """Makes a folder with all above it, where there is none, but no bucket.

    Raises:
        OSError: It cannot be made, or written to.
    """
    if is_url(folder):
        store, path = _locate(folder)
        store.create_dir(path, recursive=True)
    else:
        Path(folder).mkdir(parents=True, exist_ok=True)


def parquet_files(place: str) -> list[str]:
    """The Parquet files of a folder, in order, or a single one by its own name."""
    if is_url(place):
        store, path = _locate(place)
        if store.get_file_info(path).is_file:
            return [place]
        found = store.get_file_info(FileSelector(path, allow_not_found=True))
        files = [join(place, file.base_name) for file in found if file.is_file]
    elif Path(place).is_dir():
        files = [str(file) for file in Path(place).iterdir()]
    else:
        return [place]
    return sorted(file for file in files if re.fullmatch(r"[^._].*\.parquet", base_name(file)))


def base_name(place: str) -> str:
    """What a file is called in its folder."""
    return PurePosixPath(_split(place)[1]).name if is_url(place) else Path(place).name


def read_file(place: str) -> bytes:
    """Reads a file.

    Raises:
        OSError: It cannot be read.
    """
    with open_file(place) as file:
        return file.read()


def open_file(place: str) -> BinaryIO:
    """Opens a file to read from anywhere in it.

    Raises:
        OSError: It cannot be read.
    """
    if is_url(place):
        store, path = _locate(place)
        return cast(BinaryIO, store.open_input_file(path))
    return Path(place).open("rb")


def write_file(place: str, data: bytes) -> None:
    """Writes a file, whole or not at all; one that is there is replaced.

    Raises:
        OSError: The place cannot be written.
    """
    if is_url(place):
        store, path = _locate(place)
        with store.open_output_stream(path) as file:  # of an object store: nothing is there until it closes
            file.write(data)
    else:
        write_atomically(place, data)


def remove_file(place: str) -> None:
    """Removes a file.

    Raises:
        OSError: It cannot be removed.
    """
    if is_url(place):
        store, path = _locate(place)
        store.delete_file(path)
    else:
        Path(place).unlink()


def _split(url: str) -> tuple[str, str, str]:
    """Store and bucket, the path within it, decoded, and the query with its question mark.

    Raises:
        ConfigError: It has a secret in it.
    """
    match = _URL.fullmatch(url)
    assert match is not None
    root, path, query = match.groups("")
    if re.search(r"://[^@]*:[^@]*@", root):
        raise ConfigError(
            f"{root.partition('://')[0]}://…@{root.rpartition('@')[2]} has a secret in it, which the table "
            "would show; leave it out, the environment is asked for it (AWS_ACCESS_KEY_ID, …)"
        )
    return root, unquote(path), query


def _locate(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in that."""
    root, path, query = _split(url)
    store, base = _store(f"{root}/{query}")
    return store, base + path.rstrip("/")


@cache
def _store(root: str) -> tuple[Any, str]:
    try:
        store, base = FileSystem.from_uri(root)
    except (pa.ArrowException, ImportError, OSError, ValueError) as error:
        raise ConfigError(f"{root} cannot be used: {error}") from error
    return store, base.rstrip("/")
