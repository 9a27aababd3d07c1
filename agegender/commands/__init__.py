"""What the subcommands of `python -m agegender` share: where words, warnings, bars and JSON go.

Each is a module of its own with a function ``run``. Its arguments are the command's options, by their names
and in the words of `agegender.__main__`; where one was not given it is ``None``, or what its help says.

Results go to standard output, everything else to standard error, so that output can be piped.
"""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image
from tqdm import tqdm

from agegender.errors import ConfigError
from agegender.export import to_json, write_atomically
from agegender.files import printable
from agegender.images import IMAGE_SUFFIXES
from agegender.progress import Progress
from agegender.runtime import without_chatter

if TYPE_CHECKING:
    from agegender.predictor import Predictor

OK: Final = 0
SOME_FAILED: Final = 1

STANDARD_OUTPUT: Final = "-"
JPEG_SUFFIXES: Final = frozenset({".jpg", ".jpeg"})
JPEG_QUALITY: Final = 92


def say(line: str) -> None:
    """Prints a line of the result, made `printable`, without tearing a progress bar apart."""
    tqdm.write(printable(line), file=sys.stdout)


def complain(line: str) -> None:
    """Prints a line about the run to standard error, as `say` does."""
    tqdm.write(printable(line), file=sys.stderr)


def text_table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a table whose columns are as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def load_predictor(model: str | None) -> Predictor:
    """Loads a model, the default one for ``None``, so far that its first picture waits for nothing.

    A model that cannot be loaded is so one error of the run, and not one of each picture.

    Raises:
        ModelError: The model is unknown or not trained.
    """
    from agegender.predictor import Predictor  # this late, because some models import TensorFlow

    predictor = Predictor() if model is None else Predictor(model)
    with without_chatter():
        predictor.predict_chips(np.zeros((1, 200, 200, 3), np.uint8))
    return predictor


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


def prepare_outputs(
    files: Mapping[str, str | None],
    folders: Mapping[str, Path | None] | None = None,
    *,
    inputs: Collection[Path] = (),
) -> None:
    """Makes sure, before the work, that results can be written and meet neither each other nor an input.

    The folders that are needed are made.

    Args:
        files: Files to write, by the option that names them; ``None`` is none, "-" standard output.
        folders: Folders to write to, by the option that names them.
        inputs: The pictures that are read.

    Raises:
        ConfigError: An output cannot be written, is another one or lies in it, or is a picture.
    """
    targets = {
        option: Path(target) for option, target in files.items() if target not in {None, STANDARD_OUTPUT}
    }
    # What is neither file nor folder, such as /dev/null, is written to and never replaced.
    targets = {option: path for option, path in targets.items() if not _is_device(path)}
    places = {option: path for option, path in (folders or {}).items() if path is not None}
    read = {path.resolve() for path in inputs} if targets else set()
    for option, path in targets.items():
        if path.resolve() in read:
            raise ConfigError(f"{path} is one of the pictures; write the results to another file")
        if path.suffix.lower() in IMAGE_SUFFIXES:
            raise ConfigError(f"{option} writes no picture, and {path} is called like one")
    whole = {option: _folded(path) for option, path in (targets | places).items()}
    for (option, path), (other, second) in combinations(whole.items(), 2):
        if path == second:
            raise ConfigError(f"{option} and {other} are both {(targets | places)[option]}")
        for file, inner, within in ((option, other, second), (other, option, path)):
            if file in targets and whole[file] in within.parents:
                raise ConfigError(f"{inner} would lie inside of {targets[file]}, the file of {file}")
    for path in (*targets.values(), *(place / "any" for place in places.values())):
        _prepare(path)


def _is_device(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _folded(path: Path) -> Path:
    """The place that a path means, for file systems that ignore case."""
    return Path(os.path.realpath(path).casefold())


def _prepare(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise ConfigError(f"cannot write {path}: it is a folder")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
    if not os.access(path.parent, os.W_OK):
        raise ConfigError(f"cannot write {path}: no permission for its folder")


def write_all(*writers: Callable[[], None]) -> None:
    """Writes several outputs; one that fails does not cost the others.

    Args:
        writers: Each writes one output.

    Raises:
        OSError: Of the first that failed, once all were tried; of others it is told on standard error.
    """
    failures = []
    for write in writers:
        try:
            write()
        except OSError as error:
            failures.append(error)
    for failure in failures[1:]:
        complain(str(failure))
    if failures:
        raise failures[0]


def save_picture(picture: Image.Image, path: Path) -> None:
    """Writes a picture, whole or not at all: JPEG where the name ends so, else PNG."""
    buffer = io.BytesIO()
    if path.suffix.lower() in JPEG_SUFFIXES:
        picture.save(buffer, "JPEG", quality=JPEG_QUALITY)
    else:
        picture.save(buffer, "PNG")
    write_atomically(path, buffer.getvalue())


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
        if done == total:
            bar.close()
            bar = None

    try:
        yield advance
    finally:
        if bar is not None:
            bar.close()
