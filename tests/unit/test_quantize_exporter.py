"""Graphs that exporters of today write: scalar constants, operators that came after opset 17."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from espgen.errors import EspgenError
from espgen.frontend import load_onnx
from espgen.ir import Graph, Node
from espgen.passes.pipeline import lower_to_integer
from espgen.quantize.exporter import OPSET, float_model, qdq_bytes
from espgen.quantize.model import TensorQuant
from espgen.quantize.pipeline import fidelity, quantize, run_float
from espgen.quantize.settings import Settings
from tests.unit.quantize_nets import Net, images


def later_operators() -> Graph:
    net = Net((1, 3, 16, 16), 3)
    net.conv(8, 3, 2)
    net.add("Mish", (net.last,), net.shape)
    net.conv(8)
    net.add("Gelu", (net.last,), net.shape, approximate="none")
    net.add("ReduceMax", (net.last,), (1, 8, 8), axes=(3,), keepdims=0)
    net.add("Mul", (net.last, net.constant("half", np.array(0.5))), net.shape)
    net.add("ReduceMean", (net.last,), (1, 8), axes=(2,), keepdims=0)
    return net.graph()


def test_operators_of_later_opsets_are_quantized_and_compiled(tmp_path: Path) -> None:
    graph = later_operators()
    data = {"input": images(32, seed=1)}
    model = quantize(graph, data, Settings(correction="float"))
    assert fidelity(model.reference, model, {"input": images(32, seed=2)}).judged < 0.002
    path = tmp_path / "model.onnx"
    path.write_bytes(qdq_bytes(model))
    onnx.checker.check_model(onnx.load(path))
    assert [entry.version for entry in onnx.load(path).opset_import if not entry.domain] == [20]
    lower_to_integer(load_onnx(path))


def test_axes_become_inputs_where_the_opset_wants_them() -> None:
    graph = later_operators()
    x = {"input": images(2, seed=3)}
    again = load_onnx(float_model(graph))
    np.testing.assert_array_equal(run_float(again, x)[again.outputs[0]], run_float(graph, x)[graph.outputs[0]])


def test_no_newer_opset_than_needed() -> None:
    net = Net((1, 3, 16, 16), 3)
    net.conv(8, 3, 2)
    net.add("ReduceMean", (net.last,), (1, 8), axes=(2, 3), keepdims=0)
    assert onnx.load_from_string(float_model(net.graph())).opset_import[0].version == OPSET


def test_operators_of_no_opset_are_refused() -> None:
    graph = later_operators()
    strange = graph.updated(nodes=[*graph.nodes[:-1], Node("odd", "Oddity", graph.nodes[-1].inputs, graph.nodes[-1].outputs, {})])
    with pytest.raises(EspgenError, match="operator Oddity is in no opset") as error:
        float_model(strange)
    assert error.value.node == "odd"


def test_scalars_are_quantized() -> None:
    integers = TensorQuant(0.5, 3).integers(np.float32(2.0))
    assert integers.shape == ()
    assert int(integers) == 7


def test_batches_keep_every_sample_behind_a_slice() -> None:
    """A Slice names every axis; its end on the first one, 1, must not cut a batch to its first sample."""
    net = Net((1, 3, 16, 16), 3)
    net.conv(8, 3, 2)
    whole = {"axes": (0, 1, 2, 3), "steps": (1, 1, 1, 1)}
    net.add("Slice", (net.last,), (1, 4, 8, 8), starts=(0, 2, 0, 0), ends=(1, 6, 8, 8), **whole)
    net.add("Slice", (net.last,), (1, 4, 8, 8), starts=(0, 0, 0, 0), ends=(1, 4, 8, 8), **whole)
    graph = net.graph()
    x = images(6, seed=3)
    together = run_float(graph, {"input": x})[graph.outputs[0]]
    one_by_one = [run_float(graph, {"input": sample[None]})[graph.outputs[0]] for sample in x]
    np.testing.assert_allclose(together, np.concatenate(one_by_one), atol=1e-6)


def test_means_over_the_samples_are_not_batched() -> None:
    net = Net((1, 3, 16, 16), 3)
    net.add("ReduceMean", (net.last,), (1, 1, 16, 16), axes=(0, 1), keepdims=1)
    graph = net.graph()
    x = images(3, seed=3)
    np.testing.assert_allclose(run_float(graph, {"input": x})[graph.outputs[0]], x.mean(axis=1, keepdims=True), atol=1e-6)
