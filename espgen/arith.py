"""The arithmetic contract: every rounding, saturation and requantization of espgen, exactly, in numpy.

docs/arithmetic.md states the same as formulas; firmware/include/espgen/arith.h and the PIE kernels give the same bytes.
Notation: rne = round to nearest, ties to even; sat = saturate to the output type and to the node's bounds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from espgen.errors import EspgenError

IntArray = npt.NDArray[np.int64]

POWER_OF_TWO_TOLERANCE = 2.0**-20
"""A ratio of float32 scales this close (relative) to a power of two is meant to be one."""

_NARROW_BITS = 15
_WIDE_BITS = 31
_MAX_SHIFT = 62
_LEAST_SPLIT = -8


@dataclass(frozen=True)
class Shift:
    """y = sat(z + rne(acc / 2^shift[c])); one entry per tensor or one per output channel."""

    shift: tuple[int, ...]


@dataclass(frozen=True)
class Scale:
    """y = sat(z + R(acc)) for 8-bit outputs and arbitrary ratios, in 16-bit products and one rounding.

    t = clip(acc, -2^(15+split), 2^(15+split) - 1);  R = rne((upper * high[c] + lower * low[c]) / 2^shift[c]) with
    split >  0: upper = t >> split, lower = t mod 2^split;   high ~ ratio * 2^(shift + split), low ~ ratio * 2^shift
    split <= 0: upper = t * 2^-split, lower = t;             high * 2^-split + low ~ ratio * 2^shift
    and 2^14 - 1 <= high < 2^15, 0 <= low < 2^15. Every factor fits 16 signed bits, so two 16-bit multiply-accumulates
    and one rounding shift compute it exactly in vector code (espgen/codegen/pie/). `split` is one per node: the
    saturation of t lies outside the output range of every channel, or outside of what the accumulators can reach.
    A channel that can only give 0 has high = low = shift = 0.
    """

    split: int
    high: tuple[int, ...]
    low: tuple[int, ...]
    shift: tuple[int, ...]


@dataclass(frozen=True)
class WideScale:
    """y = sat(z + rne((t * multiplier[c]) / 2^shift[c])), t = clip(acc >> split, int32): for 16-bit and wider outputs."""

    split: int
    multiplier: tuple[int, ...]
    shift: tuple[int, ...]


Requant = Shift | Scale | WideScale


@dataclass(frozen=True)
class Ratio:
    """y = sat(z + rne(sum * numerator / denominator)): averages and means, exact in int64."""

    numerator: int
    denominator: int


@dataclass(frozen=True)
class Weights:
    """y = sat(z + rne((sum_i (x_i - z_i) * multiplier[i]) / 2^shift)): sums of differently scaled operands, one rounding."""

    multiplier: tuple[int, ...]
    shift: int


def rne_shift(value: npt.ArrayLike, shift: npt.ArrayLike) -> IntArray:
    """value / 2^shift rounded to nearest, ties to even; shift >= 0, elementwise on int64."""
    wide = np.asarray(value, dtype=np.int64)
    amount = np.minimum(np.asarray(shift, dtype=np.int64), _MAX_SHIFT)
    floor = wide >> amount
    remainder = wide - (floor << amount)
    half = np.where(amount > 0, np.int64(1) << np.maximum(amount - 1, 0), 0)
    up = (amount > 0) & ((remainder > half) | ((remainder == half) & ((floor & 1) == 1)))
    return np.asarray(floor + up, dtype=np.int64)


def rne_divide(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> IntArray:
    """numerator / denominator rounded to nearest, ties to even; denominator > 0, elementwise on int64."""
    top = np.asarray(numerator, dtype=np.int64)
    bottom = np.asarray(denominator, dtype=np.int64)
    floor = top // bottom
    twice = 2 * (top - floor * bottom)
    up = (twice > bottom) | ((twice == bottom) & ((floor & 1) == 1))
    return np.asarray(floor + up, dtype=np.int64)


def saturate(value: npt.ArrayLike, low: int, high: int) -> IntArray:
    """Clip to [low, high] in int64."""
    return np.clip(np.asarray(value, dtype=np.int64), low, high)


def requantize(acc: npt.ArrayLike, requant: Requant, zero_point: int, low: int, high: int) -> IntArray:
    """Accumulators [..., channels] to outputs in [low, high] by the node's `requant` (int64 array, same shape)."""
    wide = np.asarray(acc, dtype=np.int64)
    if isinstance(requant, Shift):
        rounded = rne_shift(wide, np.asarray(requant.shift, dtype=np.int64))
    elif isinstance(requant, Scale):
        rounded = _scaled(wide, requant)
    else:
        bounded = np.clip(wide >> requant.split, -(2**31), 2**31 - 1)
        rounded = rne_shift(bounded * np.asarray(requant.multiplier, dtype=np.int64), np.asarray(requant.shift, dtype=np.int64))
    return saturate(rounded + zero_point, low, high)


def _scaled(acc: IntArray, requant: Scale) -> IntArray:
    limit = 1 << (15 + requant.split)
    bounded = np.clip(acc, -limit, limit - 1)
    if requant.split > 0:
        upper = bounded >> requant.split
        lower = bounded - (upper << requant.split)
    else:
        upper, lower = bounded << -requant.split, bounded
    products = upper * np.asarray(requant.high, dtype=np.int64) + lower * np.asarray(requant.low, dtype=np.int64)
    return rne_shift(products, np.asarray(requant.shift, dtype=np.int64))


def apply_ratio(total: npt.ArrayLike, ratio: Ratio, zero_point: int, low: int, high: int) -> IntArray:
    """sat(zero_point + rne(total * numerator / denominator))."""
    return saturate(rne_divide(np.asarray(total, dtype=np.int64) * ratio.numerator, ratio.denominator) + zero_point, low, high)


def apply_weights(operands: Sequence[npt.ArrayLike], weights: Weights, zero_point: int, low: int, high: int) -> IntArray:
    """Weighted sum of zero-point-free `operands` (broadcast together) with one rounding."""
    total: IntArray = np.zeros((), dtype=np.int64)
    for operand, multiplier in zip(operands, weights.multiplier, strict=True):
        total = total + np.asarray(operand, dtype=np.int64) * multiplier
    return saturate(rne_shift(total, weights.shift) + zero_point, low, high)


def is_power_of_two(ratio: float) -> bool:
    """Whether a ratio of float32 scales is meant to be a power of two."""
    if not 0.0 < ratio < math.inf:
        return False
    exponent = round(math.log2(ratio))
    return bool(abs(ratio * 2.0**-exponent - 1.0) <= POWER_OF_TWO_TOLERANCE)


def choose_requant(ratios: Sequence[float], bounds: Sequence[int], output_bits: int, *, node: str | None = None) -> Requant:
    """The cheapest exact form for accumulators with |acc| <= bounds[c] and outputs acc * ratios[c] of `output_bits`.

    `Shift` where every ratio is 2^-n, n >= 0; else `Scale` for 8-bit and `WideScale` for wider outputs. Raises EspgenError
    where a ratio is too large for its multiplier, or no number.
    """
    _check_ratios(ratios, node)
    exponents = [-round(math.log2(ratio)) for ratio in ratios]
    if all(is_power_of_two(ratio) for ratio in ratios) and min(exponents) >= 0:
        uniform = set(exponents)
        return Shift((exponents[0],) if len(uniform) == 1 else tuple(exponents))
    if output_bits <= 8:
        return _choose_scale(ratios, bounds, node)
    return _choose_wide(ratios, bounds, node)


def _choose_scale(ratios: Sequence[float], bounds: Sequence[int], node: str | None) -> Scale:
    split = _choose_split(ratios, bounds)
    high, low, shift = [], [], []
    for ratio, bound in zip(ratios, bounds, strict=True):
        if ratio * bound < 0.5:
            high.append(0)
            low.append(0)
            shift.append(0)
            continue
        one_high, one_low, amount = _factors(ratio, split)
        if amount < 0:
            raise _too_large(ratio, node)
        high.append(one_high)
        low.append(one_low)
        shift.append(amount)
    return Scale(split, tuple(high), tuple(low), tuple(shift))


def _choose_split(ratios: Sequence[float], bounds: Sequence[int]) -> int:
    """The smallest split that covers the output range of every channel.

    A split above 0 grows until it covers every possible accumulator, so that nothing needs clipping, where what this costs in
    precision (the rounding of `low`, ratio * 2^(2 split - 18) on average) stays below 2^-12, by 2 at most.
    """
    limit = max(min(bound + 1.0, 256.0 / ratio) for ratio, bound in zip(ratios, bounds, strict=True))
    split = max(_LEAST_SPLIT, math.ceil(math.log2(limit)) - 15)
    whole = max(bounds).bit_length() - 15
    if 0 < split < whole <= split + 2 and max(ratios) * 2.0 ** (2 * whole - 18) <= 2.0**-12:
        return whole
    return split


def _factors(ratio: float, split: int) -> tuple[int, int, int]:
    """high, low and shift of `Scale` for one channel."""
    if split > 0:
        high, amount = _normalized(ratio * 2.0**split, _NARROW_BITS)
        return high, round(ratio * 2.0**amount), amount
    if split == 0:
        fine, amount = _normalized(ratio, _NARROW_BITS + 1)
        fine = min(fine, 2 * (2**_NARROW_BITS - 1))
        return fine >> 1, fine - (fine >> 1), amount
    _, amount = _normalized(ratio * 2.0**split, _NARROW_BITS)
    fine = round(ratio * 2.0**amount)
    return fine >> -split, fine - (fine >> -split << -split), amount


def _choose_wide(ratios: Sequence[float], bounds: Sequence[int], node: str | None) -> WideScale:
    limit = max(min(bound + 1.0, 2.0**17 / ratio) for ratio, bound in zip(ratios, bounds, strict=True))
    split = max(0, math.ceil(math.log2(limit)) - 31)
    multiplier, shift = [], []
    for ratio, bound in zip(ratios, bounds, strict=True):
        if ratio * bound < 0.5:
            multiplier.append(0)
            shift.append(0)
            continue
        value, amount = _normalized(ratio * 2.0**split, _WIDE_BITS)
        if amount < 0:
            raise _too_large(ratio, node)
        multiplier.append(value)
        shift.append(min(amount, _MAX_SHIFT))
        if amount > _MAX_SHIFT:
            multiplier[-1] = round(ratio * 2.0 ** (split + _MAX_SHIFT))
    return WideScale(split, tuple(multiplier), tuple(shift))


def _normalized(ratio: float, bits: int) -> tuple[int, int]:
    """(m, s) with ratio ~ m / 2^s and 2^(bits-1) <= m < 2^bits."""
    amount = bits - 1 - math.floor(math.log2(ratio))
    multiplier = round(ratio * 2.0**amount)
    if multiplier == 1 << bits:
        multiplier, amount = multiplier >> 1, amount - 1
    return multiplier, amount


def choose_weights(ratios: Sequence[float], output_bits: int, *, node: str | None = None) -> Weights:
    """Multipliers for a sum of operands with scale ratios s_i / s_y (negative ratio: subtracted operand).

    15-bit multipliers for 8-bit outputs, 30-bit ones for wider; exact where all ratios are powers of two within that range.
    """
    _check_ratios([abs(ratio) for ratio in ratios], node)
    bits = _NARROW_BITS if output_bits <= 8 else _WIDE_BITS - 1
    largest = max(abs(ratio) for ratio in ratios)
    _, amount = _normalized(largest, bits)
    if amount < 0:
        raise _too_large(largest, node)
    amount = min(amount, _MAX_SHIFT)
    snapped = [_snap(ratio) for ratio in ratios]
    if all(is_power_of_two(abs(ratio)) for ratio in ratios):
        finest = max(0, max(-round(math.log2(abs(ratio))) for ratio in ratios))
        amount = min(amount, finest)
    return Weights(tuple(round(ratio * 2.0**amount) for ratio in snapped), amount)


def _snap(ratio: float) -> float:
    """A ratio meant to be a power of two, made one."""
    if is_power_of_two(abs(ratio)):
        return math.copysign(2.0 ** round(math.log2(abs(ratio))), ratio)
    return ratio


def choose_ratio(ratio: float, count: int) -> Ratio:
    """Numerator and denominator for an average over `count` elements times the scale ratio s_x / s_y (24 bits)."""
    _check_ratios([ratio], None)
    snapped = _snap(ratio)
    if snapped == 1.0:
        return Ratio(1, count)
    multiplier, amount = _normalized(snapped, 24)
    while multiplier % 2 == 0 and amount > 0:
        multiplier, amount = multiplier // 2, amount - 1
    if amount < 0:
        multiplier, amount = multiplier << -amount, 0
    return Ratio(multiplier, count << amount)


def quantize(real: npt.ArrayLike, scale: npt.ArrayLike, zero_point: npt.ArrayLike, low: int, high: int) -> IntArray:
    """ONNX QuantizeLinear in float32: sat(rint(real / scale) + zero_point), NaN becomes zero_point."""
    quotient = np.asarray(real, dtype=np.float32) / np.asarray(scale, dtype=np.float32)
    rounded = np.rint(np.nan_to_num(quotient.astype(np.float64), nan=0.0, posinf=1e9, neginf=-1e9))
    return saturate(np.clip(rounded, -1e9, 1e9).astype(np.int64) + np.asarray(zero_point, dtype=np.int64), low, high)


def dequantize(integer: npt.ArrayLike, scale: npt.ArrayLike, zero_point: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """ONNX DequantizeLinear: (integer - zero_point) * scale in float32."""
    difference = np.asarray(integer, dtype=np.int64) - np.asarray(zero_point, dtype=np.int64)
    return difference.astype(np.float32) * np.asarray(scale, dtype=np.float32)


def _check_ratios(ratios: Sequence[float], node: str | None) -> None:
    """Scales far apart (1e-38 and 1e38 are both float32) have a quotient of 0 or infinity."""
    for ratio in ratios:
        if not 0.0 < ratio < math.inf:
            raise EspgenError(
                f"scale ratio {ratio:.6g} is no positive number", node=node,
                hint="the scales around this node are absurdly far apart: re-quantize the model",
            )  # fmt: skip


def _too_large(ratio: float, node: str | None) -> EspgenError:
    return EspgenError(
        f"scale ratio {ratio:.6g} is too large to requantize",
        node=node,
        hint="the output scale is far smaller than input scale times weight scale: re-quantize the model",
    )
