"""Models and scales from elsewhere: QDQ and quantization-aware trained models, AMCT records, ESP-PPQ's .json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from espgen.errors import EspgenError
from espgen.ir import DType, Graph, Node, QuantParams, Value, constant_value
from espgen.quantize import amct_record
from espgen.quantize.evaluate import probabilities
from espgen.quantize.fold import fold
from espgen.quantize.model import LayerQuant, QuantizedModel, Scheme, TensorQuant
from espgen.quantize.patches import weight_matrix, weight_tensor
from espgen.quantize.pipeline import Fidelity, compare_outputs, run_float, run_quantized
from espgen.quantize.prepare import Calibrated, Prepared, unit_outputs
from espgen.quantize.rounding import nearest
from espgen.quantize.scales import LEAST_SCALE, least_output_scale, tensor_quant
from espgen.quantize.sequential import quantize_layers, with_bias
from espgen.quantize.settings import Settings
from espgen.quantize.statistics import Progress, collect
from espgen.quantize.units import FIXED_RANGE, PASSIVE, Unit, bound_limits, is_product, output_channels, split_units


@dataclass(frozen=True)
class Stripped:
    """A QDQ model taken apart: the float graph with dequantized constants, grids by value, weight scales by node."""

    graph: Graph
    grids: Mapping[str, TensorQuant]
    weight_scales: Mapping[str, np.ndarray]


def strip_qdq(graph: Graph) -> Stripped:
    """Take QuantizeLinear and DequantizeLinear out of a source graph.

    uint8 tensors become int8 with the zero point 128 lower. A Clip of integers between the two (Brevitas writes one)
    becomes a Clip of reals where it cuts more than one code. Raises EspgenError for a model without Q/DQ.
    """
    quantized: dict[str, str] = {}
    kinds: dict[str, tuple[QuantParams, DType]] = {}
    renamed: dict[str, str] = {}
    grids: dict[str, TensorQuant] = {}
    constants: dict[str, np.ndarray] = {}
    values: list[Value] = []
    scales: dict[str, np.ndarray] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        quant = node.attrs.get("quant")
        if node.op == "QuantizeLinear" and isinstance(quant, QuantParams):
            source = renamed.get(node.inputs[0], node.inputs[0])
            quantized[node.outputs[0]] = source
            kinds[node.outputs[0]] = quant, graph.value(node.outputs[0]).dtype
            if quant.per_tensor:
                grids.setdefault(source, _grid(quant, graph.value(node.outputs[0]).dtype))
        elif node.op == "Clip" and node.inputs[0] in quantized:
            source = quantized[node.inputs[0]]
            clip = _real_clip(graph, node, source, *kinds[node.inputs[0]])
            kinds[node.outputs[0]] = kinds[node.inputs[0]]
            quantized[node.outputs[0]] = source if clip is None else clip.outputs[0]
            if clip is not None:
                nodes.append(clip)
                values.append(replace(graph.value(source), name=clip.outputs[0]))
                if source in grids:
                    grids[clip.outputs[0]] = grids[source]
        elif node.op == "DequantizeLinear" and isinstance(quant, QuantParams):
            data = graph.constant(node.inputs[0])
            if data is None:
                renamed[node.outputs[0]] = quantized.get(node.inputs[0], node.inputs[0])
                continue
            constants[node.outputs[0]] = _dequantized(data, quant)
            values.append(constant_value(node.outputs[0], constants[node.outputs[0]]))
            scales[node.outputs[0]] = np.asarray(quant.scale, np.float32)
        else:
            moved, results = _on_reals(graph, node, kinds)
            values += results
            quantized |= {value.name: value.name for value in results}
            kinds |= {value.name: kinds[node.inputs[0]] for value in results}
            grids |= {value.name: _grid(*kinds[value.name]) for value in results if kinds[value.name][0].per_tensor}
            sources = {**quantized, **renamed}
            nodes.append(replace(moved, inputs=tuple(sources.get(name, name) for name in node.inputs)))
    if not grids:
        raise EspgenError(
            "the model holds no QuantizeLinear", place=graph.name, hint="use `espgen quantize` with calibration data"
        )
    back = {source: name for name, source in renamed.items() if name in graph.outputs}
    nodes = [replace(node, outputs=tuple(back.get(name, name) for name in node.outputs)) for node in nodes]
    nodes = [replace(node, inputs=tuple(back.get(name, name) for name in node.inputs)) for node in nodes]
    grids = {back.get(name, name): grid for name, grid in grids.items()}
    values += [replace(graph.value(source), name=name) for source, name in back.items()]
    stripped = graph.updated(nodes=nodes, values=values, constants=constants)
    by_node = {
        node.name: np.broadcast_to(scales[node.inputs[1]], (output_channels(stripped, node)[1],))
        for node in stripped.nodes
        if is_product(stripped, node) and node.inputs[1] in scales
    }
    return Stripped(stripped, grids, by_node)


def _real_clip(graph: Graph, node: Node, source: str, quant: QuantParams, dtype: DType) -> Node | None:
    """The Clip of `source` that a Clip of its integers means; None where it cuts at most the lowest code."""
    low, high = bound_limits(graph, node)
    if (low <= dtype.minimum + 1 and high >= dtype.maximum) or not quant.per_tensor:
        return None
    scale, zero = float(np.float32(quant.scale[0])), quant.zero_point[0]
    bounds = {"min": (max(low, dtype.minimum) - zero) * scale, "max": (min(high, dtype.maximum) - zero) * scale}
    return Node(node.name, "Clip", (source,), (f"{node.outputs[0]}.real",), bounds)


def _on_reals(
    graph: Graph, node: Node, kinds: Mapping[str, tuple[QuantParams, DType]]
) -> tuple[Node, list[Value]]:
    """A node that moves integers (QOperator models pool, pad and resize them), moving real values; and those it makes."""
    if not node.inputs or node.inputs[0] not in kinds:
        return node, []
    quant, _ = kinds[node.inputs[0]]
    if node.op == "Pad" and node.attrs.get("mode") == "constant":
        node = node.with_attrs(value=(float(node.attrs["value"]) - quant.zero_point[0]) * quant.scale[0])
    made = [graph.value(name) for name in node.outputs if name]
    return node, [replace(value, dtype=DType.FLOAT32, quant=None) for value in made if value.dtype.is_integer]


def _grid(quant: QuantParams, dtype: DType) -> TensorQuant:
    bits = 16 if dtype in (DType.INT16, DType.UINT16) else 8
    offset = 1 << (bits - 1) if dtype in (DType.UINT8, DType.UINT16) else 0
    return TensorQuant(float(np.float32(quant.scale[0])), quant.zero_point[0] - offset, bits)


def _dequantized(data: np.ndarray, quant: QuantParams) -> np.ndarray:
    shape = [1] * data.ndim
    if quant.axis is not None:
        shape[quant.axis] = -1
    scale = np.asarray(quant.scale, np.float64).reshape(shape if quant.axis is not None else ())
    zero = np.asarray(quant.zero_point, np.float64).reshape(shape if quant.axis is not None else ())
    return np.asarray((data.astype(np.float64) - zero) * scale, np.float32)


@dataclass(frozen=True)
class Conversion:
    """A converted model, and how near it is to the model it came from; gap: largest change of a top probability."""

    model: QuantizedModel
    fidelity: Fidelity
    gap: float
    notes: tuple[str, ...]


def convert_qdq(graph: Graph, original: Mapping[str, np.ndarray], data: Mapping[str, np.ndarray], settings: Settings,
                progress: Progress | None = None) -> Conversion:  # fmt: skip
    """A quantized or quantization-aware trained model on the grids of another scheme.

    original: the outputs of the model itself on `data` (float32 [samples, ...]), under onnxruntime. `affine` keeps
    activation grids and weights (rounded anew, per channel, where they do not fit int8 as they are); `shift` keeps
    activation grids (zero points made even) and rounds the weights anew against `data`; `esp-dl` also moves every
    activation to a power of two that holds the same range. Tensors between quantized layers that have no grid of their own
    get one from `data`, so that the result is a model for the chip.
    """
    stripped = strip_qdq(graph)
    folded = fold(stripped.graph, settings.fuse, settings.fuse_list)
    units = split_units(folded)
    grids = {name: _regrid(grid, settings.scheme) for name, grid in stripped.grids.items() if name in folded.values}
    grids, missing = _completed(folded, units, grids, data, settings)
    for unit in units:
        if settings.scheme is not Scheme.AFFINE and is_product(folded, unit.node):
            grids = _wide_enough(folded, unit.node, unit.output, grids, settings.scheme)
    prepared = Prepared(Calibrated(folded, units, {}, None), folded, {}, grids, {})
    if settings.scheme is Scheme.AFFINE and _fits(folded, stripped.weight_scales):
        layers = layers_from_scales(folded, grids, stripped.weight_scales)
        model = QuantizedModel(folded, settings.scheme, grids, layers, folded)
    else:
        chosen = settings if settings.correction != "auto" else _better_correction(prepared, original, data, settings)
        model = quantize_layers(prepared, data, chosen, progress)
    found = run_quantized(model, data, settings.threads)
    quality = compare_outputs(folded, {**run_float(folded, data, settings.threads), **original}, found)
    gap = probability_gap(original[graph.outputs[0]], found[graph.outputs[0]])
    filled = (_filled_note(missing),) if missing else ()
    against = f"against the model it came from: error {100 * quality.error:.3f} %, same top-1 {100 * quality.agreement:.2f} %, "
    notes = (*filled, f"{against}top probability moves by up to {gap:.4f}")
    return Conversion(model.with_notes(*notes), quality, gap, notes)


def completed(model: QuantizedModel, data: Mapping[str, np.ndarray], settings: Settings) -> QuantizedModel:
    """The model with a grid on every tensor: those that its record or file does not name get one from `data`."""
    chosen = settings.but(scheme=model.scheme)
    grids, missing = _completed(model.graph, split_units(model.graph), model.activations, data, chosen)
    filled = replace(model, activations=grids)
    return filled.with_notes(_filled_note(missing)) if missing else filled


def _filled_note(missing: Sequence[str]) -> str:
    names = ", ".join([*missing[:3], *([".."] if len(missing) > 3 else [])])
    return f"{len(missing)} tensors had no grid: ranges from the data ({names})"


def _better_correction(prepared: Prepared, original: Mapping[str, np.ndarray], data: Mapping[str, np.ndarray],
                       settings: Settings) -> Settings:  # fmt: skip
    """The target of the bias correction that comes nearer to the original outputs.

    Grids that were trained cut values off on purpose, which the float network behind them knows nothing of.
    """
    errors = {}
    real = run_float(prepared.graph, data, settings.threads)
    for choice in ("float", "own"):
        trial = quantize_layers(prepared, data, settings.but(correction=choice, rounding="nearest"))
        errors[choice] = compare_outputs(prepared.graph, {**real, **original}, run_quantized(trial, data, settings.threads)).error
    return settings.but(correction=min(errors, key=lambda choice: errors[choice]))


def _completed(graph: Graph, units: Sequence[Unit], grids: Mapping[str, TensorQuant], data: Mapping[str, np.ndarray],
               settings: Settings) -> tuple[dict[str, TensorQuant], list[str]]:  # fmt: skip
    """A grid for every float tensor: its own, that of what it only moves, a known range, or the range of the data.

    Returns also the tensors the data decided about.
    """
    found = dict(grids)
    consumers = graph.consumers()
    for unit in reversed(units):
        if unit.node.op not in PASSIVE or unit.node.outputs[0] not in found:
            continue
        source = unit.node.inputs[0]
        if source not in found and len(consumers.get(source, [])) == 1 and _is_real(graph, source):
            found[source] = found[unit.node.outputs[0]]
    real = [name for name in (*graph.inputs, *(name for unit in units for name in unit_outputs(unit))) if _is_real(graph, name)]
    passive = {name for unit in units if unit.node.op in PASSIVE for name in unit_outputs(unit)}
    missing = [name for name in real if name not in found and name not in passive]
    statistics = collect(graph, data, missing, settings.threads, settings.batch) if missing else {}
    fixed = {unit.output: FIXED_RANGE[unit.node.op] for unit in units if unit.node.op in FIXED_RANGE}
    for name in missing:
        low, high = fixed.get(name, (float(statistics[name].low.min()), float(statistics[name].high.max())))
        margin = settings.margin if name in graph.outputs and name not in fixed else 1.0
        found[name] = tensor_quant(low * margin, high * margin, settings.scheme)
    for unit in units:
        if unit.node.op in PASSIVE and unit.node.inputs[0] in found:
            found |= {name: found[unit.node.inputs[0]] for name in unit_outputs(unit) if _is_real(graph, name)}
    return found, [name for name in missing if name not in fixed]


def _is_real(graph: Graph, name: str) -> bool:
    return graph.value(name).dtype is DType.FLOAT32 and not graph.is_constant(name)


def _fits(graph: Graph, scales: Mapping[str, np.ndarray]) -> bool:
    """True where symmetric int8 holds all weights on the scales they have (uint8 weights with a zero point may not)."""
    if any(is_product(graph, node) and node.name not in scales for node in graph.nodes):
        return False
    for node in graph.nodes:
        if is_product(graph, node) and node.name in scales:
            matrix = weight_matrix(node, np.asarray(graph.constants[node.inputs[1]], np.float32))
            if (np.abs(matrix).max(axis=1).reshape(-1) > 128.0 * scales[node.name]).any():
                return False
    return True


def _regrid(grid: TensorQuant, scheme: Scheme) -> TensorQuant:
    if scheme is Scheme.ESP_DL:
        return tensor_quant(grid.real_low, grid.real_high, scheme, grid.bits)
    if scheme is Scheme.SHIFT and grid.zero_point % 2:
        low, high = grid.real_low, grid.real_high
        return tensor_quant(low, high, scheme, grid.bits)
    return grid


def _wide_enough(graph: Graph, node: Node, output: str, grids: dict[str, TensorQuant], scheme: Scheme) -> dict[str, TensorQuant]:
    """Grids with the node's output coarse enough for shifts that are not negative."""
    if node.inputs[0] not in grids or output not in grids:
        return grids
    least = least_output_scale(graph.constants[node.inputs[1]], grids[node.inputs[0]].scale)
    if grids[output].scale >= least:
        return grids
    scale = float(2.0 ** np.ceil(np.log2(least))) if scheme.symmetric else float(np.float32(least * 1.001))
    return {**grids, output: replace(grids[output], scale=scale)}


def probability_gap(original: np.ndarray, converted: np.ndarray) -> float:
    """Largest change, over samples, of the probability of the original's top class.

    Scores that are not probabilities already go through a softmax.
    """
    first, second = (probabilities(scores) for scores in (original, converted))
    top = first.argmax(axis=1)[:, None]
    return float(np.abs(np.take_along_axis(first, top, 1) - np.take_along_axis(second, top, 1)).max())


def layers_from_scales(graph: Graph, grids: Mapping[str, TensorQuant], scales: Mapping[str, np.ndarray],
                       bits: Mapping[str, int] | None = None) -> dict[str, LayerQuant]:  # fmt: skip
    """Integer layers for every product whose weight scales are known: round to nearest, bias as it is.

    A scale of one entry holds for all channels. Raises EspgenError where a layer's input has no grid or the number of
    scales does not fit.
    """
    layers = {}
    for node in graph.nodes:
        if node.name not in scales or not is_product(graph, node):
            continue
        axis, channels = output_channels(graph, node)
        grid = grids.get(node.inputs[0])
        given = np.asarray(scales[node.name], np.float32).reshape(-1)
        if given.size not in (1, channels):
            raise EspgenError(f"{given.size} weight scales for {channels} channels", node=node.name, place="scales")
        if grid is None:
            raise EspgenError("the layer's input has no scale", node=node.name, place="scales")
        width = (bits or {}).get(node.name, 8)
        scale = np.maximum(np.broadcast_to(given, (channels,)), LEAST_SCALE * 2.0**-20).astype(np.float32)
        weights = np.asarray(graph.constants[node.inputs[1]], np.float32)
        matrix = weight_matrix(node, weights)
        top = (1 << (width - 1)) - 1
        integers = nearest(matrix, scale.reshape(matrix.shape[0], -1), -top - 1, top)
        tensor = weight_tensor(node, integers, weights.shape).astype(np.int8 if width == 8 else np.int16)
        layer = LayerQuant(tensor, scale, axis, None, grid.scale, width)
        if node.input(2):
            layer = with_bias(layer, np.asarray(graph.constants[node.inputs[2]], np.float32))
        layers[node.name] = layer
    return layers


def from_amct(graph: Graph, text: str, place: str = "record", fuse: bool = True) -> QuantizedModel:
    """The fake-quant model of a float graph and AMCT's record, without data: exactly the recorded layers are quantized.

    Raises EspgenError for records of layers the graph does not have.
    """
    records = {name: entry for name, entry in amct_record.read(text, place).items() if not _only_cache(entry)}
    if not records:
        raise EspgenError("the record holds no layer", place=place, hint="is this an AMCT record?")
    folded = fold(graph, fuse, _fusable(graph, records))
    nodes = {node.name: node for node in folded.nodes if is_product(folded, node)}
    unknown = sorted(set(records) - set(nodes))
    if unknown:
        raise EspgenError(
            f"the model has no layer {unknown[0]!r}", place=place, hint=f"layers: {', '.join(sorted(nodes)[:8])} .."
        )
    grids: dict[str, TensorQuant] = {}
    scales: dict[str, np.ndarray] = {}
    for name, entry in records.items():
        if entry.scale_d is None or not entry.scale_w:
            raise EspgenError("the record lacks scale_d or scale_w", place=f"{place}, record {name!r}")
        if entry.dst_type != "INT8" or any(factor != 1.0 for factor in entry.tensor_balance_factor):
            kind = entry.dst_type if entry.dst_type != "INT8" else "tensor_balance_factor"
            hint = "record the layer as plain INT8"
            raise EspgenError(f"{kind} is not supported", place=f"{place}, record {name!r}", hint=hint)
        if any(entry.offset_w):
            raise EspgenError("weights with an offset are not supported", place=f"{place}, record {name!r}")
        grids.setdefault(nodes[name].inputs[0], TensorQuant(float(np.float32(entry.scale_d)), entry.offset_d))
        scales[name] = np.asarray(entry.scale_w, np.float32)
    layers = layers_from_scales(folded, grids, scales)
    return QuantizedModel(folded, Scheme.AFFINE, grids, layers, folded)


def _only_cache(entry: amct_record.LayerRecord) -> bool:
    """True for records of a key-value cache alone, which is no layer."""
    return entry.scale_d is None and not entry.scale_w and entry.kv_cache != ((), ())


def _fusable(graph: Graph, records: Mapping[str, amct_record.LayerRecord]) -> list[tuple[str, str]] | None:
    """What may be folded where some records say skip_fusion: everything but into their layers."""
    skipped = {name for name, entry in records.items() if entry.skip_fusion}
    if not skipped:
        return None
    products = [node.name for node in graph.nodes if is_product(graph, node) and node.name not in skipped]
    followers = [node.name for node in graph.nodes if not is_product(graph, node)]
    return [(product, follower) for product in products for follower in followers]


def from_esp_ppq(graph: Graph, path: Path, fuse: bool = True) -> QuantizedModel:
    """The quantized model of ESP-PPQ's float ONNX and the .json exported beside it (plain JSON; nothing is unpickled).

    The file maps operator -> variable -> configuration; scales stand under the hash of the configuration that dominates.
    Raises EspgenError where the file is not of that form.
    """
    try:
        content: Any = json.loads(Path(path).read_text(encoding="utf-8"))
        configs, table = content["configs"], content["values"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EspgenError(f"this is not ESP-PPQ's configuration: {error}", place=str(path)) from None
    folded = fold(graph, fuse)
    grids: dict[str, TensorQuant] = {}
    scales: dict[str, np.ndarray] = {}
    bits: dict[str, int] = {}
    for node in folded.nodes:
        entry = configs.get(node.name)
        if not isinstance(entry, Mapping):
            continue
        for position, name in enumerate((*node.inputs, *node.outputs)):
            found = entry.get(name) if name else None
            if not isinstance(found, Mapping):
                continue
            value = table.get(str(found.get("dominator", found.get("hash")))) or table.get(str(found.get("hash")))
            if not isinstance(value, Mapping) or value.get("scale") is None:
                continue
            width = int(found.get("bit_width", 8))
            scale = np.asarray(value["scale"], np.float32).reshape(-1)
            if not folded.is_constant(name) and width in (8, 16):
                zero = int(np.asarray(value.get("zero_point") or 0).reshape(-1)[0])
                grids.setdefault(name, TensorQuant(float(scale[0]), zero, width))
            elif position == 1 and is_product(folded, node):
                scales[node.name], bits[node.name] = scale, width
    if not scales:
        raise EspgenError(
            "no scale in the file belongs to a layer of the model", place=str(path), hint="give the ONNX exported with it"
        )
    layers = layers_from_scales(folded, grids, scales, bits)
    even = all(float(np.log2(grid.scale)).is_integer() and grid.zero_point == 0 for grid in grids.values())
    return QuantizedModel(folded, Scheme.ESP_DL if even else Scheme.AFFINE, grids, layers, folded)
