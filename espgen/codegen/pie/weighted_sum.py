"""Weighted sums of one or two int8 or int16 operands with one rounding (arith.Weights), 16 bytes at a time.

Multipliers of the operands' width go through accumulators of four times that width; wider ones of int8 operands widen
these to 16 bits and go through 8 accumulators of 64 bits twice; those of int16 operands are long_sum.py's. Zero points
of the operands, and an even one of the output, are one constant in the accumulator before the sum: a part that fits
the element's width, and a multiple of a power of two.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from espgen import arith
from espgen.codegen.pie import long_sum as words
from espgen.codegen.pie.asm import Function
from espgen.codegen.pie.elementwise import StoreVector
from espgen.codegen.pie.packing import LANES
from espgen.codegen.pie.registers import Pool, Q, X

_LIMITS = {1: (-128, 127), 2: (-32768, 32767)}
_CONSTANT_LIMIT = {1: 1 << 30, 2: 1 << 60}
_LANES_OF_OPERANDS = 2
_CONSTANT_LANE = 7
_FINE, _COARSE, _FACTORS = Q(5), Q(6), Q(7)


@dataclass(frozen=True)
class SumSpec:
    """y = clip(zero_point + rne(sum_i (x_i - points[i]) * multiplier[i] / 2^shift), low, high) for int8 or int16."""

    weights: arith.Weights
    points: tuple[int, ...]
    zero_point: int
    low: int
    high: int
    element_bytes: int = 1

    @property
    def bits(self) -> int:
        """Width of an element."""
        return 8 * self.element_bytes


def supports(spec: SumSpec) -> str | None:
    """None where there is a PIE kernel for this sum, else the reason why not."""
    if len(spec.points) > _LANES_OF_OPERANDS:
        return f"{len(spec.points)} operands"
    if spec.weights.shift > 62:
        return "shift beyond 62"
    if spec.element_bytes == 2:
        return None if _is_narrow(spec) else words.supports(_long_constants(spec))
    if max(abs(factor) for factor in spec.weights.multiplier) >= 1 << 15:
        return "multipliers wider than 16 bits"
    if not _is_narrow(spec) and _split_constant(spec, 16) is None:
        return "zero points too large for their constant"
    return None


def _constant(spec: SumSpec) -> tuple[int, int]:
    """(what the accumulator starts with, what is added after rounding): an even zero point joins before."""
    before = -sum(point * factor for point, factor in zip(spec.points, spec.weights.multiplier, strict=True))
    if spec.zero_point % 2 == 0:
        return before + (spec.zero_point << spec.weights.shift), 0
    return before, spec.zero_point


def _split_constant(spec: SumSpec, bits: int) -> tuple[int, int, int] | None:
    """(fine, coarse, factor) with fine + coarse * factor = constant, each fitting `bits` signed bits."""
    before, _ = _constant(spec)
    factor = 1 << (bits - 2)
    coarse = (before + factor // 2) // factor
    if abs(coarse) >= 1 << (bits - 1):
        return None
    return before - coarse * factor, coarse, factor


def _is_narrow(spec: SumSpec) -> bool:
    """Whether accumulators of the products of operands and multipliers of the same width do."""
    before, after = _constant(spec)
    _, high = _LIMITS[spec.element_bytes]
    factors = spec.weights.multiplier
    fits = max(abs(factor) for factor in factors) <= high and spec.weights.shift <= 3 * spec.bits
    # An odd zero point added after the saturation to the element's width would show in it.
    small = abs(before) < _CONSTANT_LIMIT[spec.element_bytes] and _split_constant(spec, spec.bits) is not None
    return fits and after == 0 and small


def _long_constants(spec: SumSpec) -> words.LongSumSpec:
    before, after = _constant(spec)
    return words.LongSumSpec(
        spec.weights.multiplier, spec.weights.shift, before, after, spec.low, spec.high, _summary(spec)
    )


def sum_body(spec: SumSpec) -> NarrowSum | WideSum | words.LongSum:
    """The cheapest form."""
    if _is_narrow(spec):
        return NarrowSum(spec)
    return WideSum(spec) if spec.element_bytes == 1 else words.LongSum(_long_constants(spec))


def _summary(spec: SumSpec) -> str:
    terms = " + ".join(
        f"{factor} (x{index} - {point})"
        for index, (factor, point) in enumerate(zip(spec.weights.multiplier, spec.points, strict=True))
    )
    return f"({terms}) / 2^{spec.weights.shift} + {spec.zero_point} in [{spec.low}, {spec.high}]"


def _constants(spec: SumSpec, dtype: type) -> bytes:
    """The vectors fine, coarse and factors."""
    bits = 8 * np.dtype(dtype).itemsize
    split = _split_constant(spec, bits)
    assert split is not None
    lanes = LANES * 8 // bits
    factors = np.zeros(lanes, np.int64)
    factors[: len(spec.points)] = spec.weights.multiplier
    factors[_CONSTANT_LANE] = split[2]
    vectors = [np.full(lanes, split[0]), np.full(lanes, split[1]), factors]
    return b"".join(vector.astype(dtype).tobytes() for vector in vectors)


@dataclass
class _Sum:
    """What both forms share."""

    spec: SumSpec
    _scalars: dict[str, X] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """See VectorBody."""
        return _summary(self.spec)

    def _setup(self, f: Function, pool: Pool, params: X) -> None:
        spec = self.spec
        values = {"shift": spec.weights.shift}
        if (spec.low, spec.high) != _LIMITS[spec.element_bytes]:
            values |= {"low": spec.low, "high": spec.high}
        if _constant(spec)[1]:
            values["add"] = _constant(spec)[1]
        for name, value in values.items():
            self._scalars[name] = pool.take()
            f("li", self._scalars[name], value, note=name)
        for register in (_FINE, _COARSE, _FACTORS):
            f("esp.vld.128.ip", register, params, LANES)

    def _start(self, f: Function, kind: str) -> None:
        """The constant into the accumulator."""
        if _constant(self.spec)[0] == 0:
            f("esp.zero.qacc")
            return
        f(f"esp.mov.{kind}.qacc", _FINE)
        split = _split_constant(self.spec, int(kind[1:]))
        if split is not None and split[1]:
            f(f"esp.vsmulas.{kind}.qacc", _COARSE, _FACTORS, _CONSTANT_LANE)


@dataclass
class NarrowSum(_Sum):
    """Multipliers of the operands' width: one pass over all lanes."""

    unroll: int = 2
    misaligned_loads: bool = False

    def params(self) -> bytes:
        """See VectorBody."""
        return _constants(self.spec, np.int8 if self.spec.element_bytes == 1 else np.int16)

    def setup(self, f: Function, pool: Pool, params: X) -> None:
        """See VectorBody."""
        self._setup(f, pool, params)

    def emit(self, f: Function, operands: tuple[X, ...], count: int, store: StoreVector) -> None:
        """See VectorBody."""
        kind = f"s{self.spec.bits}"
        for number, pointer in enumerate(operands):
            f("esp.vld.128.ip", Q(number), pointer, LANES)
        for vector in range(count):
            self._start(f, kind)
            for number, pointer in enumerate(operands):
                value, ahead = Q(number + 2 * (vector % 2)), Q(number + 2 * ((vector + 1) % 2))
                if vector + 1 < count:
                    f(f"esp.vsmulas.{kind}.qacc.ld.incp", ahead, pointer, value, _FACTORS, number)
                else:
                    f(f"esp.vsmulas.{kind}.qacc", value, _FACTORS, number)
            f(f"esp.srcmb.{kind}.qacc", Q(4), self._scalars["shift"], 1)
            if "low" in self._scalars:
                f(f"esp.vsat.{kind}", Q(4), Q(4), self._scalars["low"], self._scalars["high"])
            store(Q(4))


@dataclass
class WideSum(_Sum):
    """16-bit multipliers of int8: two passes of 8 lanes."""

    unroll: int = 1
    misaligned_loads: bool = False

    def params(self) -> bytes:
        """See VectorBody."""
        return _constants(self.spec, np.int16)

    def setup(self, f: Function, pool: Pool, params: X) -> None:
        """See VectorBody."""
        self._setup(f, pool, params)

    def emit(self, f: Function, operands: tuple[X, ...], count: int, store: StoreVector) -> None:
        """See VectorBody."""
        for _ in range(count):
            for number, pointer in enumerate(operands):
                f("esp.vldext.s8.ip", Q(2 * number), Q(2 * number + 1), pointer, LANES)
            for half in range(2):
                self._start(f, "s16")
                for number in range(len(operands)):
                    f("esp.vsmulas.s16.qacc", Q(2 * number + half), _FACTORS, number)
                f("esp.srcmb.s16.qacc", Q(half), self._scalars["shift"], 1)
                self._finish(f, Q(half))
            f("esp.vunzip.8", Q(0), Q(1))
            store(Q(0))

    def _finish(self, f: Function, value: Q) -> None:
        if "add" in self._scalars:
            f("esp.vsadds.s16", value, value, self._scalars["add"], note="zero point")
        if "low" in self._scalars:
            f("esp.vsat.s16", value, value, self._scalars["low"], self._scalars["high"])
        else:
            f("esp.vclamp.s16", value, value, 7)
