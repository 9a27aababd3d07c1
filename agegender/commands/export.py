"""`python -m agegender export`: a model as one file for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agegender.commands import OK, prepare_outputs, say
from agegender.models.registry import DEFAULT_MODEL, model_spec

if TYPE_CHECKING:
    from agegender.publishing.exchange import Format


def run(model: str | None, *, format: Format, output: str) -> int:
    """Exports a model.

    Returns:
        0.

    Raises:
        ModelError: The model is unknown or not trained.
        ConfigError: The file cannot be written there, or the packages that write ONNX are not installed.
    """
    name = DEFAULT_MODEL if model is None else model
    model_spec(name)
    prepare_outputs({"--output": output})

    from agegender.publishing.exchange import export_model  # after the checks: it imports TensorFlow

    metadata = export_model(name, format, Path(output))
    megabytes = Path(output).stat().st_size / 1e6
    say(f"{output}: {name}, {megabytes:.1f} MB, from a chip to {', '.join(metadata['outputs'])}.")
    say("How to use it from Python, Android and a browser: docs/export.md")
    return OK
