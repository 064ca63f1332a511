"""Requantize nodes that need no arithmetic of their own go into their producers or readers, where that is exact.

A Requantize of equal scale only shifts integers and clips them: its producer can do both while it saturates anyway.
A Requantize to a scale that divides the old one, into a range that holds all its values, changes no real number: sums and
products read its source instead.
"""

from __future__ import annotations

from dataclasses import replace

from espgen.ir import Graph, Node, Value
from espgen.passes.absorb_symbols import Clip, intersect

PRODUCERS = frozenset({
    "Add", "AveragePool", "Conv", "ConvTranspose", "Div", "Gemm", "GlobalAveragePool", "MatMul", "Mul", "PRelu", "ReduceMean",
    "Requantize", "Softmax", "Sub", "Unary",
})  # fmt: skip
"""Operators that round once, to any scale of their width, and clip."""

READERS = frozenset({"Add", "Sub", "Mul"})
"""Operators that take operands of any scale and width."""


def run(graph: Graph) -> Graph:
    """The graph without Requantize nodes that are exactly a clip, a shift of the zero point or a finer scale."""
    while True:
        changed = _one(graph)
        if changed is None:
            return graph
        graph = changed


def _one(graph: Graph) -> Graph | None:
    producers, consumers = graph.producers(), graph.consumers()
    for node in graph.nodes:
        if (
            node.op != "Requantize"
            or not _per_tensor(graph.value(node.inputs[0]))
            or not _per_tensor(graph.value(node.outputs[0]))
        ):
            continue
        producer = producers.get(node.inputs[0])
        alone = len(consumers[node.inputs[0]]) == 1 and node.inputs[0] not in graph.outputs
        if producer is not None and alone and _only_shifts(graph, node, producer):
            return _into_producer(graph, node, producer)
        if node.outputs[0] not in graph.outputs and _keeps_values(graph, node):
            readers = consumers[node.outputs[0]]
            if readers and all(reader.op in READERS for reader in readers):
                return _into_readers(graph, node)
    return None


def _per_tensor(value: Value) -> bool:
    return value.quant is not None and value.quant.per_tensor


def _only_shifts(graph: Graph, node: Node, producer: Node) -> bool:
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    return source.scale == result.scale and source.dtype.size == result.dtype.size and producer.op in PRODUCERS


def _into_producer(graph: Graph, node: Node, producer: Node) -> Graph:
    """The producer makes the result itself, clipped to what its own type could hold and to the node's bounds."""
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    clip = intersect(producer.attrs.get("clip"), _narrower(source, result))
    if node.attrs.get("clip") is not None:
        clip = intersect(clip, node.attrs["clip"])
    made = replace(producer, outputs=node.outputs)
    if clip != (None, None):
        made = made.with_attrs(clip=clip)
    nodes = [made if item.name == producer.name else item for item in graph.nodes if item.name != node.name]
    return graph.updated(nodes=nodes)


def _narrower(source: Value, result: Value) -> Clip:
    """Real bounds of `source` that `result` reaches beyond; None where it does not."""
    low, high = (limit - source.zero_point for limit in (source.dtype.minimum, source.dtype.maximum))
    below = low if result.dtype.minimum - result.zero_point < low else None
    above = high if result.dtype.maximum - result.zero_point > high else None
    return (None if below is None else below * source.scale, None if above is None else above * source.scale)


def _keeps_values(graph: Graph, node: Node) -> bool:
    """Whether every real value of the source is one of the result, too."""
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    ratio = round(source.scale / result.scale)
    if node.attrs.get("clip") is not None or ratio < 1 or source.scale != ratio * result.scale:
        return False
    ends = [(limit - source.zero_point) * ratio + result.zero_point for limit in (source.dtype.minimum, source.dtype.maximum)]
    return result.dtype.minimum <= ends[0] and ends[1] <= result.dtype.maximum


def _into_readers(graph: Graph, node: Node) -> Graph:
    old, new = node.outputs[0], node.inputs[0]
    nodes = [
        replace(item, inputs=tuple(new if name == old else name for name in item.inputs))
        for item in graph.nodes
        if item.name != node.name
    ]
    return graph.updated(nodes=nodes)
