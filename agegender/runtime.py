"""TensorFlow's process-wide settings, for programs to choose before TensorFlow is first imported.

Only entry points call this (the app, the command lines); the package itself never touches the
environment, because a program that embeds it may have settings of its own.
"""

from __future__ import annotations

import os


def prepare_tensorflow(*, log_level: str = "3") -> None:
    """Chooses fast CPU kernels and a quiet log, where the environment does not say otherwise.

    Args:
        log_level: "0" tells everything, "1" hides information, "2" warnings, "3" errors too.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", log_level)
    # TensorFlow leaves its oneDNN kernels off on processors without AVX-512, where they are still about
    # twice as fast for the networks here.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
