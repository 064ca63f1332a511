"""When which bytes of the arenas are in use: what the verification holds the kernels to."""

from __future__ import annotations

from collections.abc import Sequence

from espgen.codegen.views import BufferView, StepView
from espgen.ir import Graph
from espgen.schedule.memory import MemoryMap

# In the order of the model's arena table.
_TIERS = ("internal", "psram")


def live_ranges(
    graph: Graph, memory: MemoryMap, layer_names: Sequence[str], steps: Sequence[StepView]
) -> tuple[BufferView, ...]:
    """The planned buffers by arena and offset, without the bytes behind each that may only be read.

    layer_names  the nodes that have steps, in the order of StepView.layer
    """
    layers = {name: number for number, name in enumerate(layer_names)}
    # The steps of every node; a node without any only gives values other names.
    own = [
        [number for number, step in enumerate(steps) if step.layer == layers.get(node.name)] for node in graph.nodes
    ]
    arenas = {tier: number for number, tier in enumerate(tier for tier in _TIERS if memory.bytes_of(tier))}
    places = {place.name: place for place in memory.plan.placements}
    views = []
    for buffer in memory.buffers:
        used = [step for node in own[buffer.first : buffer.last + 1] for step in node]
        place = places[buffer.name]
        views.append(
            BufferView(
                name=buffer.name,
                arena=arenas[place.tier],
                offset=place.offset,
                bytes=buffer.size,
                first=min(used) if used and buffer.first > 0 else 0,
                last=max(used) if used and buffer.last < len(graph.nodes) - 1 else len(steps) - 1,
            )
        )
    return tuple(sorted(views, key=lambda view: (view.arena, view.offset)))
