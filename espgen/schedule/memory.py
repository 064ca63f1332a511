"""Addresses for everything a graph computes: liveness, planner and proof applied to an integer graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from espgen.errors import EspgenError
from espgen.ir import Graph, Node
from espgen.ops.registry import spec_of
from espgen.schedule.buffers import Buffer, Placement, Plan, Tier
from espgen.schedule.liveness import Use, liveness, scratch_name
from espgen.schedule.planner import plan
from espgen.schedule.proof import prove
from espgen.schedule.steps import Step
from espgen.schedule.storage import StoragePlan

ALIGN = 64
OVERREAD = 64
"""Readable bytes behind an arena: vector loads may reach past a buffer's last element (inside the arena: into a neighbour)."""


@dataclass(frozen=True)
class Memory:
    """A kind of memory: the bytes of its pieces, each of which holds one arena, and the price of a byte of access."""

    name: str
    pieces: tuple[int, ...]
    cost: int = 0

    def arenas(self) -> tuple[Tier, ...]:
        """One tier per piece that has room, largest first; the first has the memory's name, the others a number behind it."""
        usable = sorted((max(0, (size - OVERREAD) // ALIGN * ALIGN) for size in self.pieces), reverse=True)
        held = [size for index, size in enumerate(usable) if size or index == 0]
        names = [self.name if index == 0 else f"{self.name}_{index + 1}" for index in range(len(held))]
        return tuple(Tier(name, size, self.cost) for name, size in zip(names, held, strict=True))

    def tier(self) -> Tier:
        """What the planner sees: the pieces one behind the other, with a seam between each two."""
        ends = tuple(accumulate(tier.capacity for tier in self.arenas()))
        return Tier(self.name, ends[-1] if ends else 0, self.cost, ends[:-1])


@dataclass(frozen=True)
class Address:
    """Byte `offset` in the arena of that name."""

    arena: str
    offset: int


@dataclass(frozen=True)
class Arena:
    """One array of the component: its name, the memory it lies in, its bytes (the readable ones behind it included)."""

    name: str
    memory: str
    nbytes: int


@dataclass(frozen=True)
class MemoryMap:
    """Addresses of values (of views too), nodes' scratch memory and planned buffers; the arenas; the plan they come from."""

    values: Mapping[str, Address]
    scratch: Mapping[str, Address]
    places: Mapping[str, Address]
    arenas: tuple[Arena, ...]
    plan: Plan
    buffers: tuple[Buffer, ...]

    def bytes_of(self, memory: str) -> int:
        """Bytes of all arenas in a memory."""
        return sum(arena.nbytes for arena in self.arenas if arena.memory == memory)


def plan_memory(
    graph: Graph,
    storage: StoragePlan,
    steps: Sequence[Step],
    scratch: Mapping[str, int],
    memories: Sequence[Memory],
) -> MemoryMap:
    """Place every value and scratch buffer; raises EspgenError where something does not fit.

    steps     the schedule; the planned buffers' first and last count its steps
    scratch   bytes of working memory per node name
    memories  fastest first; their pieces hold whole arenas, readable bytes behind them included
    """
    nodes = {node.name: node for node in graph.nodes}
    uses = {step.node: _use(graph, nodes[step.node], storage, scratch) for step in steps}
    roots = {name for name in storage.storages if name not in storage.views}
    sizes = {name: storage.storages[name].nbytes for name in roots}
    aliases = {name: storage.root(name)[0] for name in storage.views}
    buffers = liveness([uses[step.node] for step in steps], sizes, inputs=graph.inputs, outputs=graph.outputs, aliases=aliases)
    _check_pieces(buffers, memories)
    result = plan(buffers, [memory.tier() for memory in memories])
    placements = [_in_its_piece(item, memories) for item in result.placements]
    prove(buffers, placements, [arena for memory in memories for arena in memory.arenas()])
    places = {item.name: Address(item.tier, item.offset) for item in placements}
    values = {}
    for name in storage.storages:
        root, offset = storage.root(name)
        values[name] = Address(places[root].arena, places[root].offset + offset)
    scratch_places = {name: places[scratch_name(name)] for name, use in uses.items() if use.scratch}
    return MemoryMap(values, scratch_places, places, _arenas(buffers, places, memories), result, tuple(buffers))


def _check_pieces(buffers: Sequence[Buffer], memories: Sequence[Memory]) -> None:
    """A buffer larger than every piece has a remedy of its own: no sum of pieces helps it."""
    largest = {memory.name: memory.tier().largest for memory in memories}
    for buffer in buffers:
        if buffer.occupied > max(largest.values()):
            have = ", ".join(f"{size} in {name}" for name, size in largest.items())
            raise EspgenError(
                f"a buffer of {buffer.size} bytes is larger than the largest piece of memory it may use ({have})",
                place=buffer.name,
                hint="allow more PSRAM (--psram) or internal RAM (--internal-ram, --chip), or use a smaller input",
            )


def _in_its_piece(item: Placement, memories: Sequence[Memory]) -> Placement:
    start = 0
    arenas = next(memory.arenas() for memory in memories if memory.name == item.tier)
    for arena in arenas:
        if item.offset < start + arena.capacity or arena is arenas[-1]:
            return Placement(item.name, arena.name, item.offset - start)
        start += arena.capacity
    raise AssertionError("every memory has an arena")


def _arenas(
    buffers: Sequence[Buffer], places: Mapping[str, Address], memories: Sequence[Memory]
) -> tuple[Arena, ...]:
    """The arenas that hold something, in the order of the memories and of their pieces."""
    ends: dict[str, int] = {}
    for buffer in buffers:
        place = places[buffer.name]
        if buffer.occupied:
            ends[place.arena] = max(ends.get(place.arena, 0), place.offset + buffer.occupied)
    found = []
    for memory in memories:
        for tier in memory.arenas():
            if tier.name in ends:
                found.append(Arena(tier.name, memory.name, ends[tier.name] + OVERREAD))
    return tuple(found)


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
