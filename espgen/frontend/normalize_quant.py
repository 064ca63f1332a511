"""QuantizeLinear and DequantizeLinear: scale, zero point and axis become the attribute `quant`."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto

from espgen.errors import EspgenError
from espgen.frontend.attributes import read_attributes
from espgen.frontend.importer import Importer
from espgen.frontend.scales import revived, without_blocks
from espgen.frontend.tensors import numpy_type, type_name
from espgen.ir import QuantParams

_QUANTIZED = {"int8", "uint8", "int16", "uint16"}
_DEQUANTIZED = _QUANTIZED | {"int32"}


def quantize_linear(importer: Importer, node: NodeProto, name: str) -> None:
    """QuantizeLinear(x): attr quant. Constant floats are quantized at once, in float32 as ONNX defines it."""
    attrs = _attributes(node, name)
    source = _operand(importer, node, name, 2, 3)
    if importer.type(source).dtype.kind in "iub":
        raise _bad(node, name, f"quantizes {importer.type(source).dtype.name}", "quantize float values")
    zero_name = node.input[2] if len(node.input) > 2 else ""
    zero_point = importer.parameter(zero_name, "zero point", name)
    if zero_name in importer.four_bit:
        raise _bad(node, name, "quantizes to four bits", "use int8, uint8, int16 or uint16")
    dtype = _output_type(node, name, zero_point, int(attrs.get("output_dtype", 0)))
    quant = _parameters(importer, node, name, dtype, zero_point, attrs)
    output = node.output[0]
    data = importer.constant(source)
    if data is not None:
        if not np.all(np.isfinite(data.astype(np.float64))):
            raise _bad(node, name, "quantizes a constant that is not finite", "correct the weights in the model")
        _, living = revived(np.zeros_like(data, dtype), quant)
        importer.fold(output, quantize(data, living, dtype), name)
        return
    importer.declare(output, importer.shape(source), dtype, name)
    importer.quants[output] = quant
    importer.emit(name, "QuantizeLinear", (source,), (output,), {"quant": quant})


def dequantize_linear(importer: Importer, node: NodeProto, name: str) -> None:
    """DequantizeLinear(x): attr quant. Not folded, as later stages need the integers, but for constants of 64 bits."""
    attrs = _attributes(node, name)
    source = _operand(importer, node, name, 2, 3)
    dtype = importer.type(source).dtype
    wide = dtype.name == "int64" and source in importer.constants
    if dtype.name not in _DEQUANTIZED and not wide:
        raise _bad(node, name, f"dequantizes {dtype.name}", "use int8, uint8, int16, uint16 or int32")
    zero_point = importer.parameter(node.input[2] if len(node.input) > 2 else "", "zero point", name)
    if zero_point is not None and zero_point.dtype != dtype:
        raise _bad(
            node,
            name,
            f"has a zero point of {zero_point.dtype.name} for data of {dtype.name}",
            "make both types the same",
        )
    quant = _parameters(importer, node, name, dtype, zero_point, attrs)
    if 0.0 in quant.scale:
        data, quant = revived(importer.constants[source], quant)
        source = importer.fresh(f"{source}/living")
        importer.fold(source, data, name)
    importer.dequantized[node.output[0]] = (source, quant)
    if wide:  # biases of TensorFlow's 16-bit models, which ONNX itself has no type for
        real = importer.parameter(node.output[0], "bias", name)
        assert real is not None
        importer.fold(node.output[0], real, name)
        return
    importer.declare(node.output[0], importer.shape(source), np.dtype(np.float32), name)
    importer.emit(name, "DequantizeLinear", (source,), (node.output[0],), {"quant": quant})


def quantize(data: np.ndarray, quant: QuantParams, dtype: np.dtype) -> np.ndarray:
    """saturate(rne(data / scale) + zero_point), the division in float32 as ONNX has it."""
    shape = [1] * data.ndim
    if quant.axis is not None:
        shape[quant.axis] = -1
    scale = np.array(quant.scale, dtype=np.float32).reshape(shape)
    zero_point = np.array(quant.zero_point, dtype=np.int64).reshape(shape)
    with np.errstate(all="ignore"):
        steps = np.rint(data.astype(np.float32) / scale).astype(np.float64)
    limits = np.iinfo(dtype)
    result = np.clip(np.nan_to_num(steps, nan=0.0) + zero_point, limits.min, limits.max)
    quantized: np.ndarray = result.reshape(data.shape).astype(dtype)
    return quantized


_ATTRIBUTES = {"axis", "block_size", "output_dtype", "precision", "saturate"}


def _attributes(node: NodeProto, name: str) -> dict[str, int]:
    """Attributes of both operators, in every opset and domain; all of them are integers."""
    attrs = read_attributes(node, None, name)
    for key, value in attrs.items():
        if key not in _ATTRIBUTES or not isinstance(value, int):
            raise _bad(node, name, f"has an attribute {key!r} it does not know, or of a wrong type", "export the model again")
    return attrs


def _operand(importer: Importer, node: NodeProto, name: str, least: int, most: int) -> str:
    if not least <= len(node.input) <= most or len(node.output) != 1 or not node.input[0] or not node.output[0]:
        raise _bad(node, name, "needs x, scale and an optional zero point, and one output", "export the model again")
    return str(node.input[0])


def _output_type(node: NodeProto, name: str, zero_point: np.ndarray | None, declared: int) -> np.dtype:
    if zero_point is not None:
        dtype = np.dtype(zero_point.dtype)
        if declared and numpy_type(declared, "output_dtype", name) != dtype:
            raise _bad(node, name, f"has output_dtype {type_name(declared)}, zero point {dtype.name}", "make both the same")
    else:
        dtype = numpy_type(declared, "output_dtype", name) if declared else np.dtype(np.uint8)
    if dtype.name not in _QUANTIZED:
        raise _bad(node, name, f"quantizes to {dtype.name}", "use int8, uint8, int16 or uint16")
    return np.dtype(dtype)


def _parameters(
    importer: Importer,
    node: NodeProto,
    name: str,
    dtype: np.dtype,
    zero_point: np.ndarray | None,
    attrs: dict[str, int],
) -> QuantParams:
    scale = importer.parameter(node.input[1], "scale", name)
    if scale is None:
        raise _bad(node, name, "has no scale", "give it a constant scale")
    if scale.dtype.kind != "f" and scale.dtype.name != "bfloat16":
        raise _bad(node, name, f"has a scale of type {scale.dtype.name}", "make the scale float32")
    shape, axis = importer.shape(node.input[0]), attrs.get("axis", 1)
    if attrs.get("block_size", 0):
        scale, zero_point, axis = _unblocked(node, name, scale, zero_point, shape, attrs)
    values = tuple(float(value) for value in scale.astype(np.float64).reshape(-1))
    constant = node.input[0] in importer.constants
    if not values or not all(0.0 < value < float("inf") or (constant and value == 0.0) for value in values):
        raise _bad(node, name, "has a scale that is not positive and finite", "calibrate the model again")
    points = (0,) * len(values) if zero_point is None else tuple(int(value) for value in zero_point.reshape(-1))
    if zero_point is not None and zero_point.dtype.kind not in "iu":
        raise _bad(node, name, f"has a zero point of type {zero_point.dtype.name}", "make the zero point an integer")
    if len(points) == 1 and len(values) > 1:
        points *= len(values)
    if scale.ndim > 1 or len(points) != len(values):
        raise _bad(
            node,
            name,
            f"has {len(values)} scales (rank {scale.ndim}) and {len(points)} zero points",
            "give one per channel",
        )
    if dtype == np.int32 and any(points):
        raise _bad(node, name, "has int32 data with a zero point", "use zero point 0 for int32")
    limits = np.iinfo(dtype)
    if any(not limits.min <= point <= limits.max for point in points):
        raise _bad(node, name, "has a zero point outside its type's range", "calibrate the model again")
    if scale.ndim == 0 or (len(values) == 1):
        return QuantParams(values, points)
    if not -len(shape) <= axis < len(shape) or shape[axis] != len(values):
        raise _bad(node, name, f"has {len(values)} scales for axis {axis} of shape {list(shape)}", "give one scale per channel")
    return QuantParams(values, points, axis % len(shape))


def _unblocked(
    node: NodeProto, name: str, scale: np.ndarray, zero_point: np.ndarray | None, shape: tuple[int, ...], attrs: dict[str, int]
) -> tuple[np.ndarray, np.ndarray | None, int]:
    """Scales, zero points and axis where blocks differ along one axis at most; EspgenError where they do not."""
    size, axis = attrs["block_size"], attrs.get("axis", 1)
    if size < 1 or not -len(shape) <= axis < len(shape):
        raise _bad(node, name, f"has blocks of {size} along axis {axis} of {list(shape)}", "export the model again")
    points = np.zeros(scale.shape, np.int8) if zero_point is None else zero_point
    try:
        (scales, points), axis = without_blocks(scale, points, shape, axis, size)
    except ValueError as problem:
        raise _bad(node, name, f"is quantized in blocks: {problem}", "quantize per tensor or per channel") from None
    return scales, None if zero_point is None else points, axis


def _bad(node: NodeProto, name: str, problem: str, hint: str) -> EspgenError:
    return EspgenError(f"{node.op_type} {problem}", node=name, place=f"operator {node.op_type}", hint=hint)
