"""When which bytes of the arenas are in use: what a host run holds the kernels to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from espgen.codegen.views import StepView
from espgen.ir import Graph
from espgen.schedule.memory import OVERREAD, MemoryMap


def live_ranges(
    graph: Graph, memory: MemoryMap, layer_names: Sequence[str], steps: Sequence[StepView], arena: str
) -> list[dict[str, Any]]:
    """One entry per planned buffer: its arena, byte offset and size, and the first and last step that may touch it.

    layer_names  the nodes that have steps, in the order of StepView.layer
    """
    layers = {name: number for number, name in enumerate(layer_names)}
    # The step range of every node; a node without steps of its own only moves names.
    spans: dict[int, list[int]] = {}
    for index, node in enumerate(graph.nodes):
        layer = layers.get(node.name)
        spans[index] = [number for number, step in enumerate(steps) if step.layer == layer]
    places = {place.name: place for place in memory.plan.placements}
    final = len(steps) - 1
    entries = []
    for buffer in memory.buffers:
        used = [step for index in range(buffer.first, buffer.last + 1) for step in spans.get(index, ())]
        is_value = buffer.name in graph.values
        first = 0 if buffer.first == 0 or not used else min(used)
        last = final if buffer.last == len(graph.nodes) - 1 or not used else max(used)
        entries.append(
            {
                "name": buffer.name,
                "arena": f"{arena}_{places[buffer.name].tier}",
                "offset": places[buffer.name].offset,
                "bytes": buffer.size - (OVERREAD if is_value else 0),
                "first": first,
                "last": last,
            }
        )
    return entries
