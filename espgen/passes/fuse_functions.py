"""Several functions of one 8-bit value are one function: x * Sigmoid(x) through its Q/DQ pairs becomes a single table.

What the inner QuantizeLinear rounds stays rounded: the table is computed from the composition, so that its entries are
those the separate nodes would have given, but for the outer rounding, which is exact in a table.
"""

from __future__ import annotations

from collections.abc import Mapping

from espgen.ir import DType, Graph, Node, Value
from espgen.ops.expression import Expression, X, substitute

_EIGHT_BITS = (DType.INT8, DType.UINT8)
_BINARY = ("Add", "Sub", "Mul")


def run(graph: Graph) -> Graph:
    """The graph with every fusible group of tables replaced by one Unary node; nodes nobody needs any more are dropped."""
    producers, consumers = graph.producers(), graph.consumers()
    replaced: dict[str, Node] = {}
    dropped: set[str] = set()
    for node in graph.nodes:
        inner = _inner(graph, node, producers, consumers)
        if not inner:
            continue
        current = {name: replaced.get(item.name, item) for name, item in inner.items()}
        bases = {current[name].inputs[0] if name in current else name for name in node.inputs}
        base = next(iter(bases))
        if len(bases) != 1 or base in graph.constants or graph.value(base).dtype not in _EIGHT_BITS:
            continue
        operands = [_rounded(graph, current[name]) if name in current else X for name in node.inputs]
        attrs = {key: value for key, value in node.attrs.items() if key == "clip"}
        outer = substitute(node.attrs["expression"], operands[0]) if node.op == "Unary" else (node.op, *operands)
        replaced[node.name] = Node(node.name, "Unary", (base,), node.outputs, {**attrs, "expression": outer})
        dropped.update(item.name for item in inner.values())
    if not replaced:
        return graph
    return graph.updated(nodes=[replaced.get(node.name, node) for node in graph.nodes if node.name not in dropped])


def _inner(graph: Graph, node: Node, producers: Mapping[str, Node], consumers: Mapping[str, list[Node]]) -> dict[str, Node]:
    """Operands of `node` that are tables of 8-bit values and that nobody else reads; none where the node can't take them."""
    if node.op not in (*_BINARY, "Unary") or graph.value(node.outputs[0]).dtype not in _EIGHT_BITS:
        return {}
    found = {}
    for name in node.inputs:
        maker = producers.get(name)
        alone = len(consumers[name]) == 1 and name not in graph.outputs
        if maker is not None and maker.op == "Unary" and alone and graph.value(name).dtype in _EIGHT_BITS:
            found[name] = maker
    return found


def _rounded(graph: Graph, node: Node) -> Expression:
    """What readers of a table see: its function, rounded and saturated."""
    value: Value = graph.value(node.outputs[0])
    inner: Expression = node.attrs["expression"]
    if node.attrs.get("clip") is not None:
        inner = ("Clip", inner, *node.attrs["clip"])
    return ("quantized", inner, value.scale, value.zero_point, value.dtype.minimum, value.dtype.maximum)
