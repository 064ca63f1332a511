"""Changes of scale and type of one value: what QuantizeLinear makes of a DequantizeLinear's result.

Integers of 8 bits have 256 values: the result is compared with ONNX's float32 arithmetic for all of them. Where a sum of one
operand with one rounding gives the same (it is the fastest form), it is used, else a table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from espgen import arith
from espgen.errors import EspgenError
from espgen.ir import DType, Value
from espgen.ops.broadcast import reach
from espgen.ops.lowering import LoweringContext
from espgen.ops.strides import IntArray

EVERY_INT8 = np.arange(-128, 128)

_BITS = {1: 15, 2: 30}
"""Bits of a multiplier, by bytes of the widest value."""


def sum_weights(values: Sequence[Value], ratios: Sequence[float], result: Value, node: str) -> arith.Weights:
    """Weights for the ratios s_i / s_y of `values`; EspgenError naming `node` where 64 bits could overflow."""
    # A 16-bit constant beside 8-bit values has a small ratio: 15-bit multipliers would leave it a handful of bits.
    bits = 8 * max(value.dtype.size for value in (*values, result))
    weights = arith.choose_weights(ratios, bits, node=node)
    total = sum(reach(value) * abs(factor) for value, factor in zip(values, weights.multiplier, strict=True))
    if total >= 1 << 62:
        raise EspgenError("the sum needs more than 62 bits", node=node, hint="re-quantize: the operands' scales differ too much")
    return weights


def emit_requantize(
    context: LoweringContext, name: str, operand: str, source: Value, output: str, limits: Mapping[str, int], node: str
) -> None:
    """Append integer node `name` that makes `output`, within `limits` (low, high), from `operand`, which holds `source`.

    EspgenError naming the model's `node` for a ratio of 16- or 32-bit scales that no multiplier holds.
    """
    result = context.values[output]
    ratio = source.scale / result.scale
    if source.dtype is not DType.INT8:
        weights = sum_weights((source,), (ratio,), result, node)
        context.emit(name, "add", (operand,), (output,), weights=weights, **limits)
        return
    wanted = requantized(source, result, **limits)
    centred = EVERY_INT8 - source.zero_point
    for weights in _candidates(ratio, _BITS[result.dtype.size]):
        if np.array_equal(arith.apply_weights([centred], weights, result.zero_point, **limits), wanted):
            context.emit(name, "add", (operand,), (output,), weights=weights, **limits)
            return
    context.emit(name, "table", (operand,), (output,), table=wanted.astype(result.dtype.numpy), **limits)


def requantized(source: Value, result: Value, low: int, high: int) -> IntArray:
    """The result for every integer of `source` (int8): a product and a quotient in float32, ties to even."""
    real = arith.dequantize(EVERY_INT8, source.scale, source.zero_point)
    return arith.quantize(real, result.scale, result.zero_point, low, high)


def _candidates(ratio: float, bits: int) -> Iterator[arith.Weights]:
    """Weights for a ratio, and those beside them: a tie that float32 breaks to one side is no tie there."""
    if not 2.0**-40 < ratio < 2.0 ** (bits - 1):
        return
    weights = arith.choose_weights([ratio], 8 if bits == _BITS[1] else 16)
    yield weights
    finer = bits - weights.multiplier[0].bit_length()
    multiplier, shift = weights.multiplier[0] << finer, weights.shift + finer
    for near in (multiplier - 1, multiplier + 1):
        if near.bit_length() <= bits:
            yield arith.Weights((near,), shift)
