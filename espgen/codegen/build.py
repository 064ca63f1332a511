"""From integer graph to component folder: kernel choice, storage, memory, code."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from espgen.codegen.calls import NodePlan
from espgen.codegen.component import Planned, build_component
from espgen.codegen.families import FAMILIES
from espgen.codegen.family import KernelOptions
from espgen.codegen.offers import Progress, plan_nodes
from espgen.codegen.project import write_component
from espgen.codegen.works import ringable, works_of
from espgen.errors import EspgenError
from espgen.ir import Graph
from espgen.schedule.memory import Memory, plan_memory
from espgen.schedule.replay import replay
from espgen.schedule.search import Prices, search
from espgen.schedule.segments import Segment, alone
from espgen.schedule.storage import StoragePlan, with_rings
from espgen.target.chips import DEFAULT, L2_KB, RESERVE_BYTES, Chip
from espgen.target.espv import Level, Levels

ARENA_TAIL = 64
"""Bytes of internal RAM that an arena takes besides its own: what may be read behind it, and the rounding to its alignment."""

LAYERS, BANDS = "layers", "bands"
SCHEDULES = ("auto", BANDS, LAYERS)
_DEAR = 1000.0
"""Cycles per byte: memory counts more than any time."""


@dataclass(frozen=True)
class Options:
    """What a user may decide about the generated code.

    chip            what the component is made for; a chip without vector unit gets portable kernels
    internal_bytes  internal RAM that activations may use in all; None: what the chip has less the reserve. What does not
                    fit goes to PSRAM
    psram_bytes     PSRAM that activations may use
    reserve_bytes   what stays of the first piece of internal RAM for ESP-IDF and the application
    l2_kb           second-level cache, which is taken from internal RAM: 128, 256 or 512
    kernels         "auto": the cheapest kernel of each layer; "portable": C++ only
    hardware_loops  `esp.lp.*` in assembly; False: counted branches, for early silicon
    schedule        "auto": layers in bands of rows where that is cheaper; "bands": wherever it can be, which takes the least
                    memory; "layers": one layer after the other
    license, url    SPDX expression and address for the component's manifest: a registry wants both, only the owner knows them
    """

    chip: Chip = DEFAULT
    internal_bytes: int | None = None
    psram_bytes: int = 32 * 1024 * 1024
    reserve_bytes: int = RESERVE_BYTES
    l2_kb: int = L2_KB
    kernels: str = "auto"
    hardware_loops: bool = True
    schedule: str = "auto"
    license: str = ""
    url: str = ""

    def __post_init__(self) -> None:
        """Raises EspgenError for texts that a component's manifest cannot hold."""
        if not re.fullmatch(r"[A-Za-z0-9.+() -]*", self.license):
            raise EspgenError(f"{self.license!r} is no SPDX license expression", place="--license", hint="such as Apache-2.0")
        if not re.fullmatch(r"(https?://[^\s\"\\\\]+)?", self.url):
            raise EspgenError(f"{self.url!r} is no address", place="--url", hint="such as https://example.com/model")

    @property
    def vector_kernels(self) -> bool:
        """Whether layers may be assembly."""
        return self.chip.has_vectors and self.kernels != "portable"

    @property
    def levels(self) -> Levels:
        """Instruction sets that assembly is written for; portable components have none of it."""
        return Levels(tuple(Level(value) for value in self.chip.espv)) if self.chip.espv else Levels.BOTH

    def memories(self) -> tuple[Memory, ...]:
        """What the planner may use, fastest first. EspgenError where more internal RAM is asked for than the chip has."""
        return (Memory("internal", self._internal()), Memory("psram", (self.psram_bytes,), 1))

    def _internal(self) -> tuple[int, ...]:
        if not self.chip.fixed_memory and self.internal_bytes is not None:
            return (self.internal_bytes,)
        pieces = self.chip.internal_pieces(self.l2_kb, self.reserve_bytes)
        if self.internal_bytes is None:
            return tuple(max(0, size - ARENA_TAIL) for size in pieces)
        if self.internal_bytes > sum(pieces):
            shown = " + ".join(f"{size:,}" for size in pieces)
            raise EspgenError(
                f"{self.chip.name} has {shown} bytes of internal RAM for activations with a {self.l2_kb} KB cache and "
                f"{self.reserve_bytes:,} bytes reserved, {self.internal_bytes:,} were asked for",
                place="--internal-ram",
                hint="leave --internal-ram out to use all of it; a smaller --reserve or --l2 128 leaves more",
            )
        return _limited(tuple(max(0, size - ARENA_TAIL) for size in pieces), self.internal_bytes)


def _limited(pieces: tuple[int, ...], limit: int) -> tuple[int, ...]:
    """At most `limit` bytes of the pieces in all, of the largest first."""
    kept = []
    for size in sorted(pieces, reverse=True):
        kept.append(min(size, limit))
        limit -= kept[-1]
    return tuple(kept)


def plan_graph(graph: Graph, options: Options, progress: Progress | None = None) -> Planned:
    """Decide kernels, storage and addresses for an integer graph; raises EspgenError where it cannot fit.

    progress  told ("plan", nodes done, nodes in all)
    """
    if not graph.nodes:
        raise EspgenError("the model computes nothing", hint="a graph output is a graph input")
    memories = options.memories()
    nodes, storage = plan_nodes(
        graph,
        FAMILIES if options.vector_kernels else (),
        KernelOptions(hardware_loops=options.hardware_loops),
        progress,
    )
    scratch = {plan.node.name: plan.scratch for plan in nodes}
    segments = _segments(graph, nodes, storage, options)
    steps = tuple(step for segment in segments for step in segment.steps)
    storage = with_rings(storage, {name: rows for segment in segments for name, rows in segment.rings.items()})
    memory = plan_memory(graph, storage, steps, scratch, memories)
    replay(graph, storage, steps, memory, scratch)
    return Planned(graph, nodes, storage, steps, memory)


def _segments(
    graph: Graph, nodes: Sequence[NodePlan], storage: StoragePlan, options: Options
) -> tuple[Segment, ...]:
    """Which layers run together, as the options have it."""
    works = works_of(graph, nodes, storage)
    if options.schedule == LAYERS:
        return tuple(alone(work) for work in works)
    prices = Prices(
        total={name: held.nbytes for name, held in storage.storages.items()},
        row={name: held.row_pitch for name, held in storage.storages.items()},
        internal_bytes=options.memories()[0].tier().capacity,
    )
    if options.schedule == BANDS:
        prices = replace(prices, byte_price=_DEAR)
    return search(works, prices, ringable(graph, storage))


def generate(
    graph: Graph,
    output: Path,
    *,
    options: Options,
    name: str,
    extra: Mapping[str, Any],
    progress: Progress | None = None,
) -> Path:
    """Write the component for an integer graph; returns its folder. `progress` as for plan_graph."""
    planned = plan_graph(graph, options, progress)
    component = build_component(planned, name, options.chip)
    component = replace(component, view=replace(component.view, license=options.license, url=options.url))
    made_for = {"chip": options.chip.to_json(), "l2_kb": options.l2_kb, "reserve": options.reserve_bytes}
    return write_component(component, planned, output, {**made_for, **extra}, options.levels)
