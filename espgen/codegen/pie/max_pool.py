"""Maximum over windows of int8 or int16 pixels, 16 bytes of channels at a time.

Each input column is reduced over the window's rows once and its maximum kept in a register for all windows that hold
it. Columns outside of the image are left out: the pixels at a row's ends have code of their own, so that no halo is
needed. Rows outside are to be replaced by rows inside the same window, which changes no maximum.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from espgen.codegen.pie.asm import Function
from espgen.codegen.pie.packing import LANES
from espgen.codegen.pie.registers import A0, A1, A3, A5, Pool, Q, X
from espgen.codegen.pie.spec import PieKernel
from espgen.codegen.pie.store import Store, allocate_step, plan_stores
from espgen.errors import Refused

_MOST_ROWS = 9
_MOST_COLUMNS = 5
_TEMPORARIES = (Q(6), Q(7))
_RUN = 8
LIMITS = {1: (-128, 127), 2: (-32768, 32767)}


@dataclass(frozen=True)
class MaxPoolSpec:
    """y = clip(max over the window's elements inside the row, low, high) for int8 or int16.

    in_rows point to pixel 0; output row i, tap ky reads in_rows[i * stride_h + ky * dilation_h].
    """

    width: int
    out_width: int
    channels: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    dilation_h: int
    pad_left: int
    in_pitch: int
    out_pitch: int
    low: int = -128
    high: int = 127
    element_bytes: int = 1

    def columns(self, pixel: int) -> range:
        """Input columns of an output pixel's window that are inside the row."""
        first = pixel * self.stride_w - self.pad_left
        return range(max(0, first), min(self.width, first + self.kernel_w))


def supports(spec: MaxPoolSpec) -> str | None:
    """None where there is a PIE kernel for this pool, else the reason why not."""
    if spec.kernel_h > _MOST_ROWS or spec.kernel_w > _MOST_COLUMNS:
        return f"a window of {spec.kernel_h}x{spec.kernel_w}"
    if any(not spec.columns(pixel) for pixel in range(spec.out_width)):
        return "a window outside of the image"
    return None


def max_pool_kernel(spec: MaxPoolSpec, *, hardware_loops: bool = True) -> PieKernel:
    """The PIE kernel of a maximum pool; raises Refused where `supports` gives a reason."""
    reason = supports(spec)
    if reason is not None:
        raise Refused(reason)
    return kernel_of(spec, hardware_loops, lambda f: _Writer(f, spec).emit())


def kernel_of(spec: MaxPoolSpec, hardware_loops: bool, write: Callable[[Function], None]) -> PieKernel:
    """The kernel whose code `write` appends to a function, named after the shape and a digest of the code."""

    def function(symbol: str) -> Function:
        f = Function(
            symbol,
            f"{symbol}: maximum over {spec.kernel_h}x{spec.kernel_w} windows, stride {spec.stride_h}x{spec.stride_w}, "
            f"{spec.channels} channels, {spec.width} -> {spec.out_width} pixels per row\n"
            "a0 out_rows, a1 in_rows, a3 rows",
            hardware_loops=hardware_loops,
        )
        write(f)
        return f

    digest = hashlib.sha256(function("kernel").text().encode()).hexdigest()[:8]
    shape = f"{spec.kernel_h}x{spec.kernel_w}s{spec.stride_h}_{spec.channels}_w{spec.out_width}"
    name = f"espgen_pie_max{8 * spec.element_bytes}_{shape}_{digest}"
    finished = function(name)
    return PieKernel(name, finished.text(), b"", finished, LANES - 1)


@dataclass(frozen=True)
class _Section:
    """`trips` times `pixels` neighbouring output pixels, from output pixel `first` on, all with the same code."""

    first: int
    pixels: int
    trips: int


def _sections(spec: MaxPoolSpec) -> list[_Section]:
    """Single pixels at the ends, runs of whole windows between."""
    whole = [pixel for pixel in range(spec.out_width) if len(spec.columns(pixel)) == spec.kernel_w]
    begin, end = (whole[0], whole[-1] + 1) if whole else (0, 0)
    sections = [_Section(pixel, 1, 1) for pixel in range(begin)]
    trips, rest = divmod(end - begin, _RUN)
    if trips:
        sections.append(_Section(begin, _RUN, trips))
    if rest:
        sections.append(_Section(end - rest, rest, 1))
    return sections + [_Section(pixel, 1, 1) for pixel in range(end, spec.out_width)]


class _Writer:
    """Writes one function."""

    def __init__(self, f: Function, spec: MaxPoolSpec) -> None:
        self.f, self.spec = f, spec
        self.kind = f"s{8 * spec.element_bytes}"
        self.stores = plan_stores(spec.channels * spec.element_bytes, spec.out_pitch, spec.out_width)
        self.misaligned = spec.in_pitch % LANES != 0
        f.configure(A5, misaligned_loads=self.misaligned, misaligned_stores=self.stores.misaligned)
        pool = Pool(exclude=(A0, A1, A3))
        self.out_rows, self.in_rows, self.rows = (pool.plain() for _ in range(3))
        for register, argument in zip((self.out_rows, self.in_rows, self.rows), (A0, A1, A3), strict=True):
            f("mv", register, argument)
            pool.give_back(argument)
        self.blocks, self.row, self.counter, self.offset = (pool.plain() for _ in range(4))
        self.out_cursor, self.in_cursor, self.far = (pool.plain() for _ in range(3))
        self.out = pool.take()
        self.pointers = [pool.take() for _ in range(spec.kernel_h)]
        self.step: X | None = None
        if self.misaligned or spec.in_pitch > 2032:
            self.step = pool.take()
            f("li", self.step, spec.in_pitch, note="bytes per pixel")
        self.out_step = allocate_step(f, self.stores, pool)
        self.low: X | None = None
        if (spec.low, spec.high) != LIMITS[spec.element_bytes]:
            self.low, self.high = pool.take(), pool.take()
            f("li", self.low, spec.low)
            f("li", self.high, spec.high)
        bytewise = self.stores.last is not None and self.stores.last.bytewise
        self.temporary = pool.take() if bytewise else self.far

    def emit(self) -> None:
        """Write the loops."""
        f, stores = self.f, self.stores
        f("li", self.offset, 0)
        if stores.full_blocks:
            with f.repeat(stores.full_blocks, self.blocks):
                self._block(stores.full)
                f("addi", self.offset, self.offset, LANES)
        if stores.last is not None:
            self._block(stores.last)

    def _block(self, store: Store) -> None:
        f, spec = self.f, self.spec
        for copy, original in ((self.row, self.rows), (self.out_cursor, self.out_rows), (self.in_cursor, self.in_rows)):
            f("mv", copy, original)
        with f.repeat("rows", self.row):
            f("lw", self.out, 0, self.out_cursor)
            for ky, pointer in enumerate(self.pointers):
                f("lw", pointer, 4 * ky * spec.dilation_h, self.in_cursor)
            for register in (self.out, *self.pointers):
                f("add", register, register, self.offset)
            column = 0
            for section in _sections(spec):
                column = self._section(section, column, store)
            f("addi", self.in_cursor, self.in_cursor, 4 * spec.stride_h)
            f("addi", self.out_cursor, self.out_cursor, 4)

    def _move(self, columns: int) -> None:
        value = columns * self.spec.in_pitch
        if value and not -2048 <= value <= 2047:
            self.f("li", self.far, value)
        for pointer in self.pointers if value else ():
            if -2048 <= value <= 2047:
                self.f("addi", pointer, pointer, value)
            else:
                self.f("add", pointer, pointer, self.far)

    def _section(self, section: _Section, column: int, store: Store) -> int:
        """Emit a section with the pointers at `column` before it; returns the column they are at behind it."""
        first = self.spec.columns(section.first).start
        self._move(first - column)
        advance = section.pixels * self.spec.stride_w
        with self.f.loop(section.trips, self.counter):
            at = self._pixels(section, store)
            if section.trips > 1:
                self._move(first + advance - at)
        return first + advance * section.trips if section.trips > 1 else at

    def _pixels(self, section: _Section, store: Store) -> int:
        """The code of a section's first pixels; returns the column behind the last one loaded."""
        at = self.spec.columns(section.first).start
        held: dict[int, Q] = {}
        for pixel in range(section.first, section.first + section.pixels):
            columns = self.spec.columns(pixel)
            for gone in [column for column in held if column < columns.start]:
                del held[gone]
            for column in columns:
                if column not in held:
                    self._move(column - at)
                    target = next(Q(n) for n in range(6) if Q(n) not in held.values())
                    self._column(target)
                    held[column], at = target, column + 1
            self._result([held[column] for column in columns], store)
        return at

    def _column(self, target: Q) -> None:
        """The maximum over the rows of the column that the pointers are at."""
        places = (target, *_TEMPORARIES)
        for ky, pointer in enumerate(self.pointers):
            self._load(places[min(ky, 1 + (ky + 1) % 2)], pointer)
            if ky >= 2:
                self.f(f"esp.vmax.{self.kind}", target, target, places[1 + ky % 2])
        if len(self.pointers) > 1:
            last = len(self.pointers) - 1
            self.f(f"esp.vmax.{self.kind}", target, target, places[1 + (last + 1) % 2])

    def _load(self, into: Q, pointer: X) -> None:
        if self.step is not None:
            self.f("esp.vld.128.xp", into, pointer, self.step)
        else:
            self.f("esp.vld.128.ip", into, pointer, self.spec.in_pitch)

    def _result(self, columns: list[Q], store: Store) -> None:
        f, out = self.f, _TEMPORARIES[0]
        result = columns[0]
        for other in columns[1:]:
            f(f"esp.vmax.{self.kind}", out, result, other)
            result = out
        if self.low is not None:
            f(f"esp.vsat.{self.kind}", out, result, self.low, self.high)
            result = out
        store.emit(f, result, self.out, self.out_step if store.needs_register else None, self.temporary)
