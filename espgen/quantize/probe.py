"""How much a tensor's grid disturbs what is computed from it: error behind the next products, on a few samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from espgen.ir import Graph, Node
from espgen.quantize.model import TensorQuant
from espgen.quantize.runtime import Session, graph_session, unit_session
from espgen.quantize.units import Unit, is_product, output_channels

# Multiply-accumulates the probe may spend per pass over the network, and the limits on samples it gives.
WORK = 3.2e9
LEAST_IMAGES, MOST_IMAGES = 8, 64
BUDGET = 0.12
# Multiply-accumulates for looking to the end of the network from every tensor, 1.5 times on average.
FAR_WORK = 1e11
_LAST = frozenset({"Softmax", "LogSoftmax"})


class Probe:
    """Measures grids by the relative squared error of what is computed from a tensor, as far as the logits.

    An outlier that the rest of the network ignores costs nothing there, while it would rule the error of the tensor
    itself. How far the probe looks is bounded by work: BUDGET of the network's multiply-accumulates per tensor, at least
    the next product. Everything is measured on the float network, so one probe serves every scheme and equalization.
    """

    def __init__(self, graph: Graph, units: Sequence[Unit], data: Mapping[str, np.ndarray], threads: int = 1,
                 budget: float = BUDGET) -> None:  # fmt: skip
        self.graph = graph
        self.threads = threads
        self.order = units
        self.macs = {unit.name: multiply_accumulates(graph, unit.node) for unit in units}
        work = sum(self.macs.values())
        self.budget = budget * work
        self.consumers = graph.consumers()
        count = len(next(iter(data.values())))
        images = int(np.clip(WORK / max(work, 1), LEAST_IMAGES, MOST_IMAGES))
        self.looks_far = 1.5 * work * images * len(units) <= FAR_WORK
        chosen = np.unique(np.linspace(0, count - 1, images).astype(int))
        feeds = {name: np.ascontiguousarray(array[chosen]) for name, array in data.items()}
        names = [name for node in graph.nodes for name in node.outputs if name]
        self.values = {**feeds, **graph_session(graph, names, threads, 4).run(feeds)}
        self._sessions: dict[tuple[str, bool], tuple[Session, list[str]] | None] = {}

    def __getstate__(self) -> dict[str, object]:
        """Sessions do not travel to worker processes; they are made again there."""
        return {**self.__dict__, "_sessions": {}}

    def error(self, name: str, grid: TensorQuant, factor: np.ndarray | None = None) -> float:
        """Sum over the values behind `name` of |change|^2 / |value|^2 when `name` (times factor[c]) is put on `grid`."""
        return sum(_relative(found, real) for found, real in self._changes(name, grid, factor, far=False))

    def far_error(self, name: str, grid: TensorQuant, factor: np.ndarray | None = None) -> float:
        """As `error`, but at the network's logits and averaged over samples: what recipes are judged by."""
        changes = self._changes(name, grid, factor, far=True)
        return sum(float(np.mean([_relative(*pair) for pair in zip(found, real, strict=True)])) for found, real in changes)

    def _changes(self, name: str, grid: TensorQuant, factor: np.ndarray | None, far: bool) -> list[tuple[np.ndarray, np.ndarray]]:
        """(changed, real) values behind `name`; `far`: at the end of the network, whatever it costs."""
        real = self.values[name]
        if factor is None:
            changed = grid.fake(real)
        else:
            shaped = factor.astype(np.float32).reshape((1, -1) + (1,) * (real.ndim - 2))
            changed = grid.fake(real * shaped) / shaped
        found = self._session(name, far)
        if found is None:
            return [(changed, real)]
        session, outputs = found
        results = session.run({**self.values, name: changed})
        return [(results[output], self.values[output]) for output in outputs]

    def _session(self, name: str, far: bool) -> tuple[Session, list[str]] | None:
        if (name, far) not in self._sessions:
            nodes, outputs = self._ahead(name, float("inf") if far else self.budget)
            session = unit_session(self.graph, nodes, outputs, self.threads, batch=4) if nodes else None
            self._sessions[name, far] = None if session is None else (session, outputs)
        return self._sessions[name, far]

    def _ahead(self, name: str, budget: float) -> tuple[list[Node], list[str]]:
        """Nodes computed from the value, in graph order until the budget is spent, and the values to compare."""
        nodes: list[Node] = []
        reached = {name}
        spent, products = 0, 0
        for unit in self.order:
            if unit.node.op in _LAST or not reached.intersection(unit.node.inputs):
                continue
            cost = self.macs.get(unit.name, 0)
            if products and spent + cost > budget:
                break
            spent += cost
            products += cost > 0
            nodes += unit.nodes
            reached.update(output for node in unit.nodes for output in node.outputs)
        inside = set(map(id, nodes))
        outputs = [
            output
            for node in nodes
            for output in node.outputs
            if output and (output in self.graph.outputs or any(id(reader) not in inside for reader in self.consumers[output]))
        ]
        return nodes, outputs


def multiply_accumulates(graph: Graph, node: Node) -> int:
    """Multiply-accumulates of a product with constant weights, 0 for anything else."""
    if not is_product(graph, node):
        return 0
    weights = graph.value(node.inputs[1])
    output = graph.value(node.outputs[0])
    if node.op == "ConvTranspose":
        return graph.value(node.inputs[0]).elements * weights.elements // weights.shape[0]
    channels = output_channels(graph, node)[1]
    return output.elements * weights.elements // channels


def _relative(changed: np.ndarray, value: np.ndarray) -> float:
    power = float(np.square(value, dtype=np.float64).sum())
    gap = changed - value
    return float(np.square(gap, out=gap).sum(dtype=np.float64)) / max(power, 1e-30)
