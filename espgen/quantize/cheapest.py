"""Automatic mixed precision: int16 where it removes most noise per extra cycle, as little of it as the target allows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from espgen.errors import missed_target
from espgen.ir import Graph
from espgen.quantize.fallback import Evaluator, Fallback, Ranking, Step, binary_search, rank_layers
from espgen.quantize.judge import Judge, judge
from espgen.quantize.model import QuantizedModel
from espgen.quantize.pipeline import quantize_calibrated
from espgen.quantize.prepare import Calibrated, calibrate
from espgen.quantize.settings import Settings
from espgen.quantize.statistics import Progress

Total = Callable[[Collection[str]], float]
"""Names of the nodes in int16 -> cycles of the whole network, with the changes of width between its layers."""

MOST_REMOVALS = 16
"""Trials of giving layers back to int8: each quantizes the network once."""


def fewest_cycles(graph: Graph, calibration: Mapping[str, np.ndarray], evaluation: Mapping[str, np.ndarray],
                  evaluator: Evaluator, settings: Settings, total: Total, progress: Progress | None = None, jobs: int = 1,
                  dask: str | None = None) -> Fallback:  # fmt: skip
    """The network in int8 with the layers in int16 that satisfy `evaluator` for the fewest cycles, as far as is tried.

    Layers are ordered by the noise each removes per cycle it adds, given the ones before it; the shortest sufficient
    beginning is found by bisection; then runs of layers and single ones are given back to int8, what saves most first.
    Layers that make no network slower join at once: two changes of width often cost more than int16 in between. Raises
    EspgenError where int16 everywhere does not satisfy.
    """
    calibrated = calibrate(graph, calibration, settings, progress)
    with judge(evaluation, settings.threads, jobs, dask) as run:
        search = _Search(calibrated, calibration, evaluator, settings, total, run, progress)
        return search.result()


class _Search:
    """What was tried so far, and the steps of the search."""

    def __init__(self, calibrated: Calibrated, calibration: Mapping[str, np.ndarray], evaluator: Evaluator, settings: Settings,
                 total: Total, run: Judge, progress: Progress | None) -> None:  # fmt: skip
        self.calibrated = calibrated
        self.calibration = calibration
        self.evaluator = evaluator
        self.settings = settings
        self.total = total
        self.run = run
        self.progress = progress
        self.original = evaluator.evaluate(run(calibrated.graph))
        self.order = {unit.name: index for index, unit in enumerate(calibrated.units)}
        self.tried: dict[tuple[str, ...], Step] = {}
        self.models: dict[tuple[str, ...], QuantizedModel] = {}

    def result(self) -> Fallback:
        ranking: tuple[Ranking, ...] = ()
        chosen: tuple[str, ...] = ()
        if not self.satisfied(()):
            found = rank_layers(self.models[()], self.calibrated, self.calibration, self.settings, "noise")
            # What the user made int16 is so already.
            ranking = tuple(layer for layer in found if self.settings.bits.get(layer.name, 8) == 8)
            chosen = self.cheaper(self.enough(marginal_order(ranking, self.total)))
        model, saved = self.models[chosen], self.tried[chosen].metric
        history = tuple(self.tried.values())
        return Fallback(model, model, chosen, self.original, self.tried[()].metric, saved, saved, ranking, history)

    def satisfied(self, names: Collection[str]) -> bool:
        """Whether the network with these layers in int16 meets the target; tried once."""
        key = self.sorted(names)
        if key not in self.tried:
            bits = {**self.settings.bits, **dict.fromkeys(key, 16)}
            model = quantize_calibrated(self.calibrated, self.calibration, self.settings.but(bits=bits))
            metric = self.evaluator.evaluate(self.run(model))
            enough, loss = self.evaluator.metric_eval(self.original, metric)
            self.tried[key], self.models[key] = Step(key, metric, loss, enough), model
            if self.progress is not None:
                self.progress("searching int16 layers", len(self.tried), 0)
        return self.tried[key].satisfied

    def sorted(self, names: Collection[str]) -> tuple[str, ...]:
        """In graph order."""
        return tuple(sorted(names, key=lambda name: self.order.get(name, -1)))

    def enough(self, order: Sequence[str]) -> frozenset[str]:
        """The shortest beginning of `order`, with what joins it for nothing, that satisfies."""
        sets = {count: filled(order[:count], order, self.total) for count in range(len(order) + 1)}
        found = binary_search(order, lambda names: self.satisfied(sets[len(names)]))
        if found is None:
            reached = max(step.metric for step in self.tried.values())
            raise missed_target(
                f"even int16 everywhere misses the target (original {self.original:.4f}, reached {reached:.4f})",
                place="--max-drop", hint="no model was written: allow a larger drop",
            )  # fmt: skip
        best, everything = sets[len(found)], frozenset(order)
        return everything if self.total(everything) < self.total(best) and self.satisfied(everything) else best

    def cheaper(self, names: frozenset[str]) -> tuple[str, ...]:
        """Without the runs and the single layers that turn out not to be needed."""
        kept, refused = names, set[frozenset[str]]()
        while len(refused) < MOST_REMOVALS:
            options = {kept - part for part in (*self.runs(kept), *({name} for name in kept))} - refused
            options = {option for option in options if self.total(option) < self.total(kept)}
            if not options:
                break
            option = min(options, key=lambda option: (self.total(option), self.sorted(option)))
            if self.satisfied(option):
                kept = option
            else:
                refused.add(option)
        return self.sorted(kept)

    def runs(self, names: frozenset[str]) -> list[frozenset[str]]:
        """Layers that follow each other in the graph."""
        runs: list[frozenset[str]] = []
        last = -2
        for name in self.sorted(names):
            runs = [*runs[:-1], runs[-1] | {name}] if self.order[name] == last + 1 else [*runs, frozenset({name})]
            last = self.order[name]
        return runs


def marginal_order(ranking: Sequence[Ranking], total: Total) -> list[str]:
    """Layer after layer, always the one that removes most noise per cycle it adds to what was chosen before."""
    noise = {layer.name: layer.noise for layer in ranking}
    chosen: list[str] = []
    while len(chosen) < len(noise):
        base = total(chosen)
        rates = {name: noise[name] / max(total([*chosen, name]) - base, 1.0) for name in noise if name not in chosen}
        chosen.append(max(rates, key=lambda name: rates[name]))
    return chosen


def filled(names: Collection[str], candidates: Sequence[str], total: Total) -> frozenset[str]:
    """`names` and every candidate that then makes the network no slower, until there is none."""
    chosen = frozenset(names)
    while True:
        base = total(chosen)
        free = [name for name in candidates if name not in chosen and total(chosen | {name}) <= base] if chosen else []
        if not free:
            return chosen
        chosen |= {free[0]}
