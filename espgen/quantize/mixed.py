"""Automatic mixed precision (`--max-drop`): settings of the recipe, costs of the layers, and the search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from espgen.errors import EspgenError
from espgen.ir import Graph
from espgen.quantize.cheapest import Total, fewest_cycles
from espgen.quantize.exporter import qdq_bytes
from espgen.quantize.fallback import Fallback, TopOne
from espgen.quantize.fold import fold
from espgen.quantize.latency import Costs, Cycles, Measure, find_borders, measured_costs
from espgen.quantize.pipeline import check_quantizable
from espgen.quantize.probe import multiply_accumulates
from espgen.quantize.recipes import MINMAX, Outcome, run_recipe
from espgen.quantize.settings import Settings
from espgen.quantize.statistics import Progress

_LISTED = 3
UP_MACS, DOWN_MACS = 80.0, 170.0
"""What an element that changes width costs in multiply-accumulates of int8: 8.6 and 18 cycles at 9.4 per cycle (DS-CNN)."""


@dataclass(frozen=True)
class Target:
    """What to reach and how to weigh layers.

    data, labels: the samples that judge; max_drop: largest loss of top-1 (a share). Layers weigh `costs` (cycles of a node
    in int8 and in int16), or what `measure` (QDQ file -> cycles by node name) says at `place`, or, where neither is given
    or measuring fails and `insist` is False, their multiply-accumulates.
    """

    data: Mapping[str, np.ndarray]
    labels: np.ndarray
    max_drop: float
    costs: Costs | None = None
    measure: Measure | None = None
    place: str = "simulator"
    insist: bool = False


@dataclass(frozen=True)
class Mixed:
    """The mixed-precision model, how it was found, and what to tell about it (plain dict)."""

    outcome: Outcome
    found: Fallback
    report: dict[str, Any]


def fewest(graph: Graph, data: Mapping[str, np.ndarray], settings: Settings, recipe: str, target: Target, *,
           budget: float = 600.0, jobs: int = 1, dask: str | None = None,
           progress: Progress | None = None) -> Mixed:  # fmt: skip
    """int16 for the layers that cost the fewest cycles and keep the loss under the target's.

    Raises EspgenError where int16 everywhere does not, and where measuring fails and the target insists on it.
    """
    check_quantizable(graph)
    start = recipe_settings(recipe, graph, data, settings, budget, jobs, dask, progress)
    costs, weighed = _weigh(graph, data, start.settings, target, progress)
    judge = TopOne(target.labels, target.max_drop)
    found = fewest_cycles(graph, data, target.data, judge, start.settings, _total(costs, graph, settings), progress, jobs, dask)
    shares = f"{found.original:.4f} float, {found.global_quantized:.4f} int8, {found.saved:.4f} now"
    reasons = [f"int16 for {len(found.rolled_back)} layers: top-1 {shares}", f"layers weighed by {weighed}"]
    report = {
        "original": found.original,
        "int8": found.global_quantized,
        "saved": found.saved,
        "layers": list(found.rolled_back),
        "weighed_by": weighed,
        "configurations": len(found.history),
        "cycles": None,
    }
    if isinstance(costs, Cycles) and target.measure is not None and weighed.startswith("cycles"):
        report["cycles"] = cycles = _cycles(found, costs, target.measure)
        reasons.append(f"cycles: {cycles['int8']:,.0f} int8, {cycles['saved']:,.0f} now, {cycles['int16']:,.0f} int16")
        reasons += [_layer(name, costs) for name in found.rolled_back[:_LISTED]]
    model = found.deploy.with_notes(*reasons)
    return Mixed(Outcome(model, start.settings, start.trials, (*start.reasons, *reasons)), found, report)


@dataclass(frozen=True)
class Start:
    """Settings of a recipe, and how they were found."""

    settings: Settings
    trials: tuple[Any, ...] = ()
    reasons: tuple[str, ...] = ()


def recipe_settings(recipe: str, graph: Graph, data: Mapping[str, np.ndarray], settings: Settings, budget: float = 600.0,
                    jobs: int = 1, dask: str | None = None, progress: Progress | None = None) -> Start:  # fmt: skip
    """What the recipe would quantize with; only `auto` has to try."""
    if recipe == "minmax":
        return Start(settings.but(**MINMAX))
    if recipe == "default":
        return Start(settings)
    outcome = run_recipe(recipe, graph, data, settings, budget, jobs, dask, progress)
    return Start(outcome.settings, outcome.trials, outcome.reasons)


def _weigh(graph: Graph, data: Mapping[str, np.ndarray], settings: Settings, target: Target,
           progress: Progress | None) -> tuple[Costs, str]:  # fmt: skip
    if target.costs is not None:
        return target.costs, "given costs"
    if target.measure is None:
        return mac_costs(graph, settings), "multiply-accumulates"
    try:
        return measured_costs(graph, data, settings, target.measure, progress), f"cycles ({target.place})"
    except EspgenError as problem:
        if target.insist:
            raise
        return mac_costs(graph, settings), f"multiply-accumulates (no cycles: {_first_lines(problem)})"


def _first_lines(problem: EspgenError) -> str:
    """What went wrong, on one line: a compiler's first message stands in its second line."""
    return " ".join(" ".join(problem.message.splitlines()[:2]).split())[:300]


def _total(costs: Costs, graph: Graph, settings: Settings) -> Total:
    """Cycles of the whole network; where only costs of layers are given, changes of width cost nothing."""
    fixed = frozenset(name for name, bits in settings.bits.items() if bits == 16)
    if isinstance(costs, Cycles):
        measured = costs
        return lambda wide: measured.total(fixed.union(wide))
    names = [node.name for node in fold(graph, settings.fuse, settings.fuse_list).nodes]
    pairs = {name: costs(name) for name in names}
    return lambda wide: sum(pair[name in wide] for name, pair in pairs.items())


def _cycles(found: Fallback, costs: Cycles, measure: Measure) -> dict[str, float]:
    saved = sum(measure(qdq_bytes(found.deploy)).values()) if found.rolled_back else costs.total_narrow
    return {"int8": costs.total_narrow, "saved": float(saved), "int16": costs.total_wide}


def _layer(name: str, costs: Cycles) -> str:
    narrow, wide = costs(name)
    return f"  {name}: {narrow:,.0f} cycles in int8, {wide:,.0f} in int16"


def mac_costs(graph: Graph, settings: Settings) -> Cycles:
    """Costs in multiply-accumulates, twice that in int16, and of changes of width: for callers without measured cycles."""
    folded = fold(graph, settings.fuse, settings.fuse_list)
    macs = {node.name: float(max(multiply_accumulates(folded, node), 1)) for node in folded.nodes}
    wide = {name: 2.0 * count for name, count in macs.items()}
    return Cycles(macs, wide, find_borders(folded), UP_MACS, DOWN_MACS)
