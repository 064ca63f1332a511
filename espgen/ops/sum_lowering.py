"""Lowering of everything that is a weighted sum or a mean: Add, Sub, Requantize, GlobalAveragePool; and Softmax."""

from __future__ import annotations

from espgen import arith
from espgen.ir import DType, Node
from espgen.ops.lowering import CHANNELS_LAST, LoweringContext, clip_bounds


def _sum(context: LoweringContext, node: Node, signs: tuple[int, ...]) -> None:
    result = context.value(node.outputs[0])
    layout = context.layout_of(node.inputs)
    rank = len(result.shape)
    operands = [context.fetch(name, layout, rank) for name in node.inputs]
    ratios = [sign * context.scale(name) / result.scale for sign, name in zip(signs, node.inputs, strict=True)]
    bits = 8 if result.dtype is DType.INT8 else 16
    weights = arith.choose_weights(ratios, bits, node=node.name)
    output = context.define(node.outputs[0], layout)
    context.emit(node.name, "add", operands, (output,), weights=weights, **clip_bounds(context, node, node.outputs[0]))


def lower_add(context: LoweringContext, node: Node) -> None:
    _sum(context, node, (1,) * len(node.inputs))


def lower_sub(context: LoweringContext, node: Node) -> None:
    _sum(context, node, (1, -1))


def lower_global_average_pool(context: LoweringContext, node: Node) -> None:
    source, result = context.value(node.inputs[0]), context.value(node.outputs[0])
    count = source.elements // (source.shape[0] * source.shape[1])
    ratio = arith.choose_ratio(source.scale / result.scale, count)
    x = context.fetch(node.inputs[0], CHANNELS_LAST)
    output = context.define(node.outputs[0], CHANNELS_LAST)
    bounds = clip_bounds(context, node, node.outputs[0])
    context.emit(node.name, "reduce_mean", (x,), (output,), axes=(1, 2), ratio=ratio, **bounds)


def lower_softmax(context: LoweringContext, node: Node) -> None:
    rank = len(context.value(node.inputs[0]).shape)
    axis = node.attrs["axis"] % rank
    layout = context.layout_of(node.inputs)
    if layout == CHANNELS_LAST:
        axis = {0: 0, 1: 3}.get(axis, axis - 1 if rank == 4 else 2)
    x = context.fetch(node.inputs[0], layout)
    output = context.define(node.outputs[0], layout)
    context.emit(node.name, "softmax", (x,), (output,), axis=axis, **clip_bounds(context, node, node.outputs[0]))


LOWER = {
    "Add": lower_add,
    "Sub": lower_sub,
    "Sum": lower_add,
    "Requantize": lower_add,
    "GlobalAveragePool": lower_global_average_pool,
    "Softmax": lower_softmax,
}
