"""Folding, equalization, rounding, bias correction: each against what it promises."""

from __future__ import annotations

import numpy as np
import pytest

from espgen.ir import Graph, verify
from espgen.quantize.correction import mean_correction
from espgen.quantize.equalize import apply_factors, find_groups, relative_channels
from espgen.quantize.fold import fold
from espgen.quantize.model import Scheme, TensorQuant
from espgen.quantize.observers import choose_range
from espgen.quantize.patches import covariance, input_rows, weight_matrix, weight_tensor
from espgen.quantize.pipeline import fidelity, quantize, run_float
from espgen.quantize.prepare import bounded_graph
from espgen.quantize.recipes import MINMAX
from espgen.quantize.rounding import coordinate_descent, greedy, nearest, objective, round_weights, shrink_covariance
from espgen.quantize.settings import Settings
from espgen.quantize.split import split_outliers
from espgen.quantize.statistics import TensorStatistics, collect
from tests.unit.quantize_nets import HARD, Net, images, spread_variances

DATA = {"input": images(24)}


def _close(first: Graph, second: Graph) -> float:
    wanted, found = run_float(first, DATA), run_float(second, DATA)
    gaps = [np.abs(found[name] - wanted[name]).max() / np.abs(wanted[name]).max() for name in first.outputs]
    return float(max(gaps))


@pytest.mark.parametrize("net", sorted(HARD))
def test_folding_keeps_the_function(net: str) -> None:
    graph = HARD[net]()
    folded = fold(graph)
    verify(folded)
    assert not any(node.op == "BatchNormalization" for node in folded.nodes)
    assert _close(graph, folded) < 1e-4


def test_fuse_list_restricts_folding() -> None:
    graph = spread_variances()
    pairs = [
        (first.name, second.name)
        for first, second in zip(graph.nodes, graph.nodes[1:], strict=False)
        if second.op == "BatchNormalization"
    ]
    folded = fold(graph, fuse_list=pairs[:1])
    # What is not folded becomes a depthwise 1x1 convolution of the same name.
    kept = {node.name: node.op for node in folded.nodes if node.name.startswith("BatchNormalization")}
    assert set(kept) == {second for _, second in pairs[1:]}
    assert set(kept.values()) == {"Conv"}
    assert _close(graph, folded) < 1e-4


@pytest.mark.parametrize("net", sorted(HARD))
@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_equalization_is_exact_across_relu6(net: str, exponent: float) -> None:
    graph = fold(HARD[net]())
    names = [name for node in graph.nodes for name in node.outputs]
    statistics = collect(graph, DATA, names)
    groups = find_groups(graph)
    factors = {}
    for group in groups:
        found = relative_channels(group, statistics).factors(exponent)
        assert (found >= 1.0 - 1e-9).all()
        factors |= dict.fromkeys(group.names, found)
    assert any(np.ptp(found) > 0.1 for found in factors.values()) == (exponent > 0.0)
    equalized = bounded_graph(apply_factors(graph, factors), factors, {})
    verify(equalized)
    assert _close(graph, equalized) < 1e-4


def test_tied_tensors_share_one_group() -> None:
    graph = fold(HARD["outlier_channels"]())
    adds = {name for node in graph.nodes if node.op == "Add" for name in (*node.inputs, *node.outputs)}
    owners = [group for group in find_groups(graph) if adds & set(group.names)]
    assert len(owners) == 1
    assert adds <= set(owners[0].names)


def _problem(seed: int, groups: int = 1, inputs: int = 90, outputs: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    weights = random.normal(0, 1, (groups, inputs, outputs)).astype(np.float32)
    mixing = random.normal(0, 1, (groups, inputs, inputs))
    rows = (random.normal(0, 1, (groups, 400, inputs)) @ mixing).astype(np.float32)
    return weights, np.abs(weights).max(axis=1) / 127, covariance(rows)


@pytest.mark.parametrize("shape", [(1, 90, 12), (8, 9, 1), (2, 70, 3)])
def test_rounding_beats_nearest(shape: tuple[int, int, int]) -> None:
    weights, scale, moments = _problem(1, *shape)
    start = nearest(weights, scale, -127, 127)
    first = greedy(weights, scale, moments, -127, 127)
    better = coordinate_descent(weights, first, scale, moments, -127, 127)
    errors = [objective(weights, item, scale, moments).sum() for item in (start, first, better)]
    assert errors[2] <= errors[1] * (1 + 1e-5)
    assert errors[2] < 0.7 * errors[0]
    assert np.array_equal(better, np.rint(better))
    assert np.abs(better).max() <= 127


def test_descent_never_raises_the_objective_of_a_channel() -> None:
    weights, scale, moments = _problem(2)
    start = nearest(weights, scale, -127, 127)
    after = coordinate_descent(weights, start, scale, moments, -127, 127)
    assert (objective(weights, after, scale, moments) <= objective(weights, start, scale, moments) * (1 + 1e-4)).all()


def test_best_scale_is_chosen_per_channel() -> None:
    weights, scale, moments = _problem(3)
    weights[:, 0, :6] *= 30.0
    scale = np.abs(weights).max(axis=1) / 127
    integers, chosen = round_weights(weights, [scale, scale / 2], moments, -127, 127)
    assert set(np.unique(chosen / scale)) <= {0.5, 1.0}
    single, _ = round_weights(weights, [scale], moments, -127, 127)
    assert objective(weights, integers, chosen, moments).sum() <= objective(weights, single, scale, moments).sum() * 1.01


def test_shrinking_keeps_the_diagonal() -> None:
    _, _, moments = _problem(4)
    shrunk = shrink_covariance(moments, 90)
    assert np.allclose(np.diagonal(shrunk[0]), np.diagonal(moments[0]))
    assert np.allclose(shrunk[0, 0, 1:], 0.5 * moments[0, 0, 1:])


@pytest.mark.parametrize("bounds", [(-np.inf, np.inf), (0.0, np.inf), (0.0, 1.0)])
def test_correction_matches_the_mean_behind_the_bound(bounds: tuple[float, float]) -> None:
    random = np.random.default_rng(0)
    real = random.normal(0.2, 1.0, (40, 5, 100)).astype(np.float32)
    low, high = (np.full(5, end, np.float32) for end in bounds)
    target = np.clip(real, *bounds)
    shifted = real + np.array([0.3, -0.2, 0.05, 0.0, -0.4], np.float32)[:, None]
    found = mean_correction(shifted, target, low, high)
    corrected = np.clip(shifted + found.astype(np.float32)[:, None], *bounds)
    gap = np.abs(corrected.mean(axis=(0, 2)) - target.mean(axis=(0, 2)))
    assert gap.max() < 1e-3


@pytest.mark.parametrize(("kernel", "stride", "depthwise"), [(1, 1, False), (3, 2, False), (3, 1, True)])
def test_rows_times_weights_are_the_convolution(kernel: int, stride: int, depthwise: bool) -> None:
    net = Net((1, 6, 8, 8))
    net.conv(6, kernel, stride, depthwise)
    graph = net.graph()
    node = graph.nodes[0]
    data = np.random.default_rng(0).normal(0, 1, (2, 6, 8, 8)).astype(np.float32)
    size = graph.value(graph.outputs[0]).shape[2]
    rows = input_rows(graph, node, lambda part: data[part], [slice(0, 1), slice(1, 2)], 2 * size * size, np.random.default_rng(0))
    assert rows is not None
    weights = graph.constants[node.inputs[1]]
    matrix = weight_matrix(node, weights)
    assert np.array_equal(weight_tensor(node, matrix, weights.shape), weights)
    values = (rows @ matrix).transpose(1, 0, 2).reshape(2 * size * size, -1) + graph.constants[node.inputs[2]]
    wanted = run_float(graph, {"input": data})[graph.outputs[0]]
    # Rows come in random order of positions: compare as multisets, channel by channel.
    for channel in range(6):
        assert np.allclose(np.sort(values[:, channel]), np.sort(wanted[:, channel].reshape(-1)), atol=1e-4)


def test_splitting_outliers_is_exact_and_shrinks_the_range() -> None:
    net = Net((1, 3, 16, 16))
    net.conv(12)
    net.constants[net.nodes[-1].inputs[1]][:1] *= 20.0
    split = net.relu()
    net.conv(8, 3)
    net.relu()
    net.head(5)
    graph = net.graph()
    statistics = collect(graph, DATA, [name for node in graph.nodes for name in node.outputs])
    changed = split_outliers(graph, statistics, 0.05)
    verify(changed)
    assert changed.value(split).shape[1] == 13
    assert _close(graph, changed) < 1e-5
    after = collect(changed, DATA, [split])[split]
    assert float(after.extent.max()) == pytest.approx(0.5 * float(statistics[split].extent.max()))
    plain, better = (quantize(graph, DATA, Settings(**MINMAX).but(split=share)) for share in (0.0, 0.05))
    errors = [fidelity(graph, model, DATA).judged for model in (plain, better)]
    assert errors[1] < 0.95 * errors[0]


def test_depthwise_and_tied_tensors_are_not_split() -> None:
    graph = fold(HARD["outlier_channels"]())
    statistics = collect(graph, DATA, [name for node in graph.nodes for name in node.outputs])
    changed = split_outliers(graph, statistics, 0.2)
    assert _close(graph, changed) < 1e-5
    for node in changed.nodes:
        if node.op == "Add" or (node.op == "Conv" and node.attrs["group"] > 1):
            assert changed.value(node.inputs[0]).shape == graph.value(node.inputs[0]).shape


@pytest.mark.parametrize("scheme", list(Scheme))
def test_the_logits_may_undo_a_cut(scheme: Scheme) -> None:
    values = np.random.default_rng(0).normal(0.0, 1.0, (500, 4)).astype(np.float32)
    statistics = TensorStatistics(values.min(axis=0), values.max(axis=0), values)

    def width(grid: TensorQuant) -> float:
        return grid.real_high - grid.real_low

    cut = choose_range("search", statistics, width, scheme)
    assert width(cut) < 0.3 * (values.max() - values.min())
    undone = choose_range("search", statistics, width, scheme, far_error=lambda grid: 1.0 / width(grid))
    assert width(undone) >= 0.99 * (values.max() - values.min())
    kept = choose_range("search", statistics, width, scheme, far_error=lambda grid: 1.0 - 0.01 * width(grid) / width(undone))
    assert kept == cut
