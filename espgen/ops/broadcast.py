"""Operands of element-wise kernels under numpy's broadcasting: repeated rows, and strides of 0 within a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from espgen.arith import Requant
from espgen.ir import Graph, Node, Value
from espgen.ops.base import Array, KernelCall, RowTable, StorageOf, rows_of
from espgen.ops.requant_view import requant_view

NARROW = 2**31 - 2**16
"""Sums below it are computed in 32 bits: room is left for the zero point."""


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


def needs_64_bits(bound: int, shift: int) -> int:
    """1 where sums of at most `bound` and half of 2^shift, which rounding adds, do not fit 32 bits; else 0."""
    return int(bound + ((1 << shift) >> 1) >= NARROW)


def initializer(values: Sequence[object]) -> str:
    """A C++ array or structure initializer."""
    return "{" + ", ".join(str(value) for value in values) + "}"


def uniform_requant(requant: Requant) -> str:
    """A requantization with one entry as the C++ initializer of UniformRequant."""
    view = requant_view(requant, 1)
    (_, multiplier), (_, low), (_, shift) = view.tables
    return initializer([f"espgen::{view.kind}", view.split, int(multiplier[0]), int(low[0]), int(shift[0])])


def reach(value: Value) -> int:
    """Largest |x - z| that the value's type can hold."""
    return max(value.dtype.maximum - value.zero_point, value.zero_point - value.dtype.minimum)


def rowwise_call(
    node: Node,
    graph: Graph,
    header: str,
    shape_type: str,
    shape: Mapping[str, object],
    operands: Sequence[str],
    storage: StorageOf,
    tables: tuple[tuple[str, Array], ...] = (),
) -> tuple[KernelCall, ...]:
    """The single call of an element-wise kernel named after its header; types: those of operands and output."""
    result = graph.value(node.outputs[0])
    rows, _, _ = rows_of(result.shape)
    types = {f"input{index}": graph.value(name).dtype for index, name in enumerate(operands)}
    return (
        KernelCall(
            header=header,
            function=header.removesuffix(".h"),
            shape_type=shape_type,
            shape=shape,
            types={**types, "output": result.dtype},
            output=RowTable(result.name, tuple(range(rows))),
            inputs=tuple(operand(name, result.shape, graph, storage).table for name in operands),
            tables=tables,
            rows=rows,
            row_begin=0,
            row_end=rows,
            advance=(1,) * len(operands),
        ),
    )
