"""Constants are folded with the meaning of the model's own opset: onnxruntime folds the same model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, TypeProto, helper, numpy_helper

sys.path.append(str(Path(__file__).parent.parent / "fuzz"))
from qdq_graphs import session

from espgen.frontend import load_onnx

RNG = np.random.default_rng(2)


def f(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def i(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


REDUCTIONS = "ReduceSum ReduceMean ReduceMax ReduceMin ReduceL1 ReduceL2 ReduceProd ReduceLogSumExp ReduceSumSquare".split()
Case = tuple[str, tuple[int, ...], list[Any], dict[str, Any]]
CASES: list[Case] = [
    *((op, (11, 12, 13, 17), [f(2, 3, 4)], attrs) for op in ("Softmax", "LogSoftmax", "Hardmax")
      for attrs in ({}, {"axis": 0}, {"axis": 1}, {"axis": -1})),
    *((op, (11, 12), [np.abs(f(2, 3, 4))], {"axes": [1], "keepdims": 0}) for op in REDUCTIONS),
    *((op, (18,), [np.abs(f(2, 3, 4)), i(1)], {}) for op in REDUCTIONS),
    ("Unsqueeze", (11, 12), [f(2, 3)], {"axes": [0, 3]}), ("Unsqueeze", (13, 21), [f(2, 3), i(0, 3)], {}),
    ("Squeeze", (11, 12), [f(1, 3, 1)], {"axes": [0]}), ("Squeeze", (13, 21), [f(1, 3, 1), i(0)], {}),
    ("Clip", (11, 12, 13), [f(2, 9), np.float32(-0.5), None], {}), ("Clip", (11, 13), [f(2, 9), None, np.float32(0.2)], {}),
    ("Slice", (11, 13), [f(4, 5), i(1), i(-1), i(1), i(2)], {}),
    ("Pad", (11, 13, 18), [f(2, 3), i(1, 0, 0, 2), np.float32(2)], {}),
    ("Resize", (11, 13, 19), [f(1, 1, 4, 5), np.zeros(0, np.float32), np.float32([1, 1, 1.5, 1.7])], {"mode": "linear"}),
    ("Cast", (11, 13, 19), [f(3, 3) * 9], {"to": TensorProto.INT32}),
    ("ArgMax", (11, 12, 13), [f(3, 4)], {"axis": 1}),
    ("CumSum", (11, 14), [f(3, 4), np.array(1, np.int32)], {}), ("DepthToSpace", (11, 13), [f(1, 8, 2, 2)], {"blocksize": 2}),
    ("MaxPool", (11, 12), [f(1, 1, 6, 6)], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ("AveragePool", (11, 19), [f(1, 1, 5, 5)], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ("Gemm", (11, 13), [f(2, 3), f(3, 4), f(4)], {"alpha": 0.5}), ("Flatten", (11, 13), [f(2, 3, 4)], {"axis": -1}),
    ("Pow", (11, 12, 15), [np.abs(f(3)), f(3)], {}), ("ScatterND", (11, 16), [f(4), np.array([[1]], np.int64), f(1)], {}),
    ("Mod", (11, 13), [np.array([-5, 7], np.int64), i(3, -4)], {}), ("Div", (11, 14), [i(-7, 7), i(2, 2)], {}),
]  # fmt: skip
RUNS = [(op, version, inputs, attrs) for op, versions, inputs, attrs in CASES for version in versions]


@pytest.mark.parametrize(("op", "version", "inputs", "attrs"), RUNS, ids=[f"{op}-{version}" for op, version, *_ in RUNS])
def test_folded_as_onnxruntime_does(op: str, version: int, inputs: list[Any], attrs: dict[str, Any]) -> None:
    names = ["" if data is None else f"c{index}" for index, data in enumerate(inputs)]
    constants = [numpy_helper.from_array(np.asarray(data), name) for data, name in zip(inputs, names, strict=True) if name]
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], **attrs)], "constants", [], [helper.make_value_info("y", TypeProto())], constants
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=8).SerializeToString()
    expected = session(model).run(None, {})[0]
    made = load_onnx(model).constants["y"]
    assert made.shape == expected.shape
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5)
