"""A published model as one file that other programs run, in LiteRT's or in ONNX's format.

The file goes from RGB chips to what the networks say, and carries as JSON what makes an answer of that: the
calibration, the geometry of a chip, and what the model must not be used for. docs/export.md shows its use.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any, Final, Literal

import keras

from agegender.export import write_atomically
from agegender.faces.chip import CHIP_SIZE
from agegender.faces.crop import CHIP_LANDMARKS
from agegender.labels import AGE_BANDS
from agegender.models.conversion import INPUT, to_litert, to_onnx
from agegender.models.system import OUTPUTS, with_named_outputs
from agegender.models.trained import TrainedModel

Format = Literal["litert", "onnx"]

METADATA: Final = "agegender.json"
"""Name of the metadata: in ONNX of the entry in ``metadata_props``; in LiteRT of the file in the ZIP archive
at the end of the model, where LiteRT's metadata keeps associated files."""

_MEANINGS: Final = {
    "age_distribution": "probability of each year, 0 to 116, before calibration",
    "age_range": "probability of each of age_bands",
    "age": "years, before calibration",
    "female": "probability of female, before calibration",
}


def export_model(name: str, format: Format, path: Path, *, weights_dir: Path | None = None) -> dict[str, Any]:
    """Writes a published model as one file, weights in half precision.

    Args:
        name: The model.
        format: "litert" or "onnx".
        path: What to write; a file that is there is replaced.
        weights_dir: Where the models are.

    Returns:
        The metadata: ``input`` and ``outputs`` of the network, ``age_bands`` in years, the card's
        ``calibration``, ``intended_use``, ``limits`` and ``licence``, and what the model is.

    Raises:
        UnknownModelError: There is no such model.
        WeightsNotFoundError: It has not been published here.
        ModelError: Its files are damaged, or a weight does not fit half precision.
        ConfigError: The packages that write ONNX are not installed.
    """
    model = TrainedModel(name, weights_dir)
    network = _join(model)
    metadata = _metadata(model, network.output_names)
    text = json.dumps(metadata, indent=1)
    if format == "onnx":
        onnx_model = to_onnx(network)
        onnx_model.metadata_props.add(key=METADATA, value=text)
        content = onnx_model.SerializeToString()
    else:
        # A ZIP archive is read from its end, a LiteRT model from its beginning: one file can be both.
        stream = io.BytesIO(to_litert(network))
        with zipfile.ZipFile(stream, "a") as archive:
            archive.writestr(METADATA, text)
        content = stream.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
    return metadata


def _join(model: TrainedModel) -> keras.Model:
    """All networks of a model as one, outputs by name."""
    inputs = keras.Input((*model.input_size, 3), name=INPUT)
    outputs = {}
    for network in model.networks.values():
        for name, output in with_named_outputs(network)(inputs).items():
            outputs[name] = keras.layers.Identity(name=name)(output)  # converters name outputs by layers
    return keras.Model(inputs, {name: outputs[name] for name in OUTPUTS if name in outputs}, name=model.name)


def _metadata(model: TrainedModel, outputs: list[str]) -> dict[str, Any]:
    height, width = model.input_size
    card, margin = model.card, model.margin
    said = ("title", "published", "calibration", "intended_use", "limits", "licence")
    return {
        "name": model.name,
        "input": {
            "name": INPUT,
            "shape": ["n", height, width, 3],
            "dtype": "float32",
            "pixels": "RGB, 0 to 255; scaled down by averaging",
            "chip": {
                "size": CHIP_SIZE + 2 * margin,
                "landmarks": (CHIP_LANDMARKS + margin).round(2).tolist(),
                "meaning": "where the chip has left eye, right eye, nose, left and right corner of the mouth",
            },
        },
        "age_bands": [list(band) for band in AGE_BANDS],
        "outputs": {name: _MEANINGS[name] for name in outputs},
        **{key: card[key] for key in said if key in card},
    }
