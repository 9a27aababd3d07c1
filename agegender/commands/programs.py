"""`agegender app` and `agegender train`: programs that come with the package, with options of their own."""

from __future__ import annotations

import importlib.util
import os
import runpy
import subprocess
import sys
from collections.abc import Sequence

from agegender.errors import ConfigError
from agegender.places import PRODUCT, install_command


def run_app(arguments: Sequence[str]) -> int:
    """Opens the app, whatever folder this is called from.

    Streamlit reads the settings of `.streamlit/config.toml` beside `app.py`; they go before those of the
    working folder and of the user's home.

    Args:
        arguments: Options of `streamlit run`, such as ``--server.port 8080``.

    Returns:
        The app's exit code. Where processes can be replaced, this one is, and nothing is returned.

    Raises:
        ConfigError: Streamlit is not installed.
    """
    if importlib.util.find_spec("streamlit") is None:
        raise ConfigError(f"the app needs Streamlit, which is not installed: {install_command('app')}")
    # -P keeps the working folder off the module search path: it may have a ui.py or an app.py of its own.
    command = [sys.executable, "-P", "-m", "streamlit", "run", str(PRODUCT / "app.py"), *arguments]
    if os.name == "posix":
        os.execv(command[0], command)  # so that signals to this process reach the app
    return subprocess.call(command)


def run_training(arguments: Sequence[str]) -> int:
    """Runs `train.py`.

    Args:
        arguments: Its options.

    Returns:
        Its exit code.
    """
    exit_code: int = runpy.run_path(str(PRODUCT / "train.py"))["main"](list(arguments))
    return exit_code
