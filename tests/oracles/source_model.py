"""A source graph written back as ONNX (newest opset), so that onnx's reference can say what the graph means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

from espgen.ir import Graph, Node

RUNTIME_OPSET = 21
"""The newest opset whose every operator here onnxruntime has."""

_AS_INPUTS: dict[str, tuple[tuple[str, int], ...]] = {
    "Clip": (("min", 1), ("max", 2)),
    "Pad": (("pads", 1), ("value", 2)),
    "Slice": (("starts", 1), ("ends", 2), ("axes", 3), ("steps", 4)),
    "Split": (("sizes", 1),),
    "Tile": (("repeats", 1),),
}


def to_onnx(graph: Graph, opset: int = 24) -> ModelProto:
    """The ONNX model that the canonical attributes describe."""
    initializers = [numpy_helper.from_array(np.asarray(data), name) for name, data in graph.constants.items()]
    nodes = []
    for node in graph.nodes:
        nodes.append(_node(graph, node, initializers))
    infos = [
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(graph.value(name).dtype.numpy), None)
            for name in names
        ]
        for names in (graph.inputs, graph.outputs)
    ]
    made = helper.make_graph(nodes, graph.name, infos[0], infos[1], initializers)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def _infos(graph: Graph, names: tuple[str, ...]) -> list[onnx.ValueInfoProto]:
    kinds = [helper.np_dtype_to_tensor_dtype(graph.value(name).dtype.numpy) for name in names]
    return [helper.make_tensor_value_info(name, kind, None) for name, kind in zip(names, kinds, strict=True)]


def run_float(graph: Graph, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs of a source graph in onnxruntime, graph optimizations off; skips the test where it is not installed."""
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    data = to_onnx(graph, RUNTIME_OPSET).SerializeToString()
    session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return dict(zip(graph.outputs, session.run(None, dict(feeds)), strict=True))


def _node(graph: Graph, node: Node, initializers: list[onnx.TensorProto]) -> onnx.NodeProto:
    attrs: dict[str, Any] = dict(node.attrs)
    inputs = list(node.inputs)

    def add(index: int, data: np.ndarray) -> None:
        name = f"{node.name}#{index}"
        inputs.extend([""] * (index + 1 - len(inputs)))
        inputs[index] = name
        initializers.append(numpy_helper.from_array(data, name))

    dtype = graph.value(inputs[0]).dtype.numpy if inputs and inputs[0] else None
    if node.op in ("Reshape", "Expand"):
        add(1, np.array(graph.value(node.outputs[0]).shape, np.int64))
    elif node.op in ("QuantizeLinear", "DequantizeLinear"):
        quant = attrs.pop("quant")
        integers = graph.value(node.outputs[0] if node.op == "QuantizeLinear" else inputs[0]).dtype.numpy
        shape: Any = () if quant.axis is None else (-1,)
        add(1, np.array(quant.scale, np.float32).reshape(shape))
        add(2, np.array(quant.zero_point, integers).reshape(shape))
        if quant.axis is not None:
            attrs["axis"] = quant.axis
    elif node.op == "Resize":
        if "roi" in attrs:
            add(1, np.array(attrs.pop("roi"), np.float32))
        sizes, scales = attrs.pop("sizes"), attrs.pop("scales")
        shape_in = graph.value(inputs[0]).shape
        floors = tuple(int(np.floor(extent * scale)) for extent, scale in zip(shape_in, scales, strict=True))
        add(2, np.array(scales, np.float32)) if floors == sizes else add(3, np.array(sizes, np.int64))
    elif node.op.startswith("Reduce"):
        add(1, np.array(attrs.pop("axes"), np.int64))
    elif node.op == "Cast":
        attrs["to"] = helper.np_dtype_to_tensor_dtype(np.dtype(attrs["to"]))
    for key, index in _AS_INPUTS.get(node.op, ()):
        value = attrs.pop(key)
        if value is None:
            continue
        if key == "ends":
            value = [-(2**40) if end < 0 else end for end in value]
        add(index, np.array(value, np.int64 if key not in ("min", "max", "value") else dtype))
    return helper.make_node(node.op, inputs, [name or "" for name in node.outputs], name=node.name, **attrs)
