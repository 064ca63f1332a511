"""Every float operator test of ONNX, quantized and compiled: integers within one step of onnxruntime's."""

from __future__ import annotations

import node_cases
import numpy as np
import operator_outcomes
import pytest
from quantized_cases import QuantizedCase, expected_candidates, quantize_case

from espgen import arith
from espgen.errors import EspgenError
from espgen.frontend import load_onnx
from espgen.interpret.integer import run_integer
from espgen.ir.layout import from_layout, to_layout
from espgen.ops.expression import FUNCTIONS, STEPS
from espgen.passes.pipeline import lower_to_integer

REFUSED: dict[str, str] = {
    "over 3 axes": "espgen has 1-D and 2-D windows",
    "division by a tensor computed at run time": "only division by constants",
    "operator Pow is not supported": "Pow of two run-time tensors; by a constant it is a table",
    "isn't one finite number per output channel": "Gemm with a whole matrix as addend",
    "tf_crop_and_resize": "cropping and resizing in one",
    "antialias": "Resize with antialiasing",
}
"""What is refused, by its message, and what that is."""

LOOSE_IN_16_BITS = {
    "Resize": 8, "Softmax": 8, "PRelu": 1, **dict.fromkeys(FUNCTIONS - {"Add", "Sub", "Mul", "Clip", "Relu"} - STEPS, 8),
}  # fmt: skip
"""Operator -> steps, of 65,536: Resize has 11-bit weights, Softmax a 256-entry exponential, functions the bound of their tables
in docs/arithmetic.md, which Ceil, Floor, Round and Sign have no part in."""


def differences(case: QuantizedCase) -> list[np.ndarray]:
    """Steps between espgen's outputs and the nearest oracle's."""
    graph = lower_to_integer(load_onnx(case.model.SerializeToString()))
    inputs = {}
    for name in graph.inputs:
        value = graph.value(name)
        data = arith.quantize(case.inputs[name], value.scale, value.zero_point, value.dtype.minimum, value.dtype.maximum)
        inputs[name] = to_layout(data.astype(value.dtype.numpy), value.layout)
    results = run_integer(graph, inputs)
    best: list[np.ndarray] | None = None
    for wanted in expected_candidates(case):
        steps = []
        for (name, held), real in zip(results.items(), wanted, strict=True):
            value = graph.value(name)
            integers = np.rint(real.astype(np.float64) / value.scale) + value.zero_point
            result = from_layout(held, value.layout)
            steps.append(np.abs(result - integers) if result.shape == real.shape else np.full(1, np.inf))
        if best is None or max(item.max(initial=0) for item in steps) < max(item.max(initial=0) for item in best):
            best = steps
    assert best is not None, f"{case.name}: neither oracle runs it"
    return best


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("op", sorted(operator_outcomes.OPERATORS))
def test_quantized_operator(op: str, dtype: type) -> None:
    """Every case within one step; over all cases of the operator hardly any element different."""
    if (op, dtype) == ("Acosh", np.int16):
        pytest.skip("its input 1 is quantized to a number below 1, of which it gives not-a-number: engines differ there")
    made = [quantize_case(case, dtype) for case in node_cases.node_cases(frozenset({op}))]
    different = elements = 0
    for case in (case for case in made if case is not None):
        try:
            steps = differences(case)
        except EspgenError as error:
            assert any(text in error.message for text in REFUSED), f"{case.name}: {error}"
            continue
        largest = max(float(item.max(initial=0)) for item in steps)
        loose = dtype is np.int16 and op in LOOSE_IN_16_BITS
        assert largest <= (LOOSE_IN_16_BITS[op] if loose else 1), f"{case.name}: {largest} steps"
        different += sum(int(np.count_nonzero(item)) for item in steps)
        elements += sum(item.size for item in steps)
    if dtype is np.int16 and op in LOOSE_IN_16_BITS:
        return
    # Cases of a dozen elements with two or three different values tie together: a handful is no share.
    assert different <= max(0.005 * elements, 12), f"{different} of {elements} elements differ"
