"""Conv, Gemm and MatMul: filters are brought back from their packed form, biases have the scale of what they are added to."""

from __future__ import annotations

import numpy as np

from espgen.frontend.espdl.model import Array, Node, Tensor
from espgen.frontend.espdl.packing import unpacked_operand
from espgen.frontend.espdl.translation import (
    Inserted,
    Translation,
    View,
    attribute_integer,
    attribute_integers,
    attribute_text,
    channels_first,
    channels_last,
    fault,
    identity,
)
from espgen.frontend.espdl.weights import depthwise, filters, lanes, matrices


def convolution(state: Translation, node: Node) -> None:
    """Conv, and with InsertZeros in front of it ConvTranspose."""
    name = state.operand_name(node, 0)
    inserted = state.inserted.get(name)
    x = state.view(node, 0) if inserted is None else inserted.source
    rank = len(x.axes)
    weights = state.tensor(node, 1)
    if rank not in (3, 4) or len(weights.dims) != rank:
        raise fault(node, f"a filter of rank {len(weights.dims)} for an input of rank {rank}")
    group = attribute_integer(node, "group", 1)
    data = _filter(node, weights, group, state.shape(x)[-1])
    spatial = rank - 2
    strides = attribute_integers(node, "strides", (1,) * spatial)
    pads = attribute_integers(node, "pads", (0,) * 2 * spatial)
    dilations = attribute_integers(node, "dilations", (1,) * spatial)
    kernel = attribute_integers(node, "kernel_shape", data.shape[2:])
    if (len(strides), len(pads), len(dilations), kernel) != (spatial, 2 * spatial, spatial, data.shape[2:]):
        raise fault(node, "its strides, pads, dilations or kernel_shape do not fit its filter")
    attrs: dict[str, object] = {"strides": strides, "pads": pads, "dilations": dilations, "group": group}
    operand = state.want(x, channels_first(rank))
    bias = _bias(state, node, data.shape[0])
    if inserted is None:
        filter_ = state.constant(weights.name, data, weights.exponents)
        op = "Conv"
    else:
        op = "ConvTranspose"
        if strides != (1,) * spatial:
            raise fault(node, "strides behind InsertZeros", "export the model again with a current ESP-PPQ")
        reach = [dilation * (extent - 1) for dilation, extent in zip(dilations, kernel, strict=True)]
        pads = tuple(reach[index % spatial] - pad for index, pad in enumerate(pads))
        if min(pads) < 0:
            raise fault(node, "pads by more than its filter reaches, behind InsertZeros")
        attrs.update(strides=inserted.strides, pads=pads, output_padding=inserted.output_padding)
        data = np.flip(data, tuple(range(2, rank)))
        data, axis = (data, 0) if group > 1 else (data.swapaxes(0, 1), 1)
        filter_ = state.constant(weights.name, data, weights.exponents, axis)
    made = state.onnx(node.name, op, [operand, filter_.base, *bias], attrs)[0]
    state.define(node, _activated(state, node, made), channels_last(rank))


def insert_zeros(state: Translation, node: Node) -> None:
    """Zeros between pixels, where the convolution that follows is a transposed one."""
    x = state.view(node, 0)
    spatial = len(x.axes) - 2
    strides = attribute_integers(node, "stride")
    padding = attribute_integers(node, "output_padding", (0,) * spatial)
    if len(strides) != spatial or len(padding) != spatial or min(strides) < 1 or min(padding) < 0:
        raise fault(node, "its stride or output_padding does not fit its input")
    state.define(node, x.base, x.axes)  # where the exponent changes
    name = node.outputs[0]
    state.inserted[name] = Inserted(state.views.pop(name), strides, padding)


def gemm(state: Translation, node: Node) -> None:
    x = state.view(node, 0)
    weights = state.tensor(node, 1)
    plain = (
        attribute_integer(node, "transA", 0) == attribute_integer(node, "transB", 0) == 0
        and node.attrs.get("alpha", 1.0) == node.attrs.get("beta", 1.0) == 1.0
    )
    if not plain or len(weights.dims) != 4 or weights.dims[:2] != (1, 1):
        raise fault(node, "is not in ESP-DL's form: transA = transB = 0, alpha = beta = 1, a filter of one pixel")
    channels, count = weights.dims[2:]
    data = filters(_packed(node, weights), (), channels, count, lanes(weights.data.dtype)).T
    held = state.constant(weights.name, data, weights.exponents, 1)
    made = state.onnx(node.name, "Gemm", [state.plain(x), held.base, *_bias(state, node, count)])[0]
    state.define(node, _activated(state, node, made), identity(2))


def matmul(state: Translation, node: Node) -> None:
    a = state.view(node, 0)
    if state.is_constant(node, 1):
        weights = state.tensor(node, 1)
        if len(weights.dims) < 2:
            raise fault(node, f"multiplies by a tensor of rank {len(weights.dims)}")
        data = matrices(_packed(node, weights), weights.dims, lanes(weights.data.dtype))
        b = state.constant(weights.name, data, weights.exponents, data.ndim - 1).base
    else:
        b = unpacked_operand(state, node, 1)
    made = state.onnx(node.name, "MatMul", [state.plain(a), b])[0]
    state.define(node, _activated(state, node, made), identity(len(state.importer.shape(made))))


def _packed(node: Node, weights: Tensor) -> Array:
    if weights.data.dtype.name not in ("int8", "int16") or not weights.data.size:
        raise fault(node, f"its filter is {weights.data.dtype.name}", "export the model with 8 or 16 bits")
    return weights.data


def _filter(node: Node, weights: Tensor, group: int, channels: int) -> Array:
    """[N, C / group, *spatial]."""
    data, align = _packed(node, weights), lanes(weights.data.dtype)
    *spatial, third, last = weights.dims
    if group == 1:
        if third != channels:
            raise fault(node, f"a filter of {third} channels for an input of {channels}")
        return filters(data, tuple(spatial), third, last, align)
    if group != channels or last != 1 or third % group:
        raise fault(node, f"{group} groups of {channels} channels", "ESP-DL has ordinary and depthwise convolutions only")
    return depthwise(data, tuple(spatial), third, align)


def _bias(state: Translation, node: Node, count: int) -> list[str]:
    if not state.has(node, 2):
        return []
    bias = state.tensor(node, 2)
    if bias.data.dtype.name not in ("int32", "int64", "int16", "int8") or bias.data.size != count:
        raise fault(node, f"its bias has {bias.data.size} elements of {bias.data.dtype.name}, its filter {count} channels")
    return [bias_view(state, bias).base]


def bias_view(state: Translation, bias: Tensor) -> View:
    """A bias as float; one of 64 bits stays in 64 bits only where it needs them."""
    data = bias.data
    limits = np.iinfo(np.int32)
    if data.dtype == np.int64 and limits.min <= int(data.min()) and int(data.max()) <= limits.max:
        data = data.astype(np.int32)
    return state.quantized_constant(bias.name, data, bias.exponents)


def _activated(state: Translation, node: Node, made: str) -> str:
    activation = attribute_text(node, "activation", "Linear")
    if activation == "Relu":
        return state.onnx(f"{node.name}/relu", "Relu", [made])[0]
    if activation not in ("Linear", ""):
        raise fault(node, f"activation {activation!r}", "espgen knows Relu and Linear")
    return made
