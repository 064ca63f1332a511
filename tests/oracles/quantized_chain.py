"""Float nodes between one QuantizeLinear/DequantizeLinear pair and another: onnxruntime's integers and espgen's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from espgen.frontend import load_onnx
from espgen.interpret.integer import run_integer
from espgen.ir import Graph
from espgen.ir.layout import from_layout, to_layout
from espgen.passes.pipeline import lower_to_integer


@dataclass(frozen=True)
class Grid:
    """Type ("int8", "uint16", ...), scale and zero point of a quantized tensor."""

    dtype: str
    scale: float
    zero_point: int

    @property
    def limits(self) -> tuple[int, int]:
        return int(np.iinfo(self.dtype).min), int(np.iinfo(self.dtype).max)

    def codes(self) -> np.ndarray:
        """Every integer of the type, int64."""
        return np.arange(self.limits[0], self.limits[1] + 1)


def chain_model(steps: Sequence[Sequence[object]], source: Grid, result: Grid, count: int) -> bytes:
    """x -> Q -> DQ -> steps -> Q -> DQ -> y; the last step's float result is output `real`, too.

    A step is (operator,) or (operator, left, right) of numbers, "x" (the first value) and "_" (the running value).
    """
    nodes: list[NodeProto] = []
    constants = []

    def constant(data: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(data, f"c{len(constants)}"))
        return f"c{len(constants) - 1}"

    def pair(name: str, grid: Grid, output: str) -> None:
        point = np.array(grid.zero_point, grid.dtype)
        for op, taken, made in (("QuantizeLinear", name, f"{output}_q"), ("DequantizeLinear", f"{output}_q", output)):
            nodes.append(helper.make_node(op, [taken, constant(np.float32(grid.scale)), constant(point)], [made]))

    pair("x", source, "x0")
    running = "x0"
    for number, (op, *operands) in enumerate(steps):
        names = {"x": "x0", "_": running}
        taken = [names[item] if isinstance(item, str) else constant(np.float32(item)) for item in operands] or [running]
        running = f"s{number}"
        nodes.append(helper.make_node(str(op), taken, [running]))
    pair(running, result, "y")
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, (count,))]
    graph = helper.make_graph(
        nodes, "chain", [helper.make_tensor_value_info("x", TensorProto.FLOAT, (count,))], outputs, constants
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return bytes(model.SerializeToString())


def expected(model: bytes, source: Grid, result: Grid) -> np.ndarray:
    """onnxruntime's integers for every input, optimizations off; not-a-number gives the zero point (docs/arithmetic.md)."""
    runtime = pytest.importorskip("onnxruntime")
    proto = onnx.load_model_from_string(model)
    real = proto.graph.node[-2].input[0]
    if real != "x0":
        proto.graph.output.append(helper.make_tensor_value_info(real, TensorProto.FLOAT, None))
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = runtime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = (source.codes() - source.zero_point).astype(np.float32) * np.float32(source.scale)
    held, *before = session.run(None, {"x": x})
    steps = np.rint(held.astype(np.float64) / np.float64(np.float32(result.scale))).astype(np.int64) + result.zero_point
    for values in before:
        steps = np.where(np.isnan(values), result.zero_point, steps)
        steps = np.where(values == np.inf, result.limits[1], steps)
        steps = np.where(values == -np.inf, result.limits[0], steps)
    return steps


def lowered(model: bytes, source: Grid, result: Grid) -> tuple[Graph, np.ndarray]:
    """The integer graph, and its integers for every input, on the result's grid."""
    graph = lower_to_integer(load_onnx(model))
    value = graph.value(graph.inputs[0])
    assert value.dtype.value == source.dtype
    (made,) = run_integer(graph, {graph.inputs[0]: to_layout(source.codes().astype(source.dtype), value.layout)}).values()
    output = graph.value(graph.outputs[0])
    assert output.dtype.value == result.dtype
    return graph, from_layout(made, output.layout).astype(np.int64)
