"""The model in an .espdl file, read from its FlatBuffer and checked: nodes, tensors, values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from espgen.errors import EspgenError
from espgen.frontend.espdl.flat import BLOCK, Buffer, Table
from espgen.frontend.limits import MAX_NAME, MAX_NODES, check_shape

Array = npt.NDArray[Any]

DTYPES: Mapping[int, np.dtype[Any]] = {
    1: np.dtype(np.float32),
    2: np.dtype(np.uint8),
    3: np.dtype(np.int8),
    4: np.dtype(np.uint16),
    5: np.dtype(np.int16),
    6: np.dtype(np.int32),
    7: np.dtype(np.int64),
    9: np.dtype(np.bool_),
    11: np.dtype(np.float64),
    12: np.dtype(np.uint32),
    13: np.dtype(np.uint64),
}
"""data_type -> numpy's type; 8 (strings) and 10 (half floats) hold nothing that ESP-DL computes with."""

_TYPED = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")
_FLOAT, _INT, _STRING, _TENSOR, _FLOATS, _INTS, _STRINGS = 1, 2, 3, 4, 6, 7, 8
_EXPONENTS = range(-126, 128)
"""Exponents whose power of two is a float32."""


@dataclass(frozen=True)
class ValueInfo:
    """A run-time value: element type, shape in run-time layout (as the file tells it), exponent."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    exponent: int


@dataclass(frozen=True, eq=False)
class Tensor:
    """A constant: `data` is flat and in the file's order (filters are packed), `layout` the file's word for that."""

    name: str
    dims: tuple[int, ...]
    data: Array
    exponents: tuple[int, ...]
    layout: str

    @property
    def plain(self) -> Array:
        """The array, of what is not packed."""
        shaped: Array = self.data.reshape(self.dims)
        return shaped


@dataclass(frozen=True)
class Node:
    """One operator; attributes as Python values (int, float, str, tuples of them, Tensor)."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """Everything espgen uses of an .espdl file."""

    name: str
    nodes: tuple[Node, ...]
    constants: Mapping[str, Tensor]
    inputs: tuple[ValueInfo, ...]
    outputs: tuple[ValueInfo, ...]
    values: Mapping[str, ValueInfo]
    test_inputs: Mapping[str, Tensor]
    test_outputs: Mapping[str, Tensor]


def read_model(data: bytes, place: str) -> Model:
    """The checked model of a FlatBuffer; raises EspgenError naming the offset or the part that is wrong."""
    graph = Buffer(data, place).root("Model").table("graph")
    if graph is None:
        raise EspgenError("the .espdl file holds no graph", place=place, hint="export the model again")
    nodes = graph.tables("node")
    if len(nodes) > MAX_NODES:
        raise EspgenError(f"the model has {len(nodes)} nodes", place=place, hint=f"at most {MAX_NODES} are supported")
    inputs, outputs = (_values(graph, name) for name in ("input", "output"))
    constants = _tensors(graph, "initializer")
    inner = _values(graph, "value_info")
    if not outputs:
        raise EspgenError("the graph has no outputs", place=place, hint="export the model again")
    return Model(
        name=graph.text("name")[:MAX_NAME],
        nodes=tuple(_node(table, index) for index, table in enumerate(nodes)),
        constants=constants,
        inputs=tuple(value for name, value in inputs.items() if name not in constants),
        outputs=tuple(outputs.values()),
        values={**inner, **outputs, **inputs},
        test_inputs=_tensors(graph, "test_inputs_value"),
        test_outputs=_tensors(graph, "test_outputs_value"),
    )


def _name(table: Table, what: str, text: str) -> str:
    if not text or len(text) > MAX_NAME:
        raise table.buffer.damaged(f"{what} has no usable name", table.at)
    return text


def _exponents(table: Table) -> tuple[int, ...]:
    exponents = tuple(int(value) for value in table.numbers("exponents"))
    wrong = next((value for value in exponents if value not in _EXPONENTS), None)
    if wrong is not None:
        raise table.buffer.damaged(f"an exponent is {wrong}", table.at)
    return exponents


def _dtype(table: Table, number: int, what: str) -> np.dtype[Any]:
    if number not in DTYPES:
        raise table.buffer.damaged(f"{what} has element type {number}", table.at)
    return DTYPES[number]


def _values(graph: Table, part: str) -> dict[str, ValueInfo]:
    found: dict[str, ValueInfo] = {}
    for table in graph.tables(part):
        name = table.text("name")
        kind = table.table("type")
        tensor = None if kind is None or kind.integer("value_type") != 1 else kind.table("value")
        if not name and part == "value_info":  # what stands for an absent input
            continue
        _name(table, f"a graph {part}", name)
        if name in found and part != "value_info":
            raise table.buffer.damaged(f"graph {part} {name!r} is there twice", table.at)
        if tensor is None:
            if part == "value_info":
                continue
            raise table.buffer.damaged(f"graph {part} {name!r} has no type", table.at)
        shape = tensor.table("shape")
        exponents = _exponents(table)
        if len(exponents) > 1:
            raise table.buffer.damaged(f"value {name!r} has {len(exponents)} exponents", table.at)
        found[name] = ValueInfo(
            name,
            _dtype(table, tensor.integer("elem_type"), f"value {name!r}"),
            () if shape is None else tuple(_extent(item) for item in shape.tables("dim")),
            exponents[0] if exponents else 0,
        )
    return found


def _extent(dimension: Table) -> int:
    value = dimension.table("value")
    if value is None or value.integer("dim_value") < 1:
        raise dimension.buffer.damaged("a dimension has no extent", dimension.at)
    return value.integer("dim_value")


def _tensors(graph: Table, part: str) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for table in graph.tables(part):
        tensor = _tensor(table, _name(table, f"a tensor of {part}", table.text("name")))
        if tensor.name in found:
            raise table.buffer.damaged(f"tensor {tensor.name!r} is there twice", table.at)
        found[tensor.name] = tensor
    return found


def _tensor(table: Table, name: str) -> Tensor:
    dims = check_shape([int(extent) for extent in table.numbers("dims")], f"tensor {name!r}", allow_empty=True)
    count = int(np.prod(dims, dtype=np.int64))
    dtype = _dtype(table, table.integer("data_type"), f"tensor {name!r}")
    if table.integer("data_location"):
        raise EspgenError(f"tensor {name!r} lies outside of the file", place=name, hint="export the model in one file")
    data = _content(table, name, dtype, count)
    exponents = _exponents(table)
    if len(exponents) > 1 and len(exponents) not in dims:
        raise table.buffer.damaged(f"tensor {name!r} of shape {list(dims)} has {len(exponents)} exponents", table.at)
    return Tensor(name, dims, data, exponents or (0,), table.text("doc_string").removeprefix("layout ==> "))


def _content(table: Table, name: str, dtype: np.dtype[Any], count: int) -> Array:
    raw = table.numbers("raw_data")
    if raw.size:
        needed = count * dtype.itemsize
        if not needed <= raw.size < needed + BLOCK:
            raise table.buffer.damaged(f"tensor {name!r} of {needed} bytes has {raw.size}", table.at)
        data: Array = raw[:needed].view(dtype.newbyteorder("<")).astype(dtype)
        return data
    for typed in _TYPED:
        numbers = table.numbers(typed)
        if numbers.size:
            limits = np.iinfo(dtype) if dtype.kind in "iu" else None
            wrong = numbers.size != count or (
                limits is not None and not (limits.min <= numbers.min() and numbers.max() <= limits.max)
            )
            if wrong or (numbers.dtype.kind == "f") != (dtype.kind == "f"):
                raise table.buffer.damaged(f"tensor {name!r} has {numbers.size} numbers in {typed}", table.at)
            return numbers.astype(dtype)
    if count:
        raise table.buffer.damaged(f"tensor {name!r} has no data", table.at)
    return np.zeros(0, dtype)


def _node(table: Table, index: int) -> Node:
    op = _name(table, f"the operator of node {index}", table.text("op_type"))
    name = table.text("name")[:MAX_NAME] or f"{op}_{index}"
    inputs, outputs = table.texts("input"), table.texts("output")
    if not outputs or not outputs[0] or any(len(item) > MAX_NAME for item in (*inputs, *outputs)):
        raise table.buffer.damaged(f"node {name!r} has no usable outputs", table.at)
    attrs: dict[str, Any] = {}
    for item in table.tables("attribute"):
        key = _name(item, f"an attribute of node {name!r}", item.text("name"))
        if key in attrs:
            raise item.buffer.damaged(f"node {name!r} has attribute {key!r} twice", item.at)
        attrs[key] = _attribute(item, name, key)
    return Node(name, op, inputs, outputs, attrs)


def _attribute(table: Table, node: str, key: str) -> Any:
    kind = table.integer("attr_type")
    if kind == _FLOAT:
        return table.real("f")
    if kind == _INT:
        return table.integer("i")
    if kind == _STRING:
        try:
            return table.numbers("s").tobytes().decode("utf-8")
        except UnicodeDecodeError:
            raise table.buffer.damaged(f"attribute {key!r} of node {node!r} is not UTF-8", table.at) from None
    if kind == _TENSOR:
        tensor = table.table("t")
        if tensor is not None:
            return _tensor(tensor, key)
    if kind == _FLOATS:
        return tuple(float(value) for value in table.numbers("floats"))
    if kind == _INTS:
        return tuple(int(value) for value in table.numbers("ints"))
    if kind == _STRINGS:
        return table.texts("strings")
    raise table.buffer.damaged(f"attribute {key!r} of node {node!r} has type {kind}", table.at)
