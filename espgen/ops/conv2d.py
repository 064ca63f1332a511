"""Convolution: 2-D, 1-D (height 1), grouped, depthwise, dilated, any padding; Gemm and MatMul by a constant as 1x1.

Attributes: strides (h, w), pads (top, left, bottom, right), dilations (h, w), groups, requant (None: raw accumulators),
low, high. Inputs: x [N,H,W,C], w [O,KH,KW,C/groups] constant, bias [O] constant, both plain integers; the weights' zero
point is that of w. acc = sum (x - zx)(w - zw) + bias; y = requantize(acc).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from espgen import arith
from espgen.ir import DType, Graph, Node, QuantParams
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
    rows_of,
)
from espgen.ops.requant_view import requant_view


def window(size: int, kernel: int, stride: int, pad: int, dilation: int) -> npt.NDArray[np.int64]:
    """[outputs, kernel] input coordinates, out of range where padded; outputs = `size` given by the caller."""
    return np.arange(size)[:, None] * stride - pad + np.arange(kernel)[None, :] * dilation


def weight_zero_points(node: Node, graph: Graph) -> npt.NDArray[np.int64]:
    """Zero point of the weights per output channel."""
    value = graph.value(node.inputs[1])
    points = value.quant.zero_point if value.quant else (0,)
    return np.broadcast_to(np.asarray(points, np.int64), (value.shape[0],))


def accumulate(node: Node, inputs: Sequence[Array], graph: Graph) -> npt.NDArray[np.int64]:
    """Exact accumulators [N, OH, OW, O] of a convolution."""
    x, w, bias = inputs[0], inputs[1], inputs[2]
    zx = graph.value(node.inputs[0]).zero_point
    shape = graph.value(node.outputs[0]).shape
    x4: Array = x.reshape(x.shape if x.ndim == 4 else (1, 1, -1, x.shape[-1]))
    batch, height, width, channels = x4.shape
    out_channels, kernel_h, kernel_w, group_channels = w.shape
    groups = node.attrs["groups"]
    out_h, out_w = (shape[1], shape[2]) if len(shape) == 4 else (1, batch * height * width)
    (stride_h, stride_w), (dilation_h, dilation_w) = node.attrs["strides"], node.attrs["dilations"]
    top, left, _, _ = node.attrs["pads"]
    ys = window(out_h, kernel_h, stride_h, top, dilation_h)
    xs = window(out_w, kernel_w, stride_w, left, dilation_w)
    centred = x4.astype(np.float64) - zx
    low_y, low_x = max(0, -int(ys.min())), max(0, -int(xs.min()))
    high_y, high_x = max(0, int(ys.max()) - height + 1), max(0, int(xs.max()) - width + 1)
    padded = np.pad(centred, ((0, 0), (low_y, high_y), (low_x, high_x), (0, 0)))
    weights = w.astype(np.float64) - weight_zero_points(node, graph)[:, None, None, None]
    acc = np.zeros((batch, out_h, out_w, out_channels))
    per_group = out_channels // groups
    for ky in range(kernel_h):
        for kx in range(kernel_w):
            patch = padded[:, ys[:, ky] + low_y][:, :, xs[:, kx] + low_x]
            if groups == channels and group_channels == 1:
                acc += np.repeat(patch, per_group, axis=3) * weights[:, ky, kx, 0]
            elif groups == 1:
                acc += patch @ weights[:, ky, kx].T
            else:
                split = patch.reshape(batch, out_h, out_w, groups, group_channels)
                block = weights[:, ky, kx].reshape(groups, per_group, group_channels)
                acc += np.einsum("nhwgc,goc->nhwgo", split, block).reshape(acc.shape)
    return np.asarray(acc.astype(np.int64) + bias.astype(np.int64))


def reference(node: Node, inputs: Sequence[Array], graph: Graph) -> list[Array]:
    acc = accumulate(node, list(inputs), graph)
    requant = node.attrs["requant"]
    if requant is None:
        return [output_array(acc, node, graph)]
    low, high = bounds(node, graph)
    zero_point = graph.value(node.outputs[0]).zero_point
    return [output_array(arith.requantize(acc, requant, zero_point, low, high), node, graph)]


def folded_bias(node: Node, graph: Graph) -> npt.NDArray[np.int64]:
    """bias - zx * sum(w - zw): what is left to add when the kernel sums x * (w - zw) with padding filled by zx."""
    weights = graph.constants[node.inputs[1]].astype(np.int64) - weight_zero_points(node, graph)[:, None, None, None]
    zx = graph.value(node.inputs[0]).zero_point
    return np.asarray(graph.constants[node.inputs[2]].astype(np.int64) - zx * weights.sum(axis=(1, 2, 3)))


def accumulator_bounds(node: Node, graph: Graph) -> npt.NDArray[np.int64]:
    """Largest |acc| per output channel, over every input its type can hold and every order of summation."""
    source = graph.value(node.inputs[0])
    weights = np.abs(graph.constants[node.inputs[1]].astype(np.int64) - weight_zero_points(node, graph)[:, None, None, None])
    reach = max(source.dtype.maximum - source.zero_point, source.zero_point - source.dtype.minimum)
    return np.asarray(weights.sum(axis=(1, 2, 3)) * reach + np.abs(graph.constants[node.inputs[2]].astype(np.int64)))


def input_rows(out_begin: int, out_end: int, node: Node, kernel_h: int, height: int) -> tuple[int, ...]:
    """Input rows behind output rows [out_begin, out_end) of one image, PADDING_ROW outside of it."""
    stride, dilation, top = node.attrs["strides"][0], node.attrs["dilations"][0], node.attrs["pads"][0]
    first = out_begin * stride - top
    count = (out_end - 1 - out_begin) * stride + (kernel_h - 1) * dilation + 1
    return tuple(row if 0 <= row < height else PADDING_ROW for row in range(first, first + count))


def image_shape(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """A value as N, H, W, C: rank 4 as it is, anything else as one row of pixels per leading index."""
    if len(shape) == 4:
        return (shape[0], shape[1], shape[2], shape[3])
    return (1, *rows_of(shape))


def kernel(node: Node, graph: Graph, storage: StorageOf) -> tuple[KernelCall, ...]:
    source, weights, result = (graph.value(name) for name in (node.inputs[0], node.inputs[1], node.outputs[0]))
    batch, height, width, channels = image_shape(source.shape)
    _, out_h, out_w, out_channels = image_shape(result.shape)
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
        "stride_h": node.attrs["strides"][0],
        "stride_w": node.attrs["strides"][1],
        "dilation_h": node.attrs["dilations"][0],
        "dilation_w": node.attrs["dilations"][1],
        "pad_left": node.attrs["pads"][1],
        "group_channels": group_channels,
        "group_outputs": out_channels // node.attrs["groups"],
        "weights_have_zero_point": bool(weight_zero_points(node, graph).any()),
        "in_pitch": storage(source.name).pixel_pitch,
        "out_pitch": storage(result.name).pixel_pitch,
        "in_zero_point": source.zero_point,
        "out_zero_point": result.zero_point,
        "low": low,
        "high": high,
        "requant": view.kind,
        "split": view.split,
    }
    types = {"input": source.dtype, "weight": weights.dtype, "output": result.dtype}
    tables = (
        ("weights", graph.constants[weights.name]),
        ("bias", folded_bias(node, graph).astype(np.int64 if source.dtype is DType.INT16 else np.int32)),
        ("weight_zero_point", weight_zero_points(node, graph).astype(np.int16)),
        *view.tables,
    )
    return tuple(
        KernelCall(
            header="conv2d.h",
            function="conv2d",
            shape_type="Conv2dShape",
            shape=shape,
            types=types,
            output=RowTable(result.name, tuple(range(image * out_h, (image + 1) * out_h))),
            inputs=(RowTable(source.name, _image_rows(input_rows(0, out_h, node, kernel_h, height), image * height)),),
            tables=tables,
            rows=out_h,
            row_begin=image * out_h,
            row_end=(image + 1) * out_h,
            advance=(node.attrs["strides"][0],),
        )
        for image in range(batch)
    )


def _image_rows(rows: tuple[int, ...], offset: int) -> tuple[int, ...]:
    return tuple(row if row == PADDING_ROW else row + offset for row in rows)


def macs(node: Node, graph: Graph) -> int:
    _, kernel_h, kernel_w, group_channels = graph.value(node.inputs[1]).shape
    return graph.value(node.outputs[0]).elements * kernel_h * kernel_w * group_channels


def conv_graph(
    name: str,
    x_shape: tuple[int, int, int, int],
    out_channels: int,
    kernel: tuple[int, int],
    *,
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilations: tuple[int, int] = (1, 1),
    groups: int = 1,
    x_zero: int = 3,
    y_zero: int = -5,
    w_zero: int = 0,
    ratio: float = 0.0031,
    dtype: DType = DType.INT8,
    w_dtype: DType = DType.INT8,
    extreme: bool = False,
    seed: int = 0,
) -> Graph:
    """A one-convolution integer graph with random (or extreme) weights and the given scale ratio."""
    rng = np.random.default_rng(seed)
    builder = GraphBuilder(name)
    channels = x_shape[3]
    w_shape = (out_channels, *kernel, channels // groups)
    low, high = w_dtype.minimum, w_dtype.maximum
    data = np.full(w_shape, low) if extreme else rng.integers(low, high + 1, w_shape)
    builder.input("x", x_shape, dtype, 1.0, x_zero)
    builder.constant("w", data.astype(w_dtype.numpy), QuantParams((1.0,) * out_channels, (w_zero,) * out_channels, 0))
    bias_type = np.int64 if dtype is DType.INT16 else np.int32
    builder.constant("bias", rng.integers(-20000, 20000, out_channels).astype(bias_type))
    out_h = (x_shape[1] + pads[0] + pads[2] - dilations[0] * (kernel[0] - 1) - 1) // strides[0] + 1
    out_w = (x_shape[2] + pads[1] + pads[3] - dilations[1] * (kernel[1] - 1) - 1) // strides[1] + 1
    attrs = {"strides": strides, "pads": pads, "dilations": dilations, "groups": groups}
    shape = (x_shape[0], out_h, out_w, out_channels)
    builder.node("conv2d", ("x", "w", "bias"), shape, dtype, 1.0, y_zero, "y", requant=arith.Shift((8,)), **attrs)
    graph = builder.build(["y"])
    limits = accumulator_bounds(graph.nodes[0], graph).tolist()
    ratios = [ratio * (1 + 0.37 * (index % 5)) for index in range(out_channels)] if ratio else [2.0**-9] * out_channels
    requant = arith.choose_requant(ratios, limits, 8 * dtype.size)
    return graph.updated(nodes=[graph.nodes[0].with_attrs(requant=requant)])


def cases() -> list[Case]:
    """Shapes that break others: remainder channels, odd input channels, asymmetric pads, dilation, multipliers, extremes."""
    table = [
        ("pointwise_16_32", conv_graph("c", (1, 5, 5, 16), 32, (1, 1))),
        ("k3_remainder_channels", conv_graph("c", (1, 6, 7, 5), 13, (3, 3), pads=(1, 1, 1, 1))),
        ("same_asymmetric_stride_2", conv_graph("c", (1, 8, 8, 3), 8, (3, 3), strides=(2, 2), pads=(0, 0, 1, 1))),
        ("one_input_channel_10x4", conv_graph("c", (1, 12, 10, 1), 17, (10, 4), strides=(2, 2), pads=(4, 1, 5, 1))),
        ("pointwise_stride_2", conv_graph("c", (1, 7, 7, 16), 16, (1, 1), strides=(2, 2))),
        ("depthwise_3x3", conv_graph("c", (1, 6, 6, 20), 20, (3, 3), groups=20, pads=(1, 1, 1, 1))),
        ("depthwise_multiplier_2", conv_graph("c", (1, 5, 6, 6), 12, (3, 3), groups=6, pads=(1, 1, 1, 1))),
        ("depthwise_5x5_stride_2", conv_graph("c", (1, 9, 9, 16), 16, (5, 5), groups=16, strides=(2, 2), pads=(2, 2, 2, 2))),
        ("grouped", conv_graph("c", (1, 5, 5, 12), 18, (3, 3), groups=3, pads=(1, 0, 0, 1))),
        ("dilated", conv_graph("c", (1, 9, 9, 8), 8, (3, 3), dilations=(2, 3), pads=(2, 3, 2, 3))),
        ("power_of_two_shift", conv_graph("c", (1, 4, 4, 16), 16, (3, 3), pads=(1, 1, 1, 1), ratio=0.0)),
        ("weight_zero_point", conv_graph("c", (1, 5, 5, 16), 16, (3, 3), pads=(1, 1, 1, 1), w_zero=-31)),
        ("zero_points_at_the_ends", conv_graph("c", (1, 4, 5, 8), 8, (3, 3), pads=(1, 1, 1, 1), x_zero=-128, y_zero=127)),
        ("extreme_weights", conv_graph("c", (1, 4, 4, 64), 16, (3, 3), pads=(1, 1, 1, 1), extreme=True)),
        ("ratio_above_one", conv_graph("c", (1, 3, 3, 1), 4, (1, 1), ratio=1.7)),
        ("ratio_tiny", conv_graph("c", (1, 3, 3, 8), 4, (1, 1), ratio=2.0**-25)),
        ("batch_2", conv_graph("c", (2, 4, 4, 8), 8, (3, 3), pads=(1, 1, 1, 1))),
        ("one_row", conv_graph("c", (1, 1, 17, 8), 8, (1, 3), pads=(0, 1, 0, 1))),
        ("one_pixel", conv_graph("c", (1, 1, 1, 33), 10, (1, 1))),
        ("int16", conv_graph("c", (1, 5, 5, 8), 8, (3, 3), pads=(1, 1, 1, 1), dtype=DType.INT16, ratio=0.00037)),
        ("int16_weights", conv_graph("c", (1, 4, 4, 8), 8, (1, 1), dtype=DType.INT16, w_dtype=DType.INT16, ratio=3e-6)),
        ("int16_shift", conv_graph("c", (1, 4, 4, 8), 8, (1, 1), dtype=DType.INT16, ratio=0.0)),
    ]
    return [Case(name, graph) for name, graph in table]


SPECS = (
    OpSpec(
        name="conv2d",
        onnx=("Conv", "Gemm", "MatMul", "ConvInteger", "MatMulInteger"),
        summary="convolution, 1-D and 2-D, grouped, depthwise, dilated; products by constant matrices",
        reference=reference,
        kernel=kernel,
        macs=macs,
        cases=cases,
        dtypes=("int8", "int16"),
    ),
)
