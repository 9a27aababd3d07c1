"""Weight files: half precision, checksums, and refusals that name the file."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import warnings
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from agegender.errors import ModelError, WeightsNotFoundError
from agegender.models.store import file_sha256, load_legacy_weights, load_weights, save_float16


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


class Hostile:
    """Makes a file where it is unpickled."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.made,)


def test_loading_weights_executes_nothing(tmp_path):
    made = tmp_path / "made"
    pickled, arrays = tmp_path / "pickled.weights.h5", tmp_path / "arrays.weights.h5"
    pickled.write_bytes(pickle.dumps(Hostile(made)))
    with arrays.open("wb") as file:
        np.savez(file, np.array([Hostile(made)], dtype=object))
    for path in (pickled, arrays):
        with pytest.raises(ModelError, match=path.name):
            load_weights(network(), path)
        with pytest.raises(ModelError, match=path.name):
            load_legacy_weights(network(), path)
    assert not made.exists()
    # A whole model, whose description has code in a layer: its weights are read, its description is not.
    whole = keras.Sequential(
        [*network().layers, keras.layers.Lambda(lambda x, path=str(made): (Path(path).touch(), x)[1])]
    )
    legacy = tmp_path / "whole.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole.build((None, 6))
        made.unlink(missing_ok=True)
        whole.save(legacy)
    with h5py.File(legacy) as file:
        assert "Lambda" in file.attrs["model_config"]
    again = keras.Sequential(
        [keras.Input((6,)), *(type(layer).from_config(layer.get_config()) for layer in whole.layers[:-1])]
    )
    load_legacy_weights(again, legacy)
    assert_same(whole, again)
    assert not made.exists()


def test_an_index_names_nothing_outside_of_its_folder(tmp_path):
    save_float16(network(), tmp_path / "m.weights.h5")
    folder = tmp_path / "weights"
    folder.mkdir()
    index = {"metadata": {}, "weight_map": {"/layers/dense/vars": ["../m.weights.h5"]}}
    (folder / "m.weights.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="not an index"):
        load_weights(network(), folder / "m.weights.json")


# Two networks that share layers


def pair() -> tuple[keras.Sequential, keras.Sequential]:
    """Two heads on equal backbones, whose second convolution has learned something of its own."""
    networks = []
    for units in (3, 1):
        inputs = keras.Input((8, 8, 3))
        x = keras.layers.Conv2D(40, 3, name="conv1")(inputs)
        x = keras.layers.MaxPooling2D()(x)
        x = keras.layers.Conv2D(8, 3, name="conv2")(x)
        backbone = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x), name="backbone")
        head = [keras.layers.Dropout(0.5), keras.layers.Dense(units)]
        networks.append(keras.Sequential([keras.Input((8, 8, 3)), backbone, *head]))
    first, second = networks
    second.layers[0].set_weights(first.layers[0].get_weights())
    second.layers[0].get_layer("conv2").kernel.assign_add(np.full((3, 3, 40, 8), 0.1))
    return first, second


@pytest.fixture
def shared(tmp_path) -> tuple[Path, keras.Sequential, keras.Sequential]:
    """A folder with ``age.weights.h5`` and ``gender.weights.json``, and the networks in them."""
    first, second = pair()
    folder = tmp_path / "weights"
    save_float16(first, folder / "age.weights.h5")
    save_float16(second, folder / "gender.weights.json", share_with=folder / "age.weights.h5")
    return folder, first, second


def assert_same(one: keras.Model, other: keras.Model) -> None:
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        assert b == pytest.approx(a, abs=1e-3)


@pytest.mark.parametrize("load", [load_weights, lambda model, path: model.load_weights(path)])
def test_sharing_files_load_here_and_in_plain_keras_wherever_they_lie(shared, load, tmp_path, monkeypatch):
    folder, first, second = shared
    moved = folder.rename(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    for path in (moved, Path("elsewhere")):
        again, other = pair()
        load(again, path / "age.weights.h5")
        load(other, path / "gender.weights.json")
        assert_same(first, again)
        assert_same(second, other)


def test_only_layers_that_differ_are_written_again(shared):
    folder, _, second = shared
    own = sorted(
        values.size for values in datasets(folder / "gender_00000.weights.h5") if values.dtype == "f2"
    )
    assert own == sorted(
        weight.size
        for layer in (second.layers[0].get_layer("conv2"), second.layers[-1])
        for weight in layer.get_weights()
    )


def test_a_bit_makes_a_layer_another(tmp_path):
    first, _ = pair()
    # Equal as numbers, not as bits.
    first.layers[-1].bias.assign(np.zeros(3))
    third = keras.models.clone_model(first)
    third.set_weights(first.get_weights())
    third.layers[-1].bias.assign(np.full(3, -0.0))
    save_float16(first, tmp_path / "a.weights.h5")
    files = save_float16(third, tmp_path / "b.weights.json", share_with=tmp_path / "a.weights.h5")
    assert files == (tmp_path / "b.weights.json", tmp_path / "b_00000.weights.h5")
    held = [values.shape for values in datasets(files[1]) if values.dtype == "f2"]
    assert sorted(held) == [(3,), (8, 3)]


def test_networks_with_nothing_in_common_load_too(tmp_path):
    first, second = network(4), network(5)
    save_float16(first, tmp_path / "a.weights.h5")
    save_float16(second, tmp_path / "b.weights.json", share_with=tmp_path / "a.weights.h5")
    again = network(5)
    load_weights(again, tmp_path / "b.weights.json")
    assert_same(second, again)


def test_sharing_leaves_nothing_but_its_files(shared):
    names = sorted(path.name for path in shared[0].iterdir())
    assert names == ["age.weights.h5", "gender.weights.json", "gender_00000.weights.h5"]


@pytest.mark.parametrize("name", ["age.weights.h5", "gender_00000.weights.h5"])
def test_a_part_that_is_missing_is_named_though_the_working_directory_has_one(shared, name, monkeypatch):
    folder = shared[0]
    shutil.copytree(folder, folder.parent / "copy")
    monkeypatch.chdir(folder.parent / "copy")
    (folder / name).unlink()
    with pytest.raises(WeightsNotFoundError, match=rf"weights.{name}.*gender\.weights\.json"):
        load_weights(pair()[1], folder / "gender.weights.json")


@pytest.mark.parametrize("name", ["age.weights.h5", "gender_00000.weights.h5"])
def test_a_part_that_is_damaged_or_replaced_is_named(shared, name):
    folder = shared[0]
    path, index = folder / name, folder / "gender.weights.json"
    checksum = file_sha256(index)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(ModelError, match=rf"{name} is damaged or was replaced"):
        load_weights(pair()[1], index, sha256=checksum)
    save_float16(pair()[0], path)
    with pytest.raises(ModelError, match=rf"{name} is damaged or was replaced"):
        load_weights(pair()[1], index, sha256=checksum)


@pytest.mark.filterwarnings("ignore:Skipping nested container")
@pytest.mark.parametrize(
    "text",
    [
        "not JSON",
        "[]",
        "{}",
        '{"metadata": {}, "weight_map": {"/vars": "../age.weights.h5"}}',
        '{"metadata": {}, "weight_map": {"/vars": 3}}',
        '{"metadata": {"sha256": 3}, "weight_map": {}}',
        '{"metadata": {}, "weight_map": {"/layers/dense/vars": "age.weights.h5"}}',
    ],
)
def test_an_index_that_is_none_is_refused(shared, text):
    index = shared[0] / "gender.weights.json"
    index.write_text(text)
    with pytest.raises(ModelError, match=r"gender\.weights\.json"):
        load_weights(pair()[1], index)


def test_the_card_s_checksum_of_the_index_covers_every_part(shared):
    folder = shared[0]
    digests = json.loads((folder / "gender.weights.json").read_text())["metadata"]["sha256"]
    assert digests == {name: file_sha256(folder / name) for name in digests}
    assert set(digests) == {"age.weights.h5", "gender_00000.weights.h5"}


def test_an_index_that_keras_wrote_is_read(tmp_path):
    model, again = network(), network()
    model.save_weights(tmp_path / "m.weights.json", max_shard_size=1e-7)
    load_weights(again, tmp_path / "m.weights.json")
    assert_same(model, again)


def test_a_network_cannot_share_with_what_is_not_there_or_elsewhere_or_replaced(tmp_path):
    model = network()
    save_float16(model, tmp_path / "a.weights.h5")
    with pytest.raises(WeightsNotFoundError, match=r"gone\.weights\.h5"):
        save_float16(model, tmp_path / "b.weights.json", share_with=tmp_path / "gone.weights.h5")
    with pytest.raises(ValueError, match="in the folder of"):
        save_float16(model, tmp_path / "deep" / "b.weights.json", share_with=tmp_path / "a.weights.h5")
    with pytest.raises(ValueError, match=r"\.weights\.json"):
        save_float16(model, tmp_path / "b.weights.h5", share_with=tmp_path / "a.weights.h5")
    save_float16(model, tmp_path / "c_00000.weights.h5")
    with pytest.raises(ValueError, match="would replace"):
        save_float16(model, tmp_path / "c.weights.json", share_with=tmp_path / "c_00000.weights.h5")
    (tmp_path / "d.weights.h5").write_bytes(b"not HDF5 at all")
    with pytest.raises(ModelError, match=r"d\.weights\.h5 cannot be read"):
        save_float16(model, tmp_path / "b.weights.json", share_with=tmp_path / "d.weights.h5")
    assert not (tmp_path / "b.weights.json").exists()
