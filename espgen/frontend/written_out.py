"""Quantization written out in other operators, as PyTorch's PT2E and others export it, and QONNX's Quant, made Q and DQ.

Q:  x / s (or x * 1/s), Round, + z, Clip, Cast to integers; DQ: Cast to float, - z, * s, also with the casts left out.
A model that holds none of the operators of `SIGNS` is left as it is: there Cast and Mul are what they look like.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import NodeProto

from espgen.errors import EspgenError
from espgen.frontend.attributes import read_attributes
from espgen.frontend.importer import Importer
from espgen.frontend.normalize_quant import quantize
from espgen.ir import Node, QuantParams

SIGNS = frozenset({"QuantizeLinear", "Quant", "Round", "QLinearConv", "QLinearMatMul", "QGemm"})
QUANT_DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas")

_TYPES: tuple[np.dtype[Any], ...] = tuple(np.dtype(kind) for kind in (np.int8, np.uint8, np.int16, np.uint16))
_CAST_TO = {"int8", "uint8", "int16", "uint16", "int32"}


@dataclass(frozen=True)
class Rounded:
    """round(source / scale) + zero_point, cut to low..high."""

    source: str
    scale: float
    zero_point: int
    low: float
    high: float


def cast_to_integers(importer: Importer, source: str, output: str, dtype: np.dtype, name: str) -> bool:
    """Cast(Clip(Round(x / s) + z)) becomes QuantizeLinear of x; whether it was that."""
    found = _rounded(importer, source) if importer.written_out and dtype.name in _CAST_TO else None
    kind = None if found is None else _type_for(found, dtype)
    if found is None or kind is None:
        return False
    _emit_quantize(importer, name, found, kind, output if kind == dtype else importer.fresh(f"{output}/codes"), output, dtype)
    return True


def product(importer: Importer, node: NodeProto, name: str) -> bool:
    """Mul(Sub(Cast(integers), z), s) becomes DequantizeLinear of the integers; whether it was that."""
    if not importer.written_out or node.op_type != "Mul" or len(node.input) != 2:
        return False
    for scales, others in (node.input, node.input[::-1]):
        scale = importer.constant(scales)
        if scale is None or scale.dtype.kind != "f" or not np.all(np.isfinite(scale)) or not np.all(scale > 0):
            continue
        shifted = others
        zero = _subtracted(importer, shifted)
        base, point = (shifted, None) if zero is None else zero
        codes = _codes(importer, base, name)
        quant = None if codes is None else _quant(importer.shape(codes), scale, point)
        if codes is None or quant is None or np.broadcast_shapes(importer.shape(codes), scale.shape) != importer.shape(codes):
            continue
        output = node.output[0]
        importer.dequantized[output] = (codes, quant)
        importer.declare(output, importer.shape(codes), np.dtype(np.float32), name)
        importer.emit(name, "DequantizeLinear", (codes,), (output,), {"quant": quant})
        return True
    return False


def quant(importer: Importer, node: NodeProto, name: str) -> None:
    """QONNX's Quant (x, scale, zero point, bits; attributes signed, narrow, rounding_mode) becomes Q and DQ.

    Raises EspgenError where a parameter is computed at run time, for more than 16 bits, scales per channel of activations
    and rounding other than to nearest even.
    """
    attrs = read_attributes(node, None, name)
    names = [importer.resolve(item) for item in node.input]
    if len(names) != 4 or len(node.output) != 1:
        raise _bad(name, "needs x, scale, zero point and bit width, and one output")
    scale, zero_point, width = (importer.parameter(item, what, name) for item, what in zip(
        names[1:], ("scale", "zero point", "bit width"), strict=True))  # fmt: skip
    if scale is None or zero_point is None or width is None or width.size != 1:
        raise _bad(name, "needs a scale, a zero point and one bit width")
    bits, mode = int(width.reshape(-1)[0]), attrs.get("rounding_mode", b"ROUND")
    if (mode.decode() if isinstance(mode, bytes) else str(mode)).upper() not in ("ROUND", "HALF_EVEN"):
        raise _bad(name, f"rounds by {mode!r}", "export with rounding_mode ROUND")
    if not 2 <= bits <= 16:
        raise _bad(name, f"has {bits} bits", "use 2 to 16 bits")
    signed, narrow = bool(attrs.get("signed", 1)), bool(attrs.get("narrow", 0))
    low, high = (-(1 << (bits - 1)) + narrow, (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1 - narrow)
    dtype = np.dtype(("int" if signed else "uint") + ("8" if bits <= 8 else "16"))
    shape, output = importer.shape(names[0]), node.output[0]
    params = _quant(shape, scale, zero_point)
    data = importer.constant(names[0])
    if params is None or (params.axis is not None and data is None):
        raise _bad(name, "has scales of more than one axis, or per channel for an activation", "quantize activations per tensor")
    codes = importer.fresh(f"{output}/codes")
    if data is not None:
        importer.fold(codes, np.clip(quantize(data, params, dtype), low, high).astype(dtype), name)
    else:
        found = Rounded(names[0], params.scale[0], params.zero_point[0], low, high)
        _emit_quantize(importer, f"{name}/quantize", found, dtype, codes, codes, dtype)
    importer.dequantized[output] = (codes, params)
    importer.declare(output, shape, np.dtype(np.float32), name)
    importer.emit(name, "DequantizeLinear", (codes,), (output,), {"quant": params})


def _emit_quantize(
    importer: Importer, name: str, found: Rounded, kind: np.dtype, codes: str, output: str, dtype: np.dtype
) -> None:
    """QuantizeLinear to `kind`, Clip where the codes are cut closer than the type does, Cast where `dtype` is another type."""
    params, shape = QuantParams.tensor(found.scale, found.zero_point), importer.shape(found.source)
    limits = np.iinfo(kind)
    cut = found.low > limits.min or found.high < limits.max
    first = importer.fresh(f"{output}/whole") if cut else codes
    importer.declare(first, shape, kind, name)
    importer.quants[first] = params
    importer.emit(name, "QuantizeLinear", (found.source,), (first,), {"quant": params})
    if cut:
        low, high = int(max(found.low, limits.min)), int(min(found.high, limits.max))
        importer.declare(codes, shape, kind, name)
        importer.emit(f"{name}/clip", "Clip", (first,), (codes,), {"min": low, "max": high})
    if codes != output:
        importer.declare(output, shape, dtype, name)
        importer.emit(f"{name}/cast", "Cast", (codes,), (output,), {"to": dtype.name})


def _rounded(importer: Importer, name: str) -> Rounded | None:
    """What the value is, if it is a rounded quotient with an integer zero point added before or behind the rounding."""
    node, low, high = importer.maker(name), -np.inf, np.inf
    if node is not None and node.op == "Clip":
        low, high = (bound if bound is not None else far for bound, far in zip(
            (node.attrs["min"], node.attrs["max"]), (low, high), strict=True))  # fmt: skip
        node = importer.maker(node.inputs[0])
    behind, node = _added(importer, node)
    if node is None or node.op != "Round" or behind is None:
        return None
    source = node.inputs[0]
    before, node = _added(importer, importer.maker(source))
    if before is None or (before and behind):
        return None
    scale = 1.0
    if node is not None and (before or node.op in ("Div", "Mul")):
        factor = _factor(importer, node)
        if factor is None and before:
            return None
        source, scale = factor if factor is not None else (source, 1.0)
    return Rounded(source, scale, int(before + behind), low, high)


def _added(importer: Importer, node: Node | None) -> tuple[int | None, Node | None]:
    """(what Add or Sub of a constant integer adds, the node in front of it); (0, the node) of others; (None, ..) for parts."""
    if node is None or node.op not in ("Add", "Sub"):
        return 0, node
    constants = [(index, importer.constant(name)) for index, name in enumerate(node.inputs)]
    known = [(index, data) for index, data in constants if data is not None and data.size == 1]
    if len(known) != 1 or (node.op == "Sub" and known[0][0] == 0):
        return None, node
    index, data = known[0]
    value = float(np.asarray(data).reshape(-1)[0])
    if value != np.rint(value) or abs(value) > 1 << 16:
        return None, node
    return int(-value if node.op == "Sub" else value), importer.maker(node.inputs[1 - index])


def _factor(importer: Importer, node: Node) -> tuple[str, float] | None:
    """(x, s) of x / s or x * (1 / s) by a positive number."""
    for source, other in (node.inputs, node.inputs[::-1]) if node.op == "Mul" else (node.inputs,):
        data = importer.constant(other)
        number = float(data.reshape(-1)[0]) if data is not None and data.size == 1 else 0.0
        if 0.0 < number < np.inf and node.op in ("Div", "Mul"):
            return source, number if node.op == "Div" else 1.0 / number
    return None


def _type_for(found: Rounded, dtype: np.dtype) -> np.dtype | None:
    """The type of the codes: `dtype`, or for wider ones the smallest that holds low..high."""
    if dtype in _TYPES:
        fits = np.iinfo(dtype).min <= found.zero_point <= np.iinfo(dtype).max
        return dtype if fits else None
    for kind in _TYPES:
        if np.iinfo(kind).min <= min(found.low, found.zero_point) and max(found.high, found.zero_point) <= np.iinfo(kind).max:
            return kind
    return None


def _subtracted(importer: Importer, name: str) -> tuple[str, np.ndarray] | None:
    """(x, z) where the value is x - z with constant integers z; constants say so themselves by how they were made."""
    if name in importer.shifted:
        return importer.shifted[name]
    node = importer.maker(name)
    if node is None or node.op not in ("Add", "Sub"):
        return None
    for index, operand in enumerate(node.inputs):
        data = importer.constant(operand)
        if data is not None and np.array_equal(data, np.rint(data)) and not (node.op == "Sub" and index == 0):
            return node.inputs[1 - index], data if node.op == "Sub" else -data
    return None


def _codes(importer: Importer, name: str, user: str) -> str | None:
    """The integers that a float value holds: what was cast to it, or what it rounds; None where it holds none."""
    if name in importer.cast_from:
        return importer.cast_from[name]
    node = importer.maker(name)
    while node is not None and node.op == "Cast":
        source = node.inputs[0]
        maker = importer.maker(source)
        if maker is not None and importer.type(source).dtype in _TYPES and _is_quantized(importer, maker):
            return source
        node = maker
    found = _rounded(importer, name) if node is not None else None
    kind = None if found is None else _type_for(found, np.dtype(np.int32))
    if found is None or kind is None:
        return None
    codes = importer.fresh(f"{name}/codes")
    _emit_quantize(importer, f"{user}/quantize", found, kind, codes, codes, kind)
    return codes


def _is_quantized(importer: Importer, node: Node | None) -> bool:
    while node is not None and node.op == "Clip":
        node = importer.maker(node.inputs[0])
    return node is not None and node.op == "QuantizeLinear"


def _quant(shape: tuple[int, ...], scale: np.ndarray, zero_point: np.ndarray | None) -> QuantParams | None:
    """Scales and zero points that broadcast to `shape`, per tensor or along one axis; None where they differ along two."""
    points = np.zeros((), np.int64) if zero_point is None else np.rint(zero_point.astype(np.float64)).astype(np.int64)
    found = np.broadcast_arrays(np.asarray(scale, np.float64), points)
    rank = found[0].ndim
    varying = [axis for axis in range(rank) if found[0].shape[axis] > 1]
    if len(varying) > 1 or rank > len(shape):
        return None
    scales, zeros = (tuple(data.reshape(-1).tolist()) for data in found)
    if not varying:
        return QuantParams(scales, zeros)
    return QuantParams(scales, zeros, varying[0] + len(shape) - rank)


def remember(importer: Importer, node: NodeProto, operands: dict[str, np.ndarray], results: list[np.ndarray]) -> None:
    """Note of a folded Cast or Sub what integers it came from, so that a Mul behind it is known for what it is."""
    if not importer.written_out:
        return
    note = _NOTES.get(node.op_type)
    if note is not None and len(node.output) == 1 and results[0].dtype.kind == "f":
        note(importer, node, operands)


def _note_cast(importer: Importer, node: NodeProto, operands: dict[str, np.ndarray]) -> None:
    if operands[node.input[0]].dtype in _TYPES:
        importer.cast_from[node.output[0]] = node.input[0]


def _note_sub(importer: Importer, node: NodeProto, operands: dict[str, np.ndarray]) -> None:
    base, zero = node.input
    if base in importer.cast_from and np.array_equal(operands[zero], np.rint(operands[zero])):
        importer.shifted[node.output[0]] = (base, operands[zero])


_NOTES: dict[str, Callable[[Importer, NodeProto, dict[str, np.ndarray]], None]] = {"Cast": _note_cast, "Sub": _note_sub}


def _bad(name: str, problem: str, hint: str = "export the model again") -> EspgenError:
    return EspgenError(f"Quant {problem}", node=name, place="operator Quant", hint=hint)
