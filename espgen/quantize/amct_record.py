"""AMCT's record of quantization factors (protobuf text): reading and writing.

    record { key: "conv1" value { scale_d: 0.02 offset_d: -128 scale_w: 0.001 scale_w: 0.002 offset_w: 0 offset_w: 0 } }

Repeated scale_w are per channel; of a repeated optional scalar the last one counts, as protobuf has it. Of other messages
(prune_record) nothing is kept: they say nothing about quantization.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from espgen.errors import EspgenError
from espgen.quantize.model import QuantizedModel, TensorQuant
from espgen.quantize.units import is_product

_TOKEN = re.compile(
    r'\s+|#[^\n]*|(?P<text>"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\')|(?P<mark>[{}:,;<>])|(?P<word>[^\s{}:,;<>"\'#]+)'
)


@dataclass(frozen=True)
class LayerRecord:
    """Factors of one layer: q = round(x / scale) + offset. Activations: scale_d, offset_d; weights: per channel or one.

    skip_fusion, dst_type, shift_bit and kv_cache (scale, offset per entry) are kept as read; None or empty where the record
    has none.
    """

    scale_d: float | None = None
    offset_d: int = 0
    scale_w: tuple[float, ...] = ()
    offset_w: tuple[int, ...] = ()
    shift_bit: tuple[int, ...] = ()
    skip_fusion: bool = False
    dst_type: str = "INT8"
    tensor_balance_factor: tuple[float, ...] = ()
    kv_cache: tuple[tuple[float, ...], tuple[int, ...]] = ((), ())


def read(text: str, place: str = "record") -> dict[str, LayerRecord]:
    """Layer name -> factors. Raises EspgenError with the offset of what does not parse."""
    tokens = list(_tokens(text, place))
    fields, _ = _message(tokens, 0, place, top=True)
    found: dict[str, LayerRecord] = {}
    for key, entry in fields:
        if key != "record" or not isinstance(entry, list):
            continue
        name = next((value for field, value in reversed(entry) if field == "key"), None)
        if not isinstance(name, str):
            raise EspgenError("a record has no key", place=place)
        merged = [item for field, value in entry if field == "value" and isinstance(value, list) for item in value]
        cached = [item for field, value in entry if field == "kv_cache_value" and isinstance(value, list) for item in value]
        found[name] = replace(_layer(merged, name, place), kv_cache=_kv_cache(cached, name, place))
    return found


def _layer(fields: list[tuple[str, Any]], name: str, place: str) -> LayerRecord:
    def every(key: str) -> list[str]:
        return [value for field, value in fields if field == key and isinstance(value, str)]

    try:
        scales = tuple(float(value) for value in every("scale_w"))
        layer = LayerRecord(
            scale_d=float(every("scale_d")[-1]) if every("scale_d") else None,
            offset_d=int(every("offset_d")[-1]) if every("offset_d") else 0,
            scale_w=scales,
            offset_w=tuple(int(value) for value in every("offset_w")),
            shift_bit=tuple(int(value) for value in every("shift_bit")),
            skip_fusion=bool(every("skip_fusion")) and every("skip_fusion")[-1].lower() in ("true", "1"),
            dst_type=every("dst_type")[-1] if every("dst_type") else "INT8",
            tensor_balance_factor=tuple(float(value) for value in every("tensor_balance_factor")),
        )
    except ValueError as error:
        raise EspgenError(f"bad number: {error}", place=f"{place}, record {name!r}") from None
    positive = [scale for scale in (layer.scale_d, *layer.scale_w) if scale is not None]
    if any(not 0.0 < scale < float("inf") for scale in positive):
        raise EspgenError("a scale is not positive and finite", place=f"{place}, record {name!r}")
    return layer


def _kv_cache(fields: list[tuple[str, Any]], name: str, place: str) -> tuple[tuple[float, ...], tuple[int, ...]]:
    try:
        scales = tuple(float(value) for field, value in fields if field == "scale" and isinstance(value, str))
        offsets = tuple(int(value) for field, value in fields if field == "offset" and isinstance(value, str))
    except ValueError as error:
        raise EspgenError(f"bad number: {error}", place=f"{place}, record {name!r}") from None
    return scales, offsets


def _tokens(text: str, place: str) -> Iterator[tuple[str, str, int]]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise EspgenError("unreadable text", place=f"{place}, offset {position}", hint="is this an AMCT record?")
        for kind in ("text", "mark", "word"):
            if match.group(kind) is not None:
                yield kind, match.group(kind), position
        position = match.end()


def _message(tokens: list[tuple[str, str, int]], start: int, place: str, top: bool = False) -> tuple[list[tuple[str, Any]], int]:
    fields: list[tuple[str, Any]] = []
    index = start
    while index < len(tokens):
        kind, text, offset = tokens[index]
        if kind == "mark" and text in "}>" and not top:
            return fields, index + 1
        if kind == "mark" and text in ",;":
            index += 1
            continue
        if kind != "word":
            raise EspgenError(f"unexpected {text!r}", place=f"{place}, offset {offset}", hint="is this an AMCT record?")
        index += 1
        if index < len(tokens) and tokens[index][1] == ":" and tokens[index][0] == "mark":
            index += 1
        if index >= len(tokens):
            break
        value_kind, value, offset = tokens[index]
        if value_kind == "mark" and value in "{<":
            nested, index = _message(tokens, index + 1, place)
            fields.append((text, nested))
        elif value_kind == "mark":
            raise EspgenError(f"{text!r} has no value", place=f"{place}, offset {offset}")
        else:
            fields.append((text, value[1:-1] if value_kind == "text" else value))
            index += 1
    if not top:
        raise EspgenError("the text ends inside a message", place=place, hint="the record is cut off")
    return fields, index


def write(records: Mapping[str, LayerRecord]) -> str:
    """Protobuf text of the records; `read` gives them back."""
    lines = []
    for name, layer in records.items():
        lines += ["record {", f'  key: "{name}"']
        lines += _kv_lines(layer)
        if layer.kv_cache != ((), ()) and layer == LayerRecord(kv_cache=layer.kv_cache):
            lines.append("}")
            continue
        lines.append("  value {")
        if layer.scale_d is not None:
            lines += [f"    scale_d: {layer.scale_d!r}", f"    offset_d: {layer.offset_d}"]
        lines += [f"    scale_w: {scale!r}" for scale in layer.scale_w]
        lines += [f"    offset_w: {offset}" for offset in layer.offset_w]
        lines += [f"    shift_bit: {shift}" for shift in layer.shift_bit]
        lines += ["    skip_fusion: true"] if layer.skip_fusion else []
        lines += [f'    dst_type: "{layer.dst_type}"'] if layer.dst_type != "INT8" else []
        lines += [f"    tensor_balance_factor: {factor!r}" for factor in layer.tensor_balance_factor]
        lines += ["  }", "}"]
    return "\n".join(lines) + "\n"


def _kv_lines(layer: LayerRecord) -> list[str]:
    scales, offsets = layer.kv_cache
    if not scales and not offsets:
        return []
    inside = [f"    scale: {scale!r}" for scale in scales] + [f"    offset: {offset}" for offset in offsets]
    return ["  kv_cache_value {", *inside, "  }"]


def of_model(model: QuantizedModel) -> dict[str, LayerRecord]:
    """Records of every 8-bit product of a quantized model."""
    records = {}
    for node in model.graph.nodes:
        layer = model.layers.get(node.name)
        grid: TensorQuant | None = model.activations.get(node.inputs[0]) if node.inputs else None
        if layer is None or grid is None or layer.bits != 8 or not is_product(model.graph, node):
            continue
        records[node.name] = LayerRecord(
            scale_d=float(grid.scale),
            offset_d=int(grid.zero_point),
            scale_w=tuple(float(np.float32(scale)) for scale in layer.scale),
            offset_w=(0,) * layer.scale.size,
        )
    return records
