"""Where a protobuf file stops being one: the offset that protobuf's own parser does not tell."""

from __future__ import annotations

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# Message fields of onnx.proto worth descending into: message -> {field number: message}.
_CHILDREN: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 8: "OperatorSetIdProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 11: "ValueInfoProto", 12: "ValueInfoProto", 13: "ValueInfoProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {5: "TensorProto"},
}


def first_bad_offset(data: bytes) -> tuple[int, str]:
    """Offset of the first byte that cannot be read as onnx.proto, and the message it lies in.

    Returns `(len(data), ..)` where the structure is sound (the fault is then in a string or in missing data).
    """
    stack = [(0, len(data), "ModelProto")]
    while stack:
        position, end, message = stack.pop()
        while position < end:
            start = position
            tag, position = _varint(data, position, end)
            if position < 0 or tag >> 3 == 0:
                return start, message
            size, position = _field_size(data, position, end, tag & 7)
            if position < 0 or size > end - position:
                return start, message
            child = _CHILDREN.get(message, {}).get(tag >> 3) if tag & 7 == _BYTES else None
            if child is not None:
                stack.append((position + size, end, message))
                position, end, message = position, position + size, child
                continue
            position += size
    return len(data), "ModelProto"


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    """Value and next position; a next position of -1 where the number is cut off or too long."""
    value = 0
    for index in range(10):
        if position + index >= end:
            return 0, -1
        byte = data[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    return 0, -1


def _field_size(data: bytes, position: int, end: int, wire_type: int) -> tuple[int, int]:
    """Payload size of a field and where its payload starts (-1 where there is no such field)."""
    if wire_type == _BYTES:
        return _varint(data, position, end)
    if wire_type == _VARINT:
        _, after = _varint(data, position, end)
        return (after - position, position) if after >= 0 else (0, -1)
    fixed = {_FIXED64: 8, _FIXED32: 4}.get(wire_type)
    return (0, -1) if fixed is None else (fixed, position)
