"""QOperator models against onnxruntime's own quantized kernels: integers within one step."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent.parent / "unit"))
from onnx_models import node, serialized

from espgen.frontend import load_onnx
from espgen.interpret.integer import run_integer
from espgen.ir.layout import from_layout, to_layout
from espgen.passes.pipeline import lower_to_integer

RNG = np.random.default_rng(11)
IMAGE = (1, 6, 7, 9)
MS = "com.microsoft"

CASES: dict[str, tuple[str, str, str, tuple[int, ...], Mapping[str, Any]]] = {
    "conv": ("QLinearConv", "", "x xs xz w ws wz ys yz b", IMAGE, {"pads": [1, 0, 1, 2], "strides": [2, 1]}),
    "conv per tensor": ("QLinearConv", "", "x xs xz w w1 z1 ys yz", IMAGE, {"pads": [1, 1, 1, 1]}),
    "matmul": ("QLinearMatMul", "", "x xs xz m w1 z1 ys yz", (5, 6), {}),
    "gemm": ("QGemm", MS, "x xs xz m ws wz b ys yz", (5, 6), {}),
    "gemm without bias": ("QGemm", MS, "x xs xz mt ws wz - ys yz", (5, 6), {"transB": 1}),
    "add": ("QLinearAdd", MS, "x xs xz c cs cz ys yz", IMAGE, {}),
    "mul": ("QLinearMul", MS, "x xs xz c cs cz ps yz", IMAGE, {}),
    "average pool": ("QLinearAveragePool", MS, "x xs xz ys yz", IMAGE, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    "average pool counting": (
        "QLinearAveragePool", MS, "x xs xz ys yz", IMAGE,
        {"kernel_shape": [2, 3], "pads": [0, 1, 1, 1], "strides": [2, 2], "count_include_pad": 1},
    ),
    "global average pool": ("QLinearGlobalAveragePool", MS, "x xs xz ps yz", IMAGE, {}),
    "global average pool, channels last": ("QLinearGlobalAveragePool", MS, "x xs xz ps yz", IMAGE, {"channels_last": 1}),
    # Many exact ties: these operators sum integers, and ties go to even.
    "global average pool, ties": ("QLinearGlobalAveragePool", MS, "x xs xz xs xz", (1, 600, 4, 4), {}),
    "global average pool, ties, channels last": (
        "QLinearGlobalAveragePool", MS, "x xs xz xs xz", (1, 4, 4, 600), {"channels_last": 1},
    ),
    "average pool of an image, ties": ("QLinearAveragePool", MS, "x xs xz xs xz", (1, 600, 4, 4), {"kernel_shape": [4, 4]}),
    "concat": ("QLinearConcat", MS, "ys yz x xs xz c cs cz", IMAGE, {"axis": 1}),
    "sigmoid": ("QLinearSigmoid", MS, "x xs xz us uz", IMAGE, {}),
    "leaky relu": ("QLinearLeakyRelu", MS, "x xs xz ys yz", IMAGE, {"alpha": 0.3}),
    "softmax": ("QLinearSoftmax", MS, "x xs xz us uz", (4, 9), {"axis": 1, "opset": 13}),
}  # fmt: skip


def constants(dtype: type) -> dict[str, Any]:
    """Weights, scales and zero points; activations in `dtype`.

    Where a CPU has AVX2 but no VNNI, onnxruntime adds pairs of uint8 * int8 products in 16 bits and saturates: beside uint8
    activations weights of 7 bits keep every pair within them, so that the oracle is right on every machine.
    """
    low, most = (0, 63) if dtype is np.uint8 else (-128, 127)
    return {
        "xs": np.float32(0.0397), "xz": dtype(low + 119), "ys": np.float32(0.0713), "yz": dtype(low + 133),
        "ps": np.float32(0.0519), "us": np.float32(1 / 256), "uz": dtype(low), "cs": np.float32(0.0231), "cz": dtype(low + 90),
        "w": RNG.integers(-most, most + 1, (4, 6, 3, 3)).astype(np.int8), "ws": np.float32([0.0021, 0.0043, 0.0037, 0.0029]),
        "wz": np.zeros(4, np.int8), "w1": np.float32(0.0031), "z1": np.int8(0), "b": np.int32([900, -4000, 77, 1]),
        "m": RNG.integers(-most, most + 1, (6, 4)).astype(np.int8), "mt": RNG.integers(-most, most + 1, (4, 6)).astype(np.int8),
        "c": RNG.integers(low, low + 256, IMAGE).astype(dtype),
    }  # fmt: skip


@pytest.mark.parametrize("dtype", [np.uint8, np.int8], ids=["uint8", "int8"])
@pytest.mark.parametrize("name", CASES)
def test_qoperator(name: str, dtype: type) -> None:
    runtime = pytest.importorskip("onnxruntime")
    op, domain, inputs, shape, attrs = CASES[name]
    used = {label: data for label, data in constants(dtype).items() if label in inputs.split()}
    kind = dtype.__name__
    made = [node(op, inputs, "y", domain=domain, **attrs)]
    data = serialized(made, {"x": shape}, ["y"], used, types={"x": kind, "y": kind}, contrib=True)
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    limits = np.iinfo(dtype)
    x = RNG.integers(limits.min, limits.max + 1, shape).astype(dtype)
    (expected,) = session.run(None, {"x": x})
    graph = lower_to_integer(load_onnx(data))
    results = run_integer(graph, {"x": to_layout(x, graph.value("x").layout)})
    result = from_layout(results["y"], graph.value("y").layout)
    assert result.dtype == expected.dtype and result.shape == expected.shape
    difference = np.abs(result.astype(np.int64) - expected)
    assert difference.max() <= 1
    assert np.mean(difference > 0) <= 0.005, np.mean(difference > 0)
