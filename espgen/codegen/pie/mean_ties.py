"""The exact ties of a mean: found among the sums of a block, and done over the way float32 takes them (ops/float_ties.py).

Scalar code behind the division: per channel a product and a comparison, and for a channel that has a tie its elements once
more, four float lanes as in onnxruntime. One in as many channels as the divisor has halves does.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from espgen import arith
from espgen.codegen.pie.asm import Function
from espgen.codegen.pie.registers import F, X
from espgen.ops.float_ties import LANES, FloatTies

_LANES = tuple(F(number) for number in range(LANES))
_PRODUCTS = tuple(F(number) for number in range(LANES, 2 * LANES))
_SCALE, _SPARE = F(8), F(9)


@dataclass(frozen=True)
class TieRegisters:
    """What the search may use. `in_rows` (table of rows) and `offset` (of the block's channels) stay as they are;
    `sums` and `rounded` point to the block's sums and quotients, and are spent."""

    in_rows: X
    offset: X
    sums: X
    rounded: X
    cursor: X
    pointer: X
    channels: X
    rows: X
    counter: X
    channel: X
    temporaries: tuple[X, ...]


@dataclass(frozen=True)
class Ties:
    """The search for ties in one block of a mean over `rows` rows of `pixels` pixels.

    `ratio` is reduced. Sums are of elements less `point`; quotients lie in memory with `bias` added, in twice the bytes of
    an element.
    """

    registers: TieRegisters
    scales: FloatTies
    ratio: arith.Ratio
    rows: int
    pixels: int
    in_pitch: int
    point: int
    bias: int
    element_bytes: int

    def emit(self, f: Function, channels: int) -> None:
        """Correct the quotients of the block's first `channels` channels."""
        r, size = self.registers, self.element_bytes
        rest, quotient, spare, sign = r.temporaries
        f.comment("exact ties go the way of float32: distance of every mean to its rounded value")
        f("mv", r.channel, r.offset)
        with f.repeat(channels, r.channels):
            f("lw", rest, 0, r.sums)
            f("lh" if size == 1 else "lw", quotient, 0, r.rounded)
            self._add(f, quotient, -self.bias, spare)
            if self.ratio.numerator != 1:
                f("li", spare, self.ratio.numerator)
                f("mul", rest, rest, spare)
            f("li", spare, self.ratio.denominator)
            f("mul", spare, quotient, spare)
            f("sub", rest, rest, spare)
            f("srai", sign, rest, 31)
            f("xor", rest, rest, sign)
            f("sub", rest, rest, sign)
            f("li", spare, self.ratio.denominator // 2)
            with f.unless("bne", rest, spare, share=1 / self.ratio.denominator):
                f("add", quotient, quotient, sign, note="the integer below the tie")
                self._mean(f)
                self._round(f)
            f("addi", r.sums, r.sums, 4 * size)
            f("addi", r.rounded, r.rounded, 2 * size)
            f("addi", r.channel, r.channel, size)

    def _add(self, f: Function, register: X, constant: int, spare: X) -> None:
        if -2048 <= constant <= 2047:
            if constant:
                f("addi", register, register, constant)
        else:
            f("li", spare, constant)
            f("add", register, register, spare)

    def _float(self, f: Function, register: F, value: float, spare: X, note: str) -> None:
        (bits,) = struct.unpack("<i", struct.pack("<f", value))
        f("li", spare, bits)
        f("fmv.w.x", register, spare, note=note)

    def _mean(self, f: Function) -> None:
        """The channel's float32 mean into the first lane."""
        r = self.registers
        spare = r.temporaries[0]
        self._float(f, _SCALE, self.scales.input_scale, spare, "scale of the input")
        self._float(f, _LANES[0], 0.0, spare, "four lanes")
        for lane in _LANES[1:]:
            f("fmv.s", lane, _LANES[0])
        f("mv", r.cursor, r.in_rows)
        elements = self.rows * self.pixels
        whole, begun = divmod(elements - elements % LANES, self.pixels)
        if whole:
            with f.repeat(whole, r.rows):
                self._next_row(f)
                self._lanes(f, self.pixels)
        if begun:
            self._next_row(f)
            self._lanes(f, begun)
        first, second, third, fourth = _LANES
        f("fadd.s", first, first, third)
        f("fadd.s", second, second, fourth)
        f("fadd.s", first, first, second)
        at = begun
        for _ in range(elements % LANES):
            if at == 0:
                self._next_row(f)
            self._products(f, 1)
            f("fadd.s", first, first, _PRODUCTS[0], note="elements that fill no four lanes")
            at = (at + 1) % self.pixels
        self._float(f, _SPARE, float(elements), spare, "elements")
        f("fdiv.s", first, first, _SPARE)

    def _next_row(self, f: Function) -> None:
        r = self.registers
        f("lw", r.pointer, 0, r.cursor)
        f("addi", r.cursor, r.cursor, 4)
        f("add", r.pointer, r.pointer, r.channel)

    def _lanes(self, f: Function, pixels: int) -> None:
        """`pixels` pixels into the lanes; the lane of the next pixel is then the first one again."""
        groups, rest = divmod(pixels, LANES)
        if groups:
            with f.loop(groups, self.registers.counter):
                self._products(f, LANES)
                for lane, product in zip(_LANES, _PRODUCTS, strict=True):
                    f("fadd.s", lane, lane, product)
        for lane in _LANES[:rest]:
            self._products(f, 1)
            f("fadd.s", lane, lane, _PRODUCTS[0])
        for _ in range(rest):
            f("fmv.s", _SPARE, _LANES[0])
            for lane, following in zip(_LANES, (*_LANES[1:], _SPARE), strict=True):
                f("fmv.s", lane, following)

    def _products(self, f: Function, count: int) -> None:
        """The next `count` elements as floats times the scale."""
        r = self.registers
        first, _, second, third = r.temporaries
        for begin in range(0, count, 2):
            pair = [first, second][: count - begin]
            for element in pair:
                f("lb" if self.element_bytes == 1 else "lh", element, 0, r.pointer)
                self._add(f, r.pointer, self.in_pitch, third)
            for element in pair:
                self._add(f, element, -self.point, third)
            for element, product in zip(pair, _PRODUCTS[begin:], strict=False):
                f("fcvt.s.w", product, element)
        for product in _PRODUCTS[:count]:
            f("fmul.s", product, product, _SCALE)

    def _round(self, f: Function) -> None:
        """One more where the mean in output steps lies above the tie, or on it and the integer below is odd."""
        r = self.registers
        up, quotient, odd, spare = r.temporaries
        mean, half = _LANES[:2]
        self._float(f, _SPARE, self.scales.output_scale, spare, "scale of the output")
        f("fdiv.s", mean, mean, _SPARE)
        self._float(f, _SPARE, 0.5, spare, "one half")
        f("fcvt.s.w", half, quotient)
        f("fadd.s", half, half, _SPARE)
        f("flt.s", up, half, mean)
        f("feq.s", spare, half, mean)
        f("andi", odd, quotient, 1)
        f("and", odd, odd, spare)
        f("or", up, up, odd)
        f("add", quotient, quotient, up)
        self._add(f, quotient, self.bias, spare)
        f("sh" if self.element_bytes == 1 else "sw", quotient, 0, r.rounded)
