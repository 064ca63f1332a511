"""Lowering of products by constant weights: Conv, Gemm, MatMul, ConvInteger, MatMulInteger to conv2d."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from espgen import arith
from espgen.errors import EspgenError
from espgen.ir import DType, Node, QuantParams, Value
from espgen.ops.lowering import CHANNELS_LAST, PLAIN, LoweringContext, clip_bounds

Array = npt.NDArray[Any]

FLAT = "flat"
"""Form key prefix of a Flatten of a channels-last value: the same elements in H, W, C order (see movement lowering)."""

_POINTWISE: dict[str, Any] = {"strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1), "groups": 1}


def product_attrs(context: LoweringContext, node: Node, weights: Value, data: Array, bias: Array) -> dict[str, Any]:
    """requant, low and high for weights [O, ...] (QuantParams on axis 0 or per tensor) and bias [O] of `node`.

    Raises EspgenError where the accumulator could overflow.
    """
    result = context.value(node.outputs[0])
    outputs = data.shape[0]
    quant = weights.quant or QuantParams.tensor(1.0)
    scales = np.broadcast_to(np.asarray(quant.scale, np.float64), (outputs,))
    points = np.broadcast_to(np.asarray(quant.zero_point, np.int64), (outputs,))
    limits = _limits(context, node, data, points, bias)
    if result.dtype is DType.INT32 and result.quant is None:
        return {"requant": None, "low": result.dtype.minimum, "high": result.dtype.maximum}
    ratios = [context.scale(node.inputs[0]) * float(scale) / result.scale for scale in scales]
    requant = arith.choose_requant(ratios, limits, 8 * result.dtype.size, node=node.name)
    return {"requant": requant, **clip_bounds(context, node, node.outputs[0])}


def _limits(context: LoweringContext, node: Node, data: Array, points: Array, bias: Array) -> list[int]:
    """Largest |acc| per channel, and the proof that neither it nor any partial sum overflows."""
    source = context.value(node.inputs[0])
    centred = np.abs(data.astype(np.int64) - points.reshape((-1,) + (1,) * (data.ndim - 1)))
    axes = tuple(range(1, data.ndim))
    reach = max(source.dtype.maximum - source.zero_point, source.zero_point - source.dtype.minimum)
    span = np.maximum(centred, np.abs(data.astype(np.int64))).sum(axis=axes)
    widest = max(abs(source.dtype.minimum), reach)
    folded = np.abs(bias.astype(np.int64)) + abs(source.zero_point) * centred.sum(axis=axes)
    bits = 31 if source.dtype is DType.INT8 else 39
    partial = span * widest + folded + np.abs(points) * widest * int(np.prod(data.shape[1:]))
    if partial.size and int(partial.max()) >= 1 << bits:
        channel = int(partial.argmax())
        raise EspgenError(
            f"the accumulator of output channel {channel} can reach {int(partial.max())}, beyond {bits} bits",
            node=node.name,
            hint="the bias or the weights are too large for this input scale (a dead channel?): re-quantize the layer",
        )
    return [int(limit) for limit in centred.sum(axis=axes) * reach + np.abs(bias.astype(np.int64))]


def bias_of(context: LoweringContext, node: Node, index: int, outputs: int) -> Array:
    """The constant bias [outputs] (zeros where absent), int32 or int64."""
    wide = np.int64 if context.value(node.inputs[0]).dtype is DType.INT16 else np.int32
    name = node.input(index)
    if not name:
        return np.zeros(outputs, wide)
    data = context.constant(name)
    if data is None:
        raise EspgenError("the bias is computed at run time", node=node.name, place=name, hint="make it an initializer")
    return np.broadcast_to(data.reshape(-1), (outputs,)).astype(wide)


def constant_weights(context: LoweringContext, node: Node, index: int) -> tuple[Value, Array] | None:
    """Description and integers of constant operand `index`, None where it is computed at run time."""
    data = context.constant(node.inputs[index])
    return None if data is None else (context.value(node.inputs[index]), data)


def emit_product(
    context: LoweringContext,
    node: Node,
    x: str,
    result: str,
    quant: QuantParams | None,
    data: Array,
    bias: Array,
    attrs: dict[str, Any],
) -> None:
    """Append conv2d with weights [O,KH,KW,I]."""
    outputs = data.shape[0]
    per_channel = quant or QuantParams.tensor(1.0)
    spread = QuantParams(
        tuple(np.broadcast_to(per_channel.scale, (outputs,)).tolist()),
        tuple(np.broadcast_to(per_channel.zero_point, (outputs,)).tolist()),
        0,
    )
    weights = context.add_constant(f"{node.name}_weights", np.ascontiguousarray(data), spread)
    offset = context.add_constant(f"{node.name}_bias", bias)
    context.emit(node.name, "conv2d", (x, weights, offset), (result,), **attrs)


def lower_conv(context: LoweringContext, node: Node) -> None:
    """Conv and ConvInteger: [O,I,kh,kw] weights to [O,kh,kw,I]; rank 3 becomes height 1."""
    constant = constant_weights(context, node, 1)
    if constant is None:
        hint = "make them an initializer"
        raise EspgenError("the weights are computed at run time", node=node.name, place=node.inputs[1], hint=hint)
    value, data = constant
    attrs = node.attrs
    flat = data.ndim == 3
    if data.ndim not in (3, 4):
        raise EspgenError(f"convolution over {data.ndim - 2} axes", node=node.name, hint="espgen has 1-D and 2-D convolution")
    moved = np.moveaxis(data[:, :, None] if flat else data, 1, -1)
    bias = bias_of(context, node, 2, data.shape[0])
    pads = tuple(attrs["pads"])
    geometry = {
        "strides": (1, attrs["strides"][0]) if flat else tuple(attrs["strides"]),
        "pads": (0, pads[0], 0, pads[1]) if flat else pads,
        "dilations": (1, attrs["dilations"][0]) if flat else tuple(attrs["dilations"]),
        "groups": int(attrs["group"]),
    }
    requant = product_attrs(context, node, value, moved, bias)
    x = context.fetch(node.inputs[0], CHANNELS_LAST)
    result = context.define(node.outputs[0], CHANNELS_LAST)
    emit_product(context, node, x, result, value.quant, moved, bias, {**geometry, **requant})


def lower_matrix_product(context: LoweringContext, node: Node) -> bool:
    """Gemm, MatMul, MatMulInteger by a constant matrix; False where the second operand is not one."""
    constant = constant_weights(context, node, 1)
    if constant is None or constant[1].ndim != 2:
        return False
    value, data = constant
    attrs = node.attrs
    if attrs.get("alpha", 1.0) != 1.0 or attrs.get("beta", 1.0) != 1.0 or attrs.get("transA", 0):
        hint = "fold the factors into the weights, transpose the input"
        raise EspgenError("Gemm with alpha, beta or transA", node=node.name, hint=hint)
    matrix = data if attrs.get("transB", 0) else data.T
    addend = 2 if node.op in ("Gemm", "MatMul") else len(node.inputs)
    bias = bias_of(context, node, addend, matrix.shape[0])
    requant = product_attrs(context, node, value, matrix, bias)
    x, matrix = _flattened(context, node, matrix)
    result = context.define(node.outputs[0], PLAIN)
    weights = matrix[:, None, None, :]
    emit_product(context, node, x, result, value.quant, weights, bias, {**_POINTWISE, **requant})
    return True


def _flattened(context: LoweringContext, node: Node, matrix: Array) -> tuple[str, Array]:
    """The input and the matrix; behind a Flatten of a channels-last value the matrix's columns move instead of the value."""
    source = node.inputs[0]
    for key, name in context.forms.get(source, {}).items():
        if key.startswith(FLAT) and PLAIN not in context.forms[source]:
            channels, height, width = (int(part) for part in key.split(":")[1:])
            columns = np.moveaxis(matrix.reshape(-1, channels, height, width), 1, -1)
            return name, columns.reshape(matrix.shape)
    return context.fetch(source, PLAIN), matrix


def lower_gemm(context: LoweringContext, node: Node) -> None:
    """Gemm by a constant matrix."""
    if not lower_matrix_product(context, node):
        raise EspgenError("Gemm by a matrix computed at run time", node=node.name, hint="use MatMul, or make B an initializer")


LOWER = {"Conv": lower_conv, "ConvInteger": lower_conv, "Gemm": lower_gemm}
