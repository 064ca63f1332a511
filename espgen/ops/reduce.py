"""Mean, maximum and minimum over any axes.

Attributes: axes (of the input as it is held, ascending), low, high; mean also ratio (arith.Ratio of the scales; its denominator
already holds the number of elements) and, where exact ties go the way of float32, float_ties (float_ties.FloatTies).
The output has the other axes, the reduced ones as 1 or not at all.
mean  y = sat(z + rne(numerator * sum (x - zx) / denominator));   max, min  y = clip(extreme x)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from espgen import arith
from espgen.ir import DType, Graph, Node
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
from espgen.ops.broadcast import NARROW, reach
from espgen.ops.float_ties import FloatTies, float_ties, round_means
from espgen.ops.lowering import CHANNELS_LAST, PLAIN, LoweringContext, clip_bounds
from espgen.ops.operands import HELD_AXES, activation, bounded_ratio, held_axis, rescaled
from espgen.ops.strides import IntArray, at_least_2, every, places


def mean_reference(node: Node, inputs: Sequence[Array], graph: Graph) -> list[Array]:
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    axes: tuple[int, ...] = tuple(node.attrs["axes"])
    centred = inputs[0].astype(np.int64) - source.zero_point
    low, high = bounds(node, graph)
    ties: FloatTies | None = node.attrs.get("float_ties")
    if ties is not None:
        kept = [axis for axis in range(centred.ndim) if axis not in axes]
        arranged = centred.transpose(*kept, *axes).reshape(*(centred.shape[axis] for axis in kept), -1)
        rounded = round_means(arranged, node.attrs["ratio"], ties)
        return [output_array(arith.saturate(rounded + result.zero_point, low, high), node, graph)]
    total = centred.sum(axis=axes)
    return [output_array(arith.apply_ratio(total, node.attrs["ratio"], result.zero_point, low, high), node, graph)]


def max_reference(node: Node, inputs: Sequence[Array], graph: Graph) -> list[Array]:
    return [output_array(arith.saturate(inputs[0].max(axis=tuple(node.attrs["axes"])), *bounds(node, graph)), node, graph)]


def min_reference(node: Node, inputs: Sequence[Array], graph: Graph) -> list[Array]:
    return [output_array(arith.saturate(inputs[0].min(axis=tuple(node.attrs["axes"])), *bounds(node, graph)), node, graph)]


def _kept_coordinates(node: Node, graph: Graph) -> IntArray:
    """[output elements, input rank] coordinates of the first element behind every output element."""
    shape = graph.value(node.inputs[0]).shape
    kept = [1 if axis in node.attrs["axes"] else extent for axis, extent in enumerate(shape)]
    padding = max(0, 2 - len(shape))
    return np.pad(every(kept), ((0, 0), (padding, 0)))


def _calls(node: Node, graph: Graph, storage: StorageOf) -> tuple[KernelCall, ...]:
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    held = storage(source.name)
    rows, pixels, channels = rows_of(result.shape)
    shape = at_least_2(source.shape)
    axes = {axis + len(shape) - len(source.shape) for axis in node.attrs["axes"]}
    origins = places(_kept_coordinates(node, graph), shape, held)
    grid = (rows, pixels, channels)
    starts, within = origins.rows.reshape(grid), origins.offsets.reshape(grid)
    across = starts * held.row_pitch + within
    reduced_rows = [extent if axis in axes else 1 for axis, extent in enumerate(shape[:-2])]
    behind = np.zeros(1, np.int64)
    for count, extent in zip(reduced_rows, shape[:-2], strict=True):
        behind = (behind[:, None] * extent + np.arange(count)[None, :]).reshape(-1)
    low, high = bounds(node, graph)
    ratio: arith.Ratio = node.attrs.get("ratio", arith.Ratio(1, 1))
    elements = source.elements // max(result.elements, 1)
    largest = max(elements * reach(source) * ratio.numerator, 2 * ratio.denominator)
    fields = {
        "pixels": pixels,
        "channels": channels,
        "out_pitch": storage(result.name).pixel_pitch,
        "reduce_rows": len(behind),
        "reduce_pixels": shape[-2] if len(shape) - 2 in axes else 1,
        "reduce_channels": shape[-1] if len(shape) - 1 in axes else 1,
        "in_pitch": held.pixel_pitch,
        "in_zero_point": source.zero_point,
        "out_zero_point": result.zero_point,
        "low": low,
        "high": high,
        "numerator": ratio.numerator,
        "denominator": ratio.denominator,
        "reduction": _REDUCTIONS[node.op],
        "wide": int(node.op == "reduce_mean" and largest >= NARROW),
        "float_ties": _printed(node.attrs.get("float_ties")),
    }
    first_rows = starts[:, 0, 0]
    return (
        KernelCall(
            header="reduce.h",
            function="reduce",
            shape_type="ReduceShape",
            shape=fields,
            types={"input": source.dtype, "output": result.dtype},
            output=RowTable(result.name, tuple(range(rows))),
            inputs=(RowTable(source.name, tuple(int(row) for row in (first_rows[:, None] + behind).reshape(-1))),),
            tables=(
                ("row_offset", within[:, 0, 0].astype(np.int32)),
                ("pixel_offset", (across[0, :, 0] - across[0, 0, 0]).astype(np.int32)),
                ("channel_offset", (across[0, 0, :] - across[0, 0, 0]).astype(np.int32)),
            ),
            rows=rows,
            row_begin=0,
            row_end=rows,
            # Elements behind one output row may begin in several input rows, which the row table does not name.
            advance=(len(behind),) if np.all(starts == starts[:, :1, :1]) else None,
            table_advance={"row_offset": 1},
        ),
    )


def _printed(ties: FloatTies | None) -> str:
    """Initializer of the C++ structure; nine digits give the same float32."""
    return "{}" if ties is None else f"{{{ties.input_scale:.8e}F, {ties.output_scale:.8e}F}}"


_REDUCTIONS = {"reduce_mean": "Reduction::kMean", "reduce_max": "Reduction::kMax", "reduce_min": "Reduction::kMin"}


def reduce_graph(
    op: str,
    x_shape: tuple[int, ...],
    axes: tuple[int, ...],
    keep: bool = True,
    dtype: DType = DType.INT8,
    ratio: float = 1.0,
    points: tuple[int, int] = (4, 4),
    scale: float = 1.0,
    **attrs: Any,
) -> Graph:
    """A one-reduction graph; `scale` is s_x, `ratio` s_x / s_y. A `scale` other than 1: ties go the way of float32."""
    builder = GraphBuilder(op)
    builder.input("x", x_shape, dtype, scale, points[0])
    count = int(np.prod([x_shape[axis] for axis in axes]))
    if op == "reduce_mean":
        attrs["ratio"] = arith.choose_ratio(ratio, count)
    if scale != 1.0:
        attrs["float_ties"] = FloatTies(*(float(np.float32(one)) for one in (scale, scale / ratio)))
    shape = [1 if axis in axes else extent for axis, extent in enumerate(x_shape) if keep or axis not in axes]
    builder.node(op, ("x",), shape, dtype, scale / ratio, points[1], "y", axes=axes, **attrs)
    return builder.build(["y"])


def _axes_cases(op: str) -> list[tuple[str, Graph]]:
    image, i16 = (1, 5, 6, 17), DType.INT16
    return [
        ("global", reduce_graph(op, image, (1, 2))),
        ("global_dropped", reduce_graph(op, image, (1, 2), keep=False)),
        ("channels", reduce_graph(op, image, (3,))),
        ("channels_dropped", reduce_graph(op, image, (3,), keep=False)),
        ("rows", reduce_graph(op, image, (1,), keep=False)),
        ("columns", reduce_graph(op, image, (2,), keep=False)),
        ("rows_and_channels", reduce_graph(op, image, (1, 3), keep=False)),
        ("everything", reduce_graph(op, (3, 7), (0, 1), keep=False)),
        ("rank_1", reduce_graph(op, (19,), (0,))),
        ("batch_of_rank_3", reduce_graph(op, (4, 3, 5), (0,), keep=False)),
        ("rank_5", reduce_graph(op, (2, 3, 2, 4, 5), (1, 3), keep=False)),
        ("leading_axes_apart", reduce_graph(op, (3, 4, 2, 5, 3), (0, 2), keep=False)),
        ("no_axes", reduce_graph(op, (2, 3, 4), ())),
        ("clipped", reduce_graph(op, image, (1, 2), low=2, high=20)),
        ("int16", reduce_graph(op, image, (1, 2), dtype=i16, points=(-7, 9))),
    ]


def mean_cases() -> list[Case]:
    op, image = "reduce_mean", (1, 7, 7, 20)
    table = [
        *_axes_cases(op),
        ("rescaled", reduce_graph(op, image, (1, 2), ratio=1.37, points=(-128, 127))),
        ("power_of_two", reduce_graph(op, image, (1, 2), ratio=4.0, points=(0, 0))),
        ("ratio_large", reduce_graph(op, image, (1, 2), ratio=300.0, points=(-3, 5))),
        ("int16_rescaled", reduce_graph(op, image, (1, 2), dtype=DType.INT16, ratio=0.77, points=(-32768, 3))),
        *_float_tie_cases(op),
    ]
    return [Case(name, graph) for name, graph in table]


def _float_tie_cases(op: str) -> list[tuple[str, Graph]]:
    """Small divisors, so that many means are ties, and counts of positions that do and do not fill four lanes."""
    scale = 0.0235
    return [
        ("float_ties_4x4", reduce_graph(op, (1, 4, 4, 40), (1, 2), scale=scale, points=(-128, -128))),
        ("float_ties_batch_plain", reduce_graph(op, (2, 19, 3, 2), (2, 3), scale=scale)),
        ("float_ties_two", reduce_graph(op, (1, 2, 1, 33), (1, 2), keep=False, scale=scale)),
        ("float_ties_rows_of_7", reduce_graph(op, (1, 2, 7, 300), (1, 2), scale=scale, points=(11, -3))),
        ("float_ties_columns", reduce_graph(op, (1, 6, 1, 300), (1, 2), scale=scale, points=(127, 5))),
        ("float_ties_halved", reduce_graph(op, (1, 3, 3, 300), (1, 2), ratio=0.5, scale=scale, points=(0, 0))),
        ("float_ties_clipped", reduce_graph(op, (1, 2, 2, 48), (1, 2), scale=scale, low=-3, high=4)),
        ("float_ties_rank_5", reduce_graph(op, (1, 48, 2, 3, 1), (2, 3, 4), scale=scale)),
        ("float_ties_int16", reduce_graph(op, (1, 3, 2, 40), (1, 2), dtype=DType.INT16, scale=scale, points=(-700, 9))),
    ]


def max_cases() -> list[Case]:
    return [Case(name, graph) for name, graph in _axes_cases("reduce_max")]


def min_cases() -> list[Case]:
    return [Case(name, graph) for name, graph in _axes_cases("reduce_min")]


def _reduction(context: LoweringContext, node: Node, axes: Sequence[int], keep: bool) -> tuple[str, str, tuple[int, ...]]:
    """Operand, declared output and held axes: channels last where the kept axes stay in an order the output can have."""
    source, output = node.inputs[0], node.outputs[0]
    rank, out_rank = len(context.value(source).shape), len(context.value(output).shape)
    layout = context.layout_of([source]) if rank in HELD_AXES else PLAIN
    target = layout
    if layout == CHANNELS_LAST and not keep:
        kept = [axis for axis in HELD_AXES[rank] if axis not in axes]
        renumbered = [sorted(kept).index(axis) for axis in kept]
        moving = [axis for axis in renumbered if context.value(output).shape[axis] != 1]
        if moving == sorted(moving):
            target = PLAIN
        elif out_rank != 3 or tuple(renumbered) != HELD_AXES[3]:
            layout = target = PLAIN
    operand = context.fetch(source, layout)
    held = tuple(sorted(held_axis(axis, rank, layout) for axis in axes))
    return operand, context.define(output, target), held


def lower_mean(context: LoweringContext, node: Node) -> None:
    """GlobalAveragePool, ReduceMean, ReduceSum; AveragePool whose window is the whole image."""
    source = activation(context, node, node.inputs[0])
    result = activation(context, node, node.outputs[0])
    rank = len(source.shape)
    pool = node.op in ("GlobalAveragePool", "AveragePool")
    axes = tuple(range(2, rank)) if pool else tuple(node.attrs["axes"])
    elements = int(np.prod([source.shape[axis] for axis in axes], dtype=np.int64))
    ratio = bounded_ratio(source, result, 1 if node.op == "ReduceSum" else elements, elements, node)
    operand, output, held = _reduction(context, node, axes, pool or bool(node.attrs["keepdims"]))
    attrs: dict[str, Any] = clip_bounds(context, node, node.outputs[0])
    ties = float_ties(source, result, ratio, elements) if pool else None
    if ties is not None:
        attrs["float_ties"] = ties
    context.emit(node.name, "reduce_mean", (operand,), (output,), axes=held, ratio=ratio, **attrs)


def _lower_extreme(context: LoweringContext, node: Node) -> None:
    """GlobalMaxPool, ReduceMax, ReduceMin; where the output has another scale, the input is rescaled first."""
    source = activation(context, node, node.inputs[0])
    result = activation(context, node, node.outputs[0])
    pool = node.op == "GlobalMaxPool"
    axes = tuple(range(2, len(source.shape))) if pool else tuple(node.attrs["axes"])
    operand, output, held = _reduction(context, node, axes, pool or bool(node.attrs["keepdims"]))
    operand = rescaled(context, node, operand, source, result)
    attrs = clip_bounds(context, node, node.outputs[0])
    op = "reduce_min" if node.op == "ReduceMin" else "reduce_max"
    context.emit(node.name, op, (operand,), (output,), axes=held, **attrs)


LOWER = {
    **dict.fromkeys(("GlobalAveragePool", "ReduceMean", "ReduceSum"), lower_mean),
    **dict.fromkeys(("GlobalMaxPool", "ReduceMax", "ReduceMin"), _lower_extreme),
}


SPECS = (
    OpSpec(
        name="reduce_mean",
        onnx=("GlobalAveragePool", "ReduceMean", "ReduceSum", "QLinearGlobalAveragePool"),
        summary="mean or sum over any axes",
        reference=mean_reference,
        kernel=_calls,
        macs=lambda node, graph: graph.value(node.inputs[0]).elements,
        cases=mean_cases,
        dtypes=("int8", "int16"),
    ),
    OpSpec(
        name="reduce_max",
        onnx=("ReduceMax", "GlobalMaxPool"),
        summary="maximum over any axes",
        reference=max_reference,
        kernel=_calls,
        cases=max_cases,
        dtypes=("int8", "int16"),
    ),
    OpSpec(
        name="reduce_min",
        onnx=("ReduceMin",),
        summary="minimum over any axes",
        reference=min_reference,
        kernel=_calls,
        cases=min_cases,
        dtypes=("int8", "int16"),
    ),
)
