"""Add, Sub, Mul, Div, Pow, Max, Min: functions of one tensor, biases and factors of products, or two-tensor operations."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from espgen.errors import EspgenError
from espgen.ir import Node
from espgen.ops.expression import BINARY, Expression, X
from espgen.passes.absorb_builder import UNIT, Builder
from espgen.passes.absorb_movement import reshaped
from espgen.passes.absorb_numbers import Array, dequantized
from espgen.passes.absorb_products import channel_vector, scaled
from espgen.passes.absorb_symbols import (
    Function,
    Operation,
    Product,
    Quantized,
    Real,
    Symbol,
    clipped,
    scalar_of,
    through_moves,
)

_NO_BOUND = {"Max": -math.inf, "Min": math.inf}


def absorb_binary(builder: Builder, node: Node, operands: list[Symbol | None], shape: tuple[int, ...]) -> Symbol:
    """The symbol of a two-operand elementwise operator. EspgenError where an operand is float at run time."""
    left, right = operands
    assert left is not None and right is not None
    constants = [_constant(builder, left), _constant(builder, right)]
    if constants[0] is not None and constants[1] is not None:
        return Real(node.outputs[0], shape, BINARY[node.op](constants[0], constants[1]))
    for index, data in enumerate(constants):
        if data is None:
            continue
        _check_finite(node, data, index)
        symbol = _with_constant(builder, node, (right, left)[index], data, index, shape)
        if symbol is not None:
            return symbol
    left, right = (_settled(builder, symbol, data, node) for symbol, data in zip((left, right), constants, strict=True))
    same = _same_base(builder, node, left, right, shape)
    if same is not None:
        return same
    return _operation(builder, node, left, right, constants, shape)


def _check_finite(node: Node, data: Array, index: int) -> None:
    """Constants are numbers; a bound of Max or Min may be infinite where it bounds nothing."""
    nothing = _NO_BOUND.get(node.op)
    bad = ~np.isfinite(data) if nothing is None else ~np.isfinite(data) & (data != nothing)
    if np.any(bad):
        raise EspgenError(
            f"the constant operand of {node.op} is not finite", node=node.name, place=f"tensor {node.inputs[index]!r}",
            hint="correct the constant in the model",
        )  # fmt: skip


def _constant(builder: Builder, symbol: Symbol) -> Array | None:
    if isinstance(symbol, Real):
        return symbol.data
    if isinstance(symbol, Quantized) and symbol.name in builder.constants:
        return dequantized(builder.constants[symbol.name], builder.quant(symbol.name))
    return None


def _with_constant(builder: Builder, node: Node, other: Symbol, data: Array, index: int, shape: tuple[int, ...]) -> Symbol | None:
    """`other` op constant, where that is a function of one tensor or goes into a product; None where it does neither."""
    if isinstance(other, Product) and other.shape == shape:
        absorbed = _into_product(node, other, data, index)
        if absorbed is not None:
            return absorbed
    number = scalar_of(data)
    if number is None or math.prod(other.shape) != math.prod(shape):
        return None
    result = through_moves(other, lambda symbol: _with_number(builder, node, symbol, number, index))
    return reshaped(replace(result, label=node.outputs[0]), shape, node)


def _with_number(builder: Builder, node: Node, symbol: Symbol, number: float, index: int) -> Symbol:
    """`symbol` op number: into the product, as a clip of what is still open, else as a function of an integer value."""
    absorbed: Symbol | None = None
    if isinstance(symbol, Product):
        absorbed = _into_product(node, symbol, np.array(number), index)
    if absorbed is None and node.op in ("Max", "Min"):
        bounds = (number, None) if node.op == "Max" else (None, number)
        absorbed = clipped(symbol, bounds, node.outputs[0])
    if absorbed is not None:
        return absorbed
    base, inner = _function(builder, symbol, node)
    constant: Expression = ("const", number)
    pair = (constant, inner) if index == 0 else (inner, constant)
    return Function(node.outputs[0], symbol.shape, base, (node.op, *pair), node.name)


def _settled(builder: Builder, symbol: Symbol, data: Array | None, node: Node) -> Symbol:
    """An operand of a two-tensor operation: constants and functions as they are, anything open as an integer value."""
    if data is not None or isinstance(symbol, Quantized | Function):
        return symbol
    return Quantized(symbol.label, symbol.shape, builder.operand(symbol, node))


def _function(builder: Builder, symbol: Symbol, node: Node) -> tuple[str, Expression]:
    """Integer value and expression of a symbol that is a function of one integer value."""
    if isinstance(symbol, Function):
        return symbol.base, symbol.expression
    base = builder.operand(symbol, node)
    if not builder.source.value(node.outputs[0]).dtype.is_float and builder.quant(base) != UNIT:
        raise EspgenError(
            f"{node.op} of quantized integers", node=node.name, place=f"tensor {symbol.label!r}",
            hint="put it between DequantizeLinear and QuantizeLinear",
        )  # fmt: skip
    return base, X


def _into_product(node: Node, product: Product, data: Array, index: int) -> Product | None:
    """A constant added to or multiplied with a product whose result isn't quantized yet; None where it can't take it."""
    vector = channel_vector(product, data)
    if vector is None:
        return None
    label = node.outputs[0]
    if node.op == "Mul" or (node.op == "Div" and index == 1 and bool(np.all(vector != 0.0))):
        return _times(product, vector if node.op == "Mul" else 1.0 / vector, label)
    if node.op not in ("Add", "Sub"):
        return None
    sign = -1.0 if node.op == "Sub" else 1.0
    if index == 0 and node.op == "Sub":  # constant - product
        negated = scaled(product, np.array(-1.0))
        if negated is None:
            return None
        product, sign = negated, 1.0
    return _plus(product, sign * vector, label)


def _plus(product: Product, addend: Array, label: str) -> Product | None:
    """The product plus one number per channel; a clip in between moves along with one number for all."""
    total = addend + (0.0 if product.bias is None else product.bias)
    if product.clip is None:
        return replace(product, bias=total, label=label)
    number = scalar_of(addend)
    if number is None:
        return None
    low, high = (None if bound is None else bound + number for bound in product.clip)
    return replace(product, bias=total, clip=(low, high), label=label)


def _times(product: Product, factors: Array, label: str) -> Product | None:
    """The product times one factor per channel; a clip in between takes one positive factor for all."""
    if product.clip is None:
        result = scaled(product, factors)
        return None if result is None else replace(result, label=label)
    factor = scalar_of(factors)
    result = scaled(replace(product, clip=None), factors) if factor is not None and factor > 0.0 else None
    if result is None or factor is None:
        return None
    low, high = (None if bound is None else bound * factor for bound in product.clip)
    return replace(result, clip=(low, high), label=label)


def _same_base(builder: Builder, node: Node, left: Symbol, right: Symbol, shape: tuple[int, ...]) -> Symbol | None:
    """Both operands are functions of the same integer value: so is the result (x * Sigmoid(x))."""
    kinds = (Quantized, Function)
    if not isinstance(left, kinds) or not isinstance(right, kinds) or left.shape != shape or right.shape != shape:
        return None
    names = [symbol.base if isinstance(symbol, Function) else symbol.name for symbol in (left, right)]
    if names[0] != names[1]:
        return None
    base, first = _function(builder, left, node)
    _, second = _function(builder, right, node)
    return Function(node.outputs[0], shape, base, (node.op, first, second), node.name)


def _operation(
    builder: Builder, node: Node, left: Symbol, right: Symbol, constants: list[Array | None], shape: tuple[int, ...]
) -> Symbol:
    """Two tensors; division by a constant tensor is multiplication by its reciprocal."""
    divisor = constants[1]
    if node.op == "Div" and divisor is not None:
        if not np.all(divisor != 0.0):
            raise EspgenError("division by a constant 0", node=node.name, place=node.inputs[1], hint="correct the constant")
        node = replace(node, op="Mul")
        right = Real(f"{node.inputs[1]}/reciprocal", right.shape, 1.0 / divisor)
    for symbol in (left, right):
        if not isinstance(symbol, Real):
            builder.operand(symbol, node)  # refuses what is float at run time here, where the node is known
    return Operation(node.outputs[0], shape, node, (left, right))
