"""ConvInteger and MatMulInteger, and integers that are read with another meaning than they were made with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from espgen.errors import EspgenError
from espgen.ir import Node, QuantParams
from espgen.ops.expression import X
from espgen.passes.absorb_builder import UNIT, Builder
from espgen.passes.absorb_products import make_product, scaled
from espgen.passes.absorb_symbols import Function, Product, Quantized

_FLOAT_PRODUCTS = {"ConvInteger": "Conv", "MatMulInteger": "MatMul"}


def read_as(builder: Builder, name: str, quant: QuantParams, node: Node) -> str:
    """The integer value whose integers are those of `name` and mean `quant`."""
    value = builder.values[name]
    if value.quant is None:
        builder.explain(name, quant)
    if builder.values[name].quant == quant:
        return name
    if name in builder.constants:
        return builder.add_constant(f"{name}/{node.name}", builder.constants[name], quant)
    old = builder.quant(name)
    if not old.per_tensor or not quant.per_tensor:
        raise EspgenError(
            f"activation {name!r} is quantized per channel", node=node.name, place=f"tensor {name!r}",
            hint="quantize activations per tensor; only weights may have one scale per channel",
        )  # fmt: skip
    factor = quant.scale[0] / old.scale[0]
    offset = quant.scale[0] * (old.zero_point[0] - quant.zero_point[0])
    function = Function(
        name, value.shape, name, ("Add", ("Mul", X, ("const", factor)), ("const", offset)), node.name
    )  # fmt: skip
    return builder.quantize(function, quant, value.dtype, f"{name}/{node.name}", node)


def absorb_integer_product(builder: Builder, node: Node) -> None:
    """ConvInteger and MatMulInteger: a product of numbers that are the integers less their zero points.

    What turns its int32 result into real numbers finds the product in `builder.accumulators` and goes into its weights,
    scales and bias, as with Conv and MatMul; other readers get the integers.
    """
    value = builder.source.value(node.outputs[0])
    weights = _operand(builder, node, 1, UNIT.scale[0])
    x = _operand(builder, node, 0, None if weights in builder.constants else UNIT.scale[0])
    result = _product(builder, node, x, weights, value.shape)
    if result is None:
        x = _operand(builder, node, 0, UNIT.scale[0])
        made = builder.declare(value.name, value.shape, value.dtype, None)
        builder.emit(node.name, node.op, (x, weights), (made,), **node.attrs)
        builder.symbols[value.name] = Quantized(value.name, value.shape, made)
        return
    name = builder.quantize(result, UNIT, value.dtype, value.name, node)
    builder.accumulators[name] = result
    builder.symbols[value.name] = Quantized(value.name, value.shape, name)


def _product(builder: Builder, node: Node, x: str, weights: str, shape: tuple[int, ...]) -> Product | None:
    """The integer product as one of real numbers, None where its second operand isn't a constant matrix or kernel."""
    plain = replace(node, op=_FLOAT_PRODUCTS[node.op], inputs=node.inputs[:2])
    operands = [Quantized(name, builder.values[name].shape, name) for name in (x, weights)]
    product = make_product(builder, plain, list(operands), shape)
    return None if product is None else scaled(product, np.array(1.0 / builder.quant(x).scale[0]))


def dequantized_accumulator(builder: Builder, name: str, quant: QuantParams, label: str) -> Product | None:
    """The product that made the int32 value `name`, read with `quant`; None where no product did, or not with one scale."""
    product = builder.accumulators.get(name)
    if product is None or not quant.per_tensor or quant.zero_point != (0,):
        return None
    result = scaled(product, np.array(quant.scale[0]))
    return None if result is None else replace(result, label=label)


def _operand(builder: Builder, node: Node, index: int, scale: float | None) -> str:
    """Operand `index` of an integer product with the zero point its node gives it, and `scale` or whatever it has (None)."""
    symbol = builder.symbols[node.inputs[index]]
    assert isinstance(symbol, Quantized)
    name, point = symbol.name, node.input(index + 2)
    shape = builder.values[name].shape
    if point and not builder.source.is_constant(point):
        raise EspgenError("a zero point is computed at run time", node=node.name, place=point, hint="make it a constant")
    data = builder.source.constants[point].reshape(-1) if point else np.zeros(1, np.int64)
    points = tuple(int(item) for item in data)
    if len(set(points)) == 1:
        quant = QuantParams.tensor(1.0, points[0])
    else:
        axis = (0 if node.op == "ConvInteger" else len(shape) - 1) if index == 1 else len(shape) - 2
        quant = QuantParams((1.0,) * len(points), points, axis)
        if index == 0 or shape[axis] != len(points):
            raise EspgenError("zero points per row", node=node.name, place=point, hint="use one zero point per tensor")
    old = builder.values[name].quant
    if scale is None and old is not None and old.zero_point == quant.zero_point and old.per_tensor:
        return name
    return read_as(builder, name, quant, node)
