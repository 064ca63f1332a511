"""What a family of fast kernels offers for a node, and how the cheapest one is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from espgen.codegen.calls import NodePlan, portable_plan
from espgen.ir import Graph, Node
from espgen.ops.registry import spec_of
from espgen.schedule.storage import StorageNeed, StoragePlan, plan_storage
from espgen.target.costs import PORTABLE_CYCLES_PER_ELEMENT, PORTABLE_CYCLES_PER_MAC


@dataclass(frozen=True)
class Offer:
    """A kernel that could run a node.

    cycles  predicted for the whole node, memory model off
    needs   what it asks of the storage of the values it touches
    build   the node's calls once the storage is known
    """

    kernel: str
    cycles: int
    needs: Mapping[str, StorageNeed]
    build: Callable[[StoragePlan], NodePlan]


@dataclass(frozen=True)
class Refusal:
    """Why a family has nothing for a node."""

    kernel: str
    reason: str


@dataclass(frozen=True)
class KernelOptions:
    """What a user decides about all assembly kernels.

    hardware_loops  `esp.lp.*`, or counted branches for early silicon whose loop state has an erratum
    """

    hardware_loops: bool = True


Progress = Callable[[str, int, int], None]
"""Told of long work: what it is, how much is done, and how much there is."""

Provider = Callable[[Node, Graph, KernelOptions], Offer | Refusal | None]


def portable_cycles(node: Node, graph: Graph) -> int:
    """Estimated cycles of the portable kernel."""
    spec = spec_of(node.op)
    macs = spec.macs(node, graph)
    elements = sum(graph.value(name).elements for name in node.outputs if name)
    return macs * PORTABLE_CYCLES_PER_MAC + elements * PORTABLE_CYCLES_PER_ELEMENT


def plan_nodes(
    graph: Graph, providers: Sequence[Provider], options: KernelOptions, progress: Progress | None = None
) -> tuple[tuple[NodePlan, ...], StoragePlan]:
    """The cheapest kernel of every node, and the storage that satisfies all of them."""
    answers = {}
    for done, node in enumerate(graph.nodes, 1):
        answers[node.name] = [provider(node, graph, options) for provider in providers]
        if progress:
            progress("plan", done, len(graph.nodes))
    chosen: dict[str, Offer] = {}
    needs: dict[str, StorageNeed] = {}
    for node in graph.nodes:
        offers = [answer for answer in answers[node.name] if isinstance(answer, Offer)]
        best = min(offers, key=lambda offer: offer.cycles, default=None)
        if best is None or best.cycles >= portable_cycles(node, graph):
            continue
        chosen[node.name] = best
        for name, need in best.needs.items():
            needs[name] = needs.get(name, StorageNeed()).joined(need)
    storage = plan_storage(graph, needs)
    plans = []
    for node in graph.nodes:
        offer = chosen.get(node.name)
        portable = portable_plan(node, graph, storage)
        plan = portable if offer is None else _with_twin(offer.build(storage), portable)
        plans.append(replace(plan, candidates=_candidates(node, graph, answers[node.name])))
    return tuple(plans), storage


def _with_twin(plan: NodePlan, portable: NodePlan) -> NodePlan:
    return replace(plan, twin=portable.calls, scratch=max(plan.scratch, portable.scratch))


def _candidates(
    node: Node, graph: Graph, answers: Sequence[Offer | Refusal | None]
) -> tuple[tuple[str, int | None, str], ...]:
    rows: list[tuple[str, int | None, str]] = [("portable", portable_cycles(node, graph), "estimated")]
    for answer in answers:
        if isinstance(answer, Offer):
            rows.append((answer.kernel, answer.cycles, "predicted"))
        elif isinstance(answer, Refusal):
            rows.append((answer.kernel, None, answer.reason))
    return tuple(rows)
