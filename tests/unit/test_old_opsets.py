"""Models of opsets below the oldest that is read, against onnxruntime, which takes them as they are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto

sys.path += [str(Path(__file__).parent), str(Path(__file__).parent.parent / "oracles")]
from onnx_models import model, node
from source_model import run_float

from espgen.errors import EspgenError
from espgen.frontend import load_onnx

Constants = dict[str, Any]
W = np.random.default_rng(3).normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32)
STATISTICS = {name: np.linspace(0.5, 1.5, 3, dtype=np.float32) for name in ("scale", "bias", "mean", "variance")}

NETWORKS: dict[str, tuple[int, list[NodeProto], Constants]] = {
    "pad by attribute": (9, [node("Pad", "x", "y", pads=[0, 0, 1, 2, 0, 0, 0, 1], mode="reflect")], {}),
    "clip by attribute": (9, [node("Clip", "x", "y", min=-0.5, max=0.75)], {}),
    "upsample": (9, [node("Upsample", "x scales", "y", mode="nearest")], {"scales": np.float32([1, 1, 2, 3])}),
    "upsample by attribute": (7, [node("Upsample", "x", "y", mode="nearest", scales=[1.0, 1.0, 2.0, 3.0])], {}),
    "slice by attribute": (9, [node("Slice", "x", "y", axes=[2, 3], starts=[1, -4], ends=[5, 9])], {}),
    "resize": (10, [node("Resize", "x scales", "y", mode="nearest")], {"scales": np.float32([1, 1, 2, 2])}),
    "normalization": (8, [node("BatchNormalization", "x scale bias mean variance", "y")], STATISTICS),
    "convolution": (9, [node("Conv", "x w", "a"), node("Dropout", "a", "b", ratio=0.5), node("Softmax", "b", "y")], {"w": W}),
    "means": (10, [node("ReduceMean", "x", "a", axes=[2, 3], keepdims=0), node("Unsqueeze", "a", "y", axes=[2])], {}),
}


def built(opset: int, nodes: list[NodeProto], constants: Constants, *, listed: bool) -> ModelProto:
    """`listed`: initializers are graph inputs, too, as they had to be before IR 4."""
    made = model(nodes, {"x": [1, 3, 6, 7]}, ["y"], constants, opset)
    made.ir_version = 3 if listed else 4
    if listed:
        for name, data in constants.items():
            made.graph.input.append(model([], {name: data.shape}, []).graph.input[0])
    return made


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_old_models_mean_the_same(name: str, listed: bool) -> None:
    runtime = pytest.importorskip("onnxruntime")
    data = built(*NETWORKS[name], listed=listed).SerializeToString()
    feeds = {"x": np.random.default_rng(1).normal(0, 1, (1, 3, 6, 7)).astype(np.float32)}
    expected = runtime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, feeds)[0]
    graph = load_onnx(data)
    assert graph.inputs == ("x",)
    np.testing.assert_allclose(run_float(graph, feeds)["y"], expected, rtol=1e-5, atol=1e-6)


def test_the_converter_is_given_sound_models_only() -> None:
    broken = built(9, [node("Clip", "nothing", "y")], {}, listed=False)
    with pytest.raises(EspgenError, match="opset 9, and onnx can't convert it") as error:
        load_onnx(broken.SerializeToString())
    assert error.value.hint == "export the model with opset 11 or later"
    with pytest.raises(EspgenError, match="opset 6, which is too old"):
        load_onnx(built(6, [node("Relu", "x", "y")], {}, listed=False).SerializeToString())
