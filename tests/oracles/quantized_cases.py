"""ONNX's float operator tests, quantized: Q/DQ around activations, integer weights, scales from the case's own data."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from node_cases import NodeCase
from onnx import ModelProto, NodeProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

OPSET = 21
"""The oldest opset whose QuantizeLinear has 16 bits, and one that onnxruntime runs."""

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")

_ODD = 1.0137
"""Scales are a little off round numbers, so that no result lies half way between two integers by design."""


@dataclass(frozen=True)
class QuantizedCase:
    """A Q/DQ model and float inputs for it, each exactly on a step of its scale."""

    name: str
    model: ModelProto
    inputs: dict[str, np.ndarray]


def quantize_case(case: NodeCase, dtype: type) -> QuantizedCase | None:
    """The case with every float activation in `dtype`; None where it has float data only the model's structure explains."""
    if any(data.dtype != np.float32 or data.size == 0 for data in (*case.inputs.values(), *case.expected)) or not case.inputs:
        return None
    opset = _opset(case)
    if opset is None or any(not np.all(np.isfinite(data)) for data in (*case.inputs.values(), *case.expected)):
        return None
    node = NodeProto()
    node.CopyFrom(case.model.graph.node[0])
    tensors = {tensor.name: tensor for tensor in case.model.graph.initializer}
    nodes: list[NodeProto] = []
    inputs: dict[str, np.ndarray] = {}
    for name, data in case.inputs.items():
        scale, zero = _parameters(data, dtype)
        _pair(nodes, tensors, name, f"{name}#dq", scale, zero)
        limits = np.iinfo(dtype)
        integers = np.clip(np.rint(data / scale) + int(zero), limits.min, limits.max)
        inputs[name] = ((integers - int(zero)) * scale).astype(np.float32)
    for index, name in enumerate(node.input):
        if name in inputs:
            node.input[index] = f"{name}#dq"
        elif index == 1 and node.op_type in WEIGHTED and name in tensors:
            node.input[index] = _weights(nodes, tensors, name)
    results = [name for name in node.output if name]
    for index, name in enumerate(node.output):
        node.output[index] = f"{name}#real" if name else ""
    nodes.append(node)
    for name, data in zip(results, case.expected, strict=True):
        scale, zero = _parameters(data, dtype)
        _pair(nodes, tensors, f"{name}#real", name, scale, zero)
    made = helper.make_graph(nodes, case.name, case.model.graph.input, case.model.graph.output, list(tensors.values()))
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return QuantizedCase(case.name, model, inputs)


def _opset(case: NodeCase) -> int | None:
    """An opset with 16-bit QuantizeLinear in which the operator is the case's own version; None if there is none."""
    own = int(case.model.opset_import[0].version)
    if own > OPSET:
        return own
    versions = [onnx.defs.get_schema(case.op, version, "").since_version for version in (own, OPSET)]
    return OPSET if versions[0] == versions[1] else None


def _parameters(data: np.ndarray, dtype: type) -> tuple[np.float32, Any]:
    limits = np.iinfo(dtype)
    low, high = min(0.0, float(data.min())), max(0.0, float(data.max()))
    if limits.min < 0 and limits.max > 200:  # int16 is symmetric, as ESP-DL's is
        return np.float32(max(-low, high, 1e-3) * _ODD / limits.max), dtype(0)
    scale = np.float32(max(high - low, 1e-3) * _ODD / (limits.max - limits.min))
    return scale, dtype(np.clip(round(limits.min - low / scale), limits.min, limits.max))


def _pair(nodes: list[NodeProto], tensors: dict[str, Any], source: str, target: str, scale: np.float32, zero: Any) -> None:
    for label, data in ((f"{source}#scale", scale), (f"{source}#zero", zero)):
        tensors[label] = numpy_helper.from_array(np.asarray(data), label)
    parameters = [f"{source}#scale", f"{source}#zero"]
    nodes.append(helper.make_node("QuantizeLinear", [source, *parameters], [f"{source}#q"]))
    nodes.append(helper.make_node("DequantizeLinear", [f"{source}#q", *parameters], [target]))


def _weights(nodes: list[NodeProto], tensors: dict[str, Any], name: str) -> str:
    data = numpy_helper.to_array(tensors[name])
    scale = np.float32(max(float(np.max(np.abs(data))), 1e-3) * _ODD / 127)
    integers = np.clip(np.rint(data / scale), -127, 127).astype(np.int8)
    for label, content in ((f"{name}#int", integers), (f"{name}#scale", scale), (f"{name}#zero", np.int8(0))):
        tensors[label] = numpy_helper.from_array(np.asarray(content), label)
    nodes.append(helper.make_node("DequantizeLinear", [f"{name}#int", f"{name}#scale", f"{name}#zero"], [f"{name}#dq"]))
    return f"{name}#dq"


def expected_candidates(case: QuantizedCase) -> list[list[np.ndarray]]:
    """What onnxruntime and onnx's reference make of the model, as far as they run it: each has operators it gets wrong."""
    found = []
    with suppress(Exception):  # an operator or opset it does not have
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(case.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        found.append(session.run(None, case.inputs))
    with suppress(Exception), np.errstate(all="ignore"):
        found.append([np.asarray(result) for result in ReferenceEvaluator(case.model).run(None, case.inputs)])
    return found
