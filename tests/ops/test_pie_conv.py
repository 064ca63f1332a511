"""PIE convolutions in the simulator against im2col in numpy: bytes, bounds of memory, predicted cycles."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from pie_conv_cases import ConvCase, random_case
from pie_harness import run_calls

from espgen import arith
from espgen.codegen.pie.conv import supports
from espgen.codegen.pie.spec import ConvSpec

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
    "one pixel, one channel": {"channels": 1, "outputs": 1, "size": (1, 1)},
    "two channels": {"channels": 2, "outputs": 5},
    "three channels": {"channels": 3, "outputs": 16},
    "five channels, all resident or nearly": {"channels": 5, "outputs": 8},
    "16 channels": {"channels": 16, "outputs": 32, "size": (3, 5)},
    "17 channels": {"channels": 17, "outputs": 17, "size": (3, 5)},
    "24 channels in 32 bytes": {"channels": 24, "outputs": 24, "size": (2, 4)},
    "24 channels in 24 bytes": {"channels": 24, "outputs": 24, "size": (2, 4), "in_pitch": 24, "out_pitch": 24},
    "32 channels": {"channels": 32, "outputs": 16, "size": (2, 4)},
    "48 channels": {"channels": 48, "outputs": 48, "size": (2, 4)},
    "64 channels": {"channels": 64, "outputs": 64, "size": (2, 4)},
    "130 channels": {"channels": 130, "outputs": 20, "size": (2, 2)},
    "960 channels": {"channels": 960, "outputs": 32, "size": (1, 2)},
    "1280 channels, looped": {"channels": 1280, "outputs": 18, "size": (2, 2)},
    "1285 channels, looped, dense": {"channels": 1285, "outputs": 10, "size": (1, 1)},
    "stride 2": {"channels": 16, "outputs": 16, "size": (3, 3), "stride": (2, 2)},
    "wide pitch": {"channels": 16, "outputs": 16, "size": (2, 3), "in_pitch": 4096, "out_pitch": 64},
    "outputs in a tight pitch, bytes": {"channels": 8, "outputs": 10, "size": (2, 3), "out_pitch": 10},
    "outputs in a tight pitch, 21": {"channels": 8, "outputs": 21, "size": (2, 3), "out_pitch": 21},
    "3x3": {"kernel": (3, 3), "channels": 16, "outputs": 16, "size": (3, 4)},
    "3x3 stride 2": {"kernel": (3, 3), "channels": 32, "outputs": 16, "size": (3, 4), "stride": (2, 2)},
    "3x3 stem": {"kernel": (3, 3), "channels": 3, "outputs": 32, "size": (3, 5), "stride": (2, 2), "in_pitch": 3},
    "3x3 grey": {"kernel": (3, 3), "channels": 1, "outputs": 8, "size": (3, 5), "in_pitch": 1, "out_pitch": 8},
    "3x3 four channels": {"kernel": (3, 3), "channels": 4, "outputs": 16, "size": (2, 5), "in_pitch": 4},
    "3x3 stem dilated": {"kernel": (3, 3), "channels": 3, "outputs": 16, "size": (2, 5), "dilation": (2, 3), "in_pitch": 3},
    "10x4 stride 2": {"kernel": (10, 4), "channels": 1, "outputs": 64, "size": (2, 5), "stride": (2, 2), "in_pitch": 1},
    "13x1": {"kernel": (13, 1), "channels": 16, "outputs": 16, "size": (2, 3)},
    "1x7": {"kernel": (1, 7), "channels": 8, "outputs": 16, "size": (1, 9), "in_pitch": 8},
    "5x5 dilated": {"kernel": (5, 5), "channels": 8, "outputs": 16, "size": (2, 3), "dilation": (2, 2)},
    "3x3 64 channels": {"kernel": (3, 3), "channels": 64, "outputs": 16, "size": (2, 2)},
    "3x3 160 channels, looped": {"kernel": (3, 3), "channels": 160, "outputs": 16, "size": (2, 2)},
    "3x3 140 channels, looped": {"kernel": (3, 3), "channels": 140, "outputs": 16, "size": (2, 2)},
    "3x3 144 channels, looped, an odd number of windows": {"kernel": (3, 3), "channels": 144, "size": (1, 3), "stride": (1, 2)},
    "75x1, looped, a window per row": {"kernel": (75, 1), "channels": 16, "size": (1, 3)},
    "40x2, looped, two windows per row": {"kernel": (40, 2), "channels": 16, "size": (1, 3)},
    "groups of 16": {"kernel": (3, 3), "channels": 32, "outputs": 32, "size": (2, 3), "groups": 2},
    "groups of 8": {"kernel": (3, 3), "channels": 32, "outputs": 32, "size": (2, 3), "groups": 4},
    "groups of 4 to 12": {"kernel": (1, 3), "channels": 16, "outputs": 48, "size": (2, 3), "groups": 4},
    "groups of 5 to 7": {"kernel": (1, 1), "channels": 20, "outputs": 28, "size": (2, 3), "groups": 4},
    "depthwise as groups": {"kernel": (3, 3), "channels": 20, "outputs": 20, "size": (2, 3), "groups": 20},
}


@pytest.mark.parametrize("requant", ["shift", "shifts", "scale"])
def test_shapes(requant, tmp_path):
    rng = np.random.default_rng(7)
    run_cases({name: random_case(rng, requant=requant, **shape) for name, shape in SHAPES.items()}, tmp_path)


@pytest.mark.parametrize("weight_bytes", [1, 2])
@pytest.mark.parametrize("requant", ["shift", "shifts", "scale"])
def test_int16_shapes(requant, weight_bytes, tmp_path):
    rng = np.random.default_rng(17)
    cases = {}
    for name, shape in SHAPES.items():
        zero_point = 0 if requant != "scale" else -300
        cases[name] = random_case(
            rng, requant=requant, element_bytes=2, weight_bytes=weight_bytes, zero_point=zero_point, **shape
        )
    cases["extreme"] = random_case(
        rng, requant=requant, element_bytes=2, weight_bytes=weight_bytes, extreme=True, **SHAPES["3x3 64 channels"]
    )
    cases["clipped"] = random_case(
        rng, requant=requant, element_bytes=2, weight_bytes=weight_bytes, low=-5, high=3000, zero_point=6, channels=9
    )
    run_cases(cases, tmp_path)


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
    for requant in ("shift", "shifts", "scale"):
        for name in (*shapes, "groups of 8", "3x3 140 channels, looped"):
            case = random_case(rng, requant=requant, weight_zero=30, **SHAPES[name])
            weights = np.maximum(case.spec.weights, 30 - 128)
            weights[0, 0, -1, 0], weights[-1, 0, 0, -1] = -128, -99
            cases[f"{name} {requant}, a few weights out of range"] = replace(case, spec=replace(case.spec, weights=weights))
    run_cases(cases, tmp_path)


def test_extreme_weights_and_inputs(tmp_path):
    rng = np.random.default_rng(10)
    cases = {}
    for requant in ("shift", "shifts", "scale"):
        for name in ("64 channels", "3x3 64 channels", "3x3 stem", "960 channels", "1280 channels, looped"):
            cases[f"{name} {requant}"] = random_case(rng, requant=requant, extreme=True, **SHAPES[name])
    run_cases(cases, tmp_path)


def _every_input(requant, bias=0, weight=1, **options) -> ConvCase:
    """One weight and all 256 inputs, so that every accumulator near `bias` occurs."""
    image = np.arange(-128, 128).astype(np.int8).reshape(16, 16, 1)
    weights = np.full((2, 1, 1, 1), weight, np.int8)
    weights[1] = -weight
    return ConvCase(ConvSpec(weights, np.array([bias, -bias - 1]), requant, 16, 16, 16, **options), image)


def test_requantization_edges(tmp_path):
    """Ties of both signs, ratios above one and far below, saturation at both ends, biases near the limits."""
    cases = {}
    for zero_point in (0, 2, 5, -128, 127):
        for shift in (0, 1, 2, 5, 31, 40):
            for low in (-128, -127):
                name = f"shift {shift} z={zero_point} low={low}"
                cases[name] = _every_input(arith.Shift((shift,)), 77, zero_point=zero_point, low=low)
        cases[f"shifts z={zero_point}"] = _every_input(arith.Shift((1, 3)), 7, 3, zero_point=zero_point)
        for ratio in (100.0, 3.7, 1.0, 0.5, 0.013, 2.0**-9, 2.0**-26):
            bound = 128 * 127 + 1000
            requant = arith.choose_requant([ratio, ratio * 0.7], [bound, bound], 8)
            cases[f"ratio {ratio} z={zero_point}"] = _every_input(requant, 900, 127, zero_point=zero_point)
    for bias in (2**31 - 2**15, -(2**31) + 2**15):
        cases[f"bias {bias} shift"] = _every_input(arith.Shift((25,)), bias, 100)
        requant = arith.choose_requant([3e-8, 5e-8], [2**30, 2**30], 8)
        cases[f"bias {bias // 2} scale"] = _every_input(requant, bias // 2, 100, zero_point=-3)
    unsupported = [name for name, case in cases.items() if supports(case.spec) is not None]
    assert unsupported == []
    run_cases(cases, tmp_path)


def test_rows_of_every_short_length(tmp_path):
    rng = np.random.default_rng(15)
    cases = {}
    for width in range(1, 18):
        cases[f"{width} pixels"] = random_case(rng, channels=5, outputs=8, size=(2, width), kernel=(1, 3))
        cases[f"{width} pixels, stem"] = random_case(
            rng, channels=3, outputs=16, size=(1, width), kernel=(3, 3), stride=(2, 2), in_pitch=3
        )
    run_cases(cases, tmp_path)


def test_row_pointers_and_branch_loops(tmp_path):
    rng = np.random.default_rng(11)
    cases = {}
    for name in ("16 channels", "3x3", "10x4 stride 2", "1280 channels, looped", "3x3 160 channels, looped"):
        cases[f"{name}, rows reversed"] = random_case(rng, flipped_rows=True, **SHAPES[name])
        cases[f"{name}, no hardware loops"] = random_case(rng, hardware_loops=False, **SHAPES[name])
    run_cases(cases, tmp_path)


@st.composite
def shapes(draw):
    """Arguments of random_case: small, but any remainder of channels, stride, dilation, pitch and zero point."""
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    channels = groups * draw(st.integers(1, 40 if groups == 1 else 12))
    outputs = groups * draw(st.integers(1, 36 if groups == 1 else 12))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    low = draw(st.integers(-128, 100))
    requant = draw(st.sampled_from(["shift", "shifts", "scale"]))
    weight_zero = draw(st.sampled_from([0, 0, 0, 3, -128, 127])) if groups == 1 else 0
    return {
        "kernel": kernel,
        "channels": channels,
        "outputs": outputs,
        "groups": groups,
        "size": draw(st.tuples(st.integers(1, 3), st.integers(1, 6))),
        "stride": draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        "dilation": draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        "in_pitch": channels + draw(st.integers(0, 20)) if draw(st.booleans()) else None,
        "out_pitch": outputs + draw(st.integers(0, 20)) if draw(st.booleans()) else None,
        "requant": requant,
        "weight_zero": weight_zero,
        "zero_point": draw(st.integers(-128, 127)),
        "low": low,
        "high": draw(st.integers(low, 127)),
        "extreme": draw(st.booleans()),
    }


def _run_batch(batch, tmp_path_factory):
    rng = np.random.default_rng(12)
    cases = {f"{number} {shape}": random_case(rng, **shape) for number, shape in enumerate(batch)}
    cases = {name: case for name, case in cases.items() if supports(case.spec) is None}
    run_cases(cases, tmp_path_factory.mktemp("batch"))


_PHASES = [Phase.explicit, Phase.generate]  # a failing batch names its case: shrinking would run it for minutes
_SETTINGS = {"phases": _PHASES, "deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=3, **_SETTINGS)
@given(st.lists(shapes(), min_size=16, max_size=16))
def test_any_shape(tmp_path_factory, batch):
    _run_batch(batch, tmp_path_factory)


@pytest.mark.prove
@settings(max_examples=60, **_SETTINGS)
@given(st.lists(shapes(), min_size=40, max_size=40))
def test_very_many_shapes(tmp_path_factory, batch):
    _run_batch(batch, tmp_path_factory)


def test_what_has_no_kernel_says_why():
    rng = np.random.default_rng(13)
    grouped = random_case(rng, channels=32, outputs=32, groups=2, weight_zero=-128, extreme=True).spec
    assert supports(grouped) == "grouped convolution with a weight zero point"
    wide = random_case(rng, size=(1, 500), weight_zero=-128, extreme=True).spec
    assert "rows too wide" in str(supports(wide))
    huge = random_case(rng, kernel=(60, 60), channels=16, in_pitch=32).spec
    assert supports(huge) is not None
