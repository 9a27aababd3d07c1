"""Where things are: what belongs to the product, and where goes what its users make.

In a checkout the app, the recipes and the models stand beside the package. A wheel holds the same files
inside of the package, in ``_product`` (see pyproject.toml), so that no ``app``, ``pages`` or ``ui`` lands at
the top level of an environment.

A model is looked for in these folders, one after the other:

1. the one that an argument names; then in no other,
2. the one that the environment variable ``AGEGENDER_WEIGHTS`` names,
3. ``weights/`` of the checkout; installed, ``~/.agegender/weights``,
4. installed, what the wheel holds: the default model and the base that training starts from.

A new model is published into the first of them. Records of training runs go to ``AGEGENDER_RUNS``, or to
``runs/`` of the checkout; installed, to ``~/.agegender/runs``: the same for the app and for training,
whatever folder they are started from.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

WEIGHTS_VARIABLE: Final = "AGEGENDER_WEIGHTS"
RUNS_VARIABLE: Final = "AGEGENDER_RUNS"

_PACKAGE: Final = Path(__file__).parent
_INSIDE: Final = _PACKAGE / "_product"

INSTALLED: Final = _INSIDE.is_dir()
"""Whether this is an installed package rather than a checkout."""

PRODUCT: Final = _INSIDE if INSTALLED else _PACKAGE.parent
"""The folder with ``app.py``, ``train.py``, ``recipes/`` and ``weights/``."""

SHIPPED_WEIGHTS: Final = PRODUCT / "weights"
"""The models that came with the product."""

TRAIN_COMMAND: Final = "agegender train" if INSTALLED else "python train.py"
"""How training is started."""


_IN_APP: Final = frozenset({"app", "train", "bulk", "serve", "video"})
"""Extras that a checkout's `requirements.txt` has."""


def install_command(extra: str) -> str:
    """How to install what a part of the work needs beyond predicting.

    Args:
        extra: One of the package's extras.
    """
    if INSTALLED:
        return f"pip install 'agegender[{extra}]'"
    return f"pip install -r requirements{'' if extra in _IN_APP else f'-{extra}'}.txt"


def weights_folders(weights_dir: str | os.PathLike[str] | None = None) -> tuple[Path, ...]:
    """The folders that models are looked for in.

    Args:
        weights_dir: The argument of whoever asks.

    Returns:
        They in the order above, whether they exist or not.
    """
    if weights_dir is not None:
        return (Path(weights_dir),)
    folders = (_named(WEIGHTS_VARIABLE), _own_folder() / "weights", SHIPPED_WEIGHTS)
    return tuple(dict.fromkeys(folder for folder in folders if folder is not None))


def runs_folder() -> Path:
    """The folder with a subfolder a training run."""
    return _named(RUNS_VARIABLE) or _own_folder() / "runs"


def _named(variable: str) -> Path | None:
    value = os.environ.get(variable, "").strip()
    return Path(value).expanduser().absolute() if value else None


def _own_folder() -> Path:
    """Where people's own models and runs are."""
    # Unlike Path.home, this does not fail for a process without a home, which may predict all the same.
    return Path(os.path.expanduser("~"), ".agegender") if INSTALLED else PRODUCT  # noqa: PTH111
