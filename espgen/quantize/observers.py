"""Activation ranges from calibration statistics: min-max, percentile, histogram, KL, MSE and search.

An observer returns the real interval [low, high] to be quantized; scales.tensor_quant turns it into a grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from espgen.errors import EspgenError
from espgen.quantize.model import Scheme, TensorQuant
from espgen.quantize.scales import power_of_two_above, symmetric_need, tensor_quant
from espgen.quantize.statistics import TensorStatistics

Interval = tuple[float, float]


@dataclass(frozen=True)
class ObserverOptions:
    """percentile: share kept (ESP-PPQ's 0.9999); hist_percent, upsample_bins, bins: Paddle's HistQuantizer options;
    kl_bins: histogram bins of the KL observer (ESP-PPQ: 4096 for 8 bits)."""

    percentile: float = 0.9999
    hist_percent: float = 0.99999
    upsample_bins: int = 64
    bins: int = 1024
    kl_bins: int = 4096


def choose_range(name: str, statistics: TensorStatistics, importance: np.ndarray, scheme: Scheme, bits: int = 8,
                 options: ObserverOptions = ObserverOptions()) -> TensorQuant:  # fmt: skip
    """The grid observer `name` chooses for a tensor.

    importance: squared norm of what reads each channel, float [channels] (used by `search`).
    """
    if name == "search":
        return _search(statistics, importance, scheme, bits)
    if name not in OBSERVERS:
        raise EspgenError(f"unknown observer {name!r}", hint=f"one of {', '.join(sorted([*OBSERVERS, 'search']))}")
    low, high = OBSERVERS[name](statistics, bits, options)
    if scheme.symmetric and name == "kl":
        # ESP-PPQ rounds the exponent of a KL scale to the nearest, so the range may be cut.
        need = symmetric_need(low, high, bits)
        return TensorQuant(2.0 ** np.floor(np.log2(need) + 0.5), 0, bits)
    return tensor_quant(low, high, scheme, bits)


def min_max(statistics: TensorStatistics, bits: int, options: ObserverOptions) -> Interval:
    """Exact extremes of the calibration data."""
    return float(statistics.low.min()), float(statistics.high.max())


def percentile(statistics: TensorStatistics, bits: int, options: ObserverOptions) -> Interval:
    """The interval between the (1 - p) and p quantiles of all values."""
    values = statistics.samples.reshape(-1)
    low, high = np.quantile(values, [1.0 - options.percentile, options.percentile])
    return float(min(low, 0.0)), float(max(high, 0.0))


def histogram(statistics: TensorStatistics, bits: int, options: ObserverOptions) -> Interval:
    """Paddle's HistQuantizer: the symmetric threshold below which `hist_percent` of |x| lies, on an upsampled histogram."""
    magnitude = np.abs(statistics.samples.reshape(-1))
    top = float(statistics.extent.max())
    if top == 0.0:
        return 0.0, 0.0
    counts, _ = np.histogram(magnitude, bins=options.bins * options.upsample_bins, range=(0.0, top))
    share = np.cumsum(counts) / max(counts.sum(), 1)
    index = int(np.searchsorted(share, options.hist_percent))
    threshold = top * (min(index, counts.size - 1) + 0.5) / counts.size
    return _signed(statistics, threshold)


def kl_divergence(statistics: TensorStatistics, bits: int, options: ObserverOptions) -> Interval:
    """The threshold whose quantized histogram is nearest to the original one in Kullback-Leibler divergence.

    Migacz, "8-bit inference with TensorRT", 2017, in ESP-PPQ's form: the first 0.2 % of the bins are zeroed.
    """
    magnitude = np.abs(statistics.samples.reshape(-1))
    top = float(statistics.extent.max())
    if top == 0.0:
        return 0.0, 0.0
    levels = 1 << (min(bits, 8) - 1)
    counts, _ = np.histogram(magnitude, bins=options.kl_bins, range=(0.0, top))
    counts = counts.astype(np.float64)
    counts[: max(1, int(options.kl_bins * 0.002))] = 0.0
    best, threshold = np.inf, top
    for stop in range(levels, options.kl_bins + 1, levels // 2 if options.kl_bins > 2048 else levels // 4):
        divergence = _divergence(counts, stop, levels)
        if divergence < best:
            best, threshold = divergence, top * stop / options.kl_bins
    return _signed(statistics, threshold)


def _divergence(counts: np.ndarray, stop: int, levels: int) -> float:
    reference = counts[:stop].copy()
    reference[-1] += counts[stop:].sum()
    total = reference.sum()
    if total == 0.0:
        return float("inf")
    width = -(-stop // levels)
    padded = np.zeros(levels * width)
    padded[:stop] = counts[:stop]
    groups = padded.reshape(levels, width)
    filled = groups > 0
    population = filled.sum(axis=1, keepdims=True)
    spread = np.where(filled, groups.sum(axis=1, keepdims=True) / np.maximum(population, 1), 0.0)
    quantized = spread.reshape(-1)[:stop]
    if quantized.sum() == 0.0:
        return float("inf")
    first, second = reference / total, quantized / quantized.sum()
    mask = first > 0
    return float(np.sum(first[mask] * np.log(first[mask] / np.maximum(second[mask], 1e-7))))


def mean_squared_error(statistics: TensorStatistics, bits: int, options: ObserverOptions) -> Interval:
    """The shrunken min-max interval with the least mean squared error of the values themselves."""
    low, high = min_max(statistics, bits, options)
    values = statistics.samples.reshape(-1, 1)
    values = values[:: max(1, values.size // 100_000)]
    best, chosen = np.inf, (low, high)
    for fraction in _FRACTIONS:
        quant = tensor_quant(low * fraction, high * fraction, Scheme.AFFINE, bits)
        error = float(np.mean((quant.fake(values) - values) ** 2))
        if error < best:
            best, chosen = error, (low * fraction, high * fraction)
    return chosen


def _signed(statistics: TensorStatistics, threshold: float) -> Interval:
    low, high = float(statistics.low.min()), float(statistics.high.max())
    return max(low, -threshold), min(high, threshold)


OBSERVERS: dict[str, Callable[[TensorStatistics, int, ObserverOptions], Interval]] = {
    "minmax": min_max,
    "percentile": percentile,
    "hist": histogram,
    "kl": kl_divergence,
    "mse": mean_squared_error,
}
_FRACTIONS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1)
_SEARCH_VALUES = 150_000


def _search(statistics: TensorStatistics, importance: np.ndarray, scheme: Scheme, bits: int) -> TensorQuant:
    """Both ends of the range by the weighted error sum_c h_c |Q(y)_c - y_c|^2 of what reads the tensor."""
    low, high = min(float(statistics.low.min()), 0.0), max(float(statistics.high.max()), 0.0)
    samples = statistics.samples
    samples = samples[:: max(1, samples.size // _SEARCH_VALUES)]
    weights = importance / max(float(importance.max(initial=0.0)), 1e-30)

    def error(quant: TensorQuant) -> float:
        return float((((quant.fake(samples) - samples) ** 2).mean(axis=0) * weights).sum())

    if scheme.symmetric:
        covering = power_of_two_above(symmetric_need(low, high, bits))
        grids = [TensorQuant(covering * 0.5**step, 0, bits) for step in range(5)]
        return min(grids, key=error)
    ends = [1.0, 1.0]
    best = tensor_quant(low, high, scheme, bits)
    least = error(best)
    for _ in range(2):
        for end in (1, 0):
            if (low, high)[end] == 0.0:
                continue
            for fraction in _FRACTIONS:
                trial = list(ends)
                trial[end] = fraction
                quant = tensor_quant(low * trial[0], high * trial[1], scheme, bits)
                found = error(quant)
                if found < least:
                    best, least, ends = quant, found, trial
        if low == 0.0 or high == 0.0:
            break
    return best
