"""Calls of the gather kernel, which all movements of data share.

A movement says for each output axis and index which coordinates it contributes to the source (they add up), or that the
output is filled there. The output may be a region of the node's output: a part of a concatenation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from espgen.ir import Graph, Node
from espgen.ops.base import KernelCall, RowTable, Storage, StorageOf, rows_of
from espgen.ops.strides import IntArray, at_least_2, every, places


@dataclass(frozen=True)
class Movement:
    """contributions[axis]: [extent, source rank] coordinates; filled[axis]: [extent] where the output is `fill`."""

    contributions: tuple[IntArray, ...]
    filled: tuple[npt.NDArray[np.bool_], ...]
    fill: int = 0


def along(index: IntArray, axis: int, rank: int) -> IntArray:
    """Contributions of one output axis that runs over `index` along source axis `axis`."""
    result = np.zeros((len(index), rank), np.int64)
    result[:, axis] = index
    return result


def per_axis(indices: Sequence[IntArray], fill: int = 0) -> Movement:
    """Output axis k runs over indices[k] of source axis k; -1 is filled."""
    rank = len(indices)
    return Movement(
        tuple(along(np.maximum(index, 0), axis, rank) for axis, index in enumerate(indices)),
        tuple(np.asarray(index) < 0 for index in indices),
        fill,
    )


def unfilled(contributions: Sequence[IntArray]) -> Movement:
    """A movement that fills nothing."""
    return Movement(tuple(contributions), tuple(np.zeros(len(entry), np.bool_) for entry in contributions))


@dataclass(frozen=True)
class Region:
    """Where a movement writes: output rows, the first pixel, and bytes to the first channel; rows done after it."""

    shape: tuple[int, ...]
    rows: tuple[int, ...]
    first_pixel: int
    byte_offset: int
    row_begin: int
    row_end: int


def whole(shape: Sequence[int]) -> Region:
    """The region that is all of an output."""
    rows = rows_of(shape)[0]
    return Region(tuple(shape), tuple(range(rows)), 0, 0, 0, rows)


def gather_call(node: Node, source: str, movement: Movement, region: Region, graph: Graph, storage: StorageOf) -> KernelCall:
    """The kernel call that moves `source` into a region of the node's output."""
    result = graph.value(node.outputs[0])
    held, shape = storage(source), at_least_2(graph.value(source).shape)
    rank = len(shape)
    padding = max(0, 2 - len(movement.contributions))
    pieces = [np.zeros((1, rank), np.int64)] * padding + [_padded(entry, rank) for entry in movement.contributions]
    filled = [np.zeros(1, np.bool_)] * padding + list(movement.filled)
    leading = every([len(entry) for entry in pieces[:-2]])
    starts = np.zeros((len(leading), rank), np.int64)
    empty = np.zeros(len(leading), np.bool_)
    for axis in range(len(pieces) - 2):
        starts += pieces[axis][leading[:, axis]]
        empty |= filled[axis][leading[:, axis]]
    rows = places(starts, shape, held)
    inner = [places(entry, shape, held) for entry in pieces[-2:]]
    offsets = [entry.bytes(held) for entry in inner]
    # A call can be parted where a row of the output comes from the one row that the table names, and is complete after it.
    parted = region.row_end - region.row_begin == len(leading) and not any(entry.rows.any() for entry in inner)
    pixel_offset = np.where(filled[-2], -1, offsets[0]).astype(np.int32)
    channel_offset = np.where(filled[-1], -1, offsets[1]).astype(np.int32)
    _, pixels, channels = rows_of(region.shape)
    target = storage(result.name)
    dense_channels = np.array_equal(channel_offset, np.arange(channels) * held.item)
    dense_pixels = dense_channels and _dense(pixel_offset, held, target, channels)
    return KernelCall(
        header="gather.h",
        function="gather",
        shape_type="GatherShape",
        shape={
            "pixels": pixels,
            "channels": channels,
            "out_pitch": target.pixel_pitch,
            "contiguous_channels": int(dense_channels),
            "contiguous_pixels": int(dense_pixels),
            "fill": movement.fill,
        },
        types={"element": result.dtype},
        output=RowTable(result.name, region.rows, region.first_pixel, region.byte_offset),
        inputs=(RowTable(source, tuple(int(row) for row in rows.rows)),),
        tables=(
            ("row_offset", np.where(empty, -1, rows.offsets).astype(np.int32)),
            ("pixel_offset", pixel_offset),
            ("channel_offset", channel_offset[:1] if dense_channels else channel_offset),
        ),
        rows=len(leading),
        row_begin=region.row_begin,
        row_end=region.row_end,
        advance=(1,) if parted else None,
        table_advance={"row_offset": 1},
    )


def _padded(contribution: IntArray, rank: int) -> IntArray:
    """Contributions with zeros for the axes in front that a value of rank 0 or 1 gains."""
    return np.pad(contribution, ((0, 0), (rank - contribution.shape[1], 0)))


def _dense(pixel_offset: npt.NDArray[np.int32], held: Storage, target: Storage, channels: int) -> bool:
    """Whether pixels follow each other without gaps in the source and in the output."""
    packed = channels * held.item
    return target.pixel_pitch == packed and np.array_equal(pixel_offset, np.arange(len(pixel_offset)) * packed)
