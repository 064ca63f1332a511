"""Transposed convolution, 2-D and 1-D (height 1), grouped, dilated, any padding.

Attributes: strides (h, w), pads (top, left, bottom, right), dilations (h, w), groups, requant, low, high; the output
shape says how far it reaches (output padding). Inputs: x [N,H,W,C], w [O,KH,KW,C/groups] and bias [O], both constants.
acc[oy, ox] = bias + sum over taps with oy + top - ky dilation = iy stride (and columns likewise) of (x - zx)(w - zw)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from espgen import arith
from espgen.errors import EspgenError
from espgen.ir import DType, Graph, Node, QuantParams, Value
from espgen.ops.base import (
    PADDING_ROW,
    Array,
    Case,
    GraphBuilder,
    KernelCall,
    OpSpec,
    RowTable,
    StorageOf,
    bounds,
    output_array,
)
from espgen.ops.conv2d import accumulator_bounds, weight_zero_points
from espgen.ops.lowering import CHANNELS_LAST, LoweringContext
from espgen.ops.operands import activation
from espgen.ops.product_lowering import bias_of, constant_weights, product_attrs
from espgen.ops.requant_view import requant_view


def reference(node: Node, inputs: Sequence[Array], graph: Graph) -> list[Array]:
    """Scattered: every input element adds its products to the outputs it reaches."""
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    x = inputs[0].astype(np.int64) - source.zero_point
    weights = inputs[1].astype(np.int64) - weight_zero_points(node, graph)[:, None, None, None]
    (stride_h, stride_w), (dilation_h, dilation_w) = node.attrs["strides"], node.attrs["dilations"]
    top, left, _, _ = node.attrs["pads"]
    batch, height, width, _ = x.shape
    out_channels, kernel_h, kernel_w, group_channels = weights.shape
    _, out_h, out_w, _ = result.shape
    groups = node.attrs["groups"]
    per_group = out_channels // groups
    acc = np.zeros(result.shape, np.int64) + inputs[2].astype(np.int64)
    for ky, kx in np.ndindex(kernel_h, kernel_w):
        ys, xs = np.arange(height) * stride_h + ky * dilation_h - top, np.arange(width) * stride_w + kx * dilation_w - left
        keep_y, keep_x = (ys >= 0) & (ys < out_h), (xs >= 0) & (xs < out_w)
        patch = x[:, keep_y][:, :, keep_x]
        grid = np.ix_(np.arange(batch), ys[keep_y], xs[keep_x])
        for group in range(groups):
            outputs = slice(group * per_group, (group + 1) * per_group)
            part = patch[..., group * group_channels : (group + 1) * group_channels] @ weights[outputs, ky, kx].T
            acc[..., outputs][grid] += part
    if node.attrs["requant"] is None:
        return [output_array(acc, node, graph)]
    low, high = bounds(node, graph)
    return [output_array(arith.requantize(acc, node.attrs["requant"], result.zero_point, low, high), node, graph)]


def kernel(node: Node, graph: Graph, storage: StorageOf) -> tuple[KernelCall, ...]:
    source, weights, result = (graph.value(name) for name in (node.inputs[0], node.inputs[1], node.outputs[0]))
    batch, height, width, channels = source.shape
    _, out_h, out_w, out_channels = result.shape
    _, kernel_h, kernel_w, group_channels = weights.shape
    view = requant_view(node.attrs["requant"], out_channels)
    low, high = bounds(node, graph)
    shape = {
        "width": width,
        "out_width": out_w,
        "channels": channels,
        "out_channels": out_channels,
        "kernel_h": kernel_h,
        "kernel_w": kernel_w,
        "stride_w": node.attrs["strides"][1],
        "dilation_w": node.attrs["dilations"][1],
        "pad_left": node.attrs["pads"][1],
        "group_channels": group_channels,
        "group_outputs": out_channels // node.attrs["groups"],
        "in_pitch": storage(source.name).pixel_pitch,
        "out_pitch": storage(result.name).pixel_pitch,
        "in_zero_point": source.zero_point,
        "out_zero_point": result.zero_point,
        "low": low,
        "high": high,
        "requant": view.kind,
        "split": view.split,
    }
    wide = np.int64 if source.dtype is DType.INT16 else np.int32
    rows = tap_rows(node, out_h, kernel_h, height)
    return tuple(
        KernelCall(
            header="conv_transpose2d.h",
            function="conv_transpose2d",
            shape_type="ConvTranspose2dShape",
            shape=shape,
            types={"input": source.dtype, "weight": weights.dtype, "output": result.dtype},
            output=RowTable(result.name, tuple(range(image * out_h, (image + 1) * out_h))),
            inputs=(
                RowTable(source.name, tuple(PADDING_ROW if row < 0 else int(row) + image * height for row in rows.reshape(-1))),
            ),
            tables=(
                ("weights", graph.constants[weights.name]),
                ("bias", graph.constants[node.inputs[2]].astype(wide)),
                ("weight_zero_point", weight_zero_points(node, graph).astype(np.int16)),
                *view.tables,
            ),
            rows=out_h,
            row_begin=image * out_h,
            row_end=(image + 1) * out_h,
            advance=(kernel_h,),
        )
        for image in range(batch)
    )


def tap_rows(node: Node, out_h: int, kernel_h: int, height: int) -> npt.NDArray[np.int64]:
    """[out_h, kernel_h] input row under every tap row of every output row, -1 where there is none."""
    scaled = np.arange(out_h)[:, None] + node.attrs["pads"][0] - np.arange(kernel_h)[None, :] * node.attrs["dilations"][0]
    stride = node.attrs["strides"][0]
    row = scaled // stride
    return np.where((scaled >= 0) & (scaled % stride == 0) & (row < height), row, -1)


def macs(node: Node, graph: Graph) -> int:
    out_channels, kernel_h, kernel_w, _ = graph.value(node.inputs[1]).shape
    return graph.value(node.inputs[0]).elements * kernel_h * kernel_w * out_channels // int(node.attrs["groups"])


def transpose_graph(
    x_shape: tuple[int, int, int, int],
    out_channels: int,
    kernel_shape: tuple[int, int],
    strides: tuple[int, int] = (2, 2),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilations: tuple[int, int] = (1, 1),
    output_padding: tuple[int, int] = (0, 0),
    groups: int = 1,
    points: tuple[int, int, int] = (3, 0, -5),
    ratio: float = 0.0031,
    dtype: DType = DType.INT8,
    w_dtype: DType = DType.INT8,
    **attrs: Any,
) -> Graph:
    """A one-node graph with random weights and the given scale ratio."""
    rng = np.random.default_rng(7)
    builder = GraphBuilder("conv_transpose2d")
    w_shape = (out_channels, *kernel_shape, x_shape[3] // groups)
    data = rng.integers(w_dtype.minimum, w_dtype.maximum + 1, w_shape).astype(w_dtype.numpy)
    builder.input("x", x_shape, dtype, 1.0, points[0])
    builder.constant("w", data, QuantParams((1.0,) * out_channels, (points[1],) * out_channels, 0))
    wide = np.int64 if dtype is DType.INT16 else np.int32
    builder.constant("bias", rng.integers(-20000, 20000, out_channels).astype(wide))
    extents = [
        strides[axis] * (x_shape[1 + axis] - 1) + output_padding[axis] + dilations[axis] * (kernel_shape[axis] - 1) + 1
        - pads[axis] - pads[axis + 2]
        for axis in (0, 1)
    ]  # fmt: skip
    geometry = {"strides": strides, "pads": pads, "dilations": dilations, "groups": groups}
    attrs = {**geometry, "requant": arith.Shift((8,)), **attrs}
    shape = (x_shape[0], *extents, out_channels)
    builder.node("conv_transpose2d", ("x", "w", "bias"), shape, dtype, 1.0, points[2], "y", **attrs)
    graph = builder.build(["y"])
    limits = accumulator_bounds(graph.nodes[0], graph).tolist()
    ratios = [ratio * (1 + 0.37 * (index % 5)) for index in range(out_channels)] if ratio else [2.0**-9] * out_channels
    requant = arith.choose_requant(ratios, limits, 8 * dtype.size)
    return graph.updated(nodes=[graph.nodes[0].with_attrs(requant=requant)])


def cases() -> list[Case]:
    i16 = DType.INT16
    table = [
        ("upsample_2x2", transpose_graph((1, 3, 4, 16), 8, (2, 2))),
        ("k3_stride_2_padded", transpose_graph((1, 4, 5, 5), 13, (3, 3), pads=(1, 1, 1, 1), output_padding=(1, 1))),
        ("k4_stride_2", transpose_graph((1, 4, 4, 3), 8, (4, 4), pads=(1, 1, 1, 1))),
        ("stride_1", transpose_graph((1, 4, 5, 8), 3, (3, 3), (1, 1), (1, 1, 1, 1))),
        ("stride_beyond_kernel", transpose_graph((1, 3, 3, 4), 4, (2, 2), (3, 4), output_padding=(2, 3))),
        ("asymmetric_pads", transpose_graph((1, 4, 4, 4), 5, (3, 3), pads=(0, 0, 1, 1))),
        ("depthwise", transpose_graph((1, 4, 4, 6), 6, (3, 3), groups=6)),
        ("grouped", transpose_graph((1, 4, 4, 6), 9, (3, 3), pads=(1, 1, 1, 1), groups=3)),
        ("dilated", transpose_graph((1, 4, 4, 4), 4, (3, 2), (2, 1), (1, 0, 2, 1), (2, 3))),
        ("one_row", transpose_graph((1, 1, 9, 8), 8, (1, 4), (1, 2), (0, 1, 0, 1))),
        ("batch_2", transpose_graph((2, 3, 3, 8), 8, (3, 3))),
        ("weight_zero_point", transpose_graph((1, 3, 4, 8), 8, (3, 3), points=(-128, -31, 127))),
        ("shift", transpose_graph((1, 3, 4, 16), 16, (2, 2), ratio=0.0)),
        ("int16", transpose_graph((1, 3, 3, 8), 8, (3, 3), dtype=i16, ratio=0.00037, points=(0, 0, 0))),
        ("int16_weights", transpose_graph((1, 3, 3, 4), 4, (2, 2), dtype=i16, w_dtype=i16, ratio=3e-6)),
    ]
    return [Case(name, graph) for name, graph in table]


def _lower_conv_transpose(context: LoweringContext, node: Node) -> None:
    """ConvTranspose: [C,O/groups,kh,kw] weights to [O,kh,kw,C/groups]; rank 3 becomes height 1."""
    activation(context, node, node.inputs[0])
    constant = constant_weights(context, node, 1)
    if constant is None:
        raise EspgenError(
            "the weights are computed at run time", node=node.name, place=node.inputs[1], hint="make them an initializer"
        )
    value, data = constant
    if data.ndim not in (3, 4):
        raise EspgenError(f"convolution over {data.ndim - 2} axes", node=node.name, hint="espgen has 1-D and 2-D convolution")
    flat, groups = data.ndim == 3, int(node.attrs["group"])
    data = data[:, :, None] if flat else data
    channels, per_group, kernel_h, kernel_w = data.shape
    split = data.reshape(groups, channels // groups, per_group, kernel_h, kernel_w)
    moved = split.transpose(0, 2, 3, 4, 1).reshape(groups * per_group, kernel_h, kernel_w, channels // groups)
    weights = Value(value.name, tuple(moved.shape), value.dtype, _output_quant(node, value.quant, groups, per_group))
    bias = bias_of(context, node, 2, groups * per_group)
    attrs = product_attrs(context, node, weights, moved, bias)
    keys = ("strides", "dilations")
    geometry = {key: (1, node.attrs[key][0]) if flat else tuple(node.attrs[key]) for key in keys}
    pads = node.attrs["pads"]
    geometry["pads"] = (0, pads[0], 0, pads[1]) if flat else tuple(pads)
    x = context.fetch(node.inputs[0], CHANNELS_LAST)
    output = context.define(node.outputs[0], CHANNELS_LAST)
    held = context.add_constant(f"{node.name}_weights", np.ascontiguousarray(moved), weights.quant)
    offset = context.add_constant(f"{node.name}_bias", bias)
    context.emit(node.name, "conv_transpose2d", (x, held, offset), (output,), groups=groups, **geometry, **attrs)


def _output_quant(node: Node, quant: QuantParams | None, groups: int, per_group: int) -> QuantParams:
    """The weights' scales and zero points per output channel (ONNX's axis 1, repeated for every group)."""
    count = groups * per_group
    if quant is None:
        return QuantParams((1.0,) * count, (0,) * count, 0)
    if quant.axis not in (None, 1):
        raise EspgenError(
            f"weights quantized along axis {quant.axis}", node=node.name, hint="quantize them per output channel (axis 1)"
        )
    repeats = count // len(quant.scale)
    return QuantParams(quant.scale * repeats, quant.zero_point * repeats, 0)


LOWER = {"ConvTranspose": _lower_conv_transpose}


SPECS = (
    OpSpec(
        name="conv_transpose2d",
        onnx=("ConvTranspose",),
        summary="transposed convolution, 1-D and 2-D, grouped, dilated",
        reference=reference,
        kernel=kernel,
        macs=macs,
        cases=cases,
        dtypes=("int8", "int16"),
    ),
)
