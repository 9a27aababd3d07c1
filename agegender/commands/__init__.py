"""What the subcommands of `python -m agegender` share: where words, warnings, bars and JSON go.

Results go to standard output, everything else to standard error, so that output can be piped.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from agegender.errors import ConfigError
from agegender.export import to_json, write_atomically
from agegender.progress import Progress

OK: Final = 0
SOME_FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130

STANDARD_OUTPUT: Final = "-"


def say(line: str) -> None:
    """Prints a line of the result, without tearing a progress bar apart."""
    tqdm.write(line, file=sys.stdout)


def complain(line: str) -> None:
    """Prints a line about the run to standard error, without tearing a progress bar apart."""
    tqdm.write(line, file=sys.stderr)


def text_table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a table whose columns are as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def write_json(value: Any, target: str) -> None:
    """Writes JSON to a file, or to standard output where ``target`` is "-"."""
    if target == STANDARD_OUTPUT:
        sys.stdout.write(to_json(value))
        sys.stdout.flush()
    else:
        write_atomically(target, to_json(value))


def prepare_output(target: str | os.PathLike[str] | None) -> None:
    """Makes the folder of an output file, so that a long run does not end in finding that it cannot write.

    Args:
        target: A file that will be written, "-" for standard output, or ``None`` for nothing.

    Raises:
        ConfigError: The file cannot be written there.
    """
    if target is None or target == STANDARD_OUTPUT:
        return
    path = Path(target)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
    if path.is_dir():
        raise ConfigError(f"cannot write {path}: it is a folder")
    if not os.access(path.parent, os.W_OK):
        raise ConfigError(f"cannot write {path}: no permission for its folder")


def progress_bar(total: int, what: str, unit: str) -> tqdm[Any]:
    """A bar on standard error; none where that is not a terminal, so that logs stay readable."""
    return tqdm(total=total, desc=what, unit=unit, file=sys.stderr, disable=None, leave=False)


@contextmanager
def progress_bars(unit: str) -> Iterator[Progress]:
    """One bar after the other; each appears with the first call that names what it is of."""
    bar: tqdm[Any] | None = None
    shown = ""

    def advance(what: str, done: int, total: int) -> None:
        nonlocal bar, shown
        if bar is None or what != shown:
            if bar is not None:
                bar.close()
            bar, shown = progress_bar(total, what, unit), what
        bar.update(done - bar.n)

    try:
        yield advance
    finally:
        if bar is not None:
            bar.close()
