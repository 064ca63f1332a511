"""Grids and weight scales: what every scheme promises, on random ranges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espgen.quantize.model import Scheme
from espgen.quantize.scales import LARGEST_SHIFT, tensor_quant, weight_scale_candidates

RANGE = st.floats(1e-3, 1e4)


@settings(max_examples=200, deadline=None)
@given(low=RANGE, high=RANGE, scheme=st.sampled_from(list(Scheme)))
def test_grid_holds_the_range(low: float, high: float, scheme: Scheme) -> None:
    quant = tensor_quant(-low, high, scheme)
    slack = quant.scale * 0.501
    assert quant.real_low <= -low + slack
    assert quant.real_high >= high - slack
    assert quant.zero_point % 2 == 0
    if scheme is Scheme.ESP_DL:
        assert quant.zero_point == 0
        assert math.log2(quant.scale).is_integer()
    else:
        # At most one code and the evenness of the zero point are given away.
        assert quant.scale <= (low + high) / 255 * 1.03 + 1e-9 or min(low, high) / max(low, high) < 0.02


@pytest.mark.parametrize("scheme", list(Scheme))
def test_one_sided_ranges_use_every_code(scheme: Scheme) -> None:
    quant = tensor_quant(0.0, 6.0, scheme)
    if scheme.symmetric:
        assert quant.scale == 2.0**-4
    else:
        assert quant.zero_point == -128
        assert quant.scale == pytest.approx(6.0 / 255)


def test_sixteen_bits_are_symmetric() -> None:
    quant = tensor_quant(-1.0, 3.0, Scheme.SHIFT, bits=16)
    assert quant.zero_point == 0
    assert quant.scale == pytest.approx(3.0 / 32767, rel=1e-4)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([Scheme.SHIFT, Scheme.ESP_DL]))
def test_shifts_are_whole_and_in_range(seed: int, scheme: Scheme) -> None:
    random = np.random.default_rng(seed)
    largest = 10.0 ** random.uniform(-12, 0, 16)
    largest[0] = 0.0
    bias = random.normal(0, 1, 16) * 10.0 ** random.uniform(-3, 2)
    input_scale = tensor_quant(0, 10.0 ** random.uniform(-2, 2), scheme).scale
    output_scale = input_scale * float(random.uniform(0.3, 3)) if scheme is Scheme.SHIFT else input_scale * 2.0
    output_scale = float(np.float32(max(output_scale, input_scale * largest.max() / 127)))
    for scales in weight_scale_candidates(largest, bias, input_scale, output_scale, scheme):
        shift = -np.log2(np.float64(input_scale) * scales.astype(np.float64) / np.float64(output_scale))
        assert np.abs(shift - np.rint(shift)).max() < 2.0**-20
        assert (np.rint(shift) >= 0).all()
        assert (np.rint(shift) <= LARGEST_SHIFT[8]).all()
        assert (np.abs(bias) / (input_scale * scales) < 2.0**30).all()
    covering = weight_scale_candidates(largest, np.zeros(16), input_scale, output_scale, scheme)[0]
    assert (covering * 127 >= largest * (1 - 1e-5)).all()
