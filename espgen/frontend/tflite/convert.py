"""A .tflite file's records as an ONNX model: which function reads which operator, where the graph ends, what is refused."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import numpy as np
from onnx import ModelProto, ValueInfoProto, helper

from espgen.errors import EspgenError
from espgen.frontend.tensors import element_type
from espgen.frontend.tflite import movement, pointwise, products
from espgen.frontend.tflite.dilated import joined
from espgen.frontend.tflite.emitter import LAST, Emitter
from espgen.frontend.tflite.model import Model, Operator

_LOG = logging.getLogger(__name__)

OPSET = 21
"""The first that quantizes to 16 bits."""

Convert = Callable[[Emitter, Operator], None]

OPERATORS: Mapping[str, Convert] = {
    **dict.fromkeys(pointwise.UNARY, pointwise.unary),
    **dict.fromkeys(pointwise.BINARY, pointwise.binary),
    **dict.fromkeys(("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1"), pointwise.clip),
    "ADD_N": pointwise.add_n,
    "CAST": pointwise.cast,
    "DEQUANTIZE": pointwise.dequantize,
    "GELU": pointwise.gelu,
    "LEAKY_RELU": pointwise.leaky_relu,
    "LOG_SOFTMAX": pointwise.log_softmax,
    "PRELU": pointwise.prelu,
    "QUANTIZE": pointwise.quantize,
    "RSQRT": pointwise.rsqrt,
    "SOFTMAX": pointwise.softmax,
    "SQUARE": pointwise.square,
    "SQUARED_DIFFERENCE": pointwise.squared_difference,
    "AVERAGE_POOL_2D": products.pool,
    "BATCH_MATMUL": products.batch_matmul,
    "CONV_2D": products.conv2d,
    "DEPTHWISE_CONV_2D": products.depthwise_conv2d,
    "FULLY_CONNECTED": products.fully_connected,
    "MAX_POOL_2D": products.pool,
    "TRANSPOSE_CONV": products.transpose_conv,
    "BROADCAST_TO": movement.broadcast_to,
    "CONCATENATION": movement.concatenation,
    "DEPTH_TO_SPACE": movement.depth_space,
    "EXPAND_DIMS": movement.reshape,
    "GATHER": movement.gather,
    "MEAN": movement.reduce,
    "MIRROR_PAD": movement.pad,
    "PACK": movement.pack,
    "PAD": movement.pad,
    "PADV2": movement.pad,
    "REDUCE_MAX": movement.reduce,
    "REDUCE_MIN": movement.reduce,
    "RESHAPE": movement.reshape,
    "RESIZE_BILINEAR": movement.resize,
    "RESIZE_NEAREST_NEIGHBOR": movement.resize,
    "SHAPE": movement.shape,
    "SLICE": movement.slice_,
    "SPACE_TO_DEPTH": movement.depth_space,
    "SPLIT": movement.split,
    "SPLIT_V": movement.split,
    "SQUEEZE": movement.reshape,
    "STRIDED_SLICE": movement.strided_slice,
    "SUM": movement.reduce,
    "TILE": movement.tile,
    "TRANSPOSE": movement.transpose,
    "UNPACK": movement.unpack,
}
"""The operators that are read."""

ENDS: Mapping[str, str] = {
    "CUSTOM:TFLite_Detection_PostProcess": "decode boxes and drop the overlapping ones in the application",
    "ARG_MAX": "take the largest entry in the application",
}
"""Operators that follow the network: their inputs become outputs. What the application does instead."""

_STATE = "espgen has no state yet: export the streaming model with its state as inputs and outputs, or a non-streaming one"
REFUSED: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE"), ("keeps state between runs", _STATE)),
    "SVDF": ("keeps state between runs", _STATE),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": ("keeps state between runs", _STATE),
    "IF": ("runs one of two graphs", "fix the condition before the model is converted"),
    "WHILE": ("runs a graph in a loop", "unroll the loop: tf.keras.layers.LSTM(.., unroll=True)"),
    **dict.fromkeys(
        ("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"),
        ("stands without the convolution that it dilates", "use dilation_rate of a convolution, or tf.nn.space_to_depth"),
    ),
    "DENSIFY": ("unpacks sparse weights", "convert the model without sparsity"),
}
"""Operators that are known and not read -> what they do, and the remedy."""


def to_onnx(model: Model, place: str) -> ModelProto:
    """The ONNX form of a .tflite model: QDQ where it is quantized, inputs and outputs in the file's own axis order and types.

    Raises EspgenError that names the operator for what espgen does not read.
    """
    model = joined(model)
    emitter = Emitter(model, place)
    operators, outputs = _ended(model)
    for index in model.inputs:
        emitter.define_input(index)
    for operator in operators:
        _convert(emitter, operator)
    names = [emitter.held(index, LAST) for index in outputs]
    inputs = [_port(emitter, index, emitter.names[index]) for index in model.inputs]
    results = [_port(emitter, index, name) for index, name in zip(outputs, names, strict=True)]
    graph = helper.make_graph(emitter.nodes, model.name, inputs, results, emitter.initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def _convert(emitter: Emitter, operator: Operator) -> None:
    try:
        if operator.op in REFUSED:
            what, hint = REFUSED[operator.op]
            raise EspgenError(f"operator {operator.op} {what}", hint=hint)
        if operator.op not in OPERATORS:
            hint = "see docs/tflite.md for what is read; replace it in the model, or end the model before it"
            raise EspgenError(f"operator {operator.op} is not read", hint=hint)
        OPERATORS[operator.op](emitter, operator)
    except EspgenError as error:
        raise EspgenError(
            error.message, node=error.node or operator.name, place=error.place or emitter.place, hint=error.hint
        ) from None
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, ArithmeticError, MemoryError) as error:
        raise EspgenError(
            f"{operator.op} is malformed: {type(error).__name__}: {str(error)[:200]}", node=operator.name, place=emitter.place,
            hint="the file is damaged: convert the model again",
        ) from error  # fmt: skip


def _port(emitter: Emitter, index: int, name: str) -> ValueInfoProto:
    tensor = emitter.tensor(index)
    kinds = ("float32", "int8", "uint8", "int16", "uint16", "int32", "int64", "bool")
    if tensor.kind not in kinds:
        raise EspgenError(f"{tensor.name!r} has type {tensor.kind}", place=emitter.place, hint=f"use {', '.join(kinds)}")
    return helper.make_tensor_value_info(name, element_type(np.dtype(tensor.kind)), tensor.shape)


def _ended(model: Model) -> tuple[list[Operator], list[int]]:
    """The operators up to those that only follow the network, and the tensors that are outputs then."""
    outputs = list(model.outputs)
    makers = {index: operator for operator in model.operators for index in operator.outputs}
    ends: list[Operator] = []
    for index in model.outputs:
        maker = makers.get(index)
        if maker is None or maker.op not in ENDS:
            continue
        at = outputs.index(index)
        if maker not in ends:
            ends.append(maker)
            produced = set(makers) | set(model.inputs)
            found = [item for item in maker.inputs if item in produced and item not in outputs]
            outputs[at : at + 1] = found
            told = ", ".join(repr(model.tensors[item].name) for item in found)
            _LOG.warning("note: the graph ends before %s: its inputs %s are outputs; %s", maker.op, told, ENDS[maker.op])
        else:
            del outputs[at]
    return [operator for operator in model.operators if operator not in ends], outputs
