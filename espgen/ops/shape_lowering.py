"""Lowering of Reshape (and so Flatten, Squeeze, Unsqueeze), aware of values held channels last."""

from __future__ import annotations

from espgen.ir import Node, Value
from espgen.ops.lowering import CHANNELS_LAST, PLAIN, LoweringContext
from espgen.ops.product_lowering import FLAT


def lower_reshape(context: LoweringContext, node: Node) -> None:
    """A reshape of the plain form.

    Flattening a channels-last image keeps its order: the result is registered as form `flat:C:H:W`, whose only readers are
    matrix products, which reorder their columns instead. Any other reader asks for the plain form and gets it.
    """
    source, result = node.inputs[0], node.outputs[0]
    before, after = context.value(source), context.value(result)
    last = context.form(source, CHANNELS_LAST)
    flattening = len(before.shape) in (3, 4) and after.shape == (before.shape[0], before.elements // before.shape[0])
    if last is not None and flattening and _only_products_read(context, result):
        channels = before.shape[1]
        height, width = (1, before.shape[2]) if len(before.shape) == 3 else before.shape[2:]
        flat = Value(result, after.shape, after.dtype, after.quant)
        name = context.new_value(result, flat, f"{FLAT}:{channels}:{height}:{width}")
        context.emit(node.name, "reshape", (last,), (name,))
        return
    plain = context.fetch(source, PLAIN)
    context.emit(node.name, "reshape", (plain,), (context.define(result, PLAIN),))


def _only_products_read(context: LoweringContext, name: str) -> bool:
    readers = [node for node in context.source.nodes if name in node.inputs]
    products = all(node.op in ("Gemm", "MatMul", "MatMulInteger") and node.inputs[0] == name for node in readers)
    constant = all(context.source.is_constant(node.inputs[1]) for node in readers) if products else False
    return bool(readers) and products and constant and name not in context.source.outputs


LOWER = {"Reshape": lower_reshape}
