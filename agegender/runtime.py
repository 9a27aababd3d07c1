"""Settings of a whole process: TensorFlow's, to be chosen before it is first imported, and the allocator's.

Only entry points call this (the app, the command lines); the package itself never touches the
environment, because a program that embeds it may have settings of its own.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final


def prepare_tensorflow(*, training: bool = False, log_level: str = "3") -> None:
    """Chooses a quiet log, and the kernels that training gains by, where the environment says nothing.

    Args:
        training: Whether the process is going to train.
        log_level: "0" tells everything, "1" hides information, "2" warnings, "3" errors too.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", log_level)
    if training:
        # TensorFlow leaves its oneDNN kernels off on processors without AVX-512, where they are still about
        # twice as fast in a training step; for a single face they are three times slower there.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


_CHATTER: Final = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog|[IWE]0000 |To enable the following instructions"
)
"""How the lines begin that TensorFlow's C++ code writes when it starts, whatever log level was chosen."""


@contextmanager
def without_chatter() -> Iterator[None]:
    """Keeps off standard error what TensorFlow tells of itself when it starts.

    Meanwhile the process's standard error goes to a file; what is no such line is passed on at the end.
    """
    try:
        stderr = os.dup(2)
    except OSError:  # a process without standard error
        yield
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            kept.seek(0)
            os.write(2, b"".join(line for line in kept if not _CHATTER.match(line)))
            os.close(stderr)


_M_MMAP_THRESHOLD: Final = -3  # as malloc.h numbers it
_LARGE_BLOCK: Final = 2**18  # bytes


def return_large_blocks() -> None:
    """Has glibc give memory of large arrays back as soon as they are freed.

    Once one array of a photo's size was freed, glibc keeps blocks of that size for later, anew in each of a
    dozen arenas that visitors' threads allocate from; 200 photos left 600 MB behind that nobody used.
    """
    with suppress(OSError, AttributeError, TypeError):  # another C library has ways of its own
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)


def return_free_memory() -> None:
    """Has glibc give back what it keeps unused, in every arena. For quiet moments: others wait meanwhile."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
