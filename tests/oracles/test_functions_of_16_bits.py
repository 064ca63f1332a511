"""Functions with poles, jumps and steep places, for all 65,536 inputs against onnxruntime: the bound of docs/arithmetic.md."""

from __future__ import annotations

import numpy as np
import pytest
from quantized_chain import Grid, chain_model, expected, lowered

from espgen.ops.expression import has_steps_only

BOUND = 8
"""Steps of a 16-bit output."""

INPUTS = [
    Grid("int16", 2.0**-12, 0),
    Grid("uint16", 0.00173, 31000),
    Grid("int16", 0.0313, -20000),
    Grid("uint16", 2.0**-13, 0),
]

CONTINUOUS = {
    "Reciprocal": [("Reciprocal",)],
    "2 / x": [("Div", 2.0, "x")],
    "x ^ -1": [("Pow", "x", -1.0)],
    "x ^ -2": [("Pow", "x", -2.0)],
    "x ^ -0.5": [("Pow", "x", -0.5)],
    "x ^ 3": [("Pow", "x", 3.0)],
    "Log": [("Log",)],
    "Atanh": [("Atanh",)],
    "Acosh": [("Acosh",)],
    "Asin": [("Asin",)],
    "Tan": [("Tan",)],
    "Sqrt": [("Sqrt",)],
    "Exp": [("Exp",)],
    "Sinh": [("Sinh",)],
    "Sigmoid": [("Sigmoid",)],
    "Softplus": [("Softplus",)],
    "Log of Exp": [("Exp",), ("Log",)],
    "x - Floor(x)": [("Floor",), ("Sub", "x", "_")],
    "x * Sign(x)": [("Sign",), ("Mul", "x", "_")],
    "1 / (x - 0.5)": [("Sub", "x", 0.5), ("Reciprocal",)],
    "1 / (x * x)": [("Mul", "x", "x"), ("Reciprocal",)],
    "1 / Sin(x)": [("Sin",), ("Reciprocal",)],
    "Sqrt(Abs(x))": [("Abs",), ("Sqrt",)],
    "Log(Sqrt(x))": [("Sqrt",), ("Log",)],
    "1 / -x": [("Neg",), ("Reciprocal",)],
    "0 / x": [("Div", 0.0, "x")],
}

STEPPED = {
    "Floor": [("Floor",)],
    "Ceil": [("Ceil",)],
    "Round": [("Round",)],
    "Sign": [("Sign",)],
    "Floor(x * 0.37)": [("Mul", "x", 0.37), ("Floor",)],
    "Round(3 / x)": [("Div", 3.0, "x"), ("Round",)],
    "-Ceil(x) / 2": [("Ceil",), ("Neg",), ("Mul", "_", 0.5)],
    "Sign(x - 0.25)": [("Sub", "x", 0.25), ("Sign",)],
    "Relu(Floor(x))": [("Floor",), ("Relu",)],
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_within_the_bound(name: str) -> None:
    for source in INPUTS:
        result = Grid("int16", 2.0**-11, 100) if source.dtype == "int16" else Grid("uint16", 0.00031, 20000)
        model = chain_model(CONTINUOUS[name], source, result, 65536)
        _, made = lowered(model, source, result)
        difference = np.abs(made - expected(model, source, result))
        worst = int(difference.argmax())
        assert difference[worst] <= BOUND, f"{name} of {source}: {difference[worst]} steps at {source.codes()[worst]}"


@pytest.mark.parametrize("name", STEPPED)
def test_integer_results_are_exact(name: str) -> None:
    for source in INPUTS:
        for result in (Grid(source.dtype, source.scale, source.zero_point), Grid("int16", 0.7, -9), Grid("int8", 1.0, 3)):
            model = chain_model(STEPPED[name], source, result, 65536)
            _, made = lowered(model, source, result)
            wrong = np.flatnonzero(made != expected(model, source, result))
            assert wrong.size == 0, f"{name} of {source} in {result}: {wrong.size}, first {source.codes()[wrong[0]]}"


def test_16_to_8_bits_within_a_step() -> None:
    for name in ("Reciprocal", "Log", "Tan", "Sigmoid", "x - Floor(x)"):
        for source in INPUTS[:2]:
            result = Grid("uint8", 0.03, 100)
            model = chain_model(CONTINUOUS[name], source, result, 65536)
            _, made = lowered(model, source, result)
            difference = np.abs(made - expected(model, source, result))
            assert difference.max() <= 1 and np.mean(difference > 0) < 0.03, name


def test_which_expressions_have_steps_only() -> None:
    floor = ("Floor", ("Mul", ("x",), ("const", 0.3)))
    assert has_steps_only(floor)
    assert has_steps_only(("Div", ("Neg", floor), ("const", 2.0)))
    assert not has_steps_only(("Sub", ("x",), floor))
    assert not has_steps_only(("Sigmoid", ("x",)))
