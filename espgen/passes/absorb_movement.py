"""Data movements: on integers they inherit the scale, on open operations they commute with quantization."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from espgen.errors import EspgenError
from espgen.ir import Node
from espgen.passes.absorb_builder import Builder
from espgen.passes.absorb_numbers import moved_constant
from espgen.passes.absorb_symbols import Move, Operation, Quantized, Real, Symbol


def absorb_movement(builder: Builder, node: Node) -> None:
    """Movements with one data operand (MOVEMENTS of absorb_builder, and nearest Resize)."""
    if any(node.outputs[1:]):
        raise EspgenError(
            f"{node.op} with a second output",
            node=node.name,
            place=f"tensor {node.outputs[1]!r}",
            hint="use its first output only",
        )
    for name in node.inputs[1:]:
        if name and not builder.source.is_constant(name):
            raise EspgenError(
                f"{node.op} by values known only at run time", node=node.name, place=name, hint="make them constant"
            )
    output = builder.source.value(node.outputs[0])
    builder.symbols[output.name] = move(builder, node, builder.symbols[node.inputs[0]], output.shape)


def move(builder: Builder, node: Node, symbol: Symbol, shape: tuple[int, ...]) -> Symbol:
    """The symbol behind the movement `node`, whose first output of `shape` it describes."""
    output = node.outputs[0]
    if isinstance(symbol, Real):
        data, _ = moved_constant(node, symbol.data, None, shape)
        return Real(output, shape, data)
    if not isinstance(symbol, Quantized) or _pads_between_steps(builder, node, symbol.name):
        return Move(output, shape, node, (symbol,))
    value = builder.values[symbol.name]
    if symbol.name in builder.constants:
        data, quant = moved_constant(node, builder.constants[symbol.name], value.quant, shape)
        return Quantized(output, shape, builder.add_constant(output, data, quant))
    if value.quant is not None:
        builder.operand(symbol, node)  # refuses scales per channel
    result = builder.declare(output, shape, value.dtype, value.quant)
    builder.emit(node.name, node.op, (symbol.name, *node.inputs[1:]), (result,), **_attrs(builder, node, symbol.name))
    return Quantized(output, shape, result)


def _pads_between_steps(builder: Builder, node: Node, source: str) -> bool:
    """Whether a Pad's finite constant is none of the source's integers, so that it has to wait for the result's scale."""
    if node.op != "Pad" or node.attrs["mode"] != "constant" or source in builder.constants:
        return False
    if not builder.source.value(node.inputs[0]).dtype.is_float:
        return False  # the constant is an integer of the source's type
    quant, real = builder.values[source].quant, float(node.attrs["value"])
    if quant is None or not quant.per_tensor or not np.isfinite(real):
        return False
    steps, dtype = real / quant.scale[0] + quant.zero_point[0], builder.values[source].dtype
    return not (dtype.minimum <= steps <= dtype.maximum and abs(steps - round(steps)) < 1e-3)


def _attrs(builder: Builder, node: Node, source: str) -> dict[str, object]:
    """Attributes with the padding value in real units, also where the model pads integers."""
    attrs = dict(node.attrs)
    integers = node.op == "Pad" and not builder.source.value(node.inputs[0]).dtype.is_float
    if integers and attrs["mode"] == "constant":
        quant = builder.quant(source)
        attrs["value"] = (attrs["value"] - quant.zero_point[0]) * quant.scale[0]
    return attrs


def absorb_split(builder: Builder, node: Node) -> None:
    """Split of integers stays one node; of an open operation, or of a constant, every part is a Slice."""
    symbol = builder.symbols[node.inputs[0]]
    axis, sizes = node.attrs["axis"], node.attrs["sizes"]
    if isinstance(symbol, Quantized) and symbol.name not in builder.constants:
        value = builder.values[symbol.name]
        results = []
        for index, output in enumerate(node.outputs):
            shape = tuple(sizes[index] if position == axis else extent for position, extent in enumerate(symbol.shape))
            results.append(builder.declare(output, shape, value.dtype, value.quant) if output else "")
            if output:
                builder.symbols[output] = Quantized(output, shape, results[-1])
        builder.emit(node.name, "Split", (symbol.name,), tuple(results), **node.attrs)
        return
    start = 0
    for index, (output, size) in enumerate(zip(node.outputs, sizes, strict=False)):
        rank = len(symbol.shape)
        starts = tuple(start if position == axis else 0 for position in range(rank))
        ends = tuple(start + size if position == axis else extent for position, extent in enumerate(symbol.shape))
        attrs = {"starts": starts, "ends": ends, "axes": tuple(range(rank)), "steps": (1,) * rank}
        start += size
        if output:
            part = Node(f"{node.name}/{index}", "Slice", node.inputs[:1], (output,), attrs)
            shape = builder.source.value(output).shape
            builder.symbols[output] = move(builder, part, symbol, shape)


def absorb_concat(builder: Builder, node: Node) -> None:
    """Concat: of integers with one scale a movement, with several an operation; open operands take the result's scale."""
    operands = [builder.symbols[name] for name in node.inputs]
    output = builder.source.value(node.outputs[0])
    if all(isinstance(operand, Real) for operand in operands):
        data = np.concatenate([operand.data for operand in operands if isinstance(operand, Real)], node.attrs["axis"])
        builder.symbols[output.name] = Real(output.name, output.shape, data)
        return
    names = [operand.name for operand in operands if isinstance(operand, Quantized)]
    if len(names) < len(operands):
        builder.symbols[output.name] = Move(output.name, output.shape, node, tuple(operands))
        return
    values = [builder.values[name] for name in names]
    if len({(value.quant, value.dtype) for value in values}) == 1:
        result = builder.declare(output.name, output.shape, values[0].dtype, values[0].quant)
        builder.emit(node.name, "Concat", tuple(names), (result,), **node.attrs)
        builder.symbols[output.name] = Quantized(output.name, output.shape, result)
        return
    if not output.dtype.is_float:
        raise EspgenError(
            "Concat of integers with different scales", node=node.name, place=f"tensor {output.name!r}",
            hint="put it between DequantizeLinear and QuantizeLinear",
        )  # fmt: skip
    builder.symbols[output.name] = Operation(output.name, output.shape, node, tuple(operands))


def reshaped(symbol: Symbol, shape: tuple[int, ...], node: Node) -> Symbol:
    """`symbol` with ones in front of its shape, as broadcasting against a constant of higher rank gives it."""
    if symbol.shape == shape:
        return symbol
    reshape = Node(f"{node.name}/reshape", "Reshape", (symbol.label,), (symbol.label,), {})
    return Move(symbol.label, shape, reshape, (replace(symbol, label=f"{symbol.label}/flat"),))
