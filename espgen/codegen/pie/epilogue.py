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
from espgen.errors import Defect, Refused

_PARTS = ("l.l", "l.h", "h.l", "h.h")
_LIMITS = {1: (-128, 127), 2: (-32768, 32767)}
_INT8 = _LIMITS[1]


class Epilogue(Protocol):
    """What a convolution asks of a requantization.

    Attributes:
        held: PIE registers that keep constants of the block through all pixels.
        clobbered: PIE registers its code overwrites (the first one receives the result).
        keeps: how many of a convolution's two input registers stay loaded across it.
        block_constants: bytes per block loaded once into the held registers.
        pixel_constants: bytes per block read again for every 16 outputs.
    """

    held: int
    clobbered: int
    keeps: int
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

    def emit(self, f: Function, registers: tuple[Q, ...], held: tuple[Q, ...]) -> Q:
        """Code after the last multiply-accumulate; returns the register of the outputs."""


@dataclass
class Accumulated:
    """What element-wise kernels that end with an epilogue share: constants in registers, and where accumulators start.

    `constants` are loaded from the parameters in this order; what the epilogue holds, and the start, follow them there.
    """

    epilogue: Epilogue
    constants: tuple[Q, ...]
    held: Q
    start_bytes: int = 4 * LANES

    def setup(self, f: Function, pool: Pool, params: X) -> X:
        """Load all of it; returns the register that points to the accumulators' start."""
        self.epilogue.setup(f, pool)
        start = pool.take()
        for register in self.constants:
            f("esp.vld.128.ip", register, params, LANES)
        self.epilogue.start_block(f, params, self.registers, self.start_bytes)
        f("mv", start, params)
        return start

    @property
    def registers(self) -> tuple[Q, ...]:
        """What the epilogue holds."""
        return (self.held,)[: self.epilogue.held]

    def finish(self, f: Function) -> Q:
        """Code after the last multiply-accumulate; returns the register of the outputs."""
        return self.epilogue.emit(f, tuple(Q(number) for number in range(self.epilogue.clobbered)), self.registers)


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
        raise Defect("8-bit outputs take Shift or Scale")
    split = max(0, bound.bit_length() - 15)
    if split > 14:
        raise Refused("accumulators too wide for 16-bit factors")
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
    keeps: int = 2
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

    def emit(self, f: Function, registers: tuple[Q, ...], held: tuple[Q, ...]) -> Q:
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
    clobbered: int = 4
    keeps: int = 1
    block_constants: int = 0
    pixel_constants: int = 0
    _scalars: dict[str, X] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.held = 0 if self.scale.split == 0 else 1
        self.block_constants = LANES * self.held
        self.pixel_constants = LANES * 2 * len(self._names)

    @property
    def _names(self) -> tuple[str, ...]:
        """Constant vectors of eight channels in the order they are read."""
        single = self.scale.split == 0 and not any(self.scale.low)
        return ("high", "shift") if single else ("high", "low", "shift")

    @property
    def _clips(self) -> bool:
        return self.bound >= 1 << (15 + self.scale.split)

    def bias(self, bias: np.ndarray) -> np.ndarray:
        """Unchanged."""
        return np.asarray(bias, np.int64)

    def pack(self, block: int) -> tuple[bytes, bytes]:
        """What brings the factors into place (where split is not 0); multipliers and shifts, 16 bits each."""
        factor = padded([1 << max(0, -self.scale.split)] * 8, np.int16, 8).tobytes() if self.held else b""
        values = {"high": self.scale.high, "low": self.scale.low, "shift": self.scale.shift}
        part = slice(block * LANES, (block + 1) * LANES)
        whole = {name: padded(values[name][part], np.int16, LANES) for name in self._names}
        halves = [whole[name][half : half + 8].tobytes() for half in (0, 8) for name in self._names]
        return factor, b"".join(halves)

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
        f.shift_by(amount, max(0, 16 - self.scale.split) if self.scale.split > 0 else 0)

    def start_block(self, f: Function, record: X, held: tuple[Q, ...], constants: int) -> None:
        """Load what brings the factors into place, and point to the block's constants."""
        if self.held:
            f("esp.vld.128.ip", held[0], record, 16, note="brings the factors into place")
        pointer = self._scalars["constants"]
        if constants <= 2047:
            f("addi", pointer, record, constants)
        else:
            f("li", pointer, constants)
            f("add", pointer, pointer, record)

    def emit(self, f: Function, registers: tuple[Q, ...], held: tuple[Q, ...]) -> Q:
        """Split, multiply, round, add, clip, pack; four registers, every wait filled where there is something to do."""
        a, b, c, d = registers
        scratch = self._scalars["scratch"]
        self._load_correction(f, c, 0)
        for part, step in zip(_PARTS, (16, 16, 16, -48), strict=True):
            f(f"esp.st.qacc.{part}.128.ip", scratch, step)
        f("esp.vld.128.ip", a, scratch, 16)
        f("esp.vld.128.ip", b, scratch, 16)
        self._add_correction(f, a, b, c)
        self._half(
            f,
            (a, b, c, d),
            held,
            self._split(f, a, b),
            lambda: f("esp.vld.128.ip", b, scratch, 16),
            lambda: f("esp.vld.128.ip", d, scratch, -48),
            last=False,
        )
        split = self._split(f, b, d)
        if self.correction is None and len(split) > 1:
            split.pop(0)()
        f("esp.srcmb.s16.q.qacc", a, c, 1, note="channels 0-7")
        steps = self._finish(f, a)
        self._load_correction(f, c, 4)
        if self.correction is not None:
            steps.pop(0)()
        self._add_correction(f, b, d, c)

        def next_step() -> None:
            if steps:
                steps.pop(0)()

        self._half(f, (b, d, c, d), held, split, next_step, next_step, last=True)
        f("esp.srcmb.s16.q.qacc", b, c, 1, note="channels 8-15")
        for step_of_a in steps:
            step_of_a()
        for step_of_b in self._finish(f, b):
            step_of_b()
        f("esp.vunzip.8", a, b)
        return a

    def _half(
        self,
        f: Function,
        registers: tuple[Q, Q, Q, Q],
        held: tuple[Q, ...],
        split: list[Callable[[], None]],
        first_gap: Callable[[], None],
        second_gap: Callable[[], None],
        *,
        last: bool,
    ) -> None:
        """Products of eight accumulators, in the first two of `registers`, into QACC; shifts end up in the third.

        `split` is what is left to do before the products. The gaps are between a load and its use; the second register is
        free in the first gap, the fourth in the second.
        """
        lower, upper, constant, other = registers
        constants = self._scalars["constants"]
        rewind = 16 - self.pixel_constants if last else 16
        if not self.held:
            f("esp.vld.128.ip", constant, constants, 16, note="high")
        for step in split:
            step()
        if self.scale.split > 0:
            f("esp.vmul.u16.ld.incp", constant, constants, lower, lower, held[0], note="lower = t mod 2^split")
        elif self.scale.split < 0:
            f("esp.vmul.s16.ld.incp", constant, constants, upper, lower, held[0], note="upper = t * 2^-split")
        else:
            upper = lower
        f("esp.zero.qacc")
        if "low" in self._names:
            f("esp.vmulas.s16.qacc.ld.ip", other, constants, 16, upper, constant, note="upper * high")
            first_gap()
            f("esp.vmulas.s16.qacc.ld.ip", constant, constants, rewind, lower, other, note="lower * low")
        else:
            f("esp.vmulas.s16.qacc.ld.ip", constant, constants, rewind, upper, constant, note="t * high")
            first_gap()
        second_gap()

    def _load_correction(self, f: Function, into: Q, step: int) -> None:
        if self.correction is not None:
            f("esp.vldbc.32.ip", into, self.correction, step, note="-zw * sum x of this pixel")

    def _add_correction(self, f: Function, first: Q, second: Q, correction: Q) -> None:
        if self.correction is not None:
            f("esp.vadd.s32", first, first, correction)
            f("esp.vadd.s32", second, second, correction)

    def _split(self, f: Function, first: Q, second: Q) -> list[Callable[[], None]]:
        """Eight s32 lanes in two registers -> lower factors (shifted up) in `first`, upper ones in `second`.

        The first instruction reads and writes `first` alone where there are several.
        """
        steps: list[Callable[[], None]] = []
        if self._clips:
            least, most = self._scalars["least"], self._scalars["most"]
            steps.append(lambda: f("esp.vsat.s32", first, first, least, most))
            steps.append(lambda: f("esp.vsat.s32", second, second, least, most))
        if self.scale.split > 0:
            steps.append(lambda: f("espgen.vsl.s32", first, first))
            steps.append(lambda: f("espgen.vsl.s32", second, second))
        steps.append(lambda: f("esp.vunzip.16", first, second))
        return steps

    def _finish(self, f: Function, value: Q) -> list[Callable[[], None]]:
        """The instructions from rounded products to clipped outputs of eight channels."""
        steps: list[Callable[[], None]] = []
        if self.zero_point:
            steps.append(lambda: f("esp.vsadds.s16", value, value, self._scalars["zero"]))
        if "low" in self._scalars:
            steps.append(lambda: f("esp.vsat.s16", value, value, self._scalars["low"], self._scalars["high"]))
        else:
            steps.append(lambda: f("esp.vclamp.s16", value, value, 7))
        return steps


def choose_epilogue(
    requant: arith.Requant, zero_point: int, low: int, high: int, bound: int, channels: int, size: int = 1
) -> Epilogue:
    """The cheapest epilogue that is exact for these numbers; `size` is the bytes of an output.

    Raises Refused where there is none.
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
            raise Refused("16-bit outputs take WideScale, or Shift with an even zero point or narrower bounds")
        return WideEpilogue(requant, zero_point, low, high, bound)
    scale = as_scale(requant, bound, channels)
    if scale.split > 16 or (scale.split == 16 and any(scale.low)):
        raise Refused("accumulators too wide for 16-bit factors")
    return ScaleEpilogue(scale, zero_point, low, high, bound)


def _odd_part(zero_point: int, low: int, high: int, limits: tuple[int, int]) -> int | None:
    """What to add after rounding so that the part before it is even; None where saturation would show."""
    if zero_point % 2 == 0:
        return 0
    if low > limits[0]:
        return 1
    return -1 if high < limits[1] else None
