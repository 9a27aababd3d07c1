"""Weight files: Keras's own `.weights.h5`, in half precision, with checksums.

Half precision halves the repository and costs nothing measurable; Keras casts back to float32 as it
loads, so any Keras can read the files.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import h5py
import keras
import numpy as np

from agegender.errors import ModelError, WeightsNotFoundError


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, lower-case hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def save_float16(model: keras.Model, path: Path) -> None:
    """Writes a model's weights as float16 in Keras's `.weights.h5` layout.

    Args:
        model: Any built model; values must lie within float16's range.
        path: Ends in ``.weights.h5``; replaced only once the new file is complete.

    Raises:
        ModelError: A weight is not finite in half precision.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        full, half = Path(folder) / "full.weights.h5", Path(folder) / "half.weights.h5"
        model.save_weights(full)
        with h5py.File(full) as source, h5py.File(half, "w") as target:
            _copy_as_float16(source, target)
        half.replace(path)


def _copy_as_float16(source: h5py.Group, target: h5py.Group) -> None:
    for key, value in source.attrs.items():
        target.attrs[key] = value
    for name, item in source.items():
        if isinstance(item, h5py.Group):
            _copy_as_float16(item, target.create_group(name))
            continue
        values = item[()]
        if values.dtype == np.float32:
            with np.errstate(over="ignore"):
                values = values.astype(np.float16)
            if not np.isfinite(values).all():
                raise ModelError(f"weight {item.name} does not fit half precision")
        target.create_dataset(name, data=values)


def load_weights(model: keras.Model, path: Path, *, sha256: str | None = None) -> None:
    """Fills a built model from a weight file.

    Args:
        model: Built with the same options as the one that was saved.
        path: A `.weights.h5` file of any float precision.
        sha256: The checksum the card states; checked where given.

    Raises:
        WeightsNotFoundError: No such file.
        ModelError: The file is damaged, or is another model's.
    """
    _require(path)
    if sha256 is not None and file_sha256(path) != sha256:
        raise ModelError(f"{path} is damaged or was replaced: its SHA-256 is not the one in its card")
    try:
        model.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise ModelError(f"{path} does not fit the model it should fill: {error}") from error


def load_legacy_weights(model: keras.Model, path: Path) -> None:
    """Fills a model from an ``.h5`` file of Keras 2, layer by layer name.

    Args:
        model: Built; every layer of it that has weights must be in the file.
        path: The file, whole model or weights only.

    Raises:
        WeightsNotFoundError: No such file.
        ModelError: The file is damaged, lacks a layer, or holds other shapes.
    """
    _require(path)
    try:
        with h5py.File(path) as file:
            names = file.attrs.get(
                "layer_names", file.get("model_weights", file).attrs.get("layer_names", ())
            )
            held = {name.decode() if isinstance(name, bytes) else str(name) for name in names}
        # Keras passes silently over every layer that the file does not hold.
        missing = sorted(layer.name for layer in model.layers if layer.weights and layer.name not in held)
        if missing:
            raise ModelError(f"{path} lacks the layers {', '.join(missing)}: it is another network's")
        model.load_weights(path, by_name=True)
    except (ValueError, OSError, KeyError) as error:
        raise ModelError(f"{path} does not fit the model it should fill: {error}") from error


def _require(path: Path) -> None:
    if not path.is_file():
        raise WeightsNotFoundError(f"weight file {path} is not there")
