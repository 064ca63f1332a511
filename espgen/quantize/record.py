"""The JSON record of every scale and zero point of a quantized model."""

from __future__ import annotations

import math
from typing import Any

from espgen.quantize.model import QuantizedModel, TensorQuant
from espgen.quantize.units import is_product

FORMAT = "espgen-quantization-1"


def record(model: QuantizedModel) -> dict[str, Any]:
    """Plain dict: activations by value name, layers by node name (weight scales, shifts, bits), notes."""
    graph = model.graph
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
