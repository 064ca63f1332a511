"""From the quantized graph (ONNX operators on integers, ONNX axis order) to the integer graph (kernels, channels last).

Each operator file maps its ONNX names to a function (context, node) in `LOWER`. The context remembers in which layouts an
integer value exists and inserts a transpose where a consumer needs another one. Unsigned values become signed ones:
their zero point moves by half the range, which changes no result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from espgen.errors import EspgenError
from espgen.ir import DType, Graph, Node, QuantParams, Value, unused_name
from espgen.ir.layout import channels_last_layout, channels_last_shape, to_layout

Array = npt.NDArray[Any]

PLAIN = ""
CHANNELS_LAST = "channels_last"

_SIGNED = {DType.UINT8: (DType.INT8, 128), DType.UINT16: (DType.INT16, 32768)}
_SPATIAL = {
    "Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Resize", "DepthToSpace",
    "SpaceToDepth", "ConvInteger", "PRelu",
}  # fmt: skip
_ELEMENTWISE = {"Unary", "Requantize", "Add", "Sub", "Mul", "Div", "Pad", "Concat", "Clip", "Relu"}


@dataclass
class LoweringContext:
    """The integer graph as it grows."""

    source: Graph
    nodes: list[Node] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    forms: dict[str, dict[str, str]] = field(default_factory=dict)

    # What the quantized graph says, in signed types.

    def value(self, name: str) -> Value:
        """The quantized value, with unsigned types made signed."""
        return signed(self.source.value(name))

    def scale(self, name: str) -> float:
        return self.source.value(name).scale

    def constant(self, name: str) -> Array | None:
        """A constant's integers in signed types, None for a run-time value."""
        data = self.source.constant(name)
        if data is None:
            return None
        change = _SIGNED.get(self.source.value(name).dtype)
        if change is None:
            return data
        dtype, offset = change
        return np.asarray((data.astype(np.int64) - offset).astype(dtype.numpy))

    # Operands.

    def layout_of(self, names: Sequence[str]) -> str:
        """Channels last where any run-time operand exists in it (elementwise operators follow their operands)."""
        found = any(CHANNELS_LAST in self.forms.get(name, {}) for name in names)
        return CHANNELS_LAST if found else PLAIN

    def fetch(self, name: str, layout: str = PLAIN, rank: int | None = None) -> str:
        """The integer value that holds `name` in `layout`, with ones in front up to `rank` axes where given."""
        value = self.value(name)
        key = layout if rank is None or rank == len(value.shape) else f"{layout}:{rank}"
        forms = self.forms.setdefault(name, {})
        if key not in forms:
            forms[key] = self._convert(name, layout, rank or len(value.shape), forms)
        return forms[key]

    def form(self, name: str, key: str) -> str | None:
        """The integer value registered for `name` under `key`, if any."""
        return self.forms.get(name, {}).get(key)

    # Results.

    def define(self, name: str, layout: str = PLAIN, *, shape: Sequence[int] | None = None) -> str:
        """Declare the integer value for quantized value `name` in `layout`; returns its name."""
        value = self.value(name)
        tag = PLAIN
        extents = tuple(value.shape if shape is None else shape)
        if layout == CHANNELS_LAST:
            tag = channels_last_layout(len(value.shape))
            extents = channels_last_shape(value.shape)
        return self.new_value(name, Value(name, extents, value.dtype, value.quant, tag), layout)

    def new_value(self, source: str, value: Value, key: str) -> str:
        """Add `value` under a free name and register it as form `key` of quantized value `source`."""
        name = value.name
        if self.source.value(source).dtype in _SIGNED and (source in self.source.inputs or source in self.source.outputs):
            name = f"{name}_{value.dtype.value}"
        unique = unused_name(name, self.values)
        self.values[unique] = Value(unique, value.shape, value.dtype, value.quant, value.layout)
        self.forms.setdefault(source, {})[key] = unique
        return unique

    def emit(self, name: str, op: str, inputs: Sequence[str], outputs: Sequence[str], **attrs: Any) -> None:
        """Append an integer node."""
        unique = unused_name(name, {node.name for node in self.nodes})
        self.nodes.append(Node(unique, op, tuple(inputs), tuple(outputs), attrs))

    def add_constant(self, name: str, data: Array, quant: QuantParams | None = None) -> str:
        """A constant of the integer graph under a free name near `name`."""
        unique = unused_name(name, self.values)
        self.values[unique] = Value(unique, tuple(data.shape), DType.of(data), quant)
        self.constants[unique] = data
        return unique

    def _convert(self, name: str, layout: str, rank: int, forms: dict[str, str]) -> str:
        value = self.value(name)
        data = self.constant(name)
        if data is not None:
            expanded = data.reshape((1,) * (rank - data.ndim) + data.shape)
            arranged = to_layout(expanded, channels_last_layout(rank)) if layout == CHANNELS_LAST else expanded
            return self.add_constant(name, arranged, value.quant if value.quant and value.quant.per_tensor else None)
        if rank != len(value.shape):
            return self._expand(name, layout, rank)
        if layout == CHANNELS_LAST:
            return self._to_channels_last(name, self.fetch(name, PLAIN))
        if CHANNELS_LAST in forms:
            return self._to_plain(name, forms[CHANNELS_LAST])
        raise EspgenError(f"value {name!r} is used before it is computed", hint="the model's nodes are not in order")

    def _expand(self, name: str, layout: str, rank: int) -> str:
        value = self.value(name)
        shape = (1,) * (rank - len(value.shape)) + value.shape
        plain = self.new_value(name, Value(f"{name}_expanded", shape, value.dtype, value.quant), f"{PLAIN}:{rank}")
        self.emit(f"{name}_expand", "reshape", (self.fetch(name, PLAIN),), (plain,))
        if layout == PLAIN:
            return plain
        layout = channels_last_layout(rank)
        arranged = Value(f"{name}_expanded_last", channels_last_shape(shape), value.dtype, value.quant, layout)
        result = self.new_value(name, arranged, f"{layout}:{rank}")
        self._permute(f"{name}_to_channels_last", plain, result, (0, 2, 3, 1) if rank == 4 else (0, 2, 1))
        return result

    def _to_channels_last(self, name: str, plain: str) -> str:
        rank = len(self.value(name).shape)
        if rank not in (3, 4):
            message = f"{name!r} has rank {rank}; spatial operators take rank 3 (N,C,L) or 4 (N,C,H,W)"
            raise EspgenError(message, hint="reshape it in the model")
        result = self.define(name, CHANNELS_LAST)
        self._permute(f"{name}_to_channels_last", plain, result, (0, 2, 3, 1) if rank == 4 else (0, 2, 1))
        return result

    def _to_plain(self, name: str, last: str) -> str:
        result = self.define(name, PLAIN)
        self._permute(f"{name}_to_plain", last, result, (0, 3, 1, 2))
        return result

    def _permute(self, name: str, source: str, result: str, permutation: tuple[int, ...]) -> None:
        """A transpose, or a reshape where only axes of extent one move."""
        shape = self.values[source].shape
        permuted = [shape[axis] for axis in permutation] if len(permutation) == len(shape) else []
        moving = [axis for axis in permutation if shape[axis] != 1]
        target = self.values[result].shape
        if moving == sorted(moving):
            self.emit(name, "reshape", (source,), (result,))
            return
        if len(permuted) == len(target) and tuple(permuted) == target:
            self.emit(name, "transpose", (source,), (result,), permutation=permutation)
            return
        middle = self.add_temporary(f"{result}_transposed", permuted, result)
        self.emit(name, "transpose", (source,), (middle,), permutation=permutation)
        self.emit(f"{name}_reshape", "reshape", (middle,), (result,))

    def add_temporary(self, name: str, shape: Sequence[int], like: str) -> str:
        """A value of type and scale `like` that no quantized value stands behind."""
        unique = unused_name(name, self.values)
        model = self.values[like]
        self.values[unique] = Value(unique, tuple(shape), model.dtype, model.quant)
        return unique


def signed(value: Value) -> Value:
    """The same value in a signed type: unsigned types lose half their range, zero points follow."""
    change = _SIGNED.get(value.dtype)
    if change is None:
        return value
    dtype, offset = change
    quant = value.quant
    if quant is not None:
        quant = QuantParams(quant.scale, tuple(point - offset for point in quant.zero_point), quant.axis)
    return Value(value.name, value.shape, dtype, quant, value.layout)


def clip_bounds(context: LoweringContext, node: Node, output: str) -> dict[str, int]:
    """Attributes low and high: the node's real `clip` on the output's integers, or the type's range."""
    value = context.value(output)
    low, high = value.dtype.minimum, value.dtype.maximum
    bounds = node.attrs.get("clip")
    if bounds is None or value.quant is None:
        return {"low": low, "high": high}
    below, above = bounds
    if below is not None:
        low = _quantized(value, below)
    if above is not None:
        high = max(low, _quantized(value, above))
    return {"low": low, "high": high}


def _quantized(value: Value, real: float) -> int:
    quotient = np.rint(np.float32(real) / np.float32(value.scale))
    limited = float(np.clip(np.float64(quotient), -1e9, 1e9))
    return int(np.clip(limited + value.zero_point, value.dtype.minimum, value.dtype.maximum))


def wants_channels_last(graph: Graph, name: str) -> bool:
    """Whether a graph input is best held channels last: it reaches a spatial operator through elementwise ones."""
    if len(graph.value(name).shape) not in (3, 4):
        return False
    readers, seen, queue = graph.consumers(), set(), [name]
    while queue:
        current = queue.pop()
        for node in readers.get(current, []):
            if node.op in _SPATIAL:
                return True
            if node.op in _ELEMENTWISE and node.name not in seen:
                seen.add(node.name)
                queue += [output for output in node.outputs if output]
    return False
