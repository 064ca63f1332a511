"""8-bit Q-DQ-Q with another grid against onnxruntime: exact in all 256 codes, as a sum where one gives them, else as a table."""

from __future__ import annotations

import numpy as np
import pytest
from quantized_chain import Grid, chain_model, expected, lowered

RATIOS = [
    (0.05, 0.08), (0.1, 0.2), (0.08, 0.05), (0.3, 0.1), (0.1, 0.1), (0.015625, 0.025), (0.7, 0.7000001), (1.0, 0.375),
    (0.0039, 0.0052), (3e-5, 0.011), (900.0, 0.0007), (0.2, 0.64),
]  # fmt: skip
TYPES = ["int8", "uint8", "int16", "uint16"]


def grids() -> list[tuple[float, float]]:
    rng = np.random.default_rng(5)
    drawn = [(float(np.float32(rng.uniform(0.001, 0.1))), float(rng.choice([3 / 8, 5 / 8, 1.5, 5 / 3, 0.7]))) for _ in range(12)]
    return RATIOS + [(scale, float(np.float32(scale * ratio))) for scale, ratio in drawn]


@pytest.mark.parametrize("taken", ["int8", "uint8"])
@pytest.mark.parametrize("given", TYPES)
@pytest.mark.parametrize("steps", [[], [("Relu",)]], ids=["plain", "relu"])
def test_every_code_is_onnxruntimes(taken: str, given: str, steps: list[tuple[str]]) -> None:
    rng = np.random.default_rng(17)
    for first, second in grids():
        points = [int(rng.integers(np.iinfo(dtype).min, int(np.iinfo(dtype).max) + 1)) for dtype in (taken, given)]
        source, result = Grid(taken, first, points[0]), Grid(given, second, points[1])
        model = chain_model(steps, source, result, 256)
        graph, made = lowered(model, source, result)
        np.testing.assert_array_equal(made, expected(model, source, result), f"{source} {result}")
        assert {node.op for node in graph.nodes} <= {"add", "table", "reshape", "flip_sign"}


def test_a_sum_stays_where_it_is_exact() -> None:
    """Sums have vector code: a ratio without ties needs no table."""
    ops = []
    for scale in (0.0437, 0.08):
        graph, _ = lowered(
            chain_model([], Grid("int8", 0.05, 3), Grid("int8", scale, -7), 256), Grid("int8", 0.05, 3), Grid("int8", scale, -7)
        )
        ops.append([node.op for node in graph.nodes])
    assert ops == [["add"], ["table"]]


def test_16_bits_round_the_exact_ratio() -> None:
    """From 16 bits one multiplication and one rounding: within a step, different only where float32's noise decides a tie."""
    for taken, given in (("int16", "int16"), ("int16", "int8"), ("uint16", "uint8")):
        for ratio in (0.625, 1.7, 130.0):
            source = Grid(taken, 0.001, 77)
            result = Grid(given, 0.001 * ratio * (200 if given.endswith("8") else 1), 9)
            model = chain_model([], source, result, 65536)
            _, made = lowered(model, source, result)
            difference = np.abs(made - expected(model, source, result))
            assert difference.max() <= 1 and np.mean(difference > 0) < 0.15
