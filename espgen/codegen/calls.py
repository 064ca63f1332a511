"""One step of a model, whichever kind of kernel runs it, and how a node's steps are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from espgen.ir import Graph, Node
from espgen.ops.base import PADDING_ROW, KernelCall, RowTable
from espgen.ops.registry import spec_of
from espgen.schedule.storage import StoragePlan


@dataclass(frozen=True)
class Call:
    """A kernel call with row tables and read-only tables.

    `template` is (shape type, its fields, element types) of a portable kernel, None for assembly. `tables` are given as
    pointers after the row tables: (C type, data).
    """

    function: str
    header: str | None
    template: tuple[str, Mapping[str, Any], tuple[str, ...]] | None
    output: RowTable
    inputs: tuple[RowTable, ...]
    tables: tuple[tuple[str, npt.NDArray[Any] | bytes], ...]
    rows: int
    row_begin: int
    row_end: int


VIEW = "view"
"""The kernel of a node that computes nothing: its output is only a view of its input."""


@dataclass(frozen=True)
class NodePlan:
    """How a node runs: its calls, the assembly functions they need (symbol, text), scratch bytes, and the other candidates.

    `twin` holds the portable calls that do the same on a PC where `calls` are assembly.
    """

    node: Node
    kernel: str
    calls: tuple[Call, ...]
    twin: tuple[Call, ...] = ()
    assembly: tuple[tuple[str, str], ...] = ()
    scratch: int = 0
    candidates: tuple[tuple[str, int | None, str], ...] = ()


def portable_plan(node: Node, graph: Graph, storage: StoragePlan) -> NodePlan:
    """The node's portable C++ kernel; no calls where its output is only a view."""
    spec = spec_of(node.op)
    if node.name in storage.elided:
        return NodePlan(node, VIEW, ())
    assert spec.kernel is not None
    calls = tuple(_portable_call(call) for call in spec.kernel(node, graph, lambda name: storage.of(graph, name)))
    return NodePlan(node, "portable", calls, scratch=padding_bytes(calls, storage))


def padding_bytes(calls: tuple[Call, ...], storage: StoragePlan) -> int:
    """Bytes of the padding row that the calls' inputs refer to, 0 where none does."""
    needed = 0
    for call in calls:
        for table in call.inputs:
            if PADDING_ROW in table.rows:
                layout = storage.storages[table.value]
                needed = max(needed, -(-(layout.row_pitch + 16) // 16) * 16)
    return needed


def _portable_call(call: KernelCall) -> Call:
    types = tuple(c_type(dtype.numpy) for dtype in call.types.values())
    return Call(
        function=f"espgen::{call.function}",
        header=f"espgen/kernels/{call.header}",
        template=(call.shape_type, call.shape, types),
        output=call.output,
        inputs=call.inputs,
        tables=tuple((c_type(data.dtype), data) for _, data in call.tables),
        rows=call.rows,
        row_begin=call.row_begin,
        row_end=call.row_end,
    )


def c_type(dtype: np.dtype[Any]) -> str:
    """The C type of a numpy integer or float type."""
    return {"float32": "float", "float64": "double", "bool": "bool"}.get(dtype.name, f"{dtype.name}_t")
