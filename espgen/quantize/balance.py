"""How far to equalize a tensor: an estimate of the noise that its own grid and its readers' weights make together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from espgen.ir import Graph, Node
from espgen.quantize.equalize import Group, group_factors
from espgen.quantize.patches import weight_matrix
from espgen.quantize.scales import LEAST_SCALE, common_factor, power_of_two_above
from espgen.quantize.statistics import TensorStatistics
from espgen.quantize.units import is_depthwise, is_product

# Not as far as 1, which would leave no channel any headroom for what other data holds.
EXPONENTS = (0.0, 0.25, 0.375, 0.5, 0.625, 0.75)
CODES = 255
LARGEST_CODE = 127
# Rounding against the layer's own inputs leaves about this share of the weights' noise.
ROUNDED = 0.5
LEAST_FIRED = 8


def balanced_factors(graph: Graph, group: Group, statistics: Mapping[str, TensorStatistics],
                     consumers: Mapping[str, Sequence[Node]], symmetric: bool) -> np.ndarray:  # fmt: skip
    """The factors [channels] of `group` with the least estimated noise behind the products that read it."""
    candidates = [group_factors(group, statistics, exponent) for exponent in EXPONENTS]
    return min(candidates, key=lambda factors: estimated_noise(graph, group, statistics, consumers, factors, symmetric))


def estimated_noise(graph: Graph, group: Group, statistics: Mapping[str, TensorStatistics],
                    consumers: Mapping[str, Sequence[Node]], factors: np.ndarray, symmetric: bool) -> float:  # fmt: skip
    """Sum over the products that read the group of the noise power at their outputs; symmetric: zero points are 0.

    A grid of step s over channels times r_c adds s^2 / 12 * sum_c |W_c|^2 / r_c^2, and what it cuts off on data not seen here
    (_overflow); weights rounded with step t_o per output add t_o^2 / 12 * sum_c r_c^2 var(x_c) for each tap. Bias
    correction takes the means out. Lifting every channel to the top would leave none of them any headroom: with the
    three terms, networks with channels 1000 times apart and networks whose channels are alike both get what suits them.
    """
    total = 0.0
    members = [name for name in group.names if name in statistics]
    steps = _steps([statistics[name] for name in members], factors, symmetric)
    for name, step in zip(members, steps, strict=True):
        seen = statistics[name]
        noise = step**2 / 12 + _overflow(seen, factors)
        total += float((_sensitivity(graph, group, name, consumers) / factors**2 * noise).sum())
        spread = seen.samples.var(axis=0, dtype=np.float64)
        for node in _dense_readers(graph, name, consumers):
            weights = _by_input(graph, node)
            if weights.shape[1] != factors.size:
                continue
            rows = np.abs(weights / factors[:, None]).max(axis=(1, 2)) / LARGEST_CODE
            power = float((factors**2 * spread).sum()) * weights.shape[2]
            total += ROUNDED * float((rows**2).sum()) / 12 * power
    return total


def _steps(members: Sequence[TensorStatistics], factors: np.ndarray, symmetric: bool) -> list[float]:
    """Step of each tensor's grid; powers of two share one more factor, which fits one of them exactly."""
    if not symmetric:
        highs = [max(float((seen.high * factors).max()), 0.0) for seen in members]
        lows = [min(float((seen.low * factors).min()), 0.0) for seen in members]
        return [(high - low) / CODES for high, low in zip(highs, lows, strict=True)]
    tops = [max(float((seen.extent * factors).max()), LEAST_SCALE) for seen in members]
    common = common_factor(tops)
    return [power_of_two_above(common * top / LARGEST_CODE) / common for top in tops]


def _overflow(seen: TensorStatistics, factors: np.ndarray) -> np.ndarray:
    """Expected square per value, by channel, of what other data put above the largest value seen.

    Exponential tails: n values with scale b reach about b ln n, and exceed t with a mean square of 2 b^2 exp(-t / b).
    """
    lifted = np.asarray(seen.extent, np.float64) * factors
    fired = np.maximum((seen.samples != 0).sum(axis=0), LEAST_FIRED)
    scale = np.maximum(lifted, 1e-12) / np.log(fired)
    return np.asarray(2.0 * scale**2 / len(seen.samples) * np.exp(-(lifted.max() - lifted) / scale))


def _sensitivity(graph: Graph, group: Group, name: str, consumers: Mapping[str, Sequence[Node]]) -> np.ndarray:
    """Per channel the squared norm of the weights that read the value, through tied operators as well."""
    found = np.zeros(group.channels)
    for node in consumers.get(name, ()):
        if is_product(graph, node) and node.inputs[0] == name:
            per_input = (_by_input(graph, node) ** 2).sum(axis=(0, 2))
            found += per_input if per_input.size == group.channels else 0.0
        elif node.outputs[0] in group.names:
            found += _sensitivity(graph, group, node.outputs[0], consumers)
    return found


def _dense_readers(graph: Graph, name: str, consumers: Mapping[str, Sequence[Node]]) -> list[Node]:
    return [
        node
        for node in consumers.get(name, ())
        if is_product(graph, node) and node.inputs[0] == name and not is_depthwise(graph, node)
    ]


def _by_input(graph: Graph, node: Node) -> np.ndarray:
    """Weights as float64 [outputs, inputs, taps]; a depthwise convolution as [1, channels, taps]."""
    weights = np.asarray(graph.constants[node.inputs[1]], np.float64)
    if node.op == "Conv":
        flat = weights.reshape(*weights.shape[:2], -1)
        return np.moveaxis(flat, 1, 0) if is_depthwise(graph, node) and flat.shape[1] == 1 else flat
    return np.asarray(weight_matrix(node, weights)[0].T[:, :, None])
