"""Unrolled tables in the simulator against numpy: bytes, bounds of memory, predicted cycles."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from pie_harness import FILL, Call, run_calls

from espgen.codegen.pie.table import TableSpec, table_kernel

pytest.importorskip("ziglang")

ROWS = 3


def table_spec(pixels: int, channels: int, in_pitch: int, out_pitch: int, element_bytes: int = 1) -> TableSpec:
    half = 1 << (8 * element_bytes - 1)
    entries = np.random.default_rng(pixels + channels).integers(-half, half, 256).astype(f"<i{element_bytes}")
    return TableSpec(entries, pixels, channels, in_pitch, out_pitch)


SPECS = {
    "one": table_spec(1, 1, 1, 1),
    "dense": table_spec(5, 13, 13, 13),
    "gaps": table_spec(5, 13, 16, 16),
    "eight": table_spec(3, 8, 16, 32),
    "many channels": table_spec(2, 1000, 1008, 4096),
    "wide pixels": table_spec(3, 3, 2100, 3),
    "to int16": table_spec(5, 13, 13, 26, 2),
    "to int16, gaps": table_spec(5, 21, 32, 48, 2),
}


@pytest.mark.parametrize("hardware_loops", [True, False])
def test_tables(hardware_loops, tmp_path):
    rng = np.random.default_rng(61)
    kernels, calls, expected = {}, [], []
    for name, spec in SPECS.items():
        kernel = kernels[name] = table_kernel(spec, hardware_loops=hardware_loops)
        row_bytes, out_row = spec.pixels * spec.in_pitch, -(-spec.pixels * spec.out_pitch // 16) * 16
        memory = rng.integers(0, 256, ROWS * row_bytes).astype(np.uint8)
        pixels = memory.reshape(ROWS, spec.pixels, spec.in_pitch)[..., : spec.channels].view(np.int8)
        expected.append(spec.entries[pixels.astype(np.int64) + 128])
        places = [(0, row * row_bytes) for row in range(ROWS)]
        out_rows = [row * out_row for row in range(ROWS)]
        calls.append(
            Call(kernel.symbol, kernel.params, ROWS * out_row, out_rows, [memory.tobytes()], places, rows=ROWS, overread=0)
        )
    texts = {kernel.symbol: kernel.assembly for kernel in kernels.values()}
    outcomes = run_calls(list(texts.values()), calls, tmp_path)
    for (name, spec), outcome, wanted in zip(SPECS.items(), outcomes, expected, strict=True):
        rows = outcome.output.reshape(ROWS, -1)
        used, size = spec.pixels * spec.out_pitch, spec.channels * spec.entries.itemsize
        pixels = rows[:, :used].reshape(ROWS, spec.pixels, spec.out_pitch)
        np.testing.assert_array_equal(np.ascontiguousarray(pixels[..., :size]).view(wanted.dtype), wanted, name)
        assert outcome.margins_intact, name
        assert (pixels[..., size:] == FILL).all(), name
        assert (rows[:, used:] == FILL).all(), name
        predicted = kernels[name].cycles(ROWS)
        assert abs(outcome.cycles - predicted) <= 0.03 * predicted + 4, (name, outcome.cycles, predicted)
