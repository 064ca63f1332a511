"""Structural rules every graph obeys; run after every pass."""

from __future__ import annotations

from espgen.errors import EspgenError
from espgen.ir.graph import Graph, Node, Value


def verify(graph: Graph, after: str = "") -> None:
    """Check names, order, shapes of constants and quantization ranges.

    Raises EspgenError that names the pass `after` which the graph came from.
    """
    known = set(graph.inputs) | set(graph.constants)
    for name in (*graph.inputs, *graph.outputs, *graph.constants):
        if name not in graph.values:
            raise _broken(f"value {name!r} has no description", after)
    for node in graph.nodes:
        _verify_node(graph, node, known, after)
    for name in graph.outputs:
        if name not in known:
            raise _broken(f"graph output {name!r} is never computed", after)
    for value in graph.values.values():
        _verify_value(graph, value, after)


def _verify_node(graph: Graph, node: Node, known: set[str], after: str) -> None:
    for name in node.inputs:
        if name and name not in graph.values:
            raise _broken(f"input {name!r} has no description", after, node)
        if name and name not in known:
            raise _broken(f"input {name!r} is used before it is computed", after, node)
    for name in node.outputs:
        if not name:
            continue
        if name in known:
            raise _broken(f"value {name!r} is computed twice", after, node)
        if name not in graph.values:
            raise _broken(f"output {name!r} has no description", after, node)
        known.add(name)


def _verify_value(graph: Graph, value: Value, after: str) -> None:
    if any(extent < 0 for extent in value.shape):
        raise _broken(f"value {value.name!r} has shape {value.shape}", after)
    data = graph.constants.get(value.name)
    if data is not None and (tuple(data.shape) != value.shape or data.dtype != value.dtype.numpy):
        raise _broken(f"constant {value.name!r} is not what its description says", after)
    quant = value.quant
    if quant is None:
        return
    if len(quant.scale) != len(quant.zero_point):
        raise _broken(f"value {value.name!r} has {len(quant.scale)} scales, {len(quant.zero_point)} zero points", after)
    expected = 1 if quant.axis is None else value.shape[quant.axis]
    if len(quant.scale) != expected:
        raise _broken(f"value {value.name!r} needs {expected} scales, has {len(quant.scale)}", after)
    if not all(0.0 < scale < float("inf") for scale in quant.scale):
        raise _broken(f"value {value.name!r} has a scale that is not positive and finite", after)


def _broken(message: str, after: str, node: Node | None = None) -> EspgenError:
    place = f"graph after {after}" if after else "graph"
    hint = "this is a defect of espgen: please report it with the model"
    return EspgenError(message, node=node.name if node else None, place=place, hint=hint)
