"""Running many models over one evaluation set, which worker processes or a Dask cluster get once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from espgen.ir import Graph
from espgen.quantize.model import QuantizedModel
from espgen.quantize.parallel import Pool
from espgen.quantize.pipeline import run_float, run_quantized

SHARE = 64
"""Samples of one task: always the same ones, whoever runs them, so that the results are the same too."""

Outputs = Mapping[str, np.ndarray]
Judge = Callable[[QuantizedModel | Graph], Outputs]
"""A float graph or a quantized model -> its outputs over the whole set, float32 [samples, ...] by name."""


@dataclass(frozen=True)
class _Task:
    """Runs a model over a slice of the set it holds."""

    data: Mapping[str, np.ndarray]
    threads: int

    def __call__(self, argument: tuple[QuantizedModel | Graph, int]) -> dict[str, np.ndarray]:
        model, start = argument
        part = {name: np.ascontiguousarray(array[start : start + SHARE]) for name, array in self.data.items()}
        if isinstance(model, Graph):
            return run_float(model, part, self.threads)
        return run_quantized(model, part, self.threads)


@contextmanager
def judge(data: Mapping[str, np.ndarray], threads: int = 1, jobs: int = 1, dask: str | None = None) -> Iterator[Judge]:
    """A Judge over `data` (arrays [samples, ...] by input), shared out over `jobs` processes or a Dask cluster."""
    count = len(next(iter(data.values())))
    with Pool[tuple[QuantizedModel | Graph, int], dict[str, np.ndarray]](jobs, dask, _Task(data, threads)) as pool:

        def run(model: QuantizedModel | Graph) -> Outputs:
            parts = pool.run([(model, start) for start in range(0, count, SHARE)])
            return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

        yield run
