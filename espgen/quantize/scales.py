"""Which scale and zero point a tensor or a weight row gets under each scheme."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from espgen.quantize.model import Scheme, TensorQuant

LEAST_SCALE = 1e-8
LARGEST_SHIFT = {8: 20, 16: 30}
# 20 keeps zero_point << shift far inside int32 and still lets a live row use all its bits.
BIAS_LIMIT = 2.0**29
_HEADROOM = 1.0 - 1e-6


def tensor_quant(low: float, high: float, scheme: Scheme, bits: int = 8) -> TensorQuant:
    """The finest grid of `scheme` that holds [low, high] and zero; 16-bit tensors always have zero point 0."""
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if scheme.symmetric:
        return TensorQuant(power_of_two_above(symmetric_need(low, high, bits)), 0, bits)
    half = 1 << (bits - 1)
    if bits == 16:
        return TensorQuant(_float32(symmetric_need(low, high, bits)), 0, bits)
    if low == 0.0:
        return TensorQuant(_float32(max(high / (2 * half - 1), LEAST_SCALE)), -half, bits)
    if high == 0.0:
        zero = half - 2
        return TensorQuant(_float32(max(-low / (zero + half), LEAST_SCALE)), zero, bits)
    exact = -half - low * (2 * half - 1) / (high - low)
    below = 2 * math.floor(exact / 2)
    options = [zero for zero in (below, below + 2) if -half < zero < half - 1]
    scaled = [(max(high / (half - 1 - zero), -low / (half + zero)), zero) for zero in options]
    scale, zero = min(scaled)
    return TensorQuant(_float32(max(scale, LEAST_SCALE)), zero, bits)


def symmetric_need(low: float, high: float, bits: int) -> float:
    """Smallest scale with zero point 0 that holds [low, high] with no error above half a step."""
    half = 1 << (bits - 1)
    return max(-low / (half + 0.5), high / (half - 0.5), LEAST_SCALE)


def power_of_two_above(scale: float) -> float:
    """The smallest power of two that is not below `scale` (a millionth part less counts as equal)."""
    return 2.0 ** math.ceil(math.log2(scale * _HEADROOM))


def common_factor(thresholds: Sequence[float]) -> float:
    """The factor in [1, 2) that puts one threshold on 127 * 2^k and leaves the others the least slack."""
    exponents = [math.log2(threshold / 127.0) for threshold in thresholds]

    def slack(fraction: float) -> float:
        return sum(math.ceil(value + fraction - 1e-6) - value - fraction for value in exponents)

    return float(2.0 ** min(((-value) % 1.0 for value in exponents), key=slack))


def _float32(scale: float) -> float:
    return float(np.float32(scale))


def weight_scale_candidates(largest: np.ndarray, bias: np.ndarray, input_scale: float, output_scale: float | None,
                            scheme: Scheme, bits: int = 8, shrink: int = 2) -> list[np.ndarray]:  # fmt: skip
    """Scales to try for each weight row: the covering one first, then ones that clip the row.

    largest: largest absolute weight per channel; bias: float bias per channel. Float32 results [channels].
    Every candidate keeps |bias| / (s_x * s_w) below 2^29 and, for `shift` and `esp-dl`, the shift
    k = log2(s_y / (s_x * s_w)) in 0..LARGEST_SHIFT; dead rows get the coarsest scale that is still exact for their bias.
    """
    top = float((1 << (bits - 1)) - 1)
    covering = np.maximum(np.abs(largest).astype(np.float64) / top, LEAST_SCALE * 2.0**-8)
    floor = np.maximum(np.abs(bias).astype(np.float64) / (input_scale * BIAS_LIMIT), 1e-30)
    if output_scale is None or scheme is Scheme.AFFINE:
        if scheme.symmetric:
            covering = 2.0 ** np.ceil(np.log2(covering * _HEADROOM))
            factors = [0.5**step for step in range(shrink + 1)]
        else:
            factors = [1.0, 0.92, 0.84, 0.75, 0.65][: 1 + 2 * shrink]
        if output_scale is not None:
            floor = np.maximum(floor, output_scale / input_scale * 2.0 ** -LARGEST_SHIFT[bits])
        floor = 2.0 ** np.ceil(np.log2(floor)) if scheme.symmetric else floor
        return [np.maximum(covering * factor, floor).astype(np.float32) for factor in factors]
    ratio = float(np.float64(output_scale) / np.float64(input_scale))
    exponent = np.floor(np.log2(ratio / (covering * _HEADROOM)))
    limit = np.minimum(np.floor(np.log2(ratio / floor)), LARGEST_SHIFT[bits])
    found = []
    for step in range(shrink + 1):
        chosen = np.clip(np.minimum(exponent + step, limit), 0, None)
        found.append((ratio * 2.0**-chosen).astype(np.float32))
    return found


def least_output_scale(largest: np.ndarray, input_scale: float, bits: int = 8) -> float:
    """The smallest output scale for which no row needs a negative shift."""
    top = float((1 << (bits - 1)) - 1)
    return float(np.max(np.abs(largest), initial=0.0)) * input_scale / top
