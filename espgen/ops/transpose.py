"""Axes in another order. Attribute: permutation, output axis k is source axis permutation[k]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from espgen.ir import DType, Graph, Node
from espgen.ops.base import Array, Case, GraphBuilder, KernelCall, OpSpec, StorageOf, output_array
from espgen.ops.lowering import CHANNELS_LAST, PLAIN, LoweringContext
from espgen.ops.movement import along, gather_call, unfilled, whole
from espgen.ops.operands import HELD_AXES, activation, rescaled, same_meaning


def reference(node: Node, inputs: Sequence[Array], graph: Graph) -> list[Array]:
    return [output_array(np.transpose(inputs[0], node.attrs["permutation"]), node, graph)]


def kernel(node: Node, graph: Graph, storage: StorageOf) -> tuple[KernelCall, ...]:
    source = graph.value(node.inputs[0])
    axes = node.attrs["permutation"]
    movement = unfilled([along(np.arange(source.shape[axis]), axis, len(source.shape)) for axis in axes])
    shape = tuple(source.shape[axis] for axis in axes)
    return (gather_call(node, source.name, movement, whole(shape), graph, storage),)


def transpose_graph(shape: tuple[int, ...], permutation: tuple[int, ...], dtype: DType = DType.INT8) -> Graph:
    """A one-node graph."""
    builder = GraphBuilder("transpose")
    builder.input("x", shape, dtype, 1.0, 6)
    turned = [shape[axis] for axis in permutation]
    builder.node("transpose", ("x",), turned, dtype, 1.0, 6, "y", permutation=permutation)
    return builder.build(["y"])


def cases() -> list[Case]:
    table = [
        ("to_channels_last", transpose_graph((1, 3, 4, 5), (0, 2, 3, 1))),
        ("to_channels_first", transpose_graph((1, 4, 5, 17), (0, 3, 1, 2))),
        ("matrix", transpose_graph((5, 17), (1, 0))),
        ("attention_heads", transpose_graph((1, 6, 4, 8), (0, 2, 1, 3))),
        ("reversed", transpose_graph((2, 3, 4, 5), (3, 2, 1, 0))),
        ("rank_3", transpose_graph((3, 4, 5), (2, 0, 1))),
        ("rank_6", transpose_graph((1, 2, 2, 3, 2, 4), (0, 1, 4, 2, 5, 3))),
        ("identity", transpose_graph((2, 3), (0, 1))),
        ("int16", transpose_graph((1, 3, 4, 5), (0, 2, 3, 1), DType.INT16)),
    ]
    return [Case(name, graph) for name, graph in table]


def _lower_transpose(context: LoweringContext, node: Node) -> None:
    """Transpose: no movement where a held form already has the order, or the output can be held in the order there is."""
    source, output = node.inputs[0], node.outputs[0]
    before, after = context.value(source), context.value(output)
    if not same_meaning(before, after):
        activation(context, node, source)
    perm = tuple(node.attrs["perm"])
    rank = len(perm)
    orders = {PLAIN: tuple(range(rank))} | ({CHANNELS_LAST: HELD_AXES[rank]} if rank in HELD_AXES else {})
    for layout, order in orders.items():
        if layout not in context.forms.get(source, {}) and context.constant(source) is None:
            continue
        for target, wanted in orders.items():
            moving = [order.index(perm[axis]) for axis in wanted if after.shape[axis] != 1]
            if moving == sorted(moving):
                operand = rescaled(context, node, context.fetch(source, layout), before, after)
                context.emit(node.name, "reshape", (operand,), (context.define(output, target),))
                return
    if rank == 4 and CHANNELS_LAST in context.forms.get(source, {}) and PLAIN not in context.forms[source]:
        operand, order = context.fetch(source, CHANNELS_LAST), HELD_AXES[4]
    else:
        operand, order = context.fetch(source, PLAIN), orders[PLAIN]
    operand = rescaled(context, node, operand, before, after)
    permutation = tuple(order.index(axis) for axis in perm)
    context.emit(node.name, "transpose", (operand,), (context.define(output, PLAIN),), permutation=permutation)


LOWER = {"Transpose": _lower_transpose}


SPECS = (
    OpSpec(
        name="transpose",
        onnx=("Transpose",),
        summary="axes in another order",
        reference=reference,
        kernel=kernel,
        cases=cases,
        dtypes=("int8", "int16"),
    ),
)
