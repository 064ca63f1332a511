"""From 16 accumulators to 16 int8 outputs: the requantization forms in vector code.

Both forms end with the outputs in one register, ready to be stored. `ShiftEpilogue` is one or two instructions;
`ScaleEpilogue` computes arith.Scale exactly: the accumulators go through memory, are clipped, split into the two
16-bit factors, multiplied with their per-channel constants in 64-bit lanes and rounded once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from espgen import arith
from espgen.codegen.pie.asm import Function
from espgen.codegen.pie.epilogue_wide import WideEpilogue
from espgen.codegen.pie.packing import LANES, padded
from espgen.codegen.pie.registers import SP, Pool, Q, X
from espgen.errors import EspgenError

_PARTS = ("l.l", "l.h", "h.l", "h.h")
_LIMITS = {1: (-128, 127), 2: (-32768, 32767)}
_INT8 = _LIMITS[1]


class Epilogue(Protocol):
    """What a convolution asks of a requantization.

    Attributes:
        held: PIE registers that keep constants of the block through all pixels.
        clobbered: PIE registers its code overwrites (the first one receives the result).
        keeps_inputs: whether an input register can stay loaded across it.
        block_constants: bytes per block loaded once into the held registers.
        pixel_constants: bytes per block read again for every 16 outputs.
    """

    held: int
    clobbered: int
    keeps_inputs: bool
    block_constants: int
    pixel_constants: int

    def bias(self, bias: np.ndarray) -> np.ndarray:
        """The int64 bias with what the form folds into it."""

    def pack(self, block: int) -> tuple[bytes, bytes]:
        """Constants of a block of 16 channels: (block_constants, pixel_constants)."""

    def setup(self, f: Function, pool: Pool) -> None:
        """Allocate and load what stays the same for the whole call."""

    def start_block(self, f: Function, record: X, held: tuple[Q, ...], constants: int) -> None:
        """At a block's start: `record` points to block_constants and is moved past them; pixel_constants
        lie `constants` bytes after that place."""

    def emit(
        self, f: Function, registers: tuple[Q, ...], held: tuple[Q, ...], filler: Callable[[], None] | None
    ) -> Q:
        """Code after the last multiply-accumulate; returns the register of the outputs. `filler` emits one useful
        instruction that may overwrite registers[2]; it is called at most once, else the caller does."""


def bias_rewinds(rewind: int) -> bool:
    """Whether load_bias can move its pointer back by `rewind` bytes without a register."""
    return rewind % 16 == 0 and rewind - 16 <= 2048


def load_bias(f: Function, pointer: X, rewind: int, far: X | None) -> None:
    """Fill QACC with 16 int32 from `pointer`, then leave it `rewind` bytes before the end of what was read.

    `far` holds `rewind` where bias_rewinds says no; that costs one more instruction.
    """
    near = bias_rewinds(rewind)
    for part in _PARTS[:3]:
        f(f"esp.ld.qacc.{part}.128.ip", pointer, 16)
    f("esp.ld.qacc.h.h.128.ip", pointer, 16 - rewind if near else 16, note="bias" + (" and rewind" if near else ""))
    if not near:
        assert far is not None
        f("sub", pointer, pointer, far, note="rewind")


def as_scale(requant: arith.Requant, bound: int, channels: int) -> arith.Scale:
    """A Scale that gives the same bytes: a Shift s is multipliers 2^split and 1 (0 where nothing is split off) with shift s."""
    if isinstance(requant, arith.Scale):
        return requant
    if not isinstance(requant, arith.Shift):
        raise EspgenError("kernel generator: 8-bit outputs take Shift or Scale")
    split = max(0, bound.bit_length() - 15)
    if split > 14:
        raise EspgenError("accumulators too wide for 16-bit factors")
    shifts = requant.shift if len(requant.shift) > 1 else requant.shift * channels
    dead = [shift > 62 for shift in shifts]
    return arith.Scale(
        split,
        tuple(0 if gone else 1 << split for gone in dead),
        tuple(0 if gone or split == 0 else 1 for gone in dead),
        tuple(0 if gone else shift for gone, shift in zip(dead, shifts, strict=True)),
    )


@dataclass
class ShiftEpilogue:
    """y = clip(z + rne(acc / 2^s)) with an even z folded into the bias, or an odd one next to it.

    `add` is what is added after rounding (-1, 0 or 1: the odd part of z). The 8-bit saturation before it must not show:
    add = 1 needs low > -128, add = -1 needs high < 127. With `size` 2 the same for 8 lanes of int16.
    """

    shift: tuple[int, ...]
    fold: int
    add: int
    low: int
    high: int
    size: int = 1
    held: int = 0
    clobbered: int = 1
    keeps_inputs: bool = True
    block_constants: int = 0
    pixel_constants: int = 0
    _scalars: dict[str, X] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(set(self.shift)) > 1:
            self.held, self.block_constants = 1, LANES

    def bias(self, bias: np.ndarray) -> np.ndarray:
        """bias + fold * 2^s."""
        shifts = np.asarray(self.shift, np.int64)
        return np.asarray(bias, np.int64) + (np.int64(self.fold) << shifts)

    def pack(self, block: int) -> tuple[bytes, bytes]:
        """The block's shifts, one byte per channel, where channels differ."""
        if not self.held:
            return b"", b""
        lanes = LANES // self.size
        part = self.shift[block * lanes : (block + 1) * lanes]
        return padded(part, np.uint8 if self.size == 1 else np.uint16, lanes).tobytes(), b""

    def setup(self, f: Function, pool: Pool) -> None:
        """Shift amount and bounds into registers."""
        values = {"shift": self.shift[0]} if not self.held else {}
        if self.add:
            values["add"] = self.add
        if (self.low, self.high) != _LIMITS[self.size]:
            values |= {"low": self.low, "high": self.high}
        for name, value in values.items():
            self._scalars[name] = pool.take()
            f("li", self._scalars[name], value, note=name)

    def start_block(self, f: Function, record: X, held: tuple[Q, ...], constants: int) -> None:
        """Load the shifts."""
        if self.held:
            f("esp.vld.128.ip", held[0], record, 16, note="shifts of the channels")

    def emit(
        self, f: Function, registers: tuple[Q, ...], held: tuple[Q, ...], filler: Callable[[], None] | None
    ) -> Q:
        """Round, saturate, clip."""
        out, kind = registers[0], f"s{8 * self.size}"
        if self.held:
            f(f"esp.srcmb.{kind}.q.qacc", out, held[0], 1)
        else:
            f(f"esp.srcmb.{kind}.qacc", out, self._scalars["shift"], 1)
        if self.add:
            f(f"esp.vsadds.{kind}", out, out, self._scalars["add"], note="odd part of the zero point")
        if "low" in self._scalars:
            f(f"esp.vsat.{kind}", out, out, self._scalars["low"], self._scalars["high"])
        return out


@dataclass
class ScaleEpilogue:
    """arith.Scale, zero point and clip; with `correction` an int32 per pixel is added to all accumulators first.

    The correction pointer moves by 4 for every pixel. `bound` is the largest |accumulator|, correction included.
    """

    scale: arith.Scale
    zero_point: int
    low: int
    high: int
    bound: int
    correction: X | None = None
    held: int = 0
    clobbered: int = 6
    keeps_inputs: bool = False
    block_constants: int = 0
    pixel_constants: int = 0
    _scalars: dict[str, X] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pixel_constants = LANES * len(self._sequence())

    @property
    def _products(self) -> int:
        return 1 if self.scale.split == 0 and not any(self.scale.low) else 2

    @property
    def _clips(self) -> bool:
        return self.bound >= 1 << (15 + self.scale.split)

    def _sequence(self) -> tuple[str, ...]:
        """Constant vectors in the order they are read."""
        half = ("high", "low", "shift") if self._products == 2 else ("high", "shift")
        return (("factor",) if self._products == 2 else ()) + tuple(f"{name}{part}" for part in "01" for name in half)

    def bias(self, bias: np.ndarray) -> np.ndarray:
        """Unchanged."""
        return np.asarray(bias, np.int64)

    def pack(self, block: int) -> tuple[bytes, bytes]:
        """Multipliers and shifts of the block, 16 bits each, in reading order."""
        vectors: dict[str, np.ndarray] = {"factor": padded([1 << max(0, -self.scale.split)] * 8, np.int16, 8)}
        for name, values in (("high", self.scale.high), ("low", self.scale.low), ("shift", self.scale.shift)):
            whole = padded(values[block * LANES : (block + 1) * LANES], np.int16, LANES)
            vectors[f"{name}0"], vectors[f"{name}1"] = whole[:8], whole[8:]
        return b"", b"".join(vectors[name].tobytes() for name in self._sequence())

    def setup(self, f: Function, pool: Pool) -> None:
        """Scratch memory, SAR, bounds."""
        scratch = f.scratch(64)
        scalars = self._scalars
        scalars["scratch"], scalars["constants"] = pool.take(), pool.take()
        f("addi", scalars["scratch"], SP, scratch, note="accumulators pass through memory")
        if self._clips:
            scalars["least"], scalars["most"] = pool.take(), pool.take()
            f("li", scalars["least"], -(1 << (15 + self.scale.split)))
            f("li", scalars["most"], (1 << (15 + self.scale.split)) - 1)
        if (self.low, self.high) != _INT8:
            scalars["low"], scalars["high"] = pool.take(), pool.take()
            f("li", scalars["low"], self.low)
            f("li", scalars["high"], self.high)
        if self.zero_point:
            scalars["zero"] = pool.take()
            f("li", scalars["zero"], self.zero_point)
        amount = scalars["constants"]
        f("li", amount, max(0, 16 - self.scale.split) if self.scale.split > 0 else 0)
        f("esp.movx.w.sar", amount)

    def start_block(self, f: Function, record: X, held: tuple[Q, ...], constants: int) -> None:
        """Point to the block's constants."""
        pointer = self._scalars["constants"]
        if constants <= 2047:
            f("addi", pointer, record, constants)
        else:
            f("li", pointer, constants)
            f("add", pointer, pointer, record)

    def emit(
        self, f: Function, registers: tuple[Q, ...], held: tuple[Q, ...], filler: Callable[[], None] | None
    ) -> Q:
        """Split, multiply, round, add, clip, pack."""
        a, c, b, d, e, ones = registers
        scratch, constants = self._scalars["scratch"], self._scalars["constants"]
        for part, step in zip(_PARTS, (16, 16, 16, -48), strict=True):
            f(f"esp.st.qacc.{part}.128.ip", scratch, step)
        if self._products == 1:
            return self._emit_single(f, registers, filler)
        self._load_correction(f, c, 0)
        f("esp.vld.128.ip", a, scratch, 16)
        f("esp.vld.128.ip", b, scratch, 16)
        f("esp.vld.128.ip", ones, constants, 16, note="shifts the lower factors into place")
        self._add_correction(f, a, b, c)
        self._split(f, a, b)
        self._scale_factor(f, a, b, ones, c, constants)
        f("esp.zero.qacc")
        f("esp.vmulas.s16.qacc.ld.ip", d, constants, 16, b, c, note="upper * high")
        f("esp.vld.128.ip", b, scratch, 16)
        f("esp.vmulas.s16.qacc.ld.ip", e, constants, 16, a, d, note="lower * low")
        f("esp.vld.128.ip", c, scratch, -48)
        self._load_correction(f, d, 4)
        f("esp.srcmb.s16.q.qacc", a, e, 1, note="channels 0-7")
        self._add_correction(f, b, c, d)
        self._split(f, b, c)
        self._scale_factor(f, b, c, ones, d, constants)
        f("esp.zero.qacc")
        f("esp.vmulas.s16.qacc.ld.ip", e, constants, 16, c, d)
        self._finish(f, a)
        f("esp.vmulas.s16.qacc.ld.ip", d, constants, 16 - self.pixel_constants, b, e)
        if filler is not None:
            filler()
        f("esp.srcmb.s16.q.qacc", c, d, 1, note="channels 8-15")
        self._finish(f, c)
        f("esp.vunzip.8", a, c)
        return a

    def _emit_single(self, f: Function, registers: tuple[Q, ...], filler: Callable[[], None] | None) -> Q:
        """split = 0 and one multiplier: the accumulator is its own upper factor."""
        a, c, b, d, e, _ = registers
        scratch, constants = self._scalars["scratch"], self._scalars["constants"]
        self._load_correction(f, d, 0)
        f("esp.vld.128.ip", a, scratch, 16)
        f("esp.vld.128.ip", c, scratch, 16)
        f("esp.vld.128.ip", b, constants, 16, note="high of channels 0-7")
        self._add_correction(f, a, c, d)
        self._split(f, a, c)
        f("esp.zero.qacc")
        f("esp.vmulas.s16.qacc.ld.ip", d, constants, 16, a, b)
        f("esp.vld.128.ip", b, scratch, 16)
        f("esp.srcmb.s16.q.qacc", a, d, 1, note="channels 0-7")
        f("esp.vld.128.ip", c, scratch, -48)
        self._load_correction(f, d, 4)
        self._finish(f, a)
        self._add_correction(f, b, c, d)
        f("esp.vld.128.ip", e, constants, 16, note="high of channels 8-15")
        self._split(f, b, c)
        f("esp.zero.qacc")
        f("esp.vmulas.s16.qacc.ld.ip", d, constants, 16 - self.pixel_constants, b, e)
        if filler is not None:
            filler()
        f("esp.srcmb.s16.q.qacc", c, d, 1, note="channels 8-15")
        self._finish(f, c)
        f("esp.vunzip.8", a, c)
        return a

    def _load_correction(self, f: Function, into: Q, step: int) -> None:
        if self.correction is not None:
            f("esp.vldbc.32.ip", into, self.correction, step, note="-zw * sum x of this pixel")

    def _add_correction(self, f: Function, first: Q, second: Q, correction: Q) -> None:
        if self.correction is not None:
            f("esp.vadd.s32", first, first, correction)
            f("esp.vadd.s32", second, second, correction)

    def _split(self, f: Function, first: Q, second: Q) -> None:
        """Eight s32 lanes in two registers -> lower factors (shifted up) in `first`, upper ones in `second`."""
        if self._clips:
            f("esp.vsat.s32", first, first, self._scalars["least"], self._scalars["most"])
            f("esp.vsat.s32", second, second, self._scalars["least"], self._scalars["most"])
        if self.scale.split > 0:
            f("esp.vsl.32", first, first)
            f("esp.vsl.32", second, second)
        f("esp.vunzip.16", first, second)

    def _scale_factor(self, f: Function, lower: Q, upper: Q, ones: Q, load: Q, constants: X) -> None:
        if self.scale.split > 0:
            f("esp.vmul.u16.ld.incp", load, constants, lower, lower, ones, note="lower = t mod 2^split")
        else:
            f("esp.vmul.s16.ld.incp", load, constants, upper, lower, ones, note="upper = t * 2^-split")

    def _finish(self, f: Function, value: Q) -> None:
        if self.zero_point:
            f("esp.vsadds.s16", value, value, self._scalars["zero"])
        if "low" in self._scalars:
            f("esp.vsat.s16", value, value, self._scalars["low"], self._scalars["high"])
        else:
            f("esp.vclamp.s16", value, value, 7)


def choose_epilogue(
    requant: arith.Requant, zero_point: int, low: int, high: int, bound: int, channels: int, size: int = 1
) -> Epilogue:
    """The cheapest epilogue that is exact for these numbers; `size` is the bytes of an output.

    Raises EspgenError where there is none.
    """
    if isinstance(requant, arith.Shift):
        shifts = requant.shift if len(requant.shift) > 1 else requant.shift * channels
        # A channel whose accumulators never reach half of 2^s gives 0, whatever the shift is beyond that.
        limit = bound.bit_length() + 1
        shifts = tuple(min(shift, limit) for shift in shifts)
        add = _odd_part(zero_point, low, high, _LIMITS[size])
        fold = zero_point - (add or 0)
        reach = bound + (abs(fold) << max(shifts))
        most = 31 if size == 1 else 62
        if add is not None and max(shifts) <= most and reach < 2**most:
            return ShiftEpilogue(shifts, fold, add, low, high, size)
    if size == 2:
        if not isinstance(requant, arith.WideScale):
            raise EspgenError("16-bit outputs take WideScale, or Shift with an even zero point or narrower bounds")
        return WideEpilogue(requant, zero_point, low, high, bound)
    scale = as_scale(requant, bound, channels)
    return ScaleEpilogue(scale, zero_point, low, high, bound)


def _odd_part(zero_point: int, low: int, high: int, limits: tuple[int, int]) -> int | None:
    """What to add after rounding so that the part before it is even; None where saturation would show."""
    if zero_point % 2 == 0:
        return 0
    if low > limits[0]:
        return 1
    return -1 if high < limits[1] else None
