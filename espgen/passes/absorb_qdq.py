"""Source graph -> quantized graph: no QuantizeLinear or DequantizeLinear is left, every activation is an integer value.

Each float value of the source graph is followed as a symbol (absorb_symbols): an integer value read through its scale, a
function of one, or an operation that waits for its QuantizeLinear. What is still float when an integer is needed is an
error that names the node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from espgen.errors import EspgenError
from espgen.ir import DType, Graph, Node, QuantParams, Value
from espgen.ops.expression import BINARY, UNARY, X, apply
from espgen.passes import lower
from espgen.passes.absorb_binary import absorb_binary
from espgen.passes.absorb_builder import MOVEMENTS, UNIT, Builder
from espgen.passes.absorb_inputs import Grid, joint_grid
from espgen.passes.absorb_integers import absorb_integer_product, dequantized_accumulator, read_as
from espgen.passes.absorb_movement import absorb_concat, absorb_movement, absorb_split, move
from espgen.passes.absorb_numbers import dequantized
from espgen.passes.absorb_products import PRODUCTS, make_product
from espgen.passes.absorb_symbols import (
    Clip,
    Function,
    Operation,
    Quantized,
    Real,
    Source,
    Symbol,
    clipped,
    scalar_of,
    through_moves,
)

_KNOWN_RANGES: dict[str, tuple[int, int]] = {"Softmax": (0, 1), "Sigmoid": (0, 1), "HardSigmoid": (0, 1), "Tanh": (-1, 1)}
"""Operators whose results lie in a known range: as graph outputs they need no QuantizeLinear of their own."""

_KEEP_MEANING = {"Max", "Min", "Resize"}
"""Operators whose results, of integers of one scale and zero point, have that scale and zero point."""


def run(graph: Graph) -> Graph:
    """The quantized graph. Raises EspgenError naming node, tensor and remedy for a value that is float at run time.

    Which grids a float input is read in is known at the end: where there are several, all starts again with their joint one.
    """
    builder, result = _absorbed(graph, {})
    shared = {name: joint_grid(name, tuple(grids)) for name, grids in builder.input_grids.items() if len(grids) > 1}
    return _absorbed(graph, shared)[1] if shared else result


def _absorbed(graph: Graph, shared: Mapping[str, Grid]) -> tuple[Builder, Graph]:
    builder = Builder(graph)
    for name, (quant, dtype) in shared.items():
        builder.values[name] = Value(name, graph.value(name).shape, dtype, quant)
    for name in graph.inputs:
        value = graph.value(name)
        if value.dtype.is_float:
            builder.symbols[name] = Source(name, value.shape)
        else:
            builder.values[name] = value
            builder.symbols[name] = Quantized(name, value.shape, name)
    for name, data in graph.constants.items():
        value = graph.value(name)
        if value.dtype.is_float:
            builder.symbols[name] = Real(name, value.shape, data)
        else:
            builder.values[name], builder.constants[name] = value, data
            builder.symbols[name] = Quantized(name, value.shape, name)
    for node in graph.nodes:
        _absorb(builder, node)
    return builder, _finish(builder)


def _absorb(builder: Builder, node: Node) -> None:
    special = _HANDLERS.get(node.op)
    if special is not None:
        special(builder, node)
        return
    operands = [builder.symbols[name] if name else None for name in node.inputs]
    shape = builder.source.value(node.outputs[0]).shape
    symbol: Symbol | None = None
    if node.op == "Gemm" and node.attrs["transA"]:
        node, operands = _untransposed(builder, node, operands)
    if node.op in PRODUCTS:
        symbol = make_product(builder, node, operands, shape)
    elif node.op in BINARY and len(operands) == 2:
        symbol = absorb_binary(builder, node, operands, shape)
    elif node.op in UNARY:
        symbol = _unary(builder, node, operands, shape)
    elif node.op not in lower.lowerings():
        raise lower.unsupported(node)
    _define(builder, node, symbol or Operation(node.outputs[0], shape, node, tuple(operands)))


def _untransposed(builder: Builder, node: Node, operands: list[Symbol | None]) -> tuple[Node, list[Symbol | None]]:
    """Gemm of a transposed first matrix: the transpose becomes a node of its own."""
    first = operands[0]
    assert first is not None
    label = builder.fresh(f"{node.name}/transposed")
    transpose = Node(label, "Transpose", node.inputs[:1], (label,), {"perm": (1, 0)})
    turned = move(builder, transpose, first, (first.shape[1], first.shape[0]))
    return node.with_attrs(transA=0), [turned, *operands[1:]]


def _define(builder: Builder, node: Node, symbol: Symbol) -> None:
    """Record the node's result; results of integer type are integers that mean themselves."""
    output = node.outputs[0]
    value = builder.source.value(output)
    if any(node.outputs[1:]):
        raise EspgenError(
            f"{node.op} with {len(node.outputs)} outputs", node=node.name, place=f"tensor {node.outputs[1]!r}",
            hint="use its first output only",
        )  # fmt: skip
    if value.dtype.is_float:
        builder.symbols[output] = symbol
        return
    name = builder.quantize(symbol, _integer_meaning(builder, node, symbol), value.dtype, output, node)
    builder.symbols[output] = Quantized(output, value.shape, name)


def _integer_meaning(builder: Builder, node: Node, symbol: Symbol) -> QuantParams:
    """What the integers mean that an operator makes from integers: those of its operands, where it selects or averages."""
    operands = symbol.operands if isinstance(symbol, Operation) else ()
    found = {builder.quant(item.name) for item in operands if isinstance(item, Quantized)} - {UNIT}
    if not found:
        return UNIT
    if len(found) > 1 or node.op not in _KEEP_MEANING:
        raise EspgenError(
            f"{node.op} of quantized integers", node=node.name, place=f"tensor {operands[0].label!r}" if operands[0] else None,
            hint="put it between DequantizeLinear and QuantizeLinear",
        )  # fmt: skip
    return found.pop()


def _resize(builder: Builder, node: Node) -> None:
    """Nearest resizing moves elements; any other computes new ones."""
    if node.attrs["mode"] == "nearest":
        absorb_movement(builder, node)
        return
    output = builder.source.value(node.outputs[0])
    operands = tuple(builder.symbols[name] if name else None for name in node.inputs)
    _define(builder, node, Operation(output.name, output.shape, node, operands))


def _quantize_linear(builder: Builder, node: Node) -> None:
    output = builder.source.value(node.outputs[0])
    quant: QuantParams = node.attrs["quant"]
    name = builder.quantize(builder.symbols[node.inputs[0]], quant, output.dtype, output.name, node)
    builder.symbols[output.name] = Quantized(output.name, output.shape, name)


def _dequantize_linear(builder: Builder, node: Node) -> None:
    source = builder.symbols[node.inputs[0]]
    quant: QuantParams = node.attrs["quant"]
    output = builder.source.value(node.outputs[0])
    assert isinstance(source, Quantized)
    product = dequantized_accumulator(builder, source.name, quant, output.name)
    if product is not None:
        builder.symbols[output.name] = product
        return
    name = read_as(builder, source.name, quant, node)
    builder.symbols[output.name] = Quantized(output.name, output.shape, name)


def _clip(builder: Builder, node: Node) -> None:
    """Relu and Clip close to an open operation become its clip; elsewhere they are functions."""
    symbol = builder.symbols[node.inputs[0]]
    bounds: Clip = (0.0, None) if node.op == "Relu" else (node.attrs["min"], node.attrs["max"])
    output = builder.source.value(node.outputs[0])
    low, high = (0.0 if bound is None else bound for bound in bounds)
    if np.isnan(low) or np.isnan(high) or low == np.inf or high == -np.inf:
        raise EspgenError("a bound of Clip is not a number", node=node.name, place="min, max", hint="correct it in the model")
    if isinstance(symbol, Quantized) and not output.dtype.is_float:
        _integer_clip(builder, node, symbol, bounds)
        return
    bounds = tuple(None if bound is None else float(bound) for bound in bounds)  # type: ignore[assignment]
    result = clipped(symbol, bounds, output.name) or _unary(builder, node, [symbol], output.shape)
    _define(builder, node, result)


def _integer_clip(builder: Builder, node: Node, symbol: Quantized, bounds: Clip) -> None:
    """Clip of integers (exporters narrow a range so): the same bounds in real units, the same scale."""
    quant = builder.quant(symbol.name)
    real = tuple(None if bound is None else (bound - quant.zero_point[0]) * quant.scale[0] for bound in bounds)
    function = Function(node.outputs[0], symbol.shape, symbol.name, ("Clip", X, *real), node.name)
    value = builder.source.value(node.outputs[0])
    name = builder.quantize(function, quant, value.dtype, value.name, node)
    builder.symbols[value.name] = Quantized(value.name, value.shape, name)


def _unary(builder: Builder, node: Node, operands: list[Symbol | None], shape: tuple[int, ...]) -> Symbol:
    operand = operands[0]
    assert operand is not None
    output = node.outputs[0]
    integers = not builder.source.value(output).dtype.is_float

    def change(symbol: Symbol) -> Symbol:
        if isinstance(symbol, Function):
            return replace(symbol, expression=apply(node.op, symbol.expression, node.attrs), node=node.name, label=output)
        base = builder.operand(symbol, node)
        if integers and builder.quant(base) != UNIT:
            raise EspgenError(
                f"{node.op} of quantized integers", node=node.name, place=f"tensor {symbol.label!r}",
                hint="put it between DequantizeLinear and QuantizeLinear",
            )  # fmt: skip
        return Function(output, symbol.shape, base, apply(node.op, X, node.attrs), node.name)

    return replace(through_moves(operand, change), label=output)


def _prelu(builder: Builder, node: Node) -> None:
    """PRelu with one slope for all is LeakyRelu."""
    operand, slope = (builder.symbols[name] for name in node.inputs)
    shape = builder.source.value(node.outputs[0]).shape
    data = constant_of(builder, slope)
    if data is None:
        raise EspgenError(
            "the slope of PRelu is computed at run time", node=node.name, place=node.inputs[1], hint="make it a constant"
        )
    alpha = scalar_of(data)
    if alpha is not None:
        leaky = replace(node, op="LeakyRelu", inputs=node.inputs[:1], attrs={"alpha": alpha})
        _define(builder, node, _unary(builder, leaky, [operand], shape))
        return
    _define(builder, node, Operation(node.outputs[0], shape, node, (operand, slope)))


def constant_of(builder: Builder, symbol: Symbol) -> np.ndarray | None:
    """Real values of a constant symbol, None for anything computed at run time."""
    if isinstance(symbol, Real):
        return symbol.data
    if isinstance(symbol, Quantized) and symbol.name in builder.constants:
        return dequantized(builder.constants[symbol.name], builder.quant(symbol.name))
    return None


def _table(builder: Builder, node: Node) -> None:
    """Given entries for the integers themselves: what these mean is no business of the table."""
    output = builder.source.value(node.outputs[0])
    operand = builder.symbols[node.inputs[0]]
    assert isinstance(operand, Quantized)
    attrs = {key: value for key, value in node.attrs.items() if key != "quant"}
    made = builder.declare(output.name, output.shape, output.dtype, node.attrs["quant"])
    builder.emit(node.name, node.op, (operand.name,), (made,), **attrs)
    builder.symbols[output.name] = Quantized(output.name, output.shape, made)


def _identity(builder: Builder, node: Node) -> None:
    builder.symbols[node.outputs[0]] = builder.symbols[node.inputs[0]]


def _cast(builder: Builder, node: Node) -> None:
    """Integers cast to float mean themselves; casts between integer types keep the integers."""
    symbol, value = builder.symbols[node.inputs[0]], builder.source.value(node.outputs[0])
    source = builder.source.value(node.inputs[0]).dtype
    if isinstance(symbol, Quantized) and source.is_integer and value.dtype is not DType.BOOL:
        product = dequantized_accumulator(builder, symbol.name, UNIT, value.name) if value.dtype.is_float else None
        if product is not None:
            builder.symbols[value.name] = product
            return
        if value.dtype.is_float:
            name = read_as(builder, symbol.name, UNIT, node)
        else:
            name = builder.quantize(symbol, builder.quant(symbol.name), value.dtype, value.name, node)
        builder.symbols[value.name] = Quantized(value.name, value.shape, name)
        return
    raise EspgenError(
        f"Cast to {node.attrs['to']} at run time", node=node.name, place=f"tensor {node.inputs[0]!r}",
        hint="use QuantizeLinear to make integers from real values",
    )  # fmt: skip


def _finish(builder: Builder) -> Graph:
    """The graph, its outputs under the names the source graph gives them."""
    _explain_all(builder)
    renamed: dict[str, str] = {}
    names = [_output(builder, output) for output in builder.source.outputs]
    for output, name in zip(builder.source.outputs, names, strict=True):
        if name == output:
            continue
        fixed = name in builder.source.inputs or name in builder.constants or name in builder.source.outputs
        if fixed or name in renamed or output in builder.values:
            held = renamed.get(name, name)
            builder.values[output] = replace(builder.values[held], name=output)
            builder.emit(f"{output}/copy", "Requantize", (held,), (output,))
            continue
        renamed[name] = output
        builder.values[output] = replace(builder.values.pop(name), name=output)
        for index, node in enumerate(builder.nodes):
            if name in node.inputs or name in node.outputs:
                builder.nodes[index] = _with_name(node, name, output)
    return _graph(builder)


_ACTIVATION_TYPES = (DType.INT8, DType.UINT8, DType.INT16, DType.UINT16)


def _explain_all(builder: Builder) -> None:
    """Every 8- and 16-bit value says what its integers mean: as what it was moved from, or else themselves."""
    for node in builder.nodes:
        if node.op not in (*MOVEMENTS, "Resize"):
            continue
        quant = builder.values[node.inputs[0]].quant
        for name in node.outputs:
            if name and quant is not None and builder.values[name].quant is None:
                builder.values[name] = replace(builder.values[name], quant=quant)
    for name, value in builder.values.items():
        if value.quant is None and value.dtype in _ACTIVATION_TYPES:
            builder.values[name] = replace(value, quant=UNIT)


def _with_name(node: Node, old: str, new: str) -> Node:
    inputs = tuple(new if name == old else name for name in node.inputs)
    return replace(node, inputs=inputs, outputs=tuple(new if name == old else name for name in node.outputs))


def _output(builder: Builder, output: str) -> str:
    symbol = builder.symbols[output]
    reader = Node("graph output", "the graph output", (output,), ())
    if isinstance(symbol, Quantized):
        accumulators = builder.values[symbol.name].quant is None
        return symbol.name if accumulators else builder.operand(symbol, reader)
    limits = _KNOWN_RANGES.get(symbol.node.op) if isinstance(symbol, Operation) else None
    dtype = None
    if isinstance(symbol, Function):
        limits, dtype = _KNOWN_RANGES.get(symbol.expression[0]), builder.values[symbol.base].dtype
    elif isinstance(symbol, Operation) and isinstance(symbol.operands[0], Quantized):
        dtype = builder.values[symbol.operands[0].name].dtype
    if limits is None or dtype is None or dtype.size > 2:
        return builder.operand(symbol, reader)
    steps = 1 + dtype.maximum - dtype.minimum
    middle = dtype.minimum if limits[0] == 0 else (dtype.minimum + dtype.maximum + 1) // 2
    quant = QuantParams.tensor((limits[1] - limits[0]) / steps, middle)
    return builder.quantize(symbol, quant, dtype, output, reader)


def _graph(builder: Builder) -> Graph:
    source = builder.source
    for name in source.inputs:
        if name not in builder.values:
            raise EspgenError(
                f"graph input {name!r} is never quantized",
                place=f"tensor {name!r}",
                hint="remove the unused input from the model",
            )
    empty = Graph(source.name, source.inputs, source.outputs, (), builder.values, builder.constants)
    return empty.updated(nodes=_needed(builder.nodes, source.outputs))


def _needed(nodes: list[Node], outputs: tuple[str, ...]) -> list[Node]:
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted & set(node.outputs):
            wanted.update(node.inputs)
            kept.append(node)
    return kept[::-1]


_HANDLERS: dict[str, Callable[[Builder, Node], None]] = {
    **dict.fromkeys(MOVEMENTS, absorb_movement),
    "Cast": _cast,
    "Clip": _clip,
    "Concat": absorb_concat,
    "ConvInteger": absorb_integer_product,
    "DequantizeLinear": _dequantize_linear,
    "Identity": _identity,
    "MatMulInteger": absorb_integer_product,
    "PRelu": _prelu,
    "QuantizeLinear": _quantize_linear,
    "Relu": _clip,
    "Resize": _resize,
    "Split": absorb_split,
    "Table": _table,
}

HANDLED = frozenset(_HANDLERS)
"""Operators that are absorbed here, whether or not one of them is lowered by name."""
