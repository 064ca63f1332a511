"""Parts of one tensor that need grids of their own: operands of a Concat, and channels of an output, of unlike ranges.

One int8 grid over boxes of 0..640 and scores of 0..1 leaves the scores a single step. Where such a Concat ends the network
its operands become the outputs; elsewhere it and what reads it are computed in int16.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from espgen.ir import Graph, Node
from espgen.quantize.units import FIXED_RANGE, PASSIVE, PRODUCTS

APART = 30.0
"""Ranges further apart than this do not share an int8 grid: the smaller one would have 8 of 256 steps."""
ENDINGS = frozenset({"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Dropout"})
"""Operators behind a Concat that keep every value: the network still ends with it."""
MOST_GROUPS = 8


@dataclass(frozen=True)
class Parted:
    """graph: with its outputs cut in front of Concats; wide: nodes to compute in int16; notes: what was done and why."""

    graph: Graph
    wide: frozenset[str]
    notes: tuple[str, ...] = ()


def separate(graph: Graph, extents: Mapping[str, float], cut: bool = True) -> Parted:
    """Give the operands of Concats of unlike ranges grids of their own, or the Concat 16 bits.

    extents: largest absolute value of every operand of a Concat, over the calibration data; cut: False for int16 everywhere.
    """
    apart = {node.name for node in graph.nodes if node.op == "Concat" and spread(node, extents) > APART}
    producers = graph.producers()
    outputs: list[str] = []
    notes: list[str] = []
    pending = list(graph.outputs)
    while pending:
        name = pending.pop(0)
        concat = _ending_concat(graph, producers, name)
        if not cut or concat is None or concat.name not in apart or not all(item in producers for item in concat.inputs):
            outputs += [name] if name not in outputs else []
            continue
        pending = [*concat.inputs, *pending]
        notes.append(
            f"output {name!r} is now {len(concat.inputs)} outputs, the operands of {concat.name} that ends the network: "
            f"{_listed(concat, extents)} would share one grid"
        )
    if notes:
        graph = _without_dead(graph, outputs)
    wide: set[str] = set()
    for node in graph.nodes:
        if node.name not in apart:
            continue
        found = {node.name, *_reading(graph, node)}
        wide |= found
        others = sorted(found - {node.name})
        also = f", and so does what reads it ({', '.join(others)})" if others else ""
        notes.append(f"{node.name} gets int16{also}: {_listed(node, extents)} would share one grid")
    return Parted(graph, frozenset(wide), tuple(notes))


def spread(node: Node, extents: Mapping[str, float]) -> float:
    """Largest by smallest range of the operands of a Concat; operands that are all zero have none."""
    found = [extents[name] for name in node.inputs if extents.get(name, 0.0) > 0.0]
    return max(found) / min(found) if found else 1.0


def _listed(node: Node, extents: Mapping[str, float]) -> str:
    return ", ".join(f"{name} (up to {extents.get(name, 0.0):.3g})" for name in node.inputs)


def _ending_concat(graph: Graph, producers: Mapping[str, Node], name: str) -> Node | None:
    """The Concat whose values an output holds."""
    producer = producers.get(name)
    while producer is not None and producer.op in ENDINGS:
        producer = producers.get(producer.inputs[0])
    return producer if producer is not None and producer.op == "Concat" else None


def _reading(graph: Graph, node: Node) -> set[str]:
    """Nodes that compute with a Concat's parts: up to the products that mix them and the functions that level them."""
    consumers = graph.consumers()
    found: set[str] = set()
    seen: set[str] = set()
    pending = [node]
    while pending:
        for output in pending.pop().outputs:
            for reader in consumers.get(output, []):
                if reader.name in seen:
                    continue
                seen.add(reader.name)
                if reader.op not in PASSIVE:
                    found.add(reader.name)
                if reader.op not in PRODUCTS and reader.op not in FIXED_RANGE:
                    pending.append(reader)
    return found


def _without_dead(graph: Graph, outputs: Sequence[str]) -> Graph:
    """The graph with other outputs and only what they are made from."""
    needed = set(outputs)
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    return graph.updated(nodes=kept[::-1], outputs=outputs)


def cut_alike(whole: Graph, outputs: Sequence[str]) -> Graph:
    """A float network with the outputs of its quantized form, where these lie inside it: it was cut in front of a Concat."""
    made = {name for node in whole.nodes for name in node.outputs}
    return whole.updated(outputs=outputs) if tuple(outputs) != tuple(whole.outputs) and made.issuperset(outputs) else whole


def channel_groups(extent: np.ndarray) -> list[slice]:
    """Runs of neighbouring channels whose ranges lie within APART of each other; extent: largest |x| per channel."""
    groups: list[slice] = []
    start, low, high = 0, 0.0, 0.0
    for index, value in enumerate(np.asarray(extent, np.float64).tolist()):
        if value > 0.0:
            least, most = min(low or value, value), max(high, value)
            if most > APART * least:
                groups.append(slice(start, index))
                start, least, most = index, value, value
            low, high = least, most
    return [*groups, slice(start, len(extent))]


def output_groups(values: np.ndarray) -> tuple[int, list[slice]]:
    """(axis, runs along it) of an output [samples, 1, ...] whose ranges lie apart; one run where they do not.

    The axis with the fewest runs, from the second of the tensor on.
    """
    found: list[tuple[int, int, list[slice]]] = []
    for axis in range(1, values.ndim):
        others = tuple(index for index in range(values.ndim) if index != axis)
        groups = channel_groups(np.abs(values).max(axis=others))
        if 1 < len(groups) <= MOST_GROUPS:
            found.append((len(groups), axis, groups))
    if not found:
        return 1, [slice(0, values.shape[1] if values.ndim > 1 else 1)]
    _, axis, groups = min(found, key=lambda entry: entry[:2])
    return axis, groups
