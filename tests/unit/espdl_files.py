"""Small .espdl files made from Python values, for tests: nested dicts become FlatBuffers by the reader's schema."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np

from espgen.frontend.espdl.flat import SCHEMA

TYPES = {"float32": 1, "int8": 3, "int16": 5, "int32": 6, "int64": 7}
Parts = Mapping[str, Any]


def flatbuffer(root: Parts, name: str = "Model") -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(_table(builder, name, root))
    return bytes(builder.Output())


def container(payload: bytes, encrypted: int = 0) -> bytes:
    return struct.pack("<4sIII", b"EDL2", encrypted, len(payload), 0) + payload


def pack(members: Mapping[str, bytes], magic: bytes = b"PDL2") -> bytes:
    """A pack of models: entries, then names, then models."""
    head = 8 + 12 * len(members)
    names = b"".join(name.encode() for name in members)
    start, entries = head + len(names), b""
    name_at = head
    for name, data in members.items():
        entries += struct.pack("<III", start, name_at, len(name.encode()))
        start, name_at = start + len(data), name_at + len(name.encode())
    return magic + struct.pack("<I", len(members)) + entries + names + b"".join(members.values())


def _table(builder: flatbuffers.Builder, name: str, parts: Parts) -> int:
    fields = SCHEMA[name]
    held: dict[str, int] = {}
    for key, value in parts.items():
        kind = fields[key][1]
        if kind not in ("i8", "u8", "i32", "i64", "f32"):
            held[key] = _reference(builder, kind, value)
    builder.StartObject(len(fields))
    for key, value in parts.items():
        slot, kind = fields[key]
        if key in held:
            builder.PrependUOffsetTRelativeSlot(slot, held[key], 0)
        elif name == "Attribute" and key in ("f", "i"):
            builder.Prep(8 if key == "i" else 4, 0)
            (builder.PrependInt64 if key == "i" else builder.PrependFloat32)(value)
            builder.PrependStructSlot(slot, builder.Offset(), 0)
        else:
            put = {"i8": "Int8", "u8": "Uint8", "i32": "Int32", "i64": "Int64", "f32": "Float32"}[kind]
            getattr(builder, f"Prepend{put}Slot")(slot, value, 0)
    return int(builder.EndObject())


def _reference(builder: flatbuffers.Builder, kind: str, value: Any) -> int:
    if kind == "str":
        return int(builder.CreateString(value))
    if not kind.startswith("["):
        return _table(builder, kind, value)
    inner = kind[1:-1]
    if inner == "block":
        builder.StartVector(16, len(value) // 16, 16)
        for byte in reversed(value):
            builder.PrependByte(byte)
        return int(builder.EndVector())
    if inner in ("u8", "i32", "i64", "f32", "f64", "u64"):
        codes = {"u8": np.uint8, "i32": np.int32, "i64": np.int64, "f32": np.float32, "f64": np.float64, "u64": np.uint64}
        return int(builder.CreateNumpyVector(np.asarray(value, codes[inner])))
    offsets = [_reference(builder, inner, item) for item in value]
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def tensor(name: str, data: np.ndarray, dims: Sequence[int] | None = None, exponents: Sequence[int] = (0,)) -> Parts:
    """`dims` where the data is packed."""
    raw = np.ascontiguousarray(data).tobytes()
    return {
        "dims": list(data.shape if dims is None else dims), "data_type": TYPES[data.dtype.name], "name": name,
        "raw_data": raw + bytes(-len(raw) % 16), "exponents": list(exponents),
    }  # fmt: skip


def value(name: str, shape: Sequence[int], exponent: int, dtype: str = "int8") -> Parts:
    dims = [{"value": {"dim_type": 1, "dim_value": extent}} for extent in shape]
    kind = {"value_type": 1, "value": {"elem_type": TYPES[dtype], "shape": {"dim": dims}}}
    return {"name": name, "type": kind, "exponents": [exponent]}


def attribute(name: str, content: Any) -> Parts:
    if isinstance(content, float):
        return {"name": name, "attr_type": 1, "f": content}
    if isinstance(content, int):
        return {"name": name, "attr_type": 2, "i": content}
    if isinstance(content, str):
        return {"name": name, "attr_type": 3, "s": list(content.encode())}
    return {"name": name, "attr_type": 7, "ints": list(content)}


@dataclass
class File:
    """A graph as it grows; `data()` is the file."""

    nodes: list[Parts] = field(default_factory=list)
    values: dict[str, Parts] = field(default_factory=dict)
    constants: list[Parts] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    tests: dict[str, list[Parts]] = field(default_factory=dict)

    def input(self, name: str, shape: Sequence[int], exponent: int, dtype: str = "int8") -> None:
        self.values[name] = value(name, shape, exponent, dtype)
        self.inputs.append(name)

    def constant(self, name: str, data: np.ndarray, dims: Sequence[int] | None = None, exponents: Sequence[int] = (0,)) -> None:
        self.constants.append(tensor(name, data, dims, exponents))

    def node(self, op: str, inputs: str, output: str, shape: Sequence[int], exponent: int = 0, dtype: str = "int8",
             **attrs: Any) -> None:  # fmt: skip
        """`inputs`: names with blanks between, "-" for none."""
        self.values[output] = value(output, shape, exponent, dtype)
        names = ["" if item == "-" else item for item in inputs.split()]
        self.nodes.append({
            "input": names, "output": [output], "name": f"{op}:{output}", "op_type": op,
            "attribute": [attribute(key, content) for key, content in attrs.items()],
        })  # fmt: skip

    def graph(self, *outputs: str) -> dict[str, Any]:
        """The parts of the file's Graph."""
        ends = {*self.inputs, *outputs}
        return {
            "node": self.nodes, "name": "made", "initializer": self.constants,
            "input": [self.values[name] for name in self.inputs], "output": [self.values[name] for name in outputs],
            "value_info": [item for name, item in self.values.items() if name not in ends], **self.tests,
        }  # fmt: skip

    def data(self, *outputs: str) -> bytes:
        return container(flatbuffer({"ir_version": 8, "graph": self.graph(*outputs)}))


def packed(weights: np.ndarray, align: int, depthwise: bool = False) -> np.ndarray:
    """[N, C, *spatial] as ESP-DL stores it for the ESP32-P4, element by element."""
    count, channels, *spatial = weights.shape
    full = count // align * align
    places = list(itertools.product(*map(range, spatial)))
    order = [
        (block + lane, channel, *place)
        for block in range(0, full, align) for place in places for channel in range(channels) for lane in range(align)
    ]  # fmt: skip
    rest = range(full, count)
    if depthwise:
        order += [(lane, channel, *place) for channel in range(channels) for place in places for lane in rest]
    else:
        order += [(lane, channel, *place) for lane in rest for place in places for channel in range(channels)]
    return np.array([weights[index] for index in order], weights.dtype)
