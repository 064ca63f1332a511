"""--const: inputs that are made constants, by their names; --external-data: weights beside the model."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper

sys.path.append(str(Path(__file__).parent))
from onnx_models import model, node, qdq

from espgen import cli
from espgen.errors import EspgenError
from espgen.frontend import load_onnx
from espgen.frontend.one_file import in_one_file


def with_branches() -> ModelProto:
    """y = relu(x) at 16000 Hz, -x at any other sample rate."""
    branches = {}
    for name, op in (("then", "Relu"), ("else", "Neg")):
        (output,) = model([], {}, [f"y_{name}"]).graph.output
        branches[f"{name}_branch"] = helper.make_graph([node(op, "x", output.name)], name, [], [output])
    nodes = [node("Equal", "sr rate", "same"), node("If", "same", "y", **branches)]
    return model(nodes, {"x": [1, 4], "sr": []}, ["y"], {"rate": np.int64(16000)}, types={"sr": "int64"})


@pytest.mark.parametrize(("rate", "op"), [(16000, "Relu"), (8000, "Neg")])
def test_branches_of_a_constant_input(rate: int, op: str) -> None:
    graph = load_onnx(with_branches().SerializeToString(), constants={"sr": [rate]})
    assert graph.inputs == ("x",) and [item.op for item in graph.nodes] == [op]


def ended(arguments: list[str]) -> int:
    try:
        cli.main(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_the_remedy_names_the_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(with_branches().SerializeToString())
    assert ended(["inspect", str(path)]) == 2
    option = re.search(r"--const \S+=", capsys.readouterr().err)
    assert option is not None and option.group() == "--const sr="
    assert ended(["inspect", str(path), *f"{option.group()}16000".split()]) == 0
    assert "Relu" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("constants", "problem"),
    [
        ({"rate": [1]}, "no input is called 'rate'"),
        ({"sr": [1, 2]}, "2 numbers for input 'sr'"),
        ({"sr": [1.5]}, "1.5 is no int64"),
    ],
)
def test_constants_that_do_not_fit(constants: dict[str, list[float | int]], problem: str) -> None:
    with pytest.raises(EspgenError, match=problem) as error:
        load_onnx(with_branches().SerializeToString(), constants=constants)
    assert error.value.hint and error.value.place


@pytest.mark.parametrize("text", ["sr", "sr=", "=1", "sr=a", "sr=1,"])
def test_constants_that_are_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"")
    assert ended(["inspect", str(tmp_path / "net.onnx"), "--const", text]) == 2


def test_whole_arrays_and_one_number_for_all() -> None:
    data = model([node("Add", "x z", "y")], {"x": [1, 3], "z": [1, 3]}, ["y"]).SerializeToString()
    assert load_onnx(data, constants={"z": [1, 2.5, 3]}).constants["z"].tolist() == [[1.0, 2.5, 3.0]]
    assert load_onnx(data, constants={"z": [7]}).constants["z"].tolist() == [[7.0, 7.0, 7.0]]


def external(folder: Path) -> Path:
    """A quantized convolution whose weights lie in a file beside it."""
    first, parameters = qdq("x", 0.05, np.int8(3))
    last, more = qdq("y", 0.4, np.int8(0), "real")
    nodes = [*first, node("DequantizeLinear", "w ws wz", "w_dq"), node("Conv", "x_dq w_dq", "real"), *last]
    weights = {"w": np.ones((4, 3, 3, 3), np.int8), "ws": np.float32(0.02), "wz": np.int8(0)}
    built = model(nodes, {"x": [1, 3, 5, 5]}, ["y_dq"], {**parameters, **more, **weights})
    path = folder / "net.onnx"
    onnx.save(built, str(path), save_as_external_data=True, location="net.data", size_threshold=0)
    return path


def test_external_data_is_an_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = external(tmp_path)
    arguments = ["compile", str(path), "-o", str(tmp_path / "out")]
    assert ended(arguments) == 2
    option = re.search(r"--external-data", capsys.readouterr().err)
    assert option is not None
    assert ended([*arguments, option.group()]) == 0


def test_external_data_is_no_link(tmp_path: Path) -> None:
    path = external(tmp_path)
    (tmp_path / "net.data").rename(tmp_path / "real.data")
    (tmp_path / "net.data").symlink_to("real.data")
    with pytest.raises(EspgenError, match="regular file") as error:
        load_onnx(path, allow_external_data=True)
    assert error.value.hint == "put the data file next to the model (the file itself, no link)"


def test_one_file_for_onnxruntime(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    whole = in_one_file(external(tmp_path), {}, {})
    (tmp_path / "net.data").unlink()
    feeds = {"x": np.ones((1, 3, 5, 5), np.float32)}
    assert runtime.InferenceSession(whole, providers=["CPUExecutionProvider"]).run(None, feeds)[0].shape == (1, 4, 3, 3)
    path = tmp_path / "branches.onnx"
    path.write_bytes(with_branches().SerializeToString())
    session = runtime.InferenceSession(in_one_file(path, {}, {"sr": [8000]}), providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.float32([[1, 2, 3, 4]])})[0].tolist() == [[-1.0, -2.0, -3.0, -4.0]]
