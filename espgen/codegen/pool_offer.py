"""Vector pools: maxima with borders in code, averages as depthwise sums with a requantization checked for every sum."""

from __future__ import annotations

import numpy as np

from espgen import arith
from espgen.codegen.family import Family, KernelOptions, Parts, assembly_call
from espgen.codegen.mean_offer import keeps_only_channels
from espgen.codegen.pie import depthwise, max_pool, max_pool_wide
from espgen.codegen.pie.max_pool import MaxPoolSpec
from espgen.codegen.pie.packing import LANES
from espgen.codegen.pie.spec import ConvSpec, PieKernel
from espgen.errors import Refusal
from espgen.ir import DType, Graph, Node
from espgen.ops.base import PADDING_ROW, RowTable, Storage, StorageOf, bounds, rows_of
from espgen.ops.broadcast import reach
from espgen.ops.pool2d import coordinates, counts
from espgen.schedule.storage import StorageNeed

_MOST_SUMS = 1 << 22
"""Sums up to which every one is checked."""


def _types(node: Node, graph: Graph) -> Refusal | None:
    types = {graph.value(value).dtype for value in (node.inputs[0], node.outputs[0])}
    return None if types in ({DType.INT8}, {DType.INT16}) else Refusal("not int8 or int16 throughout")


def _max_needs(node: Node, graph: Graph) -> dict[str, StorageNeed] | Refusal:
    refused = _types(node, graph)
    if refused is not None:
        return refused
    rows = coordinates(node, graph, 0)
    inside = (rows >= 0) & (rows < graph.value(node.inputs[0]).shape[1])
    if not inside.any(axis=1).all():
        return Refusal("a window outside of the image")
    if not inside.all() and node.attrs["dilations"][0] > 1:
        return Refusal("padded and dilated")
    if node.attrs["dilations"][1] > 1:
        return Refusal("dilated columns")
    return {name: StorageNeed(0, 0, LANES) for name in (node.inputs[0], node.outputs[0])}


def _max_parts(node: Node, graph: Graph, storage: StorageOf, options: KernelOptions) -> Parts | Refusal:
    spec = _max_spec(node, graph, storage)
    reason = max_pool.supports(spec) and max_pool_wide.supports(spec)
    if reason is not None:
        return Refusal(reason)
    return _images(node, graph, _max_kernel(spec, options), nearest=True)


def _max_spec(node: Node, graph: Graph, storage: StorageOf) -> MaxPoolSpec:
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    low, high = bounds(node, graph)
    return MaxPoolSpec(
        width=source.shape[2],
        out_width=result.shape[2],
        channels=source.shape[3],
        kernel_h=node.attrs["kernel"][0],
        kernel_w=node.attrs["kernel"][1],
        stride_h=node.attrs["strides"][0],
        stride_w=node.attrs["strides"][1],
        dilation_h=node.attrs["dilations"][0],
        pad_left=node.attrs["pads"][1],
        in_pitch=storage(source.name).pixel_pitch,
        out_pitch=storage(result.name).pixel_pitch,
        low=low,
        high=high,
        element_bytes=result.dtype.size,
    )


def _max_kernel(spec: MaxPoolSpec, options: KernelOptions) -> PieKernel:
    """The kernel of the form that takes the window, the one with register-held columns first."""
    make = max_pool_wide.wide_max_pool_kernel if max_pool.supports(spec) else max_pool.max_pool_kernel
    return make(spec, hardware_loops=options.hardware_loops)


def _global_needs(node: Node, graph: Graph) -> dict[str, StorageNeed] | Refusal:
    """A maximum over all pixels: one window as large as the image."""
    refused = _types(node, graph)
    if refused is not None:
        return refused
    if not keeps_only_channels(node, graph):
        return Refusal("not over all pixels and no channels")
    return {node.inputs[0]: StorageNeed(0, 0, LANES)}


def _global_spec(node: Node, graph: Graph, held: Storage, written: Storage) -> MaxPoolSpec:
    rows, pixels, channels = rows_of(graph.value(node.inputs[0]).shape)
    low, high = bounds(node, graph)
    return MaxPoolSpec(
        width=pixels,
        out_width=1,
        channels=channels,
        kernel_h=rows,
        kernel_w=pixels,
        stride_h=rows,
        stride_w=pixels,
        dilation_h=1,
        pad_left=0,
        in_pitch=held.pixel_pitch,
        out_pitch=channels * written.item if written.shared_gaps else written.pixel_pitch,
        low=low,
        high=high,
        element_bytes=written.item,
    )


def _global_parts(node: Node, graph: Graph, storage: StorageOf, options: KernelOptions) -> Parts | Refusal:
    source, result = node.inputs[0], node.outputs[0]
    spec = _global_spec(node, graph, storage(source), storage(result))
    reason = max_pool_wide.supports(spec)
    if reason is not None:
        return Refusal(reason)
    kernel = max_pool_wide.wide_max_pool_kernel(spec, hardware_loops=options.hardware_loops)
    rows = tuple(range(rows_of(graph.value(source).shape)[0]))
    return (assembly_call(kernel, RowTable(result, (0,)), (RowTable(source, rows),)),)


def _average_needs(node: Node, graph: Graph) -> dict[str, StorageNeed] | Refusal:
    refused = _types(node, graph)
    if refused is not None:
        return refused
    divisors = _divisors(node, graph)
    if len(divisors) > 1:
        return Refusal("windows of different sizes")
    if _average_requant(node, graph, int(divisors[0])) is None:
        return Refusal(f"no exact division by {int(divisors[0]) * node.attrs['ratio'].denominator}")
    source, columns = graph.value(node.inputs[0]), coordinates(node, graph, 1)
    halo = (max(0, -int(columns.min())), max(0, int(columns.max()) - source.shape[2] + 1))
    return {source.name: StorageNeed(*halo, LANES), node.outputs[0]: StorageNeed(0, 0, LANES)}


def _divisors(node: Node, graph: Graph) -> np.ndarray:
    """How many elements windows average over, without repetition."""
    return np.unique(counts(node, graph, 0)[:, None] * counts(node, graph, 1)[None, :])


def _average_parts(node: Node, graph: Graph, storage: StorageOf, options: KernelOptions) -> Parts | Refusal:
    requant = _average_requant(node, graph, int(_divisors(node, graph)[0]))
    assert requant is not None
    spec = _average_spec(node, graph, requant, storage)
    reason = depthwise.supports(spec)
    if reason is not None:
        return Refusal(reason)
    kernel = depthwise.depthwise_kernel(spec, hardware_loops=options.hardware_loops)
    return _images(node, graph, kernel, nearest=False)


def _average_requant(node: Node, graph: Graph, count: int) -> arith.Requant | None:
    """A requantization of window sums that is exact for every sum that can occur, or None."""
    ratio = arith.Ratio(node.attrs["ratio"].numerator, node.attrs["ratio"].denominator * count)
    source = graph.value(node.inputs[0])
    area = node.attrs["kernel"][0] * node.attrs["kernel"][1]
    bound, bits = area * reach(source), 8 * source.dtype.size
    real = ratio.numerator / ratio.denominator
    if bound > _MOST_SUMS or real >= 128 or bound * ratio.numerator >= 1 << 61:
        return None
    chosen = arith.choose_requant([real], [bound], bits)
    sums = np.arange(-bound, bound + 1, dtype=np.int64)
    # Beyond any output a Scale saturates its input: what counts is what is left after clipping to any zero point.
    limit = 2 << bits
    exact = arith.apply_ratio(sums, ratio, 0, -limit, limit)
    given = arith.requantize(sums, chosen, 0, -limit, limit)
    if not np.array_equal(np.clip(exact, -(1 << bits), 1 << bits), np.clip(given, -(1 << bits), 1 << bits)):
        return None
    channels = graph.value(node.inputs[0]).shape[3]
    if isinstance(chosen, arith.Scale):
        return arith.Scale(chosen.split, chosen.high * channels, chosen.low * channels, chosen.shift * channels)
    if isinstance(chosen, arith.WideScale):
        return arith.WideScale(chosen.split, chosen.multiplier * channels, chosen.shift * channels)
    return chosen


def _average_spec(node: Node, graph: Graph, requant: arith.Requant, storage: StorageOf) -> ConvSpec:
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    channels, area = source.shape[3], node.attrs["kernel"][0] * node.attrs["kernel"][1]
    low, high = bounds(node, graph)
    return ConvSpec(
        weights=np.ones((channels, *node.attrs["kernel"], 1), np.int8),
        bias=np.full(channels, -area * source.zero_point, np.int64),
        requant=requant,
        out_width=result.shape[2],
        in_pitch=storage(source.name).pixel_pitch,
        out_pitch=storage(result.name).pixel_pitch,
        stride_h=node.attrs["strides"][0],
        stride_w=node.attrs["strides"][1],
        dilation_h=node.attrs["dilations"][0],
        dilation_w=node.attrs["dilations"][1],
        groups=channels,
        zero_point=result.zero_point,
        low=low,
        high=high,
        bound=area * reach(source),
        element_bytes=result.dtype.size,
    )


def _images(node: Node, graph: Graph, kernel: PieKernel, *, nearest: bool) -> Parts:
    """One call per image; rows outside of it are the nearest inside, or rows of padding that start in the halo."""
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    batch, height = source.shape[:2]
    out_h = result.shape[1]
    wanted = coordinates(node, graph, 0)
    parts = []
    for image in range(batch):
        rows = []
        for row in range(int(wanted.min()), int(wanted.max()) + 1):
            inside = min(max(row, 0), height - 1)
            rows.append(image * height + inside if nearest or inside == row else PADDING_ROW)
        read = RowTable(source.name, tuple(rows), first_pixel=0 if nearest else -node.attrs["pads"][1])
        written = RowTable(result.name, tuple(range(image * out_h, (image + 1) * out_h)))
        parts.append(
            assembly_call(kernel, written, (read,), row_begin=image * out_h, advance=(node.attrs["strides"][0],))
        )
    return tuple(parts)


MAX_POOL = Family("pie max pool", ("max_pool2d",), _max_needs, _max_parts)
GLOBAL_MAX_POOL = Family("pie max pool", ("reduce_max",), _global_needs, _global_parts)
AVERAGE_POOL = Family("pie average pool", ("average_pool2d",), _average_needs, _average_parts)
