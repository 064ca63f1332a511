"""What lowerings share: operands checked for type and scale, in one layout, rescaled where two values differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from espgen import arith
from espgen.errors import EspgenError
from espgen.ir import DType, Node, Value
from espgen.ops.base import Array
from espgen.ops.lowering import CHANNELS_LAST, PLAIN, LoweringContext, clip_bounds
from espgen.ops.requantize import emit_requantize

ACTIVATIONS = (DType.INT8, DType.INT16)

HELD_AXES = {3: (0, 2, 1), 4: (0, 2, 3, 1)}
"""ONNX axes of a rank-3 or rank-4 value in the order in which channels last holds them."""


def activation(context: LoweringContext, node: Node, name: str, dtypes: Sequence[DType] = ACTIVATIONS) -> Value:
    """The signed value, with one scale and one of `dtypes`; EspgenError otherwise."""
    value = context.value(name)
    if value.dtype not in dtypes:
        allowed = ", ".join(dtype.value for dtype in dtypes)
        raise EspgenError(
            f"{node.op} on {value.dtype.value}",
            node=node.name,
            place=f"tensor {name!r}",
            hint=f"espgen computes {node.op} on {allowed} (and their unsigned forms): quantize the tensor",
        )
    if value.quant is None or not value.quant.per_tensor:
        what = "no scale" if value.quant is None else "one scale per channel"
        raise EspgenError(
            f"{node.op} on a tensor with {what}",
            node=node.name,
            place=f"tensor {name!r}",
            hint="quantize it with one scale and zero point",
        )
    return value


def common_layout(context: LoweringContext, node: Node, names: Sequence[str]) -> str:
    """Channels last where a run-time operand exists in it and the output has a rank that can be held so."""
    running = [name for name in names if context.constant(name) is None]
    rank = len(context.value(node.outputs[0]).shape)
    return context.layout_of(running) if rank in HELD_AXES else PLAIN


def fetch_all(context: LoweringContext, node: Node, names: Sequence[str]) -> tuple[list[str], str]:
    """Integer values of operands that broadcast to the node's output, and their common layout."""
    layout = common_layout(context, node, names)
    rank = len(context.value(node.outputs[0]).shape) if layout == CHANNELS_LAST else None
    return [context.fetch(name, layout, rank) for name in names], layout


def held_axis(axis: int, rank: int, layout: str) -> int:
    """Where ONNX axis `axis` lies in the held value (rank-3 channels last is held as N, 1, L, C)."""
    axis %= rank
    if layout == PLAIN:
        return axis
    position = HELD_AXES[rank].index(axis)
    return position + 1 if rank == 3 and position > 0 else position


def to_held(entries: Sequence[int], layout: str, missing: int) -> tuple[int, ...]:
    """One entry per ONNX axis in the order of the held axes; `missing` for the axis that rank 3 gains."""
    if layout == PLAIN:
        return tuple(entries)
    arranged = [entries[axis] for axis in HELD_AXES[len(entries)]]
    return tuple(arranged if len(entries) == 4 else [arranged[0], missing, *arranged[1:]])


def same_meaning(first: Value, second: Value) -> bool:
    """Whether the integers of both mean the same."""
    return first.dtype is second.dtype and first.quant == second.quant


def rescaled(context: LoweringContext, node: Node, form: str, source: Value, result: Value) -> str:
    """`form`, which holds `source`, with the scale and type of `result`: by a node of its own where they differ."""
    clip = "clip" in node.attrs and node.attrs["clip"] is not None
    if same_meaning(source, result) and not clip:
        return form
    if form in context.constants:
        return _rescaled_constant(context, node, form, source, result)
    held = context.values[form]
    name = f"{form}_rescaled"
    count = 1
    while name in context.values:
        count += 1
        name = f"{form}_rescaled_{count}"
    context.values[name] = Value(name, held.shape, result.dtype, result.quant, held.layout)
    bounds = clip_bounds(context, node, node.outputs[0])
    emit_requantize(context, f"{node.name}_rescale", form, source, name, bounds, node.name)
    return name


def _rescaled_constant(context: LoweringContext, node: Node, form: str, source: Value, result: Value) -> str:
    real = arith.dequantize(context.constants[form], source.scale, source.zero_point)
    bounds = clip_bounds(context, node, node.outputs[0])
    data = arith.quantize(real, result.scale, result.zero_point, bounds["low"], bounds["high"])
    return context.add_constant(f"{form}_rescaled", data.astype(result.dtype.numpy), result.quant)


def real_values(context: LoweringContext, name: str) -> Array | None:
    """A constant's real values in float64, None for a run-time value."""
    data, value = context.constant(name), context.value(name)
    if data is None or value.quant is None:
        return None
    shape = [1] * data.ndim
    if value.quant.axis is not None:
        shape[value.quant.axis] = -1
    scale = np.asarray(value.quant.scale, np.float64).reshape(shape if value.quant.axis is not None else ())
    point = np.asarray(value.quant.zero_point, np.int64).reshape(shape if value.quant.axis is not None else ())
    return np.asarray((data.astype(np.int64) - point) * scale)


def bounded_ratio(source: Value, result: Value, divisor: int, elements: int, node: Node) -> arith.Ratio:
    """s_x / s_y / divisor for sums over `elements`: 0 where only 0 can come out; EspgenError beyond 62 bits."""
    ratio = source.scale / result.scale
    reach = max(source.dtype.maximum - source.zero_point, source.zero_point - source.dtype.minimum)
    if ratio * reach * elements / divisor < 0.5:
        return arith.Ratio(0, 1)
    chosen = arith.choose_ratio(ratio, divisor)
    if max(chosen.numerator * reach * elements, chosen.denominator * elements) >= 1 << 62:
        raise EspgenError(
            f"{node.op} needs more than 62 bits", node=node.name, hint="re-quantize: input and output scale differ too much"
        )
    return chosen


def fetch_moved(context: LoweringContext, node: Node, output: str) -> tuple[str, str]:
    """The operand of a movement in the layout it has, with the scale and type of `output`; and that layout."""
    source, result = context.value(node.inputs[0]), context.value(output)
    if not same_meaning(source, result):
        activation(context, node, node.inputs[0])
        activation(context, node, output)
    layout = context.layout_of([node.inputs[0]]) if len(source.shape) in HELD_AXES else PLAIN
    return rescaled(context, node, context.fetch(node.inputs[0], layout), source, result), layout
