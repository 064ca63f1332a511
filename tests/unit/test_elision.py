"""Values that need no storage of their own: the network still computes the same bytes, and the copies are gone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from espgen import arith
from espgen.codegen.build import Options, generate, plan_graph
from espgen.interpret import run_layers
from espgen.ir import DType, Graph, QuantParams
from espgen.ops.base import Array, GraphBuilder
from espgen.verify.compare import Comparison, compare_host
from espgen.verify.host import HostModel
from espgen.verify.toolchain import build_host


def pointwise(builder: GraphBuilder, source: str, inputs: int, outputs: int, name: str, size: int = 6) -> str:
    """A 1x1 convolution with random weights."""
    rng = np.random.default_rng(len(builder.nodes))
    weights: Array = rng.integers(-127, 128, (outputs, 1, 1, inputs)).astype(np.int8)
    builder.constant(f"{name}_w", weights, QuantParams((1.0,) * outputs, (0,) * outputs, 0))
    builder.constant(f"{name}_b", np.zeros(outputs, np.int32))
    attrs = {"strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1), "groups": 1, "low": -128, "high": 127}
    operands = (source, f"{name}_w", f"{name}_b")
    return builder.node("conv2d", operands, (1, size, size, outputs), output=name, requant=arith.Shift((9,)), **attrs)


def branches(first: int, second: int) -> Graph:
    """Two convolutions and an Add into a Concat along the channels, read by a convolution; a Slice of the result."""
    builder = GraphBuilder("branches")
    builder.input("x", (1, 6, 6, 16))
    left = pointwise(builder, "x", 16, first, "left")
    right = pointwise(builder, "x", 16, second, "right")
    weights = arith.Weights((1, 1), 1)
    doubled = builder.node("add", (right, right), (1, 6, 6, second), output="sum", weights=weights, low=-128, high=127)
    joined = builder.node("concat", (left, doubled), (1, 6, 6, first + second), output="joined", axis=3)
    end = pointwise(builder, joined, first + second, 16, "end")
    starts, steps = (0, 0, 0, first), (1, 1, 1, 1)
    part = builder.node("slice", (joined,), (1, 6, 6, second), output="part", starts=starts, steps=steps)
    tail = pointwise(builder, part, second, 8, "tail")
    return builder.build([end, tail])


@pytest.mark.parametrize(("first", "second", "views"), [(16, 32, 3), (48, 16, 3), (24, 8, 0)])
def test_concat_and_slice_become_addresses(first: int, second: int, views: int, tmp_path: Path) -> None:
    graph = branches(first, second)
    planned = plan_graph(graph, Options())
    assert len(planned.storage.views) == views
    for kernels in ("auto", "portable"):
        component = generate(graph, tmp_path / kernels, options=Options(kernels=kernels), name="branches", extra={})
        rng = np.random.default_rng(1)
        sample = {"x": rng.integers(-128, 128, (1, 6, 6, 16)).astype(np.int8)}
        with HostModel(build_host(component)) as model:
            comparison = Comparison(model.layers)
            compare_host(model, sample, run_layers(graph, sample), comparison, 0)
        assert comparison.equal, comparison.to_json()


def test_a_graph_output_keeps_its_own_storage() -> None:
    graph = branches(16, 16)
    seen = graph.updated(outputs=[*graph.outputs, "left"])
    assert "left" not in plan_graph(seen, Options()).storage.views
    assert graph.value("left").dtype is DType.INT8
