"""Model-local functions, inlined; checked first, since a few nested functions can stand for billions of nodes."""

from __future__ import annotations

from onnx import ModelProto, NodeProto

from espgen.errors import EspgenError
from espgen.frontend.inliner import Inliner, Key, key_of
from espgen.frontend.limits import MAX_NODES


def inline_functions(model: ModelProto, place: str) -> tuple[ModelProto, dict[str, int]]:
    """`model` without local functions, and the opset of values whose function imports one of its own.

    EspgenError for recursion and for more nodes than the limit.
    """
    if not model.functions:
        return model, {}
    bodies = {key_of(function): list(function.node) for function in model.functions}
    if len(bodies) != len(model.functions):
        raise EspgenError("a local function is defined twice", place=place, hint="export the model again")
    sizes: dict[Key, int] = {}
    _size(list(model.graph.node), bodies, sizes, (), place)
    result = ModelProto()
    result.CopyFrom(model)
    inliner = Inliner(model, place)
    expanded = inliner.expand(model.graph.node)
    del result.graph.node[:]
    result.graph.node.extend(expanded)
    del result.functions[:]
    return result, inliner.opsets


def _size(
    nodes: list[NodeProto], bodies: dict[Key, list[NodeProto]], sizes: dict[Key, int], path: tuple[Key, ...], place: str,
) -> int:  # fmt: skip
    """How many nodes `nodes` become once every call is replaced by its body."""
    if len(path) > 64:
        raise EspgenError(
            "local functions nest too deeply",
            node=path[-1][1],
            place=place,
            hint="export the model without local functions",
        )
    total = 0
    for node in nodes:
        key = key_of(node)
        if key in path:
            raise EspgenError(
                f"local function {key[1]!r} calls itself",
                node=node.name or key[1],
                place=place,
                hint="remove the recursion",
            )
        if key in bodies and key not in sizes:
            sizes[key] = _size(bodies[key], bodies, sizes, (*path, key), place)
        total += sizes.get(key, 1) if key in bodies else 1
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs) if attribute.HasField("g") or attribute.graphs else ():
                total += _size(list(graph.node), bodies, sizes, path, place)
        if total > MAX_NODES:
            raise EspgenError(
                f"local functions stand for more than {MAX_NODES} nodes",
                node=node.name or key[1],
                place=place,
                hint="simplify the model",
            )
    return total
