"""What becomes of each of ONNX's operator tests: passed, or excluded for a written reason; and docs/onnx_operator_tests.md.

`python tests/oracles/operator_outcomes.py` writes the page again.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx

sys.path.append(str(Path(__file__).parent))
import node_cases
from node_cases import NodeCase

from espgen import arith
from espgen.errors import EspgenError
from espgen.frontend import load_onnx
from espgen.interpret.integer import run_integer
from espgen.ir import Value
from espgen.ir.layout import from_layout, to_layout
from espgen.passes.pipeline import lower_to_integer

PAGE = Path(__file__).parents[2] / "docs" / "onnx_operator_tests.md"

OPERATORS = frozenset(
    "Abs Acos Acosh Add Asin Asinh Atan Atanh AveragePool Ceil Celu Clip Concat Conv ConvInteger ConvTranspose Cos Cosh "
    "DepthToSpace DequantizeLinear Div Elu Erf Exp Flatten Floor Gelu Gemm GlobalAveragePool GlobalMaxPool HardSigmoid "
    "HardSwish LeakyRelu Log MatMul MatMulInteger MaxPool Mish Mul Neg PRelu Pad Pow QLinearConv QLinearMatMul "
    "QuantizeLinear Reciprocal ReduceMax ReduceMean ReduceMin Relu Reshape Resize Round Selu Shrink Sigmoid Sign Sin Sinh "
    "Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Swish Tan Tanh ThresholdedRelu Transpose "
    "Unsqueeze".split()
)
"""The operators espgen compiles, by their ONNX names."""

SMALL = {"int8", "uint8", "int16", "uint16"}
NARROW = {"uint4", "int4", "uint2", "int2", "float4_e2m1fn"}

EXCLUDED: dict[str, str] = {
    **dict.fromkeys(
        (f"test_div_{kind}" for kind in ("int8", "int16", "uint8", "uint16")),
        "truncating division of integers by integers known only at run time",
    ),
    **dict.fromkeys(
        ("test_quantizelinear_axis", "test_dequantizelinear_axis"),
        "one scale per channel on run-time data: only weights have those (tested in tests/passes/test_absorb_qdq.py)",
    ),
    **dict.fromkeys(
        ("test_quantizelinear_blocked_asymmetric", "test_quantizelinear_blocked_symmetric", "test_dequantizelinear_blocked"),
        "blocked quantization",
    ),
}
"""Cases with 8- or 16-bit tensors that can't pass, each with its reason."""

VERSION = ".".join(onnx.__version__.split(".")[:2])
FLOAT8 = "float8, float4, int4 or int2 tensors: the chip has no arithmetic for them"
FLOAT_ONLY = "float tensors only: no quantization to compile (tests/oracles/test_quantized_operators.py quantizes them)"
OTHER_TYPES = "int32, int64, float16, float64 or bool tensors that no quantization explains"


@dataclass(frozen=True)
class Outcome:
    """One case: passed (reason empty), excluded (reason) or failed (reason starts with FAILED)."""

    name: str
    op: str
    reason: str


@cache
def outcomes() -> tuple[Outcome, ...]:
    """All cases of OPERATORS."""
    return tuple(_outcome(case) for case in node_cases.node_cases(OPERATORS))


def _outcome(case: NodeCase) -> Outcome:
    reason = exclusion(case)
    if not reason:
        try:
            reason = run(case)
        except EspgenError as error:
            reason = f"FAILED: {error}"
    return Outcome(case.name, case.op, reason)


def exclusion(case: NodeCase) -> str:
    """Why a case is not run, "" where it is."""
    if case.name in EXCLUDED:
        return EXCLUDED[case.name]
    kinds = {case.inputs[name].dtype.name for name in case.inputs} | {data.dtype.name for data in case.expected}
    kinds |= {
        node_cases.type_of(tensor) for tensor in case.model.graph.initializer if case.op in ("QuantizeLinear", "DequantizeLinear")
    }
    if any(kind in NARROW or kind.startswith("float8") for kind in kinds):
        return FLOAT8
    if kinds & SMALL:
        return ""
    return FLOAT_ONLY if kinds <= {"float32"} else OTHER_TYPES


def run(case: NodeCase) -> str:
    """Compile the case and run its integer graph; "" where every output is the expected one, else what differs."""
    graph = lower_to_integer(load_onnx(case.model.SerializeToString()))
    results = run_integer(graph, {name: _input(graph.value(name), case.inputs[name]) for name in graph.inputs})
    for (name, held), wanted in zip(results.items(), case.expected, strict=True):
        value = graph.value(name)
        result = from_layout(held, value.layout)
        if result.shape != wanted.shape:
            return f"FAILED: shape {result.shape}, expected {wanted.shape}"
        if wanted.dtype.kind == "f":
            real = arith.dequantize(result, value.scale, value.zero_point)
            if not np.allclose(real, wanted, rtol=1e-6):
                return "FAILED: real values differ"
        elif result.dtype != wanted.dtype or not np.array_equal(result, wanted):
            return f"FAILED: {np.count_nonzero(result.astype(np.int64) != wanted)} of {wanted.size} integers differ"
    return ""


def _input(value: Value, data: np.ndarray) -> np.ndarray:
    """The case's data as the compiled graph takes it: quantized where the graph's input is an integer and the case's float."""
    if data.dtype.kind == "f":
        data = arith.quantize(data, value.scale, value.zero_point, value.dtype.minimum, value.dtype.maximum)
    return to_layout(data.astype(value.dtype.numpy), value.layout)


def markdown() -> str:
    """The page: cases passed, cases excluded with reasons, and what is float only, by operator."""
    done = outcomes()
    passed = [item for item in done if not item.reason]
    excluded = [item for item in done if item.reason and item.reason not in (FLOAT_ONLY, OTHER_TYPES)]
    silent = Counter((item.op, item.reason) for item in done if item.reason in (FLOAT_ONLY, OTHER_TYPES))
    lines = [
        "# ONNX's operator tests",
        "",
        "Every single-node case of `onnx.backend.test.case.node` for the operators espgen compiles. Scales, zero points, weights",
        "and shapes that a case passes as graph inputs are frozen into initializers; the case is then compiled and its integer",
        "graph run: the integers must be equal. This page is generated (`tests/oracles/operator_outcomes.py`), and a test",
        "keeps it true.",
        "",
        f"Cases of onnx {VERSION}.",
        "",
        f"Passed: {len(passed)}. Excluded with a reason: {len(excluded)}. Without 8- or 16-bit tensors: {sum(silent.values())}.",
        "",
        "## Passed",
        "",
        *(f"- {item.op}: `{item.name}`" for item in sorted(passed, key=lambda item: (item.op, item.name))),
        "",
        "## Excluded",
        "",
    ]
    for reason in sorted({item.reason for item in excluded}):
        lines += [f"{reason[0].upper()}{reason[1:]}:", ""]
        lines += [f"- {item.op}: `{item.name}`" for item in excluded if item.reason == reason]
        lines.append("")
    lines += ["## Without 8- or 16-bit tensors", ""]
    for reason in (FLOAT_ONLY, OTHER_TYPES):
        counts = ", ".join(f"{op} {count}" for (op, why), count in sorted(silent.items()) if why == reason)
        lines += [f"{reason[0].upper()}{reason[1:]}:", "", counts + ".", ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(markdown(), encoding="utf-8")
