"""What is shared is walked once: expressions and movements that double in size with every step, as trees."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))
from onnx_models import node, qdq, serialized

from espgen.frontend import load_onnx
from espgen.ir import DType, Graph, Node, Value, dump
from espgen.ops.expression import Expression, X, evaluate, parts, substitute
from espgen.passes.pipeline import lower_to_integer

DEPTH = 60


def doubled(depth: int) -> Expression:
    """x -> x / 2 + x / 2, `depth` times: the variable itself, in 2^depth leaves."""
    expression = X
    for _ in range(depth):
        half = ("Mul", expression, ("const", 0.5))
        expression = ("Add", half, half)
    return expression


def test_evaluation_and_substitution() -> None:
    x = np.linspace(-3, 3, 7)
    np.testing.assert_allclose(evaluate(doubled(DEPTH), x), x)
    changed = substitute(doubled(DEPTH), ("Abs", X))
    np.testing.assert_allclose(evaluate(changed, x), np.abs(x))
    assert len(parts(changed)) < 5 * DEPTH


def test_depth_is_no_recursion() -> None:
    expression = X
    for _ in range(20_000):
        expression = ("Neg", expression)
    assert evaluate(expression, np.array([2.0])) == [2.0]
    assert evaluate(substitute(expression, ("Abs", X)), np.array([-2.0])) == [2.0]


@pytest.mark.parametrize("expression", [doubled(DEPTH), doubled(2)])
def test_dumps_are_short(expression: Expression) -> None:
    values = {name: Value(name, (1,), DType.INT8) for name in ("x", "y")}
    graph = Graph("g", ("x",), ("y",), (Node("n", "Unary", ("x",), ("y",), {"expression": expression}),), values, {})
    assert len(dump(graph)) < 500 * DEPTH


def compiled_within(model: bytes, seconds: float) -> Graph:
    start = time.monotonic()
    graph = lower_to_integer(load_onnx(model))
    assert time.monotonic() - start < seconds
    return graph


def test_a_chain_of_gates_is_one_table() -> None:
    first, constants = qdq("x", 0.05, np.int8(3))
    last, more = qdq("y", 0.03, np.int8(-5), f"s{DEPTH}")
    nodes, name = list(first), "x_dq"
    for index in range(1, DEPTH + 1):
        nodes += [node("Tanh", name, f"t{index}"), node("Add", f"{name} t{index}", f"a{index}")]
        nodes += [node("Mul", f"a{index} half", f"s{index}")]
        name = f"s{index}"
    model = serialized(nodes + last, {"x": [1, 8]}, ["y_dq"], {**constants, **more, "half": np.float32(0.5)}, opset=21)
    graph = compiled_within(model, 5.0)
    assert [item.op for item in graph.nodes].count("table") == 1


@pytest.mark.parametrize("reader", ["Relu", "Sigmoid", "QuantizeLinear"])
def test_movements_that_join_again(reader: str) -> None:
    """An open sum in two halves, joined and cut back, again and again: 2^60 paths."""
    first, constants = qdq("x", 0.05, np.int8(3))
    last, more = qdq("y", 0.03, np.int8(-5), "end")
    numbers = {"zero": np.array([0], np.int64), "eight": np.array([8], np.int64), "one": np.array([1], np.int64)}
    nodes, name = [*first, node("Add", "x_dq x_dq", "sum0")], "sum0"
    if reader == "QuantizeLinear":
        nodes[-1] = node("Mul", "x_dq other", "sum0")
    for index in range(1, DEPTH + 1):
        nodes += [node("Concat", f"{name} {name}", f"both{index}", axis=1)]
        nodes += [node("Slice", f"both{index} zero eight one", f"cut{index}")]
        name = f"cut{index}"
    nodes += [node("Identity" if reader == "QuantizeLinear" else reader, name, "end"), *last]
    other = {"other": np.linspace(0.1, 1.0, 8, dtype=np.float32)[None]}
    compiled_within(serialized(nodes, {"x": [1, 8]}, ["y_dq"], {**constants, **more, **numbers, **other}, opset=21), 5.0)
