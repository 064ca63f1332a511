"""Real functions of one real variable as nested tuples: what a table for an elementwise operator is computed from.

    ("x",)                                the variable
    ("const", 0.5)                        a constant
    ("Mul", ("x",), ("Sigmoid", ("x",)))  an ONNX operator applied to expressions
    ("LeakyRelu", ("x",), 0.01)           attributes follow the operands, in the order of `ATTRIBUTES`
    ("quantized", ("x",), 0.5, 3, 0, 127) rounded to scale * (integer - zero point) with integers from low to high

`evaluate` computes in float64; `evaluate_single` rounds every operation to float32, as the engines that run the ONNX model do. An
expression is a graph: x * Sigmoid(x) of x * Sigmoid(x) has its operand once and refers to it twice. So whatever walks one visits
every part once (`parts`): as a tree, its size doubles with every step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from espgen.errors import EspgenError
from espgen.ir.walk import operands_first

Array = npt.NDArray[np.float64]
Expression = tuple[Any, ...]
Rounding = Callable[[Array], Array]

X: Expression = ("x",)

ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "Celu": ("alpha",),
    "Clip": ("min", "max"),
    "Elu": ("alpha",),
    "Gelu": ("approximate",),
    "HardSigmoid": ("alpha", "beta"),
    "LeakyRelu": ("alpha",),
    "Selu": ("alpha", "gamma"),
    "Shrink": ("lambd", "bias"),
    "Swish": ("alpha",),
    "ThresholdedRelu": ("alpha",),
}
"""Operator -> the ONNX attributes that follow its operand."""


def _erf(x: Array) -> Array:
    return np.array([math.erf(value) for value in x.reshape(-1)], dtype=np.float64).reshape(x.shape)


def _sigmoid(x: Array) -> Array:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0 / (1.0 + small), small / (1.0 + small))


def _softplus(x: Array) -> Array:
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


def _gelu(x: Array, approximate: str) -> Array:
    if approximate == "tanh":
        return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1.0 + _erf(x / math.sqrt(2.0)))


def _clip(x: Array, low: float | None, high: float | None) -> Array:
    return np.clip(x, -np.inf if low is None else low, np.inf if high is None else high)


def _shrink(x: Array, lambd: float, bias: float) -> Array:
    return np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, 0.0))


UNARY: Mapping[str, Callable[..., Array]] = {
    "Abs": np.abs,
    "Acos": np.arccos,
    "Acosh": np.arccosh,
    "Asin": np.arcsin,
    "Asinh": np.arcsinh,
    "Atan": np.arctan,
    "Atanh": np.arctanh,
    "Ceil": np.ceil,
    "Celu": lambda x, alpha: np.maximum(x, 0.0) + np.minimum(0.0, alpha * np.expm1(np.minimum(x, 0.0) / alpha)),
    "Clip": _clip,
    "Cos": np.cos,
    "Cosh": np.cosh,
    "Elu": lambda x, alpha: np.where(x < 0, alpha * np.expm1(np.minimum(x, 0.0)), x),
    "Erf": _erf,
    "Exp": np.exp,
    "Floor": np.floor,
    "Gelu": _gelu,
    "HardSigmoid": lambda x, alpha, beta: np.clip(alpha * x + beta, 0.0, 1.0),
    "HardSwish": lambda x: x * np.clip(x / 6.0 + 0.5, 0.0, 1.0),
    "LeakyRelu": lambda x, alpha: np.where(x < 0, alpha * x, x),
    "Log": np.log,
    "Mish": lambda x: x * np.tanh(_softplus(x)),
    "Neg": np.negative,
    "Reciprocal": lambda x: 1.0 / x,
    "Relu": lambda x: np.maximum(x, 0.0),
    "Round": np.rint,
    "Selu": lambda x, alpha, gamma: gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0))),
    "Shrink": _shrink,
    "Sigmoid": _sigmoid,
    "Sign": np.sign,
    "Sin": np.sin,
    "Sinh": np.sinh,
    "Softplus": _softplus,
    "Softsign": lambda x: x / (1.0 + np.abs(x)),
    "Sqrt": np.sqrt,
    "Swish": lambda x, alpha: x * _sigmoid(alpha * x),
    "Tan": np.tan,
    "Tanh": np.tanh,
    "ThresholdedRelu": lambda x, alpha: np.where(x > alpha, x, 0.0),
}
"""Operators of one operand."""

BINARY: Mapping[str, Callable[[Array, Array], Array]] = {
    "Add": np.add,
    "Div": np.divide,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mul": np.multiply,
    "Pow": np.power,
    "Sub": np.subtract,
}
"""Operators of two operands."""

STEPS = frozenset({"Ceil", "Floor", "Round", "Sign"})
"""Operators with integer results."""


def evaluate(expression: Expression, x: npt.NDArray[Any]) -> Array:
    """The expression's value for every element of `x` (any shape), in float64; not-a-number counts as 0.

    Infinities stay, so that a following saturation finds them. Raises EspgenError for an unknown operator.
    """
    return _evaluated(expression, x, _double)


def evaluate_single(expression: Expression, x: npt.NDArray[Any]) -> Array:
    """As `evaluate`, with the variable, the constants and every operation's result rounded to float32 (held in float64)."""
    return _evaluated(expression, x, _single)


def _double(x: Array) -> Array:
    return x


def _single(x: Array) -> Array:
    return x.astype(np.float32).astype(np.float64)


def _evaluated(expression: Expression, x: npt.NDArray[Any], rounded: Rounding) -> Array:
    with np.errstate(all="ignore"):
        result = np.broadcast_to(_evaluate(expression, rounded(np.asarray(x, np.float64)), rounded), np.shape(x))
    return np.where(np.isnan(result), 0.0, result)


def parts(expression: Expression) -> list[Expression]:
    """Every different part of the expression once, operands before what is made of them, itself at the end."""
    return operands_first(expression, _operands)


def _operands(part: Expression) -> list[Expression]:
    return [item for item in part if isinstance(item, tuple)]


def _evaluate(expression: Expression, x: Array, rounded: Rounding) -> Array:
    """Part by part; a value is kept until its last reader has had it."""
    order = parts(expression)
    readers: dict[int, int] = {}
    for part in order:
        for operand in _operands(part):
            readers[id(operand)] = readers.get(id(operand), 0) + 1
    values: dict[int, Array] = {}
    for part in order:
        operands = _operands(part)
        values[id(part)] = rounded(_value(part, [values[id(operand)] for operand in operands], x, rounded))
        for operand in operands:
            readers[id(operand)] -= 1
            if readers[id(operand)] == 0:
                del values[id(operand)]
    return values[id(expression)]


def _value(part: Expression, operands: Sequence[Array], x: Array, rounded: Rounding) -> Array:
    """The value, before rounding, of a part whose operands have the values `operands`."""
    head = part[0]
    if head == "x":
        return x
    if head == "const":
        return np.asarray(part[1], np.float64)
    if head == "quantized":
        scale, zero_point, low, high = part[2:]
        quotient = rounded(np.asarray(operands[0] / rounded(np.asarray(scale, np.float64))))
        steps = np.rint(np.nan_to_num(quotient, posinf=1e30, neginf=-1e30))
        return np.asarray((np.clip(steps + zero_point, low, high) - zero_point) * scale, np.float64)
    if head in BINARY:
        return np.asarray(BINARY[head](operands[0], operands[1]))
    if head in UNARY:
        return np.asarray(UNARY[head](operands[0], *part[2:]))
    raise EspgenError(f"no elementwise function is called {head!r}", hint="replace it by operators ONNX defines")


def has_steps_only(expression: Expression) -> bool:
    """Whether the variable reaches the result only through functions with integer results: it is constant between jumps."""
    found: dict[int, bool] = {}
    for part in parts(expression):
        constant = part[0] == "const" or part[0] in STEPS
        found[id(part)] = constant or (part[0] != "x" and all(found[id(operand)] for operand in _operands(part)))
    return found[id(expression)]


def substitute(expression: Expression, operand: Expression) -> Expression:
    """The expression with `operand` in place of the variable."""
    made: dict[int, Expression] = {}
    for part in parts(expression):
        changed = tuple(made[id(item)] if isinstance(item, tuple) else item for item in part)
        made[id(part)] = operand if part == X else changed
    return made[id(expression)]


def apply(op: str, operand: Expression, attrs: Mapping[str, Any]) -> Expression:
    """The expression `op(operand)` with the operator's ONNX attributes."""
    return (op, operand, *(attrs.get(name) for name in ATTRIBUTES.get(op, ())))


FUNCTIONS: frozenset[str] = frozenset(UNARY) | frozenset(BINARY)
"""Every operator an expression may hold."""
