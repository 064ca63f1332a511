"""Bias correction per output channel (Nagel et al. 2019, section 4.2), matched behind the activation bound."""

from __future__ import annotations

import numpy as np

ITERATIONS = 4
LEAST_SHARE = 0.02


def mean_correction(real: np.ndarray, target: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """What to add to each channel so that the bounded output has the target's mean.

    real: quantized layer before its bound, float32 [rows, channels]; target: float output behind the bound, same shape;
    low, high: the bound per channel. Newton steps on mean(bound(real + d)) = mean(target) with the share of unbounded
    samples as slope (at least 2 %, so that almost dead channels stay where they are).
    """
    wanted = target.mean(axis=0, dtype=np.float64)
    shift = np.zeros(real.shape[1])
    if np.isinf(low).all() and np.isinf(high).all():
        return np.asarray(wanted - real.mean(axis=0, dtype=np.float64))
    low, high = low.astype(np.float32), high.astype(np.float32)
    moved = np.empty_like(real)
    for _ in range(ITERATIONS):
        np.add(real, shift.astype(np.float32), out=moved)
        slope = np.maximum(((moved > low) & (moved < high)).mean(axis=0), LEAST_SHARE)
        np.clip(moved, low, high, out=moved)
        shift -= (moved.mean(axis=0, dtype=np.float64) - wanted) / slope
    return shift
