"""PIE movements of whole pixels: what the gather kernel does for resizing, padding, slices and concatenations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from espgen.codegen.family import Family, KernelOptions, Part, Parts, assembly_call
from espgen.codegen.pie.copies import Copy
from espgen.codegen.pie.elementwise import RowShape, elementwise_kernel
from espgen.codegen.pie.packing import LANES
from espgen.codegen.pie.take_pixels import TakeSpec, supports, take_kernel
from espgen.errors import Refused
from espgen.ir import Graph, Node
from espgen.ops.base import KernelCall, RowTable, Storage, StorageOf, rows_of
from espgen.ops.registry import spec_of
from espgen.schedule.storage import StorageNeed


def _parts(node: Node, graph: Graph, storage: StorageOf, options: KernelOptions) -> Parts:
    """The calls; raises Refused for movements that are not of whole pixels."""
    kernel = spec_of(node.op).kernel
    assert kernel is not None
    return tuple(part for call in kernel(node, graph, storage) for part in _split(call, graph, options, storage))


def _split(call: KernelCall, graph: Graph, options: KernelOptions, storage: StorageOf) -> list[Part]:
    """A gather call as one part that copies and one that fills rows."""
    if call.header != "gather.h" or not call.shape["contiguous_channels"]:
        raise Refused("channels move")
    tables = {name: np.asarray(data) for name, data in call.tables}
    row_offset = tables["row_offset"]
    offsets = np.unique(row_offset[row_offset >= 0])
    if len(offsets) > 1:
        raise Refused("rows of the output start at different pixels of the input's rows")
    columns = tuple(int(offset) for offset in tables["pixel_offset"])
    kept, filled = (np.flatnonzero(row_offset >= 0), np.flatnonzero(row_offset < 0))
    parts = []
    for rows, places in ((kept, columns), (filled, (-1,) * len(columns))):
        if len(rows):
            start = int(offsets[0]) if rows is kept else 0
            parts.append(_part(call, graph, options, storage, rows.tolist(), places, start))
    # Rows that are copied and rows that are filled are complete together, after the last of them.
    advance = call.advance if len(parts) == 1 else None
    finished = replace(parts[-1].call, row_begin=call.row_begin, row_end=call.row_end, advance=advance)
    return [*parts[:-1], replace(parts[-1], call=finished)]


def _part(
    call: KernelCall,
    graph: Graph,
    options: KernelOptions,
    storage: StorageOf,
    rows: Sequence[int],
    places: tuple[int, ...],
    start: int,
) -> Part:
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
            raise Refused(reason)
        kernel = take_kernel(spec, hardware_loops=options.hardware_loops)
    return assembly_call(
        kernel,
        RowTable(result, tuple(call.output.rows[row] for row in rows), call.output.first_pixel, call.output.byte_offset),
        (RowTable(source.value, tuple(source.rows[row] for row in rows), source.first_pixel, source.byte_offset + start),),
        row_begin=call.row_begin,
        row_end=call.row_begin,
    )


def _aligned(layout: Storage) -> bool:
    starts_aligned = layout.pad_left * layout.pixel_pitch % LANES == 0
    return starts_aligned and (layout.rows == 1 or layout.row_pitch % LANES == 0)


def _needs(node: Node, graph: Graph) -> dict[str, StorageNeed]:
    return {}


MOVEMENT = Family("pie movement", ("take", "pad", "concat", "slice"), _needs, _parts)
