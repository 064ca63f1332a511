"""The ONNX graph as it grows from a .tflite file's operators: every tensor in one or both axis orders, quantized or real.

TensorFlow keeps channels last, ONNX first. A rank-4 tensor is made in the order its operator works in, and turned only where
a reader asks for the other one; espgen holds both in the same bytes, so that turning costs nothing on the chip.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from espgen.errors import EspgenError
from espgen.frontend.tflite.model import Array, Grid, Model, Operator, Tensor
from espgen.ir.graph import unused_name

LAST, FIRST = "", "/channels_first"
"""Axis orders: as the file has them, and with the channels of rank-4 tensors where ONNX has them. Behind names, too."""

TO_FIRST, TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
AXIS_FIRST = (0, 2, 3, 1)
"""Where axis k of a channels-last tensor lies channels first."""

QUANTIZED = frozenset({"int8", "uint8", "int16", "uint16", "int4"})


class Emitter:
    """Nodes and initializers made so far. Tensors are named by their number in the file."""

    def __init__(self, model: Model, place: str) -> None:
        self.model = model
        self.place = place
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self.folded: dict[int, Array] = {}
        self.weight_only: set[int] = set()
        self.native: dict[int, str] = {}
        self.held_as: dict[tuple[int, str], str] = {}
        self.real_as: dict[tuple[int, str], str] = {}
        self.taken: set[str] = set()
        self.names = [self.fresh(tensor.name) for tensor in model.tensors]
        self.node_names: set[str] = set()

    # What the file says.

    def tensor(self, index: int) -> Tensor:
        """EspgenError for a tensor that is absent or that nobody can read."""
        if index < 0:
            raise EspgenError("an input is missing", hint="the file is damaged: convert the model again")
        found = self.model.tensors[index]
        if found.fault:
            raise EspgenError(f"tensor {found.name!r} {found.fault}", hint=FULL_INTEGER)
        return found

    def shape(self, index: int) -> tuple[int, ...]:
        return self.tensor(index).shape

    def rank(self, index: int) -> int:
        return len(self.tensor(index).shape)

    def grid(self, index: int) -> Grid | None:
        """How the integers of an activation or of weights are meant; None for real values and for plain integers."""
        found = self.tensor(index)
        return found.grid if found.kind in QUANTIZED else None

    def constant(self, index: int) -> Array | None:
        """A constant's content, None for what is computed at run time."""
        return self.folded.get(index, self.tensor(index).data)

    def integers(self, index: int, what: str) -> tuple[int, ...]:
        """A parameter's integers. EspgenError where it is computed at run time or no integer."""
        data = self.constant(index)
        if data is None or data.dtype.kind not in "iu":
            raise EspgenError(
                f"{what} {self.names[index]!r} {'is computed at run time' if data is None else 'is no integer'}",
                hint=f"make {what} a constant of the model",
            )
        return tuple(int(value) for value in data.reshape(-1))

    def axis(self, value: int, rank: int) -> int:
        """An axis from the front. EspgenError where there is none such."""
        if not -rank <= value < rank:
            raise EspgenError(f"axis {value} of a tensor of rank {rank}", hint="the file is damaged: convert the model again")
        return value % rank

    # Names, nodes and constants.

    def fresh(self, wanted: str) -> str:
        name = unused_name(wanted, self.taken)
        self.taken.add(name)
        return name

    def emit(self, op: str, inputs: Sequence[str], output: str = "", *, name: str = "", **attrs: Any) -> str:
        """A node with one output; its name is given, or made from the node's."""
        return self.emit_parts(op, inputs, [output or self.fresh(f"{name}/{op}")], name=name, **attrs)[0]

    def emit_parts(self, op: str, inputs: Sequence[str], outputs: Sequence[str], *, name: str = "", **attrs: Any) -> list[str]:
        """A node with several outputs."""
        unique = unused_name(name or op, self.node_names)
        self.node_names.add(unique)
        self.nodes.append(helper.make_node(op, list(inputs), list(outputs), name=unique, **attrs))
        return list(outputs)

    def initializer(self, wanted: str, data: Array) -> str:
        name = self.fresh(wanted)
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(data), name))
        return name

    def numbers(self, name: str, values: Sequence[int]) -> str:
        """A constant list of int64: what ONNX takes as shapes, axes and pads."""
        return self.initializer(name, np.array(values, np.int64))

    # Tensors.

    def define_input(self, index: int) -> None:
        self.held_as[index, LAST] = self.names[index]
        self.native[index] = FIRST if self.rank(index) == 4 else LAST

    def form_of(self, indices: Sequence[int]) -> str:
        """The axis order that an operator on these tensors works in best: channels first where one of them is made so."""
        if any(self.constant(index) is None and self.rank(index) != 4 for index in indices):
            return LAST
        return FIRST if any(self.native.get(index) == FIRST for index in indices) else LAST

    def held(self, index: int, form: str = LAST) -> str:
        """The value as the file stores it: integers of quantized tensors."""
        key = (index, form)
        if key not in self.held_as:
            self.held_as[key] = self._held(index, form)
        return self.held_as[key]

    def _held(self, index: int, form: str) -> str:
        data = self.constant(index)
        if data is not None:
            return self.initializer(self.names[index] + form, _turned(data, form))
        other = FIRST if form == LAST else LAST
        if (index, other) not in self.held_as:
            raise EspgenError(f"input {self.names[index]!r} is computed by no operator before it is read",
                              hint="the file is damaged: convert the model again")  # fmt: skip
        perm = TO_FIRST if form == FIRST else TO_LAST
        name = self.names[index] if form == LAST else self.fresh(self.names[index] + FIRST)
        return self.emit("Transpose", [self.held_as[index, other]], name, name=f"{self.names[index]}/turned{form}", perm=perm)

    def real(self, index: int, form: str = LAST) -> str:
        """The value as real numbers; plain integers and truth values as they are."""
        key = (index, form)
        if key not in self.real_as:
            grid = self.grid(index)
            held = self.held(index, form)
            self.real_as[key] = held if grid is None else self._dequantized(held, index, grid, form)
        return self.real_as[key]

    def _dequantized(self, held: str, index: int, grid: Grid, form: str) -> str:
        rank = self.rank(index)
        axis = grid.axis
        if form == FIRST and len(grid.scale) > 1:
            axis = AXIS_FIRST[axis + 4 - rank]
        kind = "int8" if self.tensor(index).kind == "int4" else self.tensor(index).kind
        return self.dequantize(held, grid, kind, axis, f"{self.names[index]}{form}")

    def dequantize(self, held: str, grid: Grid, kind: str, axis: int, name: str) -> str:
        """DequantizeLinear of `held`, integers of a type, on a grid; `axis` is that of several scales."""
        several = len(grid.scale) > 1
        attrs = {"axis": axis} if several else {}
        inputs = [held, *self._parameters(grid, kind, name, several)]
        return self.emit("DequantizeLinear", inputs, self.fresh(f"{name}/real"), name=f"{name}/dequantize", **attrs)

    def _parameters(self, grid: Grid, kind: str, name: str, several: bool) -> list[str]:
        limits = np.iinfo(kind)
        if any(not limits.min <= point <= limits.max for point in grid.zero_point):
            raise EspgenError(f"tensor {name!r} has a zero point outside its type's range", hint="quantize the model again")
        scale, point = np.array(grid.scale, np.float32), np.array(grid.zero_point, kind)
        if not several:
            scale, point = scale[0], point[0]
        return [self.initializer(f"{name}/scale", np.asarray(scale)), self.initializer(f"{name}/zero_point", np.asarray(point))]

    def result(self, operator: Operator, real: str, form: str = LAST, output: int = 0) -> None:
        """What an operator computed, real numbers in an axis order, is its output: on the output's grid, where it has one."""
        index = operator.outputs[output]
        grid, tensor = self.grid(index), self.tensor(index)
        if form == FIRST and len(tensor.shape) != 4:
            raise EspgenError(f"output {tensor.name!r} has shape {list(tensor.shape)}",
                              hint="the file is damaged: convert the model again")  # fmt: skip
        name = self.names[index] if form == LAST else self.fresh(self.names[index] + FIRST)
        self.native[index] = form
        if (index, LAST) in self.held_as or (index, FIRST) in self.held_as or tensor.data is not None:
            raise EspgenError(f"tensor {tensor.name!r} is computed twice", hint="the file is damaged: convert the model again")
        if grid is None:
            if tensor.kind not in ("float32", "int32", "int64", "bool"):
                raise EspgenError(f"output {tensor.name!r} has type {tensor.kind} without a scale",
                                  hint="quantize the model again")  # fmt: skip
            if tensor.kind == "int32" and tensor.grid is not None:
                raise EspgenError(f"output {tensor.name!r} is quantized to int32", hint="end the model at int8 or int16")
            self.held_as[index, form] = self.emit("Identity", [real], name, name=f"{operator.name}/result")
            return
        if len(grid.scale) > 1:
            raise EspgenError(f"activation {tensor.name!r} is quantized per channel", hint=FULL_INTEGER)
        inputs = [real, *self._parameters(grid, tensor.kind, name, False)]
        self.held_as[index, form] = self.emit("QuantizeLinear", inputs, name, name=f"{operator.name}/quantize")

    def activated(self, operator: Operator, real: str, activation: str) -> str:
        """The activation that is fused to an operator."""
        if not activation:
            return real
        if activation in CLIPS:
            return self.clipped(operator, real, *CLIPS[activation])
        if activation == "TANH":
            return self.emit("Tanh", [real], name=f"{operator.name}/tanh")
        raise EspgenError(f"the fused activation {activation} is not read", hint="use Relu, Relu6 or none")

    def clipped(self, operator: Operator, real: str, low: float, high: float | None) -> str:
        """The real values, limited."""
        name = f"{operator.name}/activation"
        if high is None and low == 0.0:
            return self.emit("Relu", [real], name=name)
        bounds = [self.initializer(f"{name}/low", np.array(low, np.float32))]
        bounds += [] if high is None else [self.initializer(f"{name}/high", np.array(high, np.float32))]
        return self.emit("Clip", [real, *bounds], name=name)


CLIPS: dict[str, tuple[float, float | None]] = {
    "RELU": (0.0, None), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0), "RELU_0_TO_1": (0.0, 1.0),
}  # fmt: skip
"""Activations that only limit -> bounds."""

FULL_INTEGER = (
    "convert the model to full integers: with TFLiteConverter set optimizations = [tf.lite.Optimize.DEFAULT], a "
    "representative_dataset, and target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]"
)


def _turned(data: Array, form: str) -> Array:
    """A constant in an axis order; channels first with ones in front up to rank 4, which broadcasting leaves alone."""
    if form == LAST or data.ndim == 0:
        return data
    return np.transpose(data.reshape((1,) * (4 - data.ndim) + data.shape), TO_FIRST)
