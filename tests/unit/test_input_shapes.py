"""Inputs without a shape: the refusal's remedy works as it is typed."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import NodeProto

sys.path.append(str(Path(__file__).parent))
from onnx_models import model, node, qdq

from espgen import cli
from espgen.errors import EspgenError
from espgen.frontend import load_onnx

FIRST, PARAMETERS = qdq("pixels", 0.05, np.int8(3))
LAST, MORE = qdq("y", 0.4, np.int8(0), "real")
WEIGHTS = [node("DequantizeLinear", "w ws wz", "weights")]
NETWORKS: dict[str, tuple[list[NodeProto], tuple[int, ...]]] = {
    "convolution": ([node("Conv", "pixels_dq weights", "real")], (4, 5, 3, 3)),
    "grouped convolution": ([node("Conv", "pixels_dq weights", "real", group=2)], (4, 5, 3, 3)),
    "transposed convolution": ([node("ConvTranspose", "pixels_dq weights", "real")], (5, 2, 3, 3)),
    "matrix": ([node("MatMul", "pixels_dq weights", "real")], (7, 3)),
    "transposed matrix": ([node("Gemm", "pixels_dq weights", "real", transB=1)], (3, 7)),
    "behind a function": ([node("Relu", "pixels_dq", "r"), node("Conv", "r weights", "real")], (4, 5, 3, 3)),
    "no product": ([node("Relu", "pixels_dq", "real")], (1,)),
}


def ended(arguments: list[str]) -> int:
    """The exit code of `espgen ARGUMENTS`."""
    try:
        cli.main(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.parametrize("name", NETWORKS)
def test_the_remedy_works(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes, shape = NETWORKS[name]
    constants: dict[str, Any] = {"w": np.ones(shape, np.int8), "ws": np.float32(0.02), "wz": np.int8(0)}
    built = model([*FIRST, *WEIGHTS, *nodes, *LAST], {"pixels": [1]}, ["y_dq"], {**PARAMETERS, **MORE, **constants})
    built.graph.input[0].type.tensor_type.ClearField("shape")
    path = tmp_path / "net.onnx"
    path.write_bytes(built.SerializeToString())
    arguments = ["compile", str(path), "-o", str(tmp_path / "out")]
    assert ended(arguments) == 2
    told = capsys.readouterr().err
    option = re.search(r"--shape \S+", told)
    assert "'pixels' has no shape" in told and option is not None
    assert ended([*arguments, *option.group().split()]) == 0, capsys.readouterr().err


def shaped(**dims: list[int | str | None]) -> bytes:
    """A sum of inputs of these dimensions (0 stands for the -1 that some exporters write)."""
    nodes = [node("ReduceSum", name, f"{name}_s", keepdims=0) for name in dims]
    built = model([*nodes, node("Sum", " ".join(f"{name}_s" for name in dims), "y")], dims, ["y"])
    for item in built.graph.input:
        for dim in item.type.tensor_type.shape.dim:
            if dim.HasField("dim_value") and dim.dim_value == 0:
                dim.dim_value = -1
    return built.SerializeToString()


@pytest.mark.parametrize("dims", [["?", 3, "?", "?"], [0, 3, 0, 0], [None, 3, None, None], [0, 3, "?", "?"], ["n", 3, "n", "m"]])
def test_whole_shapes_of_dimensions_without_names(dims: list[int | str | None]) -> None:
    data = shaped(x=dims)
    assert load_onnx(data, shapes={"x": (1, 3, 48, 192)}).value("x").shape == (1, 3, 48, 192)
    with pytest.raises(EspgenError, match="is symbolic") as error:
        load_onnx(data)
    option = re.search(r"--shape x=([\d,]+)", error.value.hint or "")
    assert option is not None
    given = tuple(int(extent) for extent in option[1].split(","))
    assert load_onnx(data, shapes={"x": given}).value("x").shape == given == (1, 3, 32, 32)


def test_a_whole_shape_names_its_dimensions_for_other_inputs() -> None:
    data = shaped(x=["batch", "length"], state=[2, "batch", 8], mask=["length", 4])
    graph = load_onnx(data, shapes={"x": (1, 512)})
    assert [graph.value(name).shape for name in ("x", "state", "mask")] == [(1, 512), (2, 1, 8), (512, 4)]
