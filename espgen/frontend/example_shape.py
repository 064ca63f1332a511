"""A shape that a graph input without one might have, as the first layer that reads it says."""

from __future__ import annotations

from onnx import GraphProto, NodeProto

_ANYTHING = (1, 3, 32, 32)
_EXTENT = 32
"""Height and width of the example, where nothing tells them."""

_WEIGHTS = {"QLinearConv": 3, "QLinearMatMul": 3}
"""Which operand holds the weights; 1 elsewhere."""


def example_shape(graph: GraphProto, name: str) -> tuple[int, ...]:
    """Batch 1, the channels that the first convolution or matrix product behind input `name` wants, and some extent."""
    sizes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    reached = {name}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input and node.input[0] in sizes:
            sizes[node.output[0]] = sizes[node.input[0]]
        elif node.input and node.input[0] in reached:
            shape = _read(node, sizes)
            if shape is not None:
                return shape
            reached.update(node.output)
    return _ANYTHING


def _read(node: NodeProto, sizes: dict[str, tuple[int, ...]]) -> tuple[int, ...] | None:
    """The input shape that a product by constant weights takes, None for any other node."""
    index = _WEIGHTS.get(node.op_type, 1)
    weights = sizes.get(node.input[index]) if len(node.input) > index else None
    if weights is None or len(weights) < 2:
        return None
    integers = {attribute.name: attribute.i for attribute in node.attribute}
    if "MatMul" in node.op_type:
        return 1, weights[-2]
    if "Gemm" in node.op_type:
        return 1, weights[1 if integers.get("transB") else 0]
    if node.op_type == "ConvTranspose":
        return 1, weights[0], *(_EXTENT,) * (len(weights) - 2)
    if "Conv" in node.op_type:
        return 1, weights[1] * max(1, integers.get("group", 1)), *(_EXTENT,) * (len(weights) - 2)
    return None
