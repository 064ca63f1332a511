"""PIE maximum pools in the simulator against numpy: bytes, bounds of memory, predicted cycles."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from pie_harness import FILL, Call, run_calls

from espgen.codegen.pie.max_pool import MaxPoolSpec, max_pool_kernel, supports
from espgen.codegen.pie.max_pool_wide import supports as supports_wide
from espgen.codegen.pie.max_pool_wide import wide_max_pool_kernel
from espgen.codegen.pie.spec import PieKernel

pytest.importorskip("ziglang")


def pool_spec(
    width: int, channels: int, kernel: tuple[int, int], stride: int = 1, pads: tuple[int, int] = (0, 0), **changes
) -> MaxPoolSpec:
    padded = -(-channels // 16) * 16
    out_width = (width + sum(pads) - kernel[1]) // stride + 1
    plain = MaxPoolSpec(
        width, out_width, channels, *kernel, stride_h=stride, stride_w=stride, dilation_h=1, pad_left=pads[0],
        in_pitch=padded, out_pitch=padded,
    )  # fmt: skip
    return replace(plain, **changes)


SPECS = {
    "2x2": pool_spec(12, 24, (2, 2), 2),
    "2x2 stride 1": pool_spec(12, 16, (2, 2)),
    "3x3 stride 2 padded": pool_spec(23, 40, (3, 3), 2, (1, 1)),
    "3x3 stride 1 padded": pool_spec(33, 16, (3, 3), 1, (1, 1)),
    "3x3 asymmetric": pool_spec(12, 16, (3, 3), 2, (0, 1)),
    "5x5 padded": pool_spec(20, 16, (5, 5), 1, (2, 2)),
    "3x3 narrow image": pool_spec(2, 16, (3, 3), 1, (1, 1)),
    "1x3": pool_spec(9, 8, (1, 3), 2, (1, 1)),
    "3x1": pool_spec(9, 8, (3, 1)),
    "9x1": pool_spec(5, 16, (9, 1)),
    "stride beyond window": pool_spec(30, 16, (2, 2), 3),
    "rows dilated": pool_spec(9, 16, (3, 3), dilation_h=2),
    "dense": pool_spec(9, 21, (3, 3), 2, (1, 1), in_pitch=21, out_pitch=21),
    "one channel": pool_spec(9, 1, (2, 2), 2, in_pitch=1, out_pitch=1),
    "wide pixels": pool_spec(20, 16, (3, 3), 2, (1, 1), in_pitch=2064, out_pitch=2064),
    "bounded": pool_spec(17, 16, (2, 2), 1, low=-5, high=60),
    "int16": pool_spec(
        17, 12, (3, 3), 2, (1, 1), in_pitch=32, out_pitch=32, low=-32768, high=32767, element_bytes=2
    ),
    "int16 dense": pool_spec(9, 5, (2, 2), 2, in_pitch=10, out_pitch=10, low=-900, high=32767, element_bytes=2),
}


LARGE = {
    "9x9 padded": pool_spec(16, 24, (9, 9), 1, (4, 4)),
    "13x13 padded, odd width": pool_spec(13, 16, (13, 13), 1, (6, 6)),
    "6x6 stride 2": pool_spec(20, 16, (6, 6), 2),
    "whole image": pool_spec(7, 40, (7, 7)),
    "1x2": pool_spec(9, 16, (1, 2)),
    "1x1": pool_spec(5, 16, (1, 1)),
    "int16, bounded": pool_spec(
        17, 12, (3, 7), 2, (1, 1), in_pitch=32, out_pitch=32, low=-900, high=32767, element_bytes=2
    ),
    "dense, large": pool_spec(9, 21, (6, 6), 2, (1, 1), in_pitch=21, out_pitch=21),
}


@pytest.mark.parametrize("hardware_loops", [True, False])
def test_pools(hardware_loops, tmp_path):
    check({name: (spec, max_pool_kernel(spec, hardware_loops=hardware_loops)) for name, spec in SPECS.items()}, tmp_path)


@pytest.mark.parametrize("hardware_loops", [True, False])
def test_large_windows(hardware_loops, tmp_path):
    specs = LARGE | SPECS
    check({name: (spec, wide_max_pool_kernel(spec, hardware_loops=hardware_loops)) for name, spec in specs.items()}, tmp_path)


def check(pools: dict[str, tuple[MaxPoolSpec, PieKernel]], folder: Path) -> None:
    rng = np.random.default_rng(51)
    rows = 2
    calls, expected = [], []
    for spec, kernel in pools.values():
        height = (rows - 1) * spec.stride_h + (spec.kernel_h - 1) * spec.dilation_h + 1
        half, dtype = 1 << (8 * spec.element_bytes - 1), f"<i{spec.element_bytes}"
        image = rng.integers(-half, half, (height, spec.width, spec.channels)).astype(dtype)
        pitch = -(-spec.width * spec.in_pitch // 16) * 16
        memory = rng.integers(0, 256, height * pitch).astype(np.uint8)
        for row in range(height):
            for pixel in range(spec.width):
                at = row * pitch + pixel * spec.in_pitch
                memory[at : at + spec.channels * spec.element_bytes] = image[row, pixel].view(np.uint8)
        out_row = -(-spec.out_width * spec.out_pitch // 16) * 16
        places = [(0, row * pitch) for row in range(height)]
        out_places = [row * out_row for row in range(rows)]
        calls.append(Call(kernel.symbol, b"\0" * 16, rows * out_row, out_places, [memory.tobytes()], places, rows=rows))
        wanted = np.empty((rows, spec.out_width, spec.channels), dtype)
        for row in range(rows):
            taps = image[row * spec.stride_h :: spec.dilation_h][: spec.kernel_h]
            for pixel in range(spec.out_width):
                columns = spec.columns(pixel)
                wanted[row, pixel] = taps[:, columns.start : columns.stop].max(axis=(0, 1))
        expected.append(np.clip(wanted, spec.low, spec.high))
    texts = {kernel.symbol: kernel.assembly for _, kernel in pools.values()}
    outcomes = run_calls(list(texts.values()), calls, folder)
    for (name, (spec, kernel)), outcome, wanted in zip(pools.items(), outcomes, expected, strict=True):
        written = outcome.output.reshape(rows, -1)
        used = spec.out_width * spec.out_pitch
        pixels = written[:, :used].reshape(rows, spec.out_width, spec.out_pitch)
        got = np.ascontiguousarray(pixels[..., : spec.channels * spec.element_bytes]).view(wanted.dtype)
        np.testing.assert_array_equal(got, wanted, name)
        assert outcome.margins_intact, name
        assert (written[:, used:] == FILL).all(), name
        predicted = kernel.cycles(rows)
        if spec.in_pitch % 16 == 0:
            assert abs(outcome.cycles - predicted) <= 0.03 * predicted + 4, (name, outcome.cycles, predicted)


def test_refusals():
    assert supports(pool_spec(20, 16, (2, 6))) == "a window of 2x6"
    assert supports(pool_spec(2, 16, (1, 1), 1, (1, 1))) == "a window outside of the image"
    assert supports_wide(pool_spec(100, 16, (9, 9))) == "rows of 100 pixels under a large window"
