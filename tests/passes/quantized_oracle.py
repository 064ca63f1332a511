"""What a quantized graph means, in real arithmetic: every node between DequantizeLinear and QuantizeLinear."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from espgen.ir import DType, Graph, Node, QuantParams
from espgen.ops.expression import evaluate
from espgen.passes.absorb_numbers import dequantized, quantized

sys.path.append(str(Path(__file__).parent.parent / "oracles"))
from source_model import run_float

_MOVES_ANY_TYPE = {"ConvInteger", "MatMulInteger"}


def simulate(graph: Graph, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Integers of every value of a quantized graph for integer `feeds`."""
    held: dict[str, np.ndarray] = {**graph.constants, **feeds}
    for node in graph.nodes:
        results = _node(graph, node, [held[name] if name else None for name in node.inputs])
        for name, data in zip(node.outputs, results, strict=True):
            if name:
                held[name] = data
    return held


def _node(graph: Graph, node: Node, operands: list[np.ndarray | None]) -> list[np.ndarray]:
    attrs = dict(node.attrs)
    clip = attrs.pop("clip", None)
    real = [
        None if data is None else dequantized(data, graph.value(name).quant or QuantParams.tensor(1.0))
        for name, data in zip(node.inputs, operands, strict=True)
    ]
    if node.op in _MOVES_ANY_TYPE:
        plain = replace(node, op=node.op.removesuffix("Integer"))
        results = _reference(graph, plain, real)
    elif node.op == "MatMul" and len(node.inputs) == 3:  # with a bias that was an Add of its own
        results = [np.matmul(real[0], real[1]) + real[2]]
    elif node.op == "Unary":
        results = [evaluate(attrs["expression"], real[0])]
    elif node.op == "Requantize":
        results = [real[0]]
    else:
        results = _reference(graph, replace(node, attrs=attrs), real)
    integers = []
    for name, data in zip(node.outputs, results, strict=True):
        if not name:
            integers.append(np.zeros(0))
            continue
        value = graph.value(name)
        limited = data if clip is None else np.clip(data, *_open_ends(clip))
        integers.append(quantized(limited, value.quant or QuantParams.tensor(1.0), value.dtype))
    return integers


def _open_ends(clip: tuple[float | None, float | None]) -> tuple[float, float]:
    return (-np.inf if clip[0] is None else clip[0], np.inf if clip[1] is None else clip[1])


def _reference(graph: Graph, node: Node, real: list[np.ndarray | None]) -> list[np.ndarray]:
    """One operator on float values, through onnxruntime."""
    names = {name: replace(graph.value(name), dtype=DType.FLOAT32, quant=None) for name in (*node.inputs, *node.outputs) if name}
    outputs = tuple(name for name in node.outputs if name)
    feeds = {name: data.astype(np.float32) for name, data in zip(node.inputs, real, strict=True) if name and data is not None}
    single = Graph("one", tuple(feeds), outputs, (node,), names, {})
    results = run_float(single, feeds)
    return [np.asarray(results[name]) if name else np.zeros(0) for name in node.outputs]
