"""Operator -> normaliser: the one table that says how each ONNX node becomes a canonical node of the source graph.

Operators that aren't in the table keep their inputs and all attributes, defaults filled in.
"""

from __future__ import annotations

import math

import numpy as np

from espgen.frontend.importer import Importer
from espgen.frontend.normalize_shape import (
    concat,
    expand,
    gather,
    pad,
    reduce,
    reshape,
    resize,
    slice_,
    space_to_depth,
    split,
    tile,
    transpose,
)  # fmt: skip
from espgen.frontend.normalize_window import conv, conv_transpose, pool
from espgen.frontend.step import Normalizer, Step, alias, emit
from espgen.frontend.tensors import numpy_type
from espgen.frontend.written_out import cast_to_integers


def _identity(importer: Importer, step: Step) -> None:
    alias(importer, step)


def _dropout(importer: Importer, step: Step) -> None:
    """At inference Dropout does nothing, and its mask is all ones."""
    training = importer.parameter(step.input(2), "training_mode", step.name)
    if training is not None and bool(training.any()):
        raise step.error("is in training mode", "export the model for inference")
    alias(importer, step)
    if len(step.outputs) > 1 and step.outputs[1]:
        importer.fold(step.outputs[1], np.ones(importer.shape(step.inputs[0]), np.bool_), step.name)


def _cast(importer: Importer, step: Step) -> None:
    """Cast between float types or to the same type vanishes; any other has the attr `to`, numpy's name."""
    source = importer.type(step.inputs[0]).dtype
    target = (
        numpy_type(int(step.attrs["to"]), "attribute to", step.name)
        if "to" in step.attrs
        else importer.type(step.inputs[1]).dtype
    )
    floats = {"float32", "float64", "float16", "bfloat16"}
    if source == target or (source.name in floats and target.name in floats):
        alias(importer, step)
    elif not (
        source.name in floats and cast_to_integers(importer, step.inputs[0], step.outputs[0], target, step.name)
    ):
        emit(importer, step, "Cast", step.inputs[:1], {"to": target.name})


def _clip(importer: Importer, step: Step) -> None:
    """Clip: attrs min, max (None where open)."""
    bounds: dict[str, float | int | None] = {}
    for index, key in ((1, "min"), (2, "max")):
        value = importer.parameter(step.input(index), key, step.name)
        if value is not None and value.size != 1:
            raise step.error(f"{key} must be one number")
        number = None if value is None else value.reshape(-1)[0].item()
        if number is not None and (number != number or number == (math.inf if key == "min" else -math.inf)):
            raise step.error(f"{key} is {number}, which leaves no number")
        bounds[key] = None if number is not None and abs(number) == math.inf else number
    low, high = bounds["min"], bounds["max"]
    if low is not None and high is not None and low > high:
        bounds["min"] = high  # min(max(x, low), high) is high everywhere
    if low is None and high is None:
        alias(importer, step)
    else:
        emit(importer, step, inputs=step.inputs[:1], attrs=dict(bounds))


def _gemm(importer: Importer, step: Step) -> None:
    """Gemm: attrs alpha, beta, transA, transB."""
    rows, columns = step.output_shape()
    inner = importer.shape(step.inputs[0])[0 if step.attrs["transA"] else 1]
    if importer.shape(step.inputs[1])[1 if step.attrs["transB"] else 0] != inner:
        raise step.error("the inner dimensions of its matrices differ")
    addend = step.input(2)
    if addend and np.broadcast_shapes(importer.shape(addend), (rows, columns)) != (rows, columns):
        raise step.error(f"its addend {list(importer.shape(addend))} doesn't broadcast to {[rows, columns]}")
    emit(importer, step, attrs=dict(step.attrs))


def _softmax(importer: Importer, step: Step) -> None:
    """Softmax, LogSoftmax, Hardmax: attr axis; before opset 13 they flatten the tensor to two dimensions."""
    shape = importer.shape(step.inputs[0])
    rank = len(shape)
    if step.version >= 13:
        emit(importer, step, attrs={"axis": step.axis(int(step.attrs.get("axis", -1)), rank)})
        return
    axis = int(step.attrs.get("axis", 1))
    axis = rank if axis == rank else step.axis(axis, rank)
    if axis == rank - 1:
        emit(importer, step, attrs={"axis": axis})
        return
    outer = int(np.prod(shape[:axis], dtype=object))
    flat_shape = (outer, int(np.prod(shape[axis:], dtype=object)))
    dtype = importer.type(step.inputs[0]).dtype
    flat, result = importer.fresh(f"{step.outputs[0]}/flat"), ""
    importer.declare(flat, flat_shape, dtype, step.name)
    importer.emit(f"{step.name}/flatten", "Reshape", step.inputs[:1], (flat,))
    result = importer.fresh(f"{step.outputs[0]}/rows")
    importer.declare(result, flat_shape, dtype, step.name)
    importer.emit(step.name, step.op, (flat,), (result,), {"axis": 1})
    emit(importer, step, "Reshape", (result,))


def _batch_normalization(importer: Importer, step: Step) -> None:
    """BatchNormalization: attr epsilon; inputs x, scale, bias, mean, variance (constants, quantized ones as real numbers)."""
    if int(step.attrs.get("training_mode", 0)) or any(step.outputs[1:]):
        raise step.error("is in training mode", "export the model for inference")
    shape = importer.shape(step.inputs[0])
    channels = shape[1] if len(shape) > 1 else 1
    inputs = [step.inputs[0]]
    for position, operand in enumerate(step.inputs[1:]):
        data = importer.parameter(operand, "statistics", step.name)
        if data is None or data.shape != (channels,):
            raise step.error(f"{operand!r} must have one entry per channel ({channels})")
        if not np.all(np.isfinite(data.astype(np.float64))) or (position == 3 and np.any(data < 0)):
            raise step.error(f"{operand!r} holds a number that is not finite, or a negative variance")
        known = operand in importer.constants
        inputs.append(operand if known else importer.add_constant(importer.fresh(f"{operand}/real"), data, step.name))
    emit(importer, step, inputs=inputs, attrs={"epsilon": float(step.attrs.get("epsilon", 1e-5))})


def _prelu(importer: Importer, step: Step) -> None:
    """PRelu: the slope broadcasts to the input, never the other way round."""
    shape, slope = (importer.shape(name) for name in step.inputs)
    if len(slope) > len(shape) or np.broadcast_shapes(shape, slope) != shape:
        raise step.error(f"slope {list(slope)} doesn't broadcast to {list(shape)}")
    emit(importer, step)


def _sum(importer: Importer, step: Step) -> None:
    """Sum, Max, Min, Mean of one operand vanish; Sum of two is Add."""
    if len(step.inputs) == 1:
        alias(importer, step)
    else:
        emit(importer, step, "Add" if step.op == "Sum" and len(step.inputs) == 2 else step.op)


_LINEAR_FROM = 15.0
"""From here on Softplus is the identity to float32's precision: log(1 + exp(-15)) = 3e-7."""


def _where(importer: Importer, step: Step) -> None:
    """Where(x > 20, x, Softplus(x)), which PyTorch writes, is Softplus(x); any other stays."""
    condition, smooth = importer.maker(step.inputs[0]), importer.maker(step.inputs[2])
    if condition is not None and condition.op == "Greater" and smooth is not None and smooth.op == "Softplus":
        threshold = importer.constant(condition.inputs[1])
        x = smooth.inputs[0]
        far = threshold is not None and threshold.size == 1 and float(threshold.reshape(-1)[0]) >= _LINEAR_FROM
        if far and condition.inputs[0] == x and step.inputs[1] == x:
            importer.alias(step.outputs[0], step.inputs[2], step.name)
            return
    emit(importer, step, attrs=dict(step.attrs))


def generic(importer: Importer, step: Step) -> None:
    """Every other operator: inputs and attributes as they are."""
    emit(importer, step, attrs=dict(step.attrs))


NORMALIZERS: dict[str, Normalizer] = {
    "AveragePool": pool, "BatchNormalization": _batch_normalization, "Cast": _cast, "CastLike": _cast, "Clip": _clip,
    "Concat": concat, "Conv": conv, "ConvInteger": conv, "ConvTranspose": conv_transpose, "Dropout": _dropout,
    "Expand": expand, "Flatten": reshape, "Gather": gather, "Gemm": _gemm, "Hardmax": _softmax, "Identity": _identity,
    "LogSoftmax": _softmax, "LpPool": pool, "Max": _sum, "MaxPool": pool, "Mean": _sum, "Min": _sum, "PRelu": _prelu, "Pad": pad,
    "ReduceL1": reduce, "ReduceL2": reduce, "ReduceLogSum": reduce, "ReduceLogSumExp": reduce, "ReduceMax": reduce,
    "ReduceMean": reduce, "ReduceMin": reduce, "ReduceProd": reduce, "ReduceSum": reduce, "ReduceSumSquare": reduce,
    "Reshape": reshape, "Resize": resize, "Slice": slice_, "Softmax": _softmax, "SpaceToDepth": space_to_depth,
    "Split": split, "Squeeze": reshape,
    "Sum": _sum, "Tile": tile, "Transpose": transpose, "Unsqueeze": reshape, "Where": _where,
}  # fmt: skip
