"""PIE depthwise convolutions in the simulator against im2col in numpy: bytes, bounds of memory, predicted cycles."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from pie_conv_cases import ConvCase, random_case
from pie_harness import run_calls

from espgen.codegen.pie.depthwise import depthwise_kernel, supports
from espgen.codegen.pie.spec import PieKernel
from espgen.target import core_costs

pytest.importorskip("ziglang")


class DepthwiseCase(ConvCase):
    def kernel(self) -> PieKernel:
        return depthwise_kernel(self.spec, hardware_loops=self.hardware_loops)


def case(rng: np.random.Generator, channels: int, **shape) -> DepthwiseCase:
    plain = random_case(rng, channels=channels, outputs=channels, groups=channels, **shape)
    return DepthwiseCase(plain.spec, plain.image, plain.hardware_loops, plain.flipped_rows)


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


K3 = {"kernel": (3, 3)}
SHAPES = {
    "one pixel, one channel": dict(channels=1, size=(1, 1), **K3),
    "8 channels": dict(channels=8, size=(2, 3), **K3),
    "8 channels in 8 bytes": dict(channels=8, size=(2, 3), in_pitch=8, out_pitch=8, **K3),
    "8 channels in 8 bytes, pairs": dict(channels=8, size=(3, 14), in_pitch=8, out_pitch=8, **K3),
    "4 channels in 4 bytes, fours": dict(channels=4, size=(2, 8), in_pitch=4, out_pitch=4, dilation=(1, 2), **K3),
    "1 channel, sixteens": dict(channels=1, size=(2, 32), in_pitch=1, out_pitch=1, kernel=(3, 5)),
    "24 channels in 32 bytes": dict(channels=24, size=(3, 9), **K3),
    "24 channels in 24 bytes": dict(channels=24, size=(3, 9), in_pitch=24, out_pitch=24, **K3),
    "21 channels in 21 bytes": dict(channels=21, size=(2, 3), in_pitch=21, out_pitch=21, **K3),
    "64 channels, 5 wide": dict(channels=64, size=(4, 5), **K3),
    "192 channels": dict(channels=192, size=(2, 14), **K3),
    "960 channels": dict(channels=960, size=(1, 7), **K3),
    "stride 2": dict(channels=32, size=(3, 8), stride=(2, 2), **K3),
    "stride 1 by 2": dict(channels=16, size=(3, 7), stride=(1, 2), **K3),
    "stride 3": dict(channels=16, size=(2, 5), stride=(3, 3), **K3),
    "dilated": dict(channels=16, size=(3, 6), dilation=(2, 3), **K3),
    "wide pixels": dict(channels=16, size=(2, 6), in_pitch=2064, out_pitch=4096, **K3),
    "5x5": dict(channels=40, size=(2, 7), kernel=(5, 5)),
    "5x5 stride 2": dict(channels=16, size=(2, 7), kernel=(5, 5), stride=(2, 2)),
    "7x7": dict(channels=16, size=(2, 3), kernel=(7, 7)),
    "1x3": dict(channels=32, size=(1, 17), kernel=(1, 3)),
    "3x1": dict(channels=32, size=(3, 4), kernel=(3, 1)),
    "1x1": dict(channels=32, size=(3, 4), kernel=(1, 1)),
    "2x2": dict(channels=20, size=(3, 4), kernel=(2, 2), stride=(2, 2)),
    "1x31": dict(channels=16, size=(1, 11), kernel=(1, 31)),
    "7x1": dict(channels=16, size=(3, 3), kernel=(7, 1)),
}


@pytest.mark.parametrize("requant", ["shift", "shifts", "scale"])
def test_shapes(requant, tmp_path):
    rng = np.random.default_rng(21)
    run_cases({name: case(rng, requant=requant, **shape) for name, shape in SHAPES.items()}, tmp_path)


WORDS = ("one pixel, one channel", "24 channels in 32 bytes", "64 channels, 5 wide", "stride 2", "dilated", "5x5", "1x31")


@pytest.mark.parametrize("requant", ["shift", "shifts", "scale"])
@pytest.mark.parametrize("weight_bytes", [1, 2])
def test_int16(requant, weight_bytes, tmp_path):
    rng = np.random.default_rng(28)
    options = {"requant": requant, "element_bytes": 2, "weight_bytes": weight_bytes}
    cases = {name: case(rng, **options, **SHAPES[name]) for name in WORDS}
    cases["pairs"] = case(rng, 4, **options, size=(2, 6), in_pitch=4, out_pitch=4, **K3)
    cases["extreme"] = case(rng, **options, extreme=True, **SHAPES["stride 2"])
    cases["zero points"] = case(rng, **options, zero_point=300, weight_zero=-3, **SHAPES["stride 2"])
    cases["bounded"] = case(rng, **options, zero_point=7, low=-1000, high=2000, **SHAPES["5x5"])
    cases["no hardware loops"] = case(rng, **options, hardware_loops=False, **SHAPES["5x5"])
    run_cases(cases, tmp_path)


def test_every_width(tmp_path):
    rng = np.random.default_rng(22)
    cases = {}
    for width in range(1, 18):
        for stride in (1, 2):
            cases[f"{width} wide, stride {stride}"] = case(rng, 16, size=(2, width), stride=(stride, stride), **K3)
    run_cases(cases, tmp_path)


def test_zero_points_and_bounds(tmp_path):
    rng = np.random.default_rng(23)
    cases = {}
    for requant in ("shift", "shifts", "scale"):
        for zero_point in (-128, -3, 4, 127):
            for low, high in ((-128, 127), (zero_point, 127), (-128, 126), (-20, 60)):
                name = f"{requant} z={zero_point} [{low}, {high}]"
                bounds = {"low": min(low, high), "high": high}
                cases[name] = case(rng, 17, requant=requant, zero_point=zero_point, size=(1, 3), **bounds, **K3)
    run_cases(cases, tmp_path)


def test_weight_zero_points(tmp_path):
    rng = np.random.default_rng(24)
    cases = {}
    for zero in (-128, -127, -1, 1, 77, 127):
        for requant in ("shift", "scale"):
            for name in ("24 channels in 32 bytes", "stride 2", "5x5", "1x1"):
                cases[f"{name} {requant} zw={zero}"] = case(
                    rng, requant=requant, weight_zero=zero, zero_point=-7, **SHAPES[name]
                )
    run_cases(cases, tmp_path)


def test_extremes_row_tables_and_branch_loops(tmp_path):
    rng = np.random.default_rng(25)
    cases = {}
    for name in ("64 channels, 5 wide", "192 channels", "stride 2", "5x5", "1x31"):
        for requant in ("shift", "scale"):
            cases[f"{name} {requant}, extreme"] = case(rng, requant=requant, extreme=True, **SHAPES[name])
        cases[f"{name}, rows reversed"] = case(rng, flipped_rows=True, **SHAPES[name])
        cases[f"{name}, no hardware loops"] = case(rng, hardware_loops=False, **SHAPES[name])
    run_cases(cases, tmp_path)


def test_faster_than_the_prototype():
    """Cycles of whole layers stay below those of the hand-written loops this generator replaces.

    Those were measured where accumulators could be read right behind a multiply-accumulate, as these loops do in every pixel.
    """
    rng = np.random.default_rng(26)
    layers = {(28, 28, 192, 1): 213_247, (56, 56, 96, 2): 420_133}
    for (height, width, channels, stride), limit in layers.items():
        kernel = case(rng, channels, size=(1, width), stride=(stride, stride), **K3).kernel()
        waits = core_costs.QACC_MAC_USE * height * width * channels // 16
        assert kernel.cycles(height) < limit + waits


def test_refusals():
    rng = np.random.default_rng(27)
    assert supports(case(rng, 16, kernel=(8, 1)).spec) == "a window of 8x1"
    assert supports(random_case(rng, channels=16, outputs=16).spec) == "not one filter per channel"
