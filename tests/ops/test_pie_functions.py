"""Gathered tables and leaky rectifiers in the simulator against numpy: bytes, bounds of memory, predicted cycles."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from test_pie_elementwise import SHAPES, RowsCase, data_of, run_cases

from espgen import arith
from espgen.codegen.pie.elementwise import RowShape
from espgen.codegen.pie.gather import GatherTable
from espgen.codegen.pie.prelu import Prelu, PreluSpec, supports

pytest.importorskip("ziglang")


def one_operand(shape: RowShape) -> RowShape:
    return RowShape(shape.pixels, shape.size, shape.in_pitches[:1], shape.out_pitch, shape.aligned)


def table_case(rng: np.random.Generator, shape: RowShape) -> RowsCase:
    entries = rng.integers(-128, 128, 256).astype(np.int8)
    data = data_of(rng, shape, 3, 1)
    return RowsCase(shape, lambda: GatherTable(entries), data, lambda x: entries[x + 128])


def test_tables_of_every_shape(tmp_path):
    rng = np.random.default_rng(71)
    whole = {title: one_operand(shape) for title, shape in SHAPES.items() if shape.in_pitches[0]}
    run_cases({title: table_case(rng, shape) for title, shape in whole.items()}, tmp_path)


def test_every_input_has_its_entry(tmp_path):
    entries = np.random.default_rng(72).permutation(np.arange(-128, 128)).astype(np.int8)
    x = np.arange(-128, 128, dtype=np.int8).reshape(1, 1, 256)
    shape = RowShape(1, 256, (256,), 256)
    run_cases({"all": RowsCase(shape, lambda: GatherTable(entries), (x,), lambda x: entries[x + 128])}, tmp_path)


def prelu_case(rng: np.random.Generator, shape: RowShape, spec: PreluSpec, rows: int = 3) -> RowsCase:
    assert supports(spec) is None
    point, slope_point = spec.points

    def expected(x: np.ndarray, slope: np.ndarray) -> np.ndarray:
        above = arith.requantize(x - point, arith.Shift((spec.up,)), spec.zero_point, spec.low, spec.high)
        product = (x - point) * (slope - slope_point)
        below = arith.requantize(product, arith.Shift((spec.down,)), spec.zero_point, spec.low, spec.high)
        return np.where(x > point, above, below)

    return RowsCase(shape, lambda: Prelu(spec), data_of(rng, shape, rows, 2, spec.element_bytes), expected)


PRELUS = {
    "plain": PreluSpec(0, 7, (0, 0), 0, -128, 127),
    "coarser": PreluSpec(2, 8, (0, 0), 0, -128, 127),
    "same unit": PreluSpec(3, 3, (0, 0), 0, -128, 127),
    "zero points": PreluSpec(0, 7, (5, 0), -8, -128, 127),
    "points at the ends": PreluSpec(0, 6, (-128, 127), 126, -128, 127),
    "slope zero point": PreluSpec(1, 7, (127, -128), -128, -128, 127),
    "bounded": PreluSpec(0, 7, (-3, 9), 5, -100, 90),
    "int16": PreluSpec(0, 15, (0, 0), 0, -32768, 32767, 2),
    "int16, zero points": PreluSpec(1, 14, (-900, 3), 800, -32768, 32767, 2),
}


def test_rectifiers(tmp_path):
    rng = np.random.default_rng(73)
    shapes = {1: SHAPES["24 channels in 32 bytes"], 2: SHAPES["second repeated"]}
    run_cases({name: prelu_case(rng, shapes[spec.element_bytes], spec) for name, spec in PRELUS.items()}, tmp_path)


@pytest.mark.parametrize("name", ["plain", "zero points"])
def test_rectifiers_of_every_shape(name, tmp_path):
    rng = np.random.default_rng(74)
    run_cases({title: prelu_case(rng, shape, PRELUS[name]) for title, shape in SHAPES.items()}, tmp_path)


def test_random_rectifiers(tmp_path):
    rng = np.random.default_rng(75)
    cases = {}
    for number in range(40):
        up = int(rng.integers(0, 5))
        points = (int(rng.integers(-128, 128)), int(rng.integers(-128, 128)))
        spec = PreluSpec(up, up + int(rng.integers(0, 9)), points, 2 * int(rng.integers(-64, 64)), -128, 127)
        cases[str(number)] = prelu_case(rng, SHAPES["8 channels in 16 bytes"], spec)
    run_cases(cases, tmp_path)


def test_what_has_no_kernel_says_why():
    assert supports(PreluSpec(7, 0, (0, 0), 0, -128, 127)) == "slopes of more than their type's steps"
    assert supports(PreluSpec(0, 12, (0, 0), 0, -128, 127)) == "33 factors for a slope's unit of 2^-12"
    assert supports(PreluSpec(0, 7, (0, 0), 3, -128, 127)) == "an odd zero point at both ends of the range"
