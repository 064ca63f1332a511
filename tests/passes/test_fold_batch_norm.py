"""fold_batch_norm on float graphs: the result computes the same, BatchNormalization is gone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent.parent / "unit"))
sys.path.append(str(Path(__file__).parent.parent / "oracles"))
from onnx_models import node, serialized
from source_model import run_float

from espgen.frontend import load_onnx
from espgen.ir import QuantParams, verify
from espgen.passes import fold_batch_norm
from espgen.passes.absorb_numbers import dequantized
from espgen.passes.absorb_products import scale_weights

RNG = np.random.default_rng(3)
CASES: list[tuple[str, dict[str, Any], tuple[int, ...], tuple[int, ...], list[str]]] = [
    ("Conv", {}, (1, 3, 5, 5), (4, 3, 3, 3), ["Conv"]),
    ("Conv", {"group": 2}, (1, 4, 5), (4, 2, 3), ["Conv"]),
    ("ConvTranspose", {"strides": [2, 2]}, (1, 3, 4, 4), (3, 4, 2, 2), ["ConvTranspose"]),
    ("ConvTranspose", {"group": 2}, (1, 4, 4, 4), (4, 2, 2, 2), ["ConvTranspose", "DequantizeLinear", "Conv"]),
    ("Gemm", {"transB": 1}, (5, 6), (4, 6), ["Gemm"]),
    ("Gemm", {"alpha": 0.5, "beta": 3.0}, (5, 6), (6, 4), ["Gemm"]),
]


@pytest.mark.parametrize(("op", "attrs", "shape", "weights", "expected"), CASES)
@pytest.mark.parametrize("bias", [False, True])
def test_same_function(
    op: str, attrs: dict[str, Any], shape: tuple[int, ...], weights: tuple[int, ...], expected: list[str], bias: bool
) -> None:
    constants = {
        "w": RNG.normal(size=weights).astype(np.float32), "b": RNG.normal(size=4).astype(np.float32),
        "g": np.float32([1.5, -0.5, 0.0, 2.0]), "bt": RNG.normal(size=4).astype(np.float32),
        "mu": RNG.normal(size=4).astype(np.float32), "v": RNG.uniform(0.1, 2, 4).astype(np.float32),
    }  # fmt: skip
    nodes = [node(op, "x w b" if bias else "x w", "c", **attrs), node("BatchNormalization", "c g bt mu v", "y", epsilon=1e-3)]
    before = load_onnx(serialized(nodes, {"x": shape}, ["y"], constants))
    after = fold_batch_norm.run(before)
    verify(after, "fold_batch_norm")
    assert [item.op for item in after.nodes] == expected
    feeds = {"x": RNG.normal(size=shape).astype(np.float32)}
    results = [run_float(graph, feeds)["y"] for graph in (before, after)]
    np.testing.assert_allclose(results[1], results[0], rtol=1e-4, atol=1e-4)


def test_a_product_that_others_read_stays() -> None:
    constants = {"w": np.ones((2, 2, 1, 1), np.float32), **{name: np.float32([1, 2]) for name in ("g", "bt", "mu", "v")}}
    nodes = [node("Conv", "x w", "c"), node("BatchNormalization", "c g bt mu v", "n"), node("Add", "c n", "y")]
    after = fold_batch_norm.run(load_onnx(serialized(nodes, {"x": [1, 2, 3, 3]}, ["y"], constants)))
    assert [item.op for item in after.nodes] == ["Conv", "DequantizeLinear", "Conv", "Add"]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16])
def test_factors_on_integer_weights_are_exact(dtype: type) -> None:
    limits = np.iinfo(dtype)
    weights = RNG.integers(limits.min, limits.max + 1, (4, 9)).astype(dtype)
    weights[1, 0], weights[3, 1] = limits.min, limits.max
    quant = QuantParams.tensor(0.01, (limits.min + limits.max) // 2)
    factors = np.array([0.5, -2.0, 0.0, -1e-3])
    scaled, scales = scale_weights(weights, quant, 0, factors)
    np.testing.assert_allclose(dequantized(scaled, scales), dequantized(weights, quant) * factors[:, None], rtol=1e-12)
    assert all(scale > 0 for scale in scales.scale)
