"""The light form of a model: written from its Keras networks, proved against them, noted in its card."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf

from agegender.errors import ModelError
from agegender.faces.face import Face
from agegender.models.card import write_card
from agegender.models.conversion import to_litert
from agegender.models.engine import RawAnswers
from agegender.models.light import LightModel
from agegender.models.store import file_sha256
from agegender.models.system import with_named_outputs
from agegender.models.trained import TrainedModel
from agegender.progress import Progress
from agegender.publishing.answers import answer_files

MOST_YEARS: Final = 0.05
MOST_PROBABILITY: Final = 1e-3
"""A light form that differs by more from its Keras networks, on any chip, is not theirs. People are shown
whole years and probabilities of two digits."""


def write_light(
    model: TrainedModel,
    folder: Path,
    files: Sequence[Path],
    progress: Progress | None = None,
    *,
    faces: Sequence[Face | None] | None = None,
) -> dict[str, Any]:
    """Writes the light form of a model, once it is proved to answer as the Keras networks do.

    Args:
        model: The Keras networks.
        folder: Where the ``.tflite`` files go, one beside each weight file; those there are replaced.
        files: The pictures of the test split.
        faces: Where the face is in each; ``None`` for chips.
        progress: Called after each batch.

    Returns:
        What the card says of it: ``runtime``, ``converter``, the checksum of each of its ``files``, and the
        largest ``difference`` to the Keras networks over the test split, of ``age`` in years, of the other
        outputs in probability.

    Raises:
        ModelError: It differs by more than `MOST_YEARS` or `MOST_PROBABILITY`; nothing is written then.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".light-") as staging:
        made = Path(staging) / model.name
        made.mkdir()
        digests = {}
        for task, network in model.networks.items():
            path = made / f"{task}.tflite"
            path.write_bytes(to_litert(with_named_outputs(network)))
            digests[path.name] = file_sha256(path)
        light = {"runtime": "LiteRT", "converter": f"tensorflow {tf.__version__}", "files": digests}
        write_card(made, {**model.card, "light": light})
        engines = (model, LightModel(model.name, Path(staging)))
        answers = [
            answer_files(one, files, progress, f"Asking {one.runtime}", faces=faces) for one in engines
        ]
        difference = _largest_difference(*answers)
        for output, most in difference.items():
            if not most <= (MOST_YEARS if output == "age" else MOST_PROBABILITY):
                raise ModelError(
                    f"the light form of {model.name!r} differs from its Keras networks by up to {most:.2g} "
                    f"in {output}: nothing was written"
                )
        for file in digests:
            (made / file).replace(folder / file)
    return {**light, "difference": {"split": "test", "n": len(files), **difference}}


def _largest_difference(one: RawAnswers, other: RawAnswers) -> dict[str, float]:
    found = {}
    for output in ("age", "age_distribution", "female", "age_range"):
        a, b = getattr(one, output), getattr(other, output)
        if a is not None:
            found[output] = float(f"{np.abs(a - b).max():.2g}")
    return found
