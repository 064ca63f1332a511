"""The weight zero point's term -zw * sum x: one pass per output row over its input, one int32 per pixel on the stack."""

from __future__ import annotations

import numpy as np

from espgen.codegen.pie.asm import Function
from espgen.codegen.pie.packing import LANES, Window
from espgen.codegen.pie.registers import Q, X
from espgen.codegen.pie.row_pointers import RowPointers

_INPUTS = (Q(0), Q(1))
_FIRST_MASK = 2
MOST_MASKS = 6


def mask_shapes(windows: tuple[Window, ...]) -> tuple[tuple[int, ...], ...]:
    """The distinct sets of lanes the windows use."""
    return tuple(dict.fromkeys(tuple(lane for lane, _, _ in window.lanes) for window in windows))


def header(windows: tuple[Window, ...], weight_zero: int) -> bytes:
    """zw in the used lanes, one 16-byte vector per lane set; nothing for zw = 0. A multiple of 16 bytes."""
    if not weight_zero:
        return b""
    vectors = np.zeros((len(mask_shapes(windows)), LANES), np.int8)
    for vector, lanes in zip(vectors, mask_shapes(windows), strict=True):
        vector[list(lanes)] = weight_zero
    return vectors.tobytes()


def emit_sums(
    f: Function, pointers: RowPointers, params: X, sums: X, value: X, counter: X, width: int
) -> None:
    """Write -zw * sum x of `width` pixels from `sums` on. `params` points to the header and is spent."""
    windows = pointers.windows
    shapes = mask_shapes(windows)
    for number in range(len(shapes)):
        f("esp.vld.128.ip", Q(_FIRST_MASK + number), params, 16, note="zw in the lanes that count")
    with f.loop(width, counter):
        f("esp.zero.xacc")
        pointers.load(f, 0, _INPUTS[0])
        for number, window in enumerate(windows):
            if number + 1 < len(windows):
                pointers.load(f, number + 1, _INPUTS[(number + 1) % 2])
            mask = shapes.index(tuple(lane for lane, _, _ in window.lanes))
            f("esp.vmulas.s8.xacc", _INPUTS[number % 2], Q(_FIRST_MASK + mask))
        pointers.next_pixel(f)
        f("esp.movx.r.xacc.l", value)
        f("neg", value, value)
        f("sw", value, 0, sums)
        f("addi", sums, sums, 4)
