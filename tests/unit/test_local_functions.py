"""Local functions: defaults, overloads, opsets of their own, names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from onnx import AttributeProto, FunctionProto, NodeProto, TensorProto, helper

from espgen.errors import EspgenError
from espgen.frontend import load_onnx
from espgen.ir import Graph

STANDARD, OWN = helper.make_opsetid("", 17), helper.make_opsetid("own", 1)


def referring(op: str, attribute: str, outer: str, kind: AttributeProto.AttributeType, domain: str = "") -> NodeProto:
    """op(a) -> b whose `attribute` is what the function's caller gives as `outer`."""
    made = helper.make_node(op, ["a"], ["b"], domain=domain)
    made.attribute.append(AttributeProto(name=attribute, ref_attr_name=outer, type=kind))
    return made


def function(
    name: str,
    nodes: Sequence[NodeProto],
    attributes: Sequence[str] = (),
    defaults: Sequence[AttributeProto] = (),
    opset: int = 17,
) -> FunctionProto:
    opsets = [helper.make_opsetid("", opset), OWN]
    return helper.make_function("own", name, ["a"], ["b"], nodes, opsets, attributes, attribute_protos=defaults)


def read(nodes: Sequence[NodeProto], functions: Sequence[FunctionProto]) -> Graph:
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "calls", info[:1], info[1:])
    model = helper.make_model(graph, functions=functions, opset_imports=[STANDARD, OWN], ir_version=10)
    return load_onnx(model.SerializeToString())


LEAKY = function(
    "slope", [referring("LeakyRelu", "alpha", "alpha", AttributeProto.FLOAT)], defaults=[helper.make_attribute("alpha", 0.25)]
)


def call(name: str, source: str = "x", result: str = "y", **attrs: object) -> NodeProto:
    return helper.make_node(name, [source], [result], domain="own", **attrs)


def test_an_absent_attribute_has_its_default() -> None:
    assert read([call("slope")], [LEAKY]).nodes[0].attrs["alpha"] == 0.25


def test_a_given_attribute_wins() -> None:
    assert read([call("slope", alpha=0.75)], [LEAKY]).nodes[0].attrs["alpha"] == 0.75


@pytest.mark.parametrize(("given", "expected"), [({}, 0.25), ({"outer": 0.5}, 0.5)])
def test_a_caller_hands_on_what_it_got(given: dict[str, float], expected: float) -> None:
    outer = function("handing", [referring("slope", "alpha", "outer", AttributeProto.FLOAT, "own")], ["outer"])
    assert read([call("handing", **given)], [LEAKY, outer]).nodes[0].attrs["alpha"] == pytest.approx(expected)


def test_an_absent_attribute_without_default_is_the_operators() -> None:
    plain = function("plain", [referring("LeakyRelu", "alpha", "alpha", AttributeProto.FLOAT)], ["alpha"])
    assert read([call("plain")], [plain]).nodes[0].attrs["alpha"] == pytest.approx(0.01)


def test_a_constant_of_a_default() -> None:
    value = helper.make_attribute("value", helper.make_tensor("v", TensorProto.FLOAT, [1, 4], [1.0, 2.0, 3.0, 4.0]))
    constant = helper.make_node("Constant", [], ["c"])
    constant.attribute.append(AttributeProto(name="value", ref_attr_name="value", type=AttributeProto.TENSOR))
    shifted = function("shifted", [constant, helper.make_node("Add", ["a", "c"], ["b"])], defaults=[value])
    graph = read([call("shifted", "x", "m"), call("shifted", "m", "y")], [shifted])
    assert [sorted(data.reshape(-1).tolist()) for data in graph.constants.values()] == [[1.0, 2.0, 3.0, 4.0]] * 2


def test_overloads_are_different_functions() -> None:
    first, second = (function("act", [helper.make_node(op, ["a"], ["b"])]) for op in ("Relu", "Tanh"))
    first.overload, second.overload = "one", "two"
    calls = [call("act", "x", "m", overload="two"), call("act", "m", "y", overload="one")]
    assert [node.op for node in read(calls, [first, second]).nodes] == ["Tanh", "Relu"]


def test_a_function_keeps_its_own_opset() -> None:
    """Before opset 13, Softmax runs over all axes from `axis` on: one row of the whole."""
    body = [
        helper.make_node("Constant", [], ["c"], value_floats=[0.0, 0.0, 0.0, 0.0]),
        helper.make_node("Constant", [], ["s"], value_ints=[1, 2, 2]),
        helper.make_node("Reshape", ["c", "s"], ["r"]),
        helper.make_node("Softmax", ["r"], ["p"], axis=1),
        helper.make_node("Constant", [], ["t"], value_ints=[1, 4]),
        helper.make_node("Reshape", ["p", "t"], ["q"]),
        helper.make_node("Add", ["a", "q"], ["b"]),
    ]
    for opset, expected in ((12, 0.25), (13, 0.5)):
        graph = read([call("old")], [function("old", body, opset=opset)])
        assert np.concatenate([data.reshape(-1) for data in graph.constants.values()]) == pytest.approx([expected] * 4)


def test_a_function_of_an_unknown_opset_is_refused() -> None:
    with pytest.raises(EspgenError, match="'act' uses opset 7"):
        read([call("act")], [function("act", [helper.make_node("Relu", ["a"], ["b"])], opset=7)])


def test_bodies_do_not_capture_names() -> None:
    """Values inside are called like values outside; an output that is an input; a call's second output unread."""
    body = [helper.make_node("Relu", ["a"], ["x"]), helper.make_node("Neg", ["x"], ["b"])]
    twice = helper.make_function("own", "pair", ["a"], ["b", "a"], body, [STANDARD])
    nodes = [
        helper.make_node("pair", ["x"], ["m", "same"], domain="own", name="first"),
        helper.make_node("pair", ["m"], ["n"], domain="own", name="second"),
        helper.make_node("Add", ["n", "same"], ["y"]),
    ]
    graph = read(nodes, [twice])
    assert [node.op for node in graph.nodes] == ["Relu", "Neg", "Relu", "Neg", "Add"]
    assert graph.nodes[-1].inputs[1] == "x"


def test_calls_inside_branches() -> None:
    branch = helper.make_graph(
        [call("slope", "x", "inner")], "branch", [], [helper.make_tensor_value_info("inner", TensorProto.FLOAT, [1, 4])]
    )
    condition = helper.make_node("Constant", [], ["always"], value=helper.make_tensor("c", TensorProto.BOOL, [], [True]))
    chosen = helper.make_node("If", ["always"], ["y"], then_branch=branch, else_branch=branch)
    assert read([condition, chosen], [LEAKY]).nodes[0].attrs["alpha"] == 0.25
