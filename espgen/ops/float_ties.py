"""Which way float32 takes the exact ties of a mean.

A mean of integers is an exact tie wherever its sum is an odd multiple of half the divisor: 5 % of the elements of a 4x4 mean.
There the result says nothing about the network: a float engine rounds by the noise of its own sum, which the scale of the
elements makes, and for a power-of-two scale (no noise) to even. Off the ties float32 and integers agree, as the noise is far
smaller than the distance of a mean to the next tie. So the integer formula holds everywhere, and where it has an exact tie, and
only there, this module says where onnxruntime's float32 ends up: with it the layer equals onnxruntime's QDQ graph exactly.

The order of summation is that of MLAS' global pooling kernel (onnxruntime/core/mlas/lib/pooling.cpp,
MlasPoolGlobalKernels, x86-64): four lanes, added up in pairs, then the elements that are left. GlobalAveragePool and an
AveragePool whose window is the whole image go through it. ReduceMean sums in another order, QLinearGlobalAveragePool and
QLinearAveragePool sum integers: their ties go to even.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from espgen import arith
from espgen.ir import Value
from espgen.ops.broadcast import reach

LANES = 4
_EXACT_HALVES = 1 << 22
"""float32 holds n + 1/2 below it."""


@dataclass(frozen=True)
class FloatTies:
    """The float32 scales of a mean's input and output: what the rounding noise of float32 depends on besides the elements."""

    input_scale: float
    output_scale: float


def float_mean(centred: npt.NDArray[np.int64], scale: float) -> npt.NDArray[np.float32]:
    """float32 means [...] of `centred` * `scale` over the last axis ([..., positions], row by row, zero point taken off)."""
    products = centred.astype(np.float32) * np.float32(scale)
    count = products.shape[-1]
    lanes = np.zeros((*products.shape[:-1], LANES), np.float32)
    whole = count - count % LANES
    for first in range(0, whole, LANES):
        lanes = lanes + products[..., first : first + LANES]
    total = (lanes[..., 0] + lanes[..., 2]) + (lanes[..., 1] + lanes[..., 3])
    for position in range(whole, count):
        total = total + products[..., position]
    return np.asarray(total / np.float32(count), np.float32)


def round_means(centred: npt.NDArray[np.int64], ratio: arith.Ratio, ties: FloatTies) -> npt.NDArray[np.int64]:
    """rne(numerator * sum / denominator) over the last axis, except that exact ties go the way of float32 (int64 [...])."""
    wide = centred.sum(axis=-1) * ratio.numerator
    floor = wide // ratio.denominator
    tie = 2 * (wide - floor * ratio.denominator) == ratio.denominator
    quotient = float_mean(centred, ties.input_scale) / np.float32(ties.output_scale)
    half = floor.astype(np.float32) + np.float32(0.5)
    up = (quotient > half) | ((quotient == half) & (floor % 2 == 1))
    return np.asarray(np.where(tie, floor + up, arith.rne_divide(wide, ratio.denominator)), np.int64)


def float_ties(source: Value, result: Value, ratio: arith.Ratio, elements: int) -> FloatTies | None:
    """The rule for a mean of `elements` elements of `source`, or None where ties go to even.

    None where no sum can be a tie, where both scales are powers of two (float32 then sums without noise and rounds to
    even itself), and where the mean is too large for float32 to know halves.
    """
    scales = FloatTies(float(np.float32(source.scale)), float(np.float32(result.scale)))
    exact = Fraction(ratio.numerator, ratio.denominator)
    if exact.denominator % 2 or exact.denominator // 2 > reach(source) * elements:
        return None
    if all(math.frexp(scale)[0] == 0.5 for scale in (scales.input_scale, scales.output_scale)):
        return None
    return scales if exact * reach(source) * elements < _EXACT_HALVES else None
