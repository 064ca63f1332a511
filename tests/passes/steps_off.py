"""The way of a quantized model through the interpreter, compared with onnxruntime."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parent.parent / "fuzz"))
from qdq_graphs import session

from espgen import arith
from espgen.frontend import load_onnx
from espgen.interpret import run_integer
from espgen.ir.layout import from_layout, to_layout
from espgen.passes.pipeline import lower_to_integer


def steps_off(model: bytes, feeds: dict[str, np.ndarray], oracle: bytes | None = None) -> dict[str, float]:
    """The largest difference between espgen's and onnxruntime's outputs, in steps of each output.

    oracle: a model of the same meaning for onnxruntime, where `model` has operators that it does not know
    """
    graph = lower_to_integer(load_onnx(model))
    given = {}
    for name in graph.inputs:
        value, data = graph.value(name), feeds[name]
        if data.dtype == np.float32:
            data = arith.quantize(data, value.scale, value.zero_point, value.dtype.minimum, value.dtype.maximum)
        given[name] = to_layout(data.astype(value.dtype.numpy), value.layout).reshape(value.shape)
    made = run_integer(graph, given)
    expected = session(oracle or model).run(None, feeds)
    found = {}
    for name, real in zip(graph.outputs, expected, strict=True):
        value = graph.value(name)
        ordered = from_layout(made[name].reshape(value.shape), value.layout).reshape(real.shape).astype(np.float64)
        found[name] = float(np.abs(ordered - value.zero_point - np.rint(real.astype(np.float64) / value.scale)).max())
    return found
