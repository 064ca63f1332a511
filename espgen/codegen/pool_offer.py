"""PIE pools: maxima with borders in code, averages as depthwise sums with a requantization checked for every sum."""

from __future__ import annotations

from functools import partial

import numpy as np

from espgen import arith
from espgen.codegen.calls import Call, NodePlan, padding_bytes
from espgen.codegen.offers import KernelOptions, Offer, Refusal
from espgen.codegen.pie import depthwise, max_pool, max_pool_wide
from espgen.codegen.pie.max_pool import MaxPoolSpec
from espgen.codegen.pie.packing import LANES
from espgen.codegen.pie.spec import ConvSpec, PieKernel
from espgen.ir import DType, Graph, Node
from espgen.ops.base import PADDING_ROW, RowTable, Storage, bounds, rows_of
from espgen.ops.broadcast import reach
from espgen.ops.pool2d import coordinates, counts
from espgen.schedule.storage import StorageNeed, StoragePlan, padded_storage

_MOST_SUMS = 1 << 22
"""Sums up to which every one is checked."""

MAX_KERNEL, AVERAGE_KERNEL = "pie max pool", "pie average pool"


def offer(node: Node, graph: Graph, options: KernelOptions) -> Offer | Refusal | None:
    """A PIE pool for a pooling node, or why there is none; None for other nodes."""
    if node.op not in ("max_pool2d", "average_pool2d", "reduce_max"):
        return None
    name = AVERAGE_KERNEL if node.op == "average_pool2d" else MAX_KERNEL
    types = {graph.value(value).dtype for value in (node.inputs[0], node.outputs[0])}
    if types not in ({DType.INT8}, {DType.INT16}):
        return Refusal(name, "not int8 or int16 throughout")
    if node.op == "reduce_max":
        return _global_offer(node, graph, options)
    return (_max_offer if node.op == "max_pool2d" else _average_offer)(node, graph, options)


def _storages(graph: Graph, needs: dict[str, StorageNeed]) -> dict[str, Storage]:
    return {name: padded_storage(graph.value(name), need) for name, need in needs.items()}


def _max_offer(node: Node, graph: Graph, options: KernelOptions) -> Offer | Refusal:
    needs = {name: StorageNeed(0, 0, LANES) for name in (node.inputs[0], node.outputs[0])}
    rows = coordinates(node, graph, 0)
    inside = (rows >= 0) & (rows < graph.value(node.inputs[0]).shape[1])
    if not inside.any(axis=1).all():
        return Refusal(MAX_KERNEL, "a window outside of the image")
    if not inside.all() and node.attrs["dilations"][0] > 1:
        return Refusal(MAX_KERNEL, "padded and dilated")
    if node.attrs["dilations"][1] > 1:
        return Refusal(MAX_KERNEL, "dilated columns")
    spec = _max_spec(node, graph, _storages(graph, needs))
    reason = max_pool.supports(spec) and max_pool_wide.supports(spec)
    if reason is not None:
        return Refusal(MAX_KERNEL, reason)
    batch, out_h = graph.value(node.outputs[0]).shape[:2]
    cycles = int(_max_kernel(spec, options).cycles(out_h) * batch)
    return Offer(MAX_KERNEL, cycles, needs, partial(_build_max, node, graph, options))


def _max_spec(node: Node, graph: Graph, storages: dict[str, Storage]) -> MaxPoolSpec:
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
        in_pitch=storages[source.name].pixel_pitch,
        out_pitch=storages[result.name].pixel_pitch,
        low=low,
        high=high,
        element_bytes=result.dtype.size,
    )


def _build_max(node: Node, graph: Graph, options: KernelOptions, storage: StoragePlan) -> NodePlan:
    spec = _max_spec(node, graph, dict(storage.storages))
    kernel = _max_kernel(spec, options)
    return _plan(node, graph, storage, MAX_KERNEL, kernel, nearest=True)


def _max_kernel(spec: MaxPoolSpec, options: KernelOptions) -> PieKernel:
    """The kernel of the form that takes the window, the one with register-held columns first."""
    make = max_pool_wide.wide_max_pool_kernel if max_pool.supports(spec) else max_pool.max_pool_kernel
    return make(spec, hardware_loops=options.hardware_loops)


def _global_offer(node: Node, graph: Graph, options: KernelOptions) -> Offer | Refusal:
    """A maximum over all pixels: one window as large as the image."""
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    kept = [extent for axis, extent in enumerate(source.shape[:-1]) if axis not in node.attrs["axes"]]
    if len(source.shape) < 2 or len(source.shape) - 1 in node.attrs["axes"] or any(extent != 1 for extent in kept):
        return Refusal(MAX_KERNEL, "not over all pixels and no channels")
    need = StorageNeed(0, 0, LANES)
    spec = _global_spec(node, graph, padded_storage(source, need), padded_storage(result, StorageNeed()))
    reason = max_pool_wide.supports(spec)
    if reason is not None:
        return Refusal(MAX_KERNEL, reason)
    kernel = max_pool_wide.wide_max_pool_kernel(spec, hardware_loops=options.hardware_loops)
    return Offer(MAX_KERNEL, int(kernel.cycles(1)), {source.name: need}, partial(_build_global, node, graph, options))


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


def _build_global(node: Node, graph: Graph, options: KernelOptions, storage: StoragePlan) -> NodePlan:
    source, result = node.inputs[0], node.outputs[0]
    spec = _global_spec(node, graph, storage.of(graph, source), storage.storages[result])
    kernel = max_pool_wide.wide_max_pool_kernel(spec, hardware_loops=options.hardware_loops)
    rows = tuple(range(rows_of(graph.value(source).shape)[0]))
    call = Call(
        function=kernel.symbol,
        header=None,
        template=None,
        output=RowTable(result, (0,)),
        inputs=(RowTable(source, rows),),
        tables=(),
        rows=1,
        row_begin=0,
        row_end=1,
    )
    return NodePlan(node, MAX_KERNEL, (call,), assembly=((kernel.symbol, kernel.assembly),))


def _average_offer(node: Node, graph: Graph, options: KernelOptions) -> Offer | Refusal:
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    divisors = np.unique(counts(node, graph, 0)[:, None] * counts(node, graph, 1)[None, :])
    if len(divisors) > 1:
        return Refusal(AVERAGE_KERNEL, "windows of different sizes")
    requant = _average_requant(node, graph, int(divisors[0]))
    if requant is None:
        return Refusal(AVERAGE_KERNEL, f"no exact division by {int(divisors[0]) * node.attrs['ratio'].denominator}")
    columns = coordinates(node, graph, 1)
    halo = (max(0, -int(columns.min())), max(0, int(columns.max()) - source.shape[2] + 1))
    needs = {source.name: StorageNeed(*halo, LANES), result.name: StorageNeed(0, 0, LANES)}
    spec = _average_spec(node, graph, requant, _storages(graph, needs))
    reason = depthwise.supports(spec)
    if reason is not None:
        return Refusal(AVERAGE_KERNEL, reason)
    batch, out_h = result.shape[:2]
    cycles = int(depthwise.depthwise_kernel(spec, hardware_loops=options.hardware_loops).cycles(out_h) * batch)
    return Offer(AVERAGE_KERNEL, cycles, needs, partial(_build_average, node, graph, requant, options))


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


def _average_spec(node: Node, graph: Graph, requant: arith.Requant, storages: dict[str, Storage]) -> ConvSpec:
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    channels, area = source.shape[3], node.attrs["kernel"][0] * node.attrs["kernel"][1]
    low, high = bounds(node, graph)
    return ConvSpec(
        weights=np.ones((channels, *node.attrs["kernel"], 1), np.int8),
        bias=np.full(channels, -area * source.zero_point, np.int64),
        requant=requant,
        out_width=result.shape[2],
        in_pitch=storages[source.name].pixel_pitch,
        out_pitch=storages[result.name].pixel_pitch,
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


def _build_average(
    node: Node, graph: Graph, requant: arith.Requant, options: KernelOptions, storage: StoragePlan
) -> NodePlan:
    spec = _average_spec(node, graph, requant, dict(storage.storages))
    kernel = depthwise.depthwise_kernel(spec, hardware_loops=options.hardware_loops)
    return _plan(node, graph, storage, AVERAGE_KERNEL, kernel, nearest=False)


def _plan(node: Node, graph: Graph, storage: StoragePlan, name: str, kernel: PieKernel, *, nearest: bool) -> NodePlan:
    """One call per image; rows outside of it are the nearest inside, or rows of padding that start in the halo."""
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    batch, height = source.shape[:2]
    out_h = result.shape[1]
    wanted = coordinates(node, graph, 0)
    calls = []
    for image in range(batch):
        rows = []
        for row in range(int(wanted.min()), int(wanted.max()) + 1):
            inside = min(max(row, 0), height - 1)
            rows.append(image * height + inside if nearest or inside == row else PADDING_ROW)
        calls.append(
            Call(
                function=kernel.symbol,
                header=None,
                template=None,
                output=RowTable(result.name, tuple(range(image * out_h, (image + 1) * out_h))),
                inputs=(RowTable(source.name, tuple(rows), first_pixel=0 if nearest else -node.attrs["pads"][1]),),
                tables=(("void", kernel.params),) if kernel.params else (),
                rows=out_h,
                row_begin=image * out_h,
                row_end=(image + 1) * out_h,
            )
        )
    scratch = padding_bytes(tuple(calls), storage)
    return NodePlan(node, name, tuple(calls), assembly=((kernel.symbol, kernel.assembly),), scratch=scratch)
