"""What a float value of the source graph stands for, while its quantization is still open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from espgen.errors import EspgenError
from espgen.ir import Node, QuantParams
from espgen.ir.walk import operands_first
from espgen.ops.expression import Expression

Array = npt.NDArray[Any]
Clip = tuple[float | None, float | None]


@dataclass(frozen=True, eq=False)
class Symbol:
    """`label` is the float value's name in the source graph, `shape` its shape."""

    label: str
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Quantized(Symbol):
    """Integer value `name` of the new graph (a run-time value or a constant), read with its own QuantParams."""

    name: str


@dataclass(frozen=True, eq=False)
class Real(Symbol):
    """A float constant."""

    data: Array


@dataclass(frozen=True, eq=False)
class Source(Symbol):
    """A float input of the graph."""


@dataclass(frozen=True, eq=False)
class Function(Symbol):
    """An elementwise function of one integer value; `node` names the operator that finished it."""

    base: str
    expression: Expression
    node: str


@dataclass(frozen=True, eq=False)
class Operation(Symbol):
    """An operator on integer values whose result awaits its QuantizeLinear."""

    node: Node
    operands: tuple[Symbol | None, ...]
    clip: Clip | None = None


@dataclass(frozen=True, eq=False)
class Product(Symbol):
    """Conv, ConvTranspose, Gemm or MatMul by constant integers: weights and bias still move with what follows.

    `weights` are integers that mean quant.scale * (w - quant.zero_point); `bias` is real, float64, one per output channel.
    """

    node: Node
    x: str
    weights: Array
    quant: QuantParams
    channel_axis: int
    channels: int
    bias: Array | None
    weights_name: str
    clip: Clip | None = None


@dataclass(frozen=True, eq=False)
class Move(Symbol):
    """A data movement of values that are not quantized yet: it commutes with quantization."""

    node: Node
    operands: tuple[Symbol, ...]


def intersect(old: Clip | None, new: Clip) -> Clip:
    """Clipping first to `old`, then to `new`."""
    low, high = old or (None, None)
    below, above = new

    def inside(value: float | None) -> float | None:
        if value is None:
            return None
        if below is not None:
            value = max(value, below)
        return value if above is None else min(value, above)

    return (below if low is None else inside(low), above if high is None else inside(high))


def clipped(symbol: Symbol, bounds: Clip, label: str) -> Symbol | None:
    """The symbol behind a Relu or Clip, None where it isn't an open operation."""
    changed: dict[int, Symbol | None] = {}
    for part in moved_parts(symbol):
        changed[id(part)] = _clipped(part, bounds, changed)
    result = changed[id(symbol)]
    return None if result is None else replace(result, label=label)


def _clipped(symbol: Symbol, bounds: Clip, changed: Mapping[int, Symbol | None]) -> Symbol | None:
    if isinstance(symbol, Operation | Product):
        return replace(symbol, clip=intersect(symbol.clip, bounds))
    if not isinstance(symbol, Move):
        return None
    operands = [changed[id(operand)] for operand in symbol.operands]
    if any(operand is None for operand in operands):
        return None
    node = symbol.node
    if node.op == "Pad":
        low, high = intersect((float(node.attrs["value"]), float(node.attrs["value"])), bounds)
        node = node.with_attrs(value=low if low is not None else high)
    return replace(symbol, node=node, operands=tuple(operand for operand in operands if operand))


def through_moves(symbol: Symbol, change: Callable[[Symbol], Symbol]) -> Symbol:
    """`change` applied to what lies below data movements."""
    changed: dict[int, Symbol] = {}
    for part in moved_parts(symbol):
        if isinstance(part, Move):
            changed[id(part)] = replace(part, operands=tuple(changed[id(operand)] for operand in part.operands))
        else:
            changed[id(part)] = change(part)
    return changed[id(symbol)]


def moved_parts(symbol: Symbol) -> list[Symbol]:
    """The symbol and what lies below data movements, each once, operands first: movements of one operand may join again."""
    return operands_first(symbol, lambda part: part.operands if isinstance(part, Move) else ())


def not_quantized(symbol: Symbol, reader: Node) -> EspgenError:
    """The error for a float value that `reader` needs at run time."""
    if isinstance(symbol, Source):
        return EspgenError(
            f"graph input {symbol.label!r} is float and goes into {reader.op} unquantized",
            node=reader.name,
            place=f"tensor {symbol.label!r}",
            hint="complete the model with `espgen convert --data`, or quantize the float model with `espgen quantize`",
        )
    maker = symbol.node if isinstance(symbol, Operation | Product | Move) else None
    name = maker.name if isinstance(maker, Node) else reader.name
    what = f"the output of {maker.op}" if isinstance(maker, Node) else "a value"
    return EspgenError(
        f"{what} is not quantized before {reader.op} ({reader.name}) reads it",
        node=name,
        place=f"tensor {symbol.label!r}",
        hint="complete the model with `espgen convert --data`, or quantize the float model with `espgen quantize`",
    )


def scalar_of(data: Array) -> float | None:
    """The number all elements of a constant are equal to, or None."""
    if data.size == 0:
        return None
    first = data.reshape(-1)[0]
    return float(first) if data.size == 1 or bool(np.all(data == first)) else None
