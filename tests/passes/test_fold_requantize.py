"""fold_requantize: same integers before and after, on every input; what rounds twice stays."""

from __future__ import annotations

import numpy as np
import pytest
from quantized_oracle import simulate

from espgen.ir import DType, Graph, Node, QuantParams, Value, verify
from espgen.ops.expression import X
from espgen.passes import fold_requantize

I8, U8, I16 = DType.INT8, DType.UINT8, DType.INT16
EVERY = np.arange(-128, 128).astype(np.int8)


def value(name: str, dtype: DType, scale: float, zero_point: int) -> Value:
    return Value(name, (256,), dtype, QuantParams.tensor(scale, zero_point))


def behind_a_table(source: Value, result: Value, inner: object = None, **attrs: object) -> Graph:
    expression = ("Mul", X, ("const", 1.7))
    nodes = (
        Node("table", "Unary", ("x",), (source.name,), {"expression": expression, **({} if inner is None else {"clip": inner})}),
        Node("requantize", "Requantize", (source.name,), (result.name,), attrs),
    )
    values = {"x": value("x", I8, 0.5, -3), source.name: source, result.name: result}
    return Graph("g", ("x",), (result.name,), nodes, values, {})


FOLDED = [
    behind_a_table(value("a", I8, 0.5, 10), value("y", U8, 0.5, 138)),
    behind_a_table(value("a", I8, 0.5, 10), value("y", I8, 0.5, -90)),
    behind_a_table(value("a", I8, 0.5, 10), value("y", I8, 0.5, 10), clip=(0.0, 6.0)),
    behind_a_table(value("a", I8, 0.5, 10), value("y", U8, 0.5, 0), inner=(-3.0, None), clip=(None, 9.5)),
    behind_a_table(value("a", U8, 0.5, 100), value("y", I8, 0.5, 0)),
]
LEFT = [
    behind_a_table(value("a", I8, 0.5, 10), value("y", I8, 0.25, 10)),
    behind_a_table(value("a", I8, 0.5, 10), value("y", I16, 0.5, 10)),
]


@pytest.mark.parametrize("graph", FOLDED, ids=range(len(FOLDED)))
def test_shifts_and_clips_go_into_the_producer(graph: Graph) -> None:
    after = fold_requantize.run(graph)
    verify(after, "fold_requantize")
    assert [node.op for node in after.nodes] == ["Unary"]
    np.testing.assert_array_equal(simulate(after, {"x": EVERY})["y"], simulate(graph, {"x": EVERY})["y"])


@pytest.mark.parametrize("graph", LEFT, ids=range(len(LEFT)))
def test_other_scales_and_widths_stay(graph: Graph) -> None:
    assert fold_requantize.run(graph) is graph


def test_a_value_with_other_readers_stays() -> None:
    graph = FOLDED[0]
    assert fold_requantize.run(graph.updated(outputs=("y", "a"))) is not None
    assert len(fold_requantize.run(graph.updated(outputs=("y", "a"))).nodes) == 2


def before_a_sum(scale: float, zero_point: int, dtype: DType, reader: str = "Add", **attrs: object) -> Graph:
    values = {
        "x": value("x", I8, 0.5, -3), "z": value("z", I8, 0.3, 1), "a": value("a", dtype, scale, zero_point),
        "y": value("y", I8, 0.8, 5),
    }  # fmt: skip
    nodes = (Node("finer", "Requantize", ("x",), ("a",), attrs), Node("sum", reader, ("a", "z"), ("y",)))
    return Graph("g", ("x", "z"), ("y",), nodes, values, {})


@pytest.mark.parametrize("reader", ["Add", "Sub", "Mul"])
def test_finer_scales_vanish_in_front_of_sums(reader: str) -> None:
    graph = before_a_sum(0.125, 7, I16, reader)
    after = fold_requantize.run(graph)
    verify(after, "fold_requantize")
    assert [node.op for node in after.nodes] == [reader]
    feeds = {"x": EVERY, "z": np.random.default_rng(1).permutation(EVERY)}
    np.testing.assert_array_equal(simulate(after, feeds)["y"], simulate(graph, feeds)["y"])


CHANGING = {
    "saturates": before_a_sum(0.125, 7, I8),
    "no divisor": before_a_sum(0.2, 7, I16),
    "coarser": before_a_sum(1.0, 7, I16),
    "clips": before_a_sum(0.5, -3, I8, clip=(0.0, None)),
    "shifted out of range": before_a_sum(0.5, 0, I8),
}


@pytest.mark.parametrize("graph", CHANGING.values(), ids=CHANGING)
def test_what_changes_numbers_stays(graph: Graph) -> None:
    assert len(fold_requantize.run(graph).nodes) == 2
