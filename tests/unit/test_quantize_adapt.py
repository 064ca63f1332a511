"""Masks in front of Softmax and Concats of unlike ranges: what the quantizer changes before it starts, and how well it goes.

Everything is judged by onnxruntime, with optimizations off, on the written files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from espgen.frontend import load_onnx
from espgen.ir import DType
from espgen.quantize import commands
from espgen.quantize.commands import QuantizeOptions
from espgen.quantize.masks import least_maximum
from espgen.quantize.parts import channel_groups, output_groups
from espgen.quantize.runtime import Session
from espgen.report import text

FAST = QuantizeOptions(recipe="minmax", threads=1)
RANDOM = np.random.default_rng(3)


class Sketch:
    """Writes a float model node by node; `x` is its input."""

    def __init__(self, *shape: int, kind: int = TensorProto.FLOAT) -> None:
        self.shape = shape
        self.kind = kind
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def constant(self, data: Any) -> str:
        name = f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(data), name))
        return name

    def add(self, op: str, *inputs: str, name: str = "", **attrs: Any) -> str:
        result = name or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [result], name=f"{result}_node", **attrs))
        return result

    def save(self, path: Path, *outputs: str) -> Path:
        infos = [helper.make_tensor_value_info("x", self.kind, list(self.shape))]
        found = [helper.make_empty_tensor_value_info(name) for name in outputs]
        for info in found:
            info.type.tensor_type.elem_type = TensorProto.FLOAT
        graph = helper.make_graph(self.nodes, "net", infos, found, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.save(onnx.shape_inference.infer_shapes(model), path)
        return path


def quantized(model: Path, data: np.ndarray, options: QuantizeOptions = FAST) -> tuple[dict[str, Any], Path]:
    """What `quantize` says, and the file it wrote."""
    calibration, target = model.with_suffix(".npz"), model.with_name("quantized.onnx")
    np.savez(calibration, x=data)
    return commands.quantize(model, str(calibration), target, options), target


def outputs(model: Path, names: list[str], data: np.ndarray) -> dict[str, np.ndarray]:
    """Values of a model, inner ones included, under onnxruntime."""
    proto = onnx.load(model)
    there = {output.name for output in proto.graph.output}
    proto.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names if name not in there)
    return Session(proto.SerializeToString(), names, 1, 1).run({"x": data})


def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
    return RANDOM.normal(0.0, scale, shape).astype(np.float32)


def attention(path: Path, mask: np.ndarray, way: str) -> Path:
    """One attention head over [1, 6, 8] whose scores `mask` [6, 6] is put on in some way."""
    net = Sketch(1, 6, 8)
    query, key, value = (net.add("MatMul", "x", net.constant(normal(8, 8, scale=0.5))) for _ in range(3))
    scores = net.add("MatMul", query, net.add("Transpose", key, perm=[0, 2, 1]))
    mask = mask.astype(np.float32)
    if way == "add":
        scores = net.add("Add", net.constant(mask), scores)
    elif way == "subtract":
        scores = net.add("Sub", scores, net.constant(-mask))
    elif way == "add, then divide":
        scores = net.add("Div", net.add("Add", scores, net.constant(mask)), net.constant(np.float32(2.0)))
    elif way == "twice, reshaped":
        again = np.where(np.arange(6) == 5, np.float32(-1e9), np.float32(0.0)) * np.ones((1, 1, 6), np.float32)
        held = net.add("Reshape", net.add("Add", scores, net.constant(mask)), net.constant(np.array([1, 1, 6, 6])))
        scores = net.add("Reshape", net.add("Add", held, net.constant(again)), net.constant(np.array([1, 6, 6])))
    shares = net.add("Softmax", scores, axis=-1)
    net.add("MatMul", net.add("MatMul", shares, value), net.constant(normal(8, 8, scale=0.5)), name="y")
    return net.save(path, "y")


def causal(value: float) -> np.ndarray:
    return np.where(np.tri(6) > 0, 0.0, value)


@pytest.mark.parametrize("way", ["add", "subtract", "add, then divide", "twice, reshaped"])
@pytest.mark.parametrize("value", [-1e9, -np.inf, -1e4, -65504.0, float(np.finfo(np.float32).min)])
def test_masks_cost_nothing(value: float, way: str, tmp_path: Path) -> None:
    model = attention(tmp_path / "net.onnx", causal(value), way)
    data = normal(12, 6, 8)
    result, written = quantized(model, data)
    assert any("mask" in change for change in result["changes"])
    real, found = outputs(model, ["y"], data)["y"], outputs(written, ["y"], data)["y"]
    assert np.square(found - real).sum() < 0.01 * np.square(real).sum()
    assert result["analysis"]["output_error"] < 0.01 and result["refused"] is None


@pytest.mark.parametrize("scheme", ["shift", "esp-dl", "affine"])
def test_masks_in_every_scheme_and_thoroughly(scheme: str, tmp_path: Path) -> None:
    model = attention(tmp_path / "net.onnx", causal(-1e9), "add")
    result, _ = quantized(model, normal(16, 6, 8), QuantizeOptions(scheme=scheme, threads=1))
    assert result["analysis"]["output_error"] < 0.01


def test_no_mask_no_change(tmp_path: Path) -> None:
    model = attention(tmp_path / "net.onnx", normal(6, 6), "add")
    result, _ = quantized(model, normal(6, 6, 8))
    assert result["changes"] == []


def test_a_row_masked_as_a_whole_is_left_out() -> None:
    rows = np.array([[0.0, -1e9], [-3.0, -2.0], [-1e9, -1e9], [-np.inf, -np.inf]])
    assert least_maximum(rows, -1) == (-2.0, 0.0)


def detector(path: Path, join: str) -> tuple[Path, list[str]]:
    """Boxes of 0..640 and scores of 0..1, joined in some way -> (file, names of the score tensors)."""
    net = Sketch(1, 3, 8, 8)
    hidden = net.add("Relu", net.add("Conv", "x", net.constant(normal(8, 3, 3, 3, scale=0.3)), pads=[1, 1, 1, 1]))

    def head(channels: int) -> str:
        return net.add("Sigmoid", net.add("Conv", hidden, net.constant(normal(channels, 8, 1, 1, scale=0.8))))

    boxes, scores, present = net.add("Mul", head(4), net.constant(np.float32(640.0))), head(3), head(1)
    names = [scores]
    if join == "channels":
        net.add("Concat", boxes, scores, name="y", axis=1)
    elif join == "three, rows behind":
        joined = net.add("Concat", boxes, present, scores, axis=1)
        rows = net.add("Reshape", joined, net.constant(np.array([1, 8, 64])))
        net.add("Transpose", rows, name="y", perm=[0, 2, 1])
        names = [present, scores]
    elif join == "nested":
        net.add("Concat", net.add("Concat", boxes, present, axis=1), scores, name="y", axis=-3)
        names = [present, scores]
    elif join == "last axis":
        flat = [net.add("Reshape", value, net.constant(np.array([1, -1]))) for value in (boxes, scores)]
        net.add("Concat", *flat, name="y", axis=-1)
        names = [flat[1]]
    return net.save(path, "y"), names


@pytest.mark.parametrize("join", ["channels", "three, rows behind", "nested", "last axis"])
@pytest.mark.parametrize("recipe", ["minmax", "default"])
def test_scores_beside_boxes_keep_their_steps(join: str, recipe: str, tmp_path: Path) -> None:
    model, names = detector(tmp_path / "net.onnx", join)
    data = normal(12, 3, 8, 8)
    result, written = quantized(model, data, QuantizeOptions(recipe=recipe, threads=1))
    assert set(names) <= set(load_onnx(written).outputs)
    assert any("'y' is now" in change for change in result["changes"]) and "'y' is now" in text.quantization(result)
    real, found = outputs(model, names, data), outputs(written, names, data)
    for name in names:
        assert len(np.unique(found[name])) >= 90
        assert np.sqrt(np.square(found[name] - real[name]).mean()) < 0.01 * np.ptp(real[name])
    # The tools that compare it with the float network follow.
    rows = commands.evaluate_models(model, written, str(model.with_suffix(".npz")))["rows"]
    assert rows[1]["error"] < 0.01


def test_a_concat_inside_gets_int16_with_what_reads_it(tmp_path: Path) -> None:
    net = Sketch(1, 3, 8, 8)
    large = net.add("Conv", "x", net.constant(normal(4, 3, 1, 1, scale=60.0)))
    small = net.add("Conv", "x", net.constant(normal(4, 3, 1, 1)))
    weights = normal(4, 8, 1, 1)
    weights[:, :4] /= 80.0
    joined = net.add("Concat", large, small, axis=1, name="joined")
    model = net.save(tmp_path / "net.onnx", net.add("Conv", joined, net.constant(weights), name="y"))
    data = normal(12, 3, 8, 8)
    result, written = quantized(model, data)
    assert any("joined_node gets int16" in change for change in result["changes"]) and "y_node" in result["int16"]
    real, found = outputs(model, ["y"], data)["y"], outputs(written, ["y"], data)["y"]
    assert np.square(found - real).sum() < 0.001 * np.square(real).sum()
    assert result["refused"] is None


def test_a_concat_of_like_ranges_stays(tmp_path: Path) -> None:
    net = Sketch(1, 3, 8, 8)
    parts = [net.add("Conv", "x", net.constant(normal(4, 3, 1, 1, scale=scale))) for scale in (5.0, 1.0)]
    model = net.save(tmp_path / "net.onnx", net.add("Concat", *parts, axis=1, name="y"))
    result, written = quantized(model, normal(8, 3, 8, 8))
    assert result["changes"] == [] and list(load_onnx(written).outputs) == ["y"]
    shown = {part["part"]: part["ratio"] for part in result["analysis"]["parts"]}
    assert list(shown) == parts and max(shown.values()) < 0.01


def test_lost_channels_of_an_output_are_named(tmp_path: Path) -> None:
    weights = normal(6, 3, 1, 1)
    weights[:4] *= 600.0
    net = Sketch(1, 3, 8, 8)
    model = net.save(tmp_path / "net.onnx", net.add("Conv", "x", net.constant(weights), name="y"))
    result, _ = quantized(model, normal(8, 3, 8, 8))
    assert "accuracy should hold" not in result["tables"]
    assert "4..5 of axis 1 in y has an error of" in result["tables"]


def test_channel_groups() -> None:
    assert channel_groups(np.array([600.0, 0.0, 300.0, 1.0, 0.5])) == [slice(0, 3), slice(3, 5)]
    assert channel_groups(np.zeros(4)) == [slice(0, 4)]
    rows = np.ones((2, 1, 5, 6), np.float32)
    rows[..., :4] = 100.0
    assert output_groups(rows) == (3, [slice(0, 4), slice(4, 6)])
    assert output_groups(np.ones(3)) == (1, [slice(0, 1)])


def test_top1_says_of_how_many(tmp_path: Path) -> None:
    net = Sketch(1, 3, 4, 4)
    pooled = net.add("GlobalAveragePool", net.add("Conv", "x", net.constant(normal(5, 3, 1, 1))))
    model = net.save(tmp_path / "net.onnx", net.add("Flatten", pooled, name="y"))
    data = normal(40, 3, 4, 4)
    labels = outputs(model, ["y"], data)["y"].reshape(40, 5).argmax(axis=1)
    labels[:10] = (labels[:10] + 1) % 5
    np.savez(tmp_path / "data.npz", x=data, y=labels)
    result = commands.quantize(model, str(tmp_path / "data.npz"), tmp_path / "q.onnx", FAST)
    assert result["fidelity"]["float_accuracy"] == 0.75 and result["fidelity"]["labelled"] == 40
    shown = text.quantization(result)
    assert "top-1 of 40 labelled: float 75.00 %" in shown and "on 4 samples: error" in shown


@pytest.mark.parametrize("options", [{}, {"observer": "weighted"}, {"split": 0.5}, {"scheme": "esp-dl"}])
def test_a_first_axis_that_is_no_sample(options: dict[str, Any], tmp_path: Path) -> None:
    """Rows of a sequence as a matrix [6, 8]: six are neither samples nor channels."""
    net = Sketch(1, 6, 8)
    rows = net.add("Reshape", "x", net.constant(np.array([6, 8])))
    hidden = net.add("Relu", net.add("Gemm", rows, net.constant(normal(8, 10)), net.constant(normal(10))))
    net.add("Gemm", hidden, net.constant(normal(10, 3)), net.constant(normal(3)), name="y")
    model = net.save(tmp_path / "net.onnx", "y")
    data = normal(12, 6, 8)
    result, written = quantized(model, data, QuantizeOptions(threads=1, **options))
    real, found = outputs(model, ["y"], data)["y"], outputs(written, ["y"], data)["y"]
    assert np.square(found - real).sum() < 0.01 * np.square(real).sum() and result["refused"] is None


def test_pixels_of_uint8_stay_the_input(tmp_path: Path) -> None:
    net = Sketch(1, 3, 8, 8, kind=TensorProto.UINT8)
    real = net.add("Div", net.add("Cast", "x", to=TensorProto.FLOAT), net.constant(np.float32(255.0)))
    net.add("Relu", net.add("Conv", real, net.constant(normal(6, 3, 3, 3))), name="y")
    model = net.save(tmp_path / "net.onnx", "y")
    data = RANDOM.integers(0, 256, (12, 3, 8, 8), dtype=np.uint8)
    result, written = quantized(model, data, QuantizeOptions(threads=1))
    graph = load_onnx(written)
    assert graph.value("x").dtype is DType.UINT8 and result["refused"] is None
    wanted, found = outputs(model, ["y"], data)["y"], outputs(written, ["y"], data)["y"]
    assert np.square(found - wanted).sum() < 0.001 * np.square(wanted).sum()
    rows = commands.evaluate_models(model, written, str(model.with_suffix(".npz")))["rows"]
    assert [row["model"] for row in rows] == ["float", "fake-quant", "integer"] and rows[2]["error"] < 0.001


def test_token_ids_stay_the_input(tmp_path: Path) -> None:
    net = Sketch(1, 6, kind=TensorProto.INT64)
    words = net.add("Gather", net.constant(normal(50, 16)), "x")
    net.add("MatMul", net.add("ReduceMean", words, axes=[1], keepdims=0), net.constant(normal(16, 4)), name="y")
    model = net.save(tmp_path / "net.onnx", "y")
    data = RANDOM.integers(0, 50, (12, 6))
    _, written = quantized(model, data)
    assert load_onnx(written).value("x").dtype is DType.INT64
    wanted, found = outputs(model, ["y"], data)["y"], outputs(written, ["y"], data)["y"]
    assert np.square(found - wanted).sum() < 0.001 * np.square(wanted).sum()
