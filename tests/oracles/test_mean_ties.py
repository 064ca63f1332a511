"""Means between QuantizeLinear and DequantizeLinear against onnxruntime, optimizations off: every element equal, ties or not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

sys.path.append(str(Path(__file__).parent.parent / "unit"))
from onnx_models import node, qdq, serialized

from espgen import arith
from espgen.frontend import load_onnx
from espgen.interpret.integer import run_integer
from espgen.ir import Graph
from espgen.ir.layout import from_layout, to_layout
from espgen.ops.float_ties import float_mean
from espgen.passes.pipeline import lower_to_integer

ort = pytest.importorskip("onnxruntime")

CHANNELS = 500
SIZES = [(1, 2), (2, 2), (2, 3), (1, 6), (2, 5), (3, 4), (2, 7), (4, 4), (3, 6), (5, 10), (8, 8), (7, 14), (14, 14)]
SCALES = [(0.023528477177023888, 0.0), (0.1270691454410553, 0.5), (0.0073, 1.0), (1.37, 0.25)]
"""Scale, and where in the type's range the zero point lies."""


def session(data: bytes) -> Any:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def mean_model(size: tuple[int, ...], op: str, scale: float, ratio: float, zero: Any) -> bytes:
    """x [1, CHANNELS, *size] -> QuantizeLinear, DequantizeLinear, the mean, QuantizeLinear, DequantizeLinear."""
    attrs = {"kernel_shape": list(size)} if op == "AveragePool" else {}
    before, constants = qdq("x", scale, zero)
    after, more = qdq("y", scale / ratio, zero, real="m")
    nodes = [*before, node(op, "x_dq", "m", **attrs), *after]
    return serialized(nodes, {"x": (1, CHANNELS, *size)}, ["y_dq"], constants | more)


def results(data: bytes, real: npt.NDArray[np.float32]) -> tuple[Graph, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The integer graph, its integers [CHANNELS], and onnxruntime's."""
    (wanted,) = session(data).run(None, {"x": real})
    graph = lower_to_integer(load_onnx(data))
    source, result = graph.value(graph.inputs[0]), graph.value(graph.outputs[0])
    held = arith.quantize(real, source.scale, source.zero_point, source.dtype.minimum, source.dtype.maximum)
    found = run_integer(graph, {source.name: to_layout(held.astype(source.dtype.numpy), source.layout)})[result.name]
    steps = np.rint(wanted.astype(np.float64) / result.scale).astype(np.int64) + result.zero_point
    return graph, from_layout(found, result.layout).astype(np.int64).reshape(-1), steps.reshape(-1)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("op", ["GlobalAveragePool", "AveragePool"])
@pytest.mark.parametrize("size", [*SIZES, (6,), (16,), (98,)], ids=lambda size: "x".join(map(str, size)))
def test_every_element_is_onnxruntimes(size: tuple[int, ...], op: str, dtype: type) -> None:
    rng = np.random.default_rng(5)
    limits = np.iinfo(dtype)
    ties = 0
    for scale, point in SCALES:
        zero = dtype(limits.min + point * 255)
        x = rng.integers(limits.min, limits.max + 1, (1, CHANNELS, *size))
        real = ((x - int(zero)) * np.float32(scale)).astype(np.float32)
        for ratio in (1.0, 0.5, 2.0):
            graph, ours, wanted = results(mean_model(size, op, scale, ratio, zero), real)
            (mean,) = (item for item in graph.nodes if item.op == "reduce_mean")
            assert np.array_equal(ours, wanted), (scale, ratio)
            ties += "float_ties" in mean.attrs
    assert ties >= 8


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_float_mean_is_onnxruntimes_to_the_bit(size: tuple[int, int]) -> None:
    """Real numbers, whose sums round at every step: another order of summation shows."""
    count = size[0] * size[1]
    integers = np.random.default_rng(6).integers(-(2**23), 2**23, (CHANNELS, count))
    scale = 0.0371
    real = (integers.astype(np.float32) * np.float32(scale)).reshape(1, CHANNELS, *size)
    (wanted,) = session(serialized([node("GlobalAveragePool", "x", "y")], {"x": real.shape}, ["y"])).run(None, {"x": real})
    assert np.array_equal(float_mean(integers, scale), wanted.reshape(-1))


def test_other_means_keep_their_ties_even() -> None:
    """ReduceMean sums in another order and windows that are no whole image are no global pool."""
    before, constants = qdq("x", 0.0235, np.int8(3))
    after, more = qdq("y", 0.0235, np.int8(3), real="m")
    for op, attrs in (
        ("ReduceMean", {"axes": [2, 3]}),
        ("AveragePool", {"kernel_shape": [2, 4], "strides": [2, 4]}),
        ("AveragePool", {"kernel_shape": [4, 4], "pads": [0, 0, 1, 1]}),
    ):
        nodes = [*before, node(op, "x_dq", "m", **attrs), *after]
        graph = lower_to_integer(load_onnx(serialized(nodes, {"x": (1, 8, 4, 4)}, ["y_dq"], constants | more)))
        assert all("float_ties" not in item.attrs for item in graph.nodes)
