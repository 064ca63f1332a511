"""The JSON record of every scale and zero point of a quantized model."""

from __future__ import annotations

import math
from typing import Any

from espgen.ir import Graph
from espgen.quantize.model import QuantizedModel, TensorQuant
from espgen.quantize.units import is_product, split_units

FORMAT = "espgen-quantization-1"


def record(model: QuantizedModel, original: Graph | None = None) -> dict[str, Any]:
    """Plain dict: activations by value name, layers by node name (weight scales, shifts, bits), notes.

    With the `original` float graph each layer lists the nodes it stands for ("nodes": AMCT's fused json).
    """
    graph = model.graph
    fused = {} if original is None else fused_nodes(original, model.reference)
    layers: dict[str, Any] = {}
    for node in graph.nodes:
        layer = model.layers.get(node.name)
        if layer is None or not is_product(graph, node):
            continue
        output = _output_grid(model, node.outputs[0])
        entry: dict[str, Any] = {
            "op": node.op,
            "bits": layer.bits,
            "input": node.inputs[0],
            "input_scale": layer.input_scale,
            "weight_scale": [float(scale) for scale in layer.scale],
        }
        if node.name in fused:
            entry["nodes"] = list(fused[node.name])
        if output is not None:
            exact = [layer.input_scale * float(scale) / output.scale for scale in layer.scale]
            shifts = [-math.log2(ratio) for ratio in exact]
            if all(abs(shift - round(shift)) < 2.0**-20 for shift in shifts):
                entry["shift"] = [round(shift) for shift in shifts]
        layers[node.name] = entry
    return {
        "format": FORMAT,
        "scheme": model.scheme.value,
        "activations": {name: tensor_entry(quant) for name, quant in model.activations.items()},
        "requantized": [
            {"node": node, "value": value, **tensor_entry(quant)} for (node, value), quant in model.requantized.items()
        ],
        "layers": layers,
        "notes": list(model.notes),
    }


def fused_nodes(original: Graph, folded: Graph) -> dict[str, tuple[str, ...]]:
    """Product of the folded graph -> nodes of the original graph that it and its activation stand for, in order."""
    consumers = original.consumers()
    kept = {node.name for node in folded.nodes}
    bounds = {unit.name: unit.bound.name for unit in split_units(folded) if unit.bound is not None}
    found: dict[str, tuple[str, ...]] = {}
    for node in original.nodes:
        if node.name not in kept or not is_product(original, node):
            continue
        names, last = [node.name], node
        while len(readers := consumers.get(last.outputs[0], [])) == 1:
            last = readers[0]
            if last.name in kept and last.name != bounds.get(node.name):
                break
            names.append(last.name)
            if last.name == bounds.get(node.name):
                break
        found[node.name] = tuple(names)
    return found


def tensor_entry(quant: TensorQuant) -> dict[str, Any]:
    """Scale, zero point and bits of one tensor."""
    return {"scale": quant.scale, "zero_point": quant.zero_point, "bits": quant.bits}


def _output_grid(model: QuantizedModel, name: str) -> TensorQuant | None:
    """Grid of the value behind a node, looking through Relu, Clip and Min."""
    consumers = model.graph.consumers()
    while name not in model.activations:
        readers = consumers.get(name, [])
        if len(readers) != 1 or readers[0].op not in ("Relu", "Clip", "Min"):
            return None
        name = readers[0].outputs[0]
    return model.activations[name]
