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
from espgen.ops.float_ties import FloatTies, round_means

pytest.importorskip("ziglang")


def mean_spec(rows: int, pixels: int, channels: int, ratio: float = 1.0, **changes) -> MeanSpec:
    padded = -(-channels // 16) * 16
    exact = arith.choose_ratio(ratio, rows * pixels)
    plain = MeanSpec(rows, pixels, channels, padded, padded, exact, 3, -5, -128, 127, contiguous=True)
    return replace(plain, **changes)


SCALES = FloatTies(float(np.float32(0.0235)), float(np.float32(0.0235)))
"""Scales of means whose ties go the way of float32."""

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
    "ties, 4x4": mean_spec(4, 4, 256, float_ties=SCALES),
    "ties, 8x8": mean_spec(8, 8, 256, point=-128, zero_point=-128, float_ties=SCALES),
    "ties, seven times two": mean_spec(2, 7, 256, float_ties=SCALES),
    "ties, rows of two apart": mean_spec(9, 2, 256, contiguous=False, float_ties=SCALES),
    "ties, rows of seven apart": mean_spec(6, 7, 256, contiguous=False, float_ties=SCALES),
    "ties, rows of five apart": mean_spec(2, 5, 256, contiguous=False, float_ties=SCALES),
    "ties, one column": mean_spec(6, 1, 256, contiguous=False, float_ties=SCALES),
    "ties, two elements": mean_spec(1, 2, 48, float_ties=SCALES),
    "ties, halved": mean_spec(3, 3, 48, 0.5, float_ties=FloatTies(SCALES.input_scale, 2 * SCALES.input_scale)),
    "ties, doubled": mean_spec(4, 4, 256, 2.0, point=127, float_ties=FloatTies(SCALES.input_scale, SCALES.input_scale / 2)),
    "ties, three quarters": mean_spec(2, 2, 48, 0.75, float_ties=FloatTies(SCALES.input_scale, SCALES.input_scale / 0.75)),
    "ties, odd channels": mean_spec(2, 2, 21, out_pitch=21, in_pitch=21, float_ties=SCALES),
    "ties, gap in the last block": mean_spec(2, 2, 40, low=-9, high=11, float_ties=SCALES),
    "ties, pixels far apart": mean_spec(2, 2, 16, in_pitch=4096, float_ties=SCALES),
    "ties, int16": mean_spec(
        3, 2, 20, in_pitch=48, out_pitch=48, point=-7000, low=-32768, high=32767, element_bytes=2, float_ties=SCALES
    ),
    "ties, int16, rows apart": mean_spec(
        2, 3, 40, 0.25, in_pitch=80, out_pitch=80, low=-32768, high=32767, element_bytes=2, contiguous=False,
        float_ties=FloatTies(SCALES.input_scale, 4 * SCALES.input_scale),
    ),
    "int16, up": mean_spec(7, 7, 5, 2.3, in_pitch=10, out_pitch=10, low=-32768, high=32767, element_bytes=2),
}


def reference(spec: MeanSpec, centred: np.ndarray) -> np.ndarray:
    """Outputs for elements [rows, pixels, channels] less the zero point."""
    if spec.float_ties is None:
        return arith.apply_ratio(centred.sum(axis=(0, 1)), spec.ratio, spec.zero_point, spec.low, spec.high)
    rounded = round_means(centred.transpose(2, 0, 1).reshape(spec.channels, -1), spec.ratio, spec.float_ties)
    return arith.saturate(rounded + spec.zero_point, spec.low, spec.high)


@pytest.mark.parametrize("extreme", [False, True])
def test_means(extreme, tmp_path):
    rng = np.random.default_rng(41)
    kernels, calls, expected, images = {}, [], [], []
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
        images.append(image - spec.point)
        expected.append(reference(spec, images[-1]))
    texts = {kernel.symbol: kernel.assembly for kernel in kernels.values()}
    if not extreme:
        assert sum(
            np.count_nonzero(wanted != reference(replace(spec, float_ties=None), image))
            for spec, wanted, image in zip(SPECS.values(), expected, images, strict=True)
        ) > 20, "hardly a tie that float32 does not take to even"
    outcomes = run_calls(list(texts.values()), calls, tmp_path)
    for (name, spec), outcome, wanted in zip(SPECS.items(), outcomes, expected, strict=True):
        got = outcome.output[: spec.channels * spec.element_bytes].view(f"<i{spec.element_bytes}")
        np.testing.assert_array_equal(got, wanted, name)
        assert outcome.margins_intact, name
        assert (outcome.output[spec.out_pitch :] == FILL).all(), name
        predicted = kernels[name].cycles(1)
        if spec.in_pitch % 16 == 0 and spec.float_ties is None:
            assert abs(outcome.cycles - predicted) <= 0.03 * predicted + 4, (name, outcome.cycles, predicted)


def test_refusals():
    assert supports(mean_spec(200, 200, 16)) == "a mean of 40000 elements"
    assert supports(mean_spec(2, 2, 16, 300.0)) == "no exact 32-bit division by 4 after a product with 300"
