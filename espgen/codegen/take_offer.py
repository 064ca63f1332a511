"""PIE movements of whole pixels: what the gather kernel does for resizing, padding, slices and concatenations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from espgen.codegen.calls import VIEW, Call, NodePlan
from espgen.codegen.offers import KernelOptions, Offer, Refusal
from espgen.codegen.pie.copies import Copy
from espgen.codegen.pie.elementwise import RowShape, elementwise_kernel
from espgen.codegen.pie.packing import LANES
from espgen.codegen.pie.spec import PieKernel
from espgen.codegen.pie.take_pixels import TakeSpec, supports, take_kernel
from espgen.errors import EspgenError
from espgen.ir import Graph, Node
from espgen.ops.base import KernelCall, RowTable, Storage, StorageOf, rows_of
from espgen.ops.registry import spec_of
from espgen.schedule.storage import StoragePlan, dense_storage

KERNEL = "pie movement"
_OPERATORS = ("take", "pad", "concat", "slice")


@dataclass(frozen=True)
class _Part:
    """One call: a kernel, the rows it reads and writes, and which rows of the node are complete after it."""

    kernel: PieKernel
    output: RowTable
    source: RowTable
    done: tuple[int, int]


def offer(node: Node, graph: Graph, options: KernelOptions) -> Offer | Refusal | None:
    """PIE copies for a movement of pixels, or why there are none; None for other nodes."""
    if node.op not in _OPERATORS:
        return None
    try:
        parts = _parts(node, graph, options, lambda name: dense_storage(graph.value(name)))
    except EspgenError as reason:
        return Refusal(KERNEL, reason.message)
    cycles = sum(int(part.kernel.cycles(len(part.output.rows))) for part in parts)
    return Offer(KERNEL, cycles, {}, partial(_build, node, graph, options))


def _parts(node: Node, graph: Graph, options: KernelOptions, storage: StorageOf) -> list[_Part]:
    """The calls; raises EspgenError for movements that are not of whole pixels."""
    kernel = spec_of(node.op).kernel
    assert kernel is not None
    return [part for call in kernel(node, graph, storage) for part in _split(call, graph, options, storage)]


def _split(call: KernelCall, graph: Graph, options: KernelOptions, storage: StorageOf) -> list[_Part]:
    """A gather call as one part that copies and one that fills rows."""
    if call.header != "gather.h" or not call.shape["contiguous_channels"]:
        raise EspgenError("channels move")
    tables = dict(call.tables)
    row_offset = tables["row_offset"]
    offsets = np.unique(row_offset[row_offset >= 0])
    if len(offsets) > 1:
        raise EspgenError("rows of the output start at different pixels of the input's rows")
    columns = tuple(int(offset) for offset in tables["pixel_offset"])
    kept, filled = (np.flatnonzero(row_offset >= 0), np.flatnonzero(row_offset < 0))
    parts = []
    for rows, places in ((kept, columns), (filled, (-1,) * len(columns))):
        if len(rows):
            start = int(offsets[0]) if rows is kept else 0
            parts.append(_part(call, graph, options, storage, rows.tolist(), places, start))
    last = parts[-1]
    finished = _Part(last.kernel, last.output, last.source, (call.row_begin, call.row_end))
    return [*parts[:-1], finished]


def _part(
    call: KernelCall,
    graph: Graph,
    options: KernelOptions,
    storage: StorageOf,
    rows: Sequence[int],
    places: tuple[int, ...],
    start: int,
) -> _Part:
    (source,), result = call.inputs, call.output.value
    held, written = storage(source.value), storage(result)
    dtype = graph.value(result).dtype
    size = call.shape["channels"] * dtype.size
    whole = size == rows_of(graph.value(result).shape)[2] * dtype.size
    first_byte = call.output.byte_offset + call.output.first_pixel * written.pixel_pitch
    starts = [start, first_byte]
    aligned = all(_aligned(layout) for layout in (held, written)) and all(byte % LANES == 0 for byte in starts)
    copied = tuple(place for place in places if place >= 0)
    if call.shape["contiguous_pixels"] and len(copied) == len(places):
        total = len(places) * size
        shape = RowShape(1, total, (total,), total, aligned)
        kernel = elementwise_kernel(shape, Copy(), "copy", hardware_loops=options.hardware_loops)
        start += places[0]
    else:
        pitches = [written.pixel_pitch if len(places) > 1 else 0, *copied]
        spec = TakeSpec(
            offsets=places,
            size=size,
            out_pitch=written.pixel_pitch,
            fill=np.array(call.shape["fill"], dtype.numpy).tobytes(),
            gaps=whole and not written.shared_gaps and first_byte == 0,
            aligned=aligned and all(byte % LANES == 0 for byte in pitches),
        )
        reason = supports(spec)
        if reason is not None:
            raise EspgenError(reason)
        kernel = take_kernel(spec, hardware_loops=options.hardware_loops)
    return _Part(
        kernel,
        RowTable(result, tuple(call.output.rows[row] for row in rows), call.output.first_pixel, call.output.byte_offset),
        RowTable(source.value, tuple(source.rows[row] for row in rows), source.first_pixel, source.byte_offset + start),
        (call.row_begin, call.row_begin),
    )


def _aligned(layout: Storage) -> bool:
    starts_aligned = layout.pad_left * layout.pixel_pitch % LANES == 0
    return starts_aligned and (layout.rows == 1 or layout.row_pitch % LANES == 0)


def _build(node: Node, graph: Graph, options: KernelOptions, storage: StoragePlan) -> NodePlan:
    if node.name in storage.elided:
        return NodePlan(node, VIEW, ())
    parts = _parts(node, graph, options, lambda name: storage.of(graph, name))
    calls = tuple(
        Call(
            function=part.kernel.symbol,
            header=None,
            template=None,
            output=part.output,
            inputs=(part.source,),
            tables=(("void", part.kernel.params),) if part.kernel.params else (),
            rows=len(part.output.rows),
            row_begin=part.done[0],
            row_end=part.done[1],
        )
        for part in parts
    )
    assembly = {part.kernel.symbol: part.kernel.assembly for part in parts}
    return NodePlan(node, KERNEL, calls, assembly=tuple(assembly.items()))
