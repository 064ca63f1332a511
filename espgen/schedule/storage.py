"""How each value of an integer graph is stored: pitches, halos, and which values are views of others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from espgen.ir import Graph, Value
from espgen.ops.base import Storage, dense_storage, rows_of
from espgen.schedule.elision import Views


@dataclass(frozen=True)
class StorageNeed:
    """What a kernel asks of a value's storage: pixels of halo on either side, and a multiple for the pixel pitch."""

    pad_left: int = 0
    pad_right: int = 0
    pitch_multiple: int = 1

    def joined(self, other: StorageNeed) -> StorageNeed:
        """What satisfies both (pitch multiples are powers of two times the element size)."""
        return StorageNeed(
            max(self.pad_left, other.pad_left),
            max(self.pad_right, other.pad_right),
            max(self.pitch_multiple, other.pitch_multiple),
        )


@dataclass(frozen=True)
class StoragePlan:
    """Storage of every computed value; `views` maps a value without storage of its own to (the value it lies in, byte offset).

    `elided` names the nodes that have nothing left to do.
    """

    storages: Mapping[str, Storage]
    views: Mapping[str, tuple[str, int]]
    elided: frozenset[str] = frozenset()

    def of(self, graph: Graph, name: str) -> Storage:
        """Storage of a value; constants lie dense among the weights."""
        return dense_storage(graph.value(name)) if graph.is_constant(name) else self.storages[name]

    def root(self, name: str) -> tuple[str, int]:
        """The value that owns the bytes of `name`, and the offset of `name` in it."""
        offset = 0
        while name in self.views:
            name, step = self.views[name]
            offset += step
        return name, offset


def padded_storage(value: Value, need: StorageNeed) -> Storage:
    """The smallest storage that satisfies `need`; rows are 16-byte aligned where the storage is not dense anyway."""
    rows, pixels, channels = rows_of(value.shape)
    size = value.dtype.size
    pixel_pitch = _round_up(channels * size, need.pitch_multiple)
    row_pitch = (pixels + need.pad_left + need.pad_right) * pixel_pitch
    if need != StorageNeed():
        row_pitch = _round_up(row_pitch, 16)
    return Storage(rows, pixels, channels, size, pixel_pitch, row_pitch, need.pad_left, need.pad_right)


def plan_storage(graph: Graph, needs: Mapping[str, StorageNeed]) -> StoragePlan:
    """Storage for every computed value from what its kernels ask.

    Reshapes, slices and concatenations become views where their addresses allow it (elision.py).
    """
    names = [*graph.inputs, *(output for node in graph.nodes for output in node.outputs)]
    storages = {name: padded_storage(graph.value(name), needs.get(name, StorageNeed())) for name in names}
    multiples = {name: need.pitch_multiple for name, need in needs.items()}
    found = Views(graph, storages, multiples)
    for node in graph.nodes:
        found.visit(node)
    return StoragePlan(found.storages, found.views, frozenset(found.elided))


def with_rings(plan: StoragePlan, rings: Mapping[str, int]) -> StoragePlan:
    """The same storage with so many rows held of some values."""
    held = {name: replace(storage, ring_rows=rings.get(name, 0)) for name, storage in plan.storages.items()}
    return replace(plan, storages=held)


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
