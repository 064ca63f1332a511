"""What users get wrong: every case ends in one message and exit code 2 or 3, with nothing written; odd but right input works."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from espgen import cli
from espgen.frontend import load_onnx
from espgen.passes.pipeline import lower_to_integer
from espgen.quantize.exporter import float_model
from tests.unit.quantize_nets import HARD, images

X = images(24)
INPUT, OUTPUT = (1, 3, 16, 16), (1, 4, 16, 16)
RANDOM = np.random.default_rng(0)
WEIGHTS = RANDOM.normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32)


def _value(name: str, shape: tuple[Any, ...], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(shape))


def _conv(source: str, target: str, name: str = "conv", weights: str = "w") -> onnx.NodeProto:
    return helper.make_node("Conv", [source, weights], [target], name=name, pads=[1, 1, 1, 1])


def _model(
    nodes: list[onnx.NodeProto], inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto], **constants: np.ndarray
) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(data, name) for name, data in {"w": WEIGHTS, **constants}.items()]
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(nodes, "net", inputs, outputs, [tensor for tensor in tensors if tensor.name in used])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _one(*nodes: onnx.NodeProto, shape: tuple[Any, ...] = INPUT, out: tuple[Any, ...] = OUTPUT, **constants: np.ndarray) -> Any:
    return _model(list(nodes), [_value("x", shape)], [_value("y", out)], **constants)


def _with_nan() -> np.ndarray:
    broken = WEIGHTS.copy()
    broken[0, 0, 0, 0] = np.nan
    return broken


MODELS: dict[str, Any] = {
    "plain": lambda: _one(_conv("x", "y")),
    "two_inputs": lambda: _model(
        [_conv("a", "p", "first"), _conv("b", "q", "second"), helper.make_node("Add", ["p", "q"], ["y"], name="sum")],
        [_value("a", INPUT), _value("b", INPUT)], [_value("y", OUTPUT)],
    ),
    "two_outputs": lambda: _model(
        [_conv("x", "p"), helper.make_node("Relu", ["p"], ["y"], name="relu")],
        [_value("x", INPUT)], [_value("p", OUTPUT), _value("y", OUTPUT)],
    ),
    "dynamic_batch": lambda: _one(_conv("x", "y"), shape=("N", 3, 16, 16), out=("N", 4, 16, 16)),
    "dynamic_size": lambda: _one(_conv("x", "y"), shape=("N", 3, "H", "W"), out=("N", 4, "H", "W")),
    "batch_of_eight": lambda: _one(_conv("x", "y"), shape=(8, 3, 16, 16), out=(8, 4, 16, 16)),
    "no_product": lambda: _one(helper.make_node("Relu", ["x"], ["y"], name="relu"), out=INPUT),
    "product_of_two_inputs": lambda: _model(
        [helper.make_node("MatMul", ["a", "b"], ["y"], name="product")],
        [_value("a", (1, 4, 8)), _value("b", (1, 8, 4))], [_value("y", (1, 4, 4))],
    ),
    "integer_output": lambda: _model(
        [_conv("x", "h"), helper.make_node("ArgMax", ["h"], ["y"], name="best", axis=1)],
        [_value("x", INPUT)], [_value("y", (1, 1, *OUTPUT[2:]), TensorProto.INT64)],
        w=RANDOM.normal(0, 1, (OUTPUT[1], INPUT[1], 3, 3)).astype(np.float32),
    ),
    "unsupported": lambda: _one(_conv("x", "p"), helper.make_node("Det", ["p"], ["y"], name="det"), out=(1, 4)),
    "custom": lambda: _one(helper.make_node("Mine", ["x"], ["y"], name="mine", domain="com.me"), out=INPUT),
    "nan_weights": lambda: _one(_conv("x", "y"), w=_with_nan()),
    "zero_weights": lambda: _one(_conv("x", "y"), w=np.zeros_like(WEIGHTS)),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.onnx").write_bytes(float_model(HARD["loud_logits"]()))
    np.savez(tmp_path / "data.npz", input=X, y=np.arange(24) % 8)
    np.savez(tmp_path / "x.npz", x=X)
    yield tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(argument) for argument in arguments])
    return int(stopped.value.code or 0), capsys.readouterr().err


def refused(capsys: pytest.CaptureFixture[str], folder: Path, message: str, *arguments: object, code: int = 2) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    status, told = run(capsys, *arguments)
    assert (status, "Traceback" in told) == (code, False), told
    assert message in told
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*") if "__pycache__" not in path.parts}


def quantize(model: str, data: str, *more: object) -> tuple[object, ...]:
    return ("quantize", model, "--data", data, "-o", "out/q.onnx", "--recipe", "minmax", *more)


LABELS = {
    "length": (np.zeros(5, int), "5 labels for 24 samples"),
    "one_hot": (np.eye(8)[np.arange(24) % 8], "one class index per sample"),
    "fractions": (np.full(24, 0.5), "labels are class indices"),
    "words": (np.array(["cat"] * 24), "labels are class indices"),
    "too_large": (np.arange(24), "none of the model's 8 classes"),
    "negative": (np.arange(24) - 1, "label -1 is none"),
}


@pytest.mark.parametrize("case", sorted(LABELS))
def test_wrong_labels(case: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels, message = LABELS[case]
    np.savez(folder / "bad.npz", input=X, y=labels)
    refused(capsys, folder, message, *quantize("net.onnx", "bad.npz", "--max-drop", 1))
    refused(capsys, folder, message, "evaluate", "--float", "net.onnx", "--data", "bad.npz")


@pytest.mark.parametrize("case", ["fractions", "words", "too_large", "negative"])
def test_targets_that_are_no_classes_do_not_hinder_calibration(
    case: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(folder / "targets.npz", input=X, y=LABELS[case][0])
    status, told = run(capsys, *quantize("net.onnx", "targets.npz"))
    assert status == 0, told


DATA = {
    "shape": (X[:, :, :, :8], "the model wants"),
    "nan": (np.where(np.arange(24)[:, None, None, None] == 3, np.nan, X), "sample 3"),
    "empty": (X[:0], "no samples"),
    "constant": (np.zeros_like(X), "every value of the data is 0"),
    "complex": (X.astype(np.complex64), "type complex64"),
    "truth": (X > 0, "type bool"),
}


@pytest.mark.parametrize("case", sorted(DATA))
@pytest.mark.parametrize("verb", ["quantize", "quantize-fallback", "evaluate"])
def test_wrong_data(verb: str, case: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    array, message = DATA[case]
    np.savez(folder / "bad.npz", input=array, y=np.zeros(len(array), int))
    commands: dict[str, tuple[object, ...]] = {
        "quantize": quantize("net.onnx", "bad.npz"),
        "quantize-fallback": ("quantize-fallback", "net.onnx", "--data", "bad.npz", "-o", "out", "--max-drop", 1),
        "evaluate": ("evaluate", "--float", "net.onnx", "--data", "bad.npz"),
    }
    refused(capsys, folder, message, *commands[verb])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing.npz", "there is no such file"),
        ("net.onnx", "can't read the data"),
        (".", "no images"),
        ("no_such_module:load", "No module named"),
        ("os:sep", "is no function"),
        ("broken_data:load", "broken_data:load fails: ZeroDivisionError"),
        ("broken_data:nothing", "has no attribute"),
    ],
)
def test_sources_that_give_no_data(source: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "broken_data.py").write_text("def load():\n    return 1 / 0\n")
    refused(capsys, folder, message, *quantize("net.onnx", source))


NETWORKS = [
    ("dynamic_size", "x", "--shape H=N"),
    ("batch_of_eight", "x", "8 entries, not one sample"),
    ("integer_output", "x", "int64, not float32"),
    ("unsupported", "x", "operator Det is not supported"),
    ("custom", "x", "of domain 'com.me' is unknown"),
    ("nan_weights", "x", "not finite"),
    ("two_inputs", "x", "no array for input 'a'"),
]


@pytest.mark.parametrize(("name", "data", "message"), NETWORKS, ids=[name for name, *_ in NETWORKS])
def test_networks_that_cannot_be_quantized(
    name: str, data: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(MODELS[name](), folder / "model.onnx")
    np.savez(folder / "x.npz", x=X)
    refused(capsys, folder, message, *quantize("model.onnx", f"{data}.npz"))


WORKS = ["plain", "two_inputs", "two_outputs", "dynamic_batch", "no_product", "product_of_two_inputs", "zero_weights"]


@pytest.mark.parametrize("name", WORKS)
@pytest.mark.parametrize("scheme", ["shift", "affine"])
def test_odd_networks_work(name: str, scheme: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(MODELS[name](), folder / "model.onnx")
    arrays = {"x": X, "a": X, "b": X[::-1]}
    if name == "product_of_two_inputs":
        arrays = {"a": RANDOM.normal(0, 1, (9, 4, 8)), "b": RANDOM.normal(0, 1, (9, 8, 4))}
    np.savez(folder / "x.npz", **arrays)
    status, told = run(capsys, *quantize("model.onnx", "x.npz", "--scheme", scheme, "--report", "out/page.html"))
    assert status == 0, told
    assert lower_to_integer(load_onnx(folder / "out" / "q.onnx")).outputs
    status, told = run(capsys, "evaluate", "--float", "model.onnx", "--quantized", "out/q.onnx", "--data", "x.npz")
    assert status == 0, told


def test_weights_in_a_file_beside_the_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    external = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    onnx.save_model(MODELS["plain"](), str(folder / "model.onnx"), **external)
    assert run(capsys, *quantize("model.onnx", "x.npz"))[0] == 0
    status, told = run(capsys, "evaluate", "--float", "model.onnx", "--quantized", "out/q.onnx", "--data", "x.npz")
    assert status == 0, told
    (folder / "weights.bin").unlink()
    refused(capsys, folder, "put the data file next to the model", *quantize("model.onnx", "x.npz"))


def test_a_quantized_model_is_not_quantized_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, *quantize("net.onnx", "data.npz"))[0] == 0
    os.rename("out/q.onnx", "q.onnx")
    for path in (folder / "out").iterdir():
        path.unlink()
    refused(capsys, folder, "espgen convert", *quantize("q.onnx", "data.npz"))
    refused(capsys, folder, "espgen quantize", "convert", "net.onnx", "--data", "data.npz", "-o", "out/c.onnx")


def test_models_of_different_networks_are_not_compared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(MODELS["plain"](), folder / "other.onnx")
    assert run(capsys, *quantize("other.onnx", "x.npz"))[0] == 0
    compare = ("evaluate", "--float", "net.onnx", "--quantized", "out/q.onnx", "--data", "data.npz")
    refused(capsys, folder, "the models have different inputs", *compare)
    smaller = _one(helper.make_node("Relu", ["x"], ["y"], name="relu"), out=INPUT)
    onnx.save(smaller, folder / "smaller.onnx")
    compare = ("evaluate", "--float", "smaller.onnx", "--quantized", "out/q.onnx", "--data", "x.npz")
    refused(capsys, folder, "values per sample, the first model 768", *compare)


@pytest.mark.parametrize("content", [b"", b"no model at all", None], ids=["empty", "text", "cut_off"])
def test_files_that_are_no_models(content: bytes | None, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = (folder / "net.onnx").read_bytes()
    (folder / "bad.onnx").write_bytes(stored[: len(stored) // 2] if content is None else content)
    refused(capsys, folder, "error: ", *quantize("bad.onnx", "data.npz"))
    refused(capsys, folder, "bad.onnx", "evaluate", "--float", "net.onnx", "--quantized", "bad.onnx", "--data", "data.npz")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--mean", "1,2"], "2 numbers for 3 channels"),
        (["--std", "0"], "divided by 0"),
        (["--resize", "20"], "only images from a folder"),
        (["--fuse-pair", "conv9", "bn9"], "no node is called 'conv9'"),
        (["--int16", "conv9"], "no layer is called 'conv9'"),
        (["--skip", "re:["], "no regular expression"),
        (["--equalize", "3"], "from 0 to 1"),
        (["--shape", "H=3"], "no input or dimension is called 'H'"),
        (["--report", "out/q.onnx"], "two outputs have the same name"),
        (["--record", "net.onnx/r.json"], "a file is in the way"),
        (["--amct-record", "."], "is a directory"),
    ],
)  # fmt: skip
def test_wrong_options(options: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, folder, message, *quantize("net.onnx", "data.npz", *options))


def test_a_record_does_not_overwrite_the_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, folder, "two outputs", "quantize", "net.onnx", "--data", "data.npz", "-o", "out/model.json")


def test_folders_that_cannot_be_written(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("espgen.quantize.checks.os.access", lambda path, mode: not mode & os.W_OK)
    refused(capsys, folder, "no permission", *quantize("net.onnx", "data.npz"), code=3)
    fallback = ("quantize-fallback", "net.onnx", "--data", "data.npz", "-o", "out", "--max-drop", 1)
    refused(capsys, folder, "no permission", *fallback, code=3)
    monkeypatch.undo()

    def full(source: object, target: object) -> None:
        raise OSError(28, "disk full")

    monkeypatch.setattr("espgen.quantize.output.os.replace", full)
    assert run(capsys, "quantize", folder / "net.onnx", "--data", folder / "data.npz", "-o", folder / "q.onnx")[0] == 3
    assert sorted(path.name for path in folder.iterdir()) == ["data.npz", "net.onnx", "x.npz"]


def test_targets_out_of_reach(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = np.load(folder / "data.npz")
    wrong = {"input": scores["input"], "y": scores["y"]}
    np.savez(folder / "data.npz", **wrong)
    (folder / "strict.py").write_text(
        "def evaluate(outputs):\n    return 0.5\ndef metric_eval(original, new):\n    return False, 1.0\n"
        "class Judge:\n    evaluate = staticmethod(evaluate)\n    metric_eval = staticmethod(metric_eval)\n"
    )
    common = ("quantize-fallback", "net.onnx", "--data", "data.npz", "-o", "out", "--correction", "none", "--rounding", "nearest")
    refused(capsys, folder, "only the unquantized model", *common, "--evaluator", "strict:Judge", code=1)
    refused(capsys, folder, "has no evaluate()", *common, "--evaluator", "os:path")


def test_an_evaluator_of_ones_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "judges.py").write_text(
        "class Judge:\n    def evaluate(self, outputs):\n        return float(next(iter(outputs.values())).max())\n"
        "    def metric_eval(self, original, new):\n        return abs(original - new) < 0.5, abs(original - new)\n"
    )
    np.savez(folder / "data.npz", input=X)
    common = ("quantize-fallback", "net.onnx", "--data", "data.npz", "-o", "out", "--correction", "none", "--rounding", "nearest")
    status, told = run(capsys, *common, "--evaluator", "judges:Judge")
    assert status == 0, told
    assert (folder / "out" / "results" / "net_deploy_model.onnx").is_file()


def test_one_sample_is_enough_to_start(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(folder / "one.npy", X[:1])
    status, told = run(capsys, "quantize", "net.onnx", "--data", "one.npy", "-o", "q.onnx", "--rounding", "nearest")
    assert status == 0, told
    refused(capsys, folder, "at least four samples", *quantize("net.onnx", "one.npy", "--recipe", "auto"))


def test_images_without_a_list_calibrate(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = pytest.importorskip("PIL.Image", reason="needs the extra quantize")
    (folder / "pictures").mkdir()
    for index, picture in enumerate((X[:3].transpose(0, 2, 3, 1) * 100 + 128).astype(np.uint8)):
        image.fromarray(picture).save(folder / "pictures" / f"{index}.png")
    assert run(capsys, *quantize("net.onnx", "pictures", "--divisor", "255"))[0] == 0
    (folder / "pictures" / "3.png").write_bytes(b"no picture")
    refused(capsys, folder, "3.png", *quantize("net.onnx", "pictures"))
