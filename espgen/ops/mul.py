"""Product of two broadcast operands.

Attributes: requant, low, high. Inputs: two tensors of int8 or int16, one may be a constant.
y = sat(z + requantize((x1 - z1) * (x2 - z2))).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from espgen import arith
from espgen.errors import EspgenError
from espgen.ir import DType, Graph, Node, QuantParams
from espgen.ir.layout import channels_last_layout, to_layout
from espgen.ops.base import Array, Case, GraphBuilder, KernelCall, OpSpec, StorageOf, bounds, output_array, rows_of, zero_points
from espgen.ops.broadcast import NARROW, operand, reach, rowwise_call, uniform_requant
from espgen.ops.lowering import CHANNELS_LAST, LoweringContext, clip_bounds
from espgen.ops.operands import activation, common_layout, fetch_all, real_values


def reference(node: Node, inputs: Sequence[Array], graph: Graph) -> list[Array]:
    points, zero_point = zero_points(node, graph)
    low, high = bounds(node, graph)
    acc = (inputs[0].astype(np.int64) - points[0]) * (inputs[1].astype(np.int64) - points[1])
    return [output_array(arith.requantize(acc, node.attrs["requant"], zero_point, low, high), node, graph)]


def kernel(node: Node, graph: Graph, storage: StorageOf) -> tuple[KernelCall, ...]:
    result = graph.value(node.outputs[0])
    _, pixels, channels = rows_of(result.shape)
    first, second = (operand(name, result.shape, graph, storage) for name in node.inputs)
    low, high = bounds(node, graph)
    values = [graph.value(name) for name in node.inputs]
    shape = {
        "pixels": pixels,
        "channels": channels,
        "out_pitch": storage(result.name).pixel_pitch,
        "first_pixel_stride": first.pixel_stride,
        "first_channel_stride": first.channel_stride,
        "first_zero_point": values[0].zero_point,
        "second_pixel_stride": second.pixel_stride,
        "second_channel_stride": second.channel_stride,
        "second_zero_point": values[1].zero_point,
        "out_zero_point": result.zero_point,
        "low": low,
        "high": high,
        "requant": uniform_requant(node.attrs["requant"]),
        "wide": int(reach(values[0]) * reach(values[1]) >= NARROW),
    }
    return rowwise_call(node, graph, "product.h", "ProductShape", shape, node.inputs, storage)


def product_graph(
    shapes: Sequence[tuple[int, ...]],
    ratio: float,
    dtypes: Sequence[DType] = (DType.INT8, DType.INT8),
    out_dtype: DType = DType.INT8,
    points: Sequence[int] = (3, -7),
    out_zero: int = -5,
    constant: int | None = None,
    **attrs: int,
) -> Graph:
    """A one-node product; operand `constant` is a constant."""
    builder = GraphBuilder("mul")
    limit = 1
    for index, (shape, dtype, point) in enumerate(zip(shapes, dtypes, points, strict=True)):
        if index == constant:
            data = np.random.default_rng(index).integers(dtype.minimum, dtype.maximum + 1, shape).astype(dtype.numpy)
            builder.constant(f"x{index}", data, QuantParams.tensor(1.0, point))
        else:
            builder.input(f"x{index}", shape, dtype, 1.0, point)
        limit *= reach(builder.values[f"x{index}"])
    requant = arith.choose_requant([ratio], [limit], 8 * out_dtype.size)
    shape = np.broadcast_shapes(*shapes)
    builder.node("mul", ("x0", "x1"), shape, out_dtype, 1.0, out_zero, "y", requant=requant, **attrs)
    return builder.build(["y"])


def cases() -> list[Case]:
    i8, i16 = DType.INT8, DType.INT16
    image = (1, 4, 5, 13)
    table = [
        ("scale", product_graph([image, image], 0.0071)),
        ("shift", product_graph([image, image], 2.0**-7, points=(0, 0), out_zero=0)),
        ("shift_zero", product_graph([image, image], 1.0)),
        ("ratio_above_one", product_graph([image, image], 3.3)),
        ("ratio_tiny", product_graph([image, image], 2.0**-26 * 1.1)),
        ("clipped", product_graph([image, image], 0.01, low=-5, high=60)),
        ("squeeze_and_excite", product_graph([image, (1, 1, 1, 13)], 0.0071)),
        ("excite_first", product_graph([(1, 1, 1, 13), image], 0.0071)),
        ("spatial_attention", product_graph([image, (1, 4, 5, 1)], 0.0071)),
        ("constant_channels", product_graph([image, (13,)], 0.0071, constant=1)),
        ("scalar", product_graph([(), image], 0.0071)),
        ("both_broadcast", product_graph([(2, 1, 3, 1), (5, 1, 4)], 0.0071)),
        ("rank_1", product_graph([(17,), (17,)], 0.0071)),
        ("rank_5", product_graph([(2, 1, 2, 3, 4), (2, 3, 1, 1, 4)], 0.0071)),
        ("zero_points_at_the_ends", product_graph([image, image], 0.0041, points=(-128, 127), out_zero=127)),
        ("int16", product_graph([image, image], 3.1e-5, points=(0, 0), dtypes=(i16, i16), out_dtype=i16)),
        ("int16_shift", product_graph([image, image], 2.0**-15, points=(0, 0), dtypes=(i16, i16), out_dtype=i16)),
        ("int16_zero_points", product_graph([image, image], 1.7e-5, (i16, i16), i16, points=(-32768, 32767))),
        ("int16_by_int8", product_graph([image, image], 0.0077, dtypes=(i16, i8), out_dtype=i16)),
        ("int8_to_int16", product_graph([image, image], 0.77, dtypes=(i8, i8), out_dtype=i16)),
        ("int16_to_int8", product_graph([image, image], 1.7e-7, dtypes=(i16, i16), out_dtype=i8)),
    ]
    return [Case(name, graph) for name, graph in table]


def _lower_product(context: LoweringContext, node: Node) -> None:
    """Mul: one product with the scale ratio s_1 s_2 / s_y."""
    result = activation(context, node, node.outputs[0])
    values = [activation(context, node, name) for name in node.inputs]
    operands, layout = fetch_all(context, node, node.inputs)
    output = context.define(node.outputs[0], layout)
    attrs = clip_bounds(context, node, node.outputs[0])
    ratio = values[0].scale * values[1].scale / result.scale
    bound = reach(values[0]) * reach(values[1])
    requant = arith.choose_requant([ratio], [bound], 8 * result.dtype.size, node=node.name)
    context.emit(node.name, "mul", operands, (output,), requant=requant, **attrs)


def _lower_quotient(context: LoweringContext, node: Node) -> None:
    """Div by a constant: the product with its reciprocals, symmetric in the activation's type."""
    result = activation(context, node, node.outputs[0])
    value = activation(context, node, node.inputs[0])
    divisor = real_values(context, node.inputs[1])
    if divisor is None or not np.all(divisor != 0.0):
        what = "a tensor computed at run time" if divisor is None else "a constant 0"
        raise EspgenError(f"division by {what}", node=node.name, hint="divide by a constant that is nowhere 0")
    reciprocal = 1.0 / divisor
    layout = common_layout(context, node, node.inputs[:1])
    rank = len(result.shape)
    left = context.fetch(node.inputs[0], layout, rank if layout == CHANNELS_LAST else None)
    output = context.define(node.outputs[0], layout)
    attrs = clip_bounds(context, node, node.outputs[0])
    scale = float(np.abs(reciprocal).max()) / DType.INT16.maximum
    data = np.rint(reciprocal / scale).astype(np.int16)
    if layout == CHANNELS_LAST:
        data = to_layout(data.reshape((1,) * (rank - data.ndim) + data.shape), channels_last_layout(rank))
    right = context.add_constant(f"{node.name}_reciprocal", data, QuantParams.tensor(scale))
    bound = reach(value) * reach(context.values[right])
    ratio = value.scale * scale / result.scale
    requant = arith.choose_requant([ratio], [bound], 8 * result.dtype.size, node=node.name)
    context.emit(node.name, "mul", (left, right), (output,), requant=requant, **attrs)


LOWER = {"Mul": _lower_product, "Div": _lower_quotient}


SPECS = (
    OpSpec(
        name="mul",
        onnx=("Mul", "Div"),
        summary="products of broadcast operands; quotients by constants",
        reference=reference,
        kernel=kernel,
        macs=lambda node, graph: graph.value(node.outputs[0]).elements,
        cases=cases,
        dtypes=("int8", "int16"),
        in_place=True,
    ),
)
