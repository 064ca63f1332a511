"""Vector means for reduce_mean nodes that keep only the channels."""

from __future__ import annotations

from espgen.codegen.family import Family, KernelOptions, Parts, assembly_call
from espgen.codegen.pie.mean import MeanSpec, mean_kernel, supports
from espgen.codegen.pie.packing import LANES
from espgen.errors import Refusal
from espgen.ir import DType, Graph, Node
from espgen.ops.base import RowTable, Storage, StorageOf, bounds, rows_of
from espgen.schedule.storage import StorageNeed


def keeps_only_channels(node: Node, graph: Graph) -> bool:
    """Whether a reduction goes over all pixels and no channels."""
    shape = graph.value(node.inputs[0]).shape
    kept = [extent for axis, extent in enumerate(shape[:-1]) if axis not in node.attrs["axes"]]
    return len(shape) >= 2 and len(shape) - 1 not in node.attrs["axes"] and all(extent == 1 for extent in kept)


def _needs(node: Node, graph: Graph) -> dict[str, StorageNeed] | Refusal:
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    if source.dtype is not result.dtype or source.dtype not in (DType.INT8, DType.INT16):
        return Refusal(f"{source.dtype.value} to {result.dtype.value}")
    if not keeps_only_channels(node, graph):
        return Refusal("not over all pixels and no channels")
    return {source.name: StorageNeed(0, 0, LANES)}


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


def _parts(node: Node, graph: Graph, storage: StorageOf, options: KernelOptions) -> Parts | Refusal:
    source, result = node.inputs[0], node.outputs[0]
    spec = _spec(node, graph, storage(source), storage(result))
    reason = supports(spec)
    if reason is not None:
        return Refusal(reason)
    kernel = mean_kernel(spec, hardware_loops=options.hardware_loops)
    rows = rows_of(graph.value(source).shape)[0]
    return (assembly_call(kernel, RowTable(result, (0,)), (RowTable(source, tuple(range(rows))),)),)


MEAN = Family("pie mean", ("reduce_mean",), _needs, _parts)
