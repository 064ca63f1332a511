"""Bias correction per output channel (Nagel et al. 2019, section 4.2), matched behind the activation bound."""

from __future__ import annotations

import numpy as np

ITERATIONS = 4
LEAST_SHARE = 0.02


def mean_correction(real: np.ndarray, target: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """What to add to each channel so that the bounded output has the target's mean.

    real: quantized layer before its bound, float32 [samples, channels, positions]; target: float output behind the bound,
    same shape; low, high: the bound per channel. Newton steps on mean(bound(real + d)) = mean(target) with the share of
    unbounded samples as slope (at least 2 %, so that almost dead channels stay where they are).
    """
    wanted = channel_means(target)
    if np.isinf(low).all() and np.isinf(high).all():
        return np.asarray(wanted - channel_means(real))
    shift = np.zeros(real.shape[1])
    low, high = low.astype(np.float32)[:, None], high.astype(np.float32)[:, None]
    moved = np.empty_like(real)
    for _ in range(ITERATIONS):
        np.add(real, shift.astype(np.float32)[:, None], out=moved)
        slope = np.maximum(share_inside(moved, low, high), LEAST_SHARE)
        np.clip(moved, low, high, out=moved)
        shift -= (channel_means(moved) - wanted) / slope
    return shift


def channel_means(values: np.ndarray) -> np.ndarray:
    """float64 means per channel of float32 [samples, channels, positions].

    Positions are summed in float32, pairwise: a float64 sum of them all would take four times as long.
    """
    sums = values.sum(axis=2).astype(np.float64)
    return np.asarray(sums.mean(axis=0) / values.shape[2])


def share_inside(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Share of values strictly between the bounds, per channel."""
    inside = values > low
    if not np.isinf(high).all():
        inside &= values < high
    return np.asarray(np.count_nonzero(inside, axis=(0, 2)) / (values.shape[0] * values.shape[2]))
