"""The loops around element-wise kernels: rows of pixels, 16 bytes of each operand at a time.

Where all operands have the same pitch without gaps, or with gaps that may be overwritten, a row is one run of bytes;
else every pixel is walked on its own (an operand with pitch 0 gives the same channels to every pixel). Nothing is
written past a pixel's pitch, and nothing at all past a row's last pixel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from espgen.codegen.pie.asm import Function
from espgen.codegen.pie.packing import LANES
from espgen.codegen.pie.registers import A0, A1, A2, A3, A4, A5, Pool, Q, X
from espgen.codegen.pie.spec import PieKernel
from espgen.codegen.pie.store import Store

_MOST_UNROLLED_BLOCKS = 6

StoreVector = Callable[[Q], None]


@dataclass(frozen=True)
class RowShape:
    """A row of elements in memory.

    Attributes:
        pixels: pixels per row.
        size: bytes of channels per pixel.
        in_pitches: bytes from pixel to pixel of each operand; 0 repeats the same pixel.
        out_pitch: bytes from pixel to pixel of the output.
        aligned: whether all rows start at multiples of 16.
        shared_gaps: whether what lies between the output's pixels must not be written.
    """

    pixels: int
    size: int
    in_pitches: tuple[int, ...]
    out_pitch: int
    aligned: bool = True
    shared_gaps: bool = False

    def normalized(self) -> RowShape:
        """The same row as one pixel, where its bytes follow each other."""
        pitch = self.out_pitch
        if self.pixels == 1 or any(other != pitch for other in self.in_pitches):
            return self
        if pitch != self.size and (self.shared_gaps or pitch % LANES):
            return self
        return RowShape(1, self.pixels * pitch, (self.pixels * pitch,) * len(self.in_pitches), self.pixels * pitch, self.aligned)

    @property
    def misaligned(self) -> bool:
        """Whether some vector of some operand does not start at a multiple of 16."""
        pitches = (*self.in_pitches, self.out_pitch) if self.pixels > 1 else ()
        return not self.aligned or any(pitch % LANES for pitch in pitches)


class VectorBody(Protocol):
    """The arithmetic of an element-wise kernel."""

    @property
    def summary(self) -> str:
        """What it computes, for the comment above the function."""

    @property
    def unroll(self) -> int:
        """Vectors that are best computed together."""

    @property
    def misaligned_loads(self) -> bool:
        """Whether the arithmetic itself loads from anywhere."""

    def params(self) -> bytes:
        """Constants, a multiple of 16 bytes."""

    def setup(self, f: Function, pool: Pool, params: X) -> None:
        """Load constants through `params` (which may be changed) and allocate registers."""

    def emit(self, f: Function, operands: tuple[X, ...], count: int, store: StoreVector) -> None:
        """Read `count` vectors of every operand, moving the pointers on by 16 for each, and store as many results."""


def elementwise_kernel(shape: RowShape, body: VectorBody, stem: str, *, hardware_loops: bool = True) -> PieKernel:
    """A kernel named `espgen_pie_<stem>_<bytes>_<digest>`; a second operand comes through second_rows."""
    name = f"espgen_pie_{stem}_{shape.pixels}x{shape.size}"
    digest = hashlib.sha256(_function("kernel", shape, body, hardware_loops).text().encode()).hexdigest()[:8]
    function = _function(f"{name}_{digest}", shape, body, hardware_loops)
    return PieKernel(function.symbol, function.text(), body.params(), function, LANES - 1)


def _function(symbol: str, given: RowShape, body: VectorBody, hardware_loops: bool) -> Function:
    shape = given.normalized()
    second = ", a4 second_rows" if len(shape.in_pitches) > 1 else ""
    f = Function(
        symbol,
        f"{symbol}: {body.summary}; {given.pixels} pixels of {given.size} bytes per row\n"
        f"a0 out_rows, a1 in_rows, a2 params, a3 rows{second}",
        hardware_loops=hardware_loops,
    )
    _Writer(f, shape, body).emit()
    return f


class _Writer:
    """Writes one function."""

    def __init__(self, f: Function, shape: RowShape, body: VectorBody) -> None:
        self.f, self.shape, self.body = f, shape, body
        f.configure(
            A5, misaligned_loads=shape.misaligned or body.misaligned_loads, misaligned_stores=shape.misaligned
        )
        pool = Pool(exclude=(A0, A1, A2, A3, A4))
        self.out_rows, self.rows = pool.plain(), pool.plain()
        self.in_rows = [pool.plain() for _ in shape.in_pitches]
        sources = (A1, A4)[: len(shape.in_pitches)]
        for register, argument in zip(
            (self.out_rows, self.rows, *self.in_rows), (A0, A3, *sources), strict=True
        ):
            f("mv", register, argument)
        for argument in (A0, A1, A3, A4):
            pool.give_back(argument)
        body.setup(f, pool, A2)
        pool.give_back(A2)
        self.out = pool.take()
        self.operands = tuple(pool.take() for _ in shape.in_pitches)
        self.temporary = pool.take()
        self.pixel, self.counter = pool.plain(), pool.plain()
        self.far = pool.plain()

    def emit(self) -> None:
        """Write the loops."""
        f = self.f
        with f.repeat("rows", self.rows, preset=True):
            f("lw", self.out, 0, self.out_rows)
            for table, operand in zip(self.in_rows, self.operands, strict=True):
                f("lw", operand, 0, table)
            for register in (self.out_rows, *self.in_rows):
                f("addi", register, register, 4)
            with f.repeat(self.shape.pixels, self.pixel):
                self._pixel()

    def _pixel(self) -> None:
        f, shape = self.f, self.shape
        whole, rest = divmod(shape.size, LANES)
        # The gap behind a pixel's channels may be overwritten, unless others keep something there.
        if rest and not shape.shared_gaps and shape.out_pitch >= (whole + 1) * LANES:
            whole, rest = whole + 1, 0
        self._vectors(whole)
        if rest:
            store = Store(rest, True, rest)
            self.body.emit(f, self.operands, 1, lambda result: store.emit(f, result, self.out, None, self.temporary))
        if shape.pixels > 1:
            done = whole * LANES
            self._add(self.out, shape.out_pitch - done - rest)
            for operand, pitch in zip(self.operands, shape.in_pitches, strict=True):
                self._add(operand, pitch - done - (LANES if rest else 0))

    def _add(self, register: X, value: int) -> None:
        if not -2048 <= value <= 2047:
            self.f("li", self.far, value)
            self.f("add", register, register, self.far)
        elif value:
            self.f("addi", register, register, value)

    def _vectors(self, count: int) -> None:
        extra = self._share_misaligned()
        store = Store(LANES, False, LANES, extra)

        def write(result: Q) -> None:
            store.emit(self.f, result, self.out, None, self.temporary)

        unroll = self.body.unroll
        trips, rest = divmod(count, unroll)
        if count <= _MOST_UNROLLED_BLOCKS:
            trips, rest = 0, count
        if trips:
            with self.f.loop(trips, self.counter):
                self.body.emit(self.f, self.operands, unroll, write)
        while rest:
            together = min(rest, unroll)
            self.body.emit(self.f, self.operands, together, write)
            rest -= together

    def _share_misaligned(self) -> float:
        """Mean extra cycles of a store (loads cost the same and are not counted)."""
        shape = self.shape
        if not shape.misaligned or shape.pixels == 1:
            return 0.0
        places = [pixel * shape.out_pitch % LANES != 0 for pixel in range(min(shape.pixels, LANES))]
        return sum(places) / len(places)
