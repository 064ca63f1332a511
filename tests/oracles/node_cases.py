"""ONNX's own operator tests (onnx.backend.test.case.node) with parameters frozen into constants."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, numpy_helper

PARAMETERS: Mapping[str, tuple[int, ...]] = {
    "BatchNormalization": (1, 2, 3, 4),
    "Clip": (1, 2),
    "Conv": (1, 2),
    "ConvInteger": (1, 2, 3),
    "ConvTranspose": (1, 2),
    "DequantizeLinear": (1, 2),
    "Dropout": (1, 2),
    "Expand": (1,),
    "Gather": (1,),
    "Gemm": (1, 2),
    "MatMulInteger": (2, 3),
    "PRelu": (1,),
    "Pad": (1, 2, 3),
    "QLinearConv": (1, 2, 3, 4, 5, 6, 7, 8),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "QuantizeLinear": (1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "Unsqueeze": (1,),
    **dict.fromkeys(
        ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
         "ReduceSum", "ReduceSumSquare"), (1,)),
}  # fmt: skip
"""Operator -> inputs that are parameters of a compiled network: scales, zero points, weights, shapes, axes .."""


@dataclass(frozen=True)
class NodeCase:
    """One operator test: the model with its parameters as initializers, the remaining inputs, the expected outputs."""

    name: str
    op: str
    model: ModelProto
    inputs: Mapping[str, np.ndarray]
    expected: tuple[np.ndarray, ...]


@cache
def collected() -> tuple[Any, ...]:
    """onnx's generated test cases, of every operator."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # making the cases overflows on purpose
        from onnx.backend.test.case.node import collect_testcases

        return tuple(collect_testcases(None))


def node_cases(ops: frozenset[str]) -> list[NodeCase]:
    """The cases whose model is one node of `ops` (several, where a case is an expanded function, are left out)."""
    found = []
    for case in collected():
        model = case.model
        if len(model.graph.node) == 1 and model.graph.node[0].op_type in ops and not model.graph.node[0].domain:
            found.append(_frozen(case))
    return found


def _frozen(case: Any) -> NodeCase:
    model = ModelProto()
    model.CopyFrom(case.model)
    node = model.graph.node[0]
    given, expected = case.data_sets[0]
    arrays = {item.name: _array(data) for item, data in zip(model.graph.input, given, strict=True)}
    for index in PARAMETERS.get(node.op_type, ()):
        name = node.input[index] if index < len(node.input) else ""
        if name in arrays:
            kind = next(item.type.tensor_type.elem_type for item in model.graph.input if item.name == name)
            tensor = numpy_helper.from_array(arrays.pop(name), name)
            if tensor.data_type == kind:
                model.graph.initializer.append(tensor)
    real = [item for item in model.graph.input if item.name in arrays]
    del model.graph.input[:]
    model.graph.input.extend(real)
    _raise_opset(model)
    return NodeCase(case.name, node.op_type, model, arrays, tuple(_array(item) for item in expected))


def _array(data: Any) -> np.ndarray:
    """Some cases hold serialized tensors, for types numpy does not have."""
    return numpy_helper.to_array(data) if isinstance(data, onnx.TensorProto) else np.asarray(data)


def _raise_opset(model: ModelProto) -> None:
    """Opset 11, the oldest espgen reads, where the operator is the same there as in the case's own."""
    entry = model.opset_import[0]
    if entry.version >= 11:
        return
    op = model.graph.node[0].op_type
    versions = [onnx.defs.get_schema(op, version, "").since_version for version in (entry.version, 11)]
    if versions[0] == versions[1]:
        entry.version = 11


def type_of(tensor: onnx.TensorProto) -> str:
    """The element type's name, in numpy's spelling where numpy has it."""
    return onnx.TensorProto.DataType.Name(tensor.data_type).lower().replace("float4e2m1", "float4_e2m1fn")
