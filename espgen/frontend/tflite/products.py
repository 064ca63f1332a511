"""Convolutions, matrix products and pooling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from espgen.errors import EspgenError
from espgen.frontend.tflite import schema
from espgen.frontend.tflite.emitter import FIRST, FULL_INTEGER, Emitter
from espgen.frontend.tflite.model import Array, Grid, Operator
from espgen.frontend.tflite.pointwise import activation


def conv2d(emitter: Emitter, operator: Operator) -> None:
    """CONV_2D: weights [out, height, width, in / group]."""
    x, weights = operator.inputs[:2]
    data = _weights(emitter, operator, 4)
    _convolve(emitter, operator, data.transpose(0, 3, 1, 2), 0, max(_extent(emitter, x, 3) // max(data.shape[3], 1), 1), weights)


def depthwise_conv2d(emitter: Emitter, operator: Operator) -> None:
    """DEPTHWISE_CONV_2D: weights [1, height, width, channels * multiplier]."""
    x, weights = operator.inputs[:2]
    data = _weights(emitter, operator, 4)
    _convolve(emitter, operator, data.transpose(3, 0, 1, 2), 0, _extent(emitter, x, 3), weights)


def _convolve(emitter: Emitter, operator: Operator, data: Array, axis: int, group: int, weights: int) -> None:
    x = operator.inputs[0]
    strides, dilations = _pair(operator, "stride"), _pair(operator, "dilation")
    kernel = data.shape[2:]
    pads = _pads(emitter, operator, _space(emitter, x), kernel, strides, dilations)
    if operator.spread is not None:
        dilations, pads = operator.spread.dilation, list(operator.spread.pads)
    inputs = [emitter.real(x, FIRST), _real_weights(emitter, operator, data, axis, weights), *_bias(emitter, operator)]
    real = emitter.emit("Conv", inputs, name=operator.name, kernel_shape=kernel, strides=strides, dilations=dilations,
                        pads=pads, group=group)  # fmt: skip
    emitter.result(operator, emitter.activated(operator, real, activation(operator)), FIRST)


def transpose_conv(emitter: Emitter, operator: Operator) -> None:
    """TRANSPOSE_CONV: inputs are the output's shape, weights [out, height, width, in], data and a bias."""
    _, weights, x, *bias = operator.inputs
    operator = Operator(operator.name, operator.op, (x, weights, *bias), operator.outputs, operator.options, operator.defaults)
    data = _weights(emitter, operator, 4).transpose(3, 0, 1, 2)
    strides, kernel = _pair(operator, "stride"), data.shape[2:]
    result = _space(emitter, operator.outputs[0])
    pads, extra = [0, 0, 0, 0], [0, 0]
    for axis, extent in enumerate(_space(emitter, x)):
        total = (extent - 1) * strides[axis] + kernel[axis] - result[axis]
        before = max(total, 0) // 2 if operator.option("padding") == schema.SAME else 0
        pads[axis], pads[axis + 2] = before, max(total, 0) - before
        extra[axis] = max(-total, 0)
    inputs = [emitter.real(x, FIRST), _real_weights(emitter, operator, data, 1, weights), *_bias(emitter, operator)]
    real = emitter.emit("ConvTranspose", inputs, name=operator.name, kernel_shape=kernel, strides=strides, pads=pads,
                        output_padding=extra)  # fmt: skip
    emitter.result(operator, emitter.activated(operator, real, activation(operator)), FIRST)


def fully_connected(emitter: Emitter, operator: Operator) -> None:
    """FULLY_CONNECTED: weights [out, in], the input as rows of `in` entries."""
    x, weights = operator.inputs[:2]
    if operator.option("weights_format"):
        raise EspgenError("the weights are shuffled", hint="convert the model again, without shuffled weights")
    data = _weights(emitter, operator, 2)
    real = emitter.real(x)
    result = emitter.shape(operator.outputs[0])
    if emitter.rank(x) != 2 or emitter.shape(x)[1] != data.shape[1]:
        shape = emitter.numbers(f"{operator.name}/rows", (-1, data.shape[1]))
        real = emitter.emit("Reshape", [real, shape], name=f"{operator.name}/flat")
    inputs = [real, _real_weights(emitter, operator, data, 0, weights), *_bias(emitter, operator)]
    real = emitter.activated(operator, emitter.emit("Gemm", inputs, name=operator.name, transB=1), activation(operator))
    if len(result) != 2:
        shape = emitter.numbers(f"{operator.name}/shape", result)
        real = emitter.emit("Reshape", [real, shape], name=f"{operator.name}/shaped")
    emitter.result(operator, real)


def batch_matmul(emitter: Emitter, operator: Operator) -> None:
    operands = []
    for index, flag in zip(operator.inputs, ("adj_x", "adj_y"), strict=True):
        _check_kind(emitter, operator, index)
        real = emitter.real(index)
        if operator.option(flag):
            rank = emitter.rank(index)
            perm = (*range(rank - 2), rank - 1, rank - 2)
            real = emitter.emit("Transpose", [real], name=f"{operator.name}/{flag}", perm=perm)
        operands.append(real)
    emitter.result(operator, emitter.emit("MatMul", operands, name=operator.name))


def pool(emitter: Emitter, operator: Operator) -> None:
    """MAX_POOL_2D, and AVERAGE_POOL_2D, which leaves padding out of its averages."""
    x = operator.inputs[0]
    kernel, strides = _pair(operator, "filter"), _pair(operator, "stride")
    pads = _pads(emitter, operator, _space(emitter, x), kernel, strides, (1, 1))
    op = "MaxPool" if operator.op == "MAX_POOL_2D" else "AveragePool"
    real = emitter.emit(op, [emitter.real(x, FIRST)], name=operator.name, kernel_shape=kernel, strides=strides, pads=pads)
    emitter.result(operator, emitter.activated(operator, real, activation(operator)), FIRST)


def _pair(operator: Operator, what: str) -> tuple[int, int]:
    """Height and width of a stride, a dilation or a window."""
    pair = operator.option(f"{what}_h"), operator.option(f"{what}_w")
    if min(pair) < 1:
        raise EspgenError(f"{what} {pair[0]} x {pair[1]}", hint="the file is damaged: convert the model again")
    return pair


def _extent(emitter: Emitter, index: int, axis: int) -> int:
    shape = emitter.shape(index)
    if len(shape) != 4:
        raise EspgenError(f"input {emitter.names[index]!r} has shape {list(shape)}, not four axes", hint="reshape it to NHWC")
    return shape[axis]


def _space(emitter: Emitter, index: int) -> tuple[int, int]:
    return _extent(emitter, index, 1), _extent(emitter, index, 2)


def _pads(emitter: Emitter, operator: Operator, space: Sequence[int], kernel: Sequence[int], strides: Sequence[int],
          dilations: Sequence[int]) -> list[int]:  # fmt: skip
    """ONNX's pads: [top, left, bottom, right]. SAME: as many outputs as strides fit in, the odd pixel behind."""
    if operator.option("padding") == schema.VALID:
        return [0, 0, 0, 0]
    before, after = [], []
    for extent, size, stride, dilation in zip(space, kernel, strides, dilations, strict=True):
        total = max((-(-extent // stride) - 1) * stride + (size - 1) * dilation + 1 - extent, 0)
        before.append(total // 2)
        after.append(total - total // 2)
    return [*before, *after]


def _weights(emitter: Emitter, operator: Operator, rank: int) -> Array:
    """The constant weights of a product. EspgenError where they, or the way they are quantized, are not espgen's."""
    if len(operator.inputs) < 2:
        raise EspgenError("an input is missing", hint="the file is damaged: convert the model again")
    x, weights = operator.inputs[:2]
    data = emitter.constant(weights)
    if data is None:
        raise EspgenError("the weights are computed at run time", place=emitter.names[weights], hint="make them a constant")
    if data.ndim != rank:
        raise EspgenError(f"the weights have shape {list(data.shape)}", place=emitter.names[weights],
                          hint="the file is damaged: convert the model again")  # fmt: skip
    _check_kind(emitter, operator, x, weights)
    return data


def _check_kind(emitter: Emitter, operator: Operator, x: int, weights: int = -1) -> None:
    if weights < 0:
        return
    integers, real = emitter.grid(weights) is not None, emitter.grid(x) is None
    if integers and real:
        raise EspgenError(
            "this is a dynamic-range model: integer weights, real activations", place=emitter.names[weights], hint=FULL_INTEGER
        )
    if weights in emitter.weight_only:
        raise EspgenError("this is a weight-only model: integer weights that are made real again",
                          place=emitter.names[weights], hint=FULL_INTEGER)  # fmt: skip
    if not integers and not real:
        raise EspgenError("the weights of an integer product are not quantized", place=emitter.names[weights], hint=FULL_INTEGER)


def _real_weights(emitter: Emitter, operator: Operator, data: Array, axis: int, weights: int) -> str:
    """Weights in ONNX's axis order, with the output channels on `axis`."""
    grid, name = emitter.grid(weights), f"{operator.name}/weights"
    held = emitter.initializer(name, data)
    return held if grid is None else emitter.dequantize(held, grid, data.dtype.name, axis, name)


def _bias(emitter: Emitter, operator: Operator) -> list[str]:
    """The bias, whose scale is the product of the two others, whatever the file says: as the maker's runtime has it."""
    if len(operator.inputs) < 3 or operator.inputs[2] < 0:
        return []
    x, weights, index = operator.inputs[:3]
    data, name = emitter.constant(index), f"{operator.name}/bias"
    if data is None or data.ndim != 1:
        raise EspgenError("the bias is not a constant of one number per channel", place=emitter.names[index], hint="make it one")
    grid_x, grid_weights = emitter.grid(x), emitter.grid(weights)
    if data.dtype.kind == "f" or grid_x is None or grid_weights is None:
        if data.dtype.kind != "f":
            raise EspgenError("an integer bias of a real product", place=emitter.names[index], hint=FULL_INTEGER)
        return [emitter.initializer(name, data.astype(np.float32))]
    scale = grid_x.scale[0] * np.array(grid_weights.scale, np.float64)
    if data.dtype == np.int64:  # of 16-bit activations: more bits than ONNX has a quantized type for
        return [emitter.initializer(name, (data * scale).astype(np.float32))]
    grid = Grid(tuple(float(value) for value in scale), (0,) * len(scale))
    return [emitter.dequantize(emitter.initializer(name, data.astype(np.int32)), grid, "int32", 0, name)]
