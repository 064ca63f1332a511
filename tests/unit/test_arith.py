"""The arithmetic contract against Python's exact fractions: nothing here is computed by the code under test."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espgen import arith
from espgen.errors import EspgenError


def nearest_even(value: Fraction) -> int:
    """Round to nearest, ties to even, by definition."""
    floor = math.floor(value)
    rest = value - floor
    if rest > Fraction(1, 2) or (rest == Fraction(1, 2) and floor % 2):
        return floor + 1
    return floor


def requantize_one(acc: int, requant: arith.Requant, zero_point: int, low: int, high: int) -> int:
    return int(arith.requantize([acc], requant, zero_point, low, high)[0])


def clip(value: int, low: int, high: int) -> int:
    return max(low, min(high, value))


@given(st.integers(-(2**60), 2**60), st.integers(0, 70))
def test_rne_shift(value: int, shift: int) -> None:
    exact = nearest_even(Fraction(value, 2 ** min(shift, 62)))
    assert int(arith.rne_shift(value, shift)) == exact


@given(st.integers(-(2**40), 2**40), st.integers(1, 2**30))
def test_rne_divide(numerator: int, denominator: int) -> None:
    assert int(arith.rne_divide(numerator, denominator)) == nearest_even(Fraction(numerator, denominator))


@pytest.mark.parametrize(
    ("value", "shift", "expected"),
    [(1, 1, 0), (3, 1, 2), (-1, 1, 0), (-3, 1, -2), (5, 1, 2), (-5, 1, -2), (-(2**31), 32, 0), (2**31 - 1, 40, 0)],
)
def test_ties_go_to_even_on_both_sides_of_zero(value: int, shift: int, expected: int) -> None:
    assert int(arith.rne_shift(value, shift)) == expected


@given(st.integers(-(2**31), 2**31 - 1), st.integers(0, 45), st.integers(-128, 127))
def test_shift_requantization(acc: int, shift: int, zero_point: int) -> None:
    expected = clip(zero_point + nearest_even(Fraction(acc, 2**shift)), -128, 127)
    assert requantize_one(acc, arith.Shift((shift,)), zero_point, -128, 127) == expected


def scale_by_definition(acc: int, requant: arith.Scale) -> int:
    """R(acc) as docs/arithmetic.md writes it, in unbounded integers."""
    limit = 2 ** (15 + requant.split)
    bounded = clip(acc, -limit, limit - 1)
    if requant.split > 0:
        upper, lower = bounded // 2**requant.split, bounded % 2**requant.split
    else:
        upper, lower = bounded * 2**-requant.split, bounded
    return nearest_even(Fraction(upper * requant.high[0] + lower * requant.low[0], 2 ** requant.shift[0]))


@settings(max_examples=400)
@given(st.floats(2.0**-16, 2.0**6), st.integers(-(2**31), 2**31 - 1), st.integers(-128, 127))
def test_scale_requantization_is_its_definition_and_within_one(ratio: float, acc: int, zero_point: int) -> None:
    requant = arith.choose_requant([ratio], [2**31 - 1], 8)
    result = requantize_one(acc, requant, zero_point, -128, 127)
    exact = clip(zero_point + nearest_even(acc * Fraction(ratio)), -128, 127)
    assert abs(result - exact) <= 1
    if isinstance(requant, arith.Scale):
        assert result == clip(zero_point + scale_by_definition(acc, requant), -128, 127)
        assert 0 <= requant.low[0] < 2**15
        assert 2**14 - 1 <= requant.high[0] < 2**15


@pytest.mark.parametrize("exponent", range(-12, -1))
def test_scale_differs_from_the_exact_product_on_few_elements(exponent: int) -> None:
    rng = np.random.default_rng(exponent + 100)
    for ratio in 2.0 ** (exponent + rng.random(12)):
        ratio = min(ratio, 2.0**-2)
        reach = int(255 / ratio)
        acc = np.arange(-reach, reach + 1) if reach < 10000 else rng.integers(-reach, reach + 1, 20000)
        requant = arith.choose_requant([float(ratio)], [2**24], 8)
        result = arith.requantize(acc, requant, 0, -(2**15), 2**15)
        exact = np.array([nearest_even(int(value) * Fraction(float(ratio))) for value in acc])
        assert np.abs(result - exact).max() <= 1
        assert np.mean(result != exact) < 0.005, ratio


@given(st.floats(2.0**-30, 2.0**3), st.integers(-(2**39), 2**39))
def test_wide_scale_is_within_one(ratio: float, acc: int) -> None:
    requant = arith.choose_requant([ratio], [2**39], 16)
    result = requantize_one(acc, requant, 0, -32768, 32767)
    exact = clip(nearest_even(acc * Fraction(ratio)), -32768, 32767)
    assert abs(result - exact) <= 1


def test_dead_channels_give_the_zero_point() -> None:
    requant = arith.choose_requant([2.0**-40, 0.013], [1000, 100000], 8)
    acc = np.array([[1000, 100], [-1000, -100]])
    assert arith.requantize(acc, requant, 7, -128, 127).tolist() == [[7, 8], [7, 6]]


def test_powers_of_two_become_shifts() -> None:
    assert arith.choose_requant([2.0**-7, 2.0**-7], [10, 10], 8) == arith.Shift((7,))
    assert arith.choose_requant([2.0**-7, 2.0**-9 * (1 + 2.0**-22)], [10, 10], 8) == arith.Shift((7, 9))
    assert isinstance(arith.choose_requant([2.0**-7 * 1.001], [10], 8), arith.Scale)


def test_a_ratio_that_cannot_be_represented_is_refused() -> None:
    with pytest.raises(EspgenError, match="too large"):
        arith.choose_requant([2.0**40], [2**24], 8)


@given(st.lists(st.floats(0.01, 3.0), min_size=1, max_size=3), st.data())
def test_weighted_sum_rounds_once(ratios: list[float], data: st.DataObject) -> None:
    operands = [data.draw(st.integers(-255, 255)) for _ in ratios]
    weights = arith.choose_weights(ratios, 8)
    total = sum(operand * multiplier for operand, multiplier in zip(operands, weights.multiplier, strict=True))
    expected = clip(3 + nearest_even(Fraction(total, 2**weights.shift)), -128, 127)
    assert int(arith.apply_weights(operands, weights, 3, -128, 127)) == expected
    real = clip(3 + nearest_even(sum(o * Fraction(r) for o, r in zip(operands, ratios, strict=True))), -128, 127)
    assert abs(expected - real) <= 1


@given(st.floats(0.01, 100.0), st.integers(1, 5000), st.integers(-(10**6), 10**6))
def test_averages_round_once(ratio: float, count: int, total: int) -> None:
    chosen = arith.choose_ratio(ratio, count)
    result = int(arith.apply_ratio(total, chosen, -4, -128, 127))
    assert result == clip(-4 + nearest_even(Fraction(total * chosen.numerator, chosen.denominator)), -128, 127)
    assert abs(result - clip(-4 + nearest_even(total * Fraction(ratio) / count), -128, 127)) <= 1


def test_average_of_equal_scales_is_exact() -> None:
    assert arith.choose_ratio(1.0, 49) == arith.Ratio(1, 49)
    assert arith.choose_ratio(0.25, 49) == arith.Ratio(1, 196)


@given(st.floats(-(2.0**100), 2.0**100, width=32), st.floats(2.0**-20, 1024.0, width=32), st.integers(-128, 127))
def test_quantize_is_float32_division_and_rint(real: float, scale: float, zero_point: int) -> None:
    quotient = np.float32(real) / np.float32(scale)
    expected = clip(nearest_even(Fraction(float(np.clip(quotient, -1e9, 1e9)))) + zero_point, -128, 127)
    assert int(arith.quantize(real, scale, zero_point, -128, 127)) == expected
