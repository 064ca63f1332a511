"""fuse_functions: one table with the integers of several; what others read, or has 16 bits, stays."""

from __future__ import annotations

import numpy as np
import pytest
from quantized_oracle import simulate

from espgen.ir import DType, Graph, Node, QuantParams, Value, verify
from espgen.ops.expression import X
from espgen.passes import fuse_functions

EVERY = np.arange(-128, 128).astype(np.int8)
SIGMOID = Node("s", "Unary", ("x",), ("a",), {"expression": ("Sigmoid", X)})


def graph(*nodes: Node, dtype: DType = DType.INT8, inputs: tuple[str, ...] = ("x",), outputs: tuple[str, ...] = ("y",)) -> Graph:
    scales = {"x": (0.06, -5), "z": (0.07, 3), "a": (1 / 256, -128), "b": (0.05, 9), "y": (0.043, -100)}
    values = {name: Value(name, (256,), dtype, QuantParams.tensor(*quant)) for name, quant in scales.items()}
    used = {name for node in nodes for name in (*node.inputs, *node.outputs)} | set(inputs)
    return Graph("g", inputs, outputs, nodes, {name: values[name] for name in used}, {})


FUSED = [
    graph(SIGMOID, Node("m", "Mul", ("x", "a"), ("y",))),
    graph(SIGMOID, Node("m", "Mul", ("a", "x"), ("y",), {"clip": (0.0, 3.0)})),
    graph(SIGMOID, Node("m", "Sub", ("a", "a"), ("y",))),
    graph(SIGMOID, Node("t", "Unary", ("x",), ("b",), {"expression": ("Tanh", X)}), Node("m", "Add", ("a", "b"), ("y",))),
    graph(SIGMOID, Node("t", "Unary", ("a",), ("y",), {"expression": ("Mul", ("Sqrt", X), X)})),
    graph(
        SIGMOID, Node("t", "Unary", ("a",), ("b",), {"expression": ("Sqrt", X), "clip": (0.1, None)}),
        Node("m", "Mul", ("b", "x"), ("y",)),
    ),
]  # fmt: skip


@pytest.mark.parametrize("before", FUSED, ids=range(len(FUSED)))
def test_functions_of_one_value_become_one(before: Graph) -> None:
    after = fuse_functions.run(before)
    verify(after, "fuse_functions")
    assert [(node.op, node.inputs) for node in after.nodes] == [("Unary", ("x",))]
    np.testing.assert_array_equal(simulate(after, {"x": EVERY})["y"], simulate(before, {"x": EVERY})["y"])


LEFT = [
    graph(SIGMOID, Node("m", "Mul", ("x", "a"), ("y",)), dtype=DType.INT16),
    graph(SIGMOID, Node("m", "Mul", ("x", "a"), ("y",)), outputs=("y", "a")),
    graph(SIGMOID, Node("m", "Mul", ("z", "a"), ("y",)), inputs=("x", "z")),
    graph(Node("m", "Mul", ("x", "x"), ("y",))),
    graph(SIGMOID, Node("m", "Concat", ("a", "x"), ("y",), {"axis": 0})),
]


@pytest.mark.parametrize("before", LEFT, ids=["16 bits", "read elsewhere", "two values", "no table", "movement"])
def test_the_rest_stays(before: Graph) -> None:
    assert fuse_functions.run(before) is before
