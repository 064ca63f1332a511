"""Weighted sums of int16 operands with multipliers of up to 31 bits and one rounding, eight elements at a time.

The unit multiplies 16 by 16 bits. sum x m = 2^16 sum x h + sum x l with m = 2^16 h + l: the first sum is made in the
accumulators, passes through memory to move up by 16 bits (each lane read two bytes early, what belongs to its
neighbour masked), and the second is added to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from espgen.codegen.pie.asm import Function
from espgen.codegen.pie.elementwise import StoreVector
from espgen.codegen.pie.epilogue import load_bias
from espgen.codegen.pie.packing import LANES
from espgen.codegen.pie.registers import SP, Pool, Q, X

_MASK, _ONES, _FACTORS = Q(5), Q(6), Q(7)
_INT16 = (-32768, 32767)
_PARTS = ("l.l", "l.h", "h.l", "h.h")
_BIAS_BYTES = 4 * LANES
_CONSTANT_LANE = 4
_LANES = 8


@dataclass(frozen=True)
class LongSumSpec:
    """y = clip(after + rne((before + sum_i x_i * multiplier[i]) / 2^shift), low, high)."""

    multiplier: tuple[int, ...]
    shift: int
    before: int
    after: int
    low: int
    high: int
    summary: str


def supports(spec: LongSumSpec) -> str | None:
    """None where there is a kernel for this sum, else the reason why not."""
    if max(abs(factor) for factor in spec.multiplier) >= 1 << 30:
        return "multipliers of more than 31 bits"
    if abs(spec.before) >= 1 << 60:
        return "zero points too large for their constant"
    if spec.after and not (spec.low - spec.after >= _INT16[0] and spec.high - spec.after <= _INT16[1]):
        return "an odd zero point next to unbounded outputs"
    return None


def _halves(value: int) -> tuple[int, int]:
    """(h, l) with value = 2^16 h + l and l of 16 signed bits."""
    high = (value + (1 << 15)) >> 16
    return high, value - (high << 16)


@dataclass
class LongSum:
    """See VectorBody."""

    spec: LongSumSpec
    unroll: int = 1
    misaligned_loads: bool = True
    _registers: dict[str, X] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """See VectorBody."""
        return self.spec.summary

    def params(self) -> bytes:
        """Factors (upper halves, lower halves, lower half of the constant), ones, mask, accumulators' constant."""
        spec = self.spec
        factors = np.zeros(_LANES, np.int64)
        for number, factor in enumerate(spec.multiplier):
            factors[number], factors[number + 2] = _halves(factor)
        high, factors[_CONSTANT_LANE] = _halves(spec.before)
        mask = np.tile(np.array([0, -1, -1, -1], "<i2"), 2)
        constant = np.full(_LANES, high, "<i8")
        return factors.astype("<i2").tobytes() + np.ones(_LANES, "<i2").tobytes() + mask.tobytes() + constant.tobytes()

    def setup(self, f: Function, pool: Pool, params: X) -> None:
        """See VectorBody."""
        spec, registers = self.spec, self._registers
        for register in (_FACTORS, _ONES, _MASK):
            f("esp.vld.128.ip", register, params, LANES)
        values = {"shift": spec.shift}
        if spec.after:
            values["add"] = spec.after
        if (spec.low, spec.high) != _INT16:
            values |= {"low": spec.low, "high": spec.high}
        for name, value in values.items():
            registers[name] = pool.take()
            f("li", registers[name], value, note=name)
        for name in ("bias", "lanes", "early"):
            registers[name] = pool.take()
        scratch = f.scratch(LANES + _BIAS_BYTES)
        f("mv", registers["bias"], params)
        f("addi", registers["lanes"], SP, scratch + LANES, note="accumulators pass through memory")
        f("addi", registers["early"], SP, scratch + LANES - 2, note="and come back 16 bits higher")

    def emit(self, f: Function, operands: tuple[X, ...], count: int, store: StoreVector) -> None:
        """See VectorBody."""
        registers = self._registers
        lanes, early = registers["lanes"], registers["early"]
        for _ in range(count):
            for number, pointer in enumerate(operands):
                f("esp.vld.128.ip", Q(number), pointer, LANES)
            if _halves(self.spec.before)[0]:
                load_bias(f, registers["bias"], _BIAS_BYTES, None)
            else:
                f("esp.zero.qacc")
            for number in range(len(operands)):
                f("esp.vsmulas.s16.qacc", Q(number), _FACTORS, number, note="upper halves")
            for part, step in zip(_PARTS, (16, 16, 16, -48), strict=True):
                f(f"esp.st.qacc.{part}.128.ip", lanes, step)
            for half in range(2):
                for register, step in ((Q(2), 16), (Q(3), 16 if half == 0 else -48)):
                    f("esp.vld.128.ip", register, early, step, extra=1.0)
                for register in (Q(2), Q(3)):
                    f("esp.andq", register, register, _MASK)
                for register, step in ((Q(2), 16), (Q(3), 16 if half == 0 else -48)):
                    f("esp.vst.128.ip", register, lanes, step)
            for part, step in zip(_PARTS, (16, 16, 16, -48), strict=True):
                f(f"esp.ld.qacc.{part}.128.ip", lanes, step)
            for number in range(len(operands)):
                f("esp.vsmulas.s16.qacc", Q(number), _FACTORS, number + 2, note="lower halves")
            if _halves(self.spec.before)[1]:
                f("esp.vsmulas.s16.qacc", _ONES, _FACTORS, _CONSTANT_LANE)
            f("esp.srcmb.s16.qacc", Q(2), registers["shift"], 1)
            if "add" in registers:
                f("esp.vsadds.s16", Q(2), Q(2), registers["add"], note="odd zero point")
            if "low" in registers:
                f("esp.vsat.s16", Q(2), Q(2), registers["low"], registers["high"])
            store(Q(2))
