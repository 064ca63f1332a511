"""Measured cycles per layer in int8 and int16, and the layers that int8 does not make faster."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from espgen.ir import Graph
from espgen.quantize.exporter import qdq_bytes
from espgen.quantize.model import QuantizedModel
from espgen.quantize.pipeline import check_quantizable, quantize_calibrated
from espgen.quantize.prepare import Calibrated, calibrate
from espgen.quantize.settings import Settings
from espgen.quantize.statistics import Progress
from espgen.quantize.units import FIXED_RANGE, PASSIVE, is_product, split_units

Measure = Callable[[bytes], Mapping[str, float]]
"""QDQ model (file bytes) -> cycles by node name, whose sum is the whole run: a profile in the simulator or on a board."""

_SAMPLES = 8
"""Samples a model is quantized with that is only measured: cycles do not depend on the weights' values."""


Costs = Callable[[str], tuple[float, float]]
"""Node name -> (cycles in int8, cycles in int16)."""


@dataclass(frozen=True)
class Cycles:
    """Cycles by node with the whole network in int8 and in int16. Called with a node's name it is a `Costs`.

    borders: tensors between layers; up, down: cycles per element that changes from 8 to 16 bits, and back.
    """

    narrow: Mapping[str, float]
    wide: Mapping[str, float]
    borders: tuple[Border, ...] = ()
    up: float = 0.0
    down: float = 0.0

    def __call__(self, name: str) -> tuple[float, float]:
        """(cycles in int8, in int16); a node that was not measured (fused, or absent) costs nothing."""
        return float(self.narrow.get(name, 0.0)), float(self.wide.get(name, 0.0))

    @property
    def total_narrow(self) -> float:
        """Cycles of the whole network in int8."""
        return float(sum(self.narrow.values()))

    @property
    def total_wide(self) -> float:
        """Cycles of the whole network in int16."""
        return float(sum(self.wide.values()))

    def total(self, wide: Collection[str]) -> float:
        """Cycles of the network with these nodes in int16, changes of width included: predicted."""
        chosen = frozenset(wide)
        layers = sum(self(name)[name in chosen] for name in {**self.narrow, **self.wide})
        up, down = changed(self.borders, chosen)
        return layers + self.up * up + self.down * down

    def as_dicts(self) -> list[dict[str, Any]]:
        """One entry per layer, in the order of the int8 run."""
        return [{"name": name, "int8": self(name)[0], "int16": self(name)[1]} for name in self.narrow]


@dataclass(frozen=True)
class Border:
    """A tensor: the node that makes it (None for a graph input), the nodes that read it, and its elements.

    Nodes that only move values (Reshape and the like) are looked through.
    """

    maker: str | None
    readers: tuple[str, ...]
    elements: int


def find_borders(graph: Graph) -> tuple[Border, ...]:
    """The tensors between the units of a folded graph."""
    units = split_units(graph)
    moved = {name: unit.node.inputs[0] for unit in units if unit.node.op in PASSIVE for name in unit.node.outputs if name}
    makers = {unit.output: unit.name for unit in units if unit.node.op not in PASSIVE}
    readers: dict[str, list[str]] = {}
    for unit in units:
        for name in unit.node.inputs if unit.node.op not in PASSIVE else ():
            while name in moved:
                name = moved[name]
            if name in makers or name in graph.inputs:
                readers.setdefault(name, []).append(unit.name)
    return tuple(
        Border(makers.get(name), tuple(dict.fromkeys(names)), graph.value(name).elements) for name, names in readers.items()
    )


def changed(borders: Sequence[Border], wide: frozenset[str]) -> tuple[int, int]:
    """Elements that change from 8 to 16 bits, and from 16 to 8, where these nodes are in int16.

    A graph input is in 16 bits where all its readers are.
    """
    up = down = 0
    for border in borders:
        widths = {reader in wide for reader in border.readers}
        made_wide = border.maker in wide if border.maker is not None else widths == {True}
        if not made_wide and True in widths:
            up += border.elements
        if made_wide and False in widths:
            down += border.elements
    return up, down


@dataclass(frozen=True)
class Latency:
    """Outcome of the latency fallback: layers kept in higher precision, cycles of the network as saved, and all models.

    fake_quant has the rolled-back layers in float, deploy in int16; tried: (rolled back, cycles) of every configuration.
    """

    fake_quant: QuantizedModel
    deploy: QuantizedModel
    rolled_back: tuple[str, ...]
    cycles: Cycles
    saved: float
    tried: tuple[tuple[tuple[str, ...], float], ...]


def measured_costs(graph: Graph, data: Mapping[str, np.ndarray], settings: Settings, measure: Measure,
                   progress: Progress | None = None) -> Cycles:  # fmt: skip
    """Cycles from four measurements: the network in int8, in int16, and in both by turns, each quantized quickly.

    The last two show what changes of width cost per element.
    """
    quick = _quickly(graph, data, settings)
    cycles = _both(quick, measure, progress, 4)
    names = quick.everything
    borders = find_borders(quick.calibrated.graph)
    rows, extra = [], []
    for done, parity in enumerate((names[::2], names[1::2]), start=3):
        found = float(sum(measure(quick.model(parity)).values()))
        rows.append(changed(borders, frozenset(parity)))
        extra.append(found - cycles.total(parity))
        if progress is not None:
            progress("measuring cycles", done, 4)
    up, down = _rates(np.asarray(rows, np.float64), np.asarray(extra))
    return replace(cycles, borders=borders, up=up, down=down)


def _rates(rows: np.ndarray, extra: np.ndarray) -> tuple[float, float]:
    """Cycles per element in both directions from two networks: rows [2, 2] elements, extra [2] cycles."""
    if abs(np.linalg.det(rows)) > 1e-3 * float(np.abs(rows).max(initial=0.0)) ** 2:
        up, down = np.linalg.solve(rows, extra)
        if up >= 0.0 and down >= 0.0:
            return float(up), float(down)
    both = max(float(extra.sum()) / max(float(rows.sum()), 1.0), 0.0)
    return both, both


def latency_fallback(graph: Graph, data: Mapping[str, np.ndarray], settings: Settings, measure: Measure,
                     progress: Progress | None = None) -> Latency:  # fmt: skip
    """Quantize, but leave layers in higher precision that int8 does not make faster.

    Widths that change between layers cost cycles too: where the mixed network turns out slower than int8 throughout,
    layers are kept wide only as long as each makes the whole no slower.
    """
    check_quantizable(graph)
    quick = _quickly(graph, data, settings)
    cycles = _both(quick, measure, progress, 2)
    names = [node.name for node in quick.calibrated.graph.nodes if is_product(quick.calibrated.graph, node)]
    candidates = not_faster([name for name in names if name not in settings.float_nodes], cycles)
    tried: list[tuple[tuple[str, ...], float]] = [((), cycles.total_narrow)]

    def total(chosen: Sequence[str]) -> float:
        tried.append((tuple(chosen), float(sum(measure(quick.model(chosen)).values()))))
        if progress is not None:
            progress("measuring mixed precision", len(tried) - 1, 0)
        return tried[-1][1]

    kept, saved = tuple(candidates), cycles.total_narrow
    if candidates:
        saved = total(candidates)
    if saved > cycles.total_narrow:
        kept, saved = (), cycles.total_narrow
        for name in candidates:
            reached = total((*kept, name))
            if reached <= saved:
                kept, saved = (*kept, name), reached
    calibrated = calibrate(graph, data, settings, progress)
    deploy = quantize_calibrated(calibrated, data, _widened(settings, kept), progress)
    fake = deploy
    if kept:
        fake = quantize_calibrated(calibrated, data, settings.but(float_nodes=settings.float_nodes | set(kept)), progress)
    return Latency(fake, deploy, kept, cycles, saved, tuple(tried))


def not_faster(names: Sequence[str], costs: Costs) -> tuple[str, ...]:
    """Measured layers for which int8 takes as long as higher precision, or longer."""
    return tuple(name for name in names if 0.0 < costs(name)[1] <= costs(name)[0])


def as_dict(result: Latency, place: str) -> dict[str, Any]:
    """Everything but the models, as plain dicts. `place`: where the cycles were measured."""
    return {
        "measured": place,
        "cycles": {"int8": result.cycles.total_narrow, "int16": result.cycles.total_wide, "saved": result.saved},
        "layers": [{**layer, "rolled_back": layer["name"] in result.rolled_back} for layer in result.cycles.as_dicts()],
        "rolled_back": list(result.rolled_back),
        "history": [{"rolled_back": list(names), "cycles": cycles} for names, cycles in result.tried],
    }


@dataclass(frozen=True)
class Quick:
    """A network calibrated with the fastest settings, for models that are only measured."""

    calibrated: Calibrated
    data: Mapping[str, np.ndarray]
    settings: Settings

    @property
    def everything(self) -> list[str]:
        """The nodes that can be in int16."""
        skipped = PASSIVE | set(FIXED_RANGE)
        return [unit.name for unit in self.calibrated.units if unit.node.op not in skipped]

    def model(self, wide: Sequence[str]) -> bytes:
        """The QDQ file with these nodes in int16."""
        return qdq_bytes(quantize_calibrated(self.calibrated, self.data, _widened(self.settings, wide)))


def _quickly(graph: Graph, data: Mapping[str, np.ndarray], settings: Settings) -> Quick:
    few = {name: np.ascontiguousarray(array[:_SAMPLES]) for name, array in data.items()}
    quick = settings.but(observer="minmax", equalize=None, correction="none", rounding="nearest")
    quick = quick.but(bits={}, float_nodes=frozenset())
    return Quick(calibrate(graph, few, quick), few, quick)


def _both(quick: Quick, measure: Measure, progress: Progress | None, steps: int) -> Cycles:
    found = []
    for done, names in enumerate(([], quick.everything), start=1):
        found.append(dict(measure(quick.model(names))))
        if progress is not None:
            progress("measuring cycles", done, steps)
    narrow, wide = found
    return Cycles(narrow, wide)


def _widened(settings: Settings, names: Sequence[str]) -> Settings:
    return settings.but(bits={**settings.bits, **dict.fromkeys(names, 16)})
