"""A .tflite file as records: what it says, every index and size checked, nothing interpreted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from espgen.errors import EspgenError
from espgen.frontend.flatbuffer import File, Table
from espgen.frontend.limits import MAX_NAME, MAX_NODES, check_shape
from espgen.frontend.tflite import schema

Array = npt.NDArray[Any]

_NUMPY = frozenset("float32 float16 float64 int8 uint8 int16 uint16 int32 uint32 int64 uint64 bool".split())


@dataclass(frozen=True)
class Grid:
    """real = scale * (integer - zero_point): one entry for all, or one per entry of `axis`."""

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int = 0


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph. `kind` is its element type; four-bit constants are held in int8. `data`: where constant."""

    name: str
    shape: tuple[int, ...]
    kind: str
    grid: Grid | None = None
    data: Array | None = None
    variable: bool = False
    fault: str = ""
    """Why nobody can read it (sparse, blocks): said where it is read."""


@dataclass(frozen=True)
class Spread:
    """What a convolution has beyond its options: dilation (rows, columns), padding (top, left, bottom, right)."""

    dilation: tuple[int, int]
    pads: tuple[int, ...]


@dataclass(frozen=True)
class Operator:
    """One step: `op` as the maker calls it ("CONV_2D"; "CUSTOM:name"), tensors by number (-1: absent), what it was told."""

    name: str
    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Table | None = None
    defaults: Mapping[str, float] = field(default_factory=dict)
    spread: Spread | None = None

    def option(self, name: str) -> int:
        """An integer option, its default where the file has none."""
        return self.options.integer(name) if self.options is not None else int(self.defaults[name])

    def real_option(self, name: str) -> float:
        """A floating-point option."""
        return self.options.real(name) if self.options is not None else self.defaults[name]


@dataclass(frozen=True)
class Model:
    """A graph of a file."""

    name: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read(data: bytes, place: str) -> Model:
    """The records of a .tflite file's first graph, with composites as what they consist of.

    EspgenError where the file is damaged or of another version.
    """
    file = File(data, schema.TABLES, place)
    root = file.root("Model")
    if root.integer("version") != schema.VERSION:
        raise _bad(f"the .tflite file has version {root.integer('version')}", place, "convert the model again to version 3")
    graphs = root.list("subgraphs")
    if not graphs:
        raise _bad("the .tflite file holds no graph", place, "convert the model again")
    codes = [_operator_name(item, place) for item in root.list("operator_codes")]
    buffers = root.list("buffers")

    def graph_of(number: int) -> Model:
        if not 0 <= number < len(graphs):
            raise _bad(f"a composite names graph {number} of {len(graphs)}", place, _AGAIN)
        return _graph(graphs[number], codes, buffers, place)

    return inlined(graph_of(0), graph_of, place)


def _graph(table: Table, codes: list[str], buffers: list[Table], place: str) -> Model:
    tensors = tuple(_tensor(item, index, buffers, place) for index, item in enumerate(table.list("tensors")))
    tables = table.list("operators")
    if len(tables) > MAX_NODES:
        raise _bad(f"the model has {len(tables)} operators", place, f"at most {MAX_NODES} are supported")
    operators = tuple(_operator(item, index, codes, len(tensors), place) for index, item in enumerate(tables))
    ends = [_indices(table, name, len(tensors), place, least=0) for name in ("inputs", "outputs")]
    if not ends[1]:
        raise _bad("the graph has no outputs", place, "convert the model again")
    return Model(table.text("name") or "model", tensors, operators, ends[0], ends[1])


def inlined(graph: Model, graph_of: Callable[[int], Model], place: str) -> Model:
    """The graph with every STABLEHLO_COMPOSITE replaced by the graph that it names."""
    tensors, done = list(graph.tensors), []
    waiting = [(operator, 0) for operator in reversed(graph.operators)]
    while waiting:
        operator, depth = waiting.pop()
        if operator.op != "STABLEHLO_COMPOSITE":
            done.append(operator)
            continue
        inner = graph_of(operator.option("decomposition"))
        if depth >= _DEEPEST or len(done) + len(waiting) + len(inner.operators) > MAX_NODES:
            raise _bad(f"composite {operator.name} never ends", place, _AGAIN)
        if (len(inner.inputs), len(inner.outputs)) != (len(operator.inputs), len(operator.outputs)):
            raise _bad(f"composite {operator.name} and its graph differ in inputs or outputs", place, _AGAIN)
        numbers = dict(zip(inner.inputs, operator.inputs, strict=True))
        copies = []
        for outer, output in zip(operator.outputs, inner.outputs, strict=True):
            if output in numbers or inner.tensors[output].data is not None:
                copies.append((output, outer))
            else:
                numbers[output] = outer
        for number, tensor in enumerate(inner.tensors):
            if number not in numbers:
                numbers[number] = len(tensors)
                tensors.append(replace(tensor, name=f"{operator.name}/{tensor.name}"))
        parts = [
            replace(
                part,
                name=f"{operator.name}/{part.name}",
                inputs=tuple(numbers.get(index, -1) for index in part.inputs),
                outputs=tuple(numbers[index] for index in part.outputs),
            )
            for part in inner.operators
        ]
        parts += [Operator(f"{operator.name}/copy", "QUANTIZE", (numbers[output],), (outer,)) for output, outer in copies]
        waiting += [(part, depth + 1) for part in reversed(parts)]
    return replace(graph, tensors=tuple(tensors), operators=tuple(done))


_DEEPEST = 16


def _operator_name(code: Table, place: str) -> str:
    """Small numbers lie in a byte in old files; what is larger needs the wider field."""
    number = max(code.integer("byte_code"), code.integer("code"))
    name = schema.CODES.get(number, f"operator number {number}")
    return f"CUSTOM:{code.text('custom_code')}" if name == "CUSTOM" else name


def _operator(table: Table, index: int, codes: list[str], tensors: int, place: str) -> Operator:
    number = table.integer("opcode")
    if number >= len(codes):
        raise _bad(f"operator {index} has number {number} of {len(codes)}", place, _AGAIN)
    op = codes[number]
    name = f"{op.replace('CUSTOM:', '').lower()}_{index}"
    inputs, outputs = _indices(table, "inputs", tensors, place), _indices(table, "outputs", tensors, place, least=0)
    field_name = "options2" if op in schema.OPTIONS_2 else "options"
    expected = schema.OPTIONS_2.get(op) or schema.OPTIONS.get(op)
    if expected is None:
        return Operator(name, op, inputs, outputs)
    union, kind = expected
    found = table.integer(f"{field_name}_kind")
    if found not in (0, union):
        raise _bad(f"operator {name} has options of another operator (kind {found})", place, _AGAIN)
    options = table.table(field_name, kind) if found else None
    defaults = {item.partition(":")[0]: float(item.partition("=")[2] or 0) for item in schema.TABLES[kind].split()}
    return Operator(name, op, inputs, outputs, options, defaults)


def _indices(table: Table, name: str, tensors: int, place: str, least: int = -1) -> tuple[int, ...]:
    found = tuple(int(index) for index in table.numbers(name))
    for index in found:
        if not least <= index < tensors:
            raise _bad(f"{name} of a graph or an operator name tensor {index} of {tensors}", place, _AGAIN)
    return found


def _tensor(table: Table, index: int, buffers: list[Table], place: str) -> Tensor:
    name = table.text("name") or f"tensor_{index}"
    if len(name) > MAX_NAME:
        raise _bad(f"a name has {len(name)} characters", place, f"use at most {MAX_NAME}")
    kind = schema.TYPES.get(table.integer("type"), f"type {table.integer('type')}")
    shape = check_shape([int(extent) for extent in table.numbers("shape")], f"tensor {name!r}", allow_empty=True)
    grid, fault = _grid(table, shape, name, place)
    if table.has("sparsity"):
        fault = "is sparse"
    number = table.integer("buffer")
    if number >= max(len(buffers), 1):
        raise _bad(f"tensor {name!r} lies in buffer {number} of {len(buffers)}", place, _AGAIN)
    raw = _content(buffers[number], place) if number and buffers else np.zeros(0, np.uint8)
    data = None
    if 0 in shape and kind in _NUMPY:
        data = np.zeros(shape, kind)
    elif raw.size and not fault:
        data = _array(raw, shape, kind, name, place)
        if data is None:
            fault = f"holds constants of type {kind}"
    return Tensor(name, shape, kind, grid, data, bool(table.integer("is_variable")), fault)


def _content(buffer: Table, place: str) -> Array:
    """The bytes of a buffer: inside the file's tables, or behind them in large files."""
    offset, size = buffer.integer("offset"), buffer.integer("size")
    if offset > 1:
        buffer.file.check(offset, size)
        return np.frombuffer(buffer.file.data, np.uint8, size, offset)
    return buffer.numbers("data")


def _array(raw: Array, shape: tuple[int, ...], kind: str, name: str, place: str) -> Array | None:
    elements = math.prod(shape)
    if kind == "int4":
        if raw.size != (elements + 1) // 2:
            raise _wrong_size(raw, shape, kind, name, place)
        nibbles = np.stack([raw & 15, raw >> 4], axis=1).reshape(-1)[:elements].astype(np.int8)
        return np.where(nibbles >= 8, nibbles - 16, nibbles).astype(np.int8).reshape(shape)
    if kind not in _NUMPY:
        return None
    dtype = np.dtype(kind)
    if raw.size != elements * dtype.itemsize:
        raise _wrong_size(raw, shape, kind, name, place)
    if kind == "bool":
        return raw.astype(bool).reshape(shape)
    return np.frombuffer(raw.tobytes(), dtype.newbyteorder("<")).astype(dtype).reshape(shape)


def _wrong_size(raw: Array, shape: tuple[int, ...], kind: str, name: str, place: str) -> EspgenError:
    return _bad(f"tensor {name!r} has {raw.size} bytes, which are not {kind} of shape {list(shape)}", place, _AGAIN)


def _grid(table: Table, shape: tuple[int, ...], name: str, place: str) -> tuple[Grid | None, str]:
    """How a tensor is quantized, and what of it espgen does not read."""
    found = table.table("quantization")
    if found is None:
        return None, ""
    if found.integer("details_kind") == schema.BLOCKWISE:
        return None, "is quantized in blocks"
    scales, points = found.numbers("scale"), found.numbers("zero_point")
    if not scales.size:
        return None, ""
    if scales.size > 1 << 20 or points.size not in (0, 1, scales.size):
        raise _bad(f"tensor {name!r} has {scales.size} scales and {points.size} zero points", place, _AGAIN)
    if not np.all(np.isfinite(scales)) or np.any(scales < 0):
        raise _bad(f"tensor {name!r} has a scale that is not positive and finite", place, "quantize the model again")
    axis = 0 if len(shape) == 1 else found.integer("axis")  # of biases some converters tell the axis of the weights
    if scales.size > 1 and not (0 <= axis < len(shape) and shape[axis] == scales.size):
        raise _bad(f"tensor {name!r} has {scales.size} scales on axis {axis} of shape {list(shape)}", place, _AGAIN)
    zero_points = [int(point) for point in points] or [0]
    zero_points *= scales.size // len(zero_points)
    # A channel of zeros may have scale 0: what it is multiplied by means nothing.
    tiny = float(np.finfo(np.float32).tiny)
    return Grid(tuple(max(float(scale), tiny) for scale in scales), tuple(zero_points), axis), ""


_AGAIN = "the file is damaged: copy or convert the model again"


def _bad(problem: str, place: str, hint: str) -> EspgenError:
    return EspgenError(problem, place=place, hint=hint)
