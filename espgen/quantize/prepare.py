"""Everything decided before the weights: folded graph, statistics, equalization factors, activation grids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from espgen.errors import EspgenError
from espgen.ir import DType, Graph, Node, constant_value, fresh_name
from espgen.quantize.balance import balanced_factors
from espgen.quantize.equalize import Group, apply_factors, find_groups, relative_channels
from espgen.quantize.fold import fold
from espgen.quantize.model import Scheme, TensorQuant
from espgen.quantize.observers import FRACTIONS, SEARCH_VALUES, SEARCHES, Error, choose_range, descend, interval, weighted_error
from espgen.quantize.patches import weight_matrix
from espgen.quantize.probe import Probe
from espgen.quantize.scales import common_factor, least_output_scale, power_of_two_above, tensor_quant
from espgen.quantize.settings import AUTO_EXPONENT, Settings
from espgen.quantize.split import split_outliers
from espgen.quantize.statistics import Progress, TensorStatistics, collect
from espgen.quantize.units import FIXED_RANGE, PASSIVE, Unit, bound_limits, is_depthwise, is_product, split_units


@dataclass(frozen=True)
class Calibrated:
    """The folded float graph, its units, the statistics of every tensor that may be quantized, and the probe."""

    graph: Graph
    units: Sequence[Unit]
    statistics: Mapping[str, TensorStatistics]
    probe: Probe | None


@dataclass(frozen=True)
class Prepared:
    """Input of the sequential pass.

    calibrated: the float network; graph: the equalized one; factors: by value name; activations: grid of each
    quantized tensor; requantized: see QuantizedModel.
    """

    calibrated: Calibrated
    graph: Graph
    factors: Mapping[str, np.ndarray]
    activations: Mapping[str, TensorQuant]
    requantized: Mapping[tuple[str, str], TensorQuant]


def calibrate(graph: Graph, data: Mapping[str, np.ndarray], settings: Settings, progress: Progress | None = None) -> Calibrated:
    """Fold the float graph and read the statistics of its tensors over `data` (arrays [samples, ...] by input name)."""
    folded = fold(graph, settings.fuse, settings.fuse_list)
    if settings.split > 0.0:
        computed = [name for node in folded.nodes for name in node.outputs if name]
        first = collect(folded, data, computed, settings.threads, settings.batch, progress, settings.seed, settings.floors)
        folded = split_outliers(folded, first, settings.split)
    units = split_units(folded)
    names = list(dict.fromkeys([*folded.inputs, *(name for unit in units for name in unit_outputs(unit))]))
    names = [name for name in names if folded.value(name).dtype is DType.FLOAT32]
    statistics = collect(folded, data, names, settings.threads, settings.batch, progress, settings.seed, settings.floors)
    probe = Probe(folded, units, data, settings.threads) if settings.observer == "search" else None
    return Calibrated(folded, units, statistics, probe)


def unit_outputs(unit: Unit) -> list[str]:
    """Values behind the unit's bound."""
    return [unit.output] if unit.bound is not None else [name for name in unit.node.outputs if name]


def prepare(calibrated: Calibrated, settings: Settings, progress: Progress | None = None) -> Prepared:
    """Equalize and choose every activation grid. Raises EspgenError for nodes that do not exist."""
    graph = calibrated.graph
    unknown = (set(settings.bits) | settings.float_nodes) - {node.name for node in graph.nodes}
    if unknown:
        raise EspgenError(
            f"no such node: {', '.join(sorted(unknown))}", place="layer selection",
            hint="`espgen inspect` lists the names of the nodes",
        )  # fmt: skip
    groups = find_groups(graph) if settings.equalize is not None else []
    even = _wide_bounds(calibrated, settings)
    while True:
        prepared = _prepare(calibrated, settings, groups, even, progress)
        loose = _loose_bounds(prepared)
        if not loose:
            return prepared
        even |= loose


def _wide_bounds(calibrated: Calibrated, settings: Settings) -> frozenset[str]:
    """Bounded tensors in int16, whose range is wider than the bound: they gain nothing from equalization anyway."""
    return frozenset(
        unit.output for unit in calibrated.units if settings.bits.get(unit.name, 8) == 16 and np.isfinite(unit.high)
    )


def _loose_bounds(prepared: Prepared) -> frozenset[str]:
    """Quantized tensors whose bound differs by channel and is not provided by the top code of their grid."""
    graph, found = prepared.graph, set()
    for node in graph.nodes:
        output = node.outputs[0]
        factor, grid = prepared.factors.get(output), prepared.activations.get(output)
        if node.op == "Clip" and factor is not None and grid is not None and np.ptp(factor) > 0.0:
            high = bound_limits(graph, node)[1]
            if np.isfinite(high) and not _saturates(grid, high * factor):
                found.add(output)
    return frozenset(found)


def _prepare(calibrated: Calibrated, settings: Settings, groups: Sequence[Group], even: frozenset[str],
             progress: Progress | None) -> Prepared:  # fmt: skip
    """As `prepare`; groups that hold a tensor of `even` get no factors that differ by channel."""
    graph = calibrated.graph
    consumers = graph.consumers()
    factors: dict[str, np.ndarray] = {}
    for group in groups:
        if not even.isdisjoint(group.names):
            continue
        if settings.equalize == AUTO_EXPONENT:
            found = balanced_factors(graph, group, calibrated.statistics, consumers, settings.scheme.symmetric)
        else:
            exponent = 1.0 if group.free else settings.equalize or 0.0
            found = relative_channels(group, calibrated.statistics).factors(exponent)
        if np.ptp(found) > 0.0:
            factors |= dict.fromkeys(group.names, found)
    equalized = apply_factors(graph, factors)
    lifts = groups if settings.scheme.symmetric else []
    chosen = _grids(
        calibrated, equalized, factors, settings, frozenset(name for group in lifts for name in group.names), progress
    )
    if settings.scheme.symmetric and groups:
        factors, lifted = _lift(groups, calibrated, factors, chosen, equalized, settings)
        equalized = apply_factors(graph, factors)
        chosen = _follow_passive(calibrated.units, chosen | lifted)
    chosen = _without_negative_shifts(graph, equalized, calibrated.units, chosen, settings)
    requantized = _mixed(equalized, calibrated, factors, chosen, settings)
    return Prepared(calibrated, equalized, factors, chosen, requantized)


def scaled_statistics(calibrated: Calibrated, name: str, factors: Mapping[str, np.ndarray]) -> TensorStatistics:
    """Statistics of a tensor of the equalized network."""
    statistics = calibrated.statistics[name]
    return statistics.scaled(factors[name].astype(np.float32)) if name in factors else statistics


def importance(graph: Graph, name: str, consumers: Mapping[str, list[Node]], channels: int) -> np.ndarray:
    """Squared norm of the weights that read each channel (axis 1) of a value, float64 [channels]."""
    total = np.zeros(channels)
    for node in consumers.get(name, []):
        if not is_product(graph, node) or node.inputs[0] != name:
            total += 1.0
            continue
        weights = np.asarray(graph.constants[node.inputs[1]], np.float64)
        if is_depthwise(graph, node):
            per_input = (weights**2).reshape(weights.shape[0], -1).sum(axis=1)
        elif node.op == "Conv":
            group = int(node.attrs.get("group", 1))
            squared = (weights**2).reshape(group, weights.shape[0] // group, weights.shape[1], -1)
            per_input = squared.sum(axis=(1, 3)).reshape(-1)
        else:
            per_input = (weight_matrix(node, weights) ** 2).sum(axis=2).reshape(-1)
        total += per_input[:channels] if per_input.size == channels else 1.0
    return total if total.any() else np.ones(channels)


def is_logits(graph: Graph, name: str, consumers: Mapping[str, list[Node]]) -> bool:
    """True for a value that leaves the graph or enters a Softmax, directly or through a Reshape."""
    if name in graph.outputs:
        return True
    for node in consumers.get(name, []):
        if node.op in ("Softmax", "LogSoftmax"):
            return True
        if node.op in ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity") and is_logits(graph, node.outputs[0], consumers):
            return True
    return False


def _grids(calibrated: Calibrated, graph: Graph, factors: Mapping[str, np.ndarray], settings: Settings,
           lifted: frozenset[str], progress: Progress | None = None) -> dict[str, TensorQuant]:  # fmt: skip
    """Grid of every quantized tensor; those in `lifted` get a provisional one, without a search."""
    consumers = graph.consumers()
    grids: dict[str, TensorQuant] = {}
    for name in calibrated.statistics:
        if name not in graph.inputs:
            continue
        bits = 16 if _all_wide(consumers[name], settings) else 8
        if _read_quantized(name, consumers, settings):
            grids[name] = _grid(name, graph, calibrated, factors, consumers, settings, bits)
    for index, unit in enumerate(calibrated.units):
        if progress is not None:
            progress("choosing ranges", index + 1, len(calibrated.units))
        bits = settings.bits.get(unit.name, 8)
        skipped = unit.name in settings.float_nodes
        for name in unit_outputs(unit):
            if name not in calibrated.statistics:
                continue
            if unit.node.op in PASSIVE:
                if unit.node.inputs[0] in grids:
                    grids[name] = grids[unit.node.inputs[0]]
                continue
            if skipped and not _read_quantized(name, consumers, settings):
                continue
            provisional = settings.but(observer="minmax") if name in lifted else settings
            grids[name] = _grid(name, graph, calibrated, factors, consumers, provisional, bits)
        for name in unit.node.inputs:
            _constant_grid(graph, unit, name, grids, settings, bits)
    return grids


def _constant_grid(graph: Graph, unit: Unit, name: str, grids: dict[str, TensorQuant], settings: Settings, bits: int) -> None:
    """Constant operands of elementwise operators are quantized like activations."""
    data = graph.constant(name) if name else None
    if data is None or data.dtype != np.float32 or unit.node.op not in ("Add", "Sub", "Mul", "Div", "Concat", "MatMul"):
        return
    if is_product(graph, unit.node) or unit.name in settings.float_nodes:
        return
    grids[name] = tensor_quant(float(data.min()), float(data.max()), settings.scheme, bits)


def _read_quantized(name: str, consumers: Mapping[str, list[Node]], settings: Settings) -> bool:
    """True where some node that is not kept in float reads the value (through operators that only move it)."""
    for node in consumers.get(name, []):
        if node.op in PASSIVE:
            if any(_read_quantized(output, consumers, settings) for output in node.outputs if output):
                return True
        elif node.name not in settings.float_nodes:
            return True
    return False


def _all_wide(readers: Sequence[Node], settings: Settings) -> bool:
    return bool(readers) and all(settings.bits.get(node.name, 8) == 16 for node in readers)


def _grid(name: str, graph: Graph, calibrated: Calibrated, factors: Mapping[str, np.ndarray], consumers: Mapping[str, list[Node]],
          settings: Settings, bits: int) -> TensorQuant:  # fmt: skip
    producer = graph.producers().get(name) if name not in graph.inputs else None
    if producer is not None and producer.op in FIXED_RANGE:
        low, high = FIXED_RANGE[producer.op]
        top = (1 << bits) - 1
        # 1/256 rather than 1/255: the exact power of two that kernels for these functions produce.
        high = high * top / (top + 1) if low == 0.0 else high * (top // 2) / (top // 2 + 1)
        return (
            tensor_quant(low, high, settings.scheme, bits)
            if not settings.scheme.symmetric
            else TensorQuant(2.0 ** -(bits - 1), 0, bits)
        )
    statistics = scaled_statistics(calibrated, name, factors)
    if is_logits(graph, name, consumers):
        low, high = float(statistics.low.min()) * settings.margin, float(statistics.high.max()) * settings.margin
        low = max(low, settings.floors.get(name, low))
        return tensor_quant(low, high, settings.scheme, bits)
    # Wide tensors have bits to spare: nothing to win by cutting.
    chosen = "minmax" if bits == 16 else settings.observer
    error = _judge(name, graph, calibrated, factors, consumers, settings)
    far = _far_judge(name, calibrated, factors, settings)
    return choose_range(chosen, statistics, error, settings.scheme, bits, settings.observer_options, far)


def _judge(name: str, graph: Graph, calibrated: Calibrated, factors: Mapping[str, np.ndarray],
           consumers: Mapping[str, list[Node]], settings: Settings) -> Error:  # fmt: skip
    """What judges grids of a tensor for the observers that search."""
    probe = calibrated.probe
    if settings.observer == "search" and probe is not None:
        return lambda grid: probe.error(name, grid, factors.get(name))
    statistics = scaled_statistics(calibrated, name, factors)
    weights = importance(graph, name, consumers, statistics.samples.shape[1])
    samples = statistics.samples[:: max(1, statistics.samples.size // SEARCH_VALUES)]
    return lambda grid: weighted_error(grid, samples, weights)


def _far_judge(name: str, calibrated: Calibrated, factors: Mapping[str, np.ndarray], settings: Settings) -> Error | None:
    """What may undo a cut of the search, in networks small enough."""
    probe = calibrated.probe
    if settings.observer != "search" or probe is None or not probe.looks_far:
        return None
    return lambda grid: probe.far_error(name, grid, factors.get(name))


def _lift(groups: Sequence[Group], calibrated: Calibrated, factors: Mapping[str, np.ndarray], chosen: Mapping[str, TensorQuant],
          graph: Graph, settings: Settings) -> tuple[dict[str, np.ndarray], dict[str, TensorQuant]]:  # fmt: skip
    """One more common factor per group, so that ranges end exactly at the top code of a power-of-two grid.

    Returns the new factors and the grids of the tensors concerned. The range of each is what the observer would choose
    with arbitrary symmetric scales; tied tensors share the factor that costs them least.
    """
    consumers = graph.consumers()
    lifted, grids = dict(factors), {}
    for group in groups:
        members = [name for name in group.names if name in chosen and chosen[name].bits == 8]
        thresholds = []
        for name in members:
            statistics = scaled_statistics(calibrated, name, factors)
            judge = _judge(name, graph, calibrated, factors, consumers, settings)
            thresholds.append(symmetric_threshold(statistics, judge, settings))
        if not members:
            continue
        common = common_factor(thresholds)
        for name in group.names:
            lifted[name] = lifted.get(name, np.ones(group.channels)) * common
        for name, threshold in zip(members, thresholds, strict=True):
            grids[name] = TensorQuant(power_of_two_above(common * threshold / 127.0), 0, 8)
    return lifted, grids


def symmetric_threshold(statistics: TensorStatistics, error: Error, settings: Settings) -> float:
    """The largest absolute value the observer wants to keep, with zero point 0 and any scale."""
    extent = float(statistics.extent.max())
    if extent == 0.0:
        return 1.0
    if settings.observer not in SEARCHES:
        low, high = interval(settings.observer, statistics, 8, settings.observer_options)
        return max(-low, high, extent * 1e-3)
    return extent * descend(FRACTIONS, lambda fraction: error(TensorQuant(extent * fraction / 127.0, 0)))[0]


def _without_negative_shifts(graph: Graph, equalized: Graph, units: Sequence[Unit], grids: dict[str, TensorQuant],
                             settings: Settings) -> dict[str, TensorQuant]:  # fmt: skip
    """Coarsen the output grid of a product whose weights would otherwise need a scale above s_y / s_x."""
    if settings.scheme is Scheme.AFFINE:
        return grids
    for unit in units:
        if not is_product(graph, unit.node) or unit.output not in grids or unit.node.inputs[0] not in grids:
            continue
        largest = np.abs(equalized.constants[unit.node.inputs[1]])
        output = grids[unit.output]
        least = least_output_scale(largest, grids[unit.node.inputs[0]].scale, min(output.bits, 8))
        if output.scale < least:
            scale = 2.0 ** np.ceil(np.log2(least)) if settings.scheme.symmetric else float(np.float32(least * 1.001))
            grids = {**grids, unit.output: replace(output, scale=scale)}
    return _follow_passive(units, grids)


def _follow_passive(units: Sequence[Unit], grids: dict[str, TensorQuant]) -> dict[str, TensorQuant]:
    grids = dict(grids)
    for unit in units:
        if unit.node.op in PASSIVE and unit.node.inputs[0] in grids:
            for name in unit_outputs(unit):
                if name in grids:
                    grids[name] = grids[unit.node.inputs[0]]
    return grids


def _mixed(graph: Graph, calibrated: Calibrated, factors: Mapping[str, np.ndarray], grids: Mapping[str, TensorQuant],
           settings: Settings) -> dict[tuple[str, str], TensorQuant]:  # fmt: skip
    """Grids for nodes that read a tensor at another width than it was made."""
    consumers = graph.consumers()
    found: dict[tuple[str, str], TensorQuant] = {}
    shared: dict[tuple[str, int], TensorQuant] = {}
    for unit in calibrated.units:
        if unit.node.op in PASSIVE or unit.name in settings.float_nodes:
            continue
        bits = settings.bits.get(unit.name, 8)
        for name in unit.node.inputs:
            grid = grids.get(name)
            if grid is None or grid.bits == bits or graph.is_constant(name):
                continue
            if (name, bits) not in shared:
                if bits == 16:
                    # Every value of the 8-bit grid is kept exactly; a power of two stays one.
                    shared[name, bits] = TensorQuant(grid.scale * 2.0**-7, 0, 16)
                else:
                    shared[name, bits] = _grid(name, graph, calibrated, factors, consumers, settings, bits)
            found[unit.name, name] = shared[name, bits]
    return found


def _saturates(grid: TensorQuant, limits: np.ndarray) -> bool:
    """True where the top code cuts every channel at or below its limit."""
    return bool((np.rint(limits / grid.scale) + grid.zero_point >= grid.high).all())


def bounded_graph(graph: Graph, factors: Mapping[str, np.ndarray], activations: Mapping[str, TensorQuant]) -> Graph:
    """The equalized graph with every Clip behind equalized channels put right.

    Where the top code of the tensor already cuts at or below 6 r_c, a Relu remains; elsewhere Relu and a Min with a
    constant [1, C, 1, ..] say the bound per channel, or a Clip where all channels have the same.
    """
    nodes: list[Node] = []
    values, constants = [], {}
    for node in graph.nodes:
        factor = factors.get(node.outputs[0]) if node.op == "Clip" else None
        if factor is None:
            nodes.append(node)
            continue
        low, high = bound_limits(graph, node)
        source, output = node.inputs[0], node.outputs[0]
        limits = high * factor
        grid = activations.get(output)
        saturates = bool(np.isinf(high)) or (grid is not None and _saturates(grid, limits))
        if not saturates and np.ptp(limits) == 0.0:
            bounds = {"max": float(limits[0])} if np.isinf(low) else {"min": low, "max": float(limits[0])}
            nodes.append(Node(node.name, "Clip", (source,), (output,), bounds))
            continue
        if low == 0.0:
            middle = output if saturates else fresh_name(graph, f"{output}.relu")
            nodes.append(Node(node.name, "Relu", (source,), (middle,)))
            source = middle
            if middle != output:
                values.append(replace(graph.value(output), name=middle))
        if not saturates:
            shape = (1, -1) + (1,) * (len(graph.value(output).shape) - 2)
            name = fresh_name(graph, f"{node.name}.limits")
            constants[name] = limits.astype(np.float32).reshape(shape)
            values.append(constant_value(name, constants[name]))
            nodes.append(Node(f"{node.name}.limit" if low == 0.0 else node.name, "Min", (source, name), (output,)))
    return graph.updated(nodes=nodes, values=values, constants=constants)
