"""keras-vggface under Keras 3: it imports, leaves no trace, and says what to do without network."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from agegender.errors import AgeGenderError, WeightsNotFoundError
from agegender.models.backbones import build_vgg16, load_base_weights
from agegender.models.keras_vggface_adapter import VGG16_FILE, import_vggface, vgg16_weights_file

OLD_MODULES = ("keras.engine", "keras.engine.topology", "keras.utils.data_utils", "keras.utils.layer_utils")


@pytest.fixture
def unimported(monkeypatch):
    """keras-vggface as a fresh interpreter has it."""
    for name in [name for name in sys.modules if name.split(".")[0] == "keras_vggface"]:
        monkeypatch.delitem(sys.modules, name)


@pytest.fixture
def offline(monkeypatch, tmp_path) -> Path:
    """An empty Keras cache and a network that is down."""

    def fail(*_args, **_kwargs):
        raise OSError("URL fetch failure: no route to host")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(keras.utils, "get_file", fail)
    return tmp_path


@pytest.fixture(scope="module")
def vgg16() -> keras.Model:
    return build_vgg16((48, 48))


def write_legacy(path: Path, weights: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Path:
    """A legacy HDF5 weight file in the layout of Keras 1 and 2, which keras-vggface's download has."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in ("input_1", *weights)]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.0.8"
        file.create_group("input_1").attrs["weight_names"] = np.array([], dtype="S1")
        for layer, values in weights.items():
            group = file.create_group(layer)
            names = [f"{layer}/{kind}:0" for kind in ("kernel", "bias")]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, value in zip(names, values, strict=True):
                group.create_dataset(name, data=value, compression="gzip", compression_opts=1)
    return path


def numbered(model: keras.Model) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each layer, in order, a kernel full of its number and a bias full of minus its number."""
    return {
        layer.name: (np.full(layer.kernel.shape, i, np.float32), np.full(layer.bias.shape, -i, np.float32))
        for i, layer in enumerate((layer for layer in model.layers if layer.weights), start=1)
    }


def test_it_imports_and_builds_what_the_backbone_needs(unimported):
    network = import_vggface()(
        model="vgg16", include_top=False, weights=None, input_shape=(48, 48, 3), pooling="avg"
    )
    assert network.output_shape == (None, 512)
    assert {"conv1_1", "conv3_3", "conv5_3"} <= {layer.name for layer in network.layers}


def test_importing_leaves_keras_as_it_was(unimported):
    modules, attributes = set(sys.modules), dict(vars(keras.utils))
    import_vggface()
    added = {name.split(".")[0] for name in set(sys.modules) - modules}
    assert added <= {"keras_vggface", "keras_applications", "six", "yaml"}
    assert not set(OLD_MODULES) & set(sys.modules)
    assert dict(vars(keras.utils)) == attributes
    assert not hasattr(keras, "engine")


def test_a_failed_import_leaves_keras_as_it_was_and_says_what_to_install(unimported, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_vggface", None)
    attributes = dict(vars(keras.utils))
    with pytest.raises(WeightsNotFoundError, match=r"keras-vggface.*requirements\.txt"):
        import_vggface()
    assert not set(OLD_MODULES) & set(sys.modules)
    assert dict(vars(keras.utils)) == attributes


def test_modules_that_are_there_already_stay(unimported, monkeypatch):
    """Another package may have supplied the same names for itself."""
    mine = type(sys)("keras.engine")
    monkeypatch.setitem(sys.modules, "keras.engine", mine)
    import_vggface()
    assert sys.modules["keras.engine"] is mine


def test_threads_may_import_at_once(unimported):
    with ThreadPoolExecutor(6) as pool:
        functions = list(pool.map(lambda _: import_vggface(), range(12)))
    assert len(set(functions)) == 1


def test_without_network_the_error_says_which_file_goes_where(offline):
    with pytest.raises(WeightsNotFoundError) as caught:
        vgg16_weights_file()
    message = str(caught.value)
    assert VGG16_FILE in message
    assert str(offline / "models" / "vggface" / VGG16_FILE) in message
    assert "https://" in message
    assert "no route to host" in message
    assert "mobilenet" in message


def test_loading_base_weights_without_network_fails_the_same_way(offline, vgg16):
    with pytest.raises(WeightsNotFoundError, match="mobilenet"):
        load_base_weights(vgg16, "vgg16")


def test_a_file_that_was_put_there_by_hand_is_used_without_network(offline, vgg16):
    path = offline / "models" / "vggface" / VGG16_FILE
    path.parent.mkdir(parents=True)
    write_legacy(path, numbered(vgg16))
    assert vgg16_weights_file() == path
    for base in ("default", "vggface"):
        source = load_base_weights(vgg16, "vgg16", base)
        assert VGG16_FILE in source
        assert "face recognition on VGGFace" in source


def test_with_network_the_file_is_fetched_to_where_it_is_looked_for(monkeypatch, tmp_path):
    asked = {}

    def fetch(name, origin, *, cache_subdir, cache_dir):
        asked.update(name=name, origin=origin)
        path = Path(cache_dir) / cache_subdir / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"fetched")
        return str(path)

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(keras.utils, "get_file", fetch)
    assert vgg16_weights_file().read_bytes() == b"fetched"
    assert asked["name"] == VGG16_FILE
    assert asked["origin"].endswith(VGG16_FILE)


def test_the_legacy_file_fills_every_layer_by_name(vgg16, tmp_path):
    weights = numbered(vgg16)
    assert len(weights) == 13
    # The order in the file is not the order in the network: names decide.
    load_base_weights(vgg16, "vgg16", write_legacy(tmp_path / "legacy.h5", dict(reversed(weights.items()))))
    for name, (kernel, bias) in weights.items():
        layer = vgg16.get_layer(name)
        assert np.array_equal(layer.kernel.numpy(), kernel), name
        assert np.array_equal(layer.bias.numpy(), bias), name


WRONG = {
    # Keras's own ImageNet VGG16 names its layers so.
    "other names": {"block1_conv1": (np.ones((3, 3, 3, 64), np.float32), np.ones(64, np.float32))},
    "one layer only": {"conv1_1": (np.ones((3, 3, 3, 64), np.float32), np.ones(64, np.float32))},
    "other shapes": {"conv1_1": (np.ones((5, 5, 3, 64), np.float32), np.ones(64, np.float32))},
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_of_another_network_is_refused(case, vgg16, tmp_path):
    path = write_legacy(tmp_path / "wrong.h5", WRONG[case])
    with pytest.raises(AgeGenderError, match=r"wrong\.h5"):
        load_base_weights(build_vgg16((48, 48)), "vgg16", path)


def test_loading_the_same_file_again_is_fine(vgg16, tmp_path):
    path = write_legacy(tmp_path / "legacy.h5", numbered(vgg16))
    load_base_weights(vgg16, "vgg16", path)
    load_base_weights(vgg16, "vgg16", path)
