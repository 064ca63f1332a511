"""QOperator forms (QLinearConv ..) -> DequantizeLinear, operator, QuantizeLinear: one form for all later stages.

Inputs and attributes: https://onnx.ai/onnx/operators/ and onnxruntime's docs/ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from espgen.errors import EspgenError
from espgen.frontend.attributes import read_attributes
from espgen.frontend.importer import Importer


@dataclass
class Expansion:
    """Builds the replacement nodes of one QOperator node."""

    importer: Importer
    node: NodeProto
    name: str
    attrs: dict[str, Any]
    nodes: list[NodeProto] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)

    def input(self, index: int) -> str:
        return str(self.node.input[index]) if index < len(self.node.input) else ""

    def require(self, least: int, most: int) -> None:
        """EspgenError unless there are between `least` and `most` inputs and one output."""
        if not least <= len(self.node.input) <= most or len(self.node.output) != 1 or not self.node.output[0]:
            raise EspgenError(
                f"{self.node.op_type} has {len(self.node.input)} inputs, wants {least} to {most}", node=self.name,
                place=f"operator {self.node.op_type}", hint="export the model again",
            )  # fmt: skip

    def add(self, op: str, inputs: list[str], output: str, **attrs: Any) -> str:
        given = {key: value for key, value in attrs.items() if value is not None}
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"{self.name}/{op}_{len(self.nodes)}", **given))
        return output

    def dequantize(self, first: int, label: str, axis: int = 0) -> str:
        """The real values of inputs first, first + 1, first + 2 = data, scale, zero point."""
        data, scale, zero = self.input(first), self.input(first + 1), self.input(first + 2)
        return self.add("DequantizeLinear", [data, scale, zero] if zero else [data, scale], self.fresh(label), axis=axis)

    def quantize(self, real: str, scale: str, zero: str, like: str) -> None:
        """The node's output; without a zero point it has the type of input `like` and zero point 0."""
        if not zero:
            zero = self.constant("zero_point", np.zeros((), self.importer.type(like).dtype))
        self.add("QuantizeLinear", [real, scale, zero], str(self.node.output[0]))

    def constant(self, label: str, data: np.ndarray) -> str:
        return self.importer.add_constant(self.fresh(label), data, self.name)

    def fresh(self, label: str) -> str:
        wanted = f"{self.node.output[0]}/{label}"
        name, count = self.importer.fresh(wanted), 1
        while name in self.taken:
            count += 1
            name = self.importer.fresh(f"{wanted}_{count}")
        self.taken.add(name)
        return name

    def scale_product(self, left: str, right: str, factor: float = 1.0) -> str:
        """A constant: the product of two scales, in float64."""
        scales = [self.importer.parameter(name, "scale", self.name) for name in (left, right)]
        if scales[0] is None or scales[1] is None or scales[0].size != 1:
            raise EspgenError(
                f"{self.node.op_type} needs a per-tensor scale on its data",
                node=self.name,
                place=left,
                hint="quantize activations per tensor",
            )
        return self.constant("bias_scale", scales[0].astype(np.float64).reshape(()) * scales[1].astype(np.float64) * factor)

    def bias(self, name: str, left: str, right: str, factor: float = 1.0) -> str:
        scale = self.scale_product(left, right, factor)
        return self.add("DequantizeLinear", [name, scale], self.fresh("bias"), axis=0)


def _conv(e: Expansion) -> None:
    e.require(8, 9)
    inputs = [e.dequantize(0, "x"), e.dequantize(3, "w")]
    if e.input(8):
        inputs.append(e.bias(e.input(8), e.input(1), e.input(4)))
    real = e.add("Conv", inputs, e.fresh("real"), **e.attrs)
    e.quantize(real, e.input(6), e.input(7), e.input(0))


def _matmul(e: Expansion) -> None:
    e.require(8, 8)
    rank = len(e.importer.shape(e.input(3)))
    real = e.add("MatMul", [e.dequantize(0, "a"), e.dequantize(3, "b", axis=rank - 1)], e.fresh("real"))
    e.quantize(real, e.input(6), e.input(7), e.input(0))


def _gemm(e: Expansion) -> None:
    e.require(6, 9)
    alpha = float(e.attrs.get("alpha", 1.0))
    turned = int(e.attrs.get("transB", 0))
    inputs = [e.dequantize(0, "a"), e.dequantize(3, "b", axis=0 if turned else 1)]
    if e.input(6):
        inputs.append(e.bias(e.input(6), e.input(1), e.input(4), alpha))
    output = e.fresh("real") if e.input(7) else str(e.node.output[0])
    e.add("Gemm", inputs, output, alpha=alpha, transA=int(e.attrs.get("transA", 0)), transB=turned)
    if e.input(7):
        e.quantize(output, e.input(7), e.input(8), e.input(0))


def _binary(op: str) -> Callable[[Expansion], None]:
    def expand(e: Expansion) -> None:
        e.require(7, 8)
        real = e.add(op, [e.dequantize(0, "a"), e.dequantize(3, "b")], e.fresh("real"))
        e.quantize(real, e.input(6), e.input(7), e.input(0))

    return expand


def _unary(op: str, *keep: str) -> Callable[[Expansion], None]:
    """x, x_scale, x_zero_point, y_scale, y_zero_point; `keep` are the attributes of the plain operator."""

    def expand(e: Expansion) -> None:
        e.require(4, 5)
        attrs = {key: e.attrs[key] for key in keep if key in e.attrs}
        last = int(e.attrs.get("channels_last", 0))
        real = e.dequantize(0, "x")
        rank = len(e.importer.shape(e.input(0)))
        if last and rank > 2:
            real = e.add("Transpose", [real], e.fresh("channels_first"), perm=[0, rank - 1, *range(1, rank - 1)])
        real = e.add(op, [real], e.fresh("real"), **attrs)
        if last and rank > 2:
            real = e.add("Transpose", [real], e.fresh("channels_last"), perm=[0, *range(2, rank), 1])
        e.quantize(real, e.input(3), e.input(4), e.input(0))

    return expand


def _mean(op: str, *keep: str) -> Callable[[Expansion], None]:
    """QLinear pools. They sum integers, so that exact ties go to even: over a whole image ReduceMean says that, `op` does not."""
    plain = _unary(op, *keep)

    def expand(e: Expansion) -> None:
        e.require(4, 5)
        shape = e.importer.shape(e.input(0))
        first = 1 if int(e.attrs.get("channels_last", 0)) else 2
        axes = list(range(first, first + len(shape) - 2))
        window = tuple(e.attrs.get("kernel_shape", ())) if keep else tuple(shape[axis] for axis in axes)
        padded = any(e.attrs.get("pads", ())) or e.attrs.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
        if not axes or padded or window != tuple(shape[axis] for axis in axes):
            plain(e)
            return
        real = e.add("ReduceMean", [e.dequantize(0, "x")], e.fresh("real"), axes=axes, keepdims=1)
        e.quantize(real, e.input(3), e.input(4), e.input(0))

    return expand


def _concat(e: Expansion) -> None:
    e.require(5, 2 + 3 * 1024)
    if (len(e.node.input) - 2) % 3:
        e.require(0, -1)
    parts = [e.dequantize(first, "part") for first in range(2, len(e.node.input), 3)]
    real = e.add("Concat", parts, e.fresh("real"), axis=e.attrs.get("axis", 1))
    e.quantize(real, e.input(0), e.input(1), e.input(2))


_POOL = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")

# Operator name -> its expansion. QLinearSoftmax is not here: its axis depends on its attribute opset.
_EXPANSIONS: dict[str, Callable[[Expansion], None]] = {
    "QLinearConv": _conv,
    "QLinearMatMul": _matmul,
    "QGemm": _gemm,
    "QLinearAdd": _binary("Add"),
    "QLinearMul": _binary("Mul"),
    "QLinearAveragePool": _mean("AveragePool", *_POOL),
    "QLinearGlobalAveragePool": _mean("GlobalAveragePool"),
    "QLinearReduceMean": _unary("ReduceMean", "axes", "keepdims"),
    "QLinearConcat": _concat,
    "QLinearSigmoid": _unary("Sigmoid"),
    "QLinearLeakyRelu": _unary("LeakyRelu", "alpha"),
    "QLinearSoftmax": _unary("Softmax", "axis"),
}

_DEFAULTS: dict[str, dict[str, Any]] = {"QLinearLeakyRelu": {"alpha": 0.01}, "QLinearSoftmax": {"axis": -1}}
# The opset whose plain operators the expansions use: attributes, not inputs, carry the axes of ReduceMean.
_PLAIN_OPSET = 17


def is_qoperator(node: NodeProto) -> bool:
    """Whether `node` (of any domain) has an expansion."""
    return node.op_type in _EXPANSIONS


def expand(importer: Importer, node: NodeProto, name: str) -> tuple[list[NodeProto], int]:
    """Replacement nodes of `node` and the ai.onnx opset they belong to. EspgenError where the node is malformed."""
    attrs = {**_DEFAULTS.get(node.op_type, {}), **read_attributes(node, None, name)}
    expansion = Expansion(importer, node, name, attrs)
    for operand in node.input:
        if operand and operand not in importer.types:
            raise EspgenError(f"input {operand!r} is unknown", node=name, place=operand, hint="export the model again")
    opset = _PLAIN_OPSET
    if node.op_type == "QLinearSoftmax" and int(attrs.pop("opset", 13)) < 13:
        opset = 11
    _EXPANSIONS[node.op_type](expansion)
    return expansion.nodes, opset
