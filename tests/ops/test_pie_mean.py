"""PIE means in the simulator against exact division: bytes, bounds of memory, predicted cycles."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from pie_harness import FILL, Call, run_calls

from espgen import arith
from espgen.codegen.pie.mean import MeanSpec, mean_kernel, supports

pytest.importorskip("ziglang")


def mean_spec(rows: int, pixels: int, channels: int, ratio: float = 1.0, **changes) -> MeanSpec:
    padded = -(-channels // 16) * 16
    exact = arith.choose_ratio(ratio, rows * pixels)
    plain = MeanSpec(rows, pixels, channels, padded, padded, exact, 3, -5, -128, 127, contiguous=True)
    return replace(plain, **changes)


SPECS = {
    "8x8x64": mean_spec(8, 8, 64, 1.37),
    "8x8x16, no rescale": mean_spec(8, 8, 16),
    "7x7x20": mean_spec(7, 7, 20),
    "7x7x1280": mean_spec(7, 7, 1280, 0.37, point=0, zero_point=0),
    "25x5x64": mean_spec(25, 5, 64, 1.0, point=-128, zero_point=-128),
    "rows apart": mean_spec(7, 7, 20, contiguous=False),
    "rows apart, one pixel": mean_spec(9, 1, 16, contiguous=False),
    "rows apart, two pixels": mean_spec(9, 2, 16, contiguous=False),
    "dense": mean_spec(5, 3, 20, in_pitch=20, out_pitch=20),
    "output dense": mean_spec(5, 3, 40, out_pitch=40),
    "odd channels": mean_spec(4, 4, 21, out_pitch=21),
    "one channel": mean_spec(4, 4, 1, out_pitch=1),
    "bounded": mean_spec(4, 4, 16, 2.0, low=-7, high=40),
    "points at the ends": mean_spec(4, 4, 16, 1.5, point=127, zero_point=-128),
    "large": mean_spec(40, 60, 16, 0.7),
    "int16": mean_spec(7, 7, 20, 0.77, in_pitch=48, out_pitch=48, point=-700, low=-32768, high=32767, element_bytes=2),
    "int16, no rescale": mean_spec(8, 8, 16, in_pitch=32, out_pitch=32, point=0, low=-900, high=32767, element_bytes=2),
    "int16, up": mean_spec(7, 7, 5, 2.3, in_pitch=10, out_pitch=10, low=-32768, high=32767, element_bytes=2),
}


@pytest.mark.parametrize("extreme", [False, True])
def test_means(extreme, tmp_path):
    rng = np.random.default_rng(41)
    kernels, calls, expected = {}, [], []
    for number, (name, spec) in enumerate(SPECS.items()):
        kernel = kernels[name] = mean_kernel(spec, hardware_loops=number % 3 != 2)
        image = rng.integers(-spec.half, spec.half, (spec.rows, spec.pixels, spec.channels))
        if extreme:
            image = np.broadcast_to(rng.choice([-spec.half, spec.half - 1], spec.channels), image.shape)
        gap = 0 if spec.contiguous else 32
        row_bytes = spec.pixels * spec.in_pitch + gap
        memory = rng.integers(0, 256, spec.rows * row_bytes).astype(np.uint8)
        for row in range(spec.rows):
            for pixel in range(spec.pixels):
                at = row * row_bytes + pixel * spec.in_pitch
                elements = image[row, pixel].astype(f"<i{spec.element_bytes}").view(np.uint8)
                memory[at : at + len(elements)] = elements
        content = memory[: len(memory) - gap].tobytes()
        places = [(0, row * row_bytes) for row in range(spec.rows)]
        calls.append(Call(kernel.symbol, kernel.params, (spec.out_pitch + 15) // 16 * 16, [0], [content], places))
        total = (image - spec.point).sum(axis=(0, 1))
        expected.append(arith.apply_ratio(total, spec.ratio, spec.zero_point, spec.low, spec.high))
    texts = {kernel.symbol: kernel.assembly for kernel in kernels.values()}
    outcomes = run_calls(list(texts.values()), calls, tmp_path)
    for (name, spec), outcome, wanted in zip(SPECS.items(), outcomes, expected, strict=True):
        got = outcome.output[: spec.channels * spec.element_bytes].view(f"<i{spec.element_bytes}")
        np.testing.assert_array_equal(got, wanted, name)
        assert outcome.margins_intact, name
        assert (outcome.output[spec.out_pitch :] == FILL).all(), name
        predicted = kernels[name].cycles(1)
        if spec.in_pitch % 16 == 0:
            assert abs(outcome.cycles - predicted) <= 0.03 * predicted + 4, (name, outcome.cycles, predicted)


def test_refusals():
    assert supports(mean_spec(200, 200, 16)) == "a mean of 40000 elements"
    assert supports(mean_spec(2, 2, 16, 300.0)) == "no exact 32-bit division by 4 after a product with 300"
