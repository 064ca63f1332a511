"""PIE movements of pixels in the simulator against numpy: bytes, bounds of memory."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from pie_harness import FILL, Call, run_calls

from espgen.codegen.pie.take_pixels import TakeSpec, supports, take_kernel

pytest.importorskip("ziglang")

ROWS = 3


def doubled(pixels: int, pitch: int) -> tuple[int, ...]:
    return tuple(pixel // 2 * pitch for pixel in range(2 * pixels))


SPECS = {
    "nearest": TakeSpec(doubled(7, 32), 32, 32),
    "nearest, gaps": TakeSpec(doubled(5, 32), 24, 32),
    "nearest, dense": TakeSpec(doubled(5, 24), 24, 24, aligned=False),
    "nearest, three bytes": TakeSpec(doubled(5, 3), 3, 3, aligned=False),
    "padded": TakeSpec((-1, -1, *range(0, 160, 16), -1), 16, 16, b"\x85"),
    "padded words": TakeSpec((-1, 0, 32, -1), 20, 32, b"\x34\x12"),
    "filled": TakeSpec((-1,) * 5, 40, 48, b"\x07"),
    "reflected": TakeSpec((64, 32, 0, 32, 64, 32, 0), 32, 32),
    "part of a wider pixel": TakeSpec((0, 16, 32), 16, 64, gaps=False),
    "part of a wider pixel, eight": TakeSpec((0, 16, 32), 8, 24, gaps=False, aligned=False),
    "part of a wider pixel, odd": TakeSpec((0, 16, 32), 21, 64, gaps=False),
    "far apart": TakeSpec((0, 4096, 16, 8192), 16, 4096),
}


@pytest.mark.parametrize("shift", [0, 5])
def test_movements(shift, tmp_path):
    rng = np.random.default_rng(71)
    kernels, calls, expected = {}, [], []
    for name, spec in SPECS.items():
        if shift:
            spec = TakeSpec(spec.offsets, spec.size, spec.out_pitch, spec.fill, spec.gaps, aligned=False)
        kernel = kernels[name] = take_kernel(spec)
        row_bytes = -(-(shift + max((0, *spec.offsets)) + spec.size) // 16) * 16
        out_row = -(-(shift + len(spec.offsets) * spec.out_pitch) // 16) * 16
        memory = rng.integers(0, 256, ROWS * row_bytes).astype(np.uint8)
        places = [(0, row * row_bytes + shift) for row in range(ROWS)]
        out_rows = [row * out_row + shift for row in range(ROWS)]
        calls.append(Call(kernel.symbol, kernel.params, ROWS * out_row, out_rows, [memory.tobytes()], places, rows=ROWS))
        fill = np.frombuffer(spec.fill * 64, np.uint8)[: spec.size]
        wanted = np.empty((ROWS, len(spec.offsets), spec.size), np.uint8)
        for row in range(ROWS):
            for pixel, offset in enumerate(spec.offsets):
                at = row * row_bytes + shift + offset
                wanted[row, pixel] = fill if offset < 0 else memory[at : at + spec.size]
        expected.append(wanted)
    texts = {kernel.symbol: kernel.assembly for kernel in kernels.values()}
    outcomes = run_calls(list(texts.values()), calls, tmp_path)
    for (name, spec), outcome, wanted in zip(SPECS.items(), outcomes, expected, strict=True):
        rows = outcome.output.reshape(ROWS, -1)
        used = len(spec.offsets) * spec.out_pitch
        pixels = rows[:, shift : shift + used].reshape(ROWS, len(spec.offsets), spec.out_pitch)
        np.testing.assert_array_equal(pixels[..., : spec.size], wanted, name)
        assert outcome.margins_intact, name
        kept = spec.size if not spec.gaps else -(-spec.size // 16) * 16
        assert (pixels[..., kept:] == FILL).all(), name
        assert (rows[:, shift + used :] == FILL).all(), name


def test_refusal():
    assert supports(TakeSpec((0,) * 300, 16, 16)) == "300 pixels per row"
