"""Keras networks as LiteRT and as ONNX files, weights in half precision on disk.

Both runtimes cast weights back to float32 when they load, and compute as Keras does. Published weights are
float16 numbers already (see `store`), so storing them as such loses nothing; where batch normalisation was
folded into them, it costs about 0.01 years. A converter's own half precision would round every constant, also
the means that preprocessing subtracts.
"""

from __future__ import annotations

import tempfile
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from agegender.errors import ConfigError, ModelError
from agegender.places import install_command

INPUT: Final = "rgb"
"""Name of the input: float32 of shape (n, height, width, 3), RGB, 0 to 255."""

_LEAST_HALVED: Final = 1024
"""Constants with fewer numbers stay float32: biases and means cost nothing and need the digits."""

_OPSET: Final = 18
"""Of ONNX: what runtimes since 2023 understand."""


def to_litert(network: keras.Model) -> bytes:
    """Converts a network for LiteRT.

    Args:
        network: One input, and outputs in a dictionary by name.

    Returns:
        A ``.tflite`` file for batches of any size. Its input is called `INPUT`; outputs, and those of its
        signature, have the network's names.

    Raises:
        ModelError: A weight does not fit half precision.
    """
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    with tempfile.TemporaryDirectory() as folder:
        # Through a saved model: from a function the converter leaves the weights in variables, where they
        # are neither folded nor packed, and the file holds none of them.
        network.export(folder, verbose=False, input_signature=[_signature(network)])
        content = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    [graph], [signature] = model.subgraphs, model.signatureDefs
    for entry in (*signature.inputs, *signature.outputs):
        graph.tensors[entry.tensorIndex].name = entry.name
    _halve_litert(model, schema)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _halve_litert(model: Any, schema: Any) -> None:
    """Stores large constants as float16, each behind an operation that casts it back."""
    cast = schema.OperatorCodeT()
    cast.builtinCode = cast.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
    cast.version = 3  # the first that takes float16
    model.operatorCodes.append(cast)
    [graph] = model.subgraphs
    casts, halved = [], {}
    for index, tensor in enumerate(list(graph.tensors)):
        data = model.buffers[tensor.buffer].data
        if tensor.type != schema.TensorType.FLOAT32 or data is None or len(data) < 4 * _LEAST_HALVED:
            continue
        if tensor.buffer not in halved:  # equal constants share a buffer
            half = _half(np.frombuffer(bytes(data), np.float32), tensor.name)
            stored = schema.TensorT()
            stored.name, stored.shape = b"half/" + tensor.name, tensor.shape
            stored.type, stored.buffer = schema.TensorType.FLOAT16, tensor.buffer
            model.buffers[tensor.buffer].data = np.frombuffer(half.tobytes(), np.uint8)
            halved[tensor.buffer] = len(graph.tensors)
            graph.tensors.append(stored)
        operation = schema.OperatorT()
        operation.opcodeIndex = len(model.operatorCodes) - 1
        operation.inputs, operation.outputs = [halved[tensor.buffer]], [index]
        casts.append(operation)
        tensor.buffer = 0  # the empty one: what the tensor holds is computed now
    graph.operators[:0] = casts


def to_onnx(network: keras.Model) -> Any:
    """Converts a network to ONNX.

    Args:
        network: One input, and outputs in a dictionary by name.

    Returns:
        An ``onnx.ModelProto`` for batches of any size, whose input is called `INPUT` and whose outputs have
        the network's names.

    Raises:
        ConfigError: The packages that write ONNX are not installed.
        ModelError: A weight does not fit half precision.
    """
    try:
        import onnx
        import tf2onnx
    except ImportError as error:
        raise ConfigError(
            f"writing ONNX needs the package {error.name}: {install_command('export')}"
        ) from error
    model, _ = tf2onnx.convert.from_keras(network, input_signature=[_signature(network)], opset=_OPSET)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < _LEAST_HALVED:
            continue
        name = tensor.name
        half = _half(onnx.numpy_helper.to_array(tensor), name)
        tensor.CopyFrom(onnx.numpy_helper.from_array(half, f"half/{name}"))
        casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return model


def _signature(network: keras.Model) -> tf.TensorSpec:
    return tf.TensorSpec((None, *network.inputs[0].shape[1:]), tf.float32, name=INPUT)


def _half(values: NDArray[np.float32], name: str | bytes) -> NDArray[np.float16]:
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        raise ModelError(f"weight {name!r} does not fit half precision")
    return half
