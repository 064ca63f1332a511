"""Outlier channel splitting (Zhao et al. 2019, "Improving neural network quantization without retraining using outlier
channel splitting"): a channel far above the others becomes two of half its size, and the tensor's range shrinks.

Exact for a product, an optional Relu and products that read all channels; costs the multiply-accumulates of the new channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from espgen.ir import Graph, Node, Value, constant_value
from espgen.quantize.statistics import TensorStatistics
from espgen.quantize.units import is_depthwise, is_product

GAIN = 1.1


def split_outliers(graph: Graph, statistics: Mapping[str, TensorStatistics], share: float) -> Graph:
    """A folded graph in which tensors that gain a tenth of their range have up to `share` of their channels split.

    statistics: of the graph's values; share: of the channels, rounded up.
    """
    for node in graph.nodes:
        chain = _chain(graph, node)
        if chain is None:
            continue
        last = chain[-1].outputs[0]
        if last not in statistics:
            continue
        extent = np.asarray(statistics[last].extent, np.float64).copy()
        chosen: list[int] = []
        for _ in range(int(np.ceil(share * extent.size))):
            channel = int(np.argmax(extent))
            if channel in chosen:
                break
            chosen.append(channel)
            extent[channel] /= 2.0
        before = float(statistics[last].extent.max())
        if chosen and before >= GAIN * float(extent.max()):
            graph = _split(graph, chain, sorted(chosen))
    return graph


def _chain(graph: Graph, node: Node) -> tuple[Node, ...] | None:
    """The product and the Relu behind it, where every reader of the result is a product over all channels."""
    if not _dense(graph, node) or not node.input(2):
        return None
    consumers = graph.consumers()
    chain = [node]
    readers = consumers[node.outputs[0]]
    if len(readers) == 1 and readers[0].op == "Relu" and node.outputs[0] not in graph.outputs:
        chain.append(readers[0])
    last = chain[-1].outputs[0]
    readers = consumers[last]
    if last in graph.outputs or not readers:
        return None
    if not all(_dense(graph, reader) and last not in reader.inputs[1:] for reader in readers):
        return None
    # A Gemm counts the channels of a matrix only: its input must be one.
    if any(reader.op == "Gemm" and len(graph.value(last).shape) != 2 for reader in readers):
        return None
    return tuple(chain)


def _dense(graph: Graph, node: Node) -> bool:
    if not is_product(graph, node) or is_depthwise(graph, node):
        return False
    if node.op == "Conv":
        return int(node.attrs.get("group", 1)) == 1
    return node.op == "Gemm" and not node.attrs.get("transA", 0) and float(node.attrs.get("alpha", 1.0)) == 1.0


def _split(graph: Graph, chain: tuple[Node, ...], channels: list[int]) -> Graph:
    node, last = chain[0], chain[-1].outputs[0]
    changed: dict[str, Node] = {}
    constants: dict[str, np.ndarray] = {}

    def store(owner: Node, position: int, data: np.ndarray) -> str:
        name = f"{owner.name}.split{position}.{last}"
        constants[name] = np.ascontiguousarray(data, np.float32)
        return name

    weights, bias = graph.constants[node.inputs[1]].copy(), graph.constants[node.inputs[2]].copy()
    axis = 0 if node.op == "Conv" or node.attrs.get("transB", 0) else 1
    moved = np.moveaxis(weights, axis, 0)
    moved[channels] *= 0.5
    bias[channels] *= 0.5
    weights = np.moveaxis(np.concatenate([moved, moved[channels]]), 0, axis)
    names = store(node, 1, weights), store(node, 2, np.concatenate([bias, bias[channels]]))
    changed[node.name] = replace(node, inputs=(node.inputs[0], *names))
    for reader in graph.consumers()[last]:
        data = graph.constants[reader.inputs[1]]
        side = 1 if reader.op == "Conv" or reader.attrs.get("transB", 0) else 0
        repeated = np.concatenate([data, np.take(data, channels, side)], side)
        changed[reader.name] = replace(reader, inputs=(reader.inputs[0], store(reader, 1, repeated), *reader.inputs[2:]))
    values: list[Value] = [constant_value(name, data) for name, data in constants.items()]
    for item in chain:
        value = graph.value(item.outputs[0])
        values.append(replace(value, shape=(value.shape[0], value.shape[1] + len(channels), *value.shape[2:])))
    nodes = [changed.get(item.name, item) for item in graph.nodes]
    return graph.updated(nodes=nodes, values=values, constants=constants)
