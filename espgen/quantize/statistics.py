"""One pass over the calibration data: exact ranges per channel and a random sample of every tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from espgen.errors import EspgenError
from espgen.ir import Graph
from espgen.quantize.runtime import graph_session

Progress = Callable[[str, int, int], None]
SAMPLES = 400_000


@dataclass(frozen=True)
class TensorStatistics:
    """low, high: exact extremes per channel, float32 [channels]; samples: float32 [positions, channels].

    The channel is axis 1 of the tensor (the only axis for vectors); tensors without one have a single channel.
    """

    low: np.ndarray
    high: np.ndarray
    samples: np.ndarray

    def scaled(self, factor: np.ndarray) -> TensorStatistics:
        """Statistics of the tensor with channel c multiplied by factor[c] > 0."""
        return TensorStatistics(self.low * factor, self.high * factor, self.samples * factor)

    @property
    def extent(self) -> np.ndarray:
        """Largest absolute value per channel."""
        return np.asarray(np.maximum(np.abs(self.low), np.abs(self.high)))


def channels_last(array: np.ndarray) -> np.ndarray:
    """[samples, channels, ...] as [samples, positions, channels]; vectors and scalars get one channel."""
    if array.ndim < 2:
        return np.asarray(array.reshape(array.shape[0] if array.ndim else 1, 1, 1))
    return np.asarray(np.moveaxis(array.reshape(array.shape[0], array.shape[1], -1), 1, 2))


def _own_axes(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Samples [samples, *shape] of a value whose first axis is no sample, as more of that axis: the channel stays axis 1."""
    return array.reshape(-1, *shape[1:]) if shape and array.ndim == len(shape) + 1 else array


def collect(graph: Graph, data: Mapping[str, np.ndarray], names: Sequence[str], threads: int = 1, batch: int = 8,
            progress: Progress | None = None, seed: int = 0,
            floors: Mapping[str, float] | None = None) -> dict[str, TensorStatistics]:  # fmt: skip
    """Statistics of the values `names` over all samples of `data`, cut at `floors` from below.

    Raises EspgenError for values that are not finite.
    """
    cut = floors or {}
    inputs = [name for name in names if name in graph.inputs]
    computed = [name for name in names if name not in graph.inputs]
    count = len(next(iter(data.values())))
    random = np.random.default_rng(seed)
    low: dict[str, np.ndarray] = {}
    high: dict[str, np.ndarray] = {}
    samples: dict[str, list[np.ndarray]] = {name: [] for name in names}
    session = graph_session(graph, computed, threads, batch)
    for part, results in session.chunks(data):
        for name in names:
            rows = channels_last(_own_axes(data[name][part] if name in inputs else results[name], graph.value(name).shape))
            if name in cut:
                rows = np.maximum(rows, np.float32(cut[name]))
            smallest, largest = rows.min(axis=(0, 1)), rows.max(axis=(0, 1))
            if not (np.isfinite(smallest).all() and np.isfinite(largest).all()):
                raise EspgenError(
                    "the float model computes values that are not finite", place=f"tensor {name}",
                    hint="check the calibration data's scaling and the model's BatchNormalization statistics",
                )  # fmt: skip
            low[name] = smallest if name not in low else np.minimum(low[name], smallest)
            high[name] = largest if name not in high else np.maximum(high[name], largest)
            wanted = max(1, SAMPLES // (max(rows.shape[2], 1) * count))
            if wanted < rows.shape[1]:
                rows = rows[:, random.choice(rows.shape[1], wanted, replace=False)]
            samples[name].append(np.array(rows.reshape(-1, rows.shape[2]), np.float32))
        if progress is not None:
            progress("calibrating", part.stop, count)
    return {name: TensorStatistics(low[name], high[name], np.concatenate(samples[name])) for name in names}
