"""BatchNormalization into the product in front of it, in float64; where there is none it becomes a depthwise convolution.

Quantized weights keep their integers: the factor gamma / sqrt(variance + epsilon) goes into a scale per output channel,
its sign into the integers, so that nothing is rounded twice.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from espgen.errors import EspgenError
from espgen.ir import Graph, Node, QuantParams, Value, constant_value, fresh_name
from espgen.passes.absorb_numbers import Array, dequantized
from espgen.passes.absorb_products import scale_weights

_LARGEST = float(np.finfo(np.float32).max)


def run(graph: Graph) -> Graph:
    """The graph without BatchNormalization nodes."""
    while True:
        node = next((node for node in graph.nodes if node.op == "BatchNormalization"), None)
        if node is None:
            return graph
        graph = _fold(graph, node)


def _fold(graph: Graph, node: Node) -> Graph:
    factor, offset = _affine(graph, node)
    product = graph.producers().get(node.inputs[0])
    alone = len(graph.consumers()[node.inputs[0]]) == 1 and node.inputs[0] not in graph.outputs
    folded = _into_product(graph, node, product, factor, offset) if product is not None and alone else None
    return folded if folded is not None else _depthwise(graph, node, factor, offset)


def _affine(graph: Graph, node: Node) -> tuple[Array, Array]:
    gamma, beta, mean, variance = (graph.constants[name].astype(np.float64) for name in node.inputs[1:5])
    factor = gamma / np.sqrt(np.maximum(variance, 0.0) + float(node.attrs["epsilon"]))
    offset = beta - mean * factor
    if max(np.max(np.abs(factor), initial=0.0), np.max(np.abs(offset), initial=0.0)) > _LARGEST:
        raise EspgenError(
            "BatchNormalization multiplies or adds a number beyond float32", node=node.name,
            place=f"tensor {node.inputs[4]!r}", hint="correct its statistics",
        )  # fmt: skip
    return factor, offset


def _into_product(graph: Graph, node: Node, product: Node, factor: Array, offset: Array) -> Graph | None:
    axis = _channel_axis(product)
    if axis is None:
        return None
    bias = _bias(graph, product, factor.size)
    maker = graph.producers().get(product.inputs[1])
    weights = graph.constant(product.inputs[1])
    name = fresh_name(graph, f"{product.inputs[1]}/{node.name}")
    new_values: list[Value] = []
    new_constants: dict[str, Array] = {}
    new_nodes: list[Node] = []
    if bias is None:
        return None
    if weights is not None and weights.shape[axis] == factor.size:
        shape = [factor.size if position == axis else 1 for position in range(weights.ndim)]
        data = (weights.astype(np.float64) * factor.reshape(shape)).astype(np.float32)
        new_constants[name] = data
        new_values.append(constant_value(name, data))
    elif maker is not None and maker.op == "DequantizeLinear" and graph.is_constant(maker.inputs[0]):
        integers, quant = graph.constants[maker.inputs[0]], maker.attrs["quant"]
        if integers.shape[axis] != factor.size or quant.axis not in (None, axis):
            return None
        data, scales = scale_weights(integers, quant, axis, factor)
        if not all(np.isfinite(scales.scale)):
            return None
        source = fresh_name(graph, f"{maker.inputs[0]}/{node.name}", [name])
        new_constants[source] = data
        new_values += [constant_value(source, data), replace(graph.value(product.inputs[1]), name=name)]
        new_nodes.append(Node(f"{node.name}/weights", "DequantizeLinear", (source,), (name,), {"quant": scales}))
    else:
        return None
    bias_name = fresh_name(graph, f"{node.name}/bias", new_constants)
    new_constants[bias_name] = (bias * factor + offset).astype(np.float32)
    new_values.append(constant_value(bias_name, new_constants[bias_name]))
    new = replace(product, inputs=(product.inputs[0], name, bias_name), outputs=node.outputs)
    if product.op == "Gemm":
        new = new.with_attrs(beta=1.0)
    nodes: list[Node] = []
    for item in graph.nodes:
        if item.name == product.name:
            nodes += [*new_nodes, new]
        elif item.name != node.name:
            nodes.append(item)
    return graph.updated(nodes=nodes, values=new_values, constants=new_constants)


def _channel_axis(product: Node) -> int | None:
    """Axis of the weights that holds the output channels, None where the node can't take a BatchNormalization."""
    if product.op == "Conv":
        return 0
    if product.op == "ConvTranspose" and product.attrs["group"] == 1:
        return 1
    if product.op == "Gemm":
        return 0 if product.attrs["transB"] else 1
    return None


def _bias(graph: Graph, product: Node, channels: int) -> Array | None:
    """Real bias, float64 [channels]; None where it isn't a constant per channel."""
    name = product.input(2)
    if not name:
        return np.zeros(channels)
    data = graph.constant(name)
    maker = graph.producers().get(name)
    if data is None and maker is not None and maker.op == "DequantizeLinear" and graph.is_constant(maker.inputs[0]):
        data = dequantized(graph.constants[maker.inputs[0]], maker.attrs["quant"])
    if data is None or data.size not in (1, channels) or max(data.shape, default=1) != data.size:
        return None
    factor = float(product.attrs.get("beta", 1.0))
    return np.asarray(np.broadcast_to(data.reshape(-1).astype(np.float64) * factor, (channels,)))


def _depthwise(graph: Graph, node: Node, factor: Array, offset: Array) -> Graph:
    """A 1x1 depthwise convolution with weights +-127 and one scale per channel: exactly the factors."""
    source = graph.value(node.inputs[0])
    channels, spatial = factor.size, max(1, len(source.shape) - 2)
    integers = np.where(factor < 0, -127, 127).astype(np.int8).reshape((channels, 1) + (1,) * spatial)
    integers[factor == 0.0] = 0
    typical = float(np.max(np.abs(factor), initial=0.0)) or 1.0  # a channel times 0 may have any scale
    scales = tuple(float(value) / 127 if value else typical / 127 for value in np.abs(factor))
    names: list[str] = []
    for suffix in ("integers", "weights", "offset", "in", "out"):
        names.append(fresh_name(graph, f"{node.name}/{suffix}", names))
    integer_name, weight_name, bias_name, unfolded, result = names
    bias = offset.astype(np.float32)
    values = [
        constant_value(integer_name, integers),
        replace(source, name=weight_name, shape=integers.shape, quant=None),
        constant_value(bias_name, bias),
    ]
    flat = len(source.shape) == 2
    conv_in, conv_out = (unfolded, result) if flat else (node.inputs[0], node.outputs[0])
    attrs = {
        "kernel_shape": (1,) * spatial, "strides": (1,) * spatial, "dilations": (1,) * spatial,
        "pads": (0,) * (2 * spatial), "group": channels,
    }  # fmt: skip
    nodes = [
        Node(
            f"{node.name}/weights",
            "DequantizeLinear",
            (integer_name,),
            (weight_name,),
            {"quant": QuantParams(scales, (0,) * channels, 0)},
        ),
        Node(node.name, "Conv", (conv_in, weight_name, bias_name), (conv_out,), attrs),
    ]
    if flat:
        shape = (*source.shape, 1)
        values += [replace(source, name=name, shape=shape) for name in (unfolded, result)]
        nodes.insert(1, Node(f"{node.name}/in", "Reshape", (node.inputs[0],), (unfolded,), {}))
        nodes.append(Node(f"{node.name}/out", "Reshape", (result,), (node.outputs[0],), {}))
    index = next(position for position, item in enumerate(graph.nodes) if item.name == node.name)
    return graph.updated(
        nodes=[*graph.nodes[:index], *nodes, *graph.nodes[index + 1 :]],
        values=values,
        constants={integer_name: integers, bias_name: bias},
    )
