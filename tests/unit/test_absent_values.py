"""Outputs that nobody reads, inputs that nobody needs, values without elements, bounds that are no numbers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import NodeProto

sys.path.append(str(Path(__file__).parent))
from onnx_models import node, qdq, serialized

from espgen import api
from espgen.errors import EspgenError
from espgen.frontend import load_onnx
from espgen.ir import Graph
from espgen.passes.pipeline import lower_to_integer

IN, IN_CONSTANTS = qdq("x", 0.05, np.int8(3))
OUT, OUT_CONSTANTS = qdq("y", 0.03, np.int8(-5), "real")


def lowered(nodes: list[NodeProto], shape: list[int], opset: int = 17, **constants: Any) -> Graph:
    model = serialized(
        [*IN, *nodes, *OUT], {"x": shape, "idle": [1, 2]}, ["y_dq"], {**IN_CONSTANTS, **OUT_CONSTANTS, **constants}, opset
    )
    return lower_to_integer(load_onnx(model))


@pytest.mark.parametrize("outputs", ["- real", "real -", "first real", "real last", "- real -", "- - real"])
def test_split_with_unread_parts(outputs: str) -> None:
    count = len(outputs.split())
    graph = lowered([node("Split", "x_dq sizes", outputs, axis=1)], [1, 2 * count], sizes=np.full(count, 2, np.int64))
    assert graph.value("y_dq").shape == (1, 2) and graph.inputs == ("x",)


@pytest.mark.parametrize("sizes", [[0, 6], [6, 0], [0, 6, 0], [2, 0, 4]])
def test_split_with_empty_parts(sizes: list[int]) -> None:
    read = int(np.argmax(sizes))
    outputs = " ".join("real" if index == read else f"part{index}" for index in range(len(sizes)))
    graph = lowered([node("Split", "x_dq sizes", outputs, axis=1)], [1, 6], sizes=np.array(sizes, np.int64))
    assert graph.value("y_dq").shape == (1, sizes[read])


def test_an_empty_part_joins_nothing() -> None:
    nodes = [
        node("Split", "x_dq sizes", "none all", axis=1),
        node("Relu", "none", "still"),
        node("Concat", "still all still", "real", axis=1),
    ]
    assert lowered(nodes, [1, 6], sizes=np.array([0, 6], np.int64)).value("y_dq").shape == (1, 6)


def test_an_absent_first_output_is_named_in_the_refusal() -> None:
    weights = {"w": np.zeros((1, 12, 2), np.float32), "r": np.zeros((1, 12, 3), np.float32), "axes": np.array([0], np.int64)}
    nodes = [node("LSTM", "x_dq w r", "- hidden", hidden_size=3), node("Squeeze", "hidden axes", "real")]
    with pytest.raises(EspgenError) as caught:
        lowered(nodes, [1, 1, 2], **weights)
    assert "LSTM" in caught.value.message and caught.value.node and caught.value.hint


@pytest.mark.parametrize(
    ("nodes", "shape"),
    [
        ([node("Flatten", "x_dq", "real")], [1, 2, 3, 4]),
        ([node("Reshape", "x_dq shape", "flat"), node("Slice", "flat zero two one", "real")], [1, 2, 3, 4]),
        ([node("Transpose", "x_dq", "real", perm=[0, 2, 3, 1])], [1, 2, 3, 4]),
        ([node("Identity", "x_dq", "real")], [1, 8]),
    ],
    ids=["flatten", "reshape and slice", "transpose", "nothing"],
)
def test_networks_of_views_only(nodes: list[NodeProto], shape: list[int], tmp_path: Path) -> None:
    """Compiled and run on the host: a network needs a step, and results have memory of their own."""
    out, parameters = qdq("y", 0.05, np.int8(3), "real")
    constants = {"shape": np.array([1, -1], np.int64), "zero": np.array([0]), "two": np.array([2]), "one": np.array([1])}
    path = tmp_path / "views.onnx"
    path.write_bytes(serialized([*IN, *nodes, *out], {"x": shape}, ["y_dq"], {**IN_CONSTANTS, **parameters, **constants}))
    api.compile(path, tmp_path / "views")
    verdict = api.verify(tmp_path / "views", target="host")
    assert verdict["equal"] and verdict["layers"]


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Max", "x_dq infinite", "real")], [node("Min", "x_dq negative", "real")], [node("Max", "x_dq none", "real")],
        [node("Clip", "x_dq infinite", "real")], [node("Clip", "x_dq none", "real")],
        [node("Add", "x_dq infinite", "real")],
    ],
    ids=["max inf", "min -inf", "max nan", "clip inf", "clip nan", "add inf"],
)  # fmt: skip
def test_bounds_that_are_no_numbers_are_refused(nodes: list[NodeProto]) -> None:
    numbers = {"infinite": np.float32(np.inf), "negative": np.float32(-np.inf), "none": np.float32(np.nan)}
    with pytest.raises(EspgenError) as caught:
        lowered(nodes, [1, 6], **numbers)
    assert caught.value.node and caught.value.hint


@pytest.mark.parametrize("op", ["Max", "Min"])
def test_bounds_that_bound_nothing_are_taken(op: str) -> None:
    bound = np.float32(-np.inf if op == "Max" else np.inf)
    assert lowered([node(op, "x_dq bound", "real")], [1, 6], bound=bound).outputs == ("y_dq",)


def test_scales_absurdly_far_apart_are_refused() -> None:
    far, constants = qdq("far", 1e-38, np.int8(0), "x_dq")
    large, more = qdq("large", 3e38, np.int8(0), "far_dq")
    nodes = [*far, *large, node("AveragePool", "large_dq", "real", kernel_shape=[2, 2])]
    with pytest.raises(EspgenError):
        lowered(nodes, [1, 2, 4, 4], **constants, **more)
