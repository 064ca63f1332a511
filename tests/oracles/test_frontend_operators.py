"""ONNX's own operator tests, read by the frontend and written back: canonical attributes mean what the original meant."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import node_cases
import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator
from source_model import to_onnx

from espgen.errors import EspgenError
from espgen.frontend import load_onnx
from espgen.frontend.normalize import NORMALIZERS
from espgen.frontend.qoperator import _EXPANSIONS

OPS = frozenset(NORMALIZERS) | frozenset(_EXPANSIONS) | {
    "Add", "DepthToSpace", "DequantizeLinear", "Div", "Elu", "Exp", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu",
    "MatMul", "MatMulInteger", "Mul", "PRelu", "QuantizeLinear", "Relu", "Sigmoid", "SpaceToDepth", "Sqrt", "Sub", "Tanh",
}  # fmt: skip

REFUSED: dict[str, str] = {
    "has element type": "a type the chip has no arithmetic for (float8, float4, int2, int4, uint32, uint64)",
    "quantizes to four bits": "four-bit results",
    "is quantized in blocks": "blocked quantization",
    "is in training mode": "training",
    "is no tensor": "sequences and optionals",
    "every extent must be positive": "empty tensors",
}
"""What the frontend refuses, by its message, and why that is right."""


def _agrees(case: node_cases.NodeCase, results: list[np.ndarray]) -> bool:
    for result, wanted in zip(results, case.expected, strict=False):
        tolerance = 1e-2 if wanted.dtype.itemsize < 4 else 1e-3
        if result.shape != wanted.shape:
            return False
        if not np.allclose(result.astype(np.float64), wanted.astype(np.float64), rtol=tolerance, atol=1e-4, equal_nan=True):
            return False
    return True


def _runs(case: node_cases.NodeCase) -> Iterator[list[np.ndarray]]:
    """Results of the canonical graph in onnx's reference and in onnxruntime: each has operators the other gets wrong."""
    graph = load_onnx(case.model.SerializeToString())
    feeds = {name: data.astype(graph.value(name).dtype.numpy) for name, data in case.inputs.items() if name in graph.inputs}
    model = to_onnx(graph)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield [np.asarray(result) for result in ReferenceEvaluator(model).run(None, feeds)]
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    session = runtime.InferenceSession(to_onnx(graph, 21).SerializeToString(), options, providers=["CPUExecutionProvider"])
    yield session.run(None, feeds)


def _refusal(error: EspgenError) -> str | None:
    return next((reason for text, reason in REFUSED.items() if text in error.message), None)


@pytest.mark.parametrize("op", sorted(OPS))
def test_canonical_form_means_the_same(op: str) -> None:
    """Every case of the operator is either refused for a listed reason, or its canonical graph gives the expected output."""
    compared = refused = 0
    cases = node_cases.node_cases(frozenset({op}))
    for case in cases:
        try:
            agreed = any(_agrees(case, results) for results in _runs(case))
        except EspgenError as error:
            assert _refusal(error), f"{case.name}: {error}"
            assert error.hint, case.name
            refused += 1
            continue
        assert agreed, case.name
        compared += 1
    assert compared + refused == len(cases)
    if op not in ("CastLike",) and cases:
        assert compared > 0, f"no case of {op} was compared"
