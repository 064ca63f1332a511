"""arith.WideScale for int16 outputs: the one epilogue with scalar arithmetic, a 32 x 32-bit product per output.

Vector code has no product this wide, so the eight accumulators pass through memory, each is multiplied in integer
registers and rounded once, and vector instructions clip and pack the results.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from espgen import arith
from espgen.codegen.pie.asm import Function
from espgen.codegen.pie.packing import padded
from espgen.codegen.pie.registers import SP, Pool, Q, X
from espgen.errors import Refused

_LANES = 8
_LEAST_SHIFT = 33
"""From here on half of 2^shift - 1 has only ones in its low word, so rounding needs no 64-bit sum."""


@dataclass
class WideEpilogue:
    """y = clip(z + rne(t * multiplier / 2^shift)), t = acc >> split clipped to 32 bits where `bound` needs it.

    Raises Refused for shifts below 33 (ratios of 1/4 and more with full 31-bit multipliers) of live channels.
    """

    scale: arith.WideScale
    zero_point: int
    low: int
    high: int
    bound: int
    held: int = 0
    clobbered: int = 2
    keeps: int = 2
    block_constants: int = 0
    pixel_constants: int = 3 * 4 * _LANES
    _scalars: dict[str, X] = field(default_factory=dict)

    def __post_init__(self) -> None:
        live = [shift for shift, m in zip(self.scale.shift, self.scale.multiplier, strict=True) if m]
        if live and not _LEAST_SHIFT <= min(live) <= max(live) <= 62:
            raise Refused("ratio too large for the 16-bit kernel")

    @property
    def _clips(self) -> bool:
        return self.bound >> self.scale.split >= 2**31

    def bias(self, bias: np.ndarray) -> np.ndarray:
        """Unchanged."""
        return np.asarray(bias, np.int64)

    def pack(self, block: int) -> tuple[bytes, bytes]:
        """Multipliers, shifts beyond 32 and high words of half - 1, 32 bits each."""
        part = slice(block * _LANES, (block + 1) * _LANES)
        multipliers = padded(self.scale.multiplier[part], np.int32, _LANES)
        shifts = np.maximum(padded(self.scale.shift[part], np.int32, _LANES), _LEAST_SHIFT)
        halves = (np.int64(1) << (shifts.astype(np.int64) - _LEAST_SHIFT)) - 1
        words = [multipliers, shifts - 32, padded(halves, np.int32, _LANES)]
        return b"", b"".join(values.astype("<i4").tobytes() for values in words)

    def setup(self, f: Function, pool: Pool) -> None:
        """Scratch memory and bounds."""
        scratch = f.scratch(64)
        scalars = self._scalars
        for name in ("scratch", "constants", "low", "high"):
            scalars[name] = pool.take()
        for name in ("t", "multiplier", "upper", "shift", "odd"):
            scalars[name] = pool.plain()
        if self._clips:
            scalars["most"] = pool.plain()
            f("li", scalars["most"], 2**31 - 1)
        f("addi", scalars["scratch"], SP, scratch, note="accumulators pass through memory")
        f("li", scalars["low"], self.low)
        f("li", scalars["high"], self.high)
        if self.zero_point:
            scalars["zero"] = pool.take()
            f("li", scalars["zero"], self.zero_point)

    def start_block(self, f: Function, record: X, held: tuple[Q, ...], constants: int) -> None:
        """Point to the block's constants."""
        pointer = self._scalars["constants"]
        if constants <= 2047:
            f("addi", pointer, record, constants)
        else:
            f("li", pointer, constants)
            f("add", pointer, pointer, record)

    def emit(self, f: Function, registers: tuple[Q, ...], held: tuple[Q, ...]) -> Q:
        """Eight scalar products, then clip and pack."""
        scratch = self._scalars["scratch"]
        for part, step in zip(("l.l", "l.h", "h.l", "h.h"), (16, 16, 16, -48), strict=True):
            f(f"esp.st.qacc.{part}.128.ip", scratch, step)
        f.fence()
        for lane in range(_LANES):
            self._lane(f, lane)
        first, second = registers[:2]
        f("esp.vld.128.ip", first, scratch, 16)
        f("esp.vld.128.ip", second, scratch, -16)
        for register in (first, second):
            f("esp.vsat.s32", register, register, self._scalars["low"], self._scalars["high"])
        f("esp.vunzip.16", first, second)
        return first

    def _lane(self, f: Function, lane: int) -> None:
        """Result of one lane into word `lane` of the scratch memory (its accumulator and all before are spent)."""
        scalars = self._scalars
        scratch, constants = scalars["scratch"], scalars["constants"]
        t, multiplier, upper, shift, odd = (scalars[n] for n in ("t", "multiplier", "upper", "shift", "odd"))
        split = self.scale.split
        f("lw", t, 8 * lane, scratch)
        if split or self._clips:
            f("lw", upper, 8 * lane + 4, scratch)
        f("lw", multiplier, 4 * lane, constants)
        if self._clips:
            f("srai", odd, upper, 31, note="sign of the accumulator")
            if split:
                f("srai", shift, upper, split - 1)
            else:
                f("mv", shift, upper)
        if split:
            f("srli", t, t, split)
            f("slli", upper, upper, 32 - split)
            f("or", t, t, upper)
        if self._clips:
            if not split:
                f("srai", upper, t, 31)
                f("xor", shift, shift, upper)
            else:
                f("xor", shift, shift, odd)
            f("snez", shift, shift)
            f("neg", shift, shift, note="all ones where t leaves 32 bits")
            f("xor", odd, odd, scalars["most"])
            f("xor", odd, odd, t)
            f("and", odd, odd, shift)
            f("xor", t, t, odd)
        f("lw", shift, 4 * (_LANES + lane), constants)
        f("mulh", upper, t, multiplier)
        f("mul", t, t, multiplier, note="t * multiplier in upper:t")
        f("sra", odd, upper, shift)
        f("andi", odd, odd, 1)
        f("or", t, t, odd)
        f("lw", multiplier, 4 * (2 * _LANES + lane), constants)
        f("snez", t, t, note="carry of adding half - 1 + odd to the low word")
        f("add", upper, upper, multiplier)
        f("add", upper, upper, t)
        f("sra", upper, upper, shift)
        if self.zero_point:
            f("add", upper, upper, scalars["zero"])
        f("sw", upper, 4 * lane, scratch)
