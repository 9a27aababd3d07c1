"""What is fuzzed: a reader, and how damaged files for it are made."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from agegender.errors import AgeGenderError


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        name: What it reads.
        make: Draws a damaged file.
        read: Reads it. Anything but an `AgeGenderError` is a fault.
        share: How many of all inputs are for it, in parts of the whole.
    """

    name: str
    make: Callable[[Random], bytes]
    read: Callable[[bytes], None]
    share: float

    def survives(self, data: bytes) -> bool:
        """Reads a file.

        Returns:
            Whether it was accepted; ``False`` where it was refused with a typed error.

        Raises:
            Exception: The fault that was looked for.
        """
        try:
            self.read(data)
        except AgeGenderError as error:
            str(error).encode()  # an error that no page and no log can show is none
            return False
        return True


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new folder, in memory where that is possible, until the context is left."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
