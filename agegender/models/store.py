"""Weight files: Keras's own formats, in half precision, with checksums.

Half precision halves the repository and costs nothing measurable; Keras casts back to float32 as it
loads, so any Keras can read the files.

Networks that have layers in common, down to the last bit, can share them: then a file holds only what is a
network's own, and Keras's index of a sharded network (`.weights.json`) says which file has which layer.
HDF5's links between files would do too, but Keras refuses to follow them.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any, Final

import h5py
import keras
import numpy as np

from agegender.errors import ModelError, WeightsNotFoundError
from agegender.files import MALFORMED, read_json

INDEX_SUFFIX: Final = ".weights.json"


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, lower-case hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def save_float16(model: keras.Model, path: Path, share_with: Path | None = None) -> tuple[Path, ...]:
    """Writes a model's weights as float16 in a layout that plain Keras loads.

    Args:
        model: Any built model; values must lie within float16's range.
        path: Ends in ``.weights.h5``, or in ``.weights.json`` where ``share_with`` is given. What is there
            is replaced only once the new files are complete.
        share_with: A ``.weights.h5`` file of another network in the same folder, as this function wrote
            it. Layers that are bit-identical to those of the same path in it are not written again;
            ``path`` becomes an index that points there, and the rest goes into ``<name>_00000.weights.h5``.
            The index holds the checksums of both files: it no longer loads once either is replaced.

    Returns:
        The files that were written; the first is the one to load.

    Raises:
        ModelError: A weight is not finite in half precision, or ``share_with`` cannot be read.
        ValueError: ``path`` or ``share_with`` is not as described.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if share_with is not None:
        if not path.name.endswith(INDEX_SUFFIX) or path.parent.resolve() != share_with.parent.resolve():
            raise ValueError(f"{path} must be a {INDEX_SUFFIX} in the folder of {share_with}")
        if share_with.name == _own_file(path).name:
            raise ValueError(f"{path} would replace {share_with}, which it should share")
        _require(share_with)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        full, half = Path(folder) / "full.weights.h5", Path(folder) / "half.weights.h5"
        model.save_weights(full)
        with h5py.File(full) as source, h5py.File(half, "w") as target:
            _copy_as_float16(source, target)
        if share_with is None:
            half.replace(path)
            return (path,)
        return _write_sharing(half, path, share_with)


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


def _own_file(path: Path) -> Path:
    # Keras opens the shard of number 0 first, whatever the index says: it must be there, of this name.
    return path.with_name(path.name.removesuffix(INDEX_SUFFIX) + "_00000.weights.h5")


def _write_sharing(half: Path, path: Path, share_with: Path) -> tuple[Path, ...]:
    own = _own_file(path)
    weight_map: dict[str, str] = {}
    new_own, new_index = half.with_name("own.weights.h5"), half.with_name("index.json")
    try:
        with h5py.File(half) as source, h5py.File(share_with) as other, h5py.File(new_own, "w") as target:
            for name in _groups_of_weights(source):
                shared = _identical(source[name], other.get(name))
                weight_map[f"/{name}"] = share_with.name if shared else own.name
                if not shared:
                    source.copy(name, target.require_group(name.rpartition("/")[0] or "/"))
    except OSError as error:
        raise ModelError(f"{share_with} cannot be read: {error}") from error
    digests = {share_with.name: file_sha256(share_with), own.name: file_sha256(new_own)}
    metadata = {"total_size": half.stat().st_size, "sha256": digests}
    index = {"metadata": metadata, "weight_map": weight_map}
    new_index.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    new_own.replace(own)
    new_index.replace(path)
    return path, own


def _groups_of_weights(file: h5py.File) -> list[str]:
    """Paths of the groups that hold arrays; Keras's index is by these."""
    found: list[str] = []

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Group) and any(isinstance(x, h5py.Dataset) for x in item.values()):
            found.append(name)

    file.visititems(note)
    return found


def _identical(one: h5py.Group, other: Any) -> bool:
    if not isinstance(other, h5py.Group) or set(one) != set(other):
        return False
    return all(
        isinstance(other[key], h5py.Dataset)
        and (one[key].dtype, one[key].shape) == (other[key].dtype, other[key].shape)
        and one[key][()].tobytes() == other[key][()].tobytes()
        for key in one
    )


def load_weights(model: keras.Model, path: Path, *, sha256: str | None = None) -> None:
    """Fills a built model from a weight file.

    Args:
        model: Built with the same options as the one that was saved.
        path: A ``.weights.h5`` file of any float precision, or a ``.weights.json`` index of several in
            its folder, whose checksums, where the index holds them, are checked.
        sha256: The checksum the card states of ``path``; checked where given.

    Raises:
        WeightsNotFoundError: No such file, or one that the index names is not there.
        ModelError: A file is damaged, was replaced, or is another model's.
    """
    _require(path)
    if sha256 is not None and file_sha256(path) != sha256:
        raise ModelError(f"{path} is damaged or was replaced: its SHA-256 is not the one in its card")
    if path.suffix == ".json":
        _check_shards(path)
    try:
        model.load_weights(path)
    except (OSError, RuntimeError, *MALFORMED) as error:
        raise ModelError(f"{path} does not fit the model it should fill: {error}") from error


def _check_shards(path: Path) -> None:
    """Sees that every file an index names is there, as it was when the index was written."""
    try:
        index = read_json(path)
        digests: dict[str, str] = dict(index["metadata"].get("sha256", {}))
        parts = [part for value in index["weight_map"].values() for part in np.atleast_1d(value).tolist()]
        shards = {name: path.with_name(name) for name in sorted({*parts, *digests})}
        missing = [shard for shard in shards.values() if not shard.is_file()]
    except (OSError, *MALFORMED) as error:
        raise ModelError(f"{path} is not an index of weight files: {error!r}") from error
    for shard in missing:
        raise WeightsNotFoundError(f"{shard} is not there: {path.name} shares its weights")
    for name, shard in shards.items():
        if name in digests and file_sha256(shard) != digests[name]:
            raise ModelError(
                f"{shard} is damaged or was replaced: its SHA-256 is not the one in {path.name}, "
                "which shares its weights"
            )


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
    except (OSError, RuntimeError, *MALFORMED) as error:
        raise ModelError(f"{path} does not fit the model it should fill: {error}") from error


def _require(path: Path) -> None:
    if not path.is_file():
        raise WeightsNotFoundError(f"weight file {path} is not there")
