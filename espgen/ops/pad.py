"""Padding along any axes with a constant, the edge, the reflection or the other end.

Attributes: before (elements in front, per axis; the output shape gives those behind), mode, value (an integer of the
tensor's type).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from espgen.errors import EspgenError
from espgen.ir import DType, Graph, Node
from espgen.ops.base import Array, Case, GraphBuilder, KernelCall, OpSpec, StorageOf, output_array
from espgen.ops.lowering import LoweringContext
from espgen.ops.movement import gather_call, per_axis, whole
from espgen.ops.operands import activation, fetch_moved, to_held
from espgen.ops.strides import IntArray

MODES = ("constant", "edge", "reflect", "wrap")


def reference(node: Node, inputs: Sequence[Array], graph: Graph) -> list[Array]:
    result = graph.value(node.outputs[0])
    widths = [
        (before, after - before - extent)
        for before, after, extent in zip(node.attrs["before"], result.shape, inputs[0].shape, strict=True)
    ]
    options: dict[str, Any] = {"constant_values": node.attrs["value"]} if node.attrs["mode"] == "constant" else {}
    return [output_array(np.pad(inputs[0], widths, node.attrs["mode"], **options), node, graph)]


def padded_index(count: int, before: int, extent: int, mode: str) -> IntArray:
    """[count] source index behind every output index; -1 where a constant stands."""
    index = np.arange(count) - before
    if mode == "constant":
        return np.where((index >= 0) & (index < extent), index, -1)
    if mode == "edge":
        return np.clip(index, 0, extent - 1)
    if mode == "wrap":
        return np.asarray(index % extent)
    period = max(1, 2 * (extent - 1))
    folded = index % period
    return np.where(folded < extent, folded, period - folded)


def kernel(node: Node, graph: Graph, storage: StorageOf) -> tuple[KernelCall, ...]:
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    entries = zip(result.shape, node.attrs["before"], source.shape, strict=True)
    indices = [padded_index(count, before, extent, node.attrs["mode"]) for count, before, extent in entries]
    movement = per_axis(indices, int(node.attrs["value"]))
    return (gather_call(node, source.name, movement, whole(result.shape), graph, storage),)


def pad_graph(
    shape: tuple[int, ...],
    widths: Sequence[tuple[int, int]],
    mode: str = "constant",
    value: int = 6,
    dtype: DType = DType.INT8,
) -> Graph:
    """A one-node graph."""
    builder = GraphBuilder("pad")
    builder.input("x", shape, dtype, 1.0, 6)
    padded = [extent + before + after for extent, (before, after) in zip(shape, widths, strict=True)]
    before = tuple(entry[0] for entry in widths)
    builder.node("pad", ("x",), padded, dtype, 1.0, 6, "y", before=before, mode=mode, value=value)
    return builder.build(["y"])


def cases() -> list[Case]:
    image, spatial = (1, 4, 5, 3), [(0, 0), (1, 2), (2, 1), (0, 0)]
    table = [
        ("zero_point", pad_graph(image, spatial)),
        ("other_value", pad_graph(image, spatial, value=-128)),
        ("channels", pad_graph(image, [(0, 0), (0, 0), (0, 0), (0, 5)])),
        ("all_axes", pad_graph((2, 3, 2, 4), [(1, 0), (1, 1), (0, 2), (3, 1)])),
        ("edge", pad_graph(image, spatial, "edge")),
        ("reflect", pad_graph(image, spatial, "reflect")),
        ("reflect_channels", pad_graph(image, [(0, 0), (3, 3), (0, 0), (2, 2)], "reflect")),
        ("wrap", pad_graph(image, spatial, "wrap")),
        ("rank_1", pad_graph((5,), [(2, 3)])),
        ("nothing", pad_graph(image, [(0, 0)] * 4)),
        ("int16", pad_graph(image, spatial, value=-32768, dtype=DType.INT16)),
        ("int16_edge", pad_graph(image, spatial, "edge", dtype=DType.INT16)),
    ]
    return [Case(name, graph) for name, graph in table]


def _lower_pad(context: LoweringContext, node: Node) -> None:
    """Pad: the real value becomes an integer of the tensor's scale."""
    value = activation(context, node, node.inputs[0])
    mode = node.attrs["mode"]
    if mode not in MODES:
        raise EspgenError(f"Pad in mode {mode!r}", node=node.name, hint=f"espgen pads in modes {', '.join(MODES)}")
    real = float(node.attrs.get("value") or 0.0)
    if np.isnan(real):
        raise EspgenError("Pad with a value that is not a number", node=node.name, hint="correct the constant")
    steps = float(np.clip(np.rint(np.float64(np.float32(real) / np.float32(value.scale))), -1e9, 1e9))
    fill = int(np.clip(steps + value.zero_point, value.dtype.minimum, value.dtype.maximum))
    operand, layout = fetch_moved(context, node, node.outputs[0])
    output = context.define(node.outputs[0], layout)
    before = to_held(node.attrs["pads"][: len(value.shape)], layout, 0)
    context.emit(node.name, "pad", (operand,), (output,), before=before, mode=mode, value=fill)


LOWER = {"Pad": _lower_pad}


SPECS = (
    OpSpec(
        name="pad",
        onnx=("Pad",),
        summary="padding with a constant, the edge, the reflection or the other end",
        reference=reference,
        kernel=kernel,
        cases=cases,
        dtypes=("int8", "int16"),
    ),
)
