"""Concatenation along any axis of values with one scale and type (other operands are rescaled before).

Attribute: axis. Inputs: any number, constants included.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from espgen.ir import DType, Graph, Node, QuantParams
from espgen.ops.base import Array, Case, GraphBuilder, KernelCall, OpSpec, StorageOf, output_array, rows_of
from espgen.ops.lowering import LoweringContext
from espgen.ops.movement import Region, gather_call, per_axis
from espgen.ops.operands import activation, fetch_all, held_axis, rescaled, same_meaning
from espgen.ops.strides import at_least_2


def reference(node: Node, inputs: Sequence[Array], graph: Graph) -> list[Array]:
    return [output_array(np.concatenate(list(inputs), axis=node.attrs["axis"]), node, graph)]


def kernel(node: Node, graph: Graph, storage: StorageOf) -> tuple[KernelCall, ...]:
    result = graph.value(node.outputs[0])
    shape = at_least_2(result.shape)
    axis = node.attrs["axis"] % len(result.shape) + len(shape) - len(result.shape)
    rows = np.arange(rows_of(shape)[0]).reshape(shape[:-2])
    calls, start = [], 0
    for index, name in enumerate(node.inputs):
        part = at_least_2(graph.value(name).shape)
        last = index == len(node.inputs) - 1
        chosen = rows if axis >= len(shape) - 2 else np.take(rows, np.arange(start, start + part[axis]), axis)
        region = Region(
            shape=part,
            rows=tuple(int(row) for row in chosen.reshape(-1)),
            first_pixel=start if axis == len(shape) - 2 else 0,
            byte_offset=start * result.dtype.size if axis == len(shape) - 1 else 0,
            row_begin=0,
            row_end=rows.size if last else 0,
        )
        movement = per_axis([np.arange(extent) for extent in graph.value(name).shape])
        calls.append(gather_call(node, name, movement, region, graph, storage))
        start += part[axis]
    return tuple(calls)


def concat_graph(shapes: Sequence[tuple[int, ...]], axis: int, dtype: DType = DType.INT8, constant: int | None = None) -> Graph:
    """A one-node graph; operand `constant` is a constant."""
    builder = GraphBuilder("concat")
    names = []
    for index, shape in enumerate(shapes):
        if index == constant:
            data = np.random.default_rng(index).integers(dtype.minimum, dtype.maximum + 1, shape).astype(dtype.numpy)
            names.append(builder.constant(f"x{index}", data, QuantParams.tensor(1.0, 6)))
        else:
            names.append(builder.input(f"x{index}", shape, dtype, 1.0, 6))
    extents = list(shapes[0])
    extents[axis] = sum(entry[axis] for entry in shapes)
    builder.node("concat", names, extents, dtype, 1.0, 6, "y", axis=axis)
    return builder.build(["y"])


def cases() -> list[Case]:
    table = [
        ("channels", concat_graph([(1, 3, 4, 5), (1, 3, 4, 16), (1, 3, 4, 1)], 3)),
        ("columns", concat_graph([(1, 3, 4, 5), (1, 3, 7, 5)], 2)),
        ("rows", concat_graph([(1, 3, 4, 5), (1, 2, 4, 5)], 1)),
        ("rows_of_batch_2", concat_graph([(2, 3, 4, 5), (2, 2, 4, 5)], 1)),
        ("batch", concat_graph([(1, 3, 4, 5), (2, 3, 4, 5)], 0)),
        ("rank_1", concat_graph([(3,), (1,), (14,)], 0)),
        ("rank_2_rows", concat_graph([(3, 7), (1, 7)], 0)),
        ("rank_5", concat_graph([(1, 2, 3, 4, 5), (1, 2, 2, 4, 5)], 2)),
        ("with_a_constant", concat_graph([(1, 3, 4, 5), (1, 3, 4, 3)], -1, constant=1)),
        ("int16", concat_graph([(1, 3, 4, 5), (1, 3, 4, 3)], 3, DType.INT16)),
    ]
    return [Case(name, graph) for name, graph in table]


def _lower_concat(context: LoweringContext, node: Node) -> None:
    """Concat; operands with another scale than the result are rescaled, each with one rounding."""
    result = context.value(node.outputs[0])
    values = [context.value(name) for name in node.inputs]
    for name, value in zip(node.inputs, values, strict=True):
        if not same_meaning(value, result):
            activation(context, node, name)
            activation(context, node, node.outputs[0])
    operands, layout = fetch_all(context, node, node.inputs)
    operands = [rescaled(context, node, operand, value, result) for operand, value in zip(operands, values, strict=True)]
    axis = held_axis(int(node.attrs["axis"]), len(result.shape), layout)
    context.emit(node.name, "concat", operands, (context.define(node.outputs[0], layout),), axis=axis)


LOWER = {"Concat": _lower_concat}


SPECS = (
    OpSpec(
        name="concat",
        onnx=("Concat", "QLinearConcat"),
        summary="concatenation along any axis, operands rescaled where their scales differ",
        reference=reference,
        kernel=kernel,
        cases=cases,
        dtypes=("int8", "int16"),
    ),
)
