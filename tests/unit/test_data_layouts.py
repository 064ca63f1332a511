"""One layout for every command: data of any axis order reaches onnxruntime, the interpreter and the host library alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from espgen import api, evaluation
from espgen.data.inputs import model_inputs
from espgen.data.samples import load
from espgen.errors import EspgenError
from espgen.frontend import load_onnx
from espgen.ir.layout import arranged

ort = pytest.importorskip("onnxruntime", reason="onnxruntime is part of the `quantize` extra")

SHAPES = {
    "image": (1, 3, 4, 5), "cube": (1, 4, 4, 4), "flat_cube": (1, 3, 1, 3), "one_channel": (1, 1, 4, 4), "line": (1, 8, 12),
    "square_line": (1, 8, 8), "volume": (1, 2, 3, 4, 5), "square_volume": (1, 3, 3, 3, 3), "batch": (2, 3, 4, 4),
    "square_batch": (4, 4, 4, 4), "batch_of_lines": (3, 3, 3),
}  # fmt: skip


def _last(data: np.ndarray, rank: int) -> np.ndarray:
    """Channels first to last by hand: the axis behind the sample and the batch goes to the end."""
    order = [axis for axis in range(data.ndim) if axis != data.ndim - rank + 1]
    return data.transpose([*order, data.ndim - rank + 1])


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("model_last", [False, True])
@pytest.mark.parametrize("batch_axis", [True, False])
def test_a_named_layout_is_never_guessed(shape: tuple[int, ...], model_last: bool, batch_axis: bool) -> None:
    if not batch_axis and shape[0] != 1:
        pytest.skip("only a batch of one may be left out")
    rank = len(shape)
    first = np.random.default_rng(0).normal(size=(7, *shape))
    last = _last(first, rank)
    own = last if model_last else first
    for layout, data in (("NCHW", first), ("NHWC", last), ("", own)):
        given = data if batch_axis else data[:, 0]
        found = arranged(given, own.shape[1:], layout, model_last)
        assert found is not None
        assert np.array_equal(found.data, own), layout
        assert found.turned == (layout != "" and (layout == "NHWC") != model_last)


def test_without_a_name_the_other_layout_is_taken_where_it_alone_fits() -> None:
    pixels = np.random.default_rng(0).normal(size=(5, 6, 6, 3))
    found = arranged(pixels, (1, 3, 6, 6), "", False)
    assert found is not None
    assert found.turned
    assert np.array_equal(found.data[:, 0], pixels.transpose(0, 3, 1, 2))
    back = arranged(pixels.transpose(0, 3, 1, 2), (1, 6, 6, 3), "", True)
    assert back is not None
    assert np.array_equal(back.data[:, 0], pixels)
    assert arranged(pixels, (1, 3, 6, 7), "", False) is None
    assert arranged(pixels[0, 0, 0, 0], (1, 3, 6, 6), "", False) is None


class Builder:
    """A QDQ network: int8 everywhere, weights symmetric."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.random = np.random.default_rng(1)

    def constant(self, name: str, data: Any) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(data), name))
        return name

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=f"n{len(self.nodes)}", **attributes))
        return name

    def put(self, name: str, scale: float) -> str:
        grid = (self.constant(f"{name}_s", np.float32(scale)), self.constant(f"{name}_z", np.int8(0)))
        return self.node("DequantizeLinear", self.node("QuantizeLinear", name, *grid), *grid)

    def weights(self, *shape: int) -> str:
        name = f"w{len(self.constants)}"
        self.constant(name, self.random.integers(-127, 128, shape, dtype=np.int8))
        scale, zero = self.constant(f"{name}_s", np.float32(0.01)), self.constant(f"{name}_z", np.int8(0))
        return self.node("DequantizeLinear", name, scale, zero)

    def input(self, name: str, *shape: int) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return self.put(name, 0.02)

    def scores(self, data: str, features: int, classes: int = 6) -> str:
        flat = self.node("Flatten", data)
        return self.put(self.node("MatMul", self.put(flat, 0.05), self.weights(features, classes)), 0.1)

    def save(self, path: Path, output: str, shape: Sequence[int]) -> Path:
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)]
        graph = helper.make_graph(self.nodes, "net", self.inputs, outputs, self.constants)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        return path


def _conv(path: Path, shape: tuple[int, ...]) -> Path:
    build = Builder()
    convolved = build.node("Conv", build.input("x", *shape), build.weights(5, shape[1], *(3,) * (len(shape) - 2)))
    features = 5 * int(np.prod([extent - 2 for extent in shape[2:]]))
    return build.save(path, build.scores(build.put(convolved, 0.05), features), (shape[0], 6))


def _dense(path: Path, shape: tuple[int, ...]) -> Path:
    build = Builder()
    return build.save(path, build.scores(build.input("x", *shape), int(np.prod(shape[1:]))), (shape[0], 6))


def _channels_last(path: Path, shape: tuple[int, ...]) -> Path:
    """As converters from TensorFlow write it: the input is transposed first."""
    build = Builder()
    moved = build.node("Transpose", build.input("x", *shape), perm=[0, len(shape) - 1, *range(1, len(shape) - 1)])
    convolved = build.node("Conv", moved, build.weights(5, shape[-1], *(3,) * (len(shape) - 2)))
    features = 5 * int(np.prod([extent - 2 for extent in shape[1:-1]]))
    return build.save(path, build.scores(build.put(convolved, 0.05), features), (shape[0], 6))


NETWORKS = {
    "conv1d": (_conv, (1, 8, 12)), "square_conv1d": (_conv, (1, 8, 8)), "cube": (_conv, (1, 6, 6, 6)),
    "conv2d": (_conv, (1, 3, 5, 7)), "batch": (_conv, (2, 3, 5, 5)), "square_batch": (_conv, (4, 4, 4, 4)),
    "batch_of_lines": (_conv, (3, 3, 9)), "vector": (_dense, (1, 10)), "rank3": (_dense, (1, 4, 4)),
    "rank4": (_dense, (1, 4, 4, 4)), "rank5": (_dense, (1, 3, 3, 3, 3)), "last": (_channels_last, (1, 5, 5, 3)),
    "last_cube": (_channels_last, (1, 5, 5, 5)), "last_line": (_channels_last, (1, 6, 6)),
}  # fmt: skip


BUILT = ("conv1d", "cube", "batch_of_lines", "last_cube")
"""Networks that are also run as host libraries, which takes a compiler."""


def _session(model: Path) -> Any:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_all_places_see_the_data_that_onnxruntime_sees(name: str, tmp_path: Path) -> None:
    make, shape = NETWORKS[name]
    model = make(tmp_path / "net.onnx", shape)
    samples = np.random.default_rng(2).normal(0, 1, (12, *shape)).astype(np.float32)
    session = _session(model)
    scores = np.concatenate([session.run(None, {"x": sample})[0] for sample in samples])
    labels = scores.argmax(axis=1)
    labels[::4] = (labels[::4] + 1) % 6
    right = float(np.mean(labels == scores.argmax(axis=1)))
    rank, last = len(shape), name.startswith("last")
    forms: dict[str, np.ndarray] = {"own": samples}
    if shape[0] == 1:
        forms["without_batch"] = samples[:, 0]
    if rank > 2 and not last:
        forms["NHWC"] = _last(samples, rank)
    if last:
        forms["NCHW"] = samples.transpose([0, 1, samples.ndim - 1, *range(2, samples.ndim - 1)])
    np.savez(tmp_path / "data.npz", **forms, y=labels)
    component, places = tmp_path / "component", ["host"] if name in BUILT else []
    api.compile(model, component)
    for form in forms:
        inputs = {"x": (form, form if form in ("NHWC", "NCHW") else "")}
        found = evaluation.run(
            None, model, str(tmp_path / "data.npz"), component=component, places=places, inputs=inputs, threads=1
        )
        assert [row["place"] for row in found["rows"]] == ["onnxruntime", "numpy", *places]
        for row in found["rows"]:
            assert row["top1"] == pytest.approx(right), (form, row)
            assert row["samples"] == 12
        assert found["rows"][1]["error"] < 1e-3
        assert found["rows"][1]["error"] == found["rows"][-1]["error"]
        if not places:
            continue
        verified = api.verify(component, data=tmp_path / "data.npz", target="host", inputs=inputs)
        assert (verified["equal"], verified["accuracy"]["top1"]) == (True, pytest.approx(right))


def test_several_inputs_have_their_own_layouts(tmp_path: Path) -> None:
    build = Builder()
    first = build.node("Flatten", build.put(build.node("Relu", build.input("image", 1, 3, 3, 3)), 0.02))
    second = build.node("Flatten", build.put(build.node("Relu", build.input("line", 1, 4, 4)), 0.02))
    both = build.node("Concat", first, second, build.input("extra", 1, 5), axis=1)
    model = build.save(tmp_path / "net.onnx", build.scores(build.put(both, 0.02), 27 + 16 + 5), (1, 6))
    random = np.random.default_rng(3)
    image, line, extra = (random.normal(0, 1, (8, *shape)).astype(np.float32) for shape in ((3, 3, 3), (4, 4), (5,)))
    session = _session(model)
    labels = np.array([
        session.run(None, {"image": image[i : i + 1], "line": line[i : i + 1], "extra": extra[i : i + 1]})[0].argmax()
        for i in range(8)
    ])  # fmt: skip
    pixels = image.transpose(0, 2, 3, 1)
    np.savez(tmp_path / "data.npz", pixels=pixels, line=line.transpose(0, 2, 1), extra=extra, y=labels)
    inputs = {"image": ("pixels", "NHWC"), "line": ("line", "NHWC")}
    rows = evaluation.run(None, model, str(tmp_path / "data.npz"), places=["host"], inputs=inputs)["rows"]
    assert [row["top1"] for row in rows] == [1.0, 1.0, 1.0]
    with pytest.raises(EspgenError, match="no array for input 'image'"):
        load(str(tmp_path / "data.npz"), load_onnx(model))


def test_a_layout_of_what_has_none_is_refused(tmp_path: Path) -> None:
    graph = load_onnx(_dense(tmp_path / "net.onnx", (1, 10)))
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).normal(size=(4, 10)))
    with pytest.raises(EspgenError, match="has no layout NHWC") as caught:
        load(str(tmp_path / "data.npz"), graph, mapping={"x": ("x", "NHWC")})
    assert caught.value.hint == "leave :NHWC out"


def test_where_channels_are_last_is_read_from_the_model(tmp_path: Path) -> None:
    for make, shape, last in ((_channels_last, (1, 5, 5, 5), True), (_conv, (1, 5, 5, 5), False), (_dense, (1, 4, 4), False)):
        assert model_inputs(load_onnx(make(tmp_path / "net.onnx", shape)))["x"].channels_last is last
