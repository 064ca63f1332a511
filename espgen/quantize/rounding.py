"""Weight rounding against the layer's own inputs.

Minimises tr(E H E') per output channel, E = Q s - W, H the centred covariance of the input rows (AdaRound's objective,
Nagel et al. 2020): greedy start after OBQ/GPTQ (Frantar et al. 2022), then coordinate descent over all weights, all
output channels at once. Arrays are [groups, inputs K, outputs O]; H is [groups, K, K].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

DAMPING = 0.01
BLOCK = 64


def shrink_covariance(covariance: np.ndarray, samples: int) -> np.ndarray:
    """H with its off-diagonal part times n / (K + n): without it, layers with few samples are overfitted."""
    inputs = covariance.shape[-1]
    keep = samples / (inputs + samples)
    diagonal = np.einsum("gii->gi", covariance).copy()
    shrunk = covariance * keep
    np.einsum("gii->gi", shrunk)[:] = diagonal
    return np.asarray(shrunk)


def objective(weights: np.ndarray, integers: np.ndarray, scale: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """e' H e per output channel, [groups, outputs]."""
    error = integers * scale[:, None, :] - weights
    return np.asarray(np.einsum("gko,gko->go", error, covariance @ error))


def nearest(weights: np.ndarray, scale: np.ndarray, low: int, high: int) -> np.ndarray:
    """Round to nearest, clipped to [low, high]; float array of integers."""
    return np.asarray(np.clip(np.rint(weights / scale[:, None, :]), low, high))


def greedy(weights: np.ndarray, scale: np.ndarray, covariance: np.ndarray, low: int, high: int) -> np.ndarray:
    """GPTQ: round one input after the other, largest diagonal first, and let the rest absorb the error."""
    groups, inputs, _ = weights.shape
    diagonal = np.einsum("gii->gi", covariance)
    order = np.argsort(-diagonal, axis=1, kind="stable")
    rows = np.arange(groups)[:, None]
    ordered = covariance[rows[:, :, None], order[:, :, None], order[:, None, :]].astype(np.float64)
    mean = diagonal.mean(axis=1)
    ordered[:, np.arange(inputs), np.arange(inputs)] += (DAMPING * mean + 1e-12 + 1e-9 * mean)[:, None]
    inverse = np.linalg.inv(ordered)
    upper = np.swapaxes(np.linalg.cholesky((inverse + np.swapaxes(inverse, 1, 2)) / 2), 1, 2)
    upper = upper.astype(np.float32)
    remaining = weights[rows, order].astype(np.float32)
    integers = np.empty_like(remaining)
    for start in range(0, inputs, BLOCK):
        stop = min(start + BLOCK, inputs)
        errors = np.empty((groups, stop - start, weights.shape[2]), np.float32)
        for index in range(start, stop):
            value = remaining[:, index]
            integers[:, index] = np.clip(np.rint(value / scale), low, high)
            error = (value - integers[:, index] * scale) / upper[:, index, index, None]
            errors[:, index - start] = error
            if index + 1 < stop:
                remaining[:, index + 1 : stop] -= upper[:, index, index + 1 : stop, None] * error[:, None, :]
        if stop < inputs:
            remaining[:, stop:] -= np.swapaxes(upper[:, start:stop, stop:], 1, 2) @ errors
    result = np.empty_like(integers)
    result[rows, order] = integers
    return result


def coordinate_descent(weights: np.ndarray, integers: np.ndarray, scale: np.ndarray, covariance: np.ndarray,
                       low: int, high: int, sweeps: int = 3) -> np.ndarray:  # fmt: skip
    """Move one input's weights at a time to the best integer given all others, `sweeps` times over."""
    integers = integers.astype(np.float32).copy()
    error = integers * scale[:, None, :] - weights
    gradient = (covariance @ error).astype(np.float32)
    diagonal = np.einsum("gii->gi", covariance)
    inputs = weights.shape[1]
    for _ in range(sweeps):
        moved = False
        for start in range(0, inputs, BLOCK):
            stop = min(start + BLOCK, inputs)
            changes = np.zeros((weights.shape[0], stop - start, weights.shape[2]), np.float32)
            for index in range(start, stop):
                curve = diagonal[:, index, None]
                wanted = weights[:, index] + error[:, index] - gradient[:, index] / np.where(curve > 0, curve, 1.0)
                chosen = np.clip(np.rint(wanted / scale), low, high)
                chosen = np.where(curve > 0, chosen, integers[:, index])
                change = (chosen - integers[:, index]) * scale
                if not change.any():
                    continue
                moved = True
                integers[:, index] = chosen
                error[:, index] += change
                gradient[:, start:stop] += covariance[:, index, start:stop, None] * change[:, None, :]
                changes[:, index - start] = change
            if changes.any():
                others = covariance[:, start:stop].copy()
                others[:, :, start:stop] = 0.0
                gradient += np.swapaxes(others, 1, 2) @ changes
        if not moved:
            break
    return integers


def round_weights(weights: np.ndarray, candidates: Sequence[np.ndarray], covariance: np.ndarray | None, low: int,
                  high: int, sweeps: int = 3) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """(integers [groups, K, O], scale [groups, O]): the best scale per output channel, then the best rounding.

    candidates: scales [groups, O], the covering one first. Without a covariance: the first scale, round to nearest.
    """
    if covariance is None:
        return nearest(weights, candidates[0], low, high), candidates[0]
    scale = candidates[0].copy()
    least = np.full(scale.shape, np.inf)
    for candidate in candidates:
        integers = nearest(weights, candidate, low, high)
        integers = coordinate_descent(weights, integers, candidate, covariance, low, high, sweeps=1)
        found = objective(weights, integers, candidate, covariance)
        better = found < least
        scale[better] = candidate[better]
        least = np.where(better, found, least)
    integers = greedy(weights, scale, covariance, low, high)
    return coordinate_descent(weights, integers, scale, covariance, low, high, sweeps), scale
