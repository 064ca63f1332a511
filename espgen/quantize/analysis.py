"""Where the error comes from: noise-to-signal per layer, cumulative and alone, with the worst channels and statistics.

Graphwise: the whole quantized model runs, errors accumulate. Layerwise: one layer is quantized at a time and the error is
measured at the network's output. noise/signal = sum (q - f)^2 / sum f^2 (ESP-PPQ's measure); equalized tensors are
compared in the float model's own units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from espgen.ir import DType, Node
from espgen.quantize.exporter import qdq_model
from espgen.quantize.model import QuantizedModel, TensorQuant
from espgen.quantize.parts import output_groups
from espgen.quantize.prepare import unit_outputs
from espgen.quantize.probe import multiply_accumulates
from espgen.quantize.runtime import Session, can_batch, graph_session
from espgen.quantize.statistics import Progress
from espgen.quantize.units import Unit, is_product, split_units

WORST = 5
BINS = 60
BINNED = 1 << 18
"""Values of a tensor that its histogram counts: every n-th of larger ones."""
LAST_LAYER_LIMIT = 0.10
# Every layer means a run of the whole network: multiply-accumulates to spend on each.
LAYERWISE_WORK = 6e8
LEAST_SAMPLES = 2
LAYER_LIMIT = 0.01


@dataclass(frozen=True)
class LayerError:
    """One computing layer.

    graphwise, layerwise: noise-to-signal power ratios (layerwise None where not measured); cosine: similarity of its
    output; worst: (channel, ratio); mean, std, low, high: of the float output; cut: share of values beyond the grid;
    histogram: counts of float and quantized output over [low, high], of
    at most BINNED values.
    """

    name: str
    op: str
    output: str
    bits: int
    graphwise: float
    layerwise: float | None
    cosine: float
    worst: tuple[tuple[int, float], ...]
    mean: float
    std: float
    low: float
    high: float
    cut: float
    histogram: tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class PartError:
    """A part of a tensor that has a range of its own: an operand of a Concat, or some channels of an output.

    tensor, part: names to show; ratio: noise-to-signal of the part alone; extent: its largest |x|; steps: how many steps
    of the tensor's grid that is (infinite in float).
    """

    tensor: str
    part: str
    ratio: float
    extent: float
    steps: float


@dataclass(frozen=True)
class Analysis:
    """All layers in graph order, the parts of tensors, the error at the worst output, and what the rules of thumb say."""

    layers: tuple[LayerError, ...]
    output_error: float
    advice: tuple[str, ...]
    parts: tuple[PartError, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain dicts and lists."""
        return {
            "output_error": self.output_error,
            "layers": [
                {
                    "name": layer.name, "op": layer.op, "output": layer.output, "bits": layer.bits,
                    "graphwise": layer.graphwise, "layerwise": layer.layerwise, "cosine": layer.cosine,
                    "worst_channels": [{"channel": channel, "ratio": ratio} for channel, ratio in layer.worst],
                    "mean": layer.mean, "std": layer.std, "low": layer.low, "high": layer.high, "cut": layer.cut,
                    "histogram": {"float": list(layer.histogram[0]), "quantized": list(layer.histogram[1])},
                }
                for layer in self.layers
            ],
            "parts": [
                {"tensor": part.tensor, "part": part.part, "ratio": part.ratio, "extent": part.extent}
                for part in self.parts
            ],
            "advice": list(self.advice),
        }  # fmt: skip


def analyse(model: QuantizedModel, data: Mapping[str, np.ndarray], layerwise: bool = True, threads: int = 1,
            progress: Progress | None = None) -> Analysis:  # fmt: skip
    """Error analysis over `data` (float32 [samples, ...] by input; a few dozen samples suffice)."""
    graph = model.reference
    units = [unit for unit in split_units(graph) if is_product(graph, unit.node) and unit.name in model.layers]
    names = [unit.output for unit in units]
    concats = [node for node in graph.nodes if node.op == "Concat" and graph.value(node.outputs[0]).dtype is DType.FLOAT32]
    wanted = list(dict.fromkeys([*names, *(node.outputs[0] for node in concats), *graph.outputs]))
    real = graph_session(graph, wanted, threads, 4).run(data)
    quantized = _run(model, wanted, data, threads)
    layers = []
    macs = sum(multiply_accumulates(graph, node) for node in graph.nodes)
    count = int(max(min(LAYERWISE_WORK / max(macs, 1), len(next(iter(data.values())))), LEAST_SAMPLES))
    few = {name: array[:count] for name, array in data.items()}
    few_real = {name: array[:count] for name, array in real.items()}
    for index, unit in enumerate(units):
        alone = output_error(single_layer(model, unit), few_real, few, threads) if layerwise else None
        layers.append(_layer(model, unit, real[unit.output], quantized[unit.output], alone))
        if progress is not None:
            progress(f"analysing {'layerwise' if layerwise else 'graphwise'} quantization error", index + 1, len(units))
    total = max(_ratio(quantized[name], real[name]) for name in graph.outputs)
    parts = _parts(model, concats, real, quantized)
    return Analysis(tuple(layers), total, tuple(_advice(layers, total, parts)), tuple(parts))


def _parts(model: QuantizedModel, concats: Sequence[Node], real: Mapping[str, np.ndarray],
           quantized: Mapping[str, np.ndarray]) -> list[PartError]:  # fmt: skip
    """Errors of the operands of every Concat, and of the channels of outputs that have ranges of their own."""
    graph, found = model.reference, []
    for node in concats:
        name, start = node.outputs[0], 0
        rank = len(graph.value(name).shape)
        axis = int(node.attrs.get("axis", 0)) % rank - rank
        for operand in node.inputs:
            extent = graph.value(operand).shape[axis]
            found.append(_part(model, name, operand, axis, slice(start, start + extent), real[name], quantized[name]))
            start += extent
    joined = {node.outputs[0] for node in concats}
    for name in graph.outputs:
        if name in joined:
            continue
        axis, groups = output_groups(real[name])
        for group in groups if len(groups) > 1 else ():
            label = f"{group.start}..{group.stop - 1} of axis {axis}"
            found.append(_part(model, name, label, axis, group, real[name], quantized[name]))
    return [part for part in found if part is not None]


def _part(model: QuantizedModel, tensor: str, part: str, axis: int, where: slice, real: np.ndarray,
          quantized: np.ndarray) -> PartError | None:  # fmt: skip
    """One part; None where it holds nothing but zeros, whose error has no measure."""
    wanted, result = (np.moveaxis(array, axis, 0)[where].astype(np.float64) for array in (real, quantized))
    extent = float(np.abs(wanted).max(initial=0.0))
    if extent == 0.0:
        return None
    grid = model.activations.get(tensor)
    steps = float("inf") if grid is None else (wanted.max() - wanted.min()) / grid.scale
    return PartError(tensor, part, float(((result - wanted) ** 2).sum() / (wanted**2).sum()), extent, float(steps))


def single_layer(model: QuantizedModel, unit: Unit) -> QuantizedModel:
    """The model with only one layer quantized: its inputs, weights, bias and output."""
    kept = {*unit.node.inputs, *unit_outputs(unit)}
    return replace(
        model,
        activations={name: quant for name, quant in model.activations.items() if name in kept},
        layers={unit.name: model.layers[unit.name]} if unit.name in model.layers else {},
        requantized={key: quant for key, quant in model.requantized.items() if key[0] == unit.name},
    )


def output_error(model: QuantizedModel, real: Mapping[str, np.ndarray], data: Mapping[str, np.ndarray], threads: int) -> float:
    """Noise-to-signal ratio of the worst graph output."""
    names = model.graph.outputs
    found = _run(model, names, data, threads)
    return max(_ratio(found[name], real[name]) for name in names)


def _run(model: QuantizedModel, names: Sequence[str], data: Mapping[str, np.ndarray], threads: int) -> dict[str, np.ndarray]:
    """Values of the QDQ model in the float model's units (equalization factors divided out)."""
    batched = can_batch(model.graph)
    proto = qdq_model(model, batched, extra_outputs=[name for name in names if name not in model.graph.outputs])
    renamed = {output.name: output.name.removesuffix(".dequantized") for output in proto.graph.output}
    session = Session(proto.SerializeToString(), list(renamed), threads, 4 if batched else 1)
    results = {renamed[name]: value for name, value in session.run(data).items()}
    for name, factor in model.factors.items():
        if name in results:
            shape = (1, -1) + (1,) * (results[name].ndim - 2)
            results[name] = results[name] / factor.astype(np.float32).reshape(shape)
    return results


def _layer(model: QuantizedModel, unit: Unit, real: np.ndarray, quantized: np.ndarray, alone: float | None) -> LayerError:
    wanted, found = _by_channel(real), _by_channel(quantized)
    gap = found - wanted
    signal, noise, energy = _power(wanted, wanted), _power(gap, gap), _power(found, found)
    per_channel = noise / np.maximum(signal, 1e-30)
    order = np.argsort(-per_channel)[:WORST]
    length = float(np.sqrt(signal.sum() * energy.sum()))
    low, high = float(real.min()), float(real.max())
    span = (low, high) if high > low else (low - 0.5, low + 0.5)
    mean = float(real.mean(dtype=np.float64))
    variance = max(float(signal.sum()) / real.size - mean**2, 0.0)
    cut = _cut(wanted, model.activations.get(unit.output), model.factors.get(unit.output))
    step = -(-real.size // BINNED)
    flat, other = real.reshape(-1)[::step], quantized.reshape(-1)[::step]
    return LayerError(
        name=unit.name,
        op=unit.node.op,
        output=unit.output,
        bits=model.layers[unit.name].bits,
        graphwise=float(noise.sum() / max(float(signal.sum()), 1e-30)),
        layerwise=alone,
        cosine=float(_power(wanted, found).sum()) / length if length > 0.0 else 1.0,
        worst=tuple((int(channel), float(per_channel[channel])) for channel in order),
        mean=mean,
        std=float(np.sqrt(variance)),
        low=low,
        high=high,
        cut=cut,
        histogram=(
            tuple(int(count) for count in np.histogram(flat, BINS, span)[0]),
            tuple(int(count) for count in np.histogram(other, BINS, span)[0]),
        ),
    )


def _by_channel(array: np.ndarray) -> np.ndarray:
    """[samples, channels, positions]; vectors and scalars get one channel."""
    if array.ndim < 2:
        return array.reshape(len(array) if array.ndim else 1, 1, 1)
    return array.reshape(array.shape[0], array.shape[1], -1)


def _power(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Sum of products per channel, float64 [channels]; float32 only within one sample's channel."""
    return np.asarray(np.einsum("nci,nci->nc", first, second).sum(axis=0, dtype=np.float64))


def _cut(values: np.ndarray, grid: TensorQuant | None, factor: np.ndarray | None) -> float:
    """Share of values [samples, channels, positions] (times factor[c]) beyond the grid."""
    if grid is None:
        return 0.0
    scale = np.ones(1) if factor is None else factor.astype(np.float64)
    above = ((grid.real_high + grid.scale / 2) / scale).astype(np.float32)[None, :, None]
    below = ((grid.real_low - grid.scale / 2) / scale).astype(np.float32)[None, :, None]
    return (np.count_nonzero(values > above) + np.count_nonzero(values < below)) / values.size


def _ratio(quantized: np.ndarray, real: np.ndarray) -> float:
    wanted = _by_channel(real)
    gap = _by_channel(quantized) - wanted
    return float(_power(gap, gap).sum() / max(float(_power(wanted, wanted).sum()), 1e-30))


def _advice(layers: Sequence[LayerError], total: float, parts: Sequence[PartError] = ()) -> list[str]:
    """The rules of thumb of ESP-PPQ's users: last layer under 10 %, single layers under 1 %."""
    advice = []
    lost = [part for part in parts if part.ratio > LAYER_LIMIT]
    ruined = any(part.ratio >= LAST_LAYER_LIMIT for part in lost)
    if total < LAST_LAYER_LIMIT and ruined:
        advice.append(f"output error {100 * total:.2f} % is under 10 %, but not that of every part: accuracy will suffer there")
    elif total < LAST_LAYER_LIMIT:
        advice.append(f"output error {100 * total:.2f} % is under 10 %: accuracy should hold")
    else:
        advice.append(f"output error {100 * total:.2f} % is above 10 %: accuracy will suffer; try --recipe auto or int16 layers")
    for part in sorted(lost, key=lambda part: -part.ratio)[:WORST]:
        steps = f", {part.steps:.0f} steps of its grid" if np.isfinite(part.steps) else ""
        advice.append(
            f"{part.part} in {part.tensor} has an error of {100 * part.ratio:.2f} % (over 1 %): it reaches {part.extent:.3g}"
            f"{steps}; give the parts outputs of their own, or make the layer int16"
        )
    alone = [layer for layer in layers if layer.layerwise is not None and layer.layerwise > LAYER_LIMIT]
    for layer in sorted(alone, key=lambda layer: -(layer.layerwise or 0.0))[:WORST]:
        reason = f", {100 * layer.cut:.2f} % of its values are cut off" if layer.cut > 1e-3 else ""
        advice.append(
            f"{layer.name} alone costs {100 * (layer.layerwise or 0.0):.2f} % (over 1 %){reason}: a candidate for int16"
        )
    if layers and not alone and layers[0].layerwise is not None:
        advice.append("every layer alone is under 1 %")
    return advice
