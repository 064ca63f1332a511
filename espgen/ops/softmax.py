"""Softmax along any axis in integers, the maximum subtracted.

Attributes: axis (of the value as it is held), low, high. The input scale is that of the value.
e_i = exp(-s_x (max x - x_i)) in Q30, made in float64 at compile time: one table of 256 differences for int8; for int16
the product of two tables, of the difference's high and low byte, rounded half up to Q30.
y = sat(z + rne(e_i * numerator / (denominator * sum e))), numerator / denominator ~ 1 / s_y (exact for powers of two).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from espgen import arith
from espgen.ir import DType, Graph, Node, Value
from espgen.ops.base import (
    Array,
    Case,
    GraphBuilder,
    KernelCall,
    OpSpec,
    RowTable,
    StorageOf,
    bounds,
    output_array,
    rows_of,
)
from espgen.ops.lowering import LoweringContext, clip_bounds
from espgen.ops.operands import activation, fetch_all, held_axis
from espgen.ops.strides import IntArray, at_least_2

FRACTION_BITS = 30


def exponentials(scale: float, step: int) -> IntArray:
    """[256] exp(-scale * step * i) in Q30, rounded to nearest."""
    return np.rint(np.exp(-scale * step * np.arange(256.0)) * 2.0**FRACTION_BITS).astype(np.int64)


def inverse_scale(value: Value, length: int) -> arith.Ratio:
    """1 / s_y as a ratio that leaves 62 bits for products with Q30 exponentials and their sum over `length`.

    Beyond 2^32, where everything but 0 saturates, it stays at that.
    """
    ratio = arith.choose_ratio(1.0 / value.scale, 1)
    numerator, denominator = ratio.numerator, ratio.denominator
    if denominator == 1:
        return arith.Ratio(min(numerator, (1 << (62 - FRACTION_BITS)) - 1), 1)
    while denominator * length >= 1 << (62 - FRACTION_BITS - 1) or numerator >= 1 << (62 - FRACTION_BITS):
        numerator, denominator = (numerator + 1) >> 1, denominator >> 1
    return arith.Ratio(numerator, max(denominator, 1))


def reference(node: Node, inputs: Sequence[Array], graph: Graph) -> list[Array]:
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    axis = node.attrs["axis"]
    x = inputs[0].astype(np.int64)
    difference = x.max(axis=axis, keepdims=True) - x
    if source.dtype is DType.INT8:
        e = exponentials(source.scale, 1)[difference]
    else:
        product = exponentials(source.scale, 256)[difference >> 8] * exponentials(source.scale, 1)[difference & 255]
        e = (product + (1 << (FRACTION_BITS - 1))) >> FRACTION_BITS
    ratio = inverse_scale(result, x.shape[axis])
    rounded = arith.rne_divide(e * ratio.numerator, e.sum(axis=axis, keepdims=True) * ratio.denominator)
    low, high = bounds(node, graph)
    return [output_array(arith.saturate(rounded + result.zero_point, low, high), node, graph)]


def kernel(node: Node, graph: Graph, storage: StorageOf) -> tuple[KernelCall, ...]:
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    rows, pixels, channels = rows_of(source.shape)
    shape = at_least_2(source.shape)
    axis = node.attrs["axis"] % len(source.shape) + len(shape) - len(source.shape)
    along = {len(shape) - 1: "channels", len(shape) - 2: "pixels"}.get(axis, "rows")
    in_steps = {"channels": source.dtype.size, "pixels": storage(source.name).pixel_pitch, "rows": 0}
    out_steps = {"channels": result.dtype.size, "pixels": storage(result.name).pixel_pitch, "rows": 0}
    order = np.arange(rows).reshape(shape[:-2])
    if along == "rows":
        order = np.moveaxis(order, axis, -1)
    table = tuple(int(row) for row in order.reshape(-1))
    length = source.shape[node.attrs["axis"]]
    ratio = inverse_scale(result, length)
    low, high = bounds(node, graph)
    fields = {
        "pixels": 1 if along == "pixels" else pixels,
        "channels": 1 if along == "channels" else channels,
        "length": length,
        "row_step": int(along == "rows"),
        "in_step": in_steps[along],
        "out_step": out_steps[along],
        "in_pitch": storage(source.name).pixel_pitch,
        "out_pitch": storage(result.name).pixel_pitch,
        "out_zero_point": result.zero_point,
        "low": low,
        "high": high,
        "numerator": ratio.numerator,
        "denominator": ratio.denominator,
    }
    coarse = exponentials(source.scale, 256) if source.dtype is DType.INT16 else np.zeros(1, np.int64)
    return (
        KernelCall(
            header="softmax.h",
            function="softmax",
            shape_type="SoftmaxShape",
            shape=fields,
            types={"input": source.dtype, "output": result.dtype},
            output=RowTable(result.name, table),
            inputs=(RowTable(source.name, table),),
            tables=(
                ("fine", exponentials(source.scale, 1).astype(np.int32)),
                ("coarse", coarse.astype(np.int32)),
            ),
            rows=rows // length if along == "rows" else rows,
            row_begin=0,
            row_end=rows,
            advance=None if along == "rows" else (1,),
        ),
    )


def softmax_graph(
    shape: tuple[int, ...],
    axis: int,
    scale: float = 0.11,
    out_scale: float = 2.0**-8,
    zero_point: int = -128,
    dtype: DType = DType.INT8,
    out_dtype: DType = DType.INT8,
) -> Graph:
    """A one-softmax graph."""
    builder = GraphBuilder("softmax")
    builder.input("x", shape, dtype, scale, 6)
    builder.node("softmax", ("x",), shape, out_dtype, out_scale, zero_point, "y", axis=axis)
    return builder.build(["y"])


def cases() -> list[Case]:
    i8, i16 = DType.INT8, DType.INT16
    table = [
        ("ten_classes", softmax_graph((1, 10), 1)),
        ("thousand_classes", softmax_graph((1, 1001), -1, 0.07)),
        ("one_class", softmax_graph((3, 1), 1)),
        ("rank_1", softmax_graph((12,), 0)),
        ("channels_of_an_image", softmax_graph((1, 3, 4, 5), 3)),
        ("columns_of_an_image", softmax_graph((1, 3, 4, 5), 2)),
        ("rows_of_an_image", softmax_graph((1, 3, 4, 5), 1)),
        ("leading_axis", softmax_graph((3, 2, 4, 5), 0)),
        ("attention", softmax_graph((2, 4, 9, 9), -1, 0.05)),
        ("scale_not_a_power_of_two", softmax_graph((5, 10), 1, 0.2, 0.0041, -100)),
        ("steep", softmax_graph((5, 10), 1, 25.0)),
        ("flat", softmax_graph((5, 10), 1, 1e-6)),
        ("coarse_output", softmax_graph((5, 10), 1, 0.1, 0.77, 0)),
        ("int8_to_int16", softmax_graph((5, 10), 1, 0.1, 2.0**-15, 0, i8, i16)),
        ("int16", softmax_graph((5, 40), 1, 3e-4, 2.0**-15, 0, i16, i16)),
        ("int16_steep", softmax_graph((5, 40), 1, 0.01, 3.1e-5, -32768, i16, i16)),
        ("int16_to_int8", softmax_graph((1, 3, 4, 5), 1, 2e-4, 2.0**-8, -128, i16, i8)),
    ]
    return [Case(name, graph) for name, graph in table]


def _lower_softmax(context: LoweringContext, node: Node) -> None:
    """Softmax along ONNX's axis, in the layout the operand has."""
    source = activation(context, node, node.inputs[0])
    activation(context, node, node.outputs[0])
    (operand,), layout = fetch_all(context, node, node.inputs)
    output = context.define(node.outputs[0], layout)
    axis = held_axis(int(node.attrs["axis"]), len(source.shape), layout)
    attrs = clip_bounds(context, node, node.outputs[0])
    context.emit(node.name, "softmax", (operand,), (output,), axis=axis, **attrs)


LOWER = {"Softmax": _lower_softmax}


SPECS = (
    OpSpec(
        name="softmax",
        onnx=("Softmax", "QLinearSoftmax"),
        summary="softmax along any axis, exact integers from tables made at compile time",
        reference=reference,
        kernel=kernel,
        cases=cases,
        dtypes=("int8", "int16"),
    ),
)
