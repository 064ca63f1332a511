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
    belong to other values (this one is a part of a wider one) and must not be written.
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

    @property
    def nbytes(self) -> int:
        return self.rows * self.row_pitch

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
    """One call of a portable kernel: `espgen::function<shape, types..>(output, inputs.., tables.., rows)`.

    `function` is a template of firmware/kernels/`header`; `shape` gives the fields of its constexpr `shape_type` in
    declaration order, `types` the C++ element types after it; `tables` are read-only arrays that go into the weights.
    Rows [row_begin, row_end) of the node's outputs are complete after the call (an empty range: not yet).
    """

    header: str
    function: str
    shape_type: str
    shape: Mapping[str, Any]
    types: Mapping[str, DType]
    output: RowTable
    inputs: tuple[RowTable, ...]
    tables: tuple[tuple[str, Array], ...]
    rows: int
    row_begin: int
    row_end: int


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
