"""Small .tflite files for tests: records to FlatBuffers, by the tables that the reader reads them with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from flatbuffers import number_types

from espgen.frontend.flatbuffer import NUMBERS, fields
from espgen.frontend.tflite import schema

Array = npt.NDArray[Any]

_FLAGS = {
    "bool": number_types.BoolFlags, "i8": number_types.Int8Flags, "u8": number_types.Uint8Flags, "i32": number_types.Int32Flags,
    "u32": number_types.Uint32Flags, "i64": number_types.Int64Flags, "u64": number_types.Uint64Flags,
    "f32": number_types.Float32Flags,
}  # fmt: skip
_TYPE = {name: number for number, name in schema.TYPES.items()}
_CODE = {name: number for number, name in schema.CODES.items()}


def write_table(builder: Any, kind: str, values: Mapping[str, Any]) -> int:
    """A table and all below it. Values: numbers, texts, arrays, lists of mappings, mappings, or (kind, mapping) of a union."""
    made: dict[str, Any] = {}
    for name, value in values.items():
        item = fields(schema.TABLES[kind])[name].kind
        if item == "string":
            made[name] = builder.CreateString(value)
        elif item.strip("[]") in NUMBERS and item.startswith("["):
            made[name] = builder.CreateNumpyVector(np.asarray(value, NUMBERS[item.strip("[]")]))
        elif item.startswith("["):
            places = [write_table(builder, item.strip("[]"), entry) for entry in value]
            builder.StartVector(4, len(places), 4)
            for place in reversed(places):
                builder.PrependUOffsetTRelative(place)
            made[name] = builder.EndVector()
        elif item == "any":
            made[name] = write_table(builder, *value)
        elif item not in NUMBERS:
            made[name] = write_table(builder, item, value)
    known = fields(schema.TABLES[kind])
    builder.StartObject(len(known))
    for name, value in values.items():
        slot, item = known[name].slot, known[name].kind
        if item in NUMBERS:
            builder.PrependSlot(_FLAGS[item], slot, value, None)
        else:
            builder.PrependUOffsetTRelativeSlot(slot, made[name], 0)
    return int(builder.EndObject())


@dataclass
class Network:
    """A graph under construction; tensors are numbered in the order in which they are added."""

    tensors: list[dict[str, Any]] = field(default_factory=list)
    buffers: list[dict[str, Any]] = field(default_factory=lambda: [{}])
    codes: list[str] = field(default_factory=list)
    operators: list[dict[str, Any]] = field(default_factory=list)

    def tensor(self, name: str, shape: Sequence[int], kind: str = "int8", scale: Sequence[float] | float | None = None,
               zero_point: int = 0, axis: int = 0, data: Array | None = None) -> int:  # fmt: skip
        """Add a tensor; its number."""
        entry: dict[str, Any] = {"shape": np.array(shape, np.int32), "type": _TYPE[kind], "name": name, "buffer": 0}
        if scale is not None:
            scales = np.atleast_1d(np.array(scale, np.float32))
            points = np.full(scales.size, zero_point, np.int64)
            entry["quantization"] = {"scale": scales, "zero_point": points, "axis": axis}
        if data is not None:
            entry["buffer"] = len(self.buffers)
            self.buffers.append({"data": np.frombuffer(data.tobytes(), np.uint8)})
        self.tensors.append(entry)
        return len(self.tensors) - 1

    def constant(self, name: str, data: Array, scale: Sequence[float] | float | None = None, axis: int = 0) -> int:
        """Add a constant of its own type."""
        return self.tensor(name, data.shape, data.dtype.name, scale, 0, axis, data)

    def operator(self, op: str, inputs: Sequence[int], outputs: Sequence[int], **options: Any) -> None:
        """Add an operator ("CUSTOM:name" is one of the maker's guests)."""
        if op not in self.codes:
            self.codes.append(op)
        entry: dict[str, Any] = {
            "opcode": self.codes.index(op), "inputs": np.array(inputs, np.int32), "outputs": np.array(outputs, np.int32),
        }  # fmt: skip
        if op in schema.OPTIONS_2:
            union, kind = schema.OPTIONS_2[op]
            entry |= {"options2_kind": union, "options2": (kind, options)}
        elif op in schema.OPTIONS:
            union, kind = schema.OPTIONS[op]
            entry |= {"options_kind": union, "options": (kind, options)}
        self.operators.append(entry)

    def beside(self) -> Network:
        """Another graph of the same file, with buffers and operators' names in common."""
        return Network(buffers=self.buffers, codes=self.codes)

    def graph(self, inputs: Sequence[int], outputs: Sequence[int]) -> dict[str, Any]:
        """The graph as a record."""
        return {
            "tensors": self.tensors, "inputs": np.array(inputs, np.int32), "outputs": np.array(outputs, np.int32),
            "operators": self.operators, "name": "main",
        }  # fmt: skip

    def content(self, inputs: Sequence[int], outputs: Sequence[int], *others: dict[str, Any]) -> bytes:
        """The file, with `others` as further graphs."""
        codes = []
        for op in self.codes:
            name, _, custom = op.partition(":")
            code = {"byte_code": min(_CODE[name], 127), "version": _version(name), "code": _CODE[name]}
            codes.append(code | ({"custom_code": custom} if custom else {}))
        builder = flatbuffers.Builder(1024)
        root = write_table(builder, "Model", {
            "version": 3, "operator_codes": codes, "subgraphs": [self.graph(inputs, outputs), *others], "description": "test",
            "buffers": self.buffers,
        })  # fmt: skip
        builder.Finish(root, file_identifier=schema.IDENTIFIER)
        return bytes(builder.Output())


def _version(op: str) -> int:
    """A version of the operator that takes int8."""
    return _VERSIONS.get(op, 2)


_VERSIONS = {
    "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4, "TRANSPOSE_CONV": 3,
    **dict.fromkeys(("HARD_SWISH", "ELU", "RESHAPE", "DEPTH_TO_SPACE", "SQUEEZE", "EXPAND_DIMS", "PRELU", "RELU_N1_TO_1"), 1),
    **dict.fromkeys(("CUSTOM", "VAR_HANDLE", "STABLEHLO_COMPOSITE"), 1),
}  # fmt: skip
