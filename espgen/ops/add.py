"""Weighted sum of one or more broadcast operands: Add, Sub, Sum, and every change of scale or type (one operand).

Attributes: weights (arith.Weights), low, high. Inputs: 1 to 8 tensors of int8 or int16, constants included.
y = sat(z + rne((sum_i (x_i - z_i) * multiplier[i]) / 2^shift)).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from espgen import arith
from espgen.errors import EspgenError
from espgen.ir import DType, Graph, Node, QuantParams, Value
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
    zero_points,
)
from espgen.ops.broadcast import initializer, needs_64_bits, operand
from espgen.ops.lowering import LoweringContext, clip_bounds
from espgen.ops.operands import ACTIVATIONS, activation, fetch_all, same_meaning
from espgen.ops.requantize import emit_requantize, sum_weights

MAX_OPERANDS = 8


def reference(node: Node, inputs: Sequence[Array], graph: Graph) -> list[Array]:
    points, zero_point = zero_points(node, graph)
    low, high = bounds(node, graph)
    centred = [data.astype(np.int64) - point for data, point in zip(inputs, points, strict=True)]
    result = arith.apply_weights(centred, node.attrs["weights"], zero_point, low, high)
    return [output_array(np.broadcast_to(result, graph.value(node.outputs[0]).shape), node, graph)]


def sum_bound(node: Node, graph: Graph) -> int:
    """Largest |sum| before the shift, over every input the types can hold."""
    total = 0
    for name, multiplier in zip(node.inputs, node.attrs["weights"].multiplier, strict=True):
        value = graph.value(name)
        total += max(value.dtype.maximum - value.zero_point, value.zero_point - value.dtype.minimum) * abs(multiplier)
    return total


def kernel(node: Node, graph: Graph, storage: StorageOf) -> tuple[KernelCall, ...]:
    result = graph.value(node.outputs[0])
    rows, pixels, channels = rows_of(result.shape)
    operands = [operand(name, result.shape, graph, storage) for name in node.inputs]
    weights: arith.Weights = node.attrs["weights"]
    low, high = bounds(node, graph)
    shape = {
        "pixels": pixels,
        "channels": channels,
        "out_pitch": storage(result.name).pixel_pitch,
        "pixel_stride": initializer([entry.pixel_stride for entry in operands]),
        "channel_stride": initializer([entry.channel_stride for entry in operands]),
        "zero_point": initializer([graph.value(name).zero_point for name in node.inputs]),
        "multiplier": initializer(weights.multiplier),
        "shift": weights.shift,
        "out_zero_point": result.zero_point,
        "low": low,
        "high": high,
        "wide": needs_64_bits(sum_bound(node, graph), weights.shift),
    }
    types = {"output": result.dtype, **{f"input{i}": graph.value(name).dtype for i, name in enumerate(node.inputs)}}
    return (
        KernelCall(
            header="weighted_sum.h",
            function="weighted_sum",
            shape_type="WeightedSumShape",
            shape=shape,
            types=types,
            output=RowTable(result.name, tuple(range(rows))),
            inputs=tuple(entry.table for entry in operands),
            tables=(),
            rows=rows,
            row_begin=0,
            row_end=rows,
            advance=(1,) * len(operands),
        ),
    )


def sum_graph(
    shapes: Sequence[tuple[int, ...]],
    ratios: Sequence[float],
    dtypes: Sequence[DType] = (DType.INT8, DType.INT8),
    out_dtype: DType = DType.INT8,
    points: Sequence[int] = (3, -7),
    out_zero: int = -5,
    constant: int | None = None,
    **attrs: int,
) -> Graph:
    """A one-node weighted sum; operand `constant` is a constant."""
    builder = GraphBuilder("add")
    names = []
    for index, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=False)):
        name, point = f"x{index}", points[index % len(points)]
        if index == constant:
            data = np.random.default_rng(index).integers(dtype.minimum, dtype.maximum + 1, shape).astype(dtype.numpy)
            builder.constant(name, data, QuantParams.tensor(1.0, point))
        else:
            builder.input(name, shape, dtype, 1.0, point)
        names.append(name)
    weights = arith.choose_weights(ratios, 8 * out_dtype.size)
    builder.node("add", names, np.broadcast_shapes(*shapes), out_dtype, 1.0, out_zero, "y", weights=weights, **attrs)
    return builder.build(["y"])


def cases() -> list[Case]:
    i8, i16 = DType.INT8, DType.INT16
    image = (1, 4, 5, 13)
    table = [
        ("same_shape", sum_graph([image, image], [0.71, 0.44])),
        ("power_of_two", sum_graph([image, image], [0.5, 0.25], points=(0, 0), out_zero=0)),
        ("subtract", sum_graph([image, image], [1.0, -1.0])),
        ("clipped", sum_graph([image, image], [0.8, 0.9], low=-5, high=90)),
        ("three_operands", sum_graph([image] * 3, [0.7, 0.2, 0.01], dtypes=(i8,) * 3)),
        ("eight_operands", sum_graph([(3, 17)] * 8, [0.1] * 8, dtypes=(i8,) * 8)),
        ("per_channel_constant", sum_graph([image, (13,)], [0.71, 0.31], constant=1)),
        ("constant_first", sum_graph([(1, 1, 5, 1), image], [0.71, 0.31], constant=0)),
        ("scalar", sum_graph([image, ()], [0.71, 0.31], constant=1)),
        ("rows_broadcast", sum_graph([(2, 3, 4, 5), (3, 1, 5)], [0.5, 0.3])),
        ("columns_broadcast", sum_graph([(2, 3, 4, 5), (2, 1, 4, 1)], [0.5, 0.3])),
        ("both_broadcast", sum_graph([(1, 7), (6, 1)], [0.5, 0.3])),
        ("rank_1", sum_graph([(17,), (17,)], [0.5, 0.3])),
        ("rank_0", sum_graph([(), ()], [0.5, 0.3])),
        ("rank_5", sum_graph([(2, 1, 2, 3, 4), (2, 3, 1, 1, 4)], [0.5, 0.3])),
        ("requantize", sum_graph([image], [0.3719])),
        ("requantize_up", sum_graph([image], [3.7])),
        ("requantize_large_ratio", sum_graph([image], [200.0])),
        ("requantize_tiny_ratio", sum_graph([image], [2.0**-30])),
        ("int8_to_int16", sum_graph([image], [129.3], out_dtype=i16)),
        ("int16_to_int8", sum_graph([image], [0.0031], dtypes=(i16,))),
        ("int16", sum_graph([image, image], [0.71, 0.44], dtypes=(i16, i16), out_dtype=i16, points=(0, 0), out_zero=0)),
        (
            "int16_zero_points",
            sum_graph([image, image], [0.9, 0.8], dtypes=(i16, i16), out_dtype=i16, points=(-32768, 32767)),
        ),
        (
            "int16_power_of_two",
            sum_graph([image, image], [1.0, 0.125], dtypes=(i16, i16), out_dtype=i16, points=(0, 0)),
        ),
        ("mixed_types", sum_graph([image, image], [0.9, 40.0], dtypes=(i16, i8), out_dtype=i16)),
        ("zero_points_at_the_ends", sum_graph([image, image], [1.3, 1.9], points=(-128, 127), out_zero=127)),
    ]
    return [Case(name, graph) for name, graph in table]


def _lower_sum(context: LoweringContext, node: Node) -> None:
    """Add, Sub, Sum, Requantize: one weighted sum with the scale ratios s_i / s_y."""
    result = activation(context, node, node.outputs[0])
    values = [activation(context, node, name, (*ACTIVATIONS, DType.INT32)) for name in node.inputs]
    if len(values) > MAX_OPERANDS:
        raise EspgenError(
            f"{node.op} of {len(values)} tensors", node=node.name, hint=f"add at most {MAX_OPERANDS} tensors at once"
        )
    signs = [-1.0 if node.op == "Sub" and index == 1 else 1.0 for index in range(len(values))]
    ratios = [sign * value.scale / result.scale for sign, value in zip(signs, values, strict=True)]
    operands, layout = fetch_all(context, node, node.inputs)
    output = context.define(node.outputs[0], layout)
    bounds = clip_bounds(context, node, node.outputs[0])
    unclipped = bounds["low"] == result.dtype.minimum and bounds["high"] == result.dtype.maximum
    if node.op == "Requantize" and same_meaning(values[0], result) and unclipped:
        context.emit(node.name, "reshape", operands, (output,))
        return
    if node.op == "Requantize":
        emit_requantize(context, node.name, operands[0], values[0], output, bounds, node.name)
        return
    emit_sum(context, node, operands, values, ratios, output, bounds)


def emit_sum(
    context: LoweringContext,
    node: Node,
    operands: Sequence[str],
    values: Sequence[Value],
    ratios: Sequence[float],
    output: str,
    attrs: dict[str, int],
) -> None:
    """Append `add` with weights for the ratios s_i / s_y; EspgenError where 64 bits could overflow."""
    weights = sum_weights(values, ratios, context.values[output], node.name)
    context.emit(node.name, "add", operands, (output,), weights=weights, **attrs)


LOWER = dict.fromkeys(("Add", "Sub", "Sum", "Requantize"), _lower_sum)


SPECS = (
    OpSpec(
        name="add",
        onnx=("Add", "Sub", "Sum", "Requantize", "QuantizeLinear", "DequantizeLinear"),
        summary="sums and differences of differently scaled, broadcast operands; changes of scale and type",
        reference=reference,
        kernel=kernel,
        cases=cases,
        dtypes=("int8", "int16"),
        in_place=True,
    ),
)
