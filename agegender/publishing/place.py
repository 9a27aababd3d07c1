"""Where a model is made, and how it takes the place of the one before: at no moment is neither of them there.

All of it happens in a folder of the model's own beside the models, `models.card.publishing_folder`. A
finished model is moved from ``made/`` to ``whole/``, the one before to ``replaced/``, and the finished one to
where that was. Whoever reads between the last two steps finds it in ``whole/``; so does everybody after a
process that was killed there, and the next publishing of that name does the step that is missing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agegender.models.card import arrived_model, publishing_folder
from agegender.runs.records import lock_folder


@contextmanager
def new_model(home: Path, name: str) -> Iterator[Path]:
    """Gives an empty folder to make a model in, which takes the place of the one of that name at the end.

    Where the block raises, the model that was there stays.

    Args:
        home: The folder that holds the models.
        name: The model's.

    Yields:
        A folder of the model's name.

    Raises:
        ConfigError: Another process is publishing that model.
        OSError: The folder cannot be written, or what is there cannot be moved.
    """
    own = publishing_folder(home, name)
    own.mkdir(parents=True, exist_ok=True)
    try:
        with lock_folder(own, "published"):
            try:
                _tidy(home, name)
                made = own / "made" / name
                made.mkdir(parents=True)
                yield made
                arrived, there = arrived_model(home, name), home / name
                arrived.parent.mkdir()
                made.rename(arrived)
                if there.exists():
                    there.rename(own / "replaced")
            finally:
                _tidy(home, name)
    finally:
        for folder in (own, own.parent):  # another model may be in the making there
            with suppress(OSError):
                folder.rmdir()


def _tidy(home: Path, name: str) -> None:
    """Puts a finished model where nothing stands in its way, and removes what else is left of publishing."""
    arrived = arrived_model(home, name)
    if arrived.is_dir() and not (home / name).exists():
        arrived.rename(home / name)
    for part in publishing_folder(home, name).iterdir():
        if part.is_dir():
            shutil.rmtree(part)
