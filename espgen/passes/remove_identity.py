"""Requantize and Identity nodes that change nothing vanish; a copy from graph input to graph output stays."""

from __future__ import annotations

from dataclasses import replace

from espgen.ir import Graph, Node


def run(graph: Graph) -> Graph:
    """The graph without Requantize nodes of equal type and scale, and without Identity."""
    renamed: dict[str, str] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        current = replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs))
        if _does_nothing(graph, node) and node.outputs[0] not in graph.outputs:
            renamed[node.outputs[0]] = current.inputs[0]
            continue
        nodes.append(current)
    return graph.updated(nodes=nodes)


def _does_nothing(graph: Graph, node: Node) -> bool:
    if node.op not in ("Requantize", "Identity") or node.attrs.get("clip") is not None:
        return False
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    return source.dtype is result.dtype and source.quant == result.quant and source.shape == result.shape
