"""TensorFlow's process-wide settings, for programs to choose before TensorFlow is first imported.

Only entry points call this (the app, the command lines); the package itself never touches the
environment, because a program that embeds it may have settings of its own.
"""

from __future__ import annotations

import os


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
