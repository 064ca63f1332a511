"""The layer-by-layer pass: each product is rounded and corrected on the already quantized front part of the network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from espgen.ir import Graph, Node
from espgen.quantize.correction import mean_correction
from espgen.quantize.model import LayerQuant, QuantizedModel
from espgen.quantize.patches import covariance, input_rows, weight_matrix, weight_tensor
from espgen.quantize.prepare import Prepared, bounded_graph, unit_outputs
from espgen.quantize.rounding import round_weights, shrink_covariance
from espgen.quantize.runtime import unit_session
from espgen.quantize.scales import weight_scale_candidates
from espgen.quantize.settings import Settings
from espgen.quantize.statistics import Progress
from espgen.quantize.units import BOUNDS, PASSIVE, Unit, is_product, output_channels

CORRECTION_VALUES = 6_000_000
BIAS_MAXIMUM = 2**30 - 1
IMAGE_SAMPLES = 16


def quantize_layers(prepared: Prepared, data: Mapping[str, np.ndarray], settings: Settings,
                    progress: Progress | None = None) -> QuantizedModel:  # fmt: skip
    """Integer weights and biases for every product of the prepared network, from calibration `data` [samples, ...]."""
    state = _State(prepared, data, settings)
    units = prepared.calibrated.units
    for index, unit in enumerate(units):
        state.step(unit)
        if progress is not None:
            progress("quantizing layers", index + 1, len(units))
    return QuantizedModel(
        graph=bounded_graph(prepared.graph, prepared.factors, prepared.activations),
        scheme=settings.scheme,
        activations=dict(prepared.activations),
        layers=state.layers,
        reference=prepared.calibrated.graph,
        requantized=dict(prepared.requantized),
        factors=dict(prepared.factors),
    )


class _State:
    """Float and quantized values of the network up to the current unit; both live until their last reader."""

    def __init__(self, prepared: Prepared, data: Mapping[str, np.ndarray], settings: Settings) -> None:
        self.prepared = prepared
        self.settings = settings
        self.random = np.random.default_rng(settings.seed)
        self.layers: dict[str, LayerQuant] = {}
        self.reference: dict[str, np.ndarray] = {}
        self.quantized: dict[str, np.ndarray] = {}
        self.needs_float = settings.correction == "float"
        self.readers = _reader_counts(prepared)
        for name in prepared.graph.inputs:
            self.reference[name] = np.asarray(data[name])
            self.quantized[name] = self._store(name, np.asarray(data[name]))

    def step(self, unit: Unit) -> None:
        """Run one unit in float and quantized, choosing its weights on the way."""
        graph = self.prepared.calibrated.graph
        target = self._float(unit) if self.needs_float else None
        product = is_product(graph, unit.node) and unit.name not in self.settings.float_nodes
        if product:
            results = {unit.output: self._product(unit, target)}
        elif unit.node.op in PASSIVE and unit.node.inputs[0] in self.prepared.activations:
            results = self._passive(unit)
        else:
            results = self._other(unit)
        self.quantized.update(results)
        for name in set(unit.node.inputs):
            if name in self.readers:
                self.readers[name] -= 1
                if self.readers[name] == 0:
                    self.quantized.pop(name, None)
                    self.reference.pop(name, None)

    def _float(self, unit: Unit) -> np.ndarray:
        outputs = unit_outputs(unit)
        session = unit_session(self.prepared.calibrated.graph, unit.nodes, outputs, self.settings.threads)
        self.reference.update(session.run(self.reference))
        return self.reference[unit.output]

    def _read(self, node: Node, name: str) -> np.ndarray:
        """A value as `node` reads it: float32 on its grid."""
        special = self.prepared.requantized.get((node.name, name))
        grid = self.prepared.activations.get(name)
        held = self.quantized[name]
        real = held if grid is None else grid.reals(held)
        return real if special is None else special.fake(real)

    def _store(self, name: str, real: np.ndarray) -> np.ndarray:
        grid = self.prepared.activations.get(name)
        return real if grid is None else grid.integers(real)

    def _feeds(self, graph: Graph, node: Node) -> dict[str, np.ndarray]:
        return {name: self._read(node, name) for name in dict.fromkeys(node.inputs) if name and not graph.is_constant(name)}

    def _passive(self, unit: Unit) -> dict[str, np.ndarray]:
        graph = self.prepared.graph
        outputs = unit_outputs(unit)
        results = unit_session(graph, [unit.node], outputs, self.settings.threads).run(self._feeds(graph, unit.node))
        return {name: self._store(name, results[name]) for name in outputs}

    def _other(self, unit: Unit) -> dict[str, np.ndarray]:
        graph = self.prepared.graph
        feeds = self._feeds(graph, unit.node)
        if unit.node.op in BOUNDS:
            real = {unit.output: feeds[unit.node.inputs[0]]}
        else:
            constants = {}
            for name in unit.node.inputs:
                grid = self.prepared.activations.get(name) if graph.is_constant(name) else None
                if grid is not None:
                    constants[name] = grid.fake(graph.constants[name])
            names = [name for name in unit.node.outputs if name]
            results = unit_session(graph, [unit.node], names, self.settings.threads, constants).run(feeds)
            real = {unit.output: results[names[0]]} if unit.bound is not None else results
        low, high = self._bounds(unit, real[unit.output].ndim)
        if np.isfinite(low).any() or np.isfinite(high).any():
            real[unit.output] = np.clip(real[unit.output], low, high)
        return {name: self._store(name, value) for name, value in real.items()}

    def _bounds(self, unit: Unit, rank: int) -> tuple[np.ndarray, np.ndarray]:
        """The unit's bound per channel of the equalized network, shaped [C, 1, ..] for an axis-1 channel."""
        factor = self.prepared.factors.get(unit.output, np.ones(1)).astype(np.float32)
        shape = (-1,) + (1,) * (rank - 2)
        return (np.float32(unit.low) * factor).reshape(shape), (np.float32(unit.high) * factor).reshape(shape)

    def _product(self, unit: Unit, target: np.ndarray | None) -> np.ndarray:
        graph, node = self.prepared.graph, unit.node
        source = self._read(node, node.inputs[0])
        layer = self._layer(graph, unit, source)
        bias = np.asarray(graph.constants[node.inputs[2]], np.float32) if node.input(2) else None
        real = self._run(unit, source, layer.real_weights())
        low, high = self._bounds(unit, real.ndim)
        if bias is not None:
            if self.settings.correction != "none":
                if target is None:
                    target = np.clip(self._run(unit, source, graph.constants[node.inputs[1]]), low, high)
                elif unit.output in self.prepared.factors:
                    factor = self.prepared.factors[unit.output].astype(np.float32)
                    target = target * factor.reshape((-1,) + (1,) * (real.ndim - 2))
                bias = bias + self._correction(node, real, target, low, high).astype(np.float32)
            layer = with_bias(layer, bias)
            settled = layer.real_bias()
            assert settled is not None
            offset = settled - np.asarray(graph.constants[node.inputs[2]], np.float32)
            real += offset.reshape(_channel_shape(node, real.ndim))
        self.layers[node.name] = layer
        if np.isfinite(low).any() or np.isfinite(high).any():
            np.clip(real, low, high, out=real)
        return self._store(unit.output, real)

    def _run(self, unit: Unit, source: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The product alone with the given weights and the equalized float bias."""
        node = unit.node
        session = unit_session(self.prepared.graph, [node], [node.outputs[0]], self.settings.threads, {node.inputs[1]: weights})
        return session.run({node.inputs[0]: source})[node.outputs[0]]

    def _layer(self, graph: Graph, unit: Unit, source: np.ndarray) -> LayerQuant:
        node, settings = unit.node, self.settings
        weights = np.asarray(graph.constants[node.inputs[1]], np.float32)
        axis, channels = output_channels(graph, node)
        bits = settings.bits.get(node.name, 8)
        input_grid = self.prepared.requantized.get((node.name, node.inputs[0])) or self.prepared.activations.get(node.inputs[0])
        output_grid = self.prepared.activations.get(unit.output)
        input_scale = 1.0 if input_grid is None else input_grid.scale
        matrix = weight_matrix(node, weights)
        largest = np.abs(matrix).max(axis=1).reshape(-1)
        bias = np.asarray(graph.constants[node.inputs[2]], np.float32) if node.input(2) else np.zeros(channels, np.float32)
        descent = settings.rounding == "descent" and bits == 8
        candidates = weight_scale_candidates(
            largest, bias, input_scale, None if output_grid is None else output_grid.scale, settings.scheme, bits,
            shrink=2 if descent else 0,
        )  # fmt: skip
        shaped = [candidate.reshape(matrix.shape[0], -1) for candidate in candidates]
        low, high = -(1 << (bits - 1)) + (0 if settings.scheme.symmetric else 1), (1 << (bits - 1)) - 1
        moments = self._covariance(graph, node, source, matrix.shape[1]) if descent else None
        integers, scale = round_weights(matrix, shaped, moments, low, high, settings.sweeps)
        dtype = np.int8 if bits == 8 else np.int16
        return LayerQuant(
            weights=weight_tensor(node, integers, weights.shape).astype(dtype),
            scale=scale.reshape(-1).astype(np.float32),
            axis=axis,
            bias=None,
            input_scale=input_scale,
            bits=bits,
        )

    def _covariance(self, graph: Graph, node: Node, source: np.ndarray, inputs: int) -> np.ndarray | None:
        wanted = int(np.clip(12 * inputs, 2048, 12_288))
        rows = input_rows(graph, node, source, wanted, self.random)
        if rows is None or rows.shape[2] != inputs:
            return None
        samples = min(rows.shape[1], IMAGE_SAMPLES * len(source))
        return shrink_covariance(covariance(rows, centred=bool(node.input(2))), samples)

    def _correction(self, node: Node, real: np.ndarray, target: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        rows, wanted = _channel_rows(node, real), _channel_rows(node, target)
        channels = rows.shape[1]
        return mean_correction(
            rows, wanted, np.broadcast_to(low.reshape(-1), (channels,)), np.broadcast_to(high.reshape(-1), (channels,))
        )


def with_bias(layer: LayerQuant, bias: np.ndarray) -> LayerQuant:
    """The layer with float `bias` [channels] put on its int32 grid."""
    exact = np.rint(bias.astype(np.float64) / layer.bias_scale.astype(np.float64))
    integers = np.clip(exact, -BIAS_MAXIMUM, BIAS_MAXIMUM).astype(np.int32)
    return LayerQuant(layer.weights, layer.scale, layer.axis, integers, layer.input_scale, layer.bits)


def _channel_shape(node: Node, rank: int) -> tuple[int, ...]:
    return (-1,) if node.op in ("Gemm", "MatMul") else (-1,) + (1,) * (rank - 2)


def _channel_rows(node: Node, array: np.ndarray) -> np.ndarray:
    """[samples, channels, ...] as [rows, channels], at most about CORRECTION_VALUES of them, evenly taken."""
    if node.op in ("Gemm", "MatMul"):
        return array.reshape(-1, array.shape[-1])
    flat = array.reshape(*array.shape[:2], -1)
    step = max(1, flat.size // CORRECTION_VALUES)
    while step > 1 and flat.shape[2] % step == 0:
        step += 1
    return np.ascontiguousarray(np.moveaxis(flat[:, :, ::step], 1, 2)).reshape(-1, array.shape[1])


def _reader_counts(prepared: Prepared) -> dict[str, int]:
    counts: dict[str, int] = {}
    for unit in prepared.calibrated.units:
        for name in set(unit.node.inputs):
            if name and not prepared.graph.is_constant(name):
                counts[name] = counts.get(name, 0) + 1
    return counts


