"""The quantized graph as it grows: integer values, constants and nodes, and how a symbol becomes one of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from espgen.errors import EspgenError
from espgen.ir import DType, Graph, Node, QuantParams, Value
from espgen.ops.expression import Expression, X, has_steps_only
from espgen.passes.absorb_inputs import Grid
from espgen.passes.absorb_numbers import Array, dequantized, quantized
from espgen.passes.absorb_products import emit_product
from espgen.passes.absorb_ranges import Range, real_range, unsaturated
from espgen.passes.absorb_symbols import (
    Clip,
    Function,
    Move,
    Operation,
    Product,
    Quantized,
    Real,
    Source,
    Symbol,
    clipped,
    intersect,
    not_quantized,
)

_FINER = 128
"""Steps of a 16-bit intermediate in one 8-bit step: twice the 8-bit range fits."""

UNIT = QuantParams.tensor(1.0)
"""What integers mean that no DequantizeLinear explains: themselves."""


@dataclass
class Builder:
    """Nodes, values and constants of the quantized graph; `symbols` maps source values to what they stand for."""

    source: Graph
    symbols: dict[str, Symbol] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    done: dict[tuple[int, QuantParams, DType], str] = field(default_factory=dict)
    kept: list[Symbol] = field(default_factory=list)
    node_names: set[str] = field(default_factory=set)
    widened: dict[str, Symbol] = field(default_factory=dict)
    accumulators: dict[str, Product] = field(default_factory=dict)
    input_grids: dict[str, dict[Grid, None]] = field(default_factory=dict)

    # Values and nodes.

    def fresh(self, wanted: str) -> str:
        """A value name that neither the new graph nor a float value of the source graph has."""
        name, count = wanted, 1
        while name in self.values:
            count += 1
            name = f"{wanted}_{count}"
        return name

    def declare(self, name: str, shape: tuple[int, ...], dtype: DType, quant: QuantParams | None) -> str:
        unique = self.fresh(name)
        self.values[unique] = Value(unique, shape, dtype, quant)
        return unique

    def add_constant(self, name: str, data: Array, quant: QuantParams | None) -> str:
        unique = self.declare(name, tuple(data.shape), DType.of(data), quant)
        self.constants[unique] = np.array(data)
        return unique

    def emit(self, name: str, op: str, inputs: tuple[str, ...], outputs: tuple[str, ...], **attrs: object) -> None:
        unique, count = name, 1
        while unique in self.node_names:
            count += 1
            unique = f"{name}_{count}"
        self.node_names.add(unique)
        self.nodes.append(Node(unique, op, inputs, outputs, attrs))

    def quant(self, name: str) -> QuantParams:
        """QuantParams of an integer value; integers that nothing explains mean themselves."""
        value = self.values[name]
        if value.quant is None:
            self.explain(name, UNIT)
        return self.values[name].quant or UNIT

    def explain(self, name: str, quant: QuantParams) -> None:
        """Say what the integers of a value mean, also of those it was moved from."""
        if self.values[name].quant is not None or self.values[name].dtype is DType.BOOL:
            return
        self.values[name] = replace(self.values[name], quant=quant)
        for node in self.nodes:
            if name in node.outputs and node.op in (*MOVEMENTS, "Concat", "Resize"):
                for operand in node.inputs:
                    if operand and operand not in self.constants and quant.per_tensor:
                        self.explain(operand, quant)

    # Symbols to integer values.

    def operand(self, symbol: Symbol, reader: Node) -> str:
        """The integer value a symbol is, or becomes; EspgenError where it is float at run time and nothing bounds it.

        A bare Relu or Clip of an integer value keeps that value's scale. An open result of 8-bit operands that the model
        leaves unquantized is held in 16 bits, with the range its operands prove.
        """
        if isinstance(symbol, Function) and symbol.expression[0] in ("Relu", "Clip") and symbol.expression[1] == X:
            base = self.values[symbol.base]
            return self.quantize(symbol, self.quant(symbol.base), base.dtype, symbol.label, reader)
        if isinstance(symbol, Quantized):
            if not self.quant(symbol.name).per_tensor and symbol.name not in self.constants:
                raise EspgenError(
                    f"activation {symbol.label!r} is quantized per channel",
                    node=reader.name,
                    place=f"tensor {symbol.label!r}",
                    hint="quantize activations per tensor; only weights may have one scale per channel",
                )
            return symbol.name
        bounds = real_range(self, symbol)
        if bounds is None:
            raise not_quantized(symbol, reader)
        return self._widened(symbol, bounds, reader)

    def _widened(self, symbol: Symbol, bounds: Range, reader: Node) -> str:
        largest = max(abs(bounds[0]), abs(bounds[1]), float(np.finfo(np.float32).tiny))
        quant = QuantParams.tensor(largest / DType.INT16.maximum)
        name = self.quantize(symbol, quant, DType.INT16, symbol.label, reader)
        self.widened[name] = symbol
        return name

    def quantize(self, symbol: Symbol, quant: QuantParams, dtype: DType, name: str, reader: Node) -> str:
        """The integer value that holds `symbol` in `quant`; its name is `name` where it has to be made."""
        key = (id(symbol), quant, dtype)
        if key not in self.done:
            self.kept.append(symbol)
            self.done[key] = self._quantize(symbol, quant, dtype, name, reader)
        return self.done[key]

    def _quantize(self, symbol: Symbol, quant: QuantParams, dtype: DType, name: str, reader: Node) -> str:
        if isinstance(symbol, Real):
            return self.add_constant(name, quantized(symbol.data, quant, dtype), quant)
        if not quant.per_tensor:
            raise EspgenError(
                f"{symbol.label!r} is quantized per channel at run time",
                node=reader.name,
                place=f"tensor {symbol.label!r}",
                hint="quantize activations per tensor; only weights may have one scale per channel",
            )
        if isinstance(symbol, Quantized):
            return self._requantize(symbol, quant, dtype, name, reader)
        if isinstance(symbol, Source):
            return self._quantize_input(symbol, quant, dtype, name, reader)
        result = self.declare(name, symbol.shape, dtype, quant)
        if isinstance(symbol, Function):
            self._emit_function(symbol, result)
        elif isinstance(symbol, Product):
            emit_product(self, symbol, result)
        elif isinstance(symbol, Operation):
            self._emit_operation(symbol, quant, result)
        elif isinstance(symbol, Move):
            operands = [self.quantize(item, quant, dtype, item.label, symbol.node) for item in symbol.operands]
            parameters = symbol.node.inputs[len(operands) :]  # constants, such as the indices of Gather
            self.emit(symbol.node.name, symbol.node.op, (*operands, *parameters), (result,), **symbol.node.attrs)
        return result

    def _requantize(self, symbol: Quantized, quant: QuantParams, dtype: DType, name: str, reader: Node) -> str:
        value = self.values[symbol.name]
        old = self.quant(symbol.name)
        if old == quant and value.dtype is dtype:
            return symbol.name
        if symbol.name in self.constants:
            real = dequantized(self.constants[symbol.name], old)
            return self.add_constant(name, quantized(real, quant, dtype), quant)
        self.operand(symbol, reader)
        result = self.declare(name, symbol.shape, dtype, quant)
        self.emit(reader.name, "Requantize", (symbol.name,), (result,))
        return result

    def _quantize_input(self, symbol: Source, quant: QuantParams, dtype: DType, name: str, reader: Node) -> str:
        self.input_grids.setdefault(symbol.label, {})[quant, dtype] = None
        known = self.values.get(symbol.label)
        if known is not None:
            wanted = f"{symbol.label}_q" if name == symbol.label else name
            return self._requantize(Quantized(symbol.label, symbol.shape, symbol.label), quant, dtype, wanted, reader)
        self.values[symbol.label] = Value(symbol.label, symbol.shape, dtype, quant)
        return symbol.label

    def _emit_function(self, symbol: Function, result: str) -> None:
        """A table, or where it only clips a Requantize, which is exact for 16 bits, too."""
        bounds = clip_of(symbol.expression)
        if bounds is not None:
            self.emit(symbol.node, "Requantize", (symbol.base,), (result,), clip=bounds)
            return
        base = symbol.base
        if base in self.widened:
            needed = unsaturated(symbol.expression, self.values[base], self.values[result])
            base = self._limited(base, needed, Node(symbol.node, "Unary", (base,), (result,)))
        value = self.values[result]
        if self.values[base].dtype.size <= value.dtype.size or has_steps_only(symbol.expression):
            self.emit(symbol.node, "Unary", (base,), (result,), expression=symbol.expression)
            return
        # A table of 16-bit values interpolates between its entries: 8-bit entries would be rounded twice.
        finer = QuantParams.tensor(value.scale / _FINER, value.zero_point * _FINER)
        wide = DType.INT16 if value.dtype is DType.INT8 else DType.UINT16
        middle = self.declare(f"{symbol.label}/{wide.value}", value.shape, wide, finer)
        self.emit(symbol.node, "Unary", (base,), (middle,), expression=symbol.expression)
        self.emit(f"{symbol.node}/round", "Requantize", (middle,), (result,))

    def _limited(self, name: str, needed: Range, reader: Node) -> str:
        """A value whose range was espgen's own choice, in the finer steps of the part of it that its reader needs."""
        source = self.widened.get(name)
        bounds = None if source is None else real_range(self, source)
        if source is None or bounds is None or max(map(abs, needed)) >= max(map(abs, bounds)):
            return name
        cut = clipped(source, needed, f"{source.label}/limited")
        return name if cut is None else self._widened(cut, needed, reader)

    def _emit_operation(self, symbol: Operation, quant: QuantParams, result: str) -> None:
        names = []
        for operand in symbol.operands:
            if operand is None:
                names.append("")
            elif isinstance(operand, Real):
                names.append(self._quantized_constant(operand, symbol))
            else:
                names.append(self.operand(operand, symbol.node))
        attrs = dict(symbol.node.attrs)
        if symbol.clip is not None:
            attrs["clip"] = symbol.clip
        if symbol.node.op in ("Add", "Sub") and len(names) == 2:
            names = self._limited_terms(symbol, names, result)
        self.emit(symbol.node.name, symbol.node.op, tuple(names), (result,), **attrs)

    def _limited_terms(self, symbol: Operation, names: list[str], result: str) -> list[str]:
        """Terms of a sum, those of espgen's own range cut to where the sum does not saturate anyway."""
        value = self.values[result]
        reach = [(limit - value.zero_point) * value.scale for limit in (value.dtype.minimum - 1, value.dtype.maximum + 1)]
        first, second = (real_range(self, Quantized(name, (), name)) for name in names)
        if first is None or second is None:
            return names
        (first_low, first_high), (second_low, second_high) = first, second
        if symbol.node.op == "Add":
            needed = [(reach[0] - second_high, reach[1] - second_low), (reach[0] - first_high, reach[1] - first_low)]
        else:
            needed = [(reach[0] + second_low, reach[1] + second_high), (first_low - reach[1], first_high - reach[0])]
        for index in (0, 1):
            if names[index] in self.widened and names[1 - index] not in self.widened:
                names[index] = self._limited(names[index], needed[index], symbol.node)
        return names

    def _quantized_constant(self, operand: Real, symbol: Operation) -> str:
        """A float constant next to integers: symmetric int16, or int8 where that holds the same numbers.

        Eight bits for a constant the model keeps in float would change more results than all other roundings together.
        """
        if not np.all(np.isfinite(operand.data)):
            raise EspgenError(
                f"constant {operand.label!r} is not finite",
                node=symbol.node.name,
                place=f"tensor {operand.label!r}",
                hint="correct it in the model",
            )
        largest = max(float(np.max(np.abs(operand.data), initial=0.0)), float(np.finfo(np.float32).tiny))
        short = QuantParams.tensor(largest / DType.INT8.maximum)
        held = dequantized(quantized(operand.data, short, DType.INT8), short)
        if np.allclose(held, operand.data, rtol=0.0, atol=largest * 1e-6):
            return self.quantize(operand, short, DType.INT8, operand.label, symbol.node)
        scale = QuantParams.tensor(largest / DType.INT16.maximum)
        return self.quantize(operand, scale, DType.INT16, operand.label, symbol.node)


MOVEMENTS = {
    "DepthToSpace", "Expand", "Gather", "GlobalMaxPool", "MaxPool", "Pad", "ReduceMax", "ReduceMin", "Reshape", "Slice",
    "SpaceToDepth", "Split", "Tile", "Transpose",
}  # fmt: skip
"""Operators of one operand that move or select elements: they commute with quantization."""


def clip_of(expression: Expression) -> Clip | None:
    """Bounds of an expression that is nothing but Relu and Clip of the variable, None for any other."""
    bounds: list[Clip] = []
    while expression != X:
        if expression[0] not in ("Relu", "Clip"):
            return None
        bounds.append((0.0, None) if expression[0] == "Relu" else (expression[2], expression[3]))
        expression = expression[1]
    result: Clip = (None, None)
    for item in reversed(bounds):
        result = intersect(result, item)
    return result
