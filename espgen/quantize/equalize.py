"""Cross-layer equalization that keeps ReLU6.

Nagel et al. 2019, "Data-free quantization through weight equalization and bias correction", section 4.1; one-sided
factors after Meller et al. 2019. For factors r_c > 0 on the channels of a tensor: producer rows and bounds times r_c,
consumer columns divided by r_c. The network computes the same; a ReLU6 gets the bound 6 r_c per channel, which the top
code of the quantized tensor usually provides for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from espgen.ir import Graph, Node
from espgen.quantize.fold import scale_outputs
from espgen.quantize.statistics import TensorStatistics
from espgen.quantize.units import bound_limits, is_depthwise, is_product

DEAD = 1e-4
# A channel that hardly ever fires on the calibration data may fire on other data: too large a factor would cut it off.
RARE = 0.05
LARGEST_RARE_FACTOR = 4.0
LARGEST_FACTOR = 2.0**6
LARGEST_FREE_FACTOR = 2.0**10
_TIES = frozenset({"Relu", "Clip", "Add", "Sub", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LeakyRelu"})


@dataclass(frozen=True)
class Group:
    """Tensors that must share one factor per channel.

    free: read by depthwise convolutions only, so factors cost nothing; channels: how many factors.
    """

    names: tuple[str, ...]
    channels: int
    free: bool


def find_groups(graph: Graph) -> list[Group]:
    """Groups of tensors that may be equalized, in graph order."""
    parent: dict[str, str] = {}

    def find(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    def join(first: str, second: str) -> None:
        parent[find(second)] = find(first)

    blocked: set[str] = {*graph.inputs, *graph.outputs}
    # A first axis that is no sample moves every other one: factors are applied to axis 1 of [sample, channel, ...].
    blocked |= {name for name, value in graph.values.items() if value.shape[:1] != (1,) and not graph.is_constant(name)}
    full: set[str] = set()
    produced: set[str] = set()
    for node in graph.nodes:
        dynamic = [name for name in node.inputs if name and not graph.is_constant(name)]
        outputs = [name for name in node.outputs if name]
        if is_product(graph, node) and _equalizable(graph, node):
            produced.update(outputs)
            if not is_depthwise(graph, node):
                full.update(dynamic)
        elif _tied(graph, node, dynamic):
            for name in dynamic:
                join(dynamic[0], name)
            join(dynamic[0], outputs[0])
        else:
            blocked.update(dynamic)
            blocked.update(outputs)
    members: dict[str, list[str]] = {}
    for name, value in graph.values.items():
        if not graph.is_constant(name) and len(value.shape) >= 2:
            members.setdefault(find(name), []).append(name)
    groups = []
    for names in members.values():
        channels = {graph.value(name).shape[1] for name in names}
        if any(name in blocked for name in names) or len(channels) != 1 or not any(name in produced for name in names):
            continue
        groups.append(Group(tuple(names), channels.pop(), not any(name in full for name in names)))
    return groups


def _equalizable(graph: Graph, node: Node) -> bool:
    if node.op == "Conv":
        return int(node.attrs.get("group", 1)) == 1 or is_depthwise(graph, node)
    return node.op == "Gemm" and not node.attrs.get("transA", 0) and float(node.attrs.get("alpha", 1.0)) == 1.0


def _tied(graph: Graph, node: Node, dynamic: list[str]) -> bool:
    """True for operators that commute with one positive factor per channel."""
    if node.op == "Clip" and bound_limits(graph, node)[0] not in (0.0, -float("inf")):
        return False
    if node.op in _TIES:
        return len(dynamic) == len([name for name in node.inputs if name]) or node.op == "Clip"
    if node.op in ("Reshape", "Flatten"):
        before, after = graph.value(dynamic[0]).shape, graph.value(node.outputs[0]).shape
        return len(before) >= 2 and len(after) >= 2 and before[:2] == after[:2]
    return False


@dataclass(frozen=True)
class Channels:
    """How a group's channels compare: largest value of each relative to the largest of all, the most each may be lifted."""

    relative: np.ndarray
    limit: np.ndarray

    def factors(self, exponent: float) -> np.ndarray:
        """Factors per channel, at least 1, that lift small channels: r_c = (T / max_c)^exponent.

        Dead channels (max_c < 1e-4 T) get the typical factor instead of a huge one.
        """
        alive = self.relative >= DEAD
        factors = np.ones(self.relative.size)
        if alive.any():
            factors[alive] = self.relative[alive] ** -exponent
            factors[~alive] = float(np.median(factors[alive]))
        return np.asarray(np.minimum(factors, self.limit))


def relative_channels(group: Group, statistics: Mapping[str, TensorStatistics]) -> Channels:
    """The channels of a group over all its tensors; those that rarely fire may be lifted a little only."""
    relative, fired = np.zeros(group.channels), np.zeros(group.channels)
    for name in group.names:
        if name in statistics:
            extent = np.asarray(statistics[name].extent, np.float64)
            fired = np.maximum(fired, np.mean(statistics[name].samples != 0.0, axis=0))
            if extent.max(initial=0.0) > 0.0:
                relative = np.maximum(relative, extent / extent.max())
    if relative.max(initial=0.0) > 0.0:
        relative /= relative.max()
    limit = np.where(fired < RARE, LARGEST_RARE_FACTOR, LARGEST_FACTOR)
    return Channels(relative, np.full(group.channels, LARGEST_FREE_FACTOR) if group.free else limit)


def apply_factors(graph: Graph, factors: Mapping[str, np.ndarray]) -> Graph:
    """The graph with the factors of each tensor (by value name) worked into the weights and biases around it.

    Bounds are left as they are: a Clip behind an equalized tensor is replaced by the caller (see bounds.py).
    """
    constants: dict[str, np.ndarray] = {}
    for node in graph.nodes:
        if not is_product(graph, node):
            continue
        before, after = factors.get(node.inputs[0]), factors.get(node.outputs[0])
        if before is None and after is None:
            continue
        weights = np.asarray(graph.constants[node.inputs[1]], np.float64)
        if before is not None:
            weights = _divide_inputs(graph, node, weights, before)
        if after is not None:
            weights = scale_outputs(node, weights, after)
            if node.input(2):
                bias = np.asarray(graph.constants[node.inputs[2]], np.float64) * after
                constants[node.inputs[2]] = bias.astype(np.float32)
        constants[node.inputs[1]] = weights.astype(np.float32)
    return graph.updated(constants=constants)


def _divide_inputs(graph: Graph, node: Node, weights: np.ndarray, factor: np.ndarray) -> np.ndarray:
    if node.op == "Gemm":
        return np.asarray(weights / (factor if node.attrs.get("transB", 0) else factor[:, None]))
    if is_depthwise(graph, node):
        return np.asarray(weights / factor.reshape(-1, *([1] * (weights.ndim - 1))))
    return np.asarray(weights / factor.reshape(1, -1, *([1] * (weights.ndim - 2))))
