"""Text form of a graph, for `--dump-ir` and for golden tests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from espgen.ir.graph import Graph, QuantParams, Value


def dump(graph: Graph) -> str:
    """A stable, line-oriented description; constants appear as shape and digest."""
    lines = [f"graph {graph.name}"]
    lines += [f"  input  {_value(graph.value(name))}" for name in graph.inputs]
    lines += [f"  output {_value(graph.value(name))}" for name in graph.outputs]
    for name in sorted(graph.constants):
        data = np.ascontiguousarray(graph.constants[name])
        digest = hashlib.sha256(data.tobytes()).hexdigest()[:12]
        lines.append(f"  const  {_value(graph.value(name))} sha256:{digest}")
    for node in graph.nodes:
        results = ", ".join(_value(graph.value(name)) if name else "-" for name in node.outputs)
        operands = ", ".join(name or "-" for name in node.inputs)
        lines.append(f"  {node.name}: {results}")
        lines.append(f"    = {node.op}({operands}){_attrs(node.attrs)}")
    return "\n".join(lines) + "\n"


def _value(value: Value) -> str:
    shape = "x".join(str(extent) for extent in value.shape) or "scalar"
    return f"{value.name}:{value.dtype.value}[{shape}]{_quant(value.quant)}"


def _quant(quant: QuantParams | None) -> str:
    if quant is None:
        return ""
    if quant.per_tensor:
        return f" scale={quant.scale[0]:.9g} zero_point={quant.zero_point[0]}"
    low, high = min(quant.scale), max(quant.scale)
    return f" scale[axis {quant.axis}]={low:.6g}..{high:.6g}"


def _attrs(attrs: Mapping[str, Any]) -> str:
    return "".join(f"\n      {key} = {_attr(attrs[key])}" for key in sorted(attrs))


def _attr(value: Any) -> str:
    if isinstance(value, np.ndarray):
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:12]
        return f"array{list(value.shape)} {value.dtype} sha256:{digest}"
    return _nested(value) if isinstance(value, tuple) else repr(value)


class _Name(str):
    """A part of an expression that was printed before."""

    def __repr__(self) -> str:
        return str(self)


def _nested(value: tuple[Any, ...]) -> str:
    """repr; a tuple that holds another one twice, or many inside each other, as numbered parts, each printed once."""
    names: dict[int, tuple[Any, int]] = {}
    lines: list[str] = []
    waiting = [(value, False)]
    while waiting:
        part, complete = waiting.pop()
        inner = [item for item in part if isinstance(item, tuple)]
        if id(part) in names:
            continue
        if not complete:
            waiting.append((part, True))
            waiting += [(item, False) for item in reversed(inner)]
            continue
        text, size = _printed(part, names)
        if size > _LONGEST and part is not value:
            lines.append(f"part {len(lines)} = {text}")
            text, size = _Name(f"part {len(lines) - 1}"), 1
        names[id(part)] = (text, size)
    return "\n        ".join([*lines, str(names[id(value)][0])])


_LONGEST = 12
"""Parts of an expression that are printed in one line."""


def _printed(part: tuple[Any, ...], names: Mapping[int, tuple[Any, int]]) -> tuple[_Name, int]:
    shown = [names[id(item)][0] if isinstance(item, tuple) else item for item in part]
    size = 1 + sum(names[id(item)][1] for item in part if isinstance(item, tuple))
    return _Name(repr(tuple(shown))), size
