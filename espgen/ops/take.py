"""Elements at given indices along every axis: nearest Resize, Tile, Expand, Gather by constant indices.

Attribute: indices, one tuple of source indices per axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from espgen.errors import EspgenError
from espgen.ir import DType, Graph, Node
from espgen.ops.base import Array, Case, GraphBuilder, KernelCall, OpSpec, StorageOf, output_array
from espgen.ops.lowering import PLAIN, LoweringContext
from espgen.ops.movement import gather_call, per_axis, whole
from espgen.ops.operands import activation, fetch_moved, rescaled, same_meaning, to_held

Indices = tuple[tuple[int, ...], ...]


def reference(node: Node, inputs: Sequence[Array], graph: Graph) -> list[Array]:
    return [output_array(inputs[0][np.ix_(*node.attrs["indices"])], node, graph)]


def kernel(node: Node, graph: Graph, storage: StorageOf) -> tuple[KernelCall, ...]:
    movement = per_axis([np.asarray(index, np.int64) for index in node.attrs["indices"]])
    region = whole(graph.value(node.outputs[0]).shape)
    return (gather_call(node, node.inputs[0], movement, region, graph, storage),)


def take_graph(shape: tuple[int, ...], indices: Indices, dtype: DType = DType.INT8) -> Graph:
    """A one-node graph."""
    builder = GraphBuilder("take")
    builder.input("x", shape, dtype, 1.0, 6)
    taken = [len(entry) for entry in indices]
    builder.node("take", ("x",), taken, dtype, 1.0, 6, "y", indices=indices)
    return builder.build(["y"])


def cases() -> list[Case]:
    def doubled(extent: int) -> tuple[int, ...]:
        return tuple(chain.from_iterable((index, index) for index in range(extent)))

    def all_of(extent: int) -> tuple[int, ...]:
        return tuple(range(extent))

    table = [
        ("twice_the_size", take_graph((1, 3, 4, 5), (all_of(1), doubled(3), doubled(4), all_of(5)))),
        ("half_the_size", take_graph((1, 6, 8, 5), (all_of(1), (0, 2, 4), (1, 3, 5, 7), all_of(5)))),
        ("odd_factor", take_graph((1, 5, 5, 3), (all_of(1), (0, 0, 1, 2, 3, 4, 4), (0, 1, 1, 2, 3, 3, 4), all_of(3)))),
        ("repeated_channels", take_graph((1, 2, 3, 5), (all_of(1), all_of(2), all_of(3), (4, 0, 0, 2, 1, 3, 3)))),
        ("tile_rank_2", take_graph((3, 4), (all_of(3) * 2, all_of(4) * 3))),
        ("expand_rank_5", take_graph((1, 2, 1, 3, 1), ((0, 0), all_of(2), (0,) * 3, all_of(3), (0,) * 4))),
        ("gather_rank_1", take_graph((9,), ((8, 0, 3, 3),))),
        ("int16", take_graph((1, 3, 4, 5), (all_of(1), doubled(3), doubled(4), all_of(5)), DType.INT16)),
    ]
    return [Case(name, graph) for name, graph in table]


def emit_take(context: LoweringContext, node: Node, indices: Sequence[Sequence[int]]) -> None:
    """Append `take` with indices per ONNX axis, in the layout that the operand has."""
    operand, layout = fetch_moved(context, node, node.outputs[0])
    output = context.define(node.outputs[0], layout)
    order = [int(entry) for entry in to_held(range(len(indices)), layout, -1)]
    held = tuple((0,) if axis < 0 else tuple(int(index) for index in indices[axis]) for axis in order)
    context.emit(node.name, "take", (operand,), (output,), indices=held)


def _lower_tile(context: LoweringContext, node: Node) -> None:
    """Tile: every axis repeated."""
    shape = context.value(node.inputs[0]).shape
    repeats = node.attrs["repeats"]
    emit_take(context, node, [tuple(range(extent)) * count for extent, count in zip(shape, repeats, strict=True)])


def _lower_expand(context: LoweringContext, node: Node) -> None:
    """Expand: axes of extent 1 repeated, ones in front where the rank grows."""
    source, result = context.value(node.inputs[0]), context.value(node.outputs[0])
    if len(source.shape) == len(result.shape):
        pairs = zip(source.shape, result.shape, strict=True)
        emit_take(context, node, [range(new) if old == new else (0,) * new for old, new in pairs])
        return
    if not same_meaning(source, result):
        activation(context, node, node.inputs[0])
    shape = (1,) * (len(result.shape) - len(source.shape)) + source.shape
    operand = rescaled(context, node, context.fetch(node.inputs[0], PLAIN), source, result)
    wider = context.add_temporary(f"{operand}_wider", shape, operand)
    context.emit(f"{node.name}_reshape", "reshape", (operand,), (wider,))
    indices = tuple(tuple(range(new)) if old == new else (0,) * new for old, new in zip(shape, result.shape, strict=True))
    context.emit(node.name, "take", (wider,), (context.define(node.outputs[0], PLAIN),), indices=indices)


def _lower_gather(context: LoweringContext, node: Node) -> None:
    """Gather by constant indices of any rank."""
    source, result = context.value(node.inputs[0]), context.value(node.outputs[0])
    chosen = context.source.constant(node.inputs[1])
    if chosen is None:
        raise EspgenError("Gather by indices computed at run time", node=node.name, hint="make the indices constant")
    axis = int(node.attrs["axis"]) % len(source.shape)
    flat = [int(index) % source.shape[axis] for index in chosen.reshape(-1)]
    indices = tuple(tuple(flat) if position == axis else tuple(range(extent)) for position, extent in enumerate(source.shape))
    if chosen.ndim == 1:
        emit_take(context, node, indices)
        return
    operand = rescaled(context, node, context.fetch(node.inputs[0], PLAIN), source, result)
    output = context.define(node.outputs[0], PLAIN)
    taken = context.add_temporary(f"{output}_taken", [len(entry) for entry in indices], output)
    context.emit(node.name, "take", (operand,), (taken,), indices=indices)
    context.emit(f"{node.name}_reshape", "reshape", (taken,), (output,))


LOWER = {"Tile": _lower_tile, "Expand": _lower_expand, "Gather": _lower_gather}


SPECS = (
    OpSpec(
        name="take",
        onnx=("Resize", "Upsample", "Tile", "Expand", "Gather"),
        summary="elements at given indices along every axis: nearest resizing, repetition, gathering",
        reference=reference,
        kernel=kernel,
        cases=cases,
        dtypes=("int8", "int16"),
    ),
)
