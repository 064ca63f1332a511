"""Forms of tables for 16-bit inputs, and which of them a function gets: the cheapest within a bound over all 65,536 inputs.

With p = x + 32768:
interpolate  p = 2^bits i + f;  y = sat(rne((t[i] * (2^bits - f) + t[i + 1] * f) / 2^bits));  2^(16 - bits) + 1 entries
nearest      y = sat(t[rne(p / 2^bits)]); with bits = 0 every input has its own entry
segments     p = 2^bits k + q;  offset = segments[k] >> 4, s = segments[k] mod 16, q = 2^s i + f;
             y = rne((t[offset + i] * (2^s - f) + t[offset + i + 1] * f) / 2^s): steep segments have more entries than flat ones

Entries of `interpolate` may lie beyond the output's range, within ENTRY_LIMIT, so that interpolation towards a saturated value
is right; the other forms hold outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from espgen import arith
from espgen.ir import DType
from espgen.ops.strides import IntArray

INTERPOLATE, NEAREST, SEGMENTS = "interpolate", "nearest", "segments"

EVERY_INT16 = np.arange(-32768, 32769)
"""Every input, and the end of the last step."""

ENTRY_LIMIT = 2**22
"""Entries lie within: 256 times as much fits 32 bits."""

LARGEST_ERROR = 4
"""Steps of a 16-bit output between a table and the function rounded: with what float32 engines differ from it, below 8."""

COARSE, FINE = 8, 4
"""Bits of a step between the entries of `interpolate`, 257 entries to 4,097, and of a segment."""

_SLOWER = 2
"""Segments cost two loads more per element: they have to be this much smaller than another form."""


@dataclass(frozen=True, eq=False)
class TableForm:
    """One form as the attributes of a `table` node; `segments` (words) is None but for the form of that name."""

    mode: str
    bits: int
    entries: IntArray
    segments: IntArray | None = None

    def looked_up(self, x: IntArray, low: int, high: int) -> IntArray:
        """Outputs (int64) for int16 inputs of any shape."""
        position = x.astype(np.int64) + 32768
        if self.mode == NEAREST:
            return arith.saturate(self.entries[arith.rne_shift(position, self.bits)], low, high)
        if self.segments is None:
            return arith.saturate(_between(self.entries, position, np.int64(0), np.int64(self.bits)), low, high)
        segment = self.segments[position >> self.bits]
        inside = position & ((1 << self.bits) - 1)
        return arith.saturate(_between(self.entries, inside, segment >> 4, segment & 15), low, high)

    def bytes(self, result: DType) -> int:
        """What the form takes in flash."""
        size = 4 if self.mode == INTERPOLATE else result.size
        return size * len(self.entries) + (0 if self.segments is None else 4 * len(self.segments))


def _between(entries: IntArray, position: IntArray, offset: IntArray | np.int64, bits: IntArray | np.int64) -> IntArray:
    index, fraction = offset + (position >> bits), position & ((1 << bits) - 1)
    return arith.rne_shift(entries[index] * ((1 << bits) - fraction) + entries[index + 1] * fraction, bits)


def choose_form(exact: IntArray, result: DType, low: int, high: int, largest_error: int) -> TableForm:
    """The form for a function whose unsaturated outputs for EVERY_INT16 are `exact` (65,537).

    No output is more than `largest_error` from the saturated one. 257 interpolated entries where they do; else the form with
    the fewest bytes. There is always one: an entry for every input.
    """
    wanted = arith.saturate(exact, low, high)
    unsaturated = arith.saturate(exact, -ENTRY_LIMIT, ENTRY_LIMIT)
    for bits in range(COARSE, FINE - 1, -1):
        uniform = TableForm(INTERPOLATE, bits, unsaturated[:: 1 << bits])
        if _error(uniform, wanted, low, high) <= largest_error:
            break
    else:
        uniform = TableForm(NEAREST, 0, wanted[:-1])
    if uniform.bits == COARSE:
        return uniform
    segmented = _smallest(wanted, result, largest_error)
    return segmented if segmented.bytes(result) * _SLOWER <= uniform.bytes(result) else uniform


def _smallest(wanted: IntArray, result: DType, largest_error: int) -> TableForm:
    """Segments as long as they may be before shorter ones take fewer bytes no more."""
    best = _segmented(wanted, COARSE, largest_error)
    for bits in range(COARSE - 1, FINE - 1, -1):
        form = _segmented(wanted, bits, largest_error)
        if form.bytes(result) >= best.bytes(result):
            break
        best = form
    return best


def _error(form: TableForm, wanted: IntArray, low: int, high: int) -> int:
    return int(np.abs(form.looked_up(EVERY_INT16[:-1], low, high) - wanted[:-1]).max())


def _segmented(wanted: IntArray, bits: int, largest_error: int) -> TableForm:
    """Segments of 2^bits inputs, each with the fewest entries within the error; equal entries are stored once."""
    size = 1 << bits
    inside = wanted[:-1].reshape(-1, size)
    chosen: list[tuple[int, IntArray] | None] = [None] * len(inside)
    for shift in range(bits, -1, -1):
        open_segments = np.array([number for number, found in enumerate(chosen) if found is None], np.int64)
        for entries in _knots(wanted, inside, open_segments, shift) if open_segments.size else ():
            position = np.broadcast_to(np.arange(size), (len(open_segments), size))
            rows = np.arange(len(open_segments))[:, None] * entries.shape[1]
            made = _between(entries.reshape(-1), position, rows, np.int64(shift))
            good = np.abs(made - inside[open_segments]).max(axis=1) <= largest_error
            for number, segment in zip(open_segments[good], entries[good], strict=True):
                chosen[number] = chosen[number] or (shift, segment)
    return _packed([item for item in chosen if item is not None], bits)


def _knots(wanted: IntArray, inside: IntArray, segments: IntArray, shift: int) -> Iterator[IntArray]:
    """Entries of segments at every 2^shift inputs; the last is the next segment's first or, before a jump, this one's last."""
    held = inside[segments]
    first = held[:, :: 1 << shift]
    following = wanted[(segments + 1) * inside.shape[1]]
    for last in (following, held[:, -1]):
        yield np.concatenate([first, last[:, None]], axis=1)


def _packed(chosen: list[tuple[int, IntArray]], bits: int) -> TableForm:
    places: dict[bytes, int] = {}
    entries: list[IntArray] = []
    total = 0
    segments = []
    for shift, segment in chosen:
        key = segment.tobytes()
        if key not in places:
            places[key] = total
            entries.append(segment)
            total += len(segment)
        segments.append(places[key] << 4 | shift)
    return TableForm(SEGMENTS, bits, np.concatenate(entries), np.array(segments, np.int64))
