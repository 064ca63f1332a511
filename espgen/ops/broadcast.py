"""Operands of element-wise kernels under numpy's broadcasting: repeated rows, and strides of 0 within a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from espgen.ir import Graph
from espgen.ops.base import RowTable, StorageOf, rows_of


@dataclass(frozen=True)
class Operand:
    """An operand as the kernel reads it: its row for every output row, bytes per pixel, elements per channel (0, 1)."""

    table: RowTable
    pixel_stride: int
    channel_stride: int


def operand(name: str, shape: Sequence[int], graph: Graph, storage: StorageOf) -> Operand:
    """Value `name` broadcast to the output `shape`."""
    own = graph.value(name).shape
    rank = max(len(shape), 2)
    own = (1,) * (rank - len(own)) + own
    full = (1,) * (rank - len(shape)) + tuple(shape)
    held = np.arange(rows_of(own)[0]).reshape(own[:-2])
    rows = np.broadcast_to(held, full[:-2]).reshape(-1)
    return Operand(
        table=RowTable(name, tuple(int(row) for row in rows)),
        pixel_stride=0 if own[-2] == 1 else storage(name).pixel_pitch,
        channel_stride=0 if own[-1] == 1 else 1,
    )


def initializer(values: Sequence[object]) -> str:
    """A C++ array or structure initializer."""
    return "{" + ", ".join(str(value) for value in values) + "}"
