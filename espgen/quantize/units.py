"""The graph as the quantizer sees it: products, their fused activations, and which tensors carry integers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from espgen.ir import Graph, Node

PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
BOUNDS = frozenset({"Relu", "Clip"})
# Operators that move values without changing them: their output keeps the scale of their input.
PASSIVE = frozenset(
    {
        "Reshape", "Flatten", "Transpose", "MaxPool", "GlobalMaxPool", "Squeeze", "Unsqueeze", "Identity", "Slice",
        "Split", "Gather", "Pad", "DepthToSpace", "SpaceToDepth", "Dropout", "Expand", "Tile", "ReduceMax", "ReduceMin",
    }
)  # fmt: skip
# Operators whose output range is known without data.
FIXED_RANGE = {"Softmax": (0.0, 1.0), "Sigmoid": (0.0, 1.0), "HardSigmoid": (0.0, 1.0), "Tanh": (-1.0, 1.0)}


@dataclass(frozen=True)
class Unit:
    """One node with the Relu or Clip fused behind it.

    output: name of the value behind the bound; low, high: the bound (infinite where there is none).
    """

    node: Node
    bound: Node | None
    output: str
    low: float
    high: float

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def nodes(self) -> tuple[Node, ...]:
        return (self.node,) if self.bound is None else (self.node, self.bound)


def is_product(graph: Graph, node: Node) -> bool:
    """True for a convolution or matrix product whose second operand is a constant."""
    return node.op in PRODUCTS and len(node.inputs) > 1 and graph.is_constant(node.inputs[1])


def bound_limits(graph: Graph, node: Node) -> tuple[float, float]:
    """The interval a Relu or Clip cuts to."""
    if node.op == "Relu":
        return 0.0, float("inf")
    low, high = node.attrs.get("min"), node.attrs.get("max")
    if low is None and node.input(1):
        low = _scalar(graph, node.input(1))
    if high is None and node.input(2):
        high = _scalar(graph, node.input(2))
    return (-float("inf") if low is None else float(low)), (float("inf") if high is None else float(high))


def _scalar(graph: Graph, name: str) -> float | None:
    data = graph.constant(name)
    return None if data is None or data.size != 1 else float(np.asarray(data).reshape(-1)[0])


def split_units(graph: Graph) -> list[Unit]:
    """Group the nodes of a folded graph into units, in graph order.

    A Relu or Clip joins its producer when nothing else reads the value between them.
    """
    consumers = graph.consumers()
    fused: set[str] = set()
    units = []
    for node in graph.nodes:
        if node.name in fused:
            continue
        output = node.outputs[0]
        readers = consumers.get(output, [])
        fusable = node.op not in BOUNDS and node.op not in PASSIVE and node.op not in FIXED_RANGE
        if fusable and len(readers) == 1 and output not in graph.outputs and readers[0].op in BOUNDS:
            bound = readers[0]
            fused.add(bound.name)
            low, high = bound_limits(graph, bound)
            units.append(Unit(node, bound, bound.outputs[0], low, high))
        else:
            low, high = bound_limits(graph, node) if node.op in BOUNDS else (-float("inf"), float("inf"))
            units.append(Unit(node, None, output, low, high))
    return units


def output_channels(graph: Graph, node: Node) -> tuple[int, int]:
    """(axis of the weights that counts output channels, number of channels) of a product."""
    shape = graph.value(node.inputs[1]).shape
    if node.op == "ConvTranspose":
        return 1, shape[1] * int(node.attrs.get("group", 1))
    if node.op == "Gemm":
        axis = 0 if node.attrs.get("transB", 0) else 1
        return axis, shape[axis]
    if node.op == "MatMul":
        return len(shape) - 1, shape[-1]
    return 0, shape[0]


def is_depthwise(graph: Graph, node: Node) -> bool:
    """A convolution with one input channel per group and one output channel per input channel."""
    if node.op != "Conv":
        return False
    shape = graph.value(node.inputs[1]).shape
    return int(node.attrs.get("group", 1)) == shape[0] and shape[1] == 1 and shape[0] > 1


def dynamic_inputs(graph: Graph, nodes: Iterable[Node]) -> list[str]:
    """Values the nodes read that are neither constants nor made by one of them."""
    nodes = list(nodes)
    made = {name for node in nodes for name in node.outputs}
    names = [name for node in nodes for name in node.inputs if name and name not in made and not graph.is_constant(name)]
    return list(dict.fromkeys(names))
