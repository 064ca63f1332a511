"""Maximum over windows too large for max_pool.py's registers: first down the window's rows into a row of column maxima
on the stack, then along it. Cost per pixel grows with height plus width of the window, not with their product.
"""

from __future__ import annotations

from collections.abc import Callable

from espgen.codegen.pie.asm import Function
from espgen.codegen.pie.max_pool import LIMITS, MaxPoolSpec, kernel_of
from espgen.codegen.pie.packing import LANES
from espgen.codegen.pie.registers import A0, A1, A3, A5, SP, Pool, Q, X
from espgen.codegen.pie.spec import PieKernel
from espgen.codegen.pie.store import Store, allocate_step, plan_stores
from espgen.errors import Refused

_MOST_COLUMNS = 96


def supports(spec: MaxPoolSpec) -> str | None:
    """None where there is a kernel of this kind, else the reason why not."""
    if spec.width > _MOST_COLUMNS:
        return f"rows of {spec.width} pixels under a large window"
    if any(not spec.columns(pixel) for pixel in range(spec.out_width)):
        return "a window outside of the image"
    return None


def wide_max_pool_kernel(spec: MaxPoolSpec, *, hardware_loops: bool = True) -> PieKernel:
    """The PIE kernel of a maximum pool with a large window; raises Refused where `supports` gives a reason."""
    reason = supports(spec)
    if reason is not None:
        raise Refused(reason)
    return kernel_of(spec, hardware_loops, lambda f: _Writer(f, spec).emit())


class _Writer:
    """Writes one function."""

    def __init__(self, f: Function, spec: MaxPoolSpec) -> None:
        self.f, self.spec = f, spec
        self.kind = f"s{8 * spec.element_bytes}"
        self.stores = plan_stores(spec.channels * spec.element_bytes, spec.out_pitch, spec.out_width)
        misaligned = spec.in_pitch % LANES != 0
        f.configure(A5, misaligned_loads=misaligned, misaligned_stores=self.stores.misaligned)
        pool = Pool(exclude=(A0, A1, A3))
        self.out_rows, self.in_rows, self.rows = (pool.plain() for _ in range(3))
        for register, argument in zip((self.out_rows, self.in_rows, self.rows), (A0, A1, A3), strict=True):
            f("mv", register, argument)
            pool.give_back(argument)
        self.blocks, self.row, self.counter, self.offset = (pool.plain() for _ in range(4))
        self.out_cursor, self.in_cursor, self.tap, self.taps = (pool.plain() for _ in range(4))
        self.out, self.source, self.columns, self.pitch = (pool.take() for _ in range(4))
        f("li", self.pitch, spec.in_pitch, note="bytes per pixel")
        self.out_step = allocate_step(f, self.stores, pool)
        self.low: X | None = None
        if (spec.low, spec.high) != LIMITS[spec.element_bytes]:
            self.low, self.high = pool.take(), pool.take()
            f("li", self.low, spec.low)
            f("li", self.high, spec.high)
        self.temporary = pool.take()
        self.scratch = f.scratch(LANES * spec.width)

    def emit(self) -> None:
        """Write the loops: blocks of 16 bytes of channels, rows."""
        f, stores = self.f, self.stores
        f("li", self.offset, 0)
        if stores.full_blocks:
            with f.repeat(stores.full_blocks, self.blocks):
                self._block(stores.full)
                f("addi", self.offset, self.offset, LANES)
        if stores.last is not None:
            self._block(stores.last)

    def _block(self, store: Store) -> None:
        f = self.f
        for copy, original in ((self.row, self.rows), (self.out_cursor, self.out_rows), (self.in_cursor, self.in_rows)):
            f("mv", copy, original)
        with f.repeat("rows", self.row):
            f("lw", self.out, 0, self.out_cursor)
            f("add", self.out, self.out, self.offset)
            self._column_maxima()
            self._along(store)
            f("addi", self.in_cursor, self.in_cursor, 4 * self.spec.stride_h)
            f("addi", self.out_cursor, self.out_cursor, 4)

    def _column_maxima(self) -> None:
        f, spec = self.f, self.spec
        f("mv", self.tap, self.in_cursor)
        self._input_row(self._copy)
        if spec.kernel_h > 1:
            with f.repeat(spec.kernel_h - 1, self.taps):
                f("addi", self.tap, self.tap, 4 * spec.dilation_h)
                self._input_row(self._join)

    def _input_row(self, emit: Callable[[int], None]) -> None:
        """Run `emit` over all columns of the row at `tap`, two at a time."""
        f = self.f
        f("lw", self.source, 0, self.tap)
        f("addi", self.columns, SP, self.scratch)
        f("add", self.source, self.source, self.offset)
        trips, rest = divmod(self.spec.width, 2)
        if trips:
            with f.loop(trips, self.counter):
                emit(2)
        if rest:
            emit(1)

    def _copy(self, count: int) -> None:
        for number in range(count):
            self.f("esp.vld.128.xp", Q(number), self.source, self.pitch)
        for number in range(count):
            self.f("esp.vst.128.ip", Q(number), self.columns, LANES)

    def _join(self, count: int) -> None:
        f = self.f
        for number in range(count):
            f("esp.vld.128.xp", Q(number), self.source, self.pitch)
        for number in range(count):
            f("esp.vld.128.ip", Q(2 + number), self.columns, LANES if number + 1 < count else LANES * (1 - count))
        for number in range(count):
            f(f"esp.vmax.{self.kind}", Q(number), Q(number), Q(2 + number))
        for number in range(count):
            f("esp.vst.128.ip", Q(number), self.columns, LANES)

    def _along(self, store: Store) -> None:
        """Maxima along the row; pixels whose window is cut at an end have code of their own."""
        f, spec = self.f, self.spec
        ranges = [spec.columns(pixel) for pixel in range(spec.out_width)]
        whole = [pixel for pixel, columns in enumerate(ranges) if len(columns) == spec.kernel_w]
        begin, end = (whole[0], whole[-1] + 1) if whole else (spec.out_width, spec.out_width)
        for pixel in range(begin):
            self._pixel(ranges[pixel], store)
        if end > begin:
            f("addi", self.columns, SP, self.scratch + LANES * ranges[begin].start)
            with f.loop(end - begin, self.counter):
                self._window(spec.kernel_w, store)
                f("addi", self.columns, self.columns, LANES * (spec.stride_w - spec.kernel_w))
        for pixel in range(end, spec.out_width):
            self._pixel(ranges[pixel], store)

    def _pixel(self, columns: range, store: Store) -> None:
        self.f("addi", self.columns, SP, self.scratch + LANES * columns.start)
        self._window(len(columns), store)

    def _window(self, count: int, store: Store) -> None:
        """The maximum of `count` column maxima, the loads two ahead."""
        f, largest = self.f, Q(0)
        for number in range(min(count, 3)):
            f("esp.vld.128.ip", Q(number), self.columns, LANES)
        for number in range(3, count):
            value = Q(1 + (number + 1) % 2)
            f(f"esp.vmax.{self.kind}.ld.incp", value, self.columns, largest, largest, value)
        for number in range(max(1, count - 2), count):
            f(f"esp.vmax.{self.kind}", largest, largest, Q(1 + (number + 1) % 2))
        if self.low is not None:
            f(f"esp.vsat.{self.kind}", largest, largest, self.low, self.high)
        store.emit(f, largest, self.out, self.out_step if store.needs_register else None, self.temporary)
