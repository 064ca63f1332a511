"""What lies so far below a Softmax's maximum that it cannot show: masks of -1e9 or -inf, which would ruin every grid.

exp(-20) of the largest entry is nothing at any width. So constants that are added in front of a Softmax are cut, and the
grids of computed values in front of it (a mask that is an input) need not hold what lies below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from espgen.ir import Graph, Node, constant_value, fresh_name

DEPTH = 20.0
"""No value below a row's maximum minus this can show behind a Softmax."""
MASKED_ROW = 1000.0
"""A row whose maximum lies this far below the largest is masked as a whole: its entries stay equal when all are cut."""

Ranges = Mapping[str, tuple[float, float]]
"""Least and largest value by name."""
Need = tuple[float, float]
"""What a reader can tell apart: nothing below the first, nothing above the second number."""
ALL: Need = (-np.inf, np.inf)
Rule = Callable[[Graph, Node, int, float, Ranges], Need]


@dataclass(frozen=True)
class Masked:
    """graph: with its constants cut; floors: computed value (or input) -> the least that has to be told apart."""

    graph: Graph
    floors: Mapping[str, float]
    notes: tuple[str, ...] = ()


def masked_softmaxes(graph: Graph) -> list[Node]:
    """Softmax nodes with something between them and a product that may be a mask."""
    producers = graph.producers()
    found = []
    for node in graph.nodes:
        producer = producers.get(node.inputs[0]) if node.op == "Softmax" else None
        while producer is not None and RULES.get(producer.op) is _same:
            producer = producers.get(producer.inputs[0])
        if producer is not None and producer.op in RULES:
            found.append(node)
    return found


def names_in_front(graph: Graph, node: Node) -> set[str]:
    """Computed values from which a Softmax's input is added up, scaled or chosen, and that input."""
    producers = graph.producers()
    found: set[str] = set()
    pending = [node.inputs[0]]
    while pending:
        name = pending.pop()
        if name and name not in found and not graph.is_constant(name):
            found.add(name)
            producer = producers.get(name)
            pending += producer.inputs if producer is not None and producer.op in RULES else ()
    return found


def least_maximum(values: np.ndarray, axis: int) -> tuple[float, float]:
    """(least maximum of a row along `axis`, largest value), without rows that are masked as a whole."""
    maxima = values.max(axis=axis)
    top = float(maxima.max())
    return float(maxima[maxima >= top - MASKED_ROW].min()) if np.isfinite(top) else top, top


def cut_masks(graph: Graph, lowest: Mapping[str, float], ranges: Ranges) -> Masked:
    """The graph with its masks cut.

    lowest: Softmax node -> `least_maximum` of its input over the calibration data; ranges: of the values in front.
    """
    known = dict(ranges) | {name: _extremes(data) for name, data in graph.constants.items() if data.dtype.kind == "f"}
    needs: dict[str, Need] = dict.fromkeys(graph.outputs, ALL)
    for node in reversed(graph.nodes):
        # An output that nothing reads asks for nothing.
        floor = min((needs[name][0] for name in node.outputs if name in needs), default=-np.inf)
        for index, name in enumerate(node.inputs):
            if not name:
                continue
            if node.name in lowest and index == 0:
                need: Need = (lowest[node.name] - DEPTH, np.inf)
            elif node.op in RULES and np.isfinite(floor):
                need = RULES[node.op](graph, node, index, floor, known)
            else:
                need = ALL
            low, high = needs.get(name, need)
            needs[name] = min(low, need[0]), max(high, need[1])
    changed: dict[str, np.ndarray] = {}
    notes = []
    for name, (low, high) in needs.items():
        data = graph.constant(name)
        if data is None or data.dtype.kind != "f" or not data.size:
            continue
        cut = np.clip(data, low, high).astype(data.dtype)
        if not np.array_equal(cut, data):
            changed[name] = cut
            where = f"from {_farthest(data):g} to {_farthest(cut):.4g}"
            notes.append(f"{name}, a mask in front of a Softmax, is cut {where}: {DEPTH:g} below the maximum is 0 behind it")
    floors = {name: low for name, (low, _) in needs.items() if np.isfinite(low) and not graph.is_constant(name)}
    return Masked(_replaced(graph, changed) if changed else graph, floors, tuple(notes))


def _extremes(data: np.ndarray) -> tuple[float, float]:
    return (float(data.min()), float(data.max())) if data.size else (0.0, 0.0)


def _farthest(data: np.ndarray) -> float:
    return float(data.reshape(-1)[np.abs(data).argmax()])


def _replaced(graph: Graph, changed: Mapping[str, np.ndarray]) -> Graph:
    names: dict[str, str] = {}
    for name in changed:
        names[name] = fresh_name(graph, f"{name}.cut", names.values())
    nodes = [replace(node, inputs=tuple(names.get(name, name) for name in node.inputs)) for node in graph.nodes]
    constants = {names[name]: data for name, data in changed.items()}
    values = [constant_value(name, data) for name, data in constants.items()]
    return graph.updated(nodes=nodes, values=values, constants=constants)


def _same(graph: Graph, node: Node, index: int, floor: float, known: Ranges) -> Need:
    """Operators that move values."""
    return (floor, np.inf) if index == 0 else ALL


def _chosen(graph: Graph, node: Node, index: int, floor: float, known: Ranges) -> Need:
    """Operators each of whose results is one of the operands."""
    return (floor, np.inf)


def _where(graph: Graph, node: Node, index: int, floor: float, known: Ranges) -> Need:
    return (floor, np.inf) if index else ALL


def _add(graph: Graph, node: Node, index: int, floor: float, known: Ranges) -> Need:
    """a, where a + b may stop at the floor however large b is."""
    other = known.get(node.inputs[1 - index])
    return ALL if other is None else (floor - other[1], np.inf)


def _sub(graph: Graph, node: Node, index: int, floor: float, known: Ranges) -> Need:
    other = known.get(node.inputs[1 - index])
    if other is None:
        return ALL
    return (floor + other[0], np.inf) if index == 0 else (-np.inf, other[1] - floor)


def _scaled(graph: Graph, node: Node, index: int, floor: float, known: Ranges) -> Need:
    """Products with, and quotients by, one positive constant."""
    factor = graph.constant(node.inputs[1 - index])
    if factor is None or factor.size != 1 or float(factor.reshape(-1)[0]) <= 0.0 or (node.op == "Div" and index == 1):
        return ALL
    value = float(factor.reshape(-1)[0])
    return (floor / value if node.op == "Mul" else floor * value), np.inf


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Expand"), _same),
    **dict.fromkeys(("Tile", "Slice", "Split", "Gather"), _same),
    **dict.fromkeys(("Concat", "Max", "Min"), _chosen),
    "Where": _where, "Add": _add, "Sub": _sub, "Mul": _scaled, "Div": _scaled,
}  # fmt: skip
