"""Vector kernels for element-wise nodes of 8- and 16-bit values: sums, products, sign flips, copies between storages."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from espgen.codegen.family import Family, KernelOptions, Parts, assembly_call
from espgen.codegen.pie import prelu, product, weighted_sum
from espgen.codegen.pie.copies import Copy, FlipSign
from espgen.codegen.pie.elementwise import RowShape, VectorBody, elementwise_kernel
from espgen.codegen.pie.gather import GatherTable
from espgen.codegen.pie.packing import LANES
from espgen.codegen.pie.prelu import Prelu
from espgen.codegen.pie.product import Product, ProductSpec
from espgen.codegen.pie.weighted_sum import SumSpec, sum_body
from espgen.errors import Refusal, Refused
from espgen.ir import DType, Graph, Node
from espgen.ops.base import RowTable, Storage, StorageOf, bounds, rows_of
from espgen.ops.broadcast import Operand, operand
from espgen.schedule.storage import StorageNeed

_LEAST_PADDED_BYTES = 8
"""Smaller pixels stay dense: padding them to whole vectors would cost more than it gains."""

MakeBody = Callable[[], VectorBody]


def _needs(node: Node, graph: Graph) -> dict[str, StorageNeed] | Refusal:
    body = _BODIES[node.op](node, graph)
    reason = body if isinstance(body, str) else _shape_reason(node, graph)
    if reason is not None:
        return Refusal(reason)
    # A reshape asks for nothing: between dense storages it is no copy at all.
    asking = () if node.op == "reshape" else (*node.inputs, *node.outputs)
    return {name: _need(graph, name) for name in asking if not graph.is_constant(name)}


def _need(graph: Graph, name: str) -> StorageNeed:
    """Whole vectors per pixel, or rows that start at whole vectors."""
    value = graph.value(name)
    size = rows_of(value.shape)[2] * value.dtype.size
    return StorageNeed(0, 0, LANES if size >= _LEAST_PADDED_BYTES else 1)


def _shape_reason(node: Node, graph: Graph) -> str | None:
    result = graph.value(node.outputs[0])
    rows, pixels, channels = rows_of(result.shape)
    if rows * pixels * channels == 0:
        return "no elements"
    for name in node.inputs:
        shape = graph.value(name).shape
        own_channels = shape[-1] if shape else 1
        if own_channels != channels:
            return f"{name} has {own_channels} of {channels} channels"
        own_pixels = shape[-2] if len(shape) > 1 else 1
        if graph.is_constant(name) and own_channels * own_pixels * graph.value(name).dtype.size % LANES and rows_of(shape)[0] > 1:
            return f"constant {name} with rows that are no whole vectors"
    if node.op == "reshape" and rows_of(graph.value(node.inputs[0]).shape) != (rows, pixels, channels):
        return "elements move between rows or pixels"
    return None


def _operands(node: Node, graph: Graph, storage: StorageOf) -> tuple[Operand, ...]:
    """The operands broadcast to the output; a reshape's as it is, since rows, pixels and channels agree."""
    shape = graph.value(node.outputs[0]).shape
    if node.op != "reshape":
        return tuple(operand(name, shape, graph, storage) for name in node.inputs)
    (name,) = node.inputs
    return (Operand(RowTable(name, tuple(range(rows_of(shape)[0]))), storage(name).pixel_pitch, 1),)


def _parts(node: Node, graph: Graph, storage: StorageOf, options: KernelOptions) -> Parts:
    result = graph.value(node.outputs[0])
    rows, pixels, channels = rows_of(result.shape)
    operands = _operands(node, graph, storage)
    layouts = [storage(name) for name in (*node.inputs, *node.outputs)]
    shape = RowShape(
        pixels=pixels,
        size=channels * layouts[-1].item,
        in_pitches=tuple(entry.pixel_stride for entry in operands),
        out_pitch=layouts[-1].pixel_pitch,
        aligned=all(_aligned(layout) for layout in layouts),
        shared_gaps=layouts[-1].shared_gaps,
    )
    make = _BODIES[node.op](node, graph)
    assert not isinstance(make, str)
    kernel = elementwise_kernel(shape, make(), node.op, hardware_loops=options.hardware_loops)
    tables = tuple(entry.table for entry in operands)
    return (assembly_call(kernel, RowTable(result.name, tuple(range(rows))), tables, advance=(1,) * len(tables)),)


def _aligned(layout: Storage) -> bool:
    starts_aligned = layout.pad_left * layout.pixel_pitch % LANES == 0
    return starts_aligned and (layout.rows == 1 or layout.row_pitch % LANES == 0)


def _element_bytes(node: Node, graph: Graph) -> int | None:
    """1 where all values are int8, 2 where all are int16, else None."""
    types = {graph.value(name).dtype for name in (*node.inputs, *node.outputs)}
    return {DType.INT8: 1, DType.INT16: 2}.get(types.pop()) if len(types) == 1 else None


def _table(node: Node, graph: Graph) -> MakeBody | str:
    if _element_bytes(node, graph) != 1:
        return "not int8 to int8"
    entries = np.asarray(node.attrs["table"]).astype(np.int8)
    return lambda: GatherTable(entries)


def _sum(node: Node, graph: Graph) -> MakeBody | str:
    size = _element_bytes(node, graph)
    if size is None:
        return "not all int8 or all int16"
    low, high = bounds(node, graph)
    points = tuple(graph.value(name).zero_point for name in node.inputs)
    spec = SumSpec(node.attrs["weights"], points, graph.value(node.outputs[0]).zero_point, low, high, size)
    return weighted_sum.supports(spec) or (lambda: sum_body(spec))


def _product(node: Node, graph: Graph) -> MakeBody | str:
    size = _element_bytes(node, graph)
    if size is None:
        return "not all int8 or all int16"
    low, high = bounds(node, graph)
    first, second = (graph.value(name).zero_point for name in node.inputs)
    spec = ProductSpec(node.attrs["requant"], (first, second), graph.value(node.outputs[0]).zero_point, low, high, size)
    return product.supports(spec) or (lambda: Product(spec))


def _prelu(node: Node, graph: Graph) -> MakeBody | str:
    size = _element_bytes(node, graph)
    if size is None:
        return "not all int8 or all int16"
    low, high = bounds(node, graph)
    first, second = (graph.value(name).zero_point for name in node.inputs)
    point = graph.value(node.outputs[0]).zero_point
    try:
        spec = prelu.prelu_spec(node.attrs["positive"], node.attrs["negative"], (first, second), point, low, high, size)
    except Refused as reason:
        return str(reason)
    return prelu.supports(spec) or (lambda: Prelu(spec))


def _flip(node: Node, graph: Graph) -> MakeBody | str:
    size = graph.value(node.outputs[0]).dtype.size
    return (lambda: FlipSign(size)) if size <= 2 else "wider than 16 bits"


def _copy(node: Node, graph: Graph) -> MakeBody | str:
    return Copy


_BODIES: dict[str, Callable[[Node, Graph], MakeBody | str]] = {
    "add": _sum,
    "mul": _product,
    "flip_sign": _flip,
    "reshape": _copy,
    "prelu": _prelu,
    "table": _table,
}

ELEMENTWISE = Family("pie elementwise", tuple(_BODIES), _needs, _parts)
