"""Mean over all pixels of an int8 or int16 image: sums in vector code, one exact division per channel in scalar code.
Where ties go the way of float32, the channels that have one are then looked for and done over (mean_ties.py).

The division by a constant is a product of 32 bits and a rounding shift, or where ties need the remainder, a quotient
rounded down and corrected. That it is exact for every sum that can occur is checked for all of them when the kernel is
made.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from espgen import arith
from espgen.codegen.pie.asm import Function
from espgen.codegen.pie.epilogue import load_bias
from espgen.codegen.pie.mean_ties import TieRegisters, Ties
from espgen.codegen.pie.packing import LANES
from espgen.codegen.pie.registers import A0, A1, A2, A5, SP, Pool, Q, X
from espgen.codegen.pie.spec import PieKernel
from espgen.codegen.pie.store import Store, allocate_step, plan_stores
from espgen.errors import Refused
from espgen.ops.float_ties import FloatTies

_ONES = Q(7)
_BIAS_BYTES = 4 * LANES
_LEAST_SHIFT, _MOST_SHIFT = 34, 62
_MOST_ELEMENTS = 1 << 15
_MOST_SUMS = 1 << 24
"""How many different sums are checked one by one."""
_PARTS = ("l.l", "l.h", "h.l", "h.h")
_UNROLL = 4


@dataclass(frozen=True)
class Product:
    """rne(sum * factor / 2^(32 + shift)): the low word only decides whether there is a tie."""

    factor: int
    shift: int
    offset: int = 0

    def quotients(self, sums: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """What emit computes."""
        return arith.rne_shift(sums * self.factor, 32 + self.shift)

    def constants(self) -> tuple[int, ...]:
        """What emit wants in registers."""
        return (self.factor, self.shift, (1 << (self.shift - 1)) - 1)

    def emit(self, f: Function, constants: Sequence[X], values: Sequence[X], others: Sequence[X]) -> None:
        """Two sums in `values` to two quotients there."""
        factor, amount, half = constants
        for value, other in zip(values, others, strict=True):
            f("mul", other, value, factor)
            f("mulh", value, value, factor)
        for other in others:
            f("snez", other, other)
        for value, other in zip(values, others, strict=True):
            f("or", value, value, other)
            f("sra", other, value, amount)
            f("andi", other, other, 1)
            f("add", value, value, other)
            f("add", value, value, half)
            f("sra", value, value, amount)


@dataclass(frozen=True)
class Remainder:
    """offset + rne(sum * numerator / denominator): t = 2 sum numerator + denominator + 2 offset denominator >= 0 divided
    by 2 denominator rounding down, and an odd quotient without remainder was a tie and goes down by one."""

    numerator: int
    denominator: int
    offset: int
    factor: int
    shift: int

    def quotients(self, sums: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """What emit computes, without the offset."""
        double, before, _, _, twice, _ = self.constants()
        wide = sums * double + before
        quotient = (wide * self.factor) >> (32 + self.shift)
        tie = (wide == quotient * twice).astype(np.int64)
        return np.asarray(quotient - (tie & quotient) - self.offset, np.int64)

    def constants(self) -> tuple[int, ...]:
        """What emit wants in registers, the last one to spend."""
        twice = 2 * self.denominator
        return (2 * self.numerator, self.denominator + self.offset * twice, self.factor, self.shift, twice, 0)

    def emit(self, f: Function, constants: Sequence[X], values: Sequence[X], others: Sequence[X]) -> None:
        """Two sums in `values` to two quotients there."""
        double, before, factor, amount, twice, spare = constants
        for value in values:
            f("mul", value, value, double)
        for value in values:
            f("add", value, value, before)
        for value, other in zip(values, others, strict=True):
            f("mulh", other, value, factor)
        for other in others:
            f("sra", other, other, amount)
        for value, other in zip(values, others, strict=True):
            f("mul", spare, other, twice)
            f("sub", value, value, spare)
            f("seqz", value, value)
            f("and", value, value, other)
            f("sub", value, other, value)


@dataclass(frozen=True)
class MeanSpec:
    """y = clip(zero_point + rne(sum (x - point) * ratio), low, high) over `rows` rows of `pixels` pixels.

    `element_bytes`: 1 for int8, 2 for int16.
    `contiguous`: every row starts where the one before ended, so that one pointer walks all of them.
    `float_ties`: exact ties go the way of float32 with these scales.
    """

    rows: int
    pixels: int
    channels: int
    in_pitch: int
    out_pitch: int
    ratio: arith.Ratio
    point: int
    zero_point: int
    low: int
    high: int
    contiguous: bool
    element_bytes: int = 1
    float_ties: FloatTies | None = None

    @property
    def half(self) -> int:
        """Half of the values of an element's type."""
        return 1 << (8 * self.element_bytes - 1)

    @property
    def lanes(self) -> int:
        """Channels summed together."""
        return LANES // self.element_bytes

    @property
    def elements(self) -> int:
        """Elements per mean."""
        return self.rows * self.pixels


def supports(spec: MeanSpec) -> str | None:
    """None where there is a PIE kernel for this mean, else the reason why not."""
    if spec.elements > _MOST_ELEMENTS or 2 * spec.half * spec.elements > _MOST_SUMS:
        return f"a mean of {spec.elements} elements"
    if _divider(spec) is None:
        return f"no exact 32-bit division by {spec.ratio.denominator} after a product with {spec.ratio.numerator}"
    return None


def _sums(spec: MeanSpec) -> npt.NDArray[np.int64]:
    """Every sum that can occur."""
    least, most = (spec.elements * (bound - spec.point) for bound in (-spec.half, spec.half - 1))
    return np.arange(least, most + 1, dtype=np.int64)


def _divider(spec: MeanSpec) -> Product | Remainder | None:
    """A way to divide that is exact for every sum that can occur, or None."""
    sums, ratio = _sums(spec), spec.ratio
    largest = int(np.abs(sums).max())
    room = 2**14 if spec.element_bytes == 1 else 2**30
    if largest * ratio.numerator >= room * ratio.denominator or largest * ratio.numerator >= 2**61:
        return None
    exact = arith.rne_divide(sums * ratio.numerator, ratio.denominator)
    for divider in (_product(ratio), _remainder(ratio, largest)):
        if divider is not None and np.array_equal(divider.quotients(sums), exact):
            return divider
    return None


def _product(ratio: arith.Ratio) -> Product | None:
    shift = 30 - math.floor(math.log2(ratio.numerator / ratio.denominator))
    if not _LEAST_SHIFT <= shift <= _MOST_SHIFT:
        return None
    factor = round(Fraction(ratio.numerator << shift, ratio.denominator))
    return Product(factor, shift - 32) if factor < 1 << 31 else None


def _remainder(ratio: arith.Ratio, largest: int) -> Remainder | None:
    twice = 2 * ratio.denominator
    offset = 2 * -(-largest * ratio.numerator // twice) + 2
    shift = (ratio.denominator - 1).bit_length() - 1
    if shift < 0 or 2 * largest * ratio.numerator + (2 * offset + 1) * twice >= 1 << 31:
        return None
    factor = -(-(1 << (32 + shift)) // twice)
    return Remainder(ratio.numerator, ratio.denominator, offset, factor, shift) if factor < 1 << 31 else None


def mean_kernel(spec: MeanSpec, *, hardware_loops: bool = True) -> PieKernel:
    """The PIE kernel of a mean: out_rows[0] receives one pixel; the number of rows is part of the code (a3 is unused)."""
    reason = supports(spec)
    if reason is not None:
        raise Refused(reason)
    digest = hashlib.sha256(_function("kernel", spec, hardware_loops).text().encode()).hexdigest()[:8]
    name = f"espgen_pie_mean{8 * spec.element_bytes}_{spec.rows}x{spec.pixels}x{spec.channels}_{digest}"
    function = _function(name, spec, hardware_loops)
    bias = np.full(spec.lanes, -spec.elements * spec.point, f"<i{4 * spec.element_bytes}").tobytes()
    ones = np.ones(spec.lanes, f"<i{spec.element_bytes}").tobytes()
    return PieKernel(function.symbol, function.text(), ones + bias, function, LANES - 1)


def _function(symbol: str, spec: MeanSpec, hardware_loops: bool) -> Function:
    f = Function(
        symbol,
        f"{symbol}: mean of {spec.rows}x{spec.pixels} pixels, {spec.channels} channels\n"
        "a0 out_rows, a1 in_rows, a2 params",
        hardware_loops=hardware_loops,
    )
    _Writer(f, spec).emit()
    return f


class _Writer:
    """Writes one function."""

    def __init__(self, f: Function, spec: MeanSpec) -> None:
        self.f, self.spec = f, spec
        self.mac = f"esp.vmulas.s{8 * spec.element_bytes}.qacc"
        divider = _divider(spec)
        assert divider is not None
        self.divider = divider
        self.stores = plan_stores(spec.channels * spec.element_bytes, spec.out_pitch, 1)
        misaligned = spec.in_pitch % LANES != 0
        f.configure(A5, misaligned_loads=misaligned)
        pool = Pool(exclude=(A0, A1, A2))
        self.in_rows, self.cursor = pool.plain(), pool.plain()
        self.counter, self.row, self.blocks, self.offset = (pool.plain() for _ in range(4))
        f("mv", self.in_rows, A1)
        self.out, self.bias, self.pointer = pool.take(), pool.take(), pool.take()
        self.sums, self.rounded = pool.take(), pool.take()
        f("lw", self.out, 0, A0)
        f("esp.vld.128.ip", _ONES, A2, LANES)
        f("mv", self.bias, A2)
        for argument in (A0, A1, A2):
            pool.give_back(argument)
        self.low, self.high, self.zero = pool.take(), pool.take(), pool.take()
        for register, value in ((self.low, spec.low), (self.high, spec.high), (self.zero, spec.zero_point - divider.offset)):
            f("li", register, value)
        f("li", self.offset, 0)
        self.step: X | None = None
        if misaligned or spec.in_pitch > 112:
            self.step = pool.take()
            f("li", self.step, spec.in_pitch, note="bytes per pixel")
        self.out_step = allocate_step(f, self.stores, pool)
        self.temporaries = [pool.take(), *(pool.plain() for _ in range(3))]
        self.constants = [pool.plain() for _ in divider.constants()]
        for register, value in zip(self.constants, divider.constants(), strict=True):
            f("li", register, value, note="constant of the division")
        self.ties: Ties | None = None
        if spec.float_ties is not None:
            self.ties = self._plan_ties(spec.float_ties, pool.plain(), pool.plain())
        self.scratch = f.scratch(96)

    def emit(self) -> None:
        """Write the loops: one block of 16 channels after the other."""
        f, stores = self.f, self.stores
        lanes = self.spec.lanes
        if stores.full_blocks:
            with f.repeat(stores.full_blocks, self.blocks):
                self._block(Store(LANES, False, LANES), lanes)
                f("addi", self.offset, self.offset, LANES)
        if stores.last is not None:
            self._block(stores.last, self.spec.channels - stores.full_blocks * lanes)

    def _block(self, store: Store, channels: int) -> None:
        f = self.f
        load_bias(f, self.bias, _BIAS_BYTES, None)
        f("mv", self.cursor, self.in_rows)
        rows, pixels = (1, self.spec.elements) if self.spec.contiguous else (self.spec.rows, self.spec.pixels)
        with f.repeat(rows, self.row):
            f("lw", self.pointer, 0, self.cursor)
            f("addi", self.cursor, self.cursor, 4)
            f("add", self.pointer, self.pointer, self.offset)
            self._row(pixels)
        f("addi", self.sums, SP, self.scratch)
        for part in _PARTS:
            f(f"esp.st.qacc.{part}.128.ip", self.sums, LANES)
        f.fence()
        f("addi", self.sums, SP, self.scratch)
        f("addi", self.rounded, SP, self.scratch + 64)
        with f.loop(self.spec.lanes // 2, self.counter):
            self._divide_two()
        if self.ties is not None:
            f("addi", self.sums, SP, self.scratch)
            f("addi", self.rounded, SP, self.scratch + 64)
            self.ties.emit(f, channels)
        f("addi", self.rounded, SP, self.scratch + 64)
        f("esp.vld.128.ip", Q(0), self.rounded, LANES)
        f("esp.vld.128.ip", Q(1), self.rounded, LANES)
        wide = f"s{16 * self.spec.element_bytes}"
        for half in (Q(0), Q(1)):
            if self.spec.element_bytes == 1:
                f("esp.vsadds.s16", half, half, self.zero)
            f(f"esp.vsat.{wide}", half, half, self.low, self.high)
        f(f"esp.vunzip.{8 * self.spec.element_bytes}", Q(0), Q(1))
        store.emit(f, Q(0), self.out, self.out_step if store.needs_register else None, self.temporaries[0])

    def _row(self, pixels: int) -> None:
        """Add `pixels` pixels, two loads ahead of the sums but never past the last pixel."""
        f = self.f
        ahead = min(2, pixels)
        for number in range(ahead):
            self._load(Q(number), None)
        trips, rest = divmod(pixels - ahead, _UNROLL)
        if trips:
            with f.loop(trips, self.counter):
                for number in range(_UNROLL):
                    self._load(Q(number % 2), Q(number % 2))
        for number in range(rest):
            self._load(Q(number % 2), Q(number % 2))
        for number in range(rest, rest + ahead):
            f(self.mac, Q(number % 2), _ONES)

    def _load(self, into: Q, summed: Q | None) -> None:
        f = self.f
        stem = "esp.vld.128" if summed is None else f"{self.mac}.ld"
        factors = () if summed is None else (summed, _ONES)
        extra = 1 - 1 / LANES if self.spec.in_pitch % LANES else 0.0
        if self.step is not None:
            f(f"{stem}.xp", into, self.pointer, self.step, *factors, extra=extra)
        else:
            f(f"{stem}.ip", into, self.pointer, self.spec.in_pitch, *factors, extra=extra)

    def _plan_ties(self, scales: FloatTies, channel: X, rows: X) -> Ties:
        spec, size = self.spec, self.spec.element_bytes
        exact = Fraction(spec.ratio.numerator, spec.ratio.denominator)
        return Ties(
            registers=TieRegisters(
                self.in_rows, self.offset, self.sums, self.rounded, self.cursor, self.pointer,
                self.row, rows, self.counter, channel, tuple(self.temporaries),
            ),
            scales=scales,
            ratio=arith.Ratio(exact.numerator, exact.denominator),
            rows=1 if spec.contiguous else spec.rows,
            pixels=spec.elements if spec.contiguous else spec.pixels,
            in_pitch=spec.in_pitch,
            point=spec.point,
            bias=self.divider.offset if size == 1 else spec.zero_point,
            element_bytes=size,
        )  # fmt: skip

    def _divide_two(self) -> None:
        """The quotients of two channels."""
        f, size = self.f, self.spec.element_bytes
        values, others = self.temporaries[:2], self.temporaries[2:]
        for number, value in enumerate(values):
            f("lw", value, 4 * size * number, self.sums)
        self.divider.emit(f, self.constants, values, others)
        for value in values if size == 2 else ():
            f("add", value, value, self.zero, note="zero point; there is no 32-bit vector form")
        for number, value in enumerate(values):
            f("sh" if size == 1 else "sw", value, 2 * size * number, self.rounded)
        f("addi", self.sums, self.sums, 8 * size)
        f("addi", self.rounded, self.rounded, 4 * size)
