"""remove_identity: nodes that change nothing vanish, copies that outputs need stay."""

from __future__ import annotations

from espgen.ir import DType, Graph, Node, QuantParams, Value, verify
from espgen.passes import remove_identity

QUANT = QuantParams.tensor(0.5, 3)


def graph(second: Value, op: str = "Requantize", **attrs: object) -> Graph:
    values = {"x": Value("x", (4,), DType.INT8, QUANT), "a": second, "y": Value("y", (4,), DType.INT8, QUANT)}
    nodes = (Node("one", op, ("x",), ("a",), attrs), Node("two", "Add", ("a", "a"), ("y",)))
    return Graph("g", ("x",), ("y",), nodes, values, {})


def test_equal_parameters_vanish() -> None:
    for op in ("Requantize", "Identity"):
        after = remove_identity.run(graph(Value("a", (4,), DType.INT8, QUANT), op))
        verify(after, "remove_identity")
        assert [(node.op, node.inputs) for node in after.nodes] == [("Add", ("x", "x"))]


def test_what_changes_something_stays() -> None:
    for second in (Value("a", (4,), DType.INT16, QUANT), Value("a", (4,), DType.INT8, QuantParams.tensor(0.5, 4))):
        assert len(remove_identity.run(graph(second)).nodes) == 2
    assert len(remove_identity.run(graph(Value("a", (4,), DType.INT8, QUANT), clip=(0.0, None))).nodes) == 2


def test_a_copy_from_input_to_output_stays() -> None:
    copied = graph(Value("a", (4,), DType.INT8, QUANT)).updated(outputs=("y", "a"))
    assert [node.op for node in remove_identity.run(copied).nodes] == ["Requantize", "Add"]
