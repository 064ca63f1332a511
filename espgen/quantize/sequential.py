"""The layer-by-layer pass: each product is rounded and corrected on the already quantized front part of the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from espgen.ir import Graph, Node
from espgen.quantize.correction import mean_correction, share_inside
from espgen.quantize.model import LayerQuant, QuantizedModel, Scheme
from espgen.quantize.patches import covariance, input_rows, weight_matrix, weight_tensor
from espgen.quantize.prepare import Prepared, bounded_graph, unit_outputs
from espgen.quantize.rounding import round_weights, shrink_covariance
from espgen.quantize.runtime import unit_session
from espgen.quantize.scales import weight_scale_candidates
from espgen.quantize.settings import Settings
from espgen.quantize.statistics import Progress
from espgen.quantize.ties import LEAST_ELEMENTS, channels_to_spare, odd
from espgen.quantize.units import BOUNDS, Unit, is_product, output_channels

# Fewer values than this estimate the means of large tensors too badly (measured: one image in forty goes wrong).
CORRECTION_VALUES = 6_000_000
BIAS_MAXIMUM = 2**30 - 1
IMAGE_SAMPLES = 16
CHUNK = 4


def quantize_layers(prepared: Prepared, data: Mapping[str, np.ndarray], settings: Settings,
                    progress: Progress | None = None) -> QuantizedModel:  # fmt: skip
    """Integer weights and biases for every product of the prepared network, from calibration `data` [samples, ...]."""
    state = _State(prepared, data, settings)
    units = prepared.calibrated.units
    # Without correction and rounding against data, weights depend on the grids alone: nothing has to run.
    blind = settings.correction == "none" and settings.rounding == "nearest"
    for index, unit in enumerate(units):
        if blind:
            state.blind(unit)
        else:
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
        self.samples = len(next(iter(data.values())))
        self.buffers: dict[int, np.ndarray] = {}
        for name in prepared.graph.inputs if settings.correction != "none" or settings.rounding != "nearest" else ():
            self.reference[name] = np.asarray(data[name])
            for part in self._parts():
                self._store(name, np.asarray(data[name][part]), part)

    def step(self, unit: Unit) -> None:
        """Run one unit in float and quantized, choosing its weights on the way."""
        if self.needs_float:
            self._float(unit)
        product = is_product(self.prepared.graph, unit.node) and unit.name not in self.settings.float_nodes
        if product:
            self._product(unit)
        else:
            self._other(unit)
        for name in set(unit.node.inputs):
            if name in self.readers:
                self.readers[name] -= 1
                if self.readers[name] == 0:
                    self.quantized.pop(name, None)
                    self.reference.pop(name, None)

    def blind(self, unit: Unit) -> None:
        """Weights and bias of a product, rounded to nearest."""
        graph, node = self.prepared.graph, unit.node
        if is_product(graph, node) and unit.name not in self.settings.float_nodes:
            layer = self._layer(graph, unit)
            spared = self._tied_channels(unit, layer)
            if spared is not None:
                layer = self._layer(graph, unit, spared)
            bias = np.asarray(graph.constants[node.inputs[2]], np.float32) if node.input(2) else None
            self.layers[node.name] = layer if bias is None else with_bias(layer, bias)

    def _float(self, unit: Unit) -> None:
        """The unit in the float network (not equalized); factors are applied where values are compared."""
        graph = self.prepared.calibrated.graph
        session = unit_session(graph, unit.nodes, unit_outputs(unit), self.settings.threads, batch=CHUNK)
        for part, results in session.chunks(self.reference):
            for name, value in results.items():
                self._place(self.reference, name, value, part)

    def _place(self, store: dict[str, np.ndarray], name: str, value: np.ndarray, part: slice) -> None:
        """Write one chunk of a value into its array over all samples."""
        if part.start == 0 and part.stop >= self.samples:
            store[name] = value
            return
        if part.start == 0:
            store[name] = np.empty((self.samples, *value.shape[1:]), value.dtype)
        store[name][part] = value

    def _read(self, node: Node, name: str, part: slice) -> np.ndarray:
        """A value as `node` reads it: float32 on its grid."""
        special = self.prepared.requantized.get((node.name, name))
        grid = self.prepared.activations.get(name)
        held = self.quantized[name][part]
        real = held if grid is None else grid.reals(held)
        return np.asarray(real if special is None else special.fake(real))

    def _store(self, name: str, real: np.ndarray, part: slice) -> None:
        grid = self.prepared.activations.get(name)
        self._place(self.quantized, name, real if grid is None else grid.integers(real), part)

    def _parts(self, chunk: int = CHUNK) -> list[slice]:
        return [slice(start, min(start + chunk, self.samples)) for start in range(0, self.samples, chunk)]

    def _other(self, unit: Unit) -> None:
        """Anything but a product: run it on quantized inputs."""
        graph, node = self.prepared.graph, unit.node
        names = [name for name in node.outputs if name]
        constants = {}
        for name in node.inputs:
            grid = self.prepared.activations.get(name) if graph.is_constant(name) else None
            if grid is not None:
                constants[name] = grid.fake(graph.constants[name])
        session = None if node.op in BOUNDS else unit_session(graph, [node], names, self.settings.threads, constants, CHUNK)
        dynamic = [name for name in dict.fromkeys(node.inputs) if name and not graph.is_constant(name)]
        for part in self._parts(CHUNK if session is None or session.batch == CHUNK else 1):
            feeds = {name: self._read(node, name, part) for name in dynamic}
            results = {names[0]: feeds[node.inputs[0]]} if session is None else session.run(feeds)
            for name in names:
                target = unit.output if unit.bound is not None else name
                real = self._bounded(unit, results[name]) if target == unit.output else results[name]
                self._store(target, real, part)

    def _bounds(self, unit: Unit, rank: int) -> tuple[np.ndarray, np.ndarray]:
        """The unit's bound per channel of the equalized network, shaped [C, 1, ..] for an axis-1 channel."""
        factor = self.prepared.factors.get(unit.output, np.ones(1)).astype(np.float32)
        shape = (-1,) + (1,) * (rank - 2)
        return (np.float32(unit.low) * factor).reshape(shape), (np.float32(unit.high) * factor).reshape(shape)

    def _bounded(self, unit: Unit, real: np.ndarray) -> np.ndarray:
        if np.isinf(unit.low) and np.isinf(unit.high):
            return real
        low, high = self._bounds(unit, real.ndim)
        return np.asarray(np.clip(real, low, high))

    def _product(self, unit: Unit) -> None:
        graph, node = self.prepared.graph, unit.node
        layer = self._layer(graph, unit)
        real = self._run(unit, layer.real_weights(), 0)
        spared = self._tied_channels(unit, layer, real)
        if spared is not None:
            layer = self._layer(graph, unit, spared)
            real = self._run(unit, layer.real_weights(), 0)
        if node.input(2):
            before = np.asarray(graph.constants[node.inputs[2]], np.float32)
            bias = before
            if self.settings.correction != "none":
                bias = before + self._correction(unit, real).astype(np.float32)
            layer = with_bias(layer, bias)
            settled = layer.real_bias()
            assert settled is not None
            offset = (settled - before).reshape(_channel_shape(node, real.ndim))
        else:
            offset = np.zeros(1, np.float32)
        self.layers[node.name] = layer
        for part in self._parts():
            chunk = real[part]
            chunk += offset
            self._store(unit.output, self._bounded(unit, chunk), part)

    def _run(self, unit: Unit, weights: np.ndarray, which: int) -> np.ndarray:
        """The product alone with the given weights and the equalized float bias, into scratch buffer `which`."""
        graph, node = self.prepared.graph, unit.node
        name = node.outputs[0]
        session = unit_session(graph, [node], [name], self.settings.threads, {node.inputs[1]: weights}, CHUNK)
        result: np.ndarray | None = None
        for part in self._parts(CHUNK if session.batch == CHUNK else 1):
            chunk = session.run({node.inputs[0]: self._read(node, node.inputs[0], part)})[name]
            if result is None:
                result = self._scratch(which, (self.samples, *chunk.shape[1:]))
            result[part] = chunk
        assert result is not None
        return result

    def _scratch(self, which: int, shape: tuple[int, ...]) -> np.ndarray:
        """A reused float32 buffer: fresh pages for every layer would cost as much time as the arithmetic."""
        size = int(np.prod(shape))
        if self.buffers.get(which, np.empty(0)).size < size:
            self.buffers[which] = np.empty(size, np.float32)
        return self.buffers[which][:size].reshape(shape)

    def _layer(self, graph: Graph, unit: Unit, odd_bias: np.ndarray | None = None) -> LayerQuant:
        """The layer without its bias; `odd_bias`: channels of which no sum may be an exact tie (ties.py)."""
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
        moments = self._covariance(graph, node, matrix.shape[1]) if descent else None
        integers, scale = round_weights(matrix, shaped, moments, low, high, settings.sweeps)
        if odd_bias is not None:
            even = 2 * round_weights(matrix, [2 * scale], moments, low // 2, high // 2, settings.sweeps)[0]
            integers = np.where(odd_bias.reshape(scale.shape)[:, None], even, integers)
        dtype = np.int8 if bits == 8 else np.int16
        return LayerQuant(
            weights=weight_tensor(node, integers, weights.shape).astype(dtype),
            scale=scale.reshape(-1).astype(np.float32),
            axis=axis,
            bias=None,
            input_scale=input_scale,
            bits=bits,
            odd_bias=odd_bias,
        )

    def _tied_channels(self, unit: Unit, layer: LayerQuant, real: np.ndarray | None = None) -> np.ndarray | None:
        """Channels whose ties a float engine would round otherwise too often; without `real` outputs, by a guess."""
        grid = self.prepared.activations.get(unit.output)
        if self.settings.scheme is not Scheme.SHIFT or not unit.node.input(2) or grid is None or {grid.bits, layer.bits} != {8}:
            return None
        if self.prepared.graph.value(unit.output).elements < LEAST_ELEMENTS:
            return None
        shifts = np.log2(grid.scale / (layer.input_scale * layer.scale.astype(np.float64)))
        if real is None or channels_to_spare(shifts, 1.0) is None:
            return channels_to_spare(shifts, 0.5 if np.isfinite(unit.low) else 1.0)
        found = _by_channel(unit.node, real)
        low, high = (np.broadcast_to(end.reshape(-1), (found.shape[1],)) for end in self._bounds(unit, real.ndim))
        low, high = np.maximum(low, grid.real_low), np.minimum(high, grid.real_high)
        return channels_to_spare(shifts, share_inside(found, low[:, None], high[:, None]))

    def _covariance(self, graph: Graph, node: Node, inputs: int) -> np.ndarray | None:
        wanted = int(np.clip(12 * inputs, 2048, 12_288))
        rows = input_rows(graph, node, lambda part: self._read(node, node.inputs[0], part), self._parts(), wanted, self.random)
        if rows is None or rows.shape[2] != inputs:
            return None
        samples = min(rows.shape[1], IMAGE_SAMPLES * self.samples)
        return shrink_covariance(covariance(rows, centred=bool(node.input(2))), samples)

    def _correction(self, unit: Unit, real: np.ndarray) -> np.ndarray:
        """What to add to each channel's bias; see Settings.correction for the two targets."""
        node = unit.node
        found = _by_channel(node, real)
        channels = found.shape[1]
        low, high = (np.broadcast_to(end.reshape(-1), (channels,)) for end in self._bounds(unit, real.ndim))
        if self.settings.correction == "own":
            weights = self.prepared.graph.constants[node.inputs[1]]
            wanted = np.clip(_by_channel(node, self._run(unit, weights, 1)), low[:, None], high[:, None])
        else:
            wanted = _by_channel(node, self.reference[unit.output])
            if unit.output in self.prepared.factors:
                wanted = wanted * self.prepared.factors[unit.output].astype(np.float32)[:, None]
        return mean_correction(found, wanted, low, high)


def with_bias(layer: LayerQuant, bias: np.ndarray) -> LayerQuant:
    """The layer with float `bias` [channels] put on its int32 grid."""
    exact = bias.astype(np.float64) / layer.bias_scale.astype(np.float64)
    rounded = np.rint(exact) if layer.odd_bias is None else np.where(layer.odd_bias, odd(exact), np.rint(exact))
    return replace(layer, bias=np.clip(rounded, -BIAS_MAXIMUM, BIAS_MAXIMUM).astype(np.int32))


def _channel_shape(node: Node, rank: int) -> tuple[int, ...]:
    return (-1,) if node.op in ("Gemm", "MatMul") else (-1,) + (1,) * (rank - 2)


def _by_channel(node: Node, array: np.ndarray) -> np.ndarray:
    """An output as [samples, channels, positions], at most about CORRECTION_VALUES of them, evenly taken."""
    if node.op in ("Gemm", "MatMul"):
        return np.ascontiguousarray(array.reshape(-1, array.shape[-1]).T)[None]
    flat = array.reshape(*array.shape[:2], -1)
    step = max(1, flat.size // CORRECTION_VALUES)
    while step > 1 and flat.shape[2] % step == 0:
        step += 1
    return np.ascontiguousarray(flat[:, :, ::step])


def _reader_counts(prepared: Prepared) -> dict[str, int]:
    counts: dict[str, int] = {}
    for unit in prepared.calibrated.units:
        for name in set(unit.node.inputs):
            if name and not prepared.graph.is_constant(name):
                counts[name] = counts.get(name, 0) + 1
    return counts


