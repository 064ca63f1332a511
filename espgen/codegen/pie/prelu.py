"""Leaky rectifiers with a slope per channel, 16 bytes at a time, where both sides are rounded by a power of two.

With p = max(x, zx) and n = min(x, zx) only one of p - zx and n - zx is not 0. Where the positive side is divided by 2^a and the
negative one, times its slope, by 2^b with b >= a, the sum

    acc = (p - zx) 2^(b-a) + (n - zx)(slope - zs)

is one of the two, and one rounding shift by b gives either exactly. All terms are multiply-accumulates with constants:
p and n by themselves, slopes, and what is left goes into the accumulators' start.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from espgen import arith
from espgen.codegen.pie.asm import Function
from espgen.codegen.pie.elementwise import StoreVector
from espgen.codegen.pie.epilogue import Accumulated, Epilogue, ShiftEpilogue, choose_epilogue, load_bias
from espgen.codegen.pie.packing import LANES
from espgen.codegen.pie.registers import Pool, Q, X
from espgen.errors import Refused

_X, _SLOPE, _ABOVE, _BELOW, _POINT, _FACTORS = Q(1), Q(2), Q(3), Q(4), Q(5), Q(7)


@dataclass(frozen=True)
class PreluSpec:
    """y = clip(zero_point + rne((x - zx) / 2^up) or rne((x - zx)(slope - zs) / 2^down), low, high); points are (zx, zs)."""

    up: int
    down: int
    points: tuple[int, int]
    zero_point: int
    low: int
    high: int
    element_bytes: int = 1

    @property
    def lanes(self) -> int:
        """Elements per vector."""
        return LANES // self.element_bytes

    @property
    def bound(self) -> int:
        """Largest |accumulator|, and largest sum on the way to it."""
        half = 1 << (8 * self.element_bytes - 1)
        point, slope_point = self.points
        reach = max(half - 1 - point, point + half)
        slopes = max(half - 1 - slope_point, slope_point + half)
        return 4 * reach * max(slopes, 1 << max(self.down - self.up, 0))


def prelu_spec(
    positive: arith.Requant, negative: arith.Requant, points: tuple[int, int], zero_point: int, low: int, high: int, size: int
) -> PreluSpec:
    """The numbers of a rectifier; raises Refused where it is none of this form."""
    if not isinstance(positive, arith.Shift) or not isinstance(negative, arith.Shift):
        raise Refused("scales that are no powers of two")
    return PreluSpec(positive.shift[0], negative.shift[0], points, zero_point, low, high, size)


def supports(spec: PreluSpec) -> str | None:
    """None where there is a kernel, else the reason why not."""
    if spec.down < spec.up:
        return "slopes of more than their type's steps"
    factors = _factors(spec)
    if len(factors) > spec.lanes:
        return f"{len(factors)} factors for a slope's unit of 2^-{spec.down - spec.up}"
    if spec.bound >= 2 ** (31 if spec.element_bytes == 1 else 38):
        return "accumulators may leave their register"
    try:
        epilogue = _epilogue(spec)
    except Refused as reason:
        return str(reason)
    return None if isinstance(epilogue, ShiftEpilogue) else "an odd zero point at both ends of the range"


def _epilogue(spec: PreluSpec) -> Epilogue:
    shift = arith.Shift((spec.down,))
    return choose_epilogue(shift, spec.zero_point, spec.low, spec.high, spec.bound, spec.lanes, spec.element_bytes)


def _split(value: int, element_bytes: int) -> list[int]:
    """Factors of the element's type whose sum is `value`."""
    most = (1 << (8 * element_bytes - 1)) - 1
    parts = []
    while value:
        part = max(-most, min(most, value))
        parts.append(part)
        value -= part
    return parts


def _factors(spec: PreluSpec) -> list[tuple[str, int]]:
    """(register, factor) of every multiply-accumulate by a constant."""
    point, slope_point = spec.points
    unit = _split(1 << (spec.down - spec.up), spec.element_bytes)
    terms = [("above", factor) for factor in unit]
    terms += [("below", factor) for factor in _split(-slope_point, spec.element_bytes)]
    return terms + [("slope", factor) for factor in _split(-point, spec.element_bytes)]


@dataclass
class Prelu:
    """See VectorBody."""

    spec: PreluSpec
    unroll: int = 1
    misaligned_loads: bool = False

    @property
    def summary(self) -> str:
        """See VectorBody."""
        spec, (point, slope_point) = self.spec, self.spec.points
        return (
            f"x - {point} by 2^-{spec.up} above 0, by (slope - {slope_point}) 2^-{spec.down} below, "
            f"to {spec.zero_point} in [{spec.low}, {spec.high}]"
        )

    def _bias(self) -> np.ndarray:
        point, slope_point = self.spec.points
        start = -point * (1 << (self.spec.down - self.spec.up)) + point * slope_point
        return _epilogue(self.spec).bias(np.full(self.spec.lanes, start, np.int64))

    def params(self) -> bytes:
        """Factors, the input's zero point, what the epilogue holds, the accumulators' start."""
        spec = self.spec
        factors = np.zeros(spec.lanes, f"<i{spec.element_bytes}")
        values = [factor for _, factor in _factors(spec)]
        factors[: len(values)] = values
        points = np.full(spec.lanes, spec.points[0], factors.dtype)
        held, pixel = _epilogue(spec).pack(0)
        bias = self._bias().astype(f"<i{4 * spec.element_bytes}").tobytes()
        return factors.tobytes() + points.tobytes() + held + bias + pixel

    def setup(self, f: Function, pool: Pool, params: X) -> None:
        """See VectorBody."""
        self._body = Accumulated(_epilogue(self.spec), (_FACTORS, _POINT), Q(6))
        self._start = self._body.setup(f, pool, params)

    def emit(self, f: Function, operands: tuple[X, ...], count: int, store: StoreVector) -> None:
        """See VectorBody."""
        kind = f"s{8 * self.spec.element_bytes}"
        values = {"above": _ABOVE, "below": _BELOW, "slope": _SLOPE}
        for _ in range(count):
            f("esp.vld.128.ip", _X, operands[0], LANES)
            f("esp.vld.128.ip", _SLOPE, operands[1], LANES)
            if self._bias().any():
                load_bias(f, self._start, self._body.start_bytes, None)
            else:
                f("esp.zero.qacc")
            f(f"esp.vmax.{kind}", _ABOVE, _X, _POINT)
            f(f"esp.vmin.{kind}", _BELOW, _X, _POINT)
            f(f"esp.vmulas.{kind}.qacc", _BELOW, _SLOPE, note="the negative side by its slopes")
            for lane, (name, _) in enumerate(_factors(self.spec)):
                f(f"esp.vsmulas.{kind}.qacc", values[name], _FACTORS, lane)
            store(self._body.finish(f))
