"""Every step-th element from a start along each axis; the output shape says how many.

Attributes: starts, steps (one per axis; a step may be negative).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from espgen.ir import DType, Graph, Node
from espgen.ops.base import Array, Case, GraphBuilder, KernelCall, OpSpec, StorageOf, output_array
from espgen.ops.lowering import LoweringContext
from espgen.ops.movement import gather_call, per_axis, whole
from espgen.ops.operands import fetch_moved, to_held


def reference(node: Node, inputs: Sequence[Array], graph: Graph) -> list[Array]:
    data = inputs[0]
    shape = graph.value(node.outputs[0]).shape
    for axis, (start, step, extent) in enumerate(zip(node.attrs["starts"], node.attrs["steps"], shape, strict=True)):
        data = np.take(data, [start + step * index for index in range(extent)], axis)
    return [output_array(data, node, graph)]


def kernel(node: Node, graph: Graph, storage: StorageOf) -> tuple[KernelCall, ...]:
    shape = graph.value(node.outputs[0]).shape
    ranges = zip(node.attrs["starts"], node.attrs["steps"], shape, strict=True)
    movement = per_axis([start + step * np.arange(extent) for start, step, extent in ranges])
    return (gather_call(node, node.inputs[0], movement, whole(shape), graph, storage),)


def slice_graph(shape: tuple[int, ...], ranges: Sequence[tuple[int, int, int]], dtype: DType = DType.INT8) -> Graph:
    """A one-node graph; `ranges` are start, count and step per axis."""
    builder = GraphBuilder("slice")
    builder.input("x", shape, dtype, 1.0, 6)
    starts, counts, steps = (tuple(entry[index] for entry in ranges) for index in range(3))
    builder.node("slice", ("x",), counts, dtype, 1.0, 6, "y", starts=starts, steps=steps)
    return builder.build(["y"])


def cases() -> list[Case]:
    image = (1, 5, 6, 13)
    full = [(0, extent, 1) for extent in image]
    table = [
        ("channels", slice_graph(image, [*full[:3], (3, 7, 1)])),
        ("columns", slice_graph(image, [*full[:2], (1, 4, 1), full[3]])),
        ("rows", slice_graph(image, [full[0], (2, 3, 1), *full[2:]])),
        ("all_axes", slice_graph((2, 5, 6, 7), [(1, 1, 1), (1, 2, 2), (0, 3, 2), (1, 3, 2)])),
        ("reversed", slice_graph(image, [full[0], (4, 5, -1), (5, 3, -2), (12, 13, -1)])),
        ("rank_1", slice_graph((17,), [(3, 5, 3)])),
        ("rank_5", slice_graph((2, 3, 2, 4, 5), [(0, 2, 1), (1, 2, 1), (1, 1, 1), (0, 4, 1), (2, 3, 1)])),
        ("everything", slice_graph((3, 4), [(0, 3, 1), (0, 4, 1)])),
        ("int16", slice_graph(image, [*full[:3], (3, 7, 1)], DType.INT16)),
    ]
    return [Case(name, graph) for name, graph in table]


def _lower_slice(context: LoweringContext, node: Node) -> None:
    """Slice: ONNX's start and step along every axis."""
    rank = len(context.value(node.inputs[0]).shape)
    starts, steps = [0] * rank, [1] * rank
    for axis, start, step in zip(node.attrs["axes"], node.attrs["starts"], node.attrs["steps"], strict=True):
        starts[axis], steps[axis] = start, step
    operand, layout = fetch_moved(context, node, node.outputs[0])
    output = context.define(node.outputs[0], layout)
    held = {"starts": to_held(starts, layout, 0), "steps": to_held(steps, layout, 1)}
    context.emit(node.name, "slice", (operand,), (output,), **held)


def _lower_split(context: LoweringContext, node: Node) -> None:
    """Split: a slice for every output."""
    axis, start = int(node.attrs["axis"]), 0
    for index, (name, size) in enumerate(zip(node.outputs, node.attrs["sizes"], strict=False)):
        if name:
            rank = len(context.value(name).shape)
            starts = [start if position == axis else 0 for position in range(rank)]
            operand, layout = fetch_moved(context, node, name)
            output = context.define(name, layout)
            held = {"starts": to_held(starts, layout, 0), "steps": to_held([1] * rank, layout, 1)}
            context.emit(f"{node.name}_{index}", "slice", (operand,), (output,), **held)
        start += size


LOWER = {"Slice": _lower_slice, "Split": _lower_split}


SPECS = (
    OpSpec(
        name="slice",
        onnx=("Slice", "Split"),
        summary="every n-th element from a start along each axis",
        reference=reference,
        kernel=kernel,
        cases=cases,
        dtypes=("int8", "int16"),
    ),
)
