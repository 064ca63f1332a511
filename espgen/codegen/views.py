"""Flat descriptions that the templates print, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FieldView:
    """One initializer of a constexpr structure."""

    name: str
    text: str


@dataclass(frozen=True)
class ShapeView:
    """A kernel's compile-time constants."""

    symbol: str
    type: str
    fields: tuple[FieldView, ...]


@dataclass(frozen=True)
class RowTableView:
    """Row pointers, already grouped into lines."""

    symbol: str
    comment: str
    count: int
    lines: tuple[str, ...]


@dataclass(frozen=True)
class LayerView:
    """One node of the integer graph: a function of the rows to make, as lines of code, from its head to its brace."""

    comments: tuple[str, ...]
    shapes: tuple[ShapeView, ...]
    function: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class TensorView:
    """One entry of the model's tensor table; texts are C++ expressions."""

    name: str
    dtype: str
    rank: int
    shape: str
    scale: str
    zero_point: int
    base: str
    rows: int
    pixels: int
    pixel_bytes: int
    pixel_pitch: int
    row_pitch: int
    ring_rows: int


@dataclass(frozen=True)
class LayerEntryView:
    """One entry of the model's layer table."""

    name: str
    op: str
    macs: int
    first_output: int
    outputs: int


@dataclass(frozen=True)
class StepView:
    """One entry of the model's step table."""

    function: str
    layer: int
    row_begin: int
    row_end: int


@dataclass(frozen=True)
class BufferView:
    """Bytes of an arena (by its number) that the steps `first` to `last` may touch."""

    name: str
    arena: int
    offset: int
    bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class PortView:
    """A graph input or output as the application sees it."""

    symbol: str
    name: str
    ctype: str
    constant: str
    shape: str
    shape_text: str
    layout: str
    elements: int
    scale: str
    zero_point: int
    low: int
    high: int
    tensor: int
    is_image: bool
    channels: int


@dataclass(frozen=True)
class LayersView:
    """The file that holds a component's layers, for the chip or as portable twins for a PC."""

    model: str
    title: str
    note: str
    headers: tuple[str, ...]
    row_tables: tuple[RowTableView, ...]
    layers: tuple[LayerView, ...]
    weights_file: str
    has_constant_rows: bool
    weight_bytes: int


@dataclass(frozen=True)
class SizeView:
    """A constant of the header: bytes of an arena, 0 where a memory has none."""

    constant: str
    nbytes: int


@dataclass(frozen=True)
class ArenaView:
    """One array of activations. `constant` is its size in the header, `place` the macro that puts it into its memory."""

    symbol: str
    nbytes: int
    memory: str
    constant: str
    place: str
    shared: str


@dataclass(frozen=True)
class ComponentView:
    """Everything the component's files are printed from."""

    model: str
    title: str
    digest: str
    hash_bytes: tuple[str, ...]
    arenas: tuple[ArenaView, ...]
    arena_sizes: tuple[SizeView, ...]
    internal_bytes: int
    psram_bytes: int
    arena_bytes: tuple[str, ...]
    weight_bytes: int
    planner: str
    layers: tuple[LayerView, ...]
    tensors: tuple[TensorView, ...]
    layer_entries: tuple[LayerEntryView, ...]
    layer_outputs: tuple[str, ...]
    steps: tuple[StepView, ...]
    buffers: tuple[BufferView, ...]
    inputs: tuple[PortView, ...]
    outputs: tuple[PortView, ...]
    assembly_symbols: tuple[str, ...]
    sources: tuple[str, ...]
    guard: str
    chip: str
    targets: tuple[str, ...]
    idf: str
    license: str
    url: str
