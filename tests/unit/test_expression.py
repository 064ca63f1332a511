"""Elementwise expressions: every function against onnx's reference, and the edges of evaluation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from onnx import defs
from onnx.reference import ReferenceEvaluator
from onnx_models import node

from espgen.errors import EspgenError
from espgen.ops.expression import ATTRIBUTES, BINARY, UNARY, X, apply, evaluate

POINTS = np.linspace(-6.0, 6.0, 241)
DOMAIN = {"Acos": (-1, 1), "Asin": (-1, 1), "Acosh": (1, 6), "Atanh": (-0.99, 0.99), "Log": (0.01, 6), "Sqrt": (0, 6)}
GIVEN: dict[str, dict[str, Any]] = {
    "Clip": {"min": -1.0, "max": 2.0}, "LeakyRelu": {"alpha": 0.3}, "Celu": {"alpha": 0.7}, "Elu": {"alpha": 1.3},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.4}, "Selu": {"alpha": 1.6, "gamma": 1.1}, "Shrink": {"lambd": 1.5, "bias": 0.5},
    "Swish": {"alpha": 1.5}, "ThresholdedRelu": {"alpha": 1.0},
}  # fmt: skip


@pytest.mark.parametrize("op", sorted(set(UNARY) - {"Gelu"}))
def test_unary_functions_are_onnx(op: str) -> None:
    low, high = DOMAIN.get(op, (-6.0, 6.0))
    x = np.linspace(low, high, 241)
    attrs = GIVEN.get(op, {})
    if op == "Clip":
        made, feeds = node(op, "x a b", "y"), {"x": x, "a": np.array(-1.0), "b": np.array(2.0)}
    else:
        made, feeds = node(op, "x", "y", **attrs), {"x": x}
    expected = ReferenceEvaluator(made, opsets={"": defs.onnx_opset_version()}).run(None, feeds)[0]
    np.testing.assert_allclose(evaluate(apply(op, X, attrs), x), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("op", sorted(BINARY))
def test_binary_functions_are_onnx(op: str) -> None:
    x = np.abs(POINTS) if op == "Pow" else POINTS
    made = node(op, "x k", "y")
    expected = ReferenceEvaluator(made, opsets={"": 17}).run(None, {"x": x, "k": np.array(1.7)})[0]
    np.testing.assert_allclose(evaluate((op, X, ("const", 1.7)), x), expected)


def test_attributes_follow_the_operand() -> None:
    assert apply("LeakyRelu", X, {"alpha": 0.25}) == ("LeakyRelu", ("x",), 0.25)
    assert set(ATTRIBUTES) <= set(UNARY)
    for op, names in ATTRIBUTES.items():
        if op != "Clip":
            assert set(names) <= set(defs.get_schema(op).attributes)


def test_edges() -> None:
    assert evaluate(("Log", X), np.array([0.0, -1.0])).tolist() == [-np.inf, 0.0]
    assert evaluate(("Reciprocal", X), np.array([0.0])).tolist() == [np.inf]
    assert evaluate(("const", 2.0), np.zeros((2, 3))).shape == (2, 3)
    assert evaluate(("Sigmoid", X), np.array([-1e4, 1e4])).tolist() == [0.0, 1.0]
    with pytest.raises(EspgenError, match="Frob"):
        evaluate(("Frob", X), np.zeros(1))


def test_gelu() -> None:
    exact = [0.5 * x * math.erfc(-x / math.sqrt(2.0)) for x in POINTS]
    np.testing.assert_allclose(evaluate(("Gelu", X, "none"), POINTS), exact, rtol=1e-7, atol=1e-15)
    tanh = [0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) for x in POINTS]
    np.testing.assert_allclose(evaluate(("Gelu", X, "tanh"), POINTS), tanh, rtol=1e-7, atol=1e-15)
