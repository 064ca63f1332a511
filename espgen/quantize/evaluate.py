"""Accuracy of the float model, the fake-quant model and integer runners on one labelled set, in one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from espgen.data.inputs import MOVING
from espgen.data.meaning import decoded, encoded
from espgen.data.samples import Samples
from espgen.errors import EspgenError
from espgen.frontend import load_onnx
from espgen.interpret import run_integer
from espgen.ir import Extents, Graph, QuantParams
from espgen.passes.pipeline import lower_to_integer
from espgen.quantize.parallel import Pool
from espgen.quantize.runtime import Session

SHARE = 64
"""Samples a process gets at a time."""

Tell = Callable[[int, int], None]
Runner = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
"""float32 inputs [samples, ...] by name -> real-valued outputs [samples, ...] by name."""


@dataclass(frozen=True)
class Row:
    """One model in one place. Shares in 0..1; top1, top5 None without labels, agreement and error None for the first row."""

    model: str
    place: str
    samples: int
    top1: float | None
    top5: float | None
    agreement: float | None
    error: float | None


def evaluate(runners: Mapping[tuple[str, str], Runner], samples: Samples, output: str | None = None) -> list[Row]:
    """Run every (model, place) on the same samples; agreement and error are relative to the first.

    `output`: name of the output to judge (default: the first one each runner returns). Raises EspgenError where a runner
    returns another number of samples.
    """
    rows: list[Row] = []
    reference: np.ndarray | None = None
    for (model, place), run in runners.items():
        results = run(samples.arrays)
        found = next(iter(results.values())) if output is None else results[output]
        if len(found) != len(samples):
            raise EspgenError(f"{model} on {place} returned {len(found)} results for {len(samples)} samples")
        scores = np.asarray(found, np.float64).reshape(len(found) * samples.batch, -1)
        if reference is not None and scores.shape != reference.shape:
            counts = f"{scores.shape[1]} values per sample, the first model {reference.shape[1]}"
            raise EspgenError(f"{model} on {place} returns {counts}", place="outputs", hint="compare models of one network")
        top1, top5 = accuracy(scores, samples.labels)
        agreement, error = None, None
        if reference is None:
            reference = scores
        else:
            agreement = float(np.mean(scores.argmax(axis=1) == reference.argmax(axis=1)))
            power = np.maximum((reference**2).sum(axis=1), 1e-30)
            error = float(np.mean(((scores - reference) ** 2).sum(axis=1) / power))
        rows.append(Row(model, place, len(found), top1, top5, agreement, error))
    return rows


def accuracy(scores: np.ndarray, labels: np.ndarray | None) -> tuple[float | None, float | None]:
    """(top-1, top-5) of scores [samples, classes]; ties go to the lower index."""
    if labels is None:
        return None, None
    order = np.argsort(-scores, axis=1, kind="stable")
    hits = order == labels[:, None]
    return float(hits[:, 0].mean()), float(hits[:, :5].any(axis=1).mean())


def probabilities(scores: np.ndarray) -> np.ndarray:
    """Scores [samples, ...] as probabilities, float64 [samples, classes]: through a softmax where they are none already."""
    flat = scores.reshape(len(scores), -1).astype(np.float64)
    # Quantized probabilities of many classes need not sum to 1.
    if flat.min() >= -1e-6 and flat.max() <= 1.01 and np.abs(flat.sum(axis=1) - 1.0).max() < 0.5:
        return flat
    powers = np.exp(flat - flat.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def prediction(scores: np.ndarray) -> dict[str, Any]:
    """Class of the first sample and its probability."""
    found = probabilities(scores[:1])[0]
    best = int(found.argmax())
    return {"class": best, "probability": float(found[best])}


def integer_runner(graph: Graph, run: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]], integer: Graph) -> Runner:
    """A Runner over an integer graph, whose inputs are made and outputs read by espgen.data.meaning.

    graph: the source graph (for its shapes); run: one sample's integer inputs in the integer graph's layout -> outputs, such
    as espgen.interpret.run.
    """

    def runner(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        count = len(next(iter(arrays.values())))
        collected: dict[str, list[np.ndarray]] = {name: [] for name in integer.outputs}
        for index in range(count):
            feeds = {}
            for name in integer.inputs:
                sample = np.asarray(arrays[name][index]).reshape(graph.value(name).shape)
                feeds[name] = encoded(sample, integer.value(name))
            results = run(feeds)
            for name, kept in collected.items():
                kept.append(decoded(results[name], integer.value(name)).reshape(graph.value(name).shape))
        return {name: np.stack(results) for name, results in collected.items()}

    return runner


@dataclass(frozen=True)
class ModelTask:
    """Runs an ONNX model over samples: under onnxruntime, or (`integer`) its integer graph in the reference interpreter.

    Holds the model's bytes, so that it can be sent to another process or machine. shapes: of symbolic dimensions.
    """

    model: bytes
    integer: bool
    threads: int = 1
    shapes: Mapping[str, Extents] = field(default_factory=dict)

    def __call__(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        source = load_onnx(self.model, shapes=self.shapes)
        if self.integer:
            integer = lower_to_integer(source)
            return dict(integer_runner(source, lambda feeds: run_integer(integer, feeds), integer)(arrays))
        results = Session(self.model, source.outputs, self.threads, 1).run(arrays)
        return {name: _real(source, name, results[name]) for name in source.outputs}


def _real(graph: Graph, output: str, data: np.ndarray) -> np.ndarray:
    """What an output's integers mean, where the graph ends in a QuantizeLinear (and movements behind it); else `data`."""
    makers, name = graph.producers(), output
    while name in makers and makers[name].op in MOVING:
        name = makers[name].inputs[0]
    quant = makers[name].attrs.get("quant") if name in makers and makers[name].op == "QuantizeLinear" else None
    if not isinstance(quant, QuantParams) or not quant.per_tensor:
        return data
    return np.asarray((data.astype(np.float64) - quant.zero_point[0]) * quant.scale[0])


def shared_runner(task: ModelTask, jobs: int = 1, dask: str | None = None, tell: Tell | None = None) -> Runner:
    """A Runner that shares samples out over `jobs` processes or a Dask cluster; samples keep their order.

    tell: gets (samples done, samples) now and then.
    """

    def run(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        count = len(next(iter(arrays.values())))
        step = SHARE if dask is not None else max(min(SHARE, -(-count // jobs)), 1)
        starts = range(0, count, step)
        parts = [{name: data[start : start + step] for name, data in arrays.items()} for start in starts]
        results = []
        with Pool[Mapping[str, np.ndarray], dict[str, np.ndarray]](jobs, dask, task) as pool:
            for result in pool.results(parts):
                results.append(result)
                if tell is not None:
                    tell(min(len(results) * step, count), count)
        return {name: np.concatenate([result[name] for result in results]) for name in results[0]}

    return run


def as_dicts(rows: list[Row]) -> list[dict[str, Any]]:
    """Rows as plain dicts."""
    return [asdict(row) for row in rows]
