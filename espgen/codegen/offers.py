"""Which kernel every node runs: the cheapest on offer, and the storage that satisfies all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from espgen.codegen.calls import PORTABLE, NodePlan, portable_plan
from espgen.codegen.family import Family, KernelOptions, Offer, node_plan, offer, settle
from espgen.errors import Refusal
from espgen.ir import Graph, Node
from espgen.ops.registry import spec_of
from espgen.schedule.storage import StorageNeed, StoragePlan, plan_storage
from espgen.target.costs import PORTABLE_CYCLES_PER_ELEMENT, PORTABLE_CYCLES_PER_MAC

Progress = Callable[[str, int, int], None]
"""Told of long work: what it is, how much is done, and how much there is."""


@dataclass(frozen=True)
class _Candidates:
    """The answers of all families for one node, in their order."""

    node: Node
    portable: int
    answers: Mapping[str, Offer | Refusal]

    def offers(self) -> list[Offer]:
        """What costs less than the portable kernel, cheapest first."""
        found = [answer for answer in self.answers.values() if isinstance(answer, Offer) and answer.cycles < self.portable]
        return sorted(found, key=lambda answer: answer.cycles)

    def rows(self) -> tuple[tuple[str, int | None, str], ...]:
        """For reports: kernel, cycles or None, and a note."""
        rows: list[tuple[str, int | None, str]] = [(PORTABLE, self.portable, "estimated")]
        for name, answer in self.answers.items():
            if isinstance(answer, Offer):
                rows.append((name, answer.cycles, "predicted"))
            else:
                rows.append((name, None, answer.reason))
        return tuple(rows)


def portable_cycles(node: Node, graph: Graph) -> int:
    """Estimated cycles of the portable kernel."""
    spec = spec_of(node.op)
    macs = spec.macs(node, graph)
    elements = sum(graph.value(name).elements for name in node.outputs if name)
    return macs * PORTABLE_CYCLES_PER_MAC + elements * PORTABLE_CYCLES_PER_ELEMENT


def plan_nodes(
    graph: Graph, families: Sequence[Family], options: KernelOptions, progress: Progress | None = None
) -> tuple[tuple[NodePlan, ...], StoragePlan]:
    """The cheapest kernel of every node, and the storage that satisfies all of them."""
    found = []
    for done, node in enumerate(graph.nodes, 1):
        answers = [(family.name, offer(family, node, graph, options)) for family in families]
        given = {name: answer for name, answer in answers if answer is not None}
        found.append(_Candidates(node, portable_cycles(node, graph), given))
        if progress:
            progress("plan", done, len(graph.nodes))
    needs: dict[str, StorageNeed] = {}
    for candidates in found:
        for best in candidates.offers()[:1]:
            for name, need in best.needs.items():
                needs[name] = needs.get(name, StorageNeed()).joined(need)
    storage = plan_storage(graph, needs)
    return tuple(_node_plan(candidates, graph, storage, options) for candidates in found), storage


def _node_plan(candidates: _Candidates, graph: Graph, storage: StoragePlan, options: KernelOptions) -> NodePlan:
    """The kernel that is cheapest with the storage that there is, beside its portable twin."""
    portable = portable_plan(candidates.node, graph, storage)
    if not portable.calls:
        return replace(portable, candidates=candidates.rows())
    best, answers = None, dict(candidates.answers)
    for offered in candidates.offers():
        if best is not None and best.cycles <= offered.cycles:
            break
        if not _satisfied(offered, graph, storage):
            continue
        settled = settle(offered, candidates.node, graph, storage, options)
        answers[offered.family.name] = settled
        if isinstance(settled, Offer) and settled.cycles < min(candidates.portable, best.cycles if best else 1 << 62):
            best = settled
    rows = replace(candidates, answers=answers).rows()
    if best is None:
        rows_made = max(sum(call.rows for call in portable.calls), 1)
        return replace(portable, candidates=rows, row_cycles=candidates.portable / rows_made)
    plan = node_plan(best, candidates.node, graph, storage)
    return replace(plan, twin=portable.calls, scratch=max(plan.scratch, portable.scratch), candidates=rows)


def _satisfied(offered: Offer, graph: Graph, storage: StoragePlan) -> bool:
    """Whether the planned storage is at least what the kernel needs."""
    for name, need in offered.needs.items():
        held = storage.of(graph, name)
        enough = held.pad_left >= need.pad_left and held.pad_right >= need.pad_right
        if not enough or held.pixel_pitch % need.pitch_multiple:
            return False
    return True
