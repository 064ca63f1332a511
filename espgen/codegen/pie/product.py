"""Products of two int8 or int16 operands with requantization, 16 bytes at a time.

(x1 - z1)(x2 - z2) = x1 x2 - z2 x1 - z1 x2 + z1 z2: the constant is loaded into the accumulators, the other terms are
multiply-accumulates. The epilogues are those of the convolutions, all channels alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from espgen import arith
from espgen.codegen.pie.asm import Function
from espgen.codegen.pie.elementwise import StoreVector
from espgen.codegen.pie.epilogue import Accumulated, Epilogue, ScaleEpilogue, choose_epilogue, load_bias
from espgen.codegen.pie.packing import LANES
from espgen.codegen.pie.registers import Pool, Q, X
from espgen.errors import Refused

_FACTORS = Q(7)


@dataclass(frozen=True)
class ProductSpec:
    """y = clip(zero_point + requant((x1 - points[0]) (x2 - points[1])), low, high) for int8 or int16."""

    requant: arith.Requant
    points: tuple[int, int]
    zero_point: int
    low: int
    high: int
    element_bytes: int = 1

    @property
    def bound(self) -> int:
        """Largest |accumulator|."""
        half = 1 << (8 * self.element_bytes - 1)
        first, second = (max(half - 1 - point, point + half) for point in self.points)
        return first * second

    @property
    def lanes(self) -> int:
        """Elements per vector."""
        return LANES // self.element_bytes


def supports(spec: ProductSpec) -> str | None:
    """None where there is a PIE kernel for this product, else the reason why not."""
    try:
        epilogue = _epilogue(spec)
    except Refused as reason:
        return str(reason)
    if isinstance(epilogue, ScaleEpilogue) and epilogue.scale.split > 15:
        return "products too wide for 16-bit factors"
    return None


def _epilogue(spec: ProductSpec) -> Epilogue:
    requant, lanes = spec.requant, spec.lanes
    if isinstance(requant, arith.Scale):
        requant = arith.Scale(requant.split, requant.high * lanes, requant.low * lanes, requant.shift * lanes)
    elif isinstance(requant, arith.WideScale):
        requant = arith.WideScale(requant.split, requant.multiplier * lanes, requant.shift * lanes)
    return choose_epilogue(requant, spec.zero_point, spec.low, spec.high, spec.bound, lanes, spec.element_bytes)


def _factors(point: int, element_bytes: int) -> tuple[int, ...]:
    """Factors of the element's type whose sum is -point."""
    half = 1 << (8 * element_bytes - 1)
    if point == 0:
        return ()
    return (-point,) if point > -half else (half // 2, half // 2)


@dataclass
class Product:
    """See VectorBody."""

    spec: ProductSpec
    unroll: int = 1
    misaligned_loads: bool = False

    @property
    def summary(self) -> str:
        """See VectorBody."""
        first, second = self.spec.points
        return f"(x0 - {first}) (x1 - {second}) requantized to {self.spec.zero_point} in [{self.spec.low}, {self.spec.high}]"

    def params(self) -> bytes:
        """Factors, accumulator constants, then what the epilogue reads."""
        spec, epilogue = self.spec, _epilogue(self.spec)
        factors = np.zeros(spec.lanes, f"<i{spec.element_bytes}")
        values = [factor for point in reversed(spec.points) for factor in _factors(point, spec.element_bytes)]
        factors[: len(values)] = values
        bias = epilogue.bias(np.full(spec.lanes, spec.points[0] * spec.points[1], np.int64))
        held, pixel = epilogue.pack(0)
        return factors.tobytes() + held + bias.astype(f"<i{4 * spec.element_bytes}").tobytes() + pixel

    def setup(self, f: Function, pool: Pool, params: X) -> None:
        """See VectorBody."""
        self._body = Accumulated(_epilogue(self.spec), (_FACTORS,), Q(6))
        self._start = self._body.setup(f, pool, params)

    def emit(self, f: Function, operands: tuple[X, ...], count: int, store: StoreVector) -> None:
        """See VectorBody."""
        first, second = Q(0), Q(1)
        kind = f"s{8 * self.spec.element_bytes}"
        for _ in range(count):
            f("esp.vld.128.ip", first, operands[0], LANES)
            f("esp.vld.128.ip", second, operands[1], LANES)
            load_bias(f, self._start, self._body.start_bytes, None)
            f(f"esp.vmulas.{kind}.qacc", first, second)
            lane = 0
            for value, point in ((first, self.spec.points[1]), (second, self.spec.points[0])):
                for _ in _factors(point, self.spec.element_bytes):
                    f(f"esp.vsmulas.{kind}.qacc", value, _FACTORS, lane)
                    lane += 1
            store(self._body.finish(f))
