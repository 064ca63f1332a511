"""How a node runs: its kernel calls, and the rows that its steps may make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from espgen.ir import Graph, Node
from espgen.ops.base import PADDING_ROW, KernelCall
from espgen.ops.registry import spec_of
from espgen.schedule.storage import StoragePlan

VIEW = "view"
"""The kernel of a node that computes nothing: its output is only a view of its input."""

PORTABLE = "portable"
"""The kernel of a node that runs C++."""


@dataclass(frozen=True)
class NodePlan:
    """How a node runs: its calls, the assembly functions they need (symbol, text), scratch bytes, and the other candidates.

    `twin` holds the portable calls that do the same on a PC where `calls` are assembly. `band_rows` is how many rows a step
    should make so that what it reads again stays in the cache; 0: all. `call_cycles` and `row_cycles` are predicted for a call
    and for each of its rows.
    """

    node: Node
    kernel: str
    calls: tuple[KernelCall, ...]
    twin: tuple[KernelCall, ...] = ()
    assembly: tuple[tuple[str, str], ...] = ()
    scratch: int = 0
    band_rows: int = 0
    call_cycles: float = 0.0
    row_cycles: float = 0.0
    candidates: tuple[tuple[str, int | None, str], ...] = ()


def portable_plan(node: Node, graph: Graph, storage: StoragePlan) -> NodePlan:
    """The node's portable C++ kernel; no calls where its output is only a view."""
    spec = spec_of(node.op)
    if node.name in storage.elided:
        return NodePlan(node, VIEW, ())
    assert spec.kernel is not None
    calls = tuple(spec.kernel(node, graph, lambda name: storage.of(graph, name)))
    return NodePlan(node, PORTABLE, calls, scratch=padding_bytes(calls, storage))


def padding_bytes(calls: tuple[KernelCall, ...], storage: StoragePlan) -> int:
    """Bytes of the padding row that the calls' inputs refer to, 0 where none does."""
    needed = 0
    for call in calls:
        for table in call.inputs:
            if PADDING_ROW in table.rows:
                layout = storage.storages[table.value]
                needed = max(needed, -(-(layout.row_pitch + 16) // 16) * 16)
    return needed


def c_type(dtype: np.dtype[Any]) -> str:
    """The C type of a numpy integer or float type."""
    return {"float32": "float", "float64": "double", "bool": "bool"}.get(dtype.name, f"{dtype.name}_t")
