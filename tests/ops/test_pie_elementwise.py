"""PIE element-wise kernels in the simulator against numpy: bytes, bounds of memory, predicted cycles."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from pie_harness import FILL, Call, Outcome, run_calls

from espgen import arith
from espgen.codegen.pie import product, weighted_sum
from espgen.codegen.pie.copies import Copy, FlipSign
from espgen.codegen.pie.elementwise import RowShape, VectorBody, elementwise_kernel
from espgen.codegen.pie.product import Product, ProductSpec
from espgen.codegen.pie.spec import PieKernel
from espgen.codegen.pie.weighted_sum import NarrowSum, SumSpec, WideSum, sum_body

pytest.importorskip("ziglang")


@dataclass(frozen=True, eq=False)
class RowsCase:
    """`data`: int8 or int16 [rows, pixels or 1, elements] per operand; `function` gives the outputs."""

    shape: RowShape
    body: Callable[[], VectorBody]
    data: tuple[np.ndarray, ...]
    function: Callable[..., np.ndarray]
    hardware_loops: bool = True
    shift: int = 0
    """Bytes by which every row start is moved from its alignment."""

    @property
    def rows(self) -> int:
        return len(self.data[0])

    def kernel(self) -> PieKernel:
        return elementwise_kernel(self.shape, self.body(), "test", hardware_loops=self.hardware_loops)

    def _place(self, pitch: int) -> int:
        return (self.shift + self.shape.pixels * pitch + 15) // 16 * 16

    def call(self, kernel: PieKernel) -> Call:
        shape, rows = self.shape, self.rows
        rng = np.random.default_rng(3)
        inputs, tables = [], []
        for number, (data, pitch) in enumerate(zip(self.data, shape.in_pitches, strict=True)):
            row_bytes = self._place(max(pitch, shape.size))
            memory = rng.integers(0, 256, rows * row_bytes).astype(np.uint8)
            starts = [(rows - 1 - row) * row_bytes + self.shift for row in range(rows)]
            for row in range(rows):
                for pixel in range(data.shape[1]):
                    at = starts[row] + pixel * pitch
                    memory[at : at + shape.size] = data[row, pixel].view(np.uint8)
            inputs.append(memory.tobytes())
            tables.append([(number, start) for start in starts])
        out_row = self._place(shape.out_pitch)
        return Call(
            symbol=kernel.symbol,
            params=kernel.params,
            out_bytes=rows * out_row,
            out_rows=[row * out_row + self.shift for row in range(rows)],
            inputs=inputs,
            in_rows=tables[0],
            second_rows=tables[1] if len(tables) > 1 else (),
            rows=rows,
        )

    def check(self, outcome: Outcome, kernel: PieKernel) -> None:
        shape = self.shape
        rows = outcome.output.reshape(self.rows, -1)
        assert outcome.margins_intact
        assert (rows[:, : self.shift] == FILL).all()
        end = self.shift + shape.pixels * shape.out_pitch
        assert (rows[:, end:] == FILL).all()
        pixels = rows[:, self.shift : end].reshape(self.rows, shape.pixels, shape.out_pitch)
        dtype = self.data[0].dtype
        got = np.ascontiguousarray(pixels[..., : shape.size]).view(dtype)
        wide = [np.broadcast_to(data, got.shape).astype(np.int64) for data in self.data]
        np.testing.assert_array_equal(got, self.function(*wide).astype(dtype))
        if not shape.misaligned:
            predicted = kernel.cycles(self.rows)
            assert abs(outcome.cycles - predicted) <= 0.03 * predicted + 4, (outcome.cycles, predicted)


def run_cases(cases: dict[str, RowsCase], folder: Path) -> None:
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


def shape_of(pixels: int, size: int, *pitches: int, aligned: bool = True) -> RowShape:
    padded = -(-size // 16) * 16
    *operands, out = pitches or (padded, padded, padded)
    return RowShape(pixels, size, tuple(operands), out, aligned)


SHAPES = {
    "one byte": shape_of(1, 1),
    "one vector": shape_of(1, 16),
    "8 channels in 16 bytes": shape_of(3, 8),
    "24 channels in 32 bytes": shape_of(5, 24),
    "24 channels, dense": shape_of(5, 24, 24, 24, 24),
    "21 channels, dense": shape_of(3, 21, 21, 21, 21),
    "3 channels, dense": shape_of(17, 3, 3, 3, 3),
    "different pitches": shape_of(4, 24, 24, 32, 48),
    "narrow output": shape_of(4, 24, 32, 32, 24),
    "second repeated": shape_of(6, 40, 48, 0, 48),
    "first repeated": shape_of(6, 40, 0, 48, 48),
    "wide row": shape_of(56, 24),
    "many channels": shape_of(2, 1280, 1280, 0, 1280),
    "long pixels": shape_of(2, 5000, 5008, 5024, 5056),
    "1001 classes": shape_of(1, 1001, 1001, 1001, 1001),
}


def data_of(
    rng: np.random.Generator, shape: RowShape, rows: int, operands: int, element_bytes: int = 1
) -> tuple[np.ndarray, ...]:
    half, dtype = 1 << (8 * element_bytes - 1), f"<i{element_bytes}"
    return tuple(
        rng.integers(-half, half, (rows, shape.pixels if pitch else 1, shape.size // element_bytes)).astype(dtype)
        for pitch in shape.in_pitches[:operands]
    )


def sum_case(rng: np.random.Generator, shape: RowShape, spec: SumSpec, rows: int = 2, **options) -> RowsCase:
    assert weighted_sum.supports(spec) is None
    shape = RowShape(shape.pixels, shape.size, shape.in_pitches[: len(spec.points)], shape.out_pitch, shape.aligned)

    def expected(*operands: np.ndarray) -> np.ndarray:
        centred = [data - point for data, point in zip(operands, spec.points, strict=True)]
        return arith.apply_weights(centred, spec.weights, spec.zero_point, spec.low, spec.high)

    data = data_of(rng, shape, rows, len(spec.points), spec.element_bytes)
    return RowsCase(shape, lambda: sum_body(spec), data, expected, **options)


def sum_spec(ratios=(0.71, 0.44), points=(3, -7), zero_point=-5, low=-128, high=127) -> SumSpec:
    return SumSpec(arith.choose_weights(ratios, 8), points[: len(ratios)], zero_point, low, high)


SUMS = {
    "wide": sum_spec(),
    "wide, even zero point": sum_spec(zero_point=-6),
    "wide, no zero points": sum_spec(points=(0, 0), zero_point=0),
    "equal scales": sum_spec((1.0, 1.0), (0, 0), 0),
    "equal scales, zero points": sum_spec((1.0, 1.0), (3, -7), -4),
    "equal scales, odd zero point": sum_spec((1.0, 1.0), (3, -7), -5),
    "powers of two": sum_spec((0.5, 0.125), (1, 2), 4),
    "powers of two apart": sum_spec((2.0, 2.0**-6), (0, 0), 0),
    "difference": sum_spec((1.0, -0.5), (3, 3), 2),
    "wide difference": sum_spec((1.1, -0.3), (3, 3), 2),
    "bounded": sum_spec(low=-5, high=90),
    "narrow and bounded": sum_spec((1.0, 1.0), (0, 0), 0, 0, 127),
    "points at the ends": sum_spec((1.3, 1.9), (-128, 127), 127),
    "points at the ends, equal scales": sum_spec((1.0, 1.0), (-128, -128), -128),
    "one operand": sum_spec((0.3719,)),
    "one operand up": sum_spec((3.7,)),
    "one operand, large ratio": sum_spec((200.0,), (100,), -128),
    "one operand, tiny ratio": sum_spec((2.0**-30,)),
    "one operand, power of two": sum_spec((0.25,), (-128,), -128),
    "one operand, same scale": sum_spec((1.0,), (-128,), 0),
}


def test_sums(tmp_path):
    rng = np.random.default_rng(31)
    shape = SHAPES["24 channels in 32 bytes"]
    run_cases({name: sum_case(rng, shape, spec) for name, spec in SUMS.items()}, tmp_path)
    kinds = {name: type(sum_body(spec)) for name, spec in SUMS.items()}
    assert kinds["equal scales, zero points"] is kinds["powers of two"] is NarrowSum
    assert kinds["wide"] is kinds["equal scales, odd zero point"] is WideSum


@pytest.mark.parametrize("name", ["wide", "equal scales, zero points", "one operand"])
def test_sums_of_every_shape(name, tmp_path):
    rng = np.random.default_rng(32)
    cases = {title: sum_case(rng, shape, SUMS[name]) for title, shape in SHAPES.items()}
    for title in ("24 channels in 32 bytes", "21 channels, dense"):
        shape = RowShape(SHAPES[title].pixels, SHAPES[title].size, SHAPES[title].in_pitches, SHAPES[title].out_pitch, False)
        cases[f"{title}, rows misaligned"] = sum_case(rng, shape, SUMS[name], shift=5)
        cases[f"{title}, no hardware loops"] = sum_case(rng, SHAPES[title], SUMS[name], hardware_loops=False)
    run_cases(cases, tmp_path)


def test_random_sums(tmp_path):
    rng = np.random.default_rng(33)
    cases = {}
    for number in range(40):
        ratios = tuple(float(r) for r in np.exp2(rng.uniform(-6, 3, 2)) * rng.choice([-1, 1], 2))
        points = tuple(int(p) for p in rng.integers(-128, 128, 2))
        spec = SumSpec(arith.choose_weights(ratios, 8), points, int(rng.integers(-128, 128)), -128, 127)
        cases[str(number)] = sum_case(rng, SHAPES["8 channels in 16 bytes"], spec, rows=4)
    run_cases(cases, tmp_path)


def product_case(rng: np.random.Generator, shape: RowShape, spec: ProductSpec, rows: int = 2) -> RowsCase:
    assert product.supports(spec) is None

    def expected(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        acc = (first - spec.points[0]) * (second - spec.points[1])
        return arith.requantize(acc, spec.requant, spec.zero_point, spec.low, spec.high)

    return RowsCase(shape, lambda: Product(spec), data_of(rng, shape, rows, 2, spec.element_bytes), expected)


def product_spec(ratio=0.0071, points=(3, -7), zero_point=-5, low=-128, high=127) -> ProductSpec:
    limit = ProductSpec(arith.Shift((0,)), points, 0, 0, 0).bound
    return ProductSpec(arith.choose_requant([ratio], [limit], 8), points, zero_point, low, high)


PRODUCTS = {
    "scale": product_spec(),
    "shift": product_spec(2.0**-7, (0, 0), 0),
    "shift, zero points": product_spec(2.0**-7, (-128, 5), 3),
    "shift zero": product_spec(1.0),
    "above one": product_spec(3.3),
    "tiny": product_spec(2.0**-26 * 1.1),
    "bounded": product_spec(0.01, low=-5, high=60),
    "points at the ends": product_spec(0.0041, (-128, 127), 127),
    "both points lowest": product_spec(0.0041, (-128, -128), -128),
}


def test_products(tmp_path):
    rng = np.random.default_rng(34)
    cases = {name: product_case(rng, SHAPES["24 channels in 32 bytes"], spec) for name, spec in PRODUCTS.items()}
    for name in ("scale", "shift"):
        for title, shape in SHAPES.items():
            cases[f"{name} {title}"] = product_case(rng, shape, PRODUCTS[name])
    run_cases(cases, tmp_path)


WORD_SHAPES = ("one vector", "8 channels in 16 bytes", "24 channels, dense", "different pitches", "second repeated")


def test_int16(tmp_path):
    rng = np.random.default_rng(36)
    sums = {
        "equal scales": SumSpec(arith.choose_weights((1.0, 1.0), 16), (0, 0), 0, -32768, 32767, 2),
        "powers of two": SumSpec(arith.choose_weights((0.5, -0.125), 16), (3, -700), 40, -32768, 32767, 2),
        "bounded": SumSpec(arith.choose_weights((2.0, 0.25), 16), (0, 0), -6, -6, 20000, 2),
        "one operand": SumSpec(arith.choose_weights((0.25,), 16), (-32768,), -32768, -32768, 32767, 2),
        "long": SumSpec(arith.choose_weights((0.71, 0.44), 16), (0, 0), 0, -32768, 32767, 2),
        "long, zero points": SumSpec(arith.choose_weights((0.9, -0.031), 16), (-32768, 32767), 6, -32768, 32767, 2),
        "long, bounded": SumSpec(arith.choose_weights((1.3, 1.9), 16), (5, -4), 9, -32000, 31000, 2),
        "long, one operand": SumSpec(arith.choose_weights((0.3719,), 16), (77,), 0, -32768, 32767, 2),
        "long, one operand up": SumSpec(arith.choose_weights((113.7,), 16), (0,), 0, -32768, 32767, 2),
        "long, tiny": SumSpec(arith.choose_weights((1.1 * 2.0**-20, 0.9), 16), (0, 0), 0, -32768, 32767, 2),
    }
    cases = {}
    for name, spec in sums.items():
        for title in WORD_SHAPES:
            cases[f"{name} {title}"] = sum_case(rng, SHAPES[title], spec)
    for name, ratio, points, zero_point in (
        ("shift", 2.0**-15, (0, 0), 0),
        ("shift, zero points", 2.0**-16, (-32768, 5), 4),
        ("scale", 3.1e-5, (0, 0), 0),
        ("scale, zero points", 1.7e-5, (-32768, 32767), -5),
    ):
        limit = ProductSpec(arith.Shift((0,)), points, 0, 0, 0, 2).bound
        requant = arith.choose_requant([ratio], [limit], 16)
        spec = ProductSpec(requant, points, zero_point, -32768, 32767, 2)
        for title in WORD_SHAPES:
            cases[f"{name} {title}"] = product_case(rng, SHAPES[title], spec)
    flipped = RowShape(5, 24, (32,), 32)
    cases["sign flip"] = RowsCase(flipped, lambda: FlipSign(2), data_of(rng, flipped, 2, 1, 2), lambda x: x ^ -32768)
    run_cases(cases, tmp_path)


def test_gaps_that_others_use_are_left_alone(tmp_path):
    rng = np.random.default_rng(37)
    cases = {}
    for size, pitch in ((4, 20), (24, 48), (3, 64), (40, 112)):
        shape = RowShape(5, size, (size,), pitch, shared_gaps=True)
        cases[f"{size} of {pitch}"] = RowsCase(shape, Copy, data_of(rng, shape, 2, 1), lambda x: x)
    kernels = {name: case.kernel() for name, case in cases.items()}
    texts = {kernel.symbol: kernel.assembly for kernel in kernels.values()}
    outcomes = run_calls(list(texts.values()), [case.call(kernels[name]) for name, case in cases.items()], tmp_path)
    for (name, case), outcome in zip(cases.items(), outcomes, strict=True):
        case.check(outcome, kernels[name])
        shape = case.shape
        pixels = outcome.output.reshape(case.rows, -1)[:, : 5 * shape.out_pitch].reshape(-1, shape.out_pitch)
        assert (pixels[:, shape.size :] == FILL).all(), name


def test_copies_and_sign_flips(tmp_path):
    rng = np.random.default_rng(35)
    cases = {}
    for title, shape in SHAPES.items():
        single = RowShape(shape.pixels, shape.size, shape.in_pitches[:1], shape.out_pitch)
        data = data_of(rng, single, 3, 1)
        cases[f"copy {title}"] = RowsCase(single, Copy, data, lambda x: x)
        cases[f"flip {title}"] = RowsCase(single, FlipSign, data, lambda x: x ^ -128)
    run_cases(cases, tmp_path)
