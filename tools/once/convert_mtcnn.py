"""Converts the networks of the `mtcnn` package into the files of `agegender.faces.cascade`, and proves it.

    python -m tools.once.convert_mtcnn

Needs TensorFlow and `mtcnn`, which detection itself does not. Writes agegender/assets/mtcnn: three files and
provenance.json, with their checksums and how far their answers are from the package's.

The functions stay the package's; what differs is how they are written down, which is worth half of the time
of the first network and a quarter of the others':

- They take pixels of 0 to 255: scaling them is part of the first convolution.
- They answer with one array: corrections of the box, landmarks where there are any, and last the face's
  logit, the difference of the two that the package feeds to a softmax.
- Batches have a fixed size, so that nothing is prepared anew while a program runs.
- A PReLU is written as the converter recognizes it; otherwise it would be five operations, and the dense
  layer before it would be done twice.
- The first network takes a fourth channel, 1 inside a picture and 0 beyond it, and pools before it applies
  the PReLU. Where the slope a is positive, max(PReLU(x)) = PReLU(max(x)), as PReLU is monotone; where it is
  negative, PReLU(x) = max(x, a x), so max(PReLU(x)) = max(max(x), max(a x)) and such channels are convolved
  twice, once with weights multiplied by a. With that, a large negative number keeps a place out of the
  pooling, which is how the package treats places beyond the edge: several pictures can share a sheet.
- The first network's first convolution takes two neighbours in a row at a time, as one of twice the channels,
  and answers for both: what is beside each other in memory is, and fewer, longer products are faster.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf
from mtcnn import MTCNN as Original  # noqa: N811
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from agegender import assets
from agegender.faces.cascade import O_SIDE, R_SIDE, SHEET
from agegender.litert import LiteRTModel

Array = NDArray[np.float32]
Network = Callable[[Any], Any]

BEYOND = -64
"""Added where a window looks beyond the picture. Whatever the pixels, the first convolution's answers are 42
apart at most; a power of two, as it is added everywhere and taken away again where there is a picture."""


def scaled(kernel: Array, bias: Array) -> tuple[Array, Array]:
    """A first convolution for pixels p of 0 to 255, from the package's for (p - 127.5) / 128."""
    wide = kernel.astype(np.float64)
    return (wide / 128).astype(np.float32), (bias - wide.sum(axis=(0, 1, 2)) * (127.5 / 128)).astype(
        np.float32
    )


def one_output(*heads: tuple[Array, Array]) -> tuple[Array, Array]:
    """Joins output layers, of which the last one's two units become their difference."""
    kernel, bias = heads[-1]
    joined = [*heads[:-1], (kernel[..., 1:] - kernel[..., :1], bias[1:] - bias[:1])]
    return np.concatenate([k for k, _ in joined], axis=-1), np.concatenate([b for _, b in joined])


def prelu(x: Any, slope: Array) -> Any:
    """The layer, in the form the converter knows: ``slope`` has one axis less than ``x``."""
    return tf.nn.relu(x) + (-slope) * tf.nn.relu(-x)


def conv(x: Any, kernel: Array, bias: Array) -> Any:
    """A convolution of stride 1 without padding."""
    return tf.nn.conv2d(x, kernel, 1, "VALID") + bias


def pnet(weights: Sequence[Array]) -> Network:
    """The first network, for sheets of pairs: (n, h, w / 2, 8) to (n, (h - 10) / 2, (w - 10) / 2, 5)."""
    w1, b1, a1, w2, b2, a2, w3, b3, a3, *heads = weights
    w1, b1 = scaled(w1, b1)
    slope = a1.ravel()
    rising, falling = np.flatnonzero(slope >= 0), np.flatnonzero(slope < 0)
    order = np.concatenate([rising, falling])
    kernel = np.concatenate([w1[..., order], w1[..., falling] * slope[falling]], axis=-1)
    bias = np.concatenate([b1[order], b1[falling] * slope[falling]]) + BEYOND
    # A window whose last row or column lies beyond the picture: it looks at the fourth channel down there.
    inside = np.zeros((3, 3, 1, kernel.shape[-1]), np.float32)
    inside[2, 2] = -BEYOND
    kernel = np.concatenate([kernel, inside], axis=2)
    # Two windows, one a pixel to the right of the other, see two pairs of pixels.
    pairs = np.stack([np.pad(kernel, ((0, 0), (i, 1 - i), (0, 0), (0, 0))) for i in (0, 1)], axis=-2)
    pairs = pairs.reshape(3, 2, 8, -1)
    out = one_output((heads[0], heads[1]), (heads[2], heads[3]))
    first, both = len(rising), len(order)

    def call(x: Any) -> Any:
        x = conv(x, pairs, np.tile(bias, 2))
        x = tf.reshape(x, (*x.shape[:2], -1, len(bias)))
        x = tf.nn.max_pool2d(x, 2, 2, "VALID")
        head = prelu(x[..., :first], slope[None, None, rising])
        x = tf.concat([head, tf.maximum(x[..., first:both], x[..., both:])], -1)
        x = prelu(conv(x, w2[:, :, order], b2), a2)
        return conv(prelu(conv(x, w3, b3), a3), *out)

    return call


def rnet(weights: Sequence[Array]) -> Network:
    """The second network: (n, 24, 24, 3) to (n, 5)."""
    w1, b1, a1, w2, b2, a2, w3, b3, a3, w4, b4, a4, *heads = weights
    w1, b1 = scaled(w1, b1)
    out = one_output((heads[0], heads[1]), (heads[2], heads[3]))

    def call(x: Any) -> Any:
        x = tf.nn.max_pool2d(prelu(conv(x, w1, b1), a1), 3, 2, "SAME")
        x = tf.nn.max_pool2d(prelu(conv(x, w2, b2), a2), 3, 2, "VALID")
        x = prelu(conv(x, w3, b3), a3)
        return flat(x, w4, b4, a4) @ out[0] + out[1]

    return call


def onet(weights: Sequence[Array]) -> Network:
    """The third network: (n, 48, 48, 3) to (n, 15)."""
    w1, b1, a1, w2, b2, a2, w3, b3, a3, w4, b4, a4, w5, b5, a5, *heads = weights
    w1, b1 = scaled(w1, b1)
    out = one_output((heads[0], heads[1]), (heads[2], heads[3]), (heads[4], heads[5]))

    def call(x: Any) -> Any:
        x = tf.nn.max_pool2d(prelu(conv(x, w1, b1), a1), 3, 2, "SAME")
        x = tf.nn.max_pool2d(prelu(conv(x, w2, b2), a2), 3, 2, "VALID")
        x = tf.nn.max_pool2d(prelu(conv(x, w3, b3), a3), 2, 2, "SAME")
        x = prelu(conv(x, w4, b4), a4)
        return flat(x, w5, b5, a5) @ out[0] + out[1]

    return call


def flat(x: Any, kernel: Array, bias: Array, slope: Array) -> Any:
    """The dense layer, whose rows the package orders by column, row and channel of the picture."""
    rows, columns, channels = x.shape[1:]
    ordered = kernel.reshape(columns, rows, channels, -1).swapaxes(0, 1).reshape(kernel.shape)
    return prelu(tf.reshape(x, (x.shape[0], -1)) @ ordered + bias, slope)


def convert(network: Network, shape: Sequence[int]) -> bytes:
    """Writes a network down as a LiteRT file."""
    function = tf.function(network).get_concrete_function(tf.TensorSpec(shape, tf.float32))
    # Variables become constants first; the converter leaves them as reads of resources otherwise, which
    # LiteRT runs six times slower.
    frozen = convert_variables_to_constants_v2(function)
    return bytes(tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert())


def difference(content: bytes, model: Any, shape: Sequence[int]) -> float:
    """The largest difference to the package's network on random pixels, logits as probabilities."""
    count, height, width = shape[0], shape[1], shape[1]  # all take squares
    pixels = np.random.default_rng(1).uniform(0, 255, (count, height, width, 3)).astype(np.float32)
    sheet = pixels
    on_sheet = shape[-1] != 3
    if on_sheet:
        # A picture of odd size on a sheet: what lies beyond it must not count.
        sheet = np.full((count, height, width, 4), 255, np.float32)
        sheet[..., 3] = 0
        height, width = height - 1, width - 3
        sheet[:, :height, :width, :3] = pixels[:, :height, :width]
        sheet[:, :height, :width, 3] = 1
    expected = [np.asarray(part) for part in model((pixels[:, :height, :width] - 127.5) / 128)]
    (got,) = LiteRTModel(content)(sheet.reshape(shape))
    if on_sheet:
        got = got[:, : expected[0].shape[1], : expected[0].shape[2]]
    probability = 1 / (1 + np.exp(-got[..., -1:].astype(np.float64)))
    got = np.concatenate([got[..., :-1], probability], axis=-1)
    return float(np.abs(got - np.concatenate([*expected[:-1], expected[-1][..., 1:]], axis=-1)).max())


def main() -> None:
    """Converts, compares and writes."""
    source = files("mtcnn.assets.weights")
    assets.MTCNN.mkdir(parents=True, exist_ok=True)
    networks: dict[str, dict[str, object]] = {}
    # The numbers of patches only say what the files begin with: who runs them gives as many as suits.
    for name, build, shape, stage in zip(
        ("pnet", "rnet", "onet"),
        (pnet, rnet, onet),
        ((1, SHEET, SHEET // 2, 8), (16, R_SIDE, R_SIDE, 3), (4, O_SIDE, O_SIDE, 3)),
        Original().stages,
        strict=True,
    ):
        packed = source.joinpath(f"{name}.lz4")
        weights = [np.asarray(part, np.float32) for part in joblib.load(str(packed))]
        content = convert(build(weights), shape)
        apart = difference(content, stage.model, shape)
        if not apart < 1e-4:
            raise SystemExit(f"{name}: {apart} apart from the package's network")
        (assets.MTCNN / f"{name}.tflite").write_bytes(content)
        networks[f"{name}.tflite"] = {
            "sha256": hashlib.sha256(content).hexdigest(),
            "input": list(shape),
            "converted_from": f"mtcnn/assets/weights/{name}.lz4",
            "converted_from_sha256": hashlib.sha256(packed.read_bytes()).hexdigest(),
            "largest_difference": apart,
        }
    provenance = {
        "package": f"mtcnn {version('mtcnn')}",
        "licence": "MIT, Copyright (c) 2019-2024 Iván de Paz Centeno",
        "converter": f"tensorflow {version('tensorflow')}",
        "files": networks,
    }
    text = json.dumps(provenance, indent=2, ensure_ascii=False) + "\n"
    (assets.MTCNN / "provenance.json").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
