"""Backbones by name: convolutional networks without their tops, from pixels to one feature vector.

A backbone is built untrained (`Backbone.build` reads no file) and takes RGB pixels from 0 to 255: its own
preprocessing is its first layer. `load_base_weights` then fills in what another task, best of all face
recognition, has taught such a network.

Keras is imported only to build or to fill: which backbones there are must not wait for TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from agegender.errors import ConfigError
from agegender.models.card import find_model

if TYPE_CHECKING:
    import keras

MOBILENET_BASE: Final = "mobilenet-vggface2"
"""Name of the base that models start from; it has a folder and a card as models do."""

BASE_FILE: Final = "base.weights.h5"

IMAGENET_CAFFE_MEAN: Final = (103.939, 116.779, 123.68)
VGGFACE_MEAN: Final = (93.5940, 104.7624, 129.1863)
"""keras-vggface's preprocessing version 1, which belongs to its VGG16 (blue, green, red)."""

_MOBILENET_BLOCKS: Final = (
    # (filters, stride) of the thirteen depthwise-separable blocks: MobileNet v1, Howard et al. 2017, table 1
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1)),
)


@dataclass(frozen=True)
class Backbone:
    """A network without its top.

    Attributes:
        name: What options and cards call it.
        build: ``(input_size) -> keras.Model`` from RGB (batch, height, width, 3), 0 to 255, to features
            (batch, n); untrained, reads no file.
        input_size: The default (height, width) in pixels.
        blocks: Names of the layers that begin each block from the input up, for gradual unfreezing.
        bases: The weights it can start from by name, its usual ones first. Each is a function that fills
            the built backbone and returns what the weights are and which file they came from.
    """

    name: str
    build: Callable[[tuple[int, int]], keras.Model]
    input_size: tuple[int, int]
    blocks: tuple[str, ...]
    bases: Mapping[str, Callable[[keras.Model], str]]


def build_mobilenet(input_size: tuple[int, int]) -> keras.Model:
    """MobileNet v1 at width 1 with its batch normalisation folded into the convolutions.

    Folded, it has one operation less a layer at inference, and fine-tuning in small batches cannot drift
    from batch statistics.

    Args:
        input_size: (height, width) in pixels, multiples of 32: only there is TensorFlow's "same" padding
            the ((0, 1), (0, 1)) that the original was trained with.

    Returns:
        RGB (batch, height, width, 3), 0 to 255, to features (batch, 1024). Untrained.

    Raises:
        ConfigError: The size is not a multiple of 32.
    """
    if any(side < 32 or side % 32 for side in input_size):
        raise ConfigError(f"mobilenet takes multiples of 32 pixels, not {input_size[0]}x{input_size[1]}")
    import keras

    from agegender.models.layers import MeanSubtraction

    layers = keras.layers
    inputs = keras.Input((*input_size, 3), name="rgb")
    x = MeanSubtraction(IMAGENET_CAFFE_MEAN, name="mean_subtraction")(inputs)
    x = layers.Conv2D(32, 3, strides=2, padding="same", name="conv1")(x)
    x = layers.ReLU(6.0, name="conv1_relu")(x)
    for i, (filters, stride) in enumerate(_MOBILENET_BLOCKS, start=1):
        x = layers.DepthwiseConv2D(3, strides=stride, padding="same", name=f"conv_dw_{i}")(x)
        x = layers.ReLU(6.0, name=f"conv_dw_{i}_relu")(x)
        x = layers.Conv2D(filters, 1, name=f"conv_pw_{i}")(x)
        x = layers.ReLU(6.0, name=f"conv_pw_{i}_relu")(x)
    outputs = layers.GlobalAveragePooling2D(name="global_pooling")(x)
    return keras.Model(inputs, outputs, name="mobilenet")


def build_vgg16(input_size: tuple[int, int]) -> keras.Model:
    """keras-vggface's VGG16 without its top, behind its own preprocessing.

    Args:
        input_size: (height, width) in pixels, at least 48 each.

    Returns:
        RGB (batch, height, width, 3), 0 to 255, to features (batch, 512). Untrained.

    Raises:
        ConfigError: The size is under 48 pixels.
    """
    if min(input_size) < 48:
        raise ConfigError(f"vgg16 takes at least 48x48 pixels, not {input_size[0]}x{input_size[1]}")
    import keras

    from agegender.models.keras_vggface_adapter import import_vggface
    from agegender.models.layers import MeanSubtraction

    network = import_vggface()(
        model="vgg16", include_top=False, weights=None, input_shape=(*input_size, 3), pooling="avg"
    )
    inputs = keras.Input((*input_size, 3), name="rgb")
    x = MeanSubtraction(VGGFACE_MEAN, name="mean_subtraction")(inputs)
    for layer in network.layers[1:]:
        x = layer(x)
    return keras.Model(inputs, x, name="vgg16")


def _build_resnet18(input_size: tuple[int, int]) -> keras.Model:
    from agegender.models.resnet18 import build_resnet18

    return build_resnet18(input_size)


def _load_imagenet(model: keras.Model) -> str:
    from agegender.models.resnet18 import load_imagenet

    return load_imagenet(model)


def _load_vggface2(model: keras.Model) -> str:
    from agegender.models.store import load_weights

    load_weights(model, find_model(MOBILENET_BASE) / BASE_FILE)
    return f"MobileNet, face recognition on VGGFace2 ({BASE_FILE})"


def _load_vggface(model: keras.Model) -> str:
    from agegender.models.keras_vggface_adapter import vgg16_weights_file
    from agegender.models.store import load_legacy_weights

    path = vgg16_weights_file()
    load_legacy_weights(model, path)
    return f"keras-vggface's VGG16, face recognition on VGGFace ({path.name})"


def _load_hed(model: keras.Model) -> str:
    from agegender.models.hed import hed_origin, hed_weights_file, load_hed

    path = hed_weights_file()
    load_hed(model, path)
    return f"{hed_origin()} ({path.name})"


BACKBONES: Final[Mapping[str, Backbone]] = MappingProxyType(
    {
        "mobilenet": Backbone(
            "mobilenet",
            build_mobilenet,
            (160, 160),
            ("conv1", *(f"conv_dw_{i}" for i in range(1, 14))),
            MappingProxyType({"vggface2": _load_vggface2}),
        ),
        "vgg16": Backbone(
            "vgg16",
            build_vgg16,
            (128, 128),
            tuple(f"conv{i}_1" for i in range(1, 6)),
            MappingProxyType({"vggface": _load_vggface, "hed": _load_hed}),
        ),
        "resnet18": Backbone(
            "resnet18",
            _build_resnet18,
            (96, 96),
            # The stem and the four stacks, which torchvision calls layer1 to layer4.
            (
                "conv1_conv",
                "stack0_block0_1_conv",
                *(f"stack{stack}_block0_1_pad" for stack in (1, 2, 3)),
            ),
            MappingProxyType({"imagenet": _load_imagenet}),
        ),
    }
)


def get_backbone(name: str) -> Backbone:
    """Looks a backbone up.

    Raises:
        ConfigError: No backbone has that name.
    """
    try:
        return BACKBONES[name]
    except KeyError:
        raise ConfigError(f"unknown backbone {name!r}; there are {', '.join(BACKBONES)}") from None


def load_base_weights(model: keras.Model, backbone: str, base: str | Path | None = None) -> str:
    """Fills a freshly built backbone with weights to start from.

    Args:
        model: What ``Backbone.build`` returned.
        backbone: Its name.
        base: One of the backbone's ``bases``; "default", or ``None``, for the first of them; "none" leaves
            the model as it is; anything else is the path of a weight file, ``.weights.h5`` as this project
            writes it, or a legacy ``.h5`` whose layers have the backbone's names, as keras-vggface's do.

    Returns:
        What the weights are and where they came from, for run records and cards.

    Raises:
        ConfigError: ``base`` is neither a name this backbone knows nor that of an ``.h5`` file.
        WeightsNotFoundError: The file is not there, or cannot be downloaded; says what to put where.
        ModelError: The file is damaged, or is another network's.
    """
    bases = get_backbone(backbone).bases
    name = "default" if base is None else str(base)
    if name == "none":
        return "random"
    if name == "default":
        name = next(iter(bases))
    if name in bases:
        return bases[name](model)
    from agegender.models.store import file_sha256, load_legacy_weights, load_weights

    path = Path(name)
    if path.suffix != ".h5":
        known = ", ".join(("default", "none", *bases))
        raise ConfigError(f"base weights {name!r} of {backbone} are neither of {known} nor an .h5 file")
    if path.name.endswith(".weights.h5"):
        load_weights(model, path)
    else:
        load_legacy_weights(model, path)
    # Nobody knows what is in it but who made it: the checksum says which one it was.
    return f"weight file {path.name}, SHA-256 {file_sha256(path)}"
