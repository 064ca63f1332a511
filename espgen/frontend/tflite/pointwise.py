"""Operators on single elements, in the axis order that their operands have."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper

from espgen.errors import EspgenError
from espgen.frontend.tflite import schema
from espgen.frontend.tflite.emitter import CLIPS, LAST, Emitter
from espgen.frontend.tflite.model import Operator

UNARY: dict[str, str] = {
    "ABS": "Abs", "CEIL": "Ceil", "COS": "Cos", "ELU": "Elu", "EXP": "Exp", "FLOOR": "Floor", "HARD_SWISH": "HardSwish",
    "LOG": "Log", "LOGISTIC": "Sigmoid", "NEG": "Neg", "ROUND": "Round", "SIGN": "Sign", "SIN": "Sin", "SQRT": "Sqrt",
    "TANH": "Tanh",
}  # fmt: skip
BINARY: dict[str, str] = {
    "ADD": "Add", "DIV": "Div", "MAXIMUM": "Max", "MINIMUM": "Min", "MUL": "Mul", "POW": "Pow", "SUB": "Sub",
}  # fmt: skip


def activation(operator: Operator) -> str:
    """The fused activation's name, "" for none."""
    number = operator.option("activation")
    return schema.ACTIVATIONS.get(number, f"number {number}")


def unary(emitter: Emitter, operator: Operator) -> None:
    _function(emitter, operator, UNARY[operator.op])


def leaky_relu(emitter: Emitter, operator: Operator) -> None:
    _function(emitter, operator, "LeakyRelu", alpha=operator.real_option("alpha"))


def gelu(emitter: Emitter, operator: Operator) -> None:
    _function(emitter, operator, "Gelu", approximate="tanh" if operator.option("approximate") else "none")


def _function(emitter: Emitter, operator: Operator, op: str, **attrs: Any) -> None:
    form = emitter.form_of(operator.inputs[:1])
    emitter.result(operator, emitter.emit(op, [emitter.real(operator.inputs[0], form)], name=operator.name, **attrs), form)


def clip(emitter: Emitter, operator: Operator) -> None:
    """RELU and its kin as operators of their own."""
    form = emitter.form_of(operator.inputs[:1])
    emitter.result(operator, emitter.clipped(operator, emitter.real(operator.inputs[0], form), *CLIPS[operator.op]), form)


def rsqrt(emitter: Emitter, operator: Operator) -> None:
    form = emitter.form_of(operator.inputs[:1])
    root = emitter.emit("Sqrt", [emitter.real(operator.inputs[0], form)], name=f"{operator.name}/sqrt")
    emitter.result(operator, emitter.emit("Reciprocal", [root], name=operator.name), form)


def square(emitter: Emitter, operator: Operator) -> None:
    form = emitter.form_of(operator.inputs[:1])
    real = emitter.real(operator.inputs[0], form)
    emitter.result(operator, emitter.emit("Mul", [real, real], name=operator.name), form)


def binary(emitter: Emitter, operator: Operator) -> None:
    """Two operands that broadcast against each other, and the fused activation."""
    form = emitter.form_of(operator.inputs)
    operands = [emitter.real(index, form) for index in operator.inputs]
    if len(operands) != 2:
        raise EspgenError(f"{operator.op} with {len(operands)} operands", hint="the file is damaged: convert the model again")
    real = emitter.emit(BINARY[operator.op], operands, name=operator.name)
    fused = activation(operator) if operator.op in schema.OPTIONS else ""
    emitter.result(operator, emitter.activated(operator, real, fused), form)


def squared_difference(emitter: Emitter, operator: Operator) -> None:
    form = emitter.form_of(operator.inputs)
    operands = [emitter.real(index, form) for index in operator.inputs]
    difference = emitter.emit("Sub", operands, name=f"{operator.name}/difference")
    emitter.result(operator, emitter.emit("Mul", [difference, difference], name=operator.name), form)


def add_n(emitter: Emitter, operator: Operator) -> None:
    form = emitter.form_of(operator.inputs)
    emitter.result(
        operator, emitter.emit("Sum", [emitter.real(index, form) for index in operator.inputs], name=operator.name), form
    )


def prelu(emitter: Emitter, operator: Operator) -> None:
    form = emitter.form_of(operator.inputs)
    operands = [emitter.real(index, form) for index in operator.inputs]
    emitter.result(operator, emitter.emit("PRelu", operands, name=operator.name), form)


def softmax(emitter: Emitter, operator: Operator) -> None:
    """Over the last axis, of beta times the input."""
    real, beta = emitter.real(operator.inputs[0]), operator.real_option("beta")
    if beta != 1.0:
        factor = emitter.initializer(f"{operator.name}/beta", np.array(beta, np.float32))
        real = emitter.emit("Mul", [real, factor], name=f"{operator.name}/scaled")
    emitter.result(operator, emitter.emit("Softmax", [real], name=operator.name, axis=-1))


def log_softmax(emitter: Emitter, operator: Operator) -> None:
    emitter.result(operator, emitter.emit("LogSoftmax", [emitter.real(operator.inputs[0])], name=operator.name, axis=-1))


def quantize(emitter: Emitter, operator: Operator) -> None:
    """From real numbers to integers, or from one grid to another."""
    form = emitter.form_of(operator.inputs)
    emitter.result(operator, emitter.real(operator.inputs[0], form), form)


def dequantize(emitter: Emitter, operator: Operator) -> None:
    """Integers to real numbers; constants of 16-bit floats are widened, those of integers are weights of a float model."""
    source = operator.inputs[0]
    data, grid = emitter.constant(source), emitter.grid(source)
    if data is None:
        form = emitter.form_of(operator.inputs)
        emitter.result(operator, emitter.real(source, form), form)
        return
    if grid is not None:
        shape = [1] * data.ndim
        if len(grid.scale) > 1:
            shape[grid.axis] = -1
        data = (data.astype(np.float64) - np.reshape(grid.zero_point, shape)) * np.reshape(grid.scale, shape)
        emitter.weight_only.add(operator.outputs[0])
    emitter.folded[operator.outputs[0]] = data.astype(np.float32)


def cast(emitter: Emitter, operator: Operator) -> None:
    kind = emitter.tensor(operator.outputs[0]).kind
    if kind not in ("float32", "int32", "int64", "bool"):
        raise EspgenError(f"CAST to {kind}", hint="use QUANTIZE")
    source = emitter.held(operator.inputs[0])
    to = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    emitter.result(operator, emitter.emit("Cast", [source], name=operator.name, to=to), LAST)
