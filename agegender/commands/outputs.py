"""Where the results of pictures and videos go, and what all of that shares: checks before, writing after."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agegender.commands import (
    JPEG_SUFFIXES,
    OK,
    SOME_FAILED,
    STANDARD_OUTPUT,
    complain,
    prepare_outputs,
    write_all,
    write_json,
)
from agegender.errors import ConfigError
from agegender.export import write_atomically
from agegender.files import unique_names

_KEPT_SUFFIXES: Final = JPEG_SUFFIXES | {".png"}

Record = dict[str, Any]


@dataclass(frozen=True)
class Outputs:
    """Where results go; words are printed when nothing is set.

    Attributes:
        json: A file, or "-" for standard output.
        csv: A file.
        annotated: A folder for annotated copies.
        blur: Whether faces are made unrecognisable in these.
    """

    json: str | None = None
    csv: str | None = None
    annotated: Path | None = None
    blur: bool = False

    def __post_init__(self) -> None:
        if self.blur and self.annotated is None:
            raise ConfigError("--blur is for copies: name a folder for them with --annotate")

    @property
    def in_words(self) -> bool:
        """Whether results are to be printed for people."""
        return self.json is None and self.csv is None and self.annotated is None


@contextmanager
def writing(
    records: Sequence[Record],
    outputs: Outputs,
    *,
    total: int,
    what: str,
    table: Callable[[Sequence[Record]], str],
    document: Callable[[Sequence[Record]], Record],
) -> Iterator[None]:
    """Writes what is done by the time the work ends, whatever ends it: ``Ctrl-C`` and errors, too.

    Args:
        records: One of each input that is done, in order; the work appends to them.
        outputs: Where they go.
        total: How many inputs there are.
        what: What they are called.
        table: Makes the CSV of them.
        document: Makes the JSON document of them.

    Raises:
        OSError: An output cannot be written; the other is.
    """

    def writers() -> Iterator[Callable[[], None]]:
        csv, json = outputs.csv, outputs.json
        if csv is not None:
            yield lambda: write_atomically(csv, table(records))
        if json is not None:
            yield lambda: write_json(document(records), json)

    try:
        yield
    finally:
        if len(records) < total:
            complain(f"stopped after {len(records)} of {total} {what}")
        if records:
            write_all(*writers())


def say_done(records: Sequence[Record], outputs: Outputs, what: str, found: str, key: str) -> int:
    """Says how it went, where results went into files; gives the exit code.

    Args:
        records: One of each input that is done.
        outputs: Where they went.
        what: What the inputs are called.
        found: What was found in them is called.
        key: Where the records have it.
    """
    failed = sum(record["error"] is not None for record in records)
    if not outputs.in_words:
        count = sum(len(record[key]) for record in records)
        complain(f"{what}: {len(records)}, {found}: {count}, failed: {failed}")
    return SOME_FAILED if failed else OK


def annotated_paths(
    paths: Sequence[Path], folder: Path, kept: Collection[str] = _KEPT_SUFFIXES, other: str = ".png"
) -> dict[Path, Path]:
    """Names the annotated copies.

    Copies keep their place below the folder that the pictures have in common, so equal names in two folders
    stay apart.

    Args:
        paths: The pictures, or videos.
        folder: Where the copies go.
        kept: Endings of formats in which copies are written, too: these keep their names.
        other: What is appended to any other name.

    Returns:
        The copy's path for each picture, all different as `unique_names` makes them.
    """
    wanted = [
        relative if relative.suffix.lower() in kept else relative.with_name(f"{relative.name}{other}")
        for relative in _below_common_folder(paths)
    ]
    names = unique_names(path.as_posix() for path in wanted)
    return {path: folder / name for path, name in zip(paths, names, strict=True)}


def check_outputs(paths: Sequence[Path], outputs: Outputs, copies: Mapping[Path, Path] | None = None) -> None:
    """Makes sure, before the work, that results can be written and meet neither each other nor a picture.

    Args:
        paths: The pictures, or videos.
        outputs: Where results go.
        copies: Paths of the annotated copies, where these are not those of pictures.

    Raises:
        ConfigError: Two outputs meet, one is a picture, or one cannot be written.
    """
    files = {"--json": outputs.json, "--csv": outputs.csv}
    prepare_outputs(files, {"--annotate": outputs.annotated}, inputs=paths)
    if outputs.annotated is None:
        return
    targets = (copies or annotated_paths(paths, outputs.annotated)).values()
    folders = {folder.resolve() for folder in {parent for copy in targets for parent in copy.parents}}
    for option, target in files.items():
        if target not in {None, STANDARD_OUTPUT} and Path(target).resolve() in folders:
            raise ConfigError(f"{option} {target} has to be a folder for annotated copies")
    read = {path.resolve() for path in paths}
    for copy in targets:
        if copy.resolve() in read:  # through a link
            raise ConfigError(f"{copy} is a link to one of the pictures; name another folder for the copies")


def without_copies(
    paths: Sequence[Path], patterns: Sequence[str], folder: Path, what: str = "pictures"
) -> list[Path]:
    """Leaves out what lies where the annotated copies go: copies of earlier runs would be drawn upon again.

    Raises:
        ConfigError: One of these was named by itself, or nothing else is left.
    """
    place = folder.resolve()
    inside = {path for path in paths if path.resolve().is_relative_to(place)}
    named = inside & {Path(os.path.expanduser(pattern)) for pattern in patterns}  # noqa: PTH111 - see find_images
    if named or (inside and len(inside) == len(paths)):
        raise ConfigError(
            f"{min(named or inside)} lies in {folder}, where annotated copies would mix with the {what}; "
            "name another folder for them"
        )
    if inside:
        complain(f"left out: {len(inside)} {what} in {folder}, where the annotated copies go")
    return [path for path in paths if path not in inside]


def _below_common_folder(paths: Sequence[Path]) -> list[Path]:
    absolute = [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100 - takes ".." out, follows no link
    try:
        common = os.path.commonpath([path.parent for path in absolute])
    except ValueError:  # several drives of a Windows machine have nothing in common
        return [Path(path.name) for path in absolute]
    return [path.relative_to(common) for path in absolute]
