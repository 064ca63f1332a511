"""Blocks of channels to blocks of pixels and back, channels last.

Attributes: block; depth_to_space also mode: "DCR" (channels are block row, block column, depth) or "CRD".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from espgen.errors import EspgenError
from espgen.ir import DType, Graph, Node
from espgen.ops.base import Array, Case, GraphBuilder, KernelCall, OpSpec, StorageOf, output_array
from espgen.ops.lowering import CHANNELS_LAST, LoweringContext
from espgen.ops.movement import along, gather_call, unfilled, whole
from espgen.ops.operands import activation, rescaled, same_meaning


def depth_to_space_reference(node: Node, inputs: Sequence[Array], graph: Graph) -> list[Array]:
    block = node.attrs["block"]
    batch, height, width, channels = inputs[0].shape
    depth = channels // block**2
    if node.attrs["mode"] == "DCR":
        split = inputs[0].reshape(batch, height, width, block, block, depth).transpose(0, 1, 3, 2, 4, 5)
    else:
        split = inputs[0].reshape(batch, height, width, depth, block, block).transpose(0, 1, 4, 2, 5, 3)
    return [output_array(split, node, graph)]


def space_to_depth_reference(node: Node, inputs: Sequence[Array], graph: Graph) -> list[Array]:
    block = node.attrs["block"]
    batch, height, width, channels = inputs[0].shape
    split = inputs[0].reshape(batch, height // block, block, width // block, block, channels)
    return [output_array(split.transpose(0, 1, 3, 2, 4, 5), node, graph)]


def depth_to_space_kernel(node: Node, graph: Graph, storage: StorageOf) -> tuple[KernelCall, ...]:
    result = graph.value(node.outputs[0])
    block = node.attrs["block"]
    batch, height, width, depth = result.shape
    step = depth if node.attrs["mode"] == "DCR" else 1
    y, x, c = np.arange(height), np.arange(width), np.arange(depth)
    rows = along(y // block, 1, 4) + along(y % block * block * step, 3, 4)
    columns = along(x // block, 2, 4) + along(x % block * step, 3, 4)
    channels = along(c if node.attrs["mode"] == "DCR" else c * block**2, 3, 4)
    movement = unfilled([along(np.arange(batch), 0, 4), rows, columns, channels])
    return (gather_call(node, node.inputs[0], movement, whole(result.shape), graph, storage),)


def space_to_depth_kernel(node: Node, graph: Graph, storage: StorageOf) -> tuple[KernelCall, ...]:
    result = graph.value(node.outputs[0])
    block = node.attrs["block"]
    batch, height, width, _ = result.shape
    channels = graph.value(node.inputs[0]).shape[3]
    c = np.arange(result.shape[3])
    within = along(c // (block * channels), 1, 4) + along(c // channels % block, 2, 4) + along(c % channels, 3, 4)
    pieces = [along(np.arange(batch), 0, 4), along(np.arange(height) * block, 1, 4)]
    movement = unfilled([*pieces, along(np.arange(width) * block, 2, 4), within])
    return (gather_call(node, node.inputs[0], movement, whole(result.shape), graph, storage),)


def block_graph(op: str, shape: tuple[int, int, int, int], block: int, mode: str = "DCR", dtype: DType = DType.INT8) -> Graph:
    """A one-node graph."""
    builder = GraphBuilder(op)
    builder.input("x", shape, dtype, 1.0, 6)
    batch, height, width, channels = shape
    if op == "depth_to_space":
        moved = (batch, height * block, width * block, channels // block**2)
        builder.node(op, ("x",), moved, dtype, 1.0, 6, "y", block=block, mode=mode)
    else:
        moved = (batch, height // block, width // block, channels * block**2)
        builder.node(op, ("x",), moved, dtype, 1.0, 6, "y", block=block)
    return builder.build(["y"])


def depth_to_space_cases() -> list[Case]:
    op = "depth_to_space"
    table = [
        ("dcr", block_graph(op, (1, 3, 4, 20), 2)),
        ("crd", block_graph(op, (1, 3, 4, 20), 2, "CRD")),
        ("block_3_one_channel", block_graph(op, (1, 2, 3, 9), 3)),
        ("crd_batch_2", block_graph(op, (2, 2, 3, 18), 3, "CRD")),
        ("int16", block_graph(op, (1, 3, 4, 8), 2, dtype=DType.INT16)),
    ]
    return [Case(name, graph) for name, graph in table]


def space_to_depth_cases() -> list[Case]:
    op = "space_to_depth"
    table = [
        ("block_2", block_graph(op, (1, 4, 6, 5), 2)),
        ("block_3", block_graph(op, (1, 6, 3, 1), 3)),
        ("batch_2", block_graph(op, (2, 4, 4, 3), 2)),
        ("int16", block_graph(op, (1, 4, 4, 3), 2, dtype=DType.INT16)),
    ]
    return [Case(name, graph) for name, graph in table]


def _lower_blocks(context: LoweringContext, node: Node) -> None:
    """DepthToSpace, SpaceToDepth."""
    source, result = context.value(node.inputs[0]), context.value(node.outputs[0])
    if not same_meaning(source, result):
        activation(context, node, node.inputs[0])
    block = int(node.attrs["blocksize"])
    divided = source.shape[1:2] if node.op == "DepthToSpace" else source.shape[2:]
    divisor = block * block if node.op == "DepthToSpace" else block
    if block < 1 or len(source.shape) != 4 or any(extent % divisor for extent in divided):
        raise EspgenError(
            f"{node.op} of {list(source.shape)} in blocks of {block}",
            node=node.name,
            hint="its extents must be multiples of the block",
        )
    operand = rescaled(context, node, context.fetch(node.inputs[0], CHANNELS_LAST), source, result)
    output = context.define(node.outputs[0], CHANNELS_LAST)
    attrs: dict[str, int | str] = {"block": block}
    if node.op == "DepthToSpace":
        attrs["mode"] = node.attrs.get("mode", "DCR")
    name = "depth_to_space" if node.op == "DepthToSpace" else "space_to_depth"
    context.emit(node.name, name, (operand,), (output,), **attrs)


LOWER = {"DepthToSpace": _lower_blocks, "SpaceToDepth": _lower_blocks}


SPECS = (
    OpSpec(
        name="depth_to_space",
        onnx=("DepthToSpace",),
        summary="blocks of channels to blocks of pixels",
        reference=depth_to_space_reference,
        kernel=depth_to_space_kernel,
        cases=depth_to_space_cases,
        dtypes=("int8", "int16"),
    ),
    OpSpec(
        name="space_to_depth",
        onnx=("SpaceToDepth",),
        summary="blocks of pixels to blocks of channels",
        reference=space_to_depth_reference,
        kernel=space_to_depth_kernel,
        cases=space_to_depth_cases,
        dtypes=("int8", "int16"),
    ),
)
