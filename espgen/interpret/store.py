"""An integer graph as bytes and back: what a component carries so that it can be verified anywhere, and what its hash is of."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import numpy as np

from espgen import arith
from espgen.errors import EspgenError
from espgen.ir import DType, Graph, Node, QuantParams, Value
from espgen.ops.float_ties import FloatTies

_FORMAT = 1
_CLASSES = {
    kind.__name__: kind for kind in (arith.Shift, arith.Scale, arith.WideScale, arith.Ratio, arith.Weights, FloatTies)
}
"""Classes of nodes' attributes."""


def save(graph: Graph) -> bytes:
    """Deterministic bytes: a JSON header line, a newline, then the constants' raw data in the order of their names."""
    arrays: list[np.ndarray[Any, Any]] = []
    header = {
        "format": _FORMAT,
        "name": graph.name,
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
        "values": [_value(graph.values[name]) for name in sorted(graph.values)],
        "nodes": [
            {"name": n.name, "op": n.op, "inputs": n.inputs, "outputs": n.outputs, "attrs": _pack(dict(n.attrs), arrays)}
            for n in graph.nodes
        ],
        "constants": sorted(graph.constants),
    }
    arrays += [graph.constants[name] for name in sorted(graph.constants)]
    header["arrays"] = [{"dtype": array.dtype.name, "shape": list(array.shape)} for array in arrays]
    text = json.dumps(header, sort_keys=True, separators=(",", ":"))
    return text.encode() + b"\n" + b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)


def load(data: bytes) -> Graph:
    """The graph of `save`; raises EspgenError where the bytes are not one."""
    try:
        text, _, raw = data.partition(b"\n")
        header = json.loads(text)
        if header["format"] != _FORMAT:
            raise EspgenError(f"graph format {header['format']} is not {_FORMAT}", hint="compile the model again")
        arrays = _arrays(header["arrays"], raw)
        nodes = tuple(
            Node(n["name"], n["op"], tuple(n["inputs"]), tuple(n["outputs"]), _unpack(n["attrs"], arrays))
            for n in header["nodes"]
        )
        first = len(arrays) - len(header["constants"])
        constants = dict(zip(header["constants"], arrays[first:], strict=True))
        values = {entry["name"]: _value_of(entry) for entry in header["values"]}
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError, MemoryError) as problem:
        raise EspgenError("the component's graph is damaged", hint="compile the model again") from problem
    return Graph(header["name"], tuple(header["inputs"]), tuple(header["outputs"]), nodes, values, constants)


def digest(graph: Graph) -> str:
    """SHA-256 of the saved graph as 64 hex digits."""
    return hashlib.sha256(save(graph)).hexdigest()


def _arrays(entries: list[dict[str, Any]], raw: bytes) -> list[np.ndarray[Any, Any]]:
    arrays, offset = [], 0
    for entry in entries:
        dtype, shape = np.dtype(entry["dtype"]), tuple(entry["shape"])
        count = int(np.prod(shape, dtype=np.int64))
        arrays.append(np.frombuffer(raw, dtype, count, offset).reshape(shape))
        offset += count * dtype.itemsize
    return arrays


def _value(value: Value) -> dict[str, Any]:
    quant = value.quant
    packed = None if quant is None else {"scale": quant.scale, "zero_point": quant.zero_point, "axis": quant.axis}
    return {"name": value.name, "shape": value.shape, "dtype": value.dtype.value, "quant": packed, "layout": value.layout}


def _value_of(entry: dict[str, Any]) -> Value:
    packed = entry["quant"]
    quant = None if packed is None else QuantParams(tuple(packed["scale"]), tuple(packed["zero_point"]), packed["axis"])
    return Value(entry["name"], tuple(entry["shape"]), DType(entry["dtype"]), quant, entry["layout"])


def _pack(value: Any, arrays: list[np.ndarray[Any, Any]]) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _pack(getattr(value, field.name), arrays) for field in dataclasses.fields(value)}
        return {"class": type(value).__name__, "fields": fields}
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, dict):
        return {"dict": {key: _pack(item, arrays) for key, item in sorted(value.items())}}
    if isinstance(value, tuple | list):
        return {"tuple": [_pack(item, arrays) for item in value]}
    if isinstance(value, np.generic):
        return value.item()
    return value


def _unpack(value: Any, arrays: list[np.ndarray[Any, Any]]) -> Any:
    if not isinstance(value, dict):
        return value
    if "class" in value:
        return _CLASSES[value["class"]](**{key: _unpack(item, arrays) for key, item in value["fields"].items()})
    if "array" in value:
        return arrays[value["array"]]
    if "dict" in value:
        return {key: _unpack(item, arrays) for key, item in value["dict"].items()}
    return tuple(_unpack(item, arrays) for item in value["tuple"])
