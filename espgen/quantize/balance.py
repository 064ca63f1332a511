"""How far to equalize a tensor: an estimate of the noise that its own grid and its readers' weights make together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from espgen.ir import Graph, Node
from espgen.quantize.equalize import Group, relative_channels
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


@dataclass(frozen=True)
class Member:
    """What the noise of one tensor of a group depends on, per channel.

    low, high, extent, variance: of its values; fired: how many of `count` values were not 0; sensitivity: squared norm of
    the weights that read the channel, through tied operators as well; weights: of its dense readers, [outputs, channels, taps].
    """

    low: np.ndarray
    high: np.ndarray
    extent: np.ndarray
    variance: np.ndarray
    fired: np.ndarray
    count: int
    sensitivity: np.ndarray
    weights: Sequence[np.ndarray]


def balanced_factors(graph: Graph, group: Group, statistics: Mapping[str, TensorStatistics],
                     consumers: Mapping[str, Sequence[Node]], symmetric: bool) -> np.ndarray:  # fmt: skip
    """The factors [channels] of `group` with the least estimated noise behind the products that read it.

    symmetric: grids are powers of two with zero point 0.
    """
    members = [_member(graph, group, name, statistics[name], consumers) for name in group.names if name in statistics]
    channels = relative_channels(group, statistics)
    candidates = [channels.factors(exponent) for exponent in EXPONENTS]
    return min(candidates, key=lambda factors: estimated_noise(members, factors, symmetric))


def _member(graph: Graph, group: Group, name: str, seen: TensorStatistics, consumers: Mapping[str, Sequence[Node]]) -> Member:
    dense = [_by_input(graph, node) for node in _readers(graph, name, consumers) if not is_depthwise(graph, node)]
    return Member(
        low=seen.low,
        high=seen.high,
        extent=np.asarray(seen.extent, np.float64),
        variance=seen.samples.var(axis=0, dtype=np.float64),
        fired=(seen.samples != 0.0).sum(axis=0),
        count=len(seen.samples),
        sensitivity=_sensitivity(graph, group, name, consumers),
        weights=[weights for weights in dense if weights.shape[1] == group.channels],
    )


def estimated_noise(members: Sequence[Member], factors: np.ndarray, symmetric: bool) -> float:
    """Sum over the products that read the group of the noise power at their outputs, channels of the group times `factors`.

    A grid of step s over channels times r_c adds s^2 / 12 * sum_c |W_c|^2 / r_c^2, and what it cuts off on data not seen here
    (_overflow); weights rounded with step t_o per output add t_o^2 / 12 * sum_c r_c^2 var(x_c) for each tap. Bias
    correction takes the means out. With the three terms, networks with channels 1000 times apart and networks whose
    channels are alike both get what suits them.
    """
    total = 0.0
    for member, step in zip(members, _steps(members, factors, symmetric), strict=True):
        noise = step**2 / 12 + _overflow(member, factors)
        total += float((member.sensitivity / factors**2 * noise).sum())
        for weights in member.weights:
            rows = np.abs(weights / factors[:, None]).max(axis=(1, 2)) / LARGEST_CODE
            power = float((factors**2 * member.variance).sum()) * weights.shape[2]
            total += ROUNDED * float((rows**2).sum()) / 12 * power
    return total


def _steps(members: Sequence[Member], factors: np.ndarray, symmetric: bool) -> list[float]:
    """Step of each tensor's grid; powers of two share one more factor, which fits one of them exactly."""
    if not symmetric:
        highs = [max(float((member.high * factors).max()), 0.0) for member in members]
        lows = [min(float((member.low * factors).min()), 0.0) for member in members]
        return [(high - low) / CODES for high, low in zip(highs, lows, strict=True)]
    tops = [max(float((member.extent * factors).max()), LEAST_SCALE) for member in members]
    common = common_factor(tops)
    return [power_of_two_above(common * top / LARGEST_CODE) / common for top in tops]


def _overflow(member: Member, factors: np.ndarray) -> np.ndarray:
    """Expected square per value, by channel, of what other data put above the largest value seen.

    Exponential tails: n values with scale b reach about b ln n, and exceed t with a mean square of 2 b^2 exp(-t / b).
    """
    lifted = member.extent * factors
    scale = np.maximum(lifted, 1e-12) / np.log(np.maximum(member.fired, LEAST_FIRED))
    return np.asarray(2.0 * scale**2 / member.count * np.exp(-(lifted.max() - lifted) / scale))


def _sensitivity(graph: Graph, group: Group, name: str, consumers: Mapping[str, Sequence[Node]]) -> np.ndarray:
    found = np.zeros(group.channels)
    for node in _readers(graph, name, consumers):
        per_input = (_by_input(graph, node) ** 2).sum(axis=(0, 2))
        found += per_input if per_input.size == group.channels else 0.0
    for node in consumers.get(name, ()):
        if not is_product(graph, node) and node.outputs[0] in group.names:
            found += _sensitivity(graph, group, node.outputs[0], consumers)
    return found


def _readers(graph: Graph, name: str, consumers: Mapping[str, Sequence[Node]]) -> list[Node]:
    return [node for node in consumers.get(name, ()) if is_product(graph, node) and node.inputs[0] == name]


def _by_input(graph: Graph, node: Node) -> np.ndarray:
    """Weights as float64 [outputs, inputs, taps]; a depthwise convolution as [1, channels, taps]."""
    weights = np.asarray(graph.constants[node.inputs[1]], np.float64)
    if node.op == "Conv":
        flat = weights.reshape(*weights.shape[:2], -1)
        return np.moveaxis(flat, 1, 0) if is_depthwise(graph, node) and flat.shape[1] == 1 else flat
    return np.asarray(weight_matrix(node, weights)[0].T[:, :, None])
