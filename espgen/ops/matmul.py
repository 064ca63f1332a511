"""Products of matrices, batched with numpy's broadcasting: two run-time operands, or one a constant of any rank.

Attributes: requant (one entry, or one per column; None: raw accumulators), low, high. Inputs: a [.., M, K],
b [.., K, N] of int8 or int16, optionally a constant bias [N].
y = sat(z + requantize(sum_k (a - za)(b - zb) + bias))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
)
from espgen.ops.broadcast import reach
from espgen.ops.lowering import PLAIN, LoweringContext, clip_bounds
from espgen.ops.operands import activation
from espgen.ops.product_lowering import lower_matrix_product
from espgen.ops.requant_view import requant_view


def reference(node: Node, inputs: Sequence[Array], graph: Graph) -> list[Array]:
    first, second, result = (graph.value(name) for name in (*node.inputs[:2], node.outputs[0]))
    acc = (inputs[0].astype(np.int64) - first.zero_point) @ (inputs[1].astype(np.int64) - second.zero_point)
    if len(inputs) > 2:
        acc = acc + inputs[2].astype(np.int64)
    requant = node.attrs["requant"]
    if requant is None:
        return [output_array(acc, node, graph)]
    return [output_array(arith.requantize(acc, requant, result.zero_point, *bounds(node, graph)), node, graph)]


def kernel(node: Node, graph: Graph, storage: StorageOf) -> tuple[KernelCall, ...]:
    first, second, result = (graph.value(name) for name in (*node.inputs[:2], node.outputs[0]))
    rows, pixels, channels = rows_of(result.shape)
    view = requant_view(node.attrs["requant"], channels)
    low, high = bounds(node, graph)
    shape = {
        "pixels": pixels,
        "depth": first.shape[-1],
        "channels": channels,
        "a_pitch": storage(first.name).pixel_pitch,
        "b_pitch": storage(second.name).pixel_pitch,
        "out_pitch": storage(result.name).pixel_pitch,
        "a_zero_point": first.zero_point,
        "b_zero_point": second.zero_point,
        "out_zero_point": result.zero_point,
        "low": low,
        "high": high,
        "requant": view.kind,
        "split": view.split,
    }
    wide = DType.INT16 in (first.dtype, second.dtype)
    bias = graph.constants[node.inputs[2]] if len(node.inputs) > 2 else np.zeros(channels, np.int64)
    return (
        KernelCall(
            header="matmul.h",
            function="matmul",
            shape_type="MatmulShape",
            shape=shape,
            types={"first": first.dtype, "second": second.dtype, "output": result.dtype},
            output=RowTable(result.name, tuple(range(rows))),
            inputs=tuple(RowTable(value.name, _batches(value.shape, result.shape)) for value in (first, second)),
            tables=(("bias", bias.astype(np.int64 if wide else np.int32)), *view.tables),
            rows=rows,
            row_begin=0,
            row_end=rows,
            advance=(1, 1),
        ),
    )


def _batches(shape: tuple[int, ...], result: tuple[int, ...]) -> tuple[int, ...]:
    """The operand's matrix behind every matrix of the result."""
    leading = shape[:-2]
    held = np.arange(int(np.prod(leading, dtype=np.int64))).reshape(leading)
    return tuple(int(row) for row in np.broadcast_to(held, result[:-2]).reshape(-1))


def matmul_graph(
    a: tuple[int, ...],
    b: tuple[int, ...],
    ratio: float = 0.0031,
    dtypes: tuple[DType, DType] = (DType.INT8, DType.INT8),
    points: tuple[int, int, int] = (3, -7, 5),
    constant: bool = False,
    bias: bool = False,
    columns: bool = False,
    **attrs: Any,
) -> Graph:
    """A one-node graph; `columns` gives every column its own ratio."""
    rng = np.random.default_rng(5)
    builder = GraphBuilder("matmul")
    names = [builder.input("a", a, dtypes[0], 1.0, points[0])]
    if constant:
        data = rng.integers(dtypes[1].minimum, dtypes[1].maximum + 1, b).astype(dtypes[1].numpy)
        names.append(builder.constant("b", data, QuantParams.tensor(1.0, points[1])))
    else:
        names.append(builder.input("b", b, dtypes[1], 1.0, points[1]))
    wide = DType.INT16 in dtypes
    if bias:
        names.append(builder.constant("bias", rng.integers(-9999, 9999, b[-1]).astype(np.int64 if wide else np.int32)))
    dtype = DType.INT16 if wide else DType.INT8
    limit = a[-1] * reach(builder.values["a"]) * reach(builder.values["b"]) + 9999
    ratios = [ratio * (1 + index % 3 * columns) for index in range(b[-1] if columns else 1)]
    if "requant" not in attrs:
        attrs["requant"] = arith.choose_requant(ratios, [limit] * len(ratios), 8 * dtype.size)
    shape = (*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1])
    out = dtype if attrs["requant"] is not None else DType.INT32
    builder.node("matmul", names, shape, out, 1.0, points[2] if out is dtype else 0, "y", **attrs)
    return builder.build(["y"])


def cases() -> list[Case]:
    i8, i16 = DType.INT8, DType.INT16
    table = [
        ("matrix", matmul_graph((5, 17), (17, 13))),
        ("attention_scores", matmul_graph((1, 4, 9, 8), (1, 4, 8, 9))),
        ("broadcast_batches", matmul_graph((2, 1, 3, 5), (3, 5, 4))),
        ("broadcast_first", matmul_graph((3, 5), (2, 3, 5, 4))),
        ("constant_of_rank_3", matmul_graph((2, 3, 5), (2, 5, 4), constant=True, bias=True)),
        ("ratio_per_column", matmul_graph((2, 3, 5), (2, 5, 4), constant=True, columns=True)),
        ("vector", matmul_graph((1, 33), (33, 1))),
        ("depth_1", matmul_graph((7, 1), (1, 7), 0.01)),
        ("shift", matmul_graph((5, 16), (16, 16), 2.0**-9, points=(0, 0, 0))),
        ("raw", matmul_graph((5, 16), (16, 3), requant=None)),
        ("clipped", matmul_graph((5, 16), (16, 3), low=5, high=30)),
        ("zero_points_at_the_ends", matmul_graph((5, 64), (64, 3), points=(-128, 127, 127))),
        ("int16", matmul_graph((2, 3, 9), (2, 9, 4), 2e-6, (i16, i16), (0, 0, 0))),
        ("int16_by_int8", matmul_graph((3, 9), (9, 4), 4e-4, (i16, i8), (-700, 3, 900), constant=True)),
    ]
    return [Case(name, graph) for name, graph in table]


def _lower_matmul(context: LoweringContext, node: Node) -> None:
    """MatMul, MatMulInteger: by a constant matrix a convolution, else a product of matrices."""
    if lower_matrix_product(context, node):
        return
    first = activation(context, node, node.inputs[0])
    second, columns = _second(context, node)
    result = context.value(node.outputs[0])
    raw = result.dtype is DType.INT32
    if not raw:
        activation(context, node, node.outputs[0])
    operands = [_matrix(context, node, 0, first), _matrix(context, node, 1, second)]
    width = context.values[operands[1]].shape[-1]
    bias = context.constant(node.input(2)) if node.input(2) else None
    depth = context.values[operands[0]].shape[-1]
    limit = depth * reach(first) * reach(second) + (0 if bias is None else int(np.abs(bias.astype(np.int64)).max()))
    wide = DType.INT16 in (first.dtype, second.dtype)
    if limit >= 1 << (39 if wide else 31):
        raise EspgenError(
            f"a sum of {depth} products can reach {limit}", node=node.name, hint="split the matrices along their inner axis"
        )
    if bias is not None:
        data = np.broadcast_to(bias.reshape(-1), (width,)).astype(np.int64 if wide else np.int32)
        operands.append(context.add_constant(f"{node.name}_bias", data))
    requant = None
    if not raw:
        ratios = [first.scale * scale / result.scale for scale in columns]
        requant = arith.choose_requant(ratios, [limit] * len(ratios), 8 * result.dtype.size, node=node.name)
    attrs = clip_bounds(context, node, node.outputs[0])
    shape = np.broadcast_shapes(*(context.values[name].shape[:-2] for name in operands[:2]))
    full = (*shape, context.values[operands[0]].shape[-2], width)
    if full == result.shape:
        context.emit(node.name, "matmul", operands, (context.define(node.outputs[0], PLAIN),), requant=requant, **attrs)
        return
    output = context.define(node.outputs[0], PLAIN)
    product = context.add_temporary(f"{output}_matrix", full, output)
    context.emit(node.name, "matmul", operands, (product,), requant=requant, **attrs)
    context.emit(f"{node.name}_reshape", "reshape", (product,), (output,))


def _second(context: LoweringContext, node: Node) -> tuple[Value, tuple[float, ...]]:
    """The second operand with one zero point, and its scales: one, or one per column of a constant."""
    name = node.inputs[1]
    value = context.value(name)
    quant = value.quant
    last = len(value.shape) - 1
    if context.constant(name) is None or quant is None or quant.axis != last or len(set(quant.zero_point)) > 1:
        value = activation(context, node, name)
        return value, (value.scale,)
    held = Value(name, value.shape, value.dtype, QuantParams.tensor(1.0, quant.zero_point[0]))
    return activation_type(node, held), quant.scale


def activation_type(node: Node, value: Value) -> Value:
    """`value` if it is int8 or int16, EspgenError otherwise."""
    if value.dtype not in (DType.INT8, DType.INT16):
        raise EspgenError(f"{node.op} on {value.dtype.value}", node=node.name, hint="use int8 or int16")
    return value


def _matrix(context: LoweringContext, node: Node, index: int, value: Value) -> str:
    """Operand `index` in ONNX's order, a vector as a matrix of one row or column."""
    name = node.inputs[index]
    data = context.constant(name)
    shape = value.shape if len(value.shape) > 1 else ((1, *value.shape) if index == 0 else (*value.shape, 1))
    if data is not None:
        return context.add_constant(f"{node.name}_operand", data.reshape(shape), value.quant)
    form = context.fetch(name, PLAIN)
    if shape == value.shape:
        return form
    matrix = context.add_temporary(f"{form}_matrix", shape, form)
    context.emit(f"{node.name}_expand", "reshape", (form,), (matrix,))
    return matrix


LOWER = {"MatMul": _lower_matmul, "MatMulInteger": _lower_matmul}


SPECS = (
    OpSpec(
        name="matmul",
        onnx=("MatMul", "MatMulInteger", "QLinearMatMul"),
        summary="products of two matrices computed at run time, batched",
        reference=reference,
        kernel=kernel,
        macs=lambda node, graph: graph.value(node.outputs[0]).elements * graph.value(node.inputs[0]).shape[-1],
        cases=cases,
        dtypes=("int8", "int16"),
    ),
)
