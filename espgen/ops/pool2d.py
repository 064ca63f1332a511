"""Maximum and average over 2-D windows (1-D: height 1), channels last.

Attributes: kernel (h, w), strides (h, w), pads (top, left, bottom, right), dilations (h, w), low, high; average also
ratio (arith.Ratio of the scales s_x / s_y), count_include_pad. The output shape says how many windows there are, so
that windows of ceil mode may reach beyond the padding.
max      y = clip(max of the window's elements inside the image)
average  y = sat(z + rne(numerator * sum (x - zx) / (denominator * count))), count: the window's elements inside the
         image, or with count_include_pad inside the padded image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from espgen import arith
from espgen.errors import EspgenError
from espgen.ir import DType, Graph, Node
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
from espgen.ops.broadcast import NARROW, reach
from espgen.ops.lowering import CHANNELS_LAST, LoweringContext, clip_bounds
from espgen.ops.operands import activation, bounded_ratio, rescaled
from espgen.ops.reduce import lower_mean

IntArray = npt.NDArray[np.int64]


def coordinates(node: Node, graph: Graph, axis: int) -> IntArray:
    """[outputs, taps] input coordinates of the windows along axis 0 (rows) or 1 (columns); some lie outside."""
    count = graph.value(node.outputs[0]).shape[1 + axis]
    taps, stride = node.attrs["kernel"][axis], node.attrs["strides"][axis]
    starts = np.arange(count) * stride - node.attrs["pads"][axis]
    return np.asarray(starts[:, None] + np.arange(taps)[None, :] * node.attrs["dilations"][axis], np.int64)


def counts(node: Node, graph: Graph, axis: int) -> IntArray:
    """How many taps of each window count in an average's divisor; at least 1."""
    where = coordinates(node, graph, axis)
    extent = graph.value(node.inputs[0]).shape[1 + axis]
    before, after = (node.attrs["pads"][axis], node.attrs["pads"][axis + 2]) if node.attrs["count_include_pad"] else (0, 0)
    return np.asarray(np.maximum(1, ((where >= -before) & (where < extent + after)).sum(axis=1)))


def windows(node: Node, x: Array, graph: Graph, fill: int) -> IntArray:
    """[N, OH, OW, C, taps] elements of every window, `fill` outside of the image."""
    ys, xs = coordinates(node, graph, 0), coordinates(node, graph, 1)
    _, height, width, _ = x.shape
    picked = x.astype(np.int64)[:, np.clip(ys, 0, height - 1)][:, :, :, np.clip(xs, 0, width - 1)]
    inside = ((ys >= 0) & (ys < height))[:, :, None, None] & ((xs >= 0) & (xs < width))[None, None]
    held = np.where(inside[None, ..., None], picked, fill)
    batch, out_h, taps_h, out_w, taps_w, channels = held.shape
    return held.transpose(0, 1, 3, 5, 2, 4).reshape(batch, out_h, out_w, channels, taps_h * taps_w)


def max_reference(node: Node, inputs: Sequence[Array], graph: Graph) -> list[Array]:
    low, high = bounds(node, graph)
    largest = windows(node, inputs[0], graph, -32768).max(axis=-1)
    return [output_array(arith.saturate(largest, low, high), node, graph)]


def average_reference(node: Node, inputs: Sequence[Array], graph: Graph) -> list[Array]:
    low, high = bounds(node, graph)
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    ratio: arith.Ratio = node.attrs["ratio"]
    total = (windows(node, inputs[0], graph, source.zero_point) - source.zero_point).sum(axis=-1)
    count = counts(node, graph, 0)[None, :, None, None] * counts(node, graph, 1)[None, None, :, None]
    rounded = arith.rne_divide(total * ratio.numerator, count * ratio.denominator)
    return [output_array(arith.saturate(rounded + result.zero_point, low, high), node, graph)]


def _calls(node: Node, graph: Graph, storage: StorageOf, average: bool) -> tuple[KernelCall, ...]:
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    batch, height, width, channels = source.shape
    out_h, out_w = result.shape[1:3]
    low, high = bounds(node, graph)
    attrs = node.attrs
    ratio: arith.Ratio = attrs.get("ratio", arith.Ratio(1, 1))
    area = attrs["kernel"][0] * attrs["kernel"][1]
    largest = max(area * reach(source) * ratio.numerator, 2 * area * ratio.denominator)
    shape = {
        "width": width,
        "out_width": out_w,
        "channels": channels,
        "kernel_w": attrs["kernel"][1],
        "stride_h": attrs["strides"][0],
        "stride_w": attrs["strides"][1],
        "dilation_h": attrs["dilations"][0],
        "dilation_w": attrs["dilations"][1],
        "pad_left": attrs["pads"][1],
        "in_pitch": storage(source.name).pixel_pitch,
        "out_pitch": storage(result.name).pixel_pitch,
        "in_zero_point": source.zero_point,
        "out_zero_point": result.zero_point,
        "low": low,
        "high": high,
        "numerator": ratio.numerator,
        "denominator": ratio.denominator,
        "wide": int(largest >= NARROW),
    }
    where = coordinates(node, graph, 0)
    inside = (where >= 0) & (where < height)
    begin = np.where(inside.any(axis=1), inside.argmax(axis=1), 0)
    tables: tuple[tuple[str, Array], ...] = (
        ("row_begin", begin.astype(np.int16)),
        ("row_end", (begin + inside.sum(axis=1)).astype(np.int16)),
    )
    if average:
        divisors = [counts(node, graph, axis).astype(np.int32) for axis in (0, 1)]
        tables = (*tables, ("row_count", divisors[0]), ("column_count", divisors[1]))
    first, last = int(where.min()), int(where.max())
    return tuple(
        KernelCall(
            header="pool2d.h",
            function="average_pool2d" if average else "max_pool2d",
            shape_type="Pool2dShape",
            shape=shape,
            types={"input": source.dtype, "output": result.dtype} if average else {"element": source.dtype},
            output=RowTable(result.name, tuple(range(image * out_h, (image + 1) * out_h))),
            inputs=(
                RowTable(
                    source.name,
                    tuple(image * height + y if 0 <= y < height else PADDING_ROW for y in range(first, last + 1)),
                ),
            ),
            tables=tables,
            rows=out_h,
            row_begin=image * out_h,
            row_end=(image + 1) * out_h,
            advance=(node.attrs["strides"][0],),
            table_advance={"row_begin": 1, "row_end": 1, "row_count": 1},
        )
        for image in range(batch)
    )


def max_kernel(node: Node, graph: Graph, storage: StorageOf) -> tuple[KernelCall, ...]:
    return _calls(node, graph, storage, average=False)


def average_kernel(node: Node, graph: Graph, storage: StorageOf) -> tuple[KernelCall, ...]:
    return _calls(node, graph, storage, average=True)


def pool_graph(
    op: str,
    x_shape: tuple[int, int, int, int],
    kernel: tuple[int, int],
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilations: tuple[int, int] = (1, 1),
    dtype: DType = DType.INT8,
    ratio: float = 1.0,
    points: tuple[int, int] = (4, 4),
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    **attrs: Any,
) -> Graph:
    """A one-pool graph; `ratio` is s_x / s_y."""
    builder = GraphBuilder(op)
    builder.input("x", x_shape, dtype, 1.0, points[0])
    extents = []
    for axis in (0, 1):
        span = x_shape[1 + axis] + pads[axis] + pads[axis + 2] - dilations[axis] * (kernel[axis] - 1) - 1
        extents.append((-(-span // strides[axis]) if ceil_mode else span // strides[axis]) + 1)
    geometry = {"kernel": kernel, "strides": strides, "pads": pads, "dilations": dilations}
    if op == "average_pool2d":
        attrs |= {"ratio": arith.choose_ratio(ratio, 1), "count_include_pad": count_include_pad}
    shape = (x_shape[0], *extents, x_shape[3])
    builder.node(op, ("x",), shape, dtype, 1.0, points[1], "y", **geometry, **attrs)
    return builder.build(["y"])


def _geometries(op: str) -> list[tuple[str, Graph]]:
    i16 = DType.INT16
    return [
        ("2x2", pool_graph(op, (1, 6, 6, 16), (2, 2), (2, 2))),
        ("3x3_stride_2_padded", pool_graph(op, (1, 7, 8, 5), (3, 3), (2, 2), (1, 1, 1, 1))),
        ("asymmetric_pads", pool_graph(op, (1, 8, 8, 3), (3, 3), (2, 2), (0, 0, 1, 1), points=(-128, -128))),
        ("ceil_mode", pool_graph(op, (1, 6, 8, 17), (3, 3), (2, 2), ceil_mode=True)),
        ("dilated", pool_graph(op, (1, 9, 9, 4), (3, 2), (1, 2), (2, 1, 2, 1), (2, 3))),
        ("one_row", pool_graph(op, (1, 1, 17, 8), (1, 3), (1, 2), (0, 1, 0, 1))),
        ("whole_image", pool_graph(op, (1, 7, 7, 33), (7, 7))),
        ("stride_beyond_kernel", pool_graph(op, (1, 9, 9, 3), (2, 2), (3, 4))),
        ("batch_2", pool_graph(op, (2, 5, 5, 8), (3, 3), (1, 1), (1, 1, 1, 1))),
        ("clipped", pool_graph(op, (1, 5, 5, 8), (2, 2), low=4, high=60)),
        ("int16", pool_graph(op, (1, 6, 6, 5), (3, 3), (1, 1), (1, 1, 1, 1), dtype=i16, points=(0, 0))),
    ]


def max_cases() -> list[Case]:
    return [Case(name, graph) for name, graph in _geometries("max_pool2d")]


def average_cases() -> list[Case]:
    op, image, pads = "average_pool2d", (1, 6, 7, 5), (1, 1, 1, 1)
    table = [
        *_geometries(op),
        ("include_pad", pool_graph(op, image, (3, 3), (2, 2), pads, count_include_pad=True)),
        ("include_pad_ceil", pool_graph(op, image, (3, 3), (3, 2), pads, ceil_mode=True, count_include_pad=True)),
        ("rescaled", pool_graph(op, image, (3, 3), (1, 1), pads, ratio=1.37, points=(3, -9))),
        ("ratio_power_of_two", pool_graph(op, image, (2, 2), ratio=0.5, points=(0, 0))),
        ("ratio_large", pool_graph(op, image, (2, 2), ratio=300.0, points=(-128, 127))),
        ("ratio_tiny", pool_graph(op, image, (2, 2), ratio=2.0**-30 * 1.1)),
        ("int16_rescaled", pool_graph(op, image, (3, 3), dtype=DType.INT16, ratio=0.77, points=(-32768, 9))),
    ]
    return [Case(name, graph) for name, graph in table]


def additions(node: Node, graph: Graph) -> int:
    """Elements that the windows read."""
    return graph.value(node.outputs[0]).elements * int(np.prod(node.attrs["kernel"]))


def _window_attrs(node: Node) -> dict[str, tuple[int, ...]]:
    """ONNX's 1-D or 2-D window as height and width."""
    attrs = node.attrs
    spatial = len(attrs["kernel_shape"])
    if spatial not in (1, 2):
        raise EspgenError(f"{node.op} over {spatial} axes", node=node.name, hint="espgen has 1-D and 2-D windows")
    pads = attrs["pads"]
    if spatial == 2:
        geometry = (attrs["kernel_shape"], attrs["strides"], pads, attrs["dilations"])
    else:
        single = ((1, attrs[key][0]) for key in ("kernel_shape", "strides", "dilations"))
        kernel, strides, dilations = single
        geometry = (kernel, strides, (0, pads[0], 0, pads[1]), dilations)
    return dict(zip(("kernel", "strides", "pads", "dilations"), (tuple(entry) for entry in geometry), strict=True))


def _lower_max(context: LoweringContext, node: Node) -> None:
    """MaxPool; where the output has another scale, the input is rescaled first."""
    source = activation(context, node, node.inputs[0])
    result = activation(context, node, node.outputs[0])
    geometry = _window_attrs(node)
    operand = rescaled(context, node, context.fetch(node.inputs[0], CHANNELS_LAST), source, result)
    output = context.define(node.outputs[0], CHANNELS_LAST)
    attrs = clip_bounds(context, node, node.outputs[0])
    context.emit(node.name, "max_pool2d", (operand,), (output,), **geometry, **attrs)


def _lower_average(context: LoweringContext, node: Node) -> None:
    """AveragePool with the ratio of the scales; a window that is the whole image makes it a mean, as in onnxruntime."""
    source = activation(context, node, node.inputs[0])
    result = activation(context, node, node.outputs[0])
    geometry = _window_attrs(node)
    if tuple(node.attrs["kernel_shape"]) == tuple(source.shape[2:]) and not any(node.attrs["pads"]):
        lower_mean(context, node)
        return
    operand = context.fetch(node.inputs[0], CHANNELS_LAST)
    output = context.define(node.outputs[0], CHANNELS_LAST)
    area = geometry["kernel"][0] * geometry["kernel"][1]
    attrs = clip_bounds(context, node, node.outputs[0])
    ratio = bounded_ratio(source, result, 1, area, node)
    counted = bool(node.attrs.get("count_include_pad", 0))
    context.emit(node.name, "average_pool2d", (operand,), (output,), ratio=ratio, count_include_pad=counted, **geometry, **attrs)


LOWER = {"MaxPool": _lower_max, "AveragePool": _lower_average}


SPECS = (
    OpSpec(
        name="max_pool2d",
        onnx=("MaxPool", "GlobalMaxPool"),
        summary="maximum over windows, any padding, dilation, ceil mode",
        reference=max_reference,
        kernel=max_kernel,
        cases=max_cases,
        dtypes=("int8", "int16"),
    ),
    OpSpec(
        name="average_pool2d",
        onnx=("AveragePool", "QLinearAveragePool"),
        summary="average over windows, any padding, ceil mode, padding counted or not",
        reference=average_reference,
        kernel=average_kernel,
        macs=additions,
        cases=average_cases,
        dtypes=("int8", "int16"),
    ),
)
