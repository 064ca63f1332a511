"""The proof of a schedule: replays its steps on an image of memory in which every byte knows which row of which value it holds.

It shares nothing with the search: which rows a step needs comes from the operators' own specifications, where they lie from the
storage and the memory plan. A step must find every row that it reads where it looks for it, made before and not written over
since, halo and padding included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from espgen.errors import Defect
from espgen.ir import Graph, Node
from espgen.ops.base import Storage, rows_of
from espgen.ops.registry import spec_of
from espgen.schedule.memory import Address, MemoryMap
from espgen.schedule.steps import Step
from espgen.schedule.storage import StoragePlan

_Owners = npt.NDArray[np.int64]


def replay(
    graph: Graph, storage: StoragePlan, steps: Sequence[Step], memory: MemoryMap, padding: Mapping[str, int]
) -> int:
    """Check a schedule; returns how many rows were found where they were looked for.

    padding  bytes of each node's padding row. Raises Defect that names step, value and row.
    """
    return _Replay(graph, storage, memory, padding).run(steps)


class _Replay:
    def __init__(self, graph: Graph, storage: StoragePlan, memory: MemoryMap, padding: Mapping[str, int]) -> None:
        self.graph, self.storage, self.memory, self.padding = graph, storage, memory, padding
        self.nodes = {node.name: node for node in graph.nodes}
        self.numbers = {name: number for number, name in enumerate([*storage.storages, *self.nodes], 1)}
        self.owners: dict[str, _Owners] = {
            arena.name: np.zeros(arena.nbytes, np.int64) for arena in memory.arenas
        }
        self.started: set[str] = set()
        self.found = 0

    def run(self, steps: Sequence[Step]) -> int:
        made = {node.name: 0 for node in self.graph.nodes}
        for name in self.graph.inputs:
            self._write(name, range(self.storage.storages[name].rows))
            self._write_halo(name)
        for number, step in enumerate(steps):
            place = f"step {number}: rows {step.begin} to {step.end} of {step.node}"
            node = self.nodes[step.node]
            rows = rows_of(self.graph.value(node.outputs[0] or node.outputs[-1]).shape)[0]
            if step.begin != made[step.node] or step.end > rows:
                raise _broken("rows are left out, made twice, or none of the layer's", place)
            self._start(node)
            self._check_inputs(node, step, place)
            for name in node.outputs:
                if name:
                    self._write(name, range(step.begin, step.end))
            made[step.node] = step.end
        self._check_outputs()
        return self.found

    def _start(self, node: Node) -> None:
        """What a layer fills before its first rows."""
        if node.name in self.started:
            return
        self.started.add(node.name)
        for name in node.outputs:
            if name:
                self._write_halo(name)
        if node.name in self.memory.scratch:
            self._bytes(self.memory.scratch[node.name], self.padding[node.name])[:] = self.numbers[node.name]

    def _check_inputs(self, node: Node, step: Step, place: str) -> None:
        for name, rows in spec_of(node.op).rows_read(node, self.graph, step.begin, step.end).items():
            for row in rows:
                if not np.all(self._row(name, row) == self._mark(name, row)):
                    raise _broken(f"row {row} of {name!r} is not there", place)
            self.found += len(rows)
            if not np.isin(self._halo(name), self._halo_marks(node, name)).all():
                raise _broken(f"the halo of {name!r} is written over", place)
        if node.name in self.memory.scratch:
            scratch = self._bytes(self.memory.scratch[node.name], self.padding[node.name])
            if not np.all(scratch == self.numbers[node.name]):
                raise _broken("the row of padding is written over", place)

    def _check_outputs(self) -> None:
        for name in self.graph.outputs:
            for row in range(self.storage.storages[name].rows):
                if not np.all(self._row(name, row) == self._mark(name, row)):
                    raise _broken(f"row {row} of output {name!r} is not there at the end", "the last step")

    def _mark(self, name: str, row: int) -> int:
        """What a byte holds that belongs to a row: in a ring the row counts, elsewhere the place tells it."""
        root, _ = self.storage.root(name)
        ring = self.storage.storages[root].ring_rows
        return self.numbers[root] + ((row + 1) << 32 if ring else 0)

    def _halo_mark(self, name: str) -> int:
        return -self.numbers[self.storage.root(name)[0]]

    def _halo_marks(self, node: Node, name: str) -> list[int]:
        """What the halo of an operand may hold: its own, or that of the result that takes its place.

        A layer that works in place, element by element, reads no halo, and fills that of its result before its first rows.
        """
        held, address = self.storage.storages[name], self.memory.values[name]
        over = [
            result
            for result in node.outputs
            if spec_of(node.op).in_place and self.storage.storages[result] == held and self.memory.values[result] == address
        ]
        return [self._halo_mark(item) for item in (name, *over)]

    def _bytes(self, address: Address, count: int) -> _Owners:
        return self.owners[address.arena][address.offset : address.offset + count]

    def _row(self, name: str, row: int) -> _Owners:
        """The bytes of the elements of a row, [pixels, bytes of a pixel]."""
        held = self.storage.storages[name]
        first = held.row_offset(row) + held.pad_left * held.pixel_pitch
        return self._pixels(name, held, first, held.pixels, held.pixel_pitch, held.channels * held.item)

    def _pixels(self, name: str, held: Storage, first: int, count: int, pitch: int, size: int) -> _Owners:
        address = self.memory.values[name]
        whole = self.owners[address.arena][address.offset + first :]
        if len(whole) < (count - 1) * pitch + size:
            raise _broken(f"{name!r} reaches beyond arena {address.arena!r}", "the memory plan")
        return np.lib.stride_tricks.as_strided(whole, (count, size), (pitch * whole.itemsize, whole.itemsize))

    def _halo(self, name: str) -> _Owners:
        """The bytes on either side of all rows that are held."""
        held = self.storage.storages[name]
        if not held.pad_left and not held.pad_right:
            return np.zeros(0, np.int64) + self._halo_mark(name)
        right = (held.pad_left + held.pixels) * held.pixel_pitch
        rows = self._pixels(name, held, 0, held.held_rows, held.row_pitch, held.row_pitch)
        return np.concatenate([rows[:, : held.pad_left * held.pixel_pitch], rows[:, right:]], axis=1)

    def _write(self, name: str, rows: range) -> None:
        for row in rows:
            self._row(name, row)[:] = self._mark(name, row)

    def _write_halo(self, name: str) -> None:
        held = self.storage.storages[name]
        if not held.pad_left and not held.pad_right:
            return
        right = (held.pad_left + held.pixels) * held.pixel_pitch
        rows = self._pixels(name, held, 0, held.held_rows, held.row_pitch, held.row_pitch)
        rows[:, : held.pad_left * held.pixel_pitch] = self._halo_mark(name)
        rows[:, right:] = self._halo_mark(name)


def _broken(message: str, place: str) -> Defect:
    return Defect(f"{place}: {message}")
