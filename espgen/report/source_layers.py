"""The nodes of a model as `espgen inspect` lists them, quantized or float."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from espgen.ir import Graph, Node

_CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear"})
_FUSED = frozenset({"BatchNormalization", "Clip", "Identity", "Relu"})
"""Quantized together with the node in front of them."""


def source_layers(graph: Graph) -> list[dict[str, Any]]:
    """Every node of a source graph but conversions: `{"name", "op", "shape", "dtype", "macs"}`, in the graph's order.

    shape  of the first output, in the model's own layout
    dtype  in which the first output is held: of the QuantizeLinear behind it, else its own
    macs   multiply-accumulates; as for compiled layers, each element counts one that is added up in a mean or multiplied
    """
    consumers = graph.consumers()
    return [
        {
            "name": node.name,
            "op": node.op,
            "shape": list(graph.value(node.outputs[0]).shape),
            "dtype": _held(graph, consumers, node.outputs[0]),
            "macs": _MACS[node.op](graph, node) if node.op in _MACS else 0,
        }
        for node in graph.nodes
        if node.op not in _CONVERSIONS
    ]


def _held(graph: Graph, consumers: Mapping[str, Sequence[Node]], name: str) -> str:
    current = name
    while len(readers := consumers[current]) == 1 and readers[0].op in _FUSED | {"QuantizeLinear"}:
        current = readers[0].outputs[0]
        if readers[0].op == "QuantizeLinear":
            return graph.value(current).dtype.value
    return graph.value(name).dtype.value


def _elements(graph: Graph, name: str) -> int:
    return graph.value(name).elements


def _convolution(graph: Graph, node: Node) -> int:
    return _elements(graph, node.outputs[0]) * prod(graph.value(node.inputs[1]).shape[1:])


def _transposed_convolution(graph: Graph, node: Node) -> int:
    return _elements(graph, node.inputs[0]) * prod(graph.value(node.inputs[1]).shape[1:])


def _product(graph: Graph, node: Node) -> int:
    shape = graph.value(node.inputs[0]).shape
    return _elements(graph, node.outputs[0]) * shape[-2 if node.attrs.get("transA") else -1]


def _windows(graph: Graph, node: Node) -> int:
    return _elements(graph, node.outputs[0]) * prod(int(extent) for extent in node.attrs["kernel_shape"])


_MACS: dict[str, Callable[[Graph, Node], int]] = {
    "AveragePool": _windows,
    "Conv": _convolution,
    "ConvInteger": _convolution,
    "ConvTranspose": _transposed_convolution,
    "Gemm": _product,
    "GlobalAveragePool": lambda graph, node: _elements(graph, node.inputs[0]),
    "MatMul": _product,
    "MatMulInteger": _product,
    "Mul": lambda graph, node: _elements(graph, node.outputs[0]),
    "ReduceMean": lambda graph, node: _elements(graph, node.inputs[0]),
    "ReduceSum": lambda graph, node: _elements(graph, node.inputs[0]),
}
