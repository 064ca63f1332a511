"""Unrolled tables for table nodes of int8."""

from __future__ import annotations

import numpy as np

from espgen.codegen.family import Family, KernelOptions, Parts, assembly_call
from espgen.codegen.pie.table import TableSpec, table_kernel
from espgen.errors import Refusal
from espgen.ir import DType, Graph, Node
from espgen.ops.base import RowTable, StorageOf, rows_of
from espgen.schedule.storage import StorageNeed


def _needs(node: Node, graph: Graph) -> dict[str, StorageNeed] | Refusal:
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    if source.dtype is not DType.INT8 or result.dtype not in (DType.INT8, DType.INT16):
        return Refusal(f"{source.dtype.value} to {result.dtype.value}")
    return Refusal("no elements") if result.elements == 0 else {}


def _parts(node: Node, graph: Graph, storage: StorageOf, options: KernelOptions) -> Parts:
    source, result = node.inputs[0], graph.value(node.outputs[0])
    count, pixels, channels = rows_of(result.shape)
    entries = np.asarray(node.attrs["table"]).astype(result.dtype.numpy)
    spec = TableSpec(entries, pixels, channels, storage(source).pixel_pitch, storage(result.name).pixel_pitch)
    kernel = table_kernel(spec, hardware_loops=options.hardware_loops)
    rows = tuple(range(count))
    return (assembly_call(kernel, RowTable(result.name, rows), (RowTable(source, rows),), advance=(1,)),)


TABLE = Family("unrolled table", ("table",), _needs, _parts)
