"""Which layers get more than 8 bits, driven by accuracy: AMCT's flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from espgen.errors import EspgenError, missed_target
from espgen.ir import Graph
from espgen.quantize.analysis import single_layer
from espgen.quantize.judge import Judge, judge
from espgen.quantize.model import QuantizedModel
from espgen.quantize.pipeline import judged_values, quantize_calibrated, run_quantized
from espgen.quantize.prepare import Calibrated, calibrate
from espgen.quantize.runtime import graph_session
from espgen.quantize.settings import Settings
from espgen.quantize.statistics import Progress
from espgen.quantize.units import FIXED_RANGE, PASSIVE, split_units


class Evaluator(Protocol):
    """AMCT's evaluator: what accuracy means and whether a loss is acceptable."""

    def evaluate(self, outputs: Mapping[str, np.ndarray]) -> float:
        """The metric of one model's outputs over the evaluation set."""

    def metric_eval(self, original: float, new: float) -> tuple[bool, float]:
        """(satisfied, loss)."""


@dataclass(frozen=True)
class TopOne:
    """Share of right top-1 answers; `labels` [samples]; at most `max_drop` (a share) may be lost."""

    labels: np.ndarray
    max_drop: float

    def evaluate(self, outputs: Mapping[str, np.ndarray]) -> float:
        """Top-1 accuracy of the first output."""
        first = next(iter(outputs.values()))
        return float(np.mean(first.reshape(len(first), -1).argmax(axis=1) == self.labels))

    def metric_eval(self, original: float, new: float) -> tuple[bool, float]:
        """Satisfied where original - new <= max_drop."""
        loss = original - new
        return loss <= self.max_drop + 1e-12, loss


@dataclass(frozen=True)
class Ranking:
    """A layer's sensitivity: similarity of the network's output when it alone is quantized, and its noise ratio."""

    name: str
    cosine: float
    noise: float


@dataclass(frozen=True)
class Step:
    """One configuration that was evaluated: the layers in higher precision, the metric and the loss."""

    rolled_back: tuple[str, ...]
    metric: float
    loss: float
    satisfied: bool


@dataclass(frozen=True)
class Fallback:
    """Outcome: the fake-quant model (rolled-back layers in float), the deploy model (int16 there), and how it was found.

    original, global_quantized, saved, deployed: metrics of the float network, with everything in int8, of both models.
    """

    fake_quant: QuantizedModel
    deploy: QuantizedModel
    rolled_back: tuple[str, ...]
    original: float
    global_quantized: float
    saved: float
    deployed: float
    ranking: tuple[Ranking, ...]
    history: tuple[Step, ...]


Sensitivity = Callable[[Ranking], float]
SENSITIVITIES: Mapping[str, Sensitivity] = {
    "cosine": lambda layer: layer.cosine,
    "noise": lambda layer: -layer.noise,
}
Strategy = Callable[[Sequence[str], Callable[[Sequence[str]], bool]], "Sequence[str] | None"]


def binary_search(order: Sequence[str], satisfied: Callable[[Sequence[str]], bool]) -> Sequence[str] | None:
    """The fewest layers from the front of `order` (most sensitive first) that satisfy; None where all together do not."""
    low, high = 1, len(order)
    best: Sequence[str] | None = None
    while low <= high:
        middle = (low + high) // 2
        if satisfied(order[:middle]):
            best, high = order[:middle], middle - 1
        else:
            low = middle + 1
    return best


def greedy(order: Sequence[str], satisfied: Callable[[Sequence[str]], bool]) -> Sequence[str] | None:
    """Roll back one more layer at a time until it satisfies."""
    for count in range(1, len(order) + 1):
        if satisfied(order[:count]):
            return order[:count]
    return None


STRATEGIES: Mapping[str, Strategy] = {"binary": binary_search, "greedy": greedy}


def accuracy_fallback(graph: Graph, calibration: Mapping[str, np.ndarray], evaluation: Mapping[str, np.ndarray],
                      evaluator: Evaluator, settings: Settings, strategy: str = "binary", sensitivity: str = "cosine",
                      progress: Progress | None = None, jobs: int = 1, dask: str | None = None) -> Fallback:  # fmt: skip
    """Quantize everything, and give back precision to the fewest layers the evaluator asks for.

    Layers are ranked by sensitivity, rolled back from the worst on, and the rest is calibrated anew each time. The accuracy
    that counts is the fake-quant model's, with rolled-back layers in float, as AMCT has it; `jobs` processes or a Dask
    cluster share the evaluation. Raises EspgenError where only the unquantized network meets the target: no model is made.
    """
    if strategy not in STRATEGIES or sensitivity not in SENSITIVITIES:
        raise EspgenError(
            f"unknown strategy {strategy!r} or sensitivity {sensitivity!r}", place="fallback",
            hint=f"{', '.join(STRATEGIES)}; {', '.join(SENSITIVITIES)}",
        )  # fmt: skip
    calibrated = calibrate(graph, calibration, settings, progress)
    with judge(evaluation, settings.threads, jobs, dask) as run:
        return _roll_back(calibrated, calibration, evaluator, settings, strategy, sensitivity, run, progress)


def _roll_back(calibrated: Calibrated, calibration: Mapping[str, np.ndarray], evaluator: Evaluator, settings: Settings,
               strategy: str, sensitivity: str, run: Judge, progress: Progress | None) -> Fallback:  # fmt: skip
    original = evaluator.evaluate(run(calibrated.graph))
    history: list[Step] = []
    models: dict[tuple[str, ...], QuantizedModel] = {}

    def satisfied(names: Sequence[str]) -> bool:
        model = quantize_calibrated(calibrated, calibration, settings.but(float_nodes=settings.float_nodes | set(names)))
        metric = evaluator.evaluate(run(model))
        enough, loss = evaluator.metric_eval(original, metric)
        history.append(Step(tuple(names), metric, loss, enough))
        models[tuple(names)] = model
        if progress is not None:
            progress("searching layers to roll back", len(history), 0)
        return enough

    if satisfied(()):
        model = models[()]
        metric = history[0].metric
        return Fallback(model, model, (), original, metric, metric, metric, (), tuple(history))
    ranking = rank_layers(models[()], calibrated, calibration, settings, sensitivity)
    order = [layer.name for layer in ranking]
    # Rolling back everything would be the unquantized network: AMCT refuses that too.
    found = STRATEGIES[strategy](order[:-1], satisfied)
    if found is None:
        raise missed_target(
            f"only the unquantized model meets the target (original {original:.4f}, all quantized {history[0].metric:.4f})",
            place="accuracy fallback", hint="no model was written: allow a larger drop, or try --recipe auto",
        )  # fmt: skip
    names = tuple(found)
    deploy = quantize_calibrated(calibrated, calibration, settings.but(bits={**settings.bits, **dict.fromkeys(names, 16)}))
    saved = next(step.metric for step in history if step.rolled_back == names)
    deployed = evaluator.evaluate(run(deploy))
    metrics = (original, history[0].metric, saved, deployed)
    return Fallback(models[names], deploy, names, *metrics, tuple(ranking), tuple(history))


def rank_layers(model: QuantizedModel, calibrated: Calibrated, data: Mapping[str, np.ndarray], settings: Settings,
                sensitivity: str) -> list[Ranking]:  # fmt: skip
    """Layers that compute, the most sensitive first: each one quantized alone, measured at the logits.

    Sums and the like count as layers too: in residual networks they carry the outliers.
    """
    graph = calibrated.graph
    few = {name: array[:16] for name, array in data.items()}
    name = judged_values(graph)[0]
    names = list(dict.fromkeys([*graph.outputs, name]))
    real = graph_session(graph, names, settings.threads, 8).run(few)[name].reshape(-1).astype(np.float64)
    found = []
    for unit in split_units(graph):
        if unit.node.op in PASSIVE or unit.node.op in FIXED_RANGE or unit.name in settings.float_nodes:
            continue
        results = run_quantized(single_layer(model, unit), few, settings.threads, extra=[name])
        noisy = results[name].reshape(-1).astype(np.float64)
        length = float(np.linalg.norm(real) * np.linalg.norm(noisy))
        cosine = float(real @ noisy) / length if length > 0.0 else 1.0
        found.append(Ranking(unit.name, cosine, float(((noisy - real) ** 2).sum() / max(float((real**2).sum()), 1e-30))))
    return sorted(found, key=SENSITIVITIES[sensitivity])


def as_dict(result: Fallback) -> dict[str, Any]:
    """Everything but the models, as plain dicts."""
    return {
        "original": result.original,
        "global_quantized": result.global_quantized,
        "saved": result.saved,
        "deployed": result.deployed,
        "rolled_back": list(result.rolled_back),
        "ranking": [{"name": layer.name, "cosine": layer.cosine, "noise": layer.noise} for layer in result.ranking],
        "history": [
            {"rolled_back": list(step.rolled_back), "metric": step.metric, "loss": step.loss, "satisfied": step.satisfied}
            for step in result.history
        ],
    }
