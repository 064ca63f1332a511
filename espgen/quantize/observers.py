"""Activation ranges from calibration statistics: min-max, percentile, histogram, KL, MSE and two searches.

An observer returns the real interval [low, high] to be quantized; scales.tensor_quant turns it into a grid. `search`
takes the grid with the least error behind the products that read the tensor (probe.py), `weighted` the one with the
least error of the tensor itself, each channel weighted by the weights that read it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from espgen.errors import EspgenError
from espgen.quantize.model import Scheme, TensorQuant
from espgen.quantize.scales import power_of_two_above, symmetric_need, tensor_quant
from espgen.quantize.statistics import TensorStatistics

Interval = tuple[float, float]
Error = Callable[[TensorQuant], float]
Candidate = TypeVar("Candidate")


@dataclass(frozen=True)
class ObserverOptions:
    """percentile: share kept (ESP-PPQ's 0.9999); hist_percent, upsample_bins, bins: Paddle's HistQuantizer options;
    kl_bins: histogram bins of the KL observer (ESP-PPQ: 4096 for 8 bits)."""

    percentile: float = 0.9999
    hist_percent: float = 0.99999
    upsample_bins: int = 64
    bins: int = 1024
    kl_bins: int = 4096


def choose_range(name: str, statistics: TensorStatistics, error: Error, scheme: Scheme, bits: int = 8,
                 options: ObserverOptions = ObserverOptions(), far_error: Error | None = None) -> TensorQuant:  # fmt: skip
    """The grid observer `name` chooses for a tensor; `error` judges a grid (used by `search` and `weighted`).

    far_error: a dearer and truer judge, which may undo what `search` cut off.
    """
    if name in SEARCHES:
        return _search(statistics, error, far_error, scheme, bits)
    low, high = interval(name, statistics, bits, options)
    if scheme.symmetric and name == "kl":
        # ESP-PPQ rounds the exponent of a KL scale to the nearest, so the range may be cut.
        need = symmetric_need(low, high, bits)
        return TensorQuant(float(2.0 ** np.floor(np.log2(need) + 0.5)), 0, bits)
    return tensor_quant(low, high, scheme, bits)


def interval(name: str, statistics: TensorStatistics, bits: int, options: ObserverOptions) -> Interval:
    """The real interval observer `name` wants; EspgenError for an unknown name."""
    if name not in OBSERVERS:
        raise EspgenError(f"unknown observer {name!r}", hint=f"one of {', '.join(sorted([*OBSERVERS, *SEARCHES]))}")
    return OBSERVERS[name](statistics, bits, options)


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
    for fraction in FRACTIONS:
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
FRACTIONS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.42, 0.35, 0.3, 0.25, 0.2, 0.17, 0.14, 0.12, 0.1, 0.08, 0.06)
SEARCHES = ("search", "weighted")
SEARCH_VALUES = 150_000
# A narrower range must be this much better: the samples it is judged on are few.
GAIN = 0.98
# The search judges many nearby values, the logits are few: undoing what it found takes a clear gain.
FAR_GAIN = 0.8


def weighted_error(quant: TensorQuant, samples: np.ndarray, importance: np.ndarray) -> float:
    """sum_c h_c mean |Q(y)_c - y_c|^2 over samples [rows, channels], h the squared norm of what reads each channel."""
    error = quant.fake(samples) - samples
    return float((np.square(error, out=error).mean(axis=0) * importance).sum())


def _search(statistics: TensorStatistics, error: Error, far_error: Error | None, scheme: Scheme, bits: int) -> TensorQuant:
    """The grid with the least `error` among shrunken min-max ranges: both ends together, then each alone."""
    low, high = min(float(statistics.low.min()), 0.0), max(float(statistics.high.max()), 0.0)
    if scheme.symmetric:
        covering = power_of_two_above(symmetric_need(low, high, bits))
        grids = [TensorQuant(covering * 0.5**step, 0, bits) for step in range(5)]
        return _least([grids[0], descend(grids, error)[0]], far_error)

    def grid(ends: tuple[float, float]) -> TensorQuant:
        return tensor_quant(low * ends[0], high * ends[1], scheme, bits)

    ends, least = descend([(fraction, fraction) for fraction in FRACTIONS], lambda ends: error(grid(ends)))
    if low < 0.0 < high:
        for factors in ((1.0, 0.8), (0.8, 1.0), (1.0, 1.25), (1.25, 1.0)):
            trial = (min(ends[0] * factors[0], 1.0), min(ends[1] * factors[1], 1.0))
            found = error(grid(trial))
            if found < least * GAIN:
                ends, least = trial, found
    halfway = (ends[0] ** 0.5, ends[1] ** 0.5)
    return _least([grid(trial) for trial in ((1.0, 1.0), halfway, ends)], far_error)


def _least(grids: Sequence[TensorQuant], far_error: Error | None) -> TensorQuant:
    """The last grid, or an earlier, wider one where `far_error` finds it much better."""
    wider = [grid for grid in grids if grid != grids[-1]]
    if far_error is None or not wider:
        return grids[-1]
    errors = [far_error(grid) for grid in wider]
    least = min(errors)
    return wider[errors.index(least)] if least < FAR_GAIN * far_error(grids[-1]) else grids[-1]


def descend(candidates: Sequence[Candidate], error: Callable[[Candidate], float], patience: int = 3) -> tuple[Candidate, float]:
    """The first minimum along ordered candidates: stop when `patience` of them in a row do not improve."""
    best, least, worse = candidates[0], float("inf"), 0
    for candidate in candidates:
        found = error(candidate)
        if found < least * GAIN:
            best, least, worse = candidate, found, 0
        else:
            worse += 1
            if worse == patience:
                break
    return best, least
