"""`inspect` says whether a model can be quantized or compiled, names every node in the way, and what to type next."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))
from onnx_models import model, node, qdq

from espgen import api, cli

WEIGHTS = {"w": np.random.default_rng(2).normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32)}
IDLE = [node("Conv", "x w", "a"), node("Identity", "a", "b"), node("Cast", "b", "c", to=1), node("Dropout", "c", "y")]


def stored(folder: Path, *args: object, **kwargs: object) -> Path:
    path = folder / "my net.onnx"
    path.write_bytes(model(*args, **kwargs).SerializeToString())  # type: ignore[arg-type]
    return path


def ended(arguments: list[str]) -> int:
    try:
        cli.main(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def following(told: str) -> list[str]:
    """The command that the last line of a command's output names."""
    last = told.rstrip().splitlines()[-1]
    assert last.startswith("next: espgen ")
    return shlex.split(last.removeprefix("next: espgen "))


def test_every_command_names_the_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = stored(tmp_path, IDLE, {"x": [1, 3, 6, 6]}, ["y"], WEIGHTS)
    np.savez(tmp_path / "calibration.npz", x=np.random.default_rng(1).normal(0, 1, (4, 3, 6, 6)).astype(np.float32))
    assert ended(["inspect", str(path)]) == 0
    told = capsys.readouterr().out
    assert "float: can be quantized, then compiled" in told and "unsupported" not in told
    assert ended([*following(told), "--recipe", "minmax"]) == 0  # the command as it was printed
    assert ended(following(capsys.readouterr().out)) == 0
    assert following(capsys.readouterr().out)[0] == "verify"
    assert ended(["inspect", "my net_int8.onnx"]) == 0
    told = capsys.readouterr().out
    assert "quantized: can be compiled" in told and following(told)[0] == "compile"


def test_every_node_in_the_way_of_a_float_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [
        node("Det", "x", "d"), node("Det", "x", "e"), node("Add", "d e", "f"),
        node("Cast", "f", "g", to=3), node("Cast", "g", "y", to=1),
    ]  # fmt: skip
    path = stored(tmp_path, nodes, {"x": [1, 4, 4]}, ["y"])
    result = api.inspect(path)
    assert [entry["node"] for entry in result["unsupported"]] == ["Det_d", "Det_e", "Cast_g", "Cast_y"]
    assert result["next"] == "" and {entry["op"]: entry["supported"] for entry in result["operators"]}["Add"]
    assert ended(["inspect", str(path)]) == 0
    told = capsys.readouterr().out
    assert told.count("\nunsupported: ") == 4 and "next:" not in told


def test_float_layers_between_quantized_ones(tmp_path: Path) -> None:
    first, parameters = qdq("x", 0.05, np.int8(3))
    last, more = qdq("y", 0.4, np.int8(0), "real")
    path = stored(tmp_path, [*first, node("Conv", "x_dq w", "real"), *last], {"x": [1, 3, 6, 6]}, ["y_dq"],
                  {**parameters, **more, **WEIGHTS})  # fmt: skip
    result = api.inspect(path)
    (entry,) = result["unsupported"]
    assert result["quantized"] and "espgen convert" in entry["reason"] and "--data" in entry["reason"]


def test_an_input_that_nobody_quantized(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """compile names `espgen convert --data`, which makes a model that compiles."""
    monkeypatch.chdir(tmp_path)
    last, parameters = qdq("y", 0.4, np.int8(0), "real")
    nodes = [node("DequantizeLinear", "w ws wz", "w_dq"), node("Conv", "x w_dq", "real"), *last]
    weights = {"w": np.ones((4, 3, 3, 3), np.int8), "ws": np.float32(0.02), "wz": np.int8(0)}
    stored(tmp_path, nodes, {"x": [1, 3, 6, 6]}, ["y_dq"], {**parameters, **weights})
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(1).normal(0, 1, (4, 3, 6, 6)).astype(np.float32))
    assert ended(["compile", "my net.onnx", "-o", "out"]) == 2
    assert "espgen convert --data" in capsys.readouterr().err
    assert ended(["convert", "my net.onnx", "--data", "data.npz", "-o", "whole.onnx"]) == 0
    assert ended(following(capsys.readouterr().out)) == 0
