"""ResNet18 (He et al., "Deep Residual Learning for Image Recognition", 2015) and its ImageNet weights.

Geometry and layer names are KerasHub's ``ResNetBackbone``, which are torchvision's with other names, so that
KerasHub's presets fit as they are.
"""

from __future__ import annotations

from typing import Any, Final

import keras

from agegender.errors import ConfigError, ModelError, WeightsNotFoundError

IMAGENET_PRESET: Final = "resnet_18_imagenet"
"""KerasHub's name of timm's ResNet18, 11.2 million parameters, Apache-2.0."""

_IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION: Final = (0.229, 0.224, 0.225)
_STACK_FILTERS: Final = (64, 128, 256, 512)
_BLOCKS_A_STACK: Final = 2
_SMALLEST: Final = 32


def build_resnet18(input_size: tuple[int, int]) -> keras.Model:
    """ResNet18 without its top.

    Args:
        input_size: (height, width) in pixels, at least 32 each.

    Returns:
        RGB (batch, height, width, 3), 0 to 255, to features (batch, 512). Untrained.

    Raises:
        ConfigError: The size is under 32 pixels.
    """
    if min(input_size) < _SMALLEST:
        raise ConfigError(f"resnet18 takes at least 32x32 pixels, not {input_size[0]}x{input_size[1]}")
    layers = keras.layers
    inputs = keras.Input((*input_size, 3), name="rgb")
    x = layers.Rescaling(
        [1 / (255 * deviation) for deviation in _IMAGENET_DEVIATION],
        offset=[-mean / dev for mean, dev in zip(_IMAGENET_MEAN, _IMAGENET_DEVIATION, strict=True)],
        name="normalization",
    )(inputs)
    # Explicit padding: at stride 2 TensorFlow's "same" would shift the map against PyTorch's by a pixel.
    x = layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = _convolution(x, 64, 7, stride=2, name="conv1")
    x = layers.ReLU(name="conv1_relu")(x)
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for stack, filters in enumerate(_STACK_FILTERS):
        for block in range(_BLOCKS_A_STACK):
            stride = 2 if stack > 0 and block == 0 else 1
            x = _basic_block(x, filters, stride=stride, name=f"stack{stack}_block{block}")
    outputs = layers.GlobalAveragePooling2D(name="global_pooling")(x)
    return keras.Model(inputs, outputs, name="resnet18")


def _basic_block(x: Any, filters: int, *, stride: int, name: str) -> Any:
    shortcut = x
    if stride > 1:
        shortcut = _convolution(x, filters, 1, stride=stride, name=f"{name}_0")
        x = keras.layers.ZeroPadding2D(1, name=f"{name}_1_pad")(x)
    x = _convolution(x, filters, 3, stride=stride, name=f"{name}_1")
    x = keras.layers.ReLU(name=f"{name}_1_relu")(x)
    x = _convolution(x, filters, 3, stride=1, name=f"{name}_2")
    x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
    return keras.layers.ReLU(name=f"{name}_out")(x)


def _convolution(x: Any, filters: int, kernel: int, *, stride: int, name: str) -> Any:
    """Convolution and batch normalisation, as ``{name}_conv`` and ``{name}_bn``; padded before if strided."""
    x = keras.layers.Conv2D(
        filters,
        kernel,
        strides=stride,
        padding="same" if stride == 1 else "valid",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_bn")(x)


def load_imagenet(model: keras.Model) -> str:
    """Fills a ResNet18 with the ImageNet weights that KerasHub has or downloads.

    Without KerasHub, its preset's ``model.weights.h5`` does as a weight file too: the layout is the same.

    Args:
        model: What `build_resnet18` returned.

    Returns:
        Where the weights came from, for the run record.

    Raises:
        WeightsNotFoundError: KerasHub is not installed, or neither has the preset nor a network.
        ModelError: The preset is another network's.
    """
    try:
        from keras_hub.models import ResNetBackbone  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise WeightsNotFoundError(_how_to_get_them("KerasHub is not installed")) from error
    try:
        source = ResNetBackbone.from_preset(IMAGENET_PRESET)
    except (OSError, ValueError) as error:
        raise WeightsNotFoundError(_how_to_get_them(f"KerasHub has none ({error})")) from error
    copy_weights(source, model)
    return f"ResNet18, ImageNet (KerasHub preset {IMAGENET_PRESET})"


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copies the weights of all of a network's layers from another's of the same names.

    Raises:
        ModelError: A layer is missing in the source, or has other shapes.
    """
    given = {layer.name: layer.get_weights() for layer in source.layers}
    for layer in target.layers:
        if not layer.weights:
            continue
        weights = given.get(layer.name, [])
        if [w.shape for w in weights] != [tuple(w.shape) for w in layer.weights]:
            raise ModelError(f"{source.name} is another network: its layer {layer.name} does not fit")
        layer.set_weights(weights)


def _how_to_get_them(problem: str) -> str:
    return (
        f"no ImageNet weights for resnet18: {problem}. Install keras-hub and let it download "
        f"{IMAGENET_PRESET} once, name the preset's model.weights.h5 as base weights, or go on from another "
        "run (--start)"
    )
