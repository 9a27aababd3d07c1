"""`python -m agegender predict --parquet DIR`: many photos into a folder of Parquet, to be gone on with."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from agegender.batch import stop_on_signal
from agegender.bulk.lists import read_list
from agegender.bulk.local import predict_local
from agegender.bulk.part import Origin
from agegender.bulk.rows import Failure, Totals
from agegender.bulk.storage import find_photos, join
from agegender.bulk.table import open_folder
from agegender.commands import OK, SOME_FAILED, complain, load_predictor, prepare_outputs, progress_bar
from agegender.errors import ConfigError
from agegender.files import is_url
from agegender.models.card import fingerprint
from agegender.wording import say_duration

Engine = Literal["local", "ray"]

LINE_SECONDS: Final = 30.0
"""Where progress cannot be drawn over itself, a line of it comes this often."""


def run(
    *,
    paths: Sequence[str],
    parquet: str,
    lists: Sequence[str] = (),
    model: str | None,
    chips: bool,
    engine: Engine = "local",
    address: str | None = None,
    force: bool = False,
    quiet: bool = False,
) -> int:
    """Predicts the photos that no part of the folder has yet, or has in another state.

    Args:
        paths: Files, folders and globs, of this machine or as URLs of object stores.
        parquet: The folder where the parts are, and go: a path or a URL.
        lists: Files that name further photos.
        model: Name of the model; ``None`` takes the default one.
        chips: Whether each photo already is a face chip.
        engine: What does the work.
        address: Of the Ray cluster; ``None`` starts one on this machine.
        force: Whether to do all of them anew.
        quiet: Whether to tell no progress, and name no photo that failed.

    Returns:
        0; or 1 where photos failed in this run.

    Raises:
        ConfigError: Nothing matches, or the folder cannot be used for this.
        ModelError: The model is unknown or not trained; nothing is written then.
        OSError: The folder cannot be written.
        KeyboardInterrupt: The run was stopped by a signal; what was done by then is written.
    """
    if engine == "ray":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else Ray tells its makers
        import ray.data  # noqa: F401 - whether it is there shows before the work

    if not is_url(parquet):
        prepare_outputs({}, {"--parquet": Path(parquet)})
    photos = find_photos(paths)
    for file in lists:
        for photo in read_list(file):
            photos.setdefault(photo, None)
    if not photos:
        raise ConfigError(f"no picture matches {' '.join(map(repr, [*paths, *lists]))}")

    predictor = load_predictor(model)
    origin = Origin(predictor.model, fingerprint(predictor.card), chips)
    with open_folder(parquet, origin, force=force) as parts:
        for name in parts.damaged:
            complain(f"{join(parquet, name)} was damaged and is removed: its photos are done again")
        missing = parts.missing(photos)
        if not missing:
            complain(f"nothing to do: {parquet} has all of them already")
            complain(_summary(parts.totals, parquet))
            return OK
        parts.forget(missing)
        new = Totals()
        with stop_on_signal() as stop, _telling(len(missing), quiet=quiet) as tell:

            def answered(totals: Totals, failures: Sequence[Failure]) -> None:
                nonlocal new
                new += totals
                tell(totals.photos, failures)

            began = time.monotonic()
            if engine == "ray":
                from agegender.bulk.ray_engine import predict_on_ray

                predict_on_ray(missing, parts, answered, address=address, stop=stop)
            else:
                predict_local(missing, predictor, parts, answered, stop=stop)
        seconds = time.monotonic() - began
        if new.photos < len(missing):
            complain(f"stopped after {new.photos:,} of {len(missing):,} photos; the same command goes on")
        rate = f"{new.photos / max(seconds, 1e-9):.1f} a second"
        complain(f"done now: {new.photos:,} photos in {say_duration(seconds)}, {rate}")
        complain(_summary(parts.totals, parquet))
    if stop.is_set():
        raise KeyboardInterrupt
    return SOME_FAILED if new.errors else OK


def _summary(totals: Totals, folder: str) -> str:
    words = f"photos: {totals.photos:,}, faces: {totals.faces:,}, failed: {totals.errors.total():,}"
    if totals.errors:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in totals.errors.most_common())
        words += f" ({kinds}): the rows of {folder} whose error is not null"
    return words


@contextmanager
def _telling(total: int, *, quiet: bool) -> Iterator[Callable[[int, Sequence[Failure]], None]]:
    """Tells how far the work is: a bar on a terminal, else a line now and then; and which photos failed."""
    if quiet:
        yield lambda _count, _failures: None
        return
    drawn = sys.stderr is not None and sys.stderr.isatty()
    began = told = time.monotonic()
    done = 0

    def tell(count: int, failures: Sequence[Failure]) -> None:
        nonlocal done, told
        done += count
        for path, error in failures:
            complain(f"{path}: {error}")
        bar.update(count)
        now = time.monotonic()
        if not drawn and now - told >= LINE_SECONDS and done:
            told = now
            rate = done / (now - began)
            left = say_duration((total - done) / rate)
            complain(f"{done:,} of {total:,} photos, {rate:.1f} a second, {left} left")

    bar: Any
    with progress_bar(total, "Predicting", "photo") as bar:
        yield tell
