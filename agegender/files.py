r"""Files whatever they are called and hold.

Names that are no text, names that would meet, the one way through a folder, documents that may be damaged.

A file's name is bytes on most systems, and bytes need not be UTF-8; JSON, CSV, tables and pages hold text
only. `escape_name` turns any name into text and `unescape_name` turns it back: what is no UTF-8 is written
byte by byte as ``\xHH``, two lower-case hexadecimal digits, so ``caf<0xe9>.jpg`` is ``caf\xe9.jpg``. A
backslash that stands before an ``x`` and two such digits in the name itself is written ``\x5c``. Every other
name stays as it is.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import sys
import unicodedata
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MALFORMED: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What code raises that reads a document which is not of the form it should be."""

MAX_NAME_BYTES: Final = 255
"""What one part of a path may take in UTF-8 on the usual file systems."""

_ESCAPE: Final = re.compile(rb"\\x([0-9a-f]{2})")
_LIKE_AN_ESCAPE: Final = re.compile(r"\\(?=x[0-9a-f]{2})")
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_NO_TEXT: Final = re.compile("[\ud800-\udfff]")
_NOT_FOR_SCREENS: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters: line ends, terminal escapes
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # what ends a line or turns the direction of writing
    "\ud800-\udfff]"
)


def escape_name(name: str | os.PathLike[str]) -> str:
    """Writes a file's name, or a path, as text that is valid UTF-8.

    Args:
        name: The name as the operating system gives it; bytes that are no UTF-8 are lone surrogates in it,
            which is how Python hands them out (PEP 383).

    Returns:
        The name in the escape that the module describes: itself, for nearly every name.
    """
    return escape_no_text(_LIKE_AN_ESCAPE.sub(r"\\x5c", os.fspath(name)))


def unescape_name(text: str) -> str:
    """Gives the name that `escape_name`, `printable` or a CSV cell wrote as this text."""
    if "\\x" not in text:
        return text
    return os.fsdecode(_ESCAPE.sub(lambda match: bytes.fromhex(match[1].decode()), os.fsencode(text)))


def escape_no_text(text: str) -> str:
    r"""Writes what UTF-8 cannot hold, lone surrogates, as ``\xHH``; all else stays."""
    return _NO_TEXT.sub(lambda match: escape_bytes(match[0]), text)


def printable(text: str) -> str:
    r"""Makes text safe to print in one line: nothing in it ends the line or steers the terminal.

    Args:
        text: Any text; names in it may be escaped already.

    Returns:
        The text with control characters, line separators, marks that turn the direction of writing, and what
        is no text as ``\xHH``, byte by byte of their UTF-8.
    """
    return _NOT_FOR_SCREENS.sub(lambda match: escape_bytes(match[0]), text)


def escape_bytes(characters: str) -> str:
    r"""Writes every byte of some characters as ``\xHH``."""
    try:
        raw = os.fsencode(characters)
    except UnicodeEncodeError:  # half of a UTF-16 pair, which no file name of this system holds
        raw = characters.encode("utf-8", "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in raw)


def paths_below(folder: Path, names: Iterable[str]) -> list[Path]:
    """The files that names in a table mean: escaped, and below this folder."""
    return [folder / unescape_name(name) for name in names]


def read_json(path: Path) -> Any:
    """Reads JSON that other parts of the package can pass on.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no JSON, is nested too deep, or has text in it that UTF-8 cannot hold.
    """
    text = path.read_text(encoding="utf-8")
    try:
        value = json.loads(text)
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    return value


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Reads the arrays of an ``.npz`` file; of one that is missing or damaged there are none.

    Made for what was kept to save time, and may be made again. Nothing is unpickled.
    """
    try:
        with np.load(path, allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except (OSError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error, *MALFORMED):
        return {}


def unique_names(wanted: Iterable[str]) -> list[str]:
    """Makes names different for every file system, also for one that ignores case.

    Args:
        wanted: Paths below one folder, with ``/`` between their parts.

    Returns:
        A path for each, in order: the wanted one, or with " (2)", " (3)", … before its ending where it is
        taken. No two are equal when case and the way accents are composed are ignored, none is a folder that
        another needs, and no last part is longer than 255 bytes: its stem is cut.
    """
    paths = [PurePosixPath(path) for path in wanted]
    taken = {_folded(str(parent)) for path in paths for parent in path.parents}
    found = []
    for path in paths:
        count, name = 1, path.with_name(_shortened(path.stem, path.suffix))
        while _folded(str(name)) in taken:
            count += 1
            name = path.with_name(_shortened(path.stem, f" ({count}){path.suffix}"))
        taken.add(_folded(str(name)))
        found.append(str(name))
    return found


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _shortened(stem: str, ending: str) -> str:
    """Joins the two, with as much of the stem as the longest legal name has room for."""
    while len(os.fsencode(stem + ending)) > MAX_NAME_BYTES and len(stem) > 1:
        stem = stem[:-1]
    return stem + ending


def lock_file(descriptor: int) -> bool:
    """Locks an open file for this process until it is closed; false where another process holds it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system without locks
        return True
    return True


def walk_files(folder: Path, suffixes: Collection[str]) -> tuple[list[Path], list[Path]]:
    """Lists the files below a folder, at any depth.

    Hidden files and folders (a leading dot) are skipped. Links are followed, but no folder is entered twice,
    so a loop of links ends.

    Args:
        folder: Where to look.
        suffixes: Endings of the files that are wanted, lower case, with the dot; case does not matter.

    Returns:
        The files, in sorted order; and the folders that cannot be listed.
    """
    files: list[Path] = []
    unlistable: list[Path] = []
    for parent, names in _walk(folder, unlistable):
        for name in names:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in suffixes:  # noqa: PTH122
                files.append(Path(parent, name))
    return sorted(files), sorted(unlistable)


def _walk(folder: Path, unlistable: list[Path]) -> Iterator[tuple[str, list[str]]]:
    """Yields every folder from this one down, with the names of its files."""
    entered: set[str] = set()
    for parent, folders, names in os.walk(
        folder, onerror=lambda error: unlistable.append(Path(error.filename)), followlinks=True
    ):
        real = os.path.realpath(parent)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield parent, names


def find_files(patterns: Iterable[str | os.PathLike[str]], suffixes: Collection[str]) -> list[Path]:
    """Finds the files that a person's words mean, by the rules of `agegender.images.find_images`.

    Args:
        patterns: Files, folders and globs, one or several; ``~`` is the home folder.
        suffixes: Endings of the files that are wanted in folders, lower case, with the dot.

    Returns:
        Paths in sorted order, each file once. Relative patterns give relative paths.
    """
    if isinstance(patterns, str | os.PathLike):
        patterns = [patterns]
    found: dict[str, Path] = {}
    for pattern in patterns:
        for path in _expand(Path(os.path.expanduser(pattern)), suffixes):  # noqa: PTH111 - Path's raises on ~nobody
            found.setdefault(os.path.abspath(path), path)  # noqa: PTH100 - Path's keeps the ".."
    return sorted(found.values())


def _expand(pattern: Path, suffixes: Collection[str]) -> Iterator[Path]:
    if pattern.is_dir():
        yield from _below(pattern, suffixes)
    elif os.path.lexists(pattern) or not is_glob(str(pattern)):
        yield pattern
    else:
        suffix = "" if is_glob(pattern.suffix) else pattern.suffix
        for path in glob(pattern):
            if path.is_dir():
                yield from _below(path, suffixes)
            elif path.suffix.lower() in suffixes or (suffix and path.suffix == suffix):
                yield path


def _below(folder: Path, suffixes: Collection[str]) -> Iterator[Path]:
    for paths in walk_files(folder, suffixes):
        yield from paths


def is_url(text: str) -> bool:
    """Whether the text is a URL, rather than a path."""
    return _URL.match(text) is not None


def is_glob(text: str) -> bool:
    """Whether the text has a wildcard in it: ``*``, ``?`` or ``[``."""
    return any(character in text for character in "*?[")


def glob(pattern: Path) -> Iterator[Path]:
    """Finds what a pattern matches, by the rules of `walk_files`.

    Args:
        pattern: A path whose parts may hold ``*``, ``?`` and ``[…]``; a part ``**`` stands for folders to any
            depth. Leading parts that exist as they are written are taken literally, brackets and all. Hidden
            names need a part that begins with a dot.

    Yields:
        Files and folders.
    """
    root, parts = Path(pattern.anchor), list(pattern.parts[bool(pattern.anchor) :])
    while parts and (not is_glob(parts[0]) or os.path.lexists(root / parts[0])):
        root /= parts.pop(0)
    yield from _matches(root, parts)


def _matches(root: Path, parts: list[str]) -> Iterator[Path]:
    if not parts or parts == ["**"]:
        if os.path.lexists(root):
            yield root
        return
    part, rest = parts[0], parts[1:]
    if part == "**":
        for folder, _ in _walk(root, []):
            yield from _matches(Path(folder), rest)
    elif is_glob(part):
        wild = re.sub(r"\*{2,}", "*", part)  # as a shell reads "**.jpg"
        try:
            names = sorted(os.listdir(root))  # noqa: PTH208 - names, not paths
        except OSError:  # no folder, or not ours to list: nothing matches
            return
        for name in names:
            if fnmatch.fnmatch(name, wild) and (part.startswith(".") or not name.startswith(".")):
                yield from _matches(root / name, rest)
    else:
        yield from _matches(root / part, rest)
