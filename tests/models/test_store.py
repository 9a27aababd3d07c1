"""Weight files: half precision, checksums, and refusals that name the file."""

from __future__ import annotations

import hashlib

import h5py
import keras
import numpy as np
import pytest

from agegender.errors import ModelError, WeightsNotFoundError
from agegender.models.store import file_sha256, load_weights, save_float16


def network(units: int = 4) -> keras.Sequential:
    return keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(units), keras.layers.Dropout(0.5), keras.layers.Dense(1)]
    )


def datasets(path) -> list[h5py.Dataset]:
    found = []
    with h5py.File(path) as file:
        file.visititems(lambda _, item: found.append(item[()]) if isinstance(item, h5py.Dataset) else None)
    return found


def test_the_checksum_is_that_of_the_bytes(tmp_path):
    (tmp_path / "file").write_bytes(b"some bytes")
    assert file_sha256(tmp_path / "file") == hashlib.sha256(b"some bytes").hexdigest()


def test_weights_are_stored_in_half_precision_and_come_back(tmp_path):
    model, path = network(), tmp_path / "deep" / "m.weights.h5"
    save_float16(model, path)
    assert {values.dtype for values in datasets(path) if values.dtype.kind == "f"} == {np.dtype(np.float16)}
    again = network()
    load_weights(again, path, sha256=file_sha256(path))
    for old, new in zip(model.get_weights(), again.get_weights(), strict=True):
        assert new == pytest.approx(old, abs=1e-3)
        assert new.dtype == np.float32


def test_saving_leaves_nothing_but_the_file(tmp_path):
    save_float16(network(), tmp_path / "m.weights.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["m.weights.h5"]


@pytest.mark.parametrize("value", [1e6, float("nan"), float("-inf")])
def test_weights_that_do_not_fit_are_refused_and_the_old_file_stays(tmp_path, value):
    model, path = network(), tmp_path / "m.weights.h5"
    save_float16(model, path)
    before = path.read_bytes()
    model.layers[0].bias.assign(np.full(4, value))
    with pytest.raises(ModelError, match="half precision"):
        save_float16(model, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.weights.h5"]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsNotFoundError, match=r"gone\.weights\.h5"):
        load_weights(network(), tmp_path / "gone.weights.h5")


def test_a_replaced_file_is_refused(tmp_path):
    path = tmp_path / "m.weights.h5"
    save_float16(network(), path)
    checksum = file_sha256(path)
    save_float16(network(), path)
    with pytest.raises(ModelError, match="SHA-256"):
        load_weights(network(), path, sha256=checksum)


def test_a_file_that_is_no_weight_file_is_refused(tmp_path):
    path = tmp_path / "m.weights.h5"
    path.write_bytes(b"not HDF5 at all")
    with pytest.raises(ModelError, match=r"m\.weights\.h5"):
        load_weights(network(), path)


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "m.weights.h5"
    save_float16(network(), path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ModelError, match=r"m\.weights\.h5"):
        load_weights(network(), path)


def test_another_network_s_weights_are_refused(tmp_path):
    path = tmp_path / "m.weights.h5"
    save_float16(network(units=5), path)
    with pytest.raises(ModelError, match=r"m\.weights\.h5"):
        load_weights(network(units=4), path)
