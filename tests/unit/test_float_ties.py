"""The way float32 takes ties: exact integers everywhere else, and a neighbour of the tie where there is one."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espgen import arith
from espgen.ir import DType, QuantParams, Value
from espgen.ops.float_ties import FloatTies, float_mean, float_ties, round_means


def value(name: str, scale: float, zero_point: int = 0, dtype: DType = DType.INT8) -> Value:
    return Value(name, (1, 4, 4, 16), dtype, QuantParams.tensor(scale, zero_point))


def elements(seed: int, count: int) -> npt.NDArray[np.int64]:
    """[64, count] int8 elements less a zero point."""
    return np.random.default_rng(seed).integers(-128, 128, (64, count)) - seed % 200 + 100


@given(st.integers(0, 2**20), st.integers(1, 70), st.floats(1e-5, 10), st.sampled_from([0.25, 0.5, 0.75, 1.0, 2.0, 0.37]))
@settings(deadline=None)
def test_only_exact_ties_differ_from_rounding_to_even(seed: int, count: int, scale: float, ratio: float) -> None:
    centred, exact = elements(seed, count), arith.choose_ratio(ratio, count)
    ours = round_means(centred, exact, FloatTies(scale, scale / ratio))
    wide = centred.sum(axis=-1) * exact.numerator
    even = arith.rne_divide(wide, exact.denominator)
    tie = 2 * (wide % exact.denominator) == exact.denominator
    assert np.array_equal(ours[~tie], even[~tie])
    assert np.isin(ours[tie] - wide[tie] // exact.denominator, (0, 1)).all()


@given(st.integers(0, 2**20), st.integers(1, 70), st.integers(-14, 3), st.integers(-2, 2))
@settings(deadline=None)
def test_powers_of_two_sum_without_noise_and_round_to_even(seed: int, count: int, exponent: int, step: int) -> None:
    centred, exact = elements(seed, count), arith.choose_ratio(2.0**step, count)
    ours = round_means(centred, exact, FloatTies(2.0**exponent, 2.0 ** (exponent - step)))
    assert np.array_equal(ours, arith.rne_divide(centred.sum(axis=-1) * exact.numerator, exact.denominator))


@given(st.integers(0, 2**20), st.integers(1, 40), st.floats(1e-5, 10))
@settings(deadline=None)
def test_the_whole_layer_is_float32s(seed: int, count: int, scale: float) -> None:
    """Same scale before and after: with the rule every element is QuantizeLinear of the float32 mean, ties or not."""
    centred = elements(seed, count)
    scales = FloatTies(float(np.float32(scale)), float(np.float32(scale)))
    real = np.rint(float_mean(centred, scales.input_scale) / np.float32(scales.output_scale))
    assert np.array_equal(round_means(centred, arith.choose_ratio(1.0, count), scales), real)


def test_lanes_and_the_elements_that_are_left() -> None:
    """(lane 0 + lane 2) + (lane 1 + lane 3), then elements 8 and 9. One by one it were 1, neighbouring lanes first 3."""
    big = 2**24  # has no neighbour at a distance of 1 above it
    real = np.array([[big, 1, 1, 0, 1, 0, 1, 0, -big, 1]])
    assert 10 * float_mean(real, 1.0)[0] == 5


def test_ties_of_both_directions_occur() -> None:
    centred = np.random.default_rng(3).integers(0, 256, (4000, 16))
    exact = arith.Ratio(1, 16)
    ours = round_means(centred, exact, FloatTies(0.0235, 0.0235))
    moved = ours - arith.rne_divide(centred.sum(axis=-1), 16)
    assert np.count_nonzero(moved == 1) > 5 and np.count_nonzero(moved == -1) > 5


@pytest.mark.parametrize(
    ("scale", "result", "elements", "dtype", "rule"),
    [
        (0.0235, 0.0235, 16, DType.INT8, True),
        (0.0235, 0.047, 9, DType.INT8, True),
        (0.0235, 0.0235, 125, DType.INT8, False),  # an odd divisor has no ties
        (0.03125, 0.0625, 16, DType.INT8, False),  # powers of two
        (0.0235, 0.0371, 16, DType.INT8, False),  # a tie would be a sum of millions
        (0.0235, 0.0235, 16, DType.INT16, True),
        (0.0235, 0.0235 / 2**8, 512, DType.INT16, False),  # 2^23 steps: float32 has no halves there
    ],
)
def test_where_the_rule_holds(scale: float, result: float, elements: int, dtype: DType, rule: bool) -> None:
    source, target = (value(name, float(np.float32(one)), dtype=dtype) for name, one in (("x", scale), ("y", result)))
    ratio = arith.choose_ratio(source.scale / target.scale, elements)
    found = float_ties(source, target, ratio, elements)
    assert found == (FloatTies(source.scale, target.scale) if rule else None)
    if rule:
        assert Fraction(ratio.numerator, ratio.denominator).denominator % 2 == 0


def test_compilers_do_not_fuse_the_product_with_the_sum(tmp_path: Path) -> None:
    """A fused multiply-add rounds once where the contract rounds twice; compilers may make one unless told not to."""
    pytest.importorskip("ziglang")
    firmware = Path(__file__).parent.parent.parent / "firmware"
    (tmp_path / "mean.cpp").write_text(
        '#include "float_ties.h"\n'
        "bool up(const int8_t* x) {\n"
        "  espgen::FloatMean mean(16, {0.0235F, 0.0235F});\n"
        "  for (int32_t i = 0; i < 16; ++i) mean.add(x[i]);\n"
        "  return mean.rounds_up(3);\n"
        "}\n"
        "float fused(float a, float b, float c) { return a * b + c; }\n"
    )
    command = [sys.executable, "-m", "ziglang", "c++", "-target", "riscv32-freestanding-none", "-mcpu=generic_rv32+m+a+f+c"]
    flags = ["-std=c++17", "-O3", "-ffp-contract=fast", f"-I{firmware / 'kernels'}", f"-I{firmware / 'include'}"]
    subprocess.run([*command, *flags, "-S", "mean.cpp", "-o", "mean.s"], cwd=tmp_path, check=True)
    before, _, after = (tmp_path / "mean.s").read_text().partition("fused")
    assert before.count("fmul.s") >= 1 and "fmadd" not in before
    assert "fmadd.s" in after, "this compiler does not fuse at all"
