"""Samples as a component takes them: integers of the graph's own types and layouts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from espgen.data.inputs import ModelInput, component_inputs
from espgen.data.mapping import Mapped
from espgen.data.meaning import encoded
from espgen.data.samples import load
from espgen.ir import Graph

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Dataset:
    """`arrays[input]` is [samples, *value.shape].

    labels  [samples * batch] for classification, or None; where the model's batch is above 1, a sample has that many
    notes   how the data was taken
    """

    arrays: Mapping[str, Array]
    labels: Array | None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __iter__(self) -> Iterator[dict[str, Array]]:
        for index in range(len(self)):
            yield {name: data[index] for name, data in self.arrays.items()}


def load_dataset(
    path: Path | str, graph: Graph, mapping: Mapped, limit: int | None, inputs: Mapping[str, ModelInput] | None = None
) -> Dataset:
    """The samples of `path` (espgen.data.samples.load) for an integer graph.

    inputs: what its inputs are in the ONNX model; default: real numbers where they are quantized. Raises EspgenError for
    anything that does not fit.
    """
    known = component_inputs(graph, None, graph.name) if inputs is None else inputs
    samples = load(str(path), graph, None, limit, mapping=mapping, inputs=known, varied=False)
    arrays = {}
    for name, data in samples.arrays.items():
        value, shape = graph.value(name), known[name].shape
        arrays[name] = np.stack([encoded(sample.reshape(shape), value) for sample in data])
    return Dataset(arrays, samples.labels, samples.notes)


def random_dataset(graph: Graph, samples: int, seed: int = 0) -> Dataset:
    """Uniform random integers over every input's whole range."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name in graph.inputs:
        value = graph.value(name)
        low, high = max(value.dtype.minimum, -(2**31)), min(value.dtype.maximum, 2**31 - 1)
        arrays[name] = rng.integers(low, high, (samples, *value.shape), endpoint=True).astype(value.dtype.numpy)
    return Dataset(arrays, None)
