"""Addresses for everything a graph computes: liveness, planner and proof applied to an integer graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from espgen.ir import Graph, Node
from espgen.ops.registry import spec_of
from espgen.schedule.buffers import Buffer, Plan, Tier
from espgen.schedule.liveness import Use, liveness, scratch_name
from espgen.schedule.planner import plan
from espgen.schedule.proof import prove
from espgen.schedule.steps import Step
from espgen.schedule.storage import StoragePlan

OVERREAD = 64
"""Readable bytes behind an arena: vector loads may reach past a buffer's last element (inside the arena: into a neighbour)."""


@dataclass(frozen=True)
class Address:
    """Byte `offset` in memory tier `tier`."""

    tier: str
    offset: int


@dataclass(frozen=True)
class MemoryMap:
    """Addresses of values (of views too) and of nodes' scratch memory, the plan they come from, and what it planned."""

    values: Mapping[str, Address]
    scratch: Mapping[str, Address]
    plan: Plan
    buffers: tuple[Buffer, ...]

    def bytes_of(self, tier: str) -> int:
        """Size of the tier's arena: the plan's peak and the readable bytes behind it."""
        peak = self.plan.peaks.get(tier, 0)
        return peak + OVERREAD if peak else 0


def plan_memory(
    graph: Graph,
    storage: StoragePlan,
    steps: Sequence[Step],
    scratch: Mapping[str, int],
    tiers: Sequence[Tier],
) -> MemoryMap:
    """Place every value and scratch buffer; raises EspgenError where something does not fit.

    steps    the schedule; the planned buffers' first and last count its steps
    scratch  bytes of working memory per node name
    tiers    fastest first; their capacities hold whole arenas, readable bytes behind them included
    """
    tiers = [replace(tier, capacity=max(0, tier.capacity - OVERREAD)) for tier in tiers]
    nodes = {node.name: node for node in graph.nodes}
    uses = {step.node: _use(graph, nodes[step.node], storage, scratch) for step in steps}
    roots = {name for name in storage.storages if name not in storage.views}
    sizes = {name: storage.storages[name].nbytes for name in roots}
    aliases = {name: storage.root(name)[0] for name in storage.views}
    buffers = liveness([uses[step.node] for step in steps], sizes, inputs=graph.inputs, outputs=graph.outputs, aliases=aliases)
    result = plan(buffers, tiers)
    prove(buffers, result.placements, tiers)
    places = {item.name: Address(item.tier, item.offset) for item in result.placements}
    values = {}
    for name in storage.storages:
        root, offset = storage.root(name)
        values[name] = Address(places[root].tier, places[root].offset + offset)
    scratch_places = {name: places[scratch_name(name)] for name, use in uses.items() if use.scratch}
    return MemoryMap(values, scratch_places, result, tuple(buffers))


def _use(graph: Graph, node: Node, storage: StoragePlan, scratch: Mapping[str, int]) -> Use:
    reads = tuple(dict.fromkeys(name for name in node.inputs if name and not graph.is_constant(name)))
    writes = tuple(name for name in node.outputs if name)
    pairs = []
    if spec_of(node.op).in_place:
        made = writes[0]
        pairs = [
            (made, name)
            for name in reads
            if storage.storages[name] == storage.storages[made] and not {name, made} & storage.views.keys()
        ]
    return Use(node.name, reads, writes, scratch.get(node.name, 0), tuple(pairs[:1]))
