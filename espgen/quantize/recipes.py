"""Recipes: minmax, default, and auto, which searches by held-back error within a budget and says what it did."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from espgen.errors import EspgenError
from espgen.ir import Graph
from espgen.quantize.model import QuantizedModel
from espgen.quantize.parallel import Pool
from espgen.quantize.pipeline import check_quantizable, fidelity, quantize, split
from espgen.quantize.prepare import Calibrated, calibrate, prepare
from espgen.quantize.sequential import quantize_layers
from espgen.quantize.settings import Settings
from espgen.quantize.statistics import Progress

# A change must be this much better to be kept: held-back samples are few.
GAIN = 0.97
RECIPES = ("minmax", "default", "auto")
MINMAX: Mapping[str, Any] = {"observer": "minmax", "equalize": None, "correction": "none", "rounding": "nearest", "margin": 1.0}
# Stages of the search: each keeps the best of what came before and varies one option.
STAGES: Sequence[tuple[str, Sequence[Mapping[str, Any]]]] = (
    ("bias correction", ({"correction": "float"}, {"correction": "own"})),
    ("observer", ({"observer": "minmax"}, {"observer": "weighted"}, {"observer": "kl"}, {"observer": "percentile"})),
    ("equalization", ({"equalize": 0.0}, {"equalize": 0.25}, {"equalize": 0.75})),
    ("rounding", ({"rounding": "nearest"}, {"sweeps": 6})),
)


@dataclass(frozen=True)
class Trial:
    """One combination the search tried: what it changed, its judged error and agreement on held-back samples."""

    stage: str
    options: Mapping[str, Any]
    error: float
    agreement: float
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """A quantized model, the settings that made it, the trials of a search, and sentences that say why."""

    model: QuantizedModel
    settings: Settings
    trials: tuple[Trial, ...] = ()
    reasons: tuple[str, ...] = ()

    def history(self) -> list[dict[str, Any]]:
        """Trials as plain dicts."""
        return [asdict(trial) for trial in self.trials]


def run_recipe(name: str, graph: Graph, data: Mapping[str, np.ndarray], settings: Settings, budget: float = 600.0,
               jobs: int = 1, dask: str | None = None, progress: Progress | None = None) -> Outcome:  # fmt: skip
    """Quantize by recipe. `budget` is the most seconds `auto` may start new trials in; `settings` the starting point."""
    if name == "minmax":
        chosen = settings.but(**MINMAX)
        return Outcome(quantize(graph, data, chosen, progress), chosen)
    if name == "default":
        model = quantize(graph, data, settings, progress)
        return Outcome(model, settings, reasons=model.notes)
    if name == "auto":
        return search(graph, data, settings, budget, jobs, dask, progress)
    raise EspgenError(f"unknown recipe {name!r}", hint=f"one of {', '.join(RECIPES)}")


def search(graph: Graph, data: Mapping[str, np.ndarray], settings: Settings, budget: float, jobs: int = 1,
           dask: str | None = None, progress: Progress | None = None) -> Outcome:  # fmt: skip
    """Stage by stage: try each option of a stage on top of the best so far, keep what lowers the held-back error.

    The final model uses all samples with the best settings. Trials of a stage run side by side with `jobs` or `dask`;
    results do not depend on either (only the budget, being time, can cut a search short).
    """
    check_quantizable(graph)
    start = time.monotonic()
    training, held_back = split(data)
    if not len(next(iter(held_back.values()))):
        raise EspgenError("the search needs at least four samples", place="calibration data", hint="use --recipe default")
    calibrated = calibrate(graph, training, settings, progress)
    best = settings.but(correction="float")
    least = float("inf")
    trials: list[Trial] = []
    reasons: list[str] = []
    longest = 0.0
    total = sum(len(options) for _, options in STAGES)
    with Pool(jobs, dask, _Task(calibrated, training, held_back)) as pool:
        for stage, options in STAGES:
            remaining = budget - (time.monotonic() - start)
            rounds = -(-len(options) // max(jobs, 1))
            if trials and remaining < longest * (rounds + 1):
                reasons.append(f"{stage}: not tried, {remaining:.0f} s of the budget left")
                continue
            candidates = [best.but(**option) for option in options]
            results = pool.run(candidates)
            longest = max([longest, *(seconds for _, _, seconds in results)])
            found = [Trial(stage, option, *result) for option, result in zip(options, results, strict=True)]
            trials += found
            winner = min(range(len(found)), key=lambda index: found[index].error)
            before = least
            if found[winner].error < least * GAIN:
                least, best = found[winner].error, candidates[winner]
            reasons.append(_reason(stage, found, winner, before))
            if progress is not None:
                progress("searching", len(trials), total)
    model = quantize_layers(prepare(calibrate(graph, data, best, progress), best), data, best, progress)
    return Outcome(model.with_notes(*reasons), best, tuple(trials), tuple(reasons))


@dataclass(frozen=True)
class _Task:
    """Quantize and measure with some settings; sent to worker processes once."""

    calibrated: Calibrated
    training: Mapping[str, np.ndarray]
    held_back: Mapping[str, np.ndarray]

    def __call__(self, settings: Settings) -> tuple[float, float, float]:
        start = time.monotonic()
        model = quantize_layers(prepare(self.calibrated, settings), self.training, settings)
        found = fidelity(self.calibrated.graph, model, self.held_back, settings.threads)
        return found.judged, found.agreement, time.monotonic() - start


def _reason(stage: str, found: Sequence[Trial], winner: int, before: float) -> str:
    shown = ", ".join(f"{_text(trial.options)} {100 * trial.error:.3f} %" for trial in found)
    if found[winner].error < before * GAIN:
        return f"{stage}: {_text(found[winner].options)} chosen ({shown})"
    return f"{stage}: unchanged at {100 * before:.3f} % ({shown})"


def _text(options: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in options.items())


