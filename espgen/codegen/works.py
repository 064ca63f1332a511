"""From planned nodes to what the search for a schedule knows of them."""

from __future__ import annotations

from collections.abc import Sequence

from espgen.codegen.calls import NodePlan
from espgen.ir import Graph
from espgen.schedule.storage import StoragePlan
from espgen.schedule.work import Work, reaches


def works_of(graph: Graph, plans: Sequence[NodePlan], storage: StoragePlan) -> tuple[Work, ...]:
    """One entry per node that takes steps."""
    return tuple(_work(graph, plan, storage) for plan in plans if plan.calls)


def ringable(graph: Graph, storage: StoragePlan) -> frozenset[str]:
    """Values of the inside that own their bytes alone."""
    shared = {*storage.views, *(owner for owner, _ in storage.views.values()), *graph.inputs, *graph.outputs}
    return frozenset(storage.storages.keys() - shared)


def _work(graph: Graph, plan: NodePlan, storage: StoragePlan) -> Work:
    computed = [name for name in plan.node.inputs if name and not graph.is_constant(name)]
    reads = tuple(dict.fromkeys(storage.root(name)[0] for name in computed))
    writes = tuple(dict.fromkeys(storage.root(name)[0] for name in plan.node.outputs if name))
    parted = all(call.advance is not None for call in (*plan.calls, *plan.twin)) and len(plan.calls) == 1
    constants = {id(data): data for call in plan.calls for _, data in call.tables}
    return Work(
        node=plan.node.name,
        reads=reads,
        writes=writes,
        rows=max(call.row_end for call in plan.calls),
        parted=parted,
        band_rows=plan.band_rows,
        call_cycles=plan.call_cycles,
        row_cycles=plan.row_cycles,
        weight_bytes=sum(len(data) if isinstance(data, bytes) else data.nbytes for data in constants.values()),
        reach=reaches(plan.calls) if parted else {},
    )
