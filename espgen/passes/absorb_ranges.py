"""Proven ranges of real values, from the integers they come from: what a value needs that the model leaves unquantized."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from espgen.errors import EspgenError
from espgen.ir import DType, Value
from espgen.ops.expression import Expression, evaluate
from espgen.passes.absorb_numbers import Array, dequantized
from espgen.passes.absorb_products import per_channel
from espgen.passes.absorb_symbols import Clip, Function, Move, Operation, Product, Quantized, Real, Symbol, moved_parts

if TYPE_CHECKING:
    from espgen.passes.absorb_builder import Builder

Range = tuple[float, float]

_LARGEST = float(np.finfo(np.float32).max)

_SAME = {"AveragePool", "GlobalAveragePool", "ReduceMean", "Concat", "Max", "Min"}
"""Operators whose results lie between the least and the greatest operand (and 0, which padding may count)."""


def real_range(builder: Builder, symbol: Symbol) -> Range | None:
    """Least and greatest real value a symbol can take, None where only data could tell or no float32 holds it."""
    found: dict[int, Range | None] = {}
    for part in moved_parts(symbol):
        if isinstance(part, Move):
            extra = [float(part.node.attrs["value"])] if part.node.op == "Pad" else []
            found[id(part)] = _union([found[id(operand)] for operand in part.operands], extra)
        else:
            found[id(part)] = _unmoved(builder, part)
    bounds = found[id(symbol)]
    return None if bounds is None or not max(map(abs, bounds)) <= _LARGEST else bounds


def _unmoved(builder: Builder, symbol: Symbol) -> Range | None:
    if isinstance(symbol, Real):
        return _between(symbol.data)
    if isinstance(symbol, Quantized):
        return _integers(builder, symbol)
    if isinstance(symbol, Function):
        return _function(builder, symbol)
    if isinstance(symbol, Product):
        return _clipped(_product(builder, symbol), symbol.clip)
    if isinstance(symbol, Operation):
        return _clipped(_operation(builder, symbol), symbol.clip)
    return None


def unsaturated(expression: Expression, base: Value, result: Value) -> Range:
    """The part of the base's range outside of which the function's result, once rounded, is constant on either side."""
    integers = np.arange(base.dtype.minimum, base.dtype.maximum + 1)
    x = (integers - base.zero_point) * base.scale
    steps = np.rint(np.clip(evaluate(expression, x) / result.scale, -1e12, 1e12)) + result.zero_point
    held = np.clip(steps, result.dtype.minimum, result.dtype.maximum)
    changes = np.flatnonzero(np.diff(held))
    if changes.size == 0:
        return 0.0, 0.0
    return float(x[changes[0]]), float(x[changes[-1] + 1])


def _between(data: Array) -> Range | None:
    if data.size == 0 or not np.all(np.isfinite(data)):
        return None
    return float(data.min()), float(data.max())


def _integers(builder: Builder, symbol: Quantized) -> Range | None:
    value, quant = builder.values[symbol.name], builder.quant(symbol.name)
    data = builder.constants.get(symbol.name)
    if data is not None:
        return _between(dequantized(data, quant))
    if not quant.per_tensor or value.dtype in (DType.INT32, DType.INT64, DType.BOOL):
        return None
    low, high = ((limit - quant.zero_point[0]) * quant.scale[0] for limit in (value.dtype.minimum, value.dtype.maximum))
    return low, high


def _function(builder: Builder, symbol: Function) -> Range | None:
    value, quant = builder.values[symbol.base], builder.quant(symbol.base)
    if value.dtype.size > 2 or not quant.per_tensor:
        return None
    integers = np.arange(value.dtype.minimum, value.dtype.maximum + 1)
    try:
        return _between(evaluate(symbol.expression, dequantized(integers, quant)))
    except EspgenError:
        return None


def _product(builder: Builder, symbol: Product) -> Range | None:
    """Bounds of the accumulator, per output channel: every weight meets the end of the input's range that moves it most."""
    inputs = real_range(builder, Quantized(symbol.label, (), symbol.x))
    if inputs is None or builder.values[symbol.x].dtype.size > 1:
        return None
    low, high = min(inputs[0], 0.0), max(inputs[1], 0.0)  # padding is 0
    count = symbol.weights.shape[symbol.channel_axis]
    real = np.moveaxis(dequantized(symbol.weights, symbol.quant), symbol.channel_axis, 0).reshape(count, -1)
    least = np.tile(np.minimum(real * low, real * high).sum(axis=1), symbol.channels // count)
    greatest = np.tile(np.maximum(real * low, real * high).sum(axis=1), symbol.channels // count)
    bias = np.zeros(per_channel(symbol, symbol.quant.scale).size) if symbol.bias is None else symbol.bias
    return float(np.min(least + bias)), float(np.max(greatest + bias))


def _operation(builder: Builder, symbol: Operation) -> Range | None:
    ranges = [real_range(builder, operand) for operand in symbol.operands if operand is not None]
    op = symbol.node.op
    if op in _SAME:
        return _union(ranges, [0.0])
    combine = _BINARY.get(op)
    if combine is not None and len(ranges) == 2 and ranges[0] is not None and ranges[1] is not None:
        return combine(ranges[0], ranges[1])
    return (0.0, 1.0) if op == "Softmax" else None


def _multiply(left: Range, right: Range) -> Range:
    corners = [first * second for first in left for second in right]
    return min(corners), max(corners)


_BINARY: dict[str, Callable[[Range, Range], Range]] = {
    "Add": lambda left, right: (left[0] + right[0], left[1] + right[1]),
    "Sub": lambda left, right: (left[0] - right[1], left[1] - right[0]),
    "Mul": _multiply,
}


def _union(ranges: list[Range | None], extra: list[float]) -> Range | None:
    known = [item for item in ranges if item is not None]
    ends = [end for item in known for end in item] + [value for value in extra if np.isfinite(value)]
    return (min(ends), max(ends)) if ends and len(known) == len(ranges) else None


def _clipped(bounds: Range | None, clip: Clip | None) -> Range | None:
    if bounds is None or clip is None:
        return bounds
    low, high = clip
    ends = [end if low is None else max(end, low) for end in bounds]
    ends = [end if high is None else min(end, high) for end in ends]
    return ends[0], ends[1]
