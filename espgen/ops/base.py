"""What an operator of the integer graph is: one frozen spec per file of this package."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from espgen.ir import DType, Graph, Node, QuantParams, Value

Array = npt.NDArray[Any]
Reference = Callable[[Node, Sequence[Array], Graph], list[Array]]


@dataclass(frozen=True)
class Storage:
    """Where the elements of a value lie: rows of pixels of channels (see rows_of), all distances in bytes.

    Pixel p of row r starts at r * row_pitch + (pad_left + p) * pixel_pitch; the halo of pad_left and pad_right pixels holds
    the zero point for kernels that read across the border without asking. `shared_gaps`: the bytes between the pixels
    belong to other values (this one is a part of a wider one) and must not be written. `ring_rows`: where only so many rows
    are held at a time, row r lies where row r % ring_rows does; 0: all rows are held.
    """

    rows: int
    pixels: int
    channels: int
    item: int
    pixel_pitch: int
    row_pitch: int
    pad_left: int = 0
    pad_right: int = 0
    shared_gaps: bool = False
    ring_rows: int = 0

    @property
    def held_rows(self) -> int:
        """How many rows there is room for."""
        return self.ring_rows or self.rows

    @property
    def nbytes(self) -> int:
        return self.held_rows * self.row_pitch

    def row_offset(self, row: int) -> int:
        """Byte offset of a row from the value's first byte."""
        return row % max(self.held_rows, 1) * self.row_pitch

    @property
    def dense(self) -> bool:
        """Whether the elements follow each other without gaps, in C order."""
        pixel = self.channels * self.item
        return self.pixel_pitch == pixel and self.row_pitch == self.pixels * pixel


PADDING_ROW = -1


@dataclass(frozen=True)
class RowTable:
    """Rows of a value in the order a kernel reads or writes them; PADDING_ROW is a row full of the value's zero point.

    `first_pixel` is the pixel the row pointers point to: 0, or -pad_left for kernels that start in the halo; `byte_offset`
    is added to every pointer (a channel slice of a wider value).
    """

    value: str
    rows: tuple[int, ...]
    first_pixel: int = 0
    byte_offset: int = 0


@dataclass(frozen=True)
class KernelCall:
    """One kernel call that makes rows of a node's output.

    A portable kernel is `espgen::function<shape, types..>(output, inputs.., tables.., rows)`, a template of
    firmware/kernels/`header`; `shape` gives the fields of its constexpr `shape_type` in declaration order, `types` the C++
    element types after it. An assembly kernel has no header: `function(output, first input, table, rows, second input)`.
    `tables` are read-only arrays (bytes: without a type) that go into the weights.

    Rows [row_begin, row_end) of the node's outputs are complete after the call (an empty range: not yet). `advance` says
    how many entries of each input's row table, and `table_advance` how many elements of a table, one output row moves on:
    what a call for fewer rows starts behind. None: the call makes all its rows at once or none.
    """

    function: str
    output: RowTable
    inputs: tuple[RowTable, ...]
    tables: tuple[tuple[str, Array | bytes], ...]
    rows: int
    row_begin: int
    row_end: int
    header: str | None = None
    shape_type: str = ""
    shape: Mapping[str, Any] = field(default_factory=dict)
    types: Mapping[str, DType] = field(default_factory=dict)
    advance: tuple[int, ...] | None = None
    table_advance: Mapping[str, int] = field(default_factory=dict)

    def rows_read(self, begin: int, end: int) -> dict[str, frozenset[int]]:
        """Rows of each input that output rows [begin, end) of the node need, padding left out; `advance` is known."""
        assert self.advance is not None
        first, last = max(begin, self.row_begin) - self.row_begin, min(end, self.row_end) - self.row_begin
        read: dict[str, frozenset[int]] = {}
        for table, step in zip(self.inputs, self.advance, strict=True):
            window = len(table.rows) - (self.rows - 1) * step
            rows = table.rows[first * step : (last - 1) * step + window] if last > first else ()
            read[table.value] = read.get(table.value, frozenset()) | (frozenset(rows) - {PADDING_ROW})
        return read


StorageOf = Callable[[str], Storage]
Kernel = Callable[[Node, Graph, StorageOf], tuple[KernelCall, ...]]


@dataclass(frozen=True)
class Case:
    """A test case: a one-operator integer graph and how wide its inputs' values reach."""

    name: str
    graph: Graph


@dataclass(frozen=True)
class OpSpec:
    """One operator in one place.

    reference  exact integer semantics in numpy: (node, input arrays, graph) -> output arrays
    kernel     the portable kernel's calls for a node; None for operators that only rename storage (aliases)
    macs       multiply-accumulates of a node
    cases      small graphs for the tests, with the shapes that break others
    """

    name: str
    onnx: tuple[str, ...]
    summary: str
    reference: Reference
    kernel: Kernel | None
    macs: Callable[[Node, Graph], int] = lambda node, graph: 0
    cases: Callable[[], list[Case]] = list
    dtypes: tuple[str, ...] = ("int8",)
    notes: str = ""
    in_place: bool = False
    """Whether an output row may overwrite the input row of the same number (same shape and pitch)."""

    def rows_read(self, node: Node, graph: Graph, begin: int, end: int) -> dict[str, frozenset[int]]:
        """Rows of each computed input (see rows_of) that rows [begin, end) of the node's outputs are made from.

        Read off the row tables of the portable kernel's calls, so that there is one statement of it; where a call does not
        make its rows one by one, everything.
        """
        assert self.kernel is not None
        computed = {name for name in node.inputs if name and not graph.is_constant(name)}
        calls = self.kernel(node, graph, lambda name: dense_storage(graph.value(name)))
        if any(call.advance is None for call in calls):
            return {name: frozenset(range(rows_of(graph.value(name).shape)[0])) for name in computed}
        parts = [call.rows_read(begin, end) for call in calls]
        return {name: frozenset().union(*(part.get(name, frozenset()) for part in parts)) for name in computed}


@dataclass
class GraphBuilder:
    """Assembles one-operator graphs for cases, and small graphs for tests."""

    name: str
    values: dict[str, Value] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)

    def input(self, name: str, shape: Sequence[int], dtype: DType = DType.INT8, scale: float = 1.0, zero_point: int = 0) -> str:
        self.values[name] = Value(name, tuple(shape), dtype, QuantParams.tensor(scale, zero_point))
        self.inputs.append(name)
        return name

    def constant(self, name: str, data: Array, quant: QuantParams | None = None) -> str:
        self.values[name] = Value(name, tuple(data.shape), DType.of(data), quant)
        self.constants[name] = data
        return name

    def node(
        self,
        op: str,
        inputs: Sequence[str],
        shape: Sequence[int],
        dtype: DType = DType.INT8,
        scale: float = 1.0,
        zero_point: int = 0,
        output: str | None = None,
        **attrs: Any,
    ) -> str:
        name = output or f"{op}_{len(self.nodes)}"
        self.values[name] = Value(name, tuple(shape), dtype, QuantParams.tensor(scale, zero_point))
        self.nodes.append(Node(name, op, tuple(inputs), (name,), attrs))
        return name

    def build(self, outputs: Sequence[str]) -> Graph:
        return Graph(self.name, tuple(self.inputs), tuple(outputs), tuple(self.nodes), self.values, self.constants)


def zero_points(node: Node, graph: Graph) -> tuple[list[int], int]:
    """Zero points of the inputs (0 where unquantized or absent) and of the first output."""
    points = [graph.value(name).zero_point if name and _per_tensor(graph.value(name)) else 0 for name in node.inputs]
    return points, graph.value(node.outputs[0]).zero_point


def _per_tensor(value: Value) -> bool:
    return value.quant is None or value.quant.per_tensor


def output_array(data: Array, node: Node, graph: Graph, index: int = 0) -> Array:
    """`data` as the element type and shape of output `index`."""
    value = graph.value(node.outputs[index])
    return np.ascontiguousarray(data.astype(value.dtype.numpy)).reshape(value.shape)


def bounds(node: Node, graph: Graph) -> tuple[int, int]:
    """The node's clip bounds, or the range of its output type."""
    dtype = graph.value(node.outputs[0]).dtype
    return int(node.attrs.get("low", dtype.minimum)), int(node.attrs.get("high", dtype.maximum))


def rows_of(shape: Sequence[int]) -> tuple[int, int, int]:
    """A tensor as rows x pixels x channels: the last axis, the one before, and all the rest."""
    channels = shape[-1] if len(shape) >= 1 else 1
    pixels = shape[-2] if len(shape) >= 2 else 1
    rows = 1
    for extent in shape[:-2]:
        rows *= extent
    return rows, pixels, channels


def dense_storage(value: Value) -> Storage:
    """Elements one after the other."""
    rows, pixels, channels = rows_of(value.shape)
    pitch = channels * value.dtype.size
    return Storage(rows, pixels, channels, value.dtype.size, pitch, pixels * pitch)
