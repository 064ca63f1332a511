"""Operator attributes: checked against the operator's schema, defaults filled in, as plain Python values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import onnx
from onnx import AttributeProto, NodeProto

from espgen.errors import EspgenError
from espgen.frontend.tensors import read_tensor

_READERS: dict[int, Callable[[AttributeProto], Any]] = {
    AttributeProto.FLOAT: lambda attribute: float(attribute.f),
    AttributeProto.INT: lambda attribute: int(attribute.i),
    AttributeProto.STRING: lambda attribute: attribute.s.decode("utf-8", "replace"),
    AttributeProto.TENSOR: lambda attribute: read_tensor(attribute.t, f"attribute {attribute.name}"),
    AttributeProto.GRAPH: lambda attribute: attribute.g,
    AttributeProto.FLOATS: lambda attribute: tuple(float(value) for value in attribute.floats),
    AttributeProto.INTS: lambda attribute: tuple(int(value) for value in attribute.ints),
    AttributeProto.STRINGS: lambda attribute: tuple(value.decode("utf-8", "replace") for value in attribute.strings),
}


def read_attributes(node: NodeProto, schema: onnx.defs.OpSchema | None, name: str) -> dict[str, Any]:
    """Attributes of `node` as Python values (ints, floats, strings, tuples, arrays).

    With a schema, unknown names, wrong types and missing required attributes raise EspgenError, and defaults are added.
    """
    attributes: dict[str, Any] = {}
    for attribute in node.attribute:
        reader = _READERS.get(attribute.type)
        if reader is None or attribute.ref_attr_name:
            raise _bad(name, attribute.name, "has a type that is not supported")
        if attribute.name in attributes:
            raise _bad(name, attribute.name, "is given twice")
        if schema is not None:
            declared = schema.attributes.get(attribute.name)
            if declared is None:
                raise _bad(name, attribute.name, f"is unknown to {node.op_type} of opset {schema.since_version}")
            wanted: Any = declared.type
            if int(wanted.value) != attribute.type:
                raise _bad(name, attribute.name, f"must be {wanted.name.lower()}")
        value = reader(attribute)
        if not _finite(value):
            raise _bad(name, attribute.name, "is not a finite number")
        attributes[attribute.name] = value
    if schema is not None:
        _add_defaults(attributes, schema, name)
    return attributes


def _finite(value: Any) -> bool:
    numbers = value if isinstance(value, tuple) else (value,)
    return all(math.isfinite(number) for number in numbers if isinstance(number, float))


def _add_defaults(attributes: dict[str, Any], schema: onnx.defs.OpSchema, name: str) -> None:
    for key, declared in schema.attributes.items():
        if key in attributes:
            continue
        if declared.required:
            raise _bad(name, key, "is missing")
        reader = _READERS.get(declared.default_value.type)
        if reader is not None:
            attributes[key] = reader(declared.default_value)


def _bad(node: str, attribute: str, problem: str) -> EspgenError:
    return EspgenError(
        f"attribute {attribute!r} {problem}",
        node=node,
        place=f"attribute {attribute}",
        hint="export the model again, or correct this attribute",
    )
