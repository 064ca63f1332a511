"""PIE means for reduce_mean nodes that keep only the channels."""

from __future__ import annotations

from functools import partial

from espgen.codegen.calls import Call, NodePlan
from espgen.codegen.offers import KernelOptions, Offer, Refusal
from espgen.codegen.pie.mean import MeanSpec, mean_kernel, supports
from espgen.codegen.pie.packing import LANES
from espgen.ir import DType, Graph, Node
from espgen.ops.base import RowTable, Storage, bounds, rows_of
from espgen.schedule.storage import StorageNeed, StoragePlan, dense_storage, padded_storage

KERNEL = "pie mean"


def offer(node: Node, graph: Graph, options: KernelOptions) -> Offer | Refusal | None:
    """A PIE mean for a reduce_mean node, or why there is none; None for other nodes."""
    if node.op != "reduce_mean":
        return None
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    if source.dtype is not result.dtype or source.dtype not in (DType.INT8, DType.INT16):
        return Refusal(KERNEL, f"{source.dtype.value} to {result.dtype.value}")
    kept = [extent for axis, extent in enumerate(source.shape[:-1]) if axis not in node.attrs["axes"]]
    if len(source.shape) < 2 or len(source.shape) - 1 in node.attrs["axes"] or any(extent != 1 for extent in kept):
        return Refusal(KERNEL, "not over all pixels and no channels")
    need = StorageNeed(0, 0, LANES)
    spec = _spec(node, graph, padded_storage(source, need), dense_storage(result))
    reason = supports(spec)
    if reason is not None:
        return Refusal(KERNEL, reason)
    cycles = int(mean_kernel(spec, hardware_loops=options.hardware_loops).cycles(1))
    return Offer(KERNEL, cycles, {source.name: need}, partial(_build, node, graph, options))


def _spec(node: Node, graph: Graph, held: Storage, written: Storage) -> MeanSpec:
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    rows, pixels, channels = rows_of(source.shape)
    low, high = bounds(node, graph)
    return MeanSpec(
        rows=rows,
        pixels=pixels,
        channels=channels,
        in_pitch=held.pixel_pitch,
        # One pixel is written: a pitch of exactly its channels keeps the store from what others hold behind it.
        out_pitch=channels * written.item if written.shared_gaps else written.pixel_pitch,
        ratio=node.attrs["ratio"],
        point=source.zero_point,
        zero_point=result.zero_point,
        low=low,
        high=high,
        element_bytes=source.dtype.size,
        float_ties=node.attrs.get("float_ties"),
        contiguous=rows == 1 or held.row_pitch == pixels * held.pixel_pitch,
    )


def _build(node: Node, graph: Graph, options: KernelOptions, storage: StoragePlan) -> NodePlan:
    source, result = node.inputs[0], node.outputs[0]
    spec = _spec(node, graph, storage.storages[source], storage.storages[result])
    kernel = mean_kernel(spec, hardware_loops=options.hardware_loops)
    rows, _, _ = rows_of(graph.value(source).shape)
    call = Call(
        function=kernel.symbol,
        header=None,
        template=None,
        output=RowTable(result, (0,)),
        inputs=(RowTable(source, tuple(range(rows))),),
        tables=(("void", kernel.params),),
        rows=1,
        row_begin=0,
        row_end=1,
    )
    return NodePlan(node, KERNEL, (call,), assembly=((kernel.symbol, kernel.assembly),))
