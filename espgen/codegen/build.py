"""From integer graph to component folder: kernel choice, storage, memory, code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espgen.codegen.component import Planned, build_component
from espgen.codegen.families import FAMILIES
from espgen.codegen.family import KernelOptions
from espgen.codegen.offers import Progress, plan_nodes
from espgen.codegen.project import write_component
from espgen.errors import EspgenError
from espgen.ir import Graph
from espgen.schedule.buffers import Tier
from espgen.schedule.memory import plan_memory
from espgen.schedule.steps import node_after_node
from espgen.target.espv import Levels


@dataclass(frozen=True)
class Options:
    """What a user may decide about the generated code.

    internal_bytes  internal RAM that activations may use; what does not fit goes to PSRAM
    psram_bytes     PSRAM that activations may use
    kernels         "auto": the cheapest kernel of each layer; "portable": C++ only
    hardware_loops  `esp.lp.*` in assembly; False: counted branches, for early silicon
    levels          instruction sets that assembly is written for
    """

    internal_bytes: int = 320 * 1024
    psram_bytes: int = 32 * 1024 * 1024
    kernels: str = "auto"
    hardware_loops: bool = True
    levels: Levels = Levels.BOTH


def plan_graph(graph: Graph, options: Options, progress: Progress | None = None) -> Planned:
    """Decide kernels, storage and addresses for an integer graph; raises EspgenError where it cannot fit.

    progress  told ("plan", nodes done, nodes in all)
    """
    if not graph.nodes:
        raise EspgenError("the model computes nothing", hint="a graph output is a graph input")
    nodes, storage = plan_nodes(
        graph,
        () if options.kernels == "portable" else FAMILIES,
        KernelOptions(hardware_loops=options.hardware_loops),
        progress,
    )
    scratch = {plan.node.name: plan.scratch for plan in nodes}
    tiers = [Tier("internal", options.internal_bytes), Tier("psram", options.psram_bytes, 1)]
    steps = node_after_node((plan.node.name, plan.bands()) for plan in nodes)
    memory = plan_memory(graph, storage, steps, scratch, tiers)
    return Planned(graph, nodes, storage, steps, memory)


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
    component = build_component(planned, name)
    return write_component(component, planned, output, extra, options.levels)
