"""A family of assembly kernels: for which nodes it has one, what that asks of storage, and the calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from espgen.codegen.calls import NodePlan, padding_bytes
from espgen.codegen.pie.spec import PieKernel
from espgen.errors import Refusal, Refused
from espgen.ir import Graph, Node
from espgen.ops.base import KernelCall, RowTable, Storage, StorageOf
from espgen.schedule.storage import StorageNeed, StoragePlan, padded_storage


@dataclass(frozen=True)
class KernelOptions:
    """What a user decides about all assembly kernels.

    hardware_loops  `esp.lp.*`, or counted branches for early silicon whose loop state has an erratum
    """

    hardware_loops: bool = True


@dataclass(frozen=True)
class Part:
    """One call of a node and the kernel that it calls."""

    kernel: PieKernel
    call: KernelCall


Needs = Mapping[str, StorageNeed]
Parts = tuple[Part, ...]


def all_rows(node: Node, graph: Graph, storage: StorageOf, parts: Parts) -> int:
    """Every call makes all its rows in one step."""
    return 0


@dataclass(frozen=True)
class Family:
    """Assembly kernels of one kind; dispatch, random tests and benchmarks read the list of them (families.py).

    name       what reports call it
    ops        the operators it may have a kernel for
    needs      (node, graph) -> what it asks of the storage of the values it touches; None: the node is another family's
    parts      (node, graph, storage, options) -> the node's calls with that storage
    band_rows  (node, graph, storage, parts) -> rows per step so that what a call reads again stays in the cache; 0: all
    """

    name: str
    ops: tuple[str, ...]
    needs: Callable[[Node, Graph], Needs | Refusal | None]
    parts: Callable[[Node, Graph, StorageOf, KernelOptions], Parts | Refusal]
    band_rows: Callable[[Node, Graph, StorageOf, Parts], int] = all_rows


def assembly_call(
    kernel: PieKernel,
    output: RowTable,
    inputs: tuple[RowTable, ...],
    row_begin: int = 0,
    row_end: int | None = None,
    advance: tuple[int, ...] | None = None,
) -> Part:
    """A call of `kernel` that makes the rows of `output`, all of them complete after it unless said otherwise."""
    rows = len(output.rows)
    end = row_begin + rows if row_end is None else row_end
    tables = (("params", kernel.params),) if kernel.params else ()
    return Part(kernel, KernelCall(kernel.symbol, output, inputs, tables, rows, row_begin, end, advance=advance))


@dataclass(frozen=True)
class Offer:
    """A family's kernel for a node, priced with the storage that it asks for.

    cycles  predicted for the whole node, memory model off
    """

    family: Family
    cycles: int
    needs: Needs
    storages: Mapping[str, Storage]
    parts: Parts


def offer(family: Family, node: Node, graph: Graph, options: KernelOptions) -> Offer | Refusal | None:
    """What the family has for a node, why it has nothing, or None where the node is none of its business."""
    if node.op not in family.ops:
        return None
    needs = family.needs(node, graph)
    if needs is None or isinstance(needs, Refusal):
        return needs
    storages = {name: _asked(graph, name, needs) for name in dict.fromkeys((*node.inputs, *node.outputs)) if name}
    parts = _parts(family, node, graph, storages.__getitem__, options)
    if isinstance(parts, Refusal):
        return parts
    return Offer(family, cycles_of(parts), needs, storages, parts)


def settle(found: Offer, node: Node, graph: Graph, storage: StoragePlan, options: KernelOptions) -> Offer | Refusal:
    """The offer with the storage that was planned: the kernel at hand where it is what was asked for."""
    storages = {name: storage.of(graph, name) for name in found.storages}
    if storages == found.storages:
        return found
    parts = _parts(found.family, node, graph, storages.__getitem__, options)
    if isinstance(parts, Refusal):
        return parts
    return Offer(found.family, cycles_of(parts), found.needs, storages, parts)


def node_plan(settled: Offer, node: Node, graph: Graph, storage: StoragePlan) -> NodePlan:
    """The plan of a node that runs what was offered; its storage is settled."""
    calls = tuple(part.call for part in settled.parts)
    functions = {part.kernel.symbol: part.kernel.assembly for part in settled.parts}
    rows = settled.family.band_rows(node, graph, settled.storages.__getitem__, settled.parts)
    scratch = padding_bytes(calls, storage)
    name = settled.family.name
    one, two = (settled.parts[0].kernel.cycles(count) for count in (1, 2))
    return NodePlan(
        node,
        name,
        calls,
        assembly=tuple(functions.items()),
        scratch=scratch,
        band_rows=rows,
        call_cycles=2 * one - two,
        row_cycles=two - one,
    )


def cycles_of(parts: Parts) -> int:
    """Predicted cycles of all calls."""
    return int(sum(part.kernel.cycles(part.call.rows) for part in parts))


def _asked(graph: Graph, name: str, needs: Needs) -> Storage:
    return padded_storage(graph.value(name), needs.get(name, StorageNeed()))


def _parts(family: Family, node: Node, graph: Graph, storage: StorageOf, options: KernelOptions) -> Parts | Refusal:
    try:
        return family.parts(node, graph, storage, options)
    except Refused as reason:
        return Refusal(str(reason))
