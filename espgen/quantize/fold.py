"""Folding before calibration: BatchNormalization, constant Add and Mul go into the product in front of them, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from espgen.ir import Graph, Node, Value, constant_value, fresh_name
from espgen.quantize.units import PRODUCTS, is_product, output_channels

FuseList = Sequence[Sequence[str]]


def fold(graph: Graph, fuse: bool = True, fuse_list: FuseList | None = None) -> Graph:
    """The graph with every foldable BatchNormalization, Add and Mul gone and a bias on every product that can have one.

    fuse=False folds nothing; fuse_list [["conv1", "bn1"], ..] restricts folding to those node names. What stays of
    BatchNormalization becomes a 1x1 depthwise convolution, so that it can be quantized at all.
    """
    graph = _drop_identities(graph)
    allowed = None if fuse_list is None else {tuple(pair[:2]) for pair in fuse_list}
    changed = fuse
    while changed:
        graph, changed = _fold_one(graph, allowed)
    graph = _matmul_to_gemm(graph)
    graph = _batch_norm_to_conv(graph)
    return _ensure_bias(graph)


def _drop_identities(graph: Graph) -> Graph:
    renamed: dict[str, str] = {}
    nodes = []
    for node in graph.nodes:
        inputs = tuple(renamed.get(name, name) for name in node.inputs)
        if node.op in ("Identity", "Dropout") and node.outputs[0] not in graph.outputs:
            renamed[node.outputs[0]] = inputs[0]
            continue
        nodes.append(replace(node, inputs=inputs))
    return graph.updated(nodes=nodes)


def _fold_one(graph: Graph, allowed: set[tuple[str, ...]] | None) -> tuple[Graph, bool]:
    producers, consumers = graph.producers(), graph.consumers()
    for node in graph.nodes:
        affine = _affine(graph, node)
        if affine is None:
            continue
        source, factor, offset = affine
        product = producers.get(source)
        if product is None or not is_product(graph, product) or product.op == "MatMul":
            continue
        if len(consumers[source]) != 1 or source in graph.outputs:
            continue
        if allowed is not None and (product.name, node.name) not in allowed:
            continue
        channels = output_channels(graph, product)[1]
        if factor.size not in (1, channels) or offset.size not in (1, channels):
            continue
        return _scaled(graph, product, node, factor, offset), True
    return graph, False


def _affine(graph: Graph, node: Node) -> tuple[str, np.ndarray, np.ndarray] | None:
    """(input value, factor, offset) of a node that computes factor[c] * x + offset[c]; None for any other."""
    one, zero = np.ones(1), np.zeros(1)
    if node.op == "BatchNormalization":
        constants = [graph.constant(name) for name in node.inputs[1:5]]
        if any(data is None for data in constants):
            return None
        gamma, beta, mean, variance = (np.asarray(data, np.float64) for data in constants)
        factor = gamma / np.sqrt(variance + float(node.attrs.get("epsilon", 1e-5)))
        return node.inputs[0], factor, beta - mean * factor
    if node.op in ("Add", "Mul", "Sub") and len(node.inputs) == 2:
        for position in (0, 1):
            data = graph.constant(node.inputs[position])
            other = node.inputs[1 - position]
            if data is None or graph.is_constant(other) or (node.op == "Sub" and position == 0):
                continue
            vector = _channel_vector(graph, other, np.asarray(data, np.float64))
            if vector is None:
                return None
            if node.op == "Mul":
                return other, vector, zero
            return other, one, vector if node.op == "Add" else -vector
    return None


def _channel_vector(graph: Graph, value: str, data: np.ndarray) -> np.ndarray | None:
    """`data` as one number per channel (axis 1) of `value`, None where it varies along another axis."""
    shape = graph.value(value).shape
    if data.size == 1:
        return data.reshape(1)
    if data.ndim > len(shape):
        return None
    aligned = data.reshape((1,) * (len(shape) - data.ndim) + data.shape)
    if aligned.size == aligned.shape[1] == shape[1]:
        return aligned.reshape(-1)
    return None


def _scaled(graph: Graph, product: Node, node: Node, factor: np.ndarray, offset: np.ndarray) -> Graph:
    """`product` with factor and offset folded in, taking over the output of `node`."""
    weights = np.asarray(graph.constants[product.inputs[1]], np.float64)
    channels = output_channels(graph, product)[1]
    factor, offset = np.broadcast_to(factor, (channels,)), np.broadcast_to(offset, (channels,))
    bias_data = graph.constant(product.input(2)) if product.input(2) else None
    bias = (
        np.zeros(channels) if bias_data is None else np.broadcast_to(np.asarray(bias_data, np.float64).reshape(-1), (channels,))
    )
    alpha, beta = float(product.attrs.get("alpha", 1.0)), float(product.attrs.get("beta", 1.0))
    new_weights = (scale_outputs(product, weights, factor) * alpha).astype(np.float32)
    new_bias = (bias * beta * factor + offset).astype(np.float32)
    attrs = {key: value for key, value in product.attrs.items() if key not in ("alpha", "beta")}
    weight_name = fresh_name(graph, f"{product.name}.weights")
    bias_name = fresh_name(graph, f"{product.name}.bias", [weight_name])
    folded = Node(product.name, product.op, (product.inputs[0], weight_name, bias_name), node.outputs[:1], attrs)
    nodes = [folded if item is product else item for item in graph.nodes if item is not node]
    return graph.updated(
        nodes=nodes,
        values=[constant_value(weight_name, new_weights), constant_value(bias_name, new_bias)],
        constants={weight_name: new_weights, bias_name: new_bias},
    )


def scale_outputs(product: Node, weights: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Weights of a product with output channel c multiplied by factor[c]."""
    if product.op == "ConvTranspose":
        group = int(product.attrs.get("group", 1))
        per_group = weights.shape[1]
        grouped = weights.reshape(group, weights.shape[0] // group, *weights.shape[1:])
        shaped = factor.reshape(group, 1, per_group, *([1] * (weights.ndim - 2)))
        return np.asarray((grouped * shaped).reshape(weights.shape))
    if product.op == "Gemm":
        return np.asarray(weights * (factor[:, None] if product.attrs.get("transB", 0) else factor[None, :]))
    if product.op == "MatMul":
        return np.asarray(weights * factor)
    return np.asarray(weights * factor.reshape(-1, *([1] * (weights.ndim - 1))))


def _matmul_to_gemm(graph: Graph) -> Graph:
    """MatMul of a matrix by a constant matrix becomes Gemm, an Add of a vector behind it its bias."""
    nodes = list(graph.nodes)
    consumers = graph.consumers()
    dropped: set[str] = set()
    for index, node in enumerate(nodes):
        if node.op != "MatMul" or not is_product(graph, node):
            continue
        if len(graph.value(node.inputs[0]).shape) != 2 or len(graph.value(node.inputs[1]).shape) != 2:
            continue
        inputs, outputs = node.inputs, node.outputs
        readers = consumers[node.outputs[0]]
        if len(readers) == 1 and readers[0].op == "Add" and node.outputs[0] not in graph.outputs:
            add = readers[0]
            other = add.inputs[1] if add.inputs[0] == node.outputs[0] else add.inputs[0]
            data = graph.constant(other)
            if data is not None and data.ndim == 1 and data.shape[0] == graph.value(node.inputs[1]).shape[1]:
                inputs, outputs = (*node.inputs, other), add.outputs
                dropped.add(add.name)
        nodes[index] = Node(node.name, "Gemm", inputs, outputs, {})
    return graph.updated(nodes=[node for node in nodes if node.name not in dropped])


def _batch_norm_to_conv(graph: Graph) -> Graph:
    nodes: list[Node] = []
    values: list[Value] = []
    constants: dict[str, np.ndarray] = {}
    for node in graph.nodes:
        affine = _affine(graph, node) if node.op == "BatchNormalization" else None
        if affine is None or len(graph.value(node.inputs[0]).shape) != 4:
            nodes.append(node)
            continue
        source, factor, offset = affine
        weights = factor.astype(np.float32).reshape(-1, 1, 1, 1)
        names = (f"{node.name}.weights", f"{node.name}.bias")
        constants |= {names[0]: weights, names[1]: offset.astype(np.float32)}
        values += [constant_value(name, constants[name]) for name in names]
        attrs = {"group": factor.size, "kernel_shape": (1, 1), "strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1)}
        nodes.append(Node(node.name, "Conv", (source, *names), node.outputs[:1], attrs))
    return graph.updated(nodes=nodes, values=values, constants=constants)


def _ensure_bias(graph: Graph) -> Graph:
    nodes: list[Node] = []
    values: list[Value] = []
    constants: dict[str, np.ndarray] = {}
    for node in graph.nodes:
        data = graph.constant(node.input(2)) if node.input(2) else None
        wants = node.op in PRODUCTS - {"MatMul"} and is_product(graph, node)
        if not wants or (data is not None and data.ndim == 1):
            nodes.append(node)
            continue
        channels = output_channels(graph, node)[1]
        name = fresh_name(graph, f"{node.name}.bias", constants)
        flat = np.zeros(1) if data is None else np.asarray(data, np.float32).reshape(-1)
        if flat.size not in (1, channels):
            nodes.append(node)
            continue
        constants[name] = np.ascontiguousarray(np.broadcast_to(flat, (channels,)), np.float32)
        values.append(constant_value(name, constants[name]))
        nodes.append(replace(node, inputs=(*node.inputs[:2], name)))
    return graph.updated(nodes=nodes, values=values, constants=constants)
