"""Leaky rectifier with a slope per channel, or slopes of any shape that broadcasts.

Attributes: positive, negative (arith.Requant with one entry each), low, high. Inputs: x, slope (both int8 or int16).
y = sat(z + positive(x - zx)) where x > zx, else sat(z + negative((x - zx) * (slope - zs))): one rounding each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from espgen import arith
from espgen.ir import DType, Graph, Node, QuantParams
from espgen.ops.base import Array, Case, GraphBuilder, KernelCall, OpSpec, StorageOf, bounds, output_array, rows_of
from espgen.ops.broadcast import operand, reach, rowwise_call, uniform_requant
from espgen.ops.lowering import LoweringContext, clip_bounds
from espgen.ops.operands import activation, fetch_all


def reference(node: Node, inputs: Sequence[Array], graph: Graph) -> list[Array]:
    source, slopes, result = (graph.value(name) for name in (*node.inputs, node.outputs[0]))
    low, high = bounds(node, graph)
    x = inputs[0].astype(np.int64) - source.zero_point
    scaled = x * (inputs[1].astype(np.int64) - slopes.zero_point)
    above = arith.requantize(x, node.attrs["positive"], result.zero_point, low, high)
    below = arith.requantize(scaled, node.attrs["negative"], result.zero_point, low, high)
    return [output_array(np.where(x > 0, above, below), node, graph)]


def kernel(node: Node, graph: Graph, storage: StorageOf) -> tuple[KernelCall, ...]:
    source, slopes, result = (graph.value(name) for name in (*node.inputs, node.outputs[0]))
    _, pixels, channels = rows_of(result.shape)
    slope = operand(slopes.name, result.shape, graph, storage)
    low, high = bounds(node, graph)
    shape = {
        "pixels": pixels,
        "channels": channels,
        "in_pitch": storage(source.name).pixel_pitch,
        "out_pitch": storage(result.name).pixel_pitch,
        "slope_pixel_stride": slope.pixel_stride,
        "slope_channel_stride": slope.channel_stride,
        "in_zero_point": source.zero_point,
        "slope_zero_point": slopes.zero_point,
        "out_zero_point": result.zero_point,
        "low": low,
        "high": high,
        "positive": uniform_requant(node.attrs["positive"]),
        "negative": uniform_requant(node.attrs["negative"]),
    }
    return rowwise_call(node, graph, "prelu.h", "PreluShape", shape, node.inputs, storage)


def prelu_graph(
    slope: tuple[int, ...],
    ratio: float,
    slope_scale: float,
    dtype: DType = DType.INT8,
    slope_dtype: DType = DType.INT8,
    points: tuple[int, int, int] = (5, 0, -9),
    shape: tuple[int, ...] = (1, 4, 5, 13),
) -> Graph:
    """A one-node graph with random slopes times `slope_scale`; `ratio` is s_x / s_y."""
    builder = GraphBuilder("prelu")
    builder.input("x", shape, dtype, 1.0, points[0])
    data = np.random.default_rng(3).integers(slope_dtype.minimum, slope_dtype.maximum + 1, slope)
    builder.constant("slope", data.astype(slope_dtype.numpy), QuantParams.tensor(slope_scale, points[1]))
    reaches = [reach(builder.values[name]) for name in ("x", "slope")]
    positive = arith.choose_requant([ratio], [reaches[0]], 8 * dtype.size)
    negative = arith.choose_requant([ratio * slope_scale], [reaches[0] * reaches[1]], 8 * dtype.size)
    builder.node("prelu", ("x", "slope"), shape, dtype, 1.0, points[2], "y", positive=positive, negative=negative)
    return builder.build(["y"])


def cases() -> list[Case]:
    i8, i16 = DType.INT8, DType.INT16
    table = [
        ("per_channel", prelu_graph((13,), 0.83, 0.0041)),
        ("single_slope", prelu_graph((1, 1, 1), 0.83, 0.0041)),
        ("power_of_two", prelu_graph((13,), 1.0, 2.0**-7)),
        ("ratio_above_one", prelu_graph((13,), 2.7, 0.0078)),
        ("slope_zero_point", prelu_graph((13,), 0.83, 0.0041, points=(-128, 100, 127))),
        ("full_slopes", prelu_graph((1, 4, 5, 13), 0.83, 0.0041)),
        ("slopes_per_row", prelu_graph((4, 1, 1), 0.83, 0.0041)),
        ("rank_2", prelu_graph((17,), 0.83, 0.0041, shape=(3, 17))),
        ("int16", prelu_graph((13,), 0.83, 3e-5, i16, i16, (0, 0, 0))),
        ("int16_by_int8", prelu_graph((13,), 1.3, 0.0041, i16, i8, (-900, 3, 800))),
    ]
    return [Case(name, graph) for name, graph in table]


def _lower_prelu(context: LoweringContext, node: Node) -> None:
    """PRelu: the slope of ONNX's [C,1,1] or any other shape that broadcasts to the input."""
    result = activation(context, node, node.outputs[0])
    source, slope = (activation(context, node, name) for name in node.inputs)
    operands, layout = fetch_all(context, node, node.inputs)
    output = context.define(node.outputs[0], layout)
    bits, ratio = 8 * result.dtype.size, source.scale / result.scale
    positive = arith.choose_requant([ratio], [reach(source)], bits, node=node.name)
    limit = reach(source) * reach(slope)
    negative = arith.choose_requant([ratio * slope.scale], [limit], bits, node=node.name)
    attrs = clip_bounds(context, node, node.outputs[0])
    context.emit(node.name, "prelu", operands, (output,), positive=positive, negative=negative, **attrs)


LOWER = {"PRelu": _lower_prelu}


SPECS = (
    OpSpec(
        name="prelu",
        onnx=("PRelu",),
        summary="leaky rectifier with a slope per channel (or of any broadcast shape)",
        reference=reference,
        kernel=kernel,
        cases=cases,
        dtypes=("int8", "int16"),
        in_place=True,
    ),
)
