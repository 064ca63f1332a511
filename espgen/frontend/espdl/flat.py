"""FlatBuffers read with every offset, index and length checked first, and a limit on the work that one file can ask for.

Tables are known by `SCHEMA`: names of fields in the order of their slots, with their types. What a file leaves out has its
default (0, "", an empty vector, None for a table).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from struct import Struct
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from flatbuffers import packer

from espgen.errors import EspgenError

Numbers = npt.NDArray[np.generic]

_SCALARS: Mapping[str, tuple[Struct, str]] = {
    "i8": (packer.int8, "<i1"),
    "u8": (packer.uint8, "<u1"),
    "i32": (packer.int32, "<i4"),
    "u64": (packer.uint64, "<u8"),
    "i64": (packer.int64, "<i8"),
    "f32": (packer.float32, "<f4"),
    "f64": (packer.float64, "<f8"),
}

_FIELDS = {
    "Model": "ir_version:i32 opset_import:[OperatorSetId] producer_name:str producer_version:str domain:str model_version:i64 "
    "doc_string:str graph:Graph metadata_props:[Entry] functions:[Function]",
    "OperatorSetId": "domain:str version:i64",
    "Entry": "key:str value:str",
    "Graph": "node:[Node] name:str initializer:[Tensor] doc_string:str input:[ValueInfo] output:[ValueInfo] "
    "value_info:[ValueInfo] quantization_annotation:[Annotation] test_inputs_value:[Tensor] test_outputs_value:[Tensor]",
    "Node": "input:[str] output:[str] name:str op_type:str domain:str attribute:[Attribute] doc_string:str",
    "Attribute": "name:str ref_attr_name:str doc_string:str attr_type:i32 f:f32 i:i64 s:[u8] t:Tensor g:Graph tp:TypeInfo "
    "floats:[f32] ints:[i64] strings:[str] tensors:[Tensor] graphs:[Graph] type_protos:[TypeInfo]",
    "ValueInfo": "name:str type:TypeInfo doc_string:str exponents:[i64]",
    "Tensor": "dims:[i64] data_type:i32 float_data:[f32] int32_data:[i32] string_data:[str] int64_data:[i64] name:str "
    "doc_string:str raw_data:[block] external_data:[Entry] data_location:i32 double_data:[f64] uint64_data:[u64] "
    "exponents:[i64]",
    "TypeInfo": "value_type:u8 value:TensorType denotation:str",
    "TensorType": "elem_type:i32 shape:Shape",
    "Shape": "dim:[Dimension]",
    "Dimension": "value:DimensionValue denotation:str",
    "DimensionValue": "dim_type:i8 dim_value:i64 dim_param:str",
}


def _slots(fields: str) -> Mapping[str, tuple[int, str]]:
    pairs = [field.split(":") for field in fields.split()]
    return MappingProxyType({name: (slot, kind) for slot, (name, kind) in enumerate(pairs)})


SCHEMA: Mapping[str, Mapping[str, tuple[int, str]]] = {name: _slots(fields) for name, fields in _FIELDS.items()}
"""Table -> field -> (slot, type). `[x]` is a vector of x, `block` sixteen bytes; f and i of an Attribute are structs."""

BLOCK = 16
"""Bytes of one element of raw_data."""


@dataclass
class Buffer:
    """A FlatBuffer's bytes. `left` is how many more may be visited: a small file can point at its parts again and again."""

    data: bytes
    place: str
    left: int = 0

    def __post_init__(self) -> None:
        self.left = 16 * len(self.data) + (1 << 16)

    def damaged(self, what: str, at: int) -> EspgenError:
        return EspgenError(
            f"the .espdl file is damaged: {what}", place=f"{self.place}, offset {at}",
            hint="check that the file was copied completely, or export the model again",
        )  # fmt: skip

    def span(self, at: int, size: int, what: str) -> int:
        """`at`, where the `size` bytes from there lie in the buffer and may still be visited."""
        if at < 0 or size < 0 or at + size > len(self.data):
            raise self.damaged(f"{what} lies outside of it", at)
        self.left -= size
        if self.left < 0:
            raise self.damaged("its parts refer to each other without end", at)
        return at

    def number(self, kind: Struct, at: int, what: str) -> int:
        return int(kind.unpack_from(self.data, self.span(at, kind.size, what))[0])

    def root(self, name: str) -> Table:
        return self.table(name, self.number(packer.uint32, 0, "its root"))

    def table(self, name: str, at: int) -> Table:
        back = self.number(packer.int32, at, f"a table {name}")
        head = at - back
        size = self.number(packer.uint16, head, f"the field list of a table {name}")
        extent = self.number(packer.uint16, head + 2, f"the field list of a table {name}")
        if size < 4 or size % 2:
            raise self.damaged(f"a table {name} has {size} bytes of fields", head)
        self.span(head, size, f"the field list of a table {name}")
        self.span(at, extent, f"a table {name}")
        return Table(self, name, at, head, size, extent)

    def vector(self, at: int, size: int, what: str) -> tuple[int, int]:
        """(number of elements of `size` bytes, place of the first) of the vector at `at`."""
        count = self.number(packer.uint32, at, what)
        return count, self.span(at + 4, count * size, what)

    def text(self, at: int, what: str) -> str:
        count, start = self.vector(at, 1, what)
        try:
            return self.data[start : start + count].decode("utf-8")
        except UnicodeDecodeError:
            raise self.damaged(f"{what} is not UTF-8", start) from None

    def follow(self, at: int, what: str) -> int:
        """Where the offset at `at` points to."""
        return at + self.number(packer.uint32, at, what)


@dataclass(frozen=True)
class Table:
    """One table of a buffer; fields are asked for by their names in SCHEMA and with the type they have there."""

    buffer: Buffer
    name: str
    at: int
    head: int
    size: int
    extent: int

    def integer(self, field: str) -> int:
        """A number, or a struct of one."""
        value = self._scalar(field)
        return int(value)

    def real(self, field: str) -> float:
        return float(self._scalar(field))

    def text(self, field: str) -> str:
        at = self._reference(field, "str")
        return "" if at is None else self.buffer.text(at, f"{self.name}.{field}")

    def texts(self, field: str) -> tuple[str, ...]:
        what = f"{self.name}.{field}"
        return tuple(self.buffer.text(at, what) for at in self._references(field, "[str]"))

    def table(self, field: str) -> Table | None:
        kind = self._kind(field)
        at = self._reference(field, kind)
        return None if at is None else self.buffer.table(kind, at)

    def tables(self, field: str) -> tuple[Table, ...]:
        kind = self._kind(field)
        return tuple(self.buffer.table(kind[1:-1], at) for at in self._references(field, kind))

    def numbers(self, field: str) -> Numbers:
        """A vector of numbers, without a copy; `raw_data` as bytes."""
        kind = self._kind(field)[1:-1]
        at = self._reference(field, f"[{kind}]")
        code, size = ("<u1", BLOCK) if kind == "block" else (_SCALARS[kind][1], _SCALARS[kind][0].size)
        if at is None:
            return np.zeros(0, code)
        count, start = self.buffer.vector(at, size, f"{self.name}.{field}")
        return np.frombuffer(self.buffer.data, code, count * size // np.dtype(code).itemsize, start)

    def _kind(self, field: str) -> str:
        return SCHEMA[self.name][field][1]

    def _place(self, field: str, size: int) -> int | None:
        """Where a field of `size` bytes lies, None where the file leaves it out."""
        slot = 4 + 2 * SCHEMA[self.name][field][0]
        if slot + 2 > self.size:
            return None
        offset = self.buffer.number(packer.uint16, self.head + slot, "a field list")
        if offset == 0:
            return None
        if offset < 4 or offset + size > self.extent:
            raise self.buffer.damaged(f"{self.name}.{field} lies outside of its table", self.at + offset)
        return self.at + offset

    def _scalar(self, field: str) -> float:
        packed = _SCALARS[self._kind(field)][0]
        at = self._place(field, packed.size)
        if at is None:
            return 0
        value: float = packed.unpack_from(self.buffer.data, self.buffer.span(at, packed.size, f"{self.name}.{field}"))[0]
        return value

    def _reference(self, field: str, kind: str) -> int | None:
        assert self._kind(field) == kind, field
        at = self._place(field, 4)
        return None if at is None else self.buffer.follow(at, f"{self.name}.{field}")

    def _references(self, field: str, kind: str) -> tuple[int, ...]:
        what = f"{self.name}.{field}"
        at = self._reference(field, kind)
        if at is None:
            return ()
        count, start = self.buffer.vector(at, 4, what)
        return tuple(self.buffer.follow(start + 4 * index, what) for index in range(count))
