"""Output rows whose pixels are chosen pixels of an input row, or filled: nearest resizing, padding, slices, parts of
a concatenation. Which pixel goes where is known when the kernel is made, so a row is straight code.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from espgen.codegen.pie.asm import Function
from espgen.codegen.pie.packing import LANES
from espgen.codegen.pie.registers import A0, A1, A2, A3, A5, Pool, Q, X
from espgen.codegen.pie.spec import PieKernel
from espgen.codegen.pie.store import Store, plan_stores
from espgen.errors import Refused

_FILL = Q(7)
_TURNS = 6
_AHEAD = 2
_MOST_PIXELS = 256


@dataclass(frozen=True)
class TakeSpec:
    """Output pixel p is the `size` bytes at `offsets[p]` of the input row, or `fill` where that is -1.

    Attributes:
        fill: bytes of one element.
        out_pitch: bytes between output pixels.
        gaps: whether the bytes between the output's pixels may be overwritten.
        aligned: whether all rows, and the pitches and offsets, are multiples of 16.
    """

    offsets: tuple[int, ...]
    size: int
    out_pitch: int
    fill: bytes = b"\0"
    gaps: bool = True
    aligned: bool = True


def supports(spec: TakeSpec) -> str | None:
    """None where there is a PIE kernel, else the reason why not."""
    return None if len(spec.offsets) <= _MOST_PIXELS else f"{len(spec.offsets)} pixels per row"


def take_kernel(spec: TakeSpec, *, hardware_loops: bool = True) -> PieKernel:
    """The kernel; raises Refused where `supports` gives a reason."""
    reason = supports(spec)
    if reason is not None:
        raise Refused(reason)
    digest = hashlib.sha256(_function("kernel", spec, hardware_loops).text().encode()).hexdigest()[:8]
    name = f"espgen_pie_take_{len(spec.offsets)}x{spec.size}_{digest}"
    function = _function(name, spec, hardware_loops)
    fill = np.frombuffer(spec.fill * (LANES // len(spec.fill)), np.uint8).tobytes()
    return PieKernel(name, function.text(), fill, function, LANES - 1)


def _function(symbol: str, spec: TakeSpec, hardware_loops: bool) -> Function:
    f = Function(
        symbol,
        f"{symbol}: {len(spec.offsets)} chosen pixels of {spec.size} bytes per row\n"
        "a0 out_rows, a1 in_rows, a2 params, a3 rows",
        hardware_loops=hardware_loops,
    )
    _Writer(f, spec).emit()
    return f


class _Writer:
    """Writes one function."""

    def __init__(self, f: Function, spec: TakeSpec) -> None:
        self.f, self.spec = f, spec
        self.stores = plan_stores(spec.size, spec.out_pitch if spec.gaps else spec.size, len(spec.offsets))
        f.configure(A5, misaligned_loads=not spec.aligned, misaligned_stores=not spec.aligned)
        f("esp.vld.128.ip", _FILL, A2, 0, note="fill")
        pool = Pool(exclude=(A0, A1, A3))
        self.out_rows, self.in_rows, self.rows = (pool.plain() for _ in range(3))
        for register, argument in zip((self.out_rows, self.in_rows, self.rows), (A0, A1, A3), strict=True):
            f("mv", register, argument)
            pool.give_back(argument)
        self.blocks, self.row, self.offset, self.out_cursor, self.in_cursor, self.far = (pool.plain() for _ in range(6))
        self.out, self.source, self.temporary = pool.take(), pool.take(), pool.take()
        pitched = [self._pitched(store) for store in (self.stores.full, self.stores.last) if store is not None]
        self.full, self.last = pitched[0], pitched[1] if len(pitched) > 1 else None
        needing = [store for store in pitched if store.needs_register]
        self.step: X | None = None
        if needing:
            self.step = pool.take()
            f("li", self.step, spec.out_pitch, note="bytes per output pixel")
        self.loads = self._loads()
        counts = Counter(delta for delta in self._deltas() if not _near(delta))
        self.steps: dict[int, X] = {}
        for delta, _ in counts.most_common(4):
            self.steps[delta] = pool.take()
            f("li", self.steps[delta], delta, note="bytes between two inputs")

    def _pitched(self, store: Store) -> Store:
        return Store(store.lanes, store.bytewise, self.spec.out_pitch)

    def _loads(self) -> list[tuple[int, list[int]]]:
        """(input offset, output pixels that follow each other and take it)."""
        loads: list[tuple[int, list[int]]] = []
        for pixel, offset in enumerate(self.spec.offsets):
            if loads and loads[-1][0] == offset:
                loads[-1][1].append(pixel)
            else:
                loads.append((offset, [pixel]))
        return loads

    def _deltas(self) -> list[int]:
        """Pointer steps behind the loads, in order; the last one is 0."""
        places = [offset for offset, _ in self.loads if offset >= 0]
        return [after - before for before, after in pairwise(places)] + [0] * bool(places)

    def emit(self) -> None:
        """Write the loops: blocks of 16 bytes, rows, pixels."""
        f = self.f
        f("li", self.offset, 0)
        if self.stores.full_blocks:
            with f.repeat(self.stores.full_blocks, self.blocks):
                self._block(self.full)
                f("addi", self.offset, self.offset, LANES)
        if self.last is not None:
            self._block(self.last)

    def _block(self, store: Store) -> None:
        f = self.f
        for copy, original in ((self.row, self.rows), (self.out_cursor, self.out_rows), (self.in_cursor, self.in_rows)):
            f("mv", copy, original)
        places = [offset for offset, _ in self.loads if offset >= 0]
        with f.repeat("rows", self.row):
            f("lw", self.out, 0, self.out_cursor)
            f("lw", self.source, 0, self.in_cursor)
            f("add", self.out, self.out, self.offset)
            f("add", self.source, self.source, self.offset)
            self._add(self.source, places[0] if places else 0)
            self._pixels(store)
            f("addi", self.in_cursor, self.in_cursor, 4)
            f("addi", self.out_cursor, self.out_cursor, 4)

    def _pixels(self, store: Store) -> None:
        deltas, waiting = iter(self._deltas()), []
        registers = {}
        for number, (offset, _) in enumerate(self.loads):
            registers[number] = _FILL if offset < 0 else Q(number % _TURNS)
            waiting.append(number)
            if offset >= 0:
                self._load(registers[number], next(deltas))
            if len(waiting) > _AHEAD:
                self._store(waiting.pop(0), registers, store)
        for number in waiting:
            self._store(number, registers, store)

    def _store(self, number: int, registers: dict[int, Q], store: Store) -> None:
        for _ in self.loads[number][1]:
            step = self.step if store.needs_register else None
            store.emit(self.f, registers[number], self.out, step, self.temporary)

    def _load(self, into: Q, delta: int) -> None:
        f = self.f
        if _near(delta):
            f("esp.vld.128.ip", into, self.source, delta)
        elif delta in self.steps:
            f("esp.vld.128.xp", into, self.source, self.steps[delta])
        else:
            f("esp.vld.128.ip", into, self.source, 0)
            self._add(self.source, delta)

    def _add(self, register: X, value: int) -> None:
        if not -2048 <= value <= 2047:
            self.f("li", self.far, value)
            self.f("add", register, register, self.far)
        elif value:
            self.f("addi", register, register, value)


def _near(delta: int) -> bool:
    return delta % LANES == 0 and -2048 <= delta <= 2032
