"""What the subcommands of `python -m agegender` share: where words, warnings, bars and JSON go.

Results go to standard output, everything else to standard error, so that output can be piped.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from agegender.errors import ConfigError
from agegender.export import to_json, write_atomically
from agegender.files import printable

OK: Final = 0
SOME_FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130

STANDARD_OUTPUT: Final = "-"


def say(line: str) -> None:
    """Prints a line of the result, made `printable`, without tearing a progress bar apart."""
    tqdm.write(printable(line), file=sys.stdout)


def complain(line: str) -> None:
    """Prints a line about the run to standard error, as `say` does."""
    tqdm.write(printable(line), file=sys.stderr)


def write_json(value: Any, target: str) -> None:
    """Writes JSON to a file, or to standard output where ``target`` is "-"; UTF-8 in both."""
    text = to_json(value)
    if target != STANDARD_OUTPUT:
        write_atomically(target, text)
        return
    # The stream's own encoding is meant for people: a Windows code page, or ASCII in a bare environment.
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


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
def progress_bars(unit: str) -> Iterator[Callable[[str, int, int], None]]:
    """One bar after the other, driven by calls of (what, done, total); each appears with its first call."""
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


@contextmanager
def progress_callback(what: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that is driven by calls of (done, total) and appears with the first of them."""
    with progress_bars(unit) as advance:
        yield partial(advance, what)
