"""Operators that work element by element, and ESP-DL's look-up tables."""

from __future__ import annotations

import numpy as np

from espgen.frontend.espdl.model import Node
from espgen.frontend.espdl.translation import (
    Axes,
    Translation,
    View,
    attribute_text,
    channels_first,
    channels_last,
    fault,
    identity,
    inverse,
)

UNARY_ATTRIBUTES = {"Elu": ("alpha",), "HardSigmoid": ("alpha", "beta"), "LeakyRelu": ("alpha",), "Swish": ("alpha",)}
"""Operator -> its attributes of real numbers in ONNX."""


def unary(state: Translation, node: Node) -> None:
    """A function of one value: through the file's own table where it has one."""
    x = state.view(node, 0)
    if "lut" in node.attrs:
        table(state, node, x)
        return
    if node.op == "LUT":
        raise fault(node, "names no table")
    attrs: dict[str, object] = {key: node.attrs[key] for key in UNARY_ATTRIBUTES.get(node.op, ()) if key in node.attrs}
    if node.op == "Gelu":
        attrs["approximate"] = attribute_text(node, "approximate", "none")
    state.define(node, state.onnx(node.name, node.op, [x.base], attrs)[0], x.axes)


def table(state: Translation, node: Node, x: View) -> None:
    """256 entries in the order of int8; of int16 one entry every step, the last for the end of the last step."""
    name = attribute_text(node, "lut", "")
    if name not in state.model.constants:
        raise fault(node, f"its table {name!r} is missing")
    entries, info = state.model.constants[name].data, state.info(node)
    source = state.importer.type(x.integers).dtype if x.integers else np.dtype(np.float32)
    grid = state.grid(node, info)
    if source.name not in ("int8", "int16") or entries.dtype != info.dtype:
        raise fault(node, f"a table of {entries.dtype.name} from {source.name} to {info.dtype.name}")
    attrs: dict[str, object] = {"table": entries, "quant": grid}
    if source.name == "int8":
        if entries.size != 256:
            raise fault(node, f"a table of {entries.size} entries for 8 bits")
    else:
        bits = next((bits for bits in range(17) if entries.size == (65536 >> bits) + 1), None)
        if bits is None:
            raise fault(node, f"a table of {entries.size} entries for 16 bits")
        attrs.update(mode="nearest" if state.nearest else "interpolate", bits=bits)
    made = state.fresh(f"{info.name}/integers")
    state.importer.declare(made, state.importer.shape(x.integers), info.dtype, node.name)
    state.importer.quants[made] = grid
    state.importer.emit(node.name, "Table", (x.integers,), (made,), attrs)
    state.define_integers(node, made, x.axes)


def requantize(state: Translation, node: Node) -> None:
    """QuantizeLinear, RequantizeLinear and DequantizeLinear: what they make has the type and exponent that the file tells."""
    x = state.view(node, 0)
    state.define(node, x.base, x.axes)


def alias(state: Translation, node: Node) -> None:
    state.alias(node, state.view(node, 0))


def binary(state: Translation, node: Node) -> None:
    if len(node.inputs) != 2:
        raise fault(node, f"has {len(node.inputs)} operands")
    operands, axes = aligned(state, node, 2)
    state.define(node, state.onnx(node.name, node.op, operands)[0], axes)


def aligned(state: Translation, node: Node, count: int) -> tuple[list[str], Axes]:
    """The first operands of the node in one order of axes, and how the file's order is made from it.

    Operands of fewer axes are constants, or all operands are in the file's own order.
    """
    views = {index: state.view(node, index) for index in range(count) if not state.is_constant(node, index)}
    if not views:
        plain = [state.view(node, index) for index in range(count)]
        return [view.base for view in plain], identity(max(len(view.axes) for view in plain))
    rank = max(len(view.axes) for view in views.values())
    ranks = [len(state.tensor(node, index).dims) if index not in views else len(views[index].axes) for index in range(count)]
    same = all(len(view.axes) == rank for view in views.values()) and max(ranks) == rank
    if not same:
        return [state.plain(state.view(node, index)) for index in range(count)], identity(max(ranks))
    axes = next(view.axes for view in views.values())
    order = inverse(axes)
    operands = []
    for index in range(count):
        if index in views:
            operands.append(state.want(views[index], order))
            continue
        tensor = state.tensor(node, index)
        if len(tensor.exponents) > 1:
            raise fault(node, f"constant {tensor.name!r} has one exponent per channel")
        extended = tensor.plain.reshape((1,) * (rank - len(tensor.dims)) + tensor.dims).transpose(order)
        operands.append(state.constant(tensor.name, extended, tensor.exponents).base)
    return operands, axes


def prelu(state: Translation, node: Node) -> None:
    """Slopes are one for all channels or one for each: their shape is ONNX's, whatever the order of the activation."""
    x = state.view(node, 0)
    rank = len(x.axes)
    slope = state.tensor(node, 1)
    count = slope.data.size
    if rank < 2 or count not in (1, state.shape(x)[-1]):
        raise fault(node, f"{count} slopes for an input of shape {list(state.shape(x))}", "give one slope per channel")
    data = slope.data.reshape((count,) + (1,) * (rank - 2))
    held = state.constant(slope.name, data, slope.exponents, 0)
    made = state.onnx(node.name, "PRelu", [state.want(x, channels_first(rank)), held.base])[0]
    state.define(node, made, channels_last(rank))


def clip(state: Translation, node: Node) -> None:
    x = state.view(node, 0)
    if "lut" in node.attrs:
        table(state, node, x)
        return
    bounds: list[str] = []
    for index, key in ((1, "min"), (2, "max")):
        value = node.attrs.get(key)
        if value is None and state.has(node, index):
            tensor = state.tensor(node, index)
            if tensor.data.size != 1:
                raise fault(node, f"bound {key} has {tensor.data.size} elements")
            value = float(tensor.data[0]) * (1.0 if tensor.data.dtype.kind == "f" else 2.0 ** tensor.exponents[0])
        if value is not None and not isinstance(value, int | float):
            raise fault(node, f"bound {key} is no number")
        bounds.append(
            "" if value is None else state.importer.add_constant(state.fresh(f"{node.name}/{key}"), np.array(value, np.float32))
        )
    state.define(node, state.onnx(node.name, "Clip", [x.base, *bounds])[0], x.axes)
