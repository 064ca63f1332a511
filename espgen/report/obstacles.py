"""What of a model stands in the way of compiling it: every node, for float models those that the quantizer cannot take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from espgen.errors import EspgenError
from espgen.ir import DType, Graph, Node
from espgen.ops.expression import FUNCTIONS
from espgen.passes.absorb_qdq import HANDLED
from espgen.passes.lower import lowerings
from espgen.passes.pipeline import lower_to_integer
from espgen.quantize.checks import check_network

_FOLDED = frozenset({"BatchNormalization", "Dropout", "Constant"})
_NO_OPERATOR = "espgen has no such operator"

Obstacle = dict[str, Any]
"""node and op (both "" where it is about the whole model), reason."""


def is_quantized(graph: Graph) -> bool:
    """Whether anything in the model is quantized."""
    return any(node.op in ("QuantizeLinear", "DequantizeLinear") for node in graph.nodes)


def obstacles(graph: Graph) -> tuple[list[Obstacle], Graph | None]:
    """(every obstacle that is known without data, the integer graph of a quantized model that has none)."""
    known = frozenset(lowerings()) | FUNCTIONS | HANDLED | _FOLDED
    found = [_entry(node, _NO_OPERATOR) for node in graph.nodes if node.op not in known]
    if not is_quantized(graph):
        for node in graph.nodes:
            found += [_entry(node, reason) for op, reason, holds in _FLOAT if node.op == op and holds(graph, node)]
        return found + _told(graph, lambda: check_network(graph)), None
    integer: list[Graph] = []
    told = _told(graph, lambda: integer.append(lower_to_integer(graph)))
    return found or told, integer[0] if integer and not found else None


def _told(graph: Graph, attempt: Callable[[], object]) -> list[Obstacle]:
    """The obstacle that `attempt` raises, or none."""
    try:
        attempt()
    except EspgenError as problem:
        ops = {node.name: node.op for node in graph.nodes}
        reason = "; ".join(part for part in (problem.message, problem.place, problem.hint) if part)
        return [{"node": problem.node or "", "op": ops.get(problem.node or "", ""), "reason": reason}]
    return []


def _entry(node: Node, reason: str) -> Obstacle:
    return {"node": node.name, "op": node.op, "reason": reason}


def _casts_computed(graph: Graph, node: Node) -> bool:
    return node.inputs[0] not in graph.inputs or graph.value(node.outputs[0]).dtype is not DType.FLOAT32


_FLOAT: tuple[tuple[str, str, Callable[[Graph, Node], bool]], ...] = (
    ("Cast", "only a Cast of an input to float32 is taken: leave it out of the model", _casts_computed),
)
"""Operators that float models may hold only in part: which, why, and where."""
