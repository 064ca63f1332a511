"""FlatBuffers, read with every offset and length checked: what a file says is never trusted, nor followed without end.

A format's tables are data: `{"Tensor": "shape:[i32] type:i8 name:string .."}`, fields in the order of their slots, each
`name:type` or `name:type=default`. Types are i8 .. i64, u8 .. u64, f32, f64, bool, string, the name of a table, `any` (the
table of a union, whose kind the field before it tells), and vectors of these in brackets.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from espgen.errors import EspgenError

NUMBERS: Mapping[str, np.dtype[Any]] = {
    "bool": np.dtype("<u1"), "i8": np.dtype("<i1"), "u8": np.dtype("<u1"), "i16": np.dtype("<i2"), "u16": np.dtype("<u2"),
    "i32": np.dtype("<i4"), "u32": np.dtype("<u4"), "i64": np.dtype("<i8"), "u64": np.dtype("<u8"), "f32": np.dtype("<f4"),
    "f64": np.dtype("<f8"),
}  # fmt: skip
_TABLE_COST = 8
"""Bytes that an offset and the smallest table take: no honest file holds more tables than its size over this."""
_SHARING = 8
"""How often an honest writer may have several places point to the same table or vector, on average."""


@dataclass(frozen=True)
class Field:
    """One field of a table: its slot, type ("i32", "[Tensor]", ..) and the number it has where it is absent."""

    slot: int
    kind: str
    default: float


@cache
def fields(text: str) -> Mapping[str, Field]:
    """The fields that a table's line describes."""
    found = {}
    for slot, item in enumerate(text.split()):
        name, _, kind = item.partition(":")
        kind, _, default = kind.partition("=")
        found[name] = Field(slot, kind, float(default or 0))
    return found


@dataclass
class File:
    """The bytes of a FlatBuffers file, the format's tables, and how much may still be read from it."""

    data: bytes
    tables: Mapping[str, str]
    place: str
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left = _SHARING * len(self.data) + 4096

    def root(self, kind: str) -> Table:
        """The root table. EspgenError where the file is too short to have one."""
        return Table(self, kind, self.offset(0))

    def number(self, position: int, kind: str) -> float:
        """The number of a type at a position; EspgenError where the file ends before."""
        dtype = NUMBERS[kind]
        self.check(position, dtype.itemsize)
        return np.frombuffer(self.data, dtype, 1, position)[0].item()  # type: ignore[no-any-return]

    def unsigned(self, position: int, size: int) -> int:
        self.check(position, size)
        return int.from_bytes(self.data[position : position + size], "little")

    def offset(self, position: int) -> int:
        """The place that an offset at `position` points to."""
        distance = self.unsigned(position, 4)
        target = position + distance
        if distance == 0 or target > len(self.data) - 4:
            raise self.damaged(position)
        return target

    def check(self, position: int, size: int) -> None:
        if position < 0 or size < 0 or position + size > len(self.data):
            raise self.damaged(position)

    def spend(self, cost: int, position: int) -> None:
        """Count what was read: tables that point to each other in circles, or all to one, come to an end."""
        self.left -= cost
        if self.left < 0:
            raise self.damaged(position)

    def damaged(self, position: int) -> EspgenError:
        """The error for a file that contradicts itself at a position."""
        return EspgenError(
            "the model file is damaged",
            place=f"{self.place}, offset {position}",
            hint="check that the file was copied completely, or export the model again",
        )


@dataclass(frozen=True)
class Table:
    """A table of a file. Absent fields read as their defaults: numbers as told, texts and vectors as empty, tables as None."""

    file: File
    kind: str
    position: int

    def integer(self, name: str) -> int:
        """A field that is an integer or a truth value."""
        return int(self._number(name))

    def real(self, name: str) -> float:
        """A field that is a floating-point number."""
        return float(self._number(name))

    def text(self, name: str) -> str:
        """A field that is a text. EspgenError where it is not UTF-8."""
        start, count = self._vector(name, 1)
        self.file.spend(count, start)
        try:
            return self.file.data[start : start + count].decode("utf-8")
        except UnicodeDecodeError:
            raise self.file.damaged(start) from None

    def numbers(self, name: str) -> npt.NDArray[Any]:
        """A field that is a vector of numbers; an array that shares the file's bytes."""
        dtype = NUMBERS[self._field(name).kind.strip("[]")]
        start, count = self._vector(name, dtype.itemsize)
        return np.frombuffer(self.file.data, dtype, count, start)

    def table(self, name: str, kind: str = "") -> Table | None:
        """A field that is a table; `kind` says which where the field is a union's."""
        at = self._place(name)
        if at is None:
            return None
        self.file.spend(_TABLE_COST, at)
        found = self._field(name).kind
        return Table(self.file, kind if found == "any" else found, self.file.offset(at))

    def list(self, name: str) -> list[Table]:
        """A field that is a vector of tables."""
        start, count = self._vector(name, 4)
        self.file.spend(_TABLE_COST * count, start)
        kind = self._field(name).kind.strip("[]")
        return [Table(self.file, kind, self.file.offset(start + 4 * index)) for index in range(count)]

    def has(self, name: str) -> bool:
        """Whether the file holds the field."""
        return self._place(name) is not None

    def _field(self, name: str) -> Field:
        return fields(self.file.tables[self.kind])[name]

    def _number(self, name: str) -> float:
        at, item = self._place(name), self._field(name)
        return item.default if at is None else self.file.number(at, item.kind)

    def _place(self, name: str) -> int | None:
        """Where the field lies, None where the table doesn't hold it."""
        slot, file = self._field(name).slot, self.file
        file.check(self.position, 4)
        vtable = self.position - struct.unpack_from("<i", file.data, self.position)[0]
        size = file.unsigned(vtable, 2)
        if size < 4 or size % 2 or vtable < 4:
            raise file.damaged(self.position)
        file.check(vtable, size)
        if 4 + 2 * slot >= size:
            return None
        inside = file.unsigned(vtable + 4 + 2 * slot, 2)
        if inside == 0:
            return None
        if inside < 4 or inside >= file.unsigned(vtable + 2, 2):
            raise file.damaged(vtable)
        return self.position + inside

    def _vector(self, name: str, size: int) -> tuple[int, int]:
        """Where a vector's elements of `size` bytes begin, and how many there are."""
        at = self._place(name)
        if at is None:
            return 0, 0
        start = self.file.offset(at)
        count = self.file.unsigned(start, 4)
        self.file.check(start + 4, count * size)
        return start + 4, count
