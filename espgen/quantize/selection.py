"""Choosing layers by name, by pattern, or by kind of block."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase

from espgen.errors import EspgenError
from espgen.ir import Graph
from espgen.quantize.units import is_depthwise, is_product, split_units

_GATES = ("Sigmoid", "HardSigmoid", "Clip", "Relu", "HardSwish", "Mul", "Add", "Div")


def select(graph: Graph, patterns: Iterable[str]) -> frozenset[str]:
    """Names of the units' main nodes that any of `patterns` means, in a folded graph.

    A pattern is a node name, a value name, a shell pattern (`features.1.*`), `re:EXPRESSION`, or a block: `se`
    (squeeze-and-excite), `first`, `last`, `depthwise`. A fused Relu or Clip means the unit it belongs to. Raises
    EspgenError for a pattern that means nothing.
    """
    chosen: set[str] = set()
    owners: dict[str, str] = {}
    for unit in split_units(graph):
        for node in unit.nodes:
            owners[node.name] = unit.name
            owners.update(dict.fromkeys((name for name in node.outputs if name), unit.name))
    for pattern in patterns:
        if pattern in BLOCKS:
            found = BLOCKS[pattern](graph)
        elif pattern in owners:
            found = {owners[pattern]}
        elif pattern.startswith("re:"):
            try:
                expression = re.compile(pattern[3:])
            except re.error as error:
                raise EspgenError(f"{pattern!r} is no regular expression: {error}", place="layer selection") from None
            found = {owner for name, owner in owners.items() if expression.search(name)}
        else:
            found = {owner for name, owner in owners.items() if fnmatchcase(name, pattern)}
        if not found:
            raise EspgenError(
                f"no layer is called {pattern!r}", place="layer selection",
                hint=f"a node name as `espgen inspect` lists them, a pattern, re:.., or one of {', '.join(BLOCKS)}",
            )  # fmt: skip
        chosen |= found
    return frozenset(chosen)


def squeeze_excite(graph: Graph) -> set[str]:
    """Nodes of squeeze-and-excite branches: from a global pool up to the Mul that scales the pooled tensor."""
    producers, consumers = graph.producers(), graph.consumers()
    found: set[str] = set()
    for scale in graph.nodes:
        if scale.op != "Mul" or len(scale.inputs) != 2:
            continue
        for gate, data in (scale.inputs, scale.inputs[::-1]):
            branch: set[str] = set()
            name = gate
            while name in producers and len(branch) < 12:
                node = producers[name]
                branch.add(node.name)
                if node.op in ("GlobalAveragePool", "ReduceMean", "AveragePool"):
                    if node.inputs[0] == data or data in {
                        output for item in consumers[node.inputs[0]] for output in item.outputs
                    }:
                        found |= branch
                    break
                if not is_product(graph, node) and node.op not in (*_GATES, "Reshape", "Transpose"):
                    break
                name = node.inputs[0]
    units = {unit.name for unit in split_units(graph)}
    return found & units


def _first(graph: Graph) -> set[str]:
    return {next(node.name for node in graph.nodes if is_product(graph, node))}


def _last(graph: Graph) -> set[str]:
    return {[node.name for node in graph.nodes if is_product(graph, node)][-1]}


def _depthwise(graph: Graph) -> set[str]:
    return {node.name for node in graph.nodes if is_depthwise(graph, node)}


BLOCKS: Mapping[str, Callable[[Graph], set[str]]] = {
    "se": squeeze_excite,
    "first": _first,
    "last": _last,
    "depthwise": _depthwise,
}
