"""Unrolled tables for table nodes of int8."""

from __future__ import annotations

from functools import partial

import numpy as np

from espgen.codegen.calls import Call, NodePlan
from espgen.codegen.offers import KernelOptions, Offer, Refusal
from espgen.codegen.pie.table import TableSpec, table_kernel
from espgen.ir import DType, Graph, Node
from espgen.ops.base import RowTable, Storage, rows_of
from espgen.schedule.storage import StoragePlan, dense_storage

KERNEL = "unrolled table"


def offer(node: Node, graph: Graph, options: KernelOptions) -> Offer | Refusal | None:
    """An unrolled table for a table node, or why there is none; None for other nodes."""
    if node.op != "table":
        return None
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    if source.dtype is not DType.INT8 or result.dtype not in (DType.INT8, DType.INT16):
        return Refusal(KERNEL, f"{source.dtype.value} to {result.dtype.value}")
    rows, pixels, channels = rows_of(result.shape)
    if rows * pixels * channels == 0:
        return Refusal(KERNEL, "no elements")
    spec = _spec(node, graph, dense_storage(source), dense_storage(result))
    cycles = int(table_kernel(spec, hardware_loops=options.hardware_loops).cycles(rows))
    return Offer(KERNEL, cycles, {}, partial(_build, node, graph, options))


def _spec(node: Node, graph: Graph, held: Storage, written: Storage) -> TableSpec:
    result = graph.value(node.outputs[0])
    _, pixels, channels = rows_of(result.shape)
    entries = np.asarray(node.attrs["table"]).astype(result.dtype.numpy)
    return TableSpec(entries, pixels, channels, held.pixel_pitch, written.pixel_pitch)


def _build(node: Node, graph: Graph, options: KernelOptions, storage: StoragePlan) -> NodePlan:
    source, result = node.inputs[0], node.outputs[0]
    spec = _spec(node, graph, storage.of(graph, source), storage.storages[result])
    kernel = table_kernel(spec, hardware_loops=options.hardware_loops)
    rows, _, _ = rows_of(graph.value(result).shape)
    call = Call(
        function=kernel.symbol,
        header=None,
        template=None,
        output=RowTable(result, tuple(range(rows))),
        inputs=(RowTable(source, tuple(range(rows))),),
        tables=(("void", kernel.params),),
        rows=rows,
        row_begin=0,
        row_end=rows,
    )
    return NodePlan(node, KERNEL, (call,), assembly=((kernel.symbol, kernel.assembly),))
