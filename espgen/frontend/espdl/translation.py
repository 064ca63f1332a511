"""The state of reading one .espdl model: which ONNX tensor each value is, and in what order of axes.

ESP-DL stores images channels last; ONNX, and so the source graph, has channels first. Nothing is transposed for that: a value
is a `View` of a tensor of the graph, and an operator asks for its operands in the order it wants. A Transpose of the file only
makes another view. A Transpose node appears where an operator wants an order that no tensor has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, cast

import numpy as np
from onnx import helper

from espgen.errors import EspgenError
from espgen.frontend.espdl.model import Array, Model, Node, Tensor, ValueInfo
from espgen.frontend.importer import Importer
from espgen.frontend.translate import translate
from espgen.ir import QuantParams

Axes = tuple[int, ...]


def identity(rank: int) -> Axes:
    return tuple(range(rank))


def inverse(axes: Axes) -> Axes:
    return tuple(axes.index(axis) for axis in range(len(axes)))


def channels_first(rank: int) -> Axes:
    """The axes of a channels-last tensor in the order of ONNX."""
    if rank < 2:
        return identity(rank)
    return (0, rank - 1, *range(1, rank - 1))


def channels_last(rank: int) -> Axes:
    return inverse(channels_first(rank))


def keeps_order(axes: Axes) -> bool:
    """Whether a graph output of these axes stays as its tensor is: in the file's order, or channels first for channels last."""
    return axes in (identity(len(axes)), channels_last(len(axes)))


def fault(node: Node, problem: str, hint: str = "export the model again with a current ESP-PPQ") -> EspgenError:
    """What is wrong with a node of the file."""
    return EspgenError(f"{node.op}: {problem}", node=node.name, place=f"operator {node.op}", hint=hint)


@dataclass(frozen=True)
class View:
    """A run-time value: axis i of the file's order is axis `axes[i]` of the float tensor `base`.

    `integers` is the quantized tensor that `base` is the meaning of, "" for float values.
    """

    base: str
    axes: Axes
    integers: str = ""


@dataclass(frozen=True)
class Inserted:
    """The result of InsertZeros: what its reader, a convolution, transposes instead."""

    source: View
    strides: tuple[int, ...]
    output_padding: tuple[int, ...]


@dataclass
class Translation:
    """Views of all values so far, and the ONNX nodes made for them."""

    model: Model
    importer: Importer
    nearest: bool = True
    views: dict[str, View] = field(default_factory=dict)
    inserted: dict[str, Inserted] = field(default_factory=dict)
    forms: dict[tuple[str, Axes], str] = field(default_factory=dict)
    made: int = 0

    # What a node reads.

    def view(self, node: Node, index: int) -> View:
        """Operand `index`, a run-time value or a plain constant."""
        name = self.operand_name(node, index)
        if name in self.inserted:
            raise fault(node, "reads what InsertZeros makes", "espgen takes InsertZeros in front of a convolution only")
        if name not in self.views and name in self.model.constants:
            tensor = self.model.constants[name]
            self.views[name] = self.constant(name, tensor.plain, tensor.exponents)
        if name not in self.views:
            raise fault(node, f"its input {name!r} is computed by no node")
        return self.views[name]

    def operand_name(self, node: Node, index: int) -> str:
        if not self.has(node, index):
            raise fault(node, f"input {index} is missing")
        return node.inputs[index]

    def has(self, node: Node, index: int) -> bool:
        return index < len(node.inputs) and node.inputs[index] != ""

    def is_constant(self, node: Node, index: int) -> bool:
        return self.has(node, index) and node.inputs[index] in self.model.constants

    def tensor(self, node: Node, index: int) -> Tensor:
        name = self.operand_name(node, index)
        if name not in self.model.constants:
            raise fault(node, f"its input {name!r} is computed at run time", "make it a constant of the model")
        return self.model.constants[name]

    def integers(self, node: Node, index: int, key: str = "") -> tuple[int, ...] | None:
        """A list of integers, from an attribute or a constant input; None where both are absent."""
        if key in node.attrs:
            return attribute_integers(node, key)
        if not self.has(node, index):
            return None
        data = self.tensor(node, index).data
        if data.dtype.kind not in "iu":
            raise fault(node, f"input {index} is no list of integers")
        return tuple(int(value) for value in data)

    def shape(self, view: View) -> tuple[int, ...]:
        """In the file's order."""
        held = self.importer.shape(self.importer.resolve(view.base))
        return tuple(held[axis] for axis in view.axes)

    def want(self, view: View, axes: Axes) -> str:
        """The float tensor whose axis i is axis `axes[i]` of the view."""
        order = tuple(view.axes[axis] for axis in axes)
        if order == identity(len(order)):
            return view.base
        key = (view.base, order)
        if key not in self.forms:
            label = f"{view.base}/{''.join(map(str, order))}"
            self.forms[key] = self.onnx(label, "Transpose", [view.base], {"perm": order})[0]
        return self.forms[key]

    def plain(self, view: View) -> str:
        """The float tensor in the file's order."""
        return self.want(view, identity(len(view.axes)))

    # What a node makes.

    def onnx(
        self, name: str, op: str, inputs: Sequence[str], attrs: Mapping[str, Any] = MappingProxyType({}), outputs: int = 1
    ) -> list[str]:
        """Add an ONNX node; the names of its results."""
        results = [self.fresh(f"{name}/{op}_{index}" if outputs > 1 else f"{name}/{op}") for index in range(outputs)]
        said = {key: value for key, value in attrs.items() if value != ()}  # what is empty says nothing, and has no type
        try:
            node = helper.make_node(op, list(inputs), results, name=name, **said)
        except (ValueError, TypeError, OverflowError) as error:  # numbers that ONNX has no attribute for
            hint = "export the model again with a current ESP-PPQ"
            raise EspgenError(f"{op} is malformed: {error}", node=name, place=f"operator {op}", hint=hint) from None
        translate(self.importer, node, self.made)
        return [self.importer.resolve(result) for result in results]

    def fresh(self, wanted: str) -> str:
        self.made += 1
        return self.importer.fresh(wanted)

    def info(self, node: Node, index: int = 0) -> ValueInfo:
        """What the file says of output `index`."""
        name = node.outputs[index] if index < len(node.outputs) else ""
        if name not in self.model.values:
            raise fault(node, f"nothing tells the type of its output {name!r}")
        return self.model.values[name]

    def define(self, node: Node, real: str, axes: Axes, index: int = 0) -> None:
        """Output `index` of the node is the float tensor `real`, quantized as the file says."""
        info = self.info(node, index)
        if not keeps_order(axes) and any(info.name == item.name for item in self.model.outputs):
            real, axes = self.want(View(real, axes), identity(len(axes))), identity(len(axes))
        if info.dtype.kind == "f":
            self._set(node, index, View(real, axes))
            return
        quant = self.grid(node, info)
        integers = self.fresh(f"{info.name}/integers")
        self.importer.declare(integers, self.importer.shape(self.importer.resolve(real)), info.dtype, node.name)
        self.importer.quants[integers] = quant
        self.importer.emit(
            f"{node.name}/quantize", "QuantizeLinear", (self.importer.resolve(real),), (integers,), {"quant": quant}
        )
        self.define_integers(node, integers, axes, index)

    def define_integers(self, node: Node, integers: str, axes: Axes, index: int = 0) -> None:
        """Output `index` of the node is the integer tensor `integers`, which has its type and exponent."""
        info = self.info(node, index)
        base = self.dequantize(info.name, integers, self.grid(node, info))
        self._set(node, index, View(base, axes, integers))

    def alias(self, node: Node, view: View) -> None:
        """The node's output is the view, where it has the operand's type and exponent; else what they become."""
        source = self.model.values.get(node.inputs[0])
        info = self.info(node)
        if source is not None and (source.dtype, source.exponent) == (info.dtype, info.exponent):
            self._set(node, 0, view)
        else:
            self.define(node, view.base, view.axes)

    def _set(self, node: Node, index: int, view: View) -> None:
        name = node.outputs[index]
        rank = len(self.importer.shape(self.importer.resolve(view.base)))
        if rank != len(view.axes):
            raise fault(node, f"makes a tensor of rank {rank} from operands of other ranks")
        if name in self.views or name in self.inserted or name in self.model.constants:
            raise fault(node, f"value {name!r} is defined twice")
        self.views[name] = view

    def grid(self, node: Node, info: ValueInfo) -> QuantParams:
        if info.dtype.name not in ("int8", "int16"):
            raise fault(node, f"its result is {info.dtype.name}", "export the model with 8 or 16 bits")
        return QuantParams.tensor(2.0**info.exponent)

    def dequantize(self, wanted: str, integers: str, quant: QuantParams) -> str:
        """The float tensor that `integers` means."""
        name = self.fresh(wanted)
        self.importer.dequantized[name] = (integers, quant)
        self.importer.declare(name, self.importer.shape(integers), np.dtype(np.float32), None)
        self.importer.emit(f"{name}/dequantize", "DequantizeLinear", (integers,), (name,), {"quant": quant})
        return name

    def constant(self, name: str, data: Array, exponents: Sequence[int], axis: int = 0) -> View:
        """A constant array with one exponent, or one for every index of `axis`; of 64 bits, and of floats, as it is."""
        if data.dtype.kind in "iu" and data.dtype.itemsize < 8:
            return self.quantized_constant(name, data, exponents, axis)
        return View(self.importer.add_constant(self.fresh(f"{name}/constant"), np.ascontiguousarray(data)), identity(data.ndim))

    def quantized_constant(self, name: str, data: Array, exponents: Sequence[int], axis: int = 0) -> View:
        """Constant integers with one exponent, or one for every index of `axis`."""
        held = self.importer.add_constant(self.fresh(f"{name}/constant"), np.ascontiguousarray(data))
        per_channel = len(exponents) > 1
        if per_channel and (data.ndim <= axis or data.shape[axis] != len(exponents)):
            raise EspgenError(
                f"constant {name!r} of shape {list(data.shape)} has {len(exponents)} exponents", place=name,
                hint="export the model again with a current ESP-PPQ",
            )  # fmt: skip
        scales = tuple(2.0**exponent for exponent in exponents)
        quant = QuantParams(scales, (0,) * len(scales), axis if per_channel else None)
        return View(self.dequantize(name, held, quant), identity(data.ndim), held)


def attribute_integers(node: Node, key: str, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """An attribute that is a list of integers."""
    value = node.attrs.get(key, default)
    if isinstance(value, int):
        value = (value,)
    if not isinstance(value, tuple) or not all(isinstance(item, int) for item in value):
        raise fault(node, f"attribute {key!r} is no list of integers")
    return cast("tuple[int, ...]", value)


def attribute_integer(node: Node, key: str, default: int) -> int:
    value = node.attrs.get(key, default)
    if not isinstance(value, int):
        raise fault(node, f"attribute {key!r} is no integer")
    return value


def attribute_text(node: Node, key: str, default: str) -> str:
    value = node.attrs.get(key, default)
    if not isinstance(value, str):
        raise fault(node, f"attribute {key!r} is no text")
    return value


def axis_of(node: Node, axis: int, rank: int) -> int:
    """An axis as an index from the front."""
    if not -rank <= axis < rank:
        raise fault(node, f"axis {axis} of a tensor of rank {rank}")
    return axis % rank
