"""Small ONNX models for tests: nodes, inputs and initializers in a few words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

TYPES = {"float32": TensorProto.FLOAT, "int8": TensorProto.INT8, "uint8": TensorProto.UINT8, "int64": TensorProto.INT64}


def node(op: str, inputs: str, outputs: str, domain: str = "", **attrs: Any) -> NodeProto:
    """A node; inputs and outputs separated by spaces, `-` for an absent one."""
    names = [["" if name == "-" else name for name in text.split()] for text in (inputs, outputs)]
    return helper.make_node(op, *names, name=f"{op}_{names[1][0] if names[1] else ''}", domain=domain, **attrs)


def model(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Sequence[int | str | None]],
    outputs: Sequence[str],
    constants: Mapping[str, Any] | None = None,
    opset: int = 17,
    types: Mapping[str, str] | None = None,
    contrib: bool = False,
) -> ModelProto:
    """A model of `nodes`; inputs are float32 unless `types` says otherwise."""
    infos = [
        helper.make_tensor_value_info(name, TYPES[(types or {}).get(name, "float32")], list(shape))
        for name, shape in inputs.items()
    ]
    results = [helper.make_tensor_value_info(name, TYPES[(types or {}).get(name, "float32")], None) for name in outputs]
    initializers = [numpy_helper.from_array(np.asarray(data), name) for name, data in (constants or {}).items()]
    graph = helper.make_graph(list(nodes), "test", infos, results, initializers)
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid("com.microsoft", 1)] if contrib else [])
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def serialized(*args: Any, **kwargs: Any) -> bytes:
    """`model` as bytes."""
    return model(*args, **kwargs).SerializeToString()


def qdq(name: str, scale: float, zero_point: Any, real: str | None = None) -> tuple[list[NodeProto], dict[str, Any]]:
    """Nodes that quantize `real` (default `name`) to `name_q` and read it back as `name_dq`, and their constants."""
    source = real or name
    constants = {f"{name}_s": np.float32(scale), f"{name}_z": zero_point}
    parameters = f"{name}_s {name}_z"
    nodes = [
        node("QuantizeLinear", f"{source} {parameters}", f"{name}_q"),
        node("DequantizeLinear", f"{name}_q {parameters}", f"{name}_dq"),
    ]
    return nodes, constants
