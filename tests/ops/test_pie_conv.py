"""PIE convolutions in the simulator against im2col in numpy: bytes, bounds of memory, predicted cycles."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from pie_conv_cases import ConvCase, random_case
from pie_harness import run_calls

pytest.importorskip("ziglang")


def run_cases(cases: dict[str, ConvCase], folder: Path) -> None:
    kernels = {name: case.kernel() for name, case in cases.items()}
    texts = {kernel.symbol: kernel.assembly for kernel in kernels.values()}
    outcomes = run_calls(list(texts.values()), [case.call(kernels[name]) for name, case in cases.items()], folder)
    failures = []
    for (name, case), outcome in zip(cases.items(), outcomes, strict=True):
        try:
            case.check(outcome, kernels[name])
        except AssertionError as failure:
            failures.append(f"{name}: {str(failure)[:600]}")
    assert not failures, "\n".join(failures)


SHAPES = {
    "one pixel, one channel": dict(channels=1, outputs=1, size=(1, 1)),
    "two channels": dict(channels=2, outputs=5),
    "three channels": dict(channels=3, outputs=16),
    "five channels, all resident or nearly": dict(channels=5, outputs=8),
    "16 channels": dict(channels=16, outputs=32, size=(3, 5)),
    "17 channels": dict(channels=17, outputs=17, size=(3, 5)),
    "24 channels in 32 bytes": dict(channels=24, outputs=24, size=(2, 4)),
    "24 channels in 24 bytes": dict(channels=24, outputs=24, size=(2, 4), in_pitch=24, out_pitch=24),
    "32 channels": dict(channels=32, outputs=16, size=(2, 4)),
    "48 channels": dict(channels=48, outputs=48, size=(2, 4)),
    "64 channels": dict(channels=64, outputs=64, size=(2, 4)),
    "130 channels": dict(channels=130, outputs=20, size=(2, 2)),
    "960 channels": dict(channels=960, outputs=32, size=(1, 2)),
    "1280 channels, looped": dict(channels=1280, outputs=18, size=(2, 2)),
    "1285 channels, looped, dense": dict(channels=1285, outputs=10, size=(1, 1)),
    "stride 2": dict(channels=16, outputs=16, size=(3, 3), stride=(2, 2)),
    "wide pitch": dict(channels=16, outputs=16, size=(2, 3), in_pitch=4096, out_pitch=64),
    "outputs in a tight pitch, bytes": dict(channels=8, outputs=10, size=(2, 3), out_pitch=10),
    "outputs in a tight pitch, 21": dict(channels=8, outputs=21, size=(2, 3), out_pitch=21),
    "3x3": dict(kernel=(3, 3), channels=16, outputs=16, size=(3, 4)),
    "3x3 stride 2": dict(kernel=(3, 3), channels=32, outputs=16, size=(3, 4), stride=(2, 2)),
    "3x3 stem": dict(kernel=(3, 3), channels=3, outputs=32, size=(3, 5), stride=(2, 2), in_pitch=3),
    "3x3 grey": dict(kernel=(3, 3), channels=1, outputs=8, size=(3, 5), in_pitch=1, out_pitch=8),
    "3x3 four channels": dict(kernel=(3, 3), channels=4, outputs=16, size=(2, 5), in_pitch=4),
    "3x3 stem dilated": dict(kernel=(3, 3), channels=3, outputs=16, size=(2, 5), dilation=(2, 3), in_pitch=3),
    "10x4 stride 2": dict(kernel=(10, 4), channels=1, outputs=64, size=(2, 5), stride=(2, 2), in_pitch=1),
    "13x1": dict(kernel=(13, 1), channels=16, outputs=16, size=(2, 3)),
    "1x7": dict(kernel=(1, 7), channels=8, outputs=16, size=(1, 9), in_pitch=8),
    "5x5 dilated": dict(kernel=(5, 5), channels=8, outputs=16, size=(2, 3), dilation=(2, 2)),
    "3x3 64 channels": dict(kernel=(3, 3), channels=64, outputs=16, size=(2, 2)),
    "3x3 160 channels, looped": dict(kernel=(3, 3), channels=160, outputs=16, size=(2, 2)),
    "3x3 140 channels, looped": dict(kernel=(3, 3), channels=140, outputs=16, size=(2, 2)),
    "groups of 16": dict(kernel=(3, 3), channels=32, outputs=32, size=(2, 3), groups=2),
    "groups of 8": dict(kernel=(3, 3), channels=32, outputs=32, size=(2, 3), groups=4),
    "groups of 4 to 12": dict(kernel=(1, 3), channels=16, outputs=48, size=(2, 3), groups=4),
    "groups of 5 to 7": dict(kernel=(1, 1), channels=20, outputs=28, size=(2, 3), groups=4),
    "depthwise as groups": dict(kernel=(3, 3), channels=20, outputs=20, size=(2, 3), groups=20),
}


@pytest.mark.parametrize("requant", ["shift", "shifts", "scale"])
def test_shapes(requant, tmp_path):
    rng = np.random.default_rng(7)
    run_cases({name: random_case(rng, requant=requant, **shape) for name, shape in SHAPES.items()}, tmp_path)


def test_zero_points_and_bounds(tmp_path):
    rng = np.random.default_rng(8)
    cases = {}
    for requant in ("shift", "shifts", "scale"):
        for zero_point in (-128, -3, 0, 4, 5, 127):
            for low, high in ((-128, 127), (zero_point, 127), (-128, 126), (-20, 60)):
                name = f"{requant} z={zero_point} [{low}, {high}]"
                cases[name] = random_case(
                    rng, channels=19, requant=requant, zero_point=zero_point, low=min(low, high), high=high, size=(1, 3)
                )
    run_cases(cases, tmp_path)


def test_weight_zero_points(tmp_path):
    rng = np.random.default_rng(9)
    shapes = ("24 channels in 24 bytes", "3x3 stem", "10x4 stride 2", "64 channels", "1280 channels, looped", "3x3 grey")
    cases = {}
    for zero in (-128, -1, 1, 77, 127):
        for requant in ("shift", "scale"):
            for name in shapes:
                case = random_case(rng, requant=requant, weight_zero=zero, zero_point=-7, **SHAPES[name])
                cases[f"{name} {requant} zw={zero}"] = case
    run_cases(cases, tmp_path)


def test_extreme_weights_and_inputs(tmp_path):
    rng = np.random.default_rng(10)
    cases = {}
    for requant in ("shift", "shifts", "scale"):
        for name in ("64 channels", "3x3 64 channels", "3x3 stem", "960 channels", "1280 channels, looped"):
            cases[f"{name} {requant}"] = random_case(rng, requant=requant, extreme=True, **SHAPES[name])
    run_cases(cases, tmp_path)


def test_row_pointers_and_branch_loops(tmp_path):
    rng = np.random.default_rng(11)
    cases = {}
    for name in ("16 channels", "3x3", "10x4 stride 2", "1280 channels, looped", "3x3 160 channels, looped"):
        cases[f"{name}, rows reversed"] = random_case(rng, flipped_rows=True, **SHAPES[name])
        cases[f"{name}, no hardware loops"] = random_case(rng, hardware_loops=False, **SHAPES[name])
    run_cases(cases, tmp_path)
