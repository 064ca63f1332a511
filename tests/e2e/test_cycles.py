"""Cycles of layers, measured: in the simulator, and on a "board" whose idf.py builds for the simulator."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import espgen
from espgen.codegen.build import Options
from espgen.cycles import Measurement, by_node
from espgen.errors import ENVIRONMENT, EspgenError
from espgen.frontend import load_onnx
from espgen.ir import DType, Graph, Node, Value
from espgen.quantize.commands import QuantizeOptions, latency_fallback, quantize
from espgen.quantize.exporter import float_model, qdq_bytes
from espgen.quantize.pipeline import run_float
from espgen.quantize.recipes import run_recipe
from espgen.quantize.settings import Settings
from espgen.target.chips import CHIPS
from espgen.verify.build import RAM_FULL
from espgen.verify.simulator import Simulator
from espgen.verify.toolchain import build_firmware
from tests.unit.quantize_nets import HARD, Net, images

POOR = QuantizeOptions(scheme="esp-dl", observer="minmax", equalize="off", correction="none", rounding="nearest", threads=1)


def _files(tmp_path: Path, net: str) -> tuple[Path, str]:
    graph = HARD[net]()
    x = images(48)
    model, data = tmp_path / "net.onnx", tmp_path / "data.npz"
    model.write_bytes(float_model(graph))
    np.savez(data, x=x, y=run_float(graph, {"input": x})[graph.outputs[0]].argmax(axis=1))
    return model, str(data)


def test_mixed_precision_by_cycles_of_the_simulator(tmp_path: Path) -> None:
    model, data = _files(tmp_path, "outlier_channels")
    options = QuantizeOptions(**{**vars(POOR), "max_drop": 25.0, "layerwise": False})
    result = quantize(model, data, tmp_path / "mixed.onnx", options, measure=Measurement(), insist=True)
    told = result["max_drop"]
    assert told["weighed_by"] == "cycles (simulator)"
    assert told["int8"] < 0.75 <= told["saved"]
    assert told["cycles"]["int8"] < told["cycles"]["saved"] <= told["cycles"]["int16"]
    measured = Measurement()((tmp_path / "mixed.onnx").read_bytes())
    assert sum(measured.values()) == pytest.approx(told["cycles"]["saved"], rel=0.02)
    nodes = {node.name for node in load_onnx(tmp_path / "mixed.onnx").nodes}
    assert set(measured) <= nodes


def test_latency_fallback_in_the_simulator(tmp_path: Path) -> None:
    model, data = _files(tmp_path, "loud_logits")
    options = QuantizeOptions(correction="float", threads=1)
    result = latency_fallback(model, data, tmp_path / "out", options, measure=Measurement(), place="simulator")
    slower = {layer["name"] for layer in result["layers"] if layer["int8"] >= layer["int16"] > 0.0}
    assert set(result["rolled_back"]) <= slower
    assert result["cycles"]["saved"] <= result["cycles"]["int8"]
    assert {layer["name"] for layer in result["layers"]} >= {"Conv_0", "Conv_2", "GlobalAveragePool_4", "Gemm_6"}
    stored = (tmp_path / "out" / "results" / "net_deploy_model.onnx").read_bytes()
    # Softmax skips what rounds to 0: its cycles depend on the values, which the measured stand-in does not share.
    measured = {name: cycles for name, cycles in Measurement()(stored).items() if name != "Softmax_7"}
    width = {layer["name"]: "int16" if layer["name"] in result["rolled_back"] else "int8" for layer in result["layers"]}
    told = sum(layer[width[layer["name"]]] for layer in result["layers"] if layer["name"] != "Softmax_7")
    assert sum(measured.values()) == pytest.approx(told, rel=0.02)


def test_layers_between_nodes_belong_to_their_reader() -> None:
    nodes = (
        Node("conv", "conv2d", ("x",), ("a",)),
        Node("a.16bit.q", "add", ("a",), ("b",)),
        Node("b_turned", "transpose", ("b",), ("c",)),
        Node("fc", "fully_connected", ("c",), ("d",)),
        Node("fc_squash", "table", ("d",), ("e",)),
        Node("e_unsigned", "flip_sign", ("e",), ("f",)),
    )
    values = {name: Value(name, (1, 4), DType.INT8) for name in "xabcdef"}
    graph = Graph("net", ("x",), ("f",), nodes, values, {})
    cycles = {"conv": 1.0, "a.16bit.q": 2.0, "b_turned": 4.0, "fc": 8.0, "fc_squash": 16.0, "e_unsigned": 32.0}
    assert by_node(cycles, graph, ["conv", "fc"]) == {"conv": 1.0, "fc": 30.0, "e_unsigned": 32.0}


IDF = """#!{python}
import json, sys
from pathlib import Path
arguments = sys.argv[1:]
Path({log!r}).write_text(json.dumps(arguments))
project = Path(arguments[arguments.index("-C") + 1])
if not (project / "CMakeLists.txt").is_file():
    sys.exit("no project")

print("compiled and flashed")
sys.exit({code})
"""


def _idf(folder: Path, monkeypatch: pytest.MonkeyPatch, code: int = 0) -> Path:
    """An idf.py that writes down what it was asked."""
    log = folder / "asked.json"
    program = folder / "bin" / "idf.py"
    program.parent.mkdir()
    program.write_text(IDF.format(python=sys.executable, log=str(log), code=code))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return log


def test_a_board_is_flashed_and_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = _files(tmp_path, "loud_logits")
    quantized = tmp_path / "q.onnx"
    quantize(model, data, quantized, QuantizeOptions(**{**vars(POOR), "layerwise": False}))
    log = _idf(tmp_path, monkeypatch)
    espgen.compile(quantized, tmp_path / "same" / "measured")
    with Simulator(build_firmware(tmp_path / "same" / "measured")) as board:
        cycles = Measurement(board.port)(quantized.read_bytes())
        asked = json.loads(log.read_text())
        assert asked[-4:] == ["-p", board.port, "build", "flash"]
    assert set(cycles) >= {"Conv_0", "Conv_2", "GlobalAveragePool_4", "Gemm_6", "Softmax_7"}
    assert min(cycles.values()) > 0.0


def test_what_is_missing_for_a_board_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = _files(tmp_path, "loud_logits")
    quantized = tmp_path / "q.onnx"
    quantize(model, data, quantized, QuantizeOptions(**{**vars(POOR), "layerwise": False}))
    monkeypatch.setattr("espgen.cycles.shutil.which", lambda name: None)
    with pytest.raises(EspgenError, match=r"idf\.py") as raised:
        Measurement("/dev/nowhere")(quantized.read_bytes())
    assert raised.value.exit_code == ENVIRONMENT
    monkeypatch.undo()
    _idf(tmp_path, monkeypatch, code=3)
    with pytest.raises(EspgenError, match=r"(?s)idf\.py fails.*compiled and flashed"):
        Measurement("/dev/nowhere")(quantized.read_bytes())


def test_the_command_line_measures_and_writes(tmp_path: Path) -> None:
    model, data = _files(tmp_path, "loud_logits")
    command = [sys.executable, "-m", "espgen", "quantize-fallback", str(model), "--data", data, "--by", "latency"]
    command += ["-o", str(tmp_path / "out"), "--recipe", "minmax", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["measured"] == "simulator, esp32p4-v3 (revision 3.1 and later, 400 MHz)"
    assert Path(result["deploy"]).is_file()


def test_what_does_not_fit_the_chip_is_said_with_a_remedy_that_works(tmp_path: Path) -> None:
    net = Net((1, 3, 160, 160))
    net.conv(24)
    net.relu()
    net.conv(4)
    x = images(2, (3, 160, 160))
    model = qdq_bytes(run_recipe("minmax", net.graph(), {"input": x}, Settings()).model)
    (tmp_path / "net.onnx").write_bytes(model)
    with pytest.raises(EspgenError, match=r"113,616 \+ 262,144 bytes of internal RAM .* 1,048,576 were asked for"):
        espgen.compile(tmp_path / "net.onnx", tmp_path / "net", options=Options(internal_bytes=1 << 20))
    # A portable component is planned for what its user says, which this chip does not have.
    anywhere = Options(chip=CHIPS["portable"], internal_bytes=1 << 20, schedule="layers")
    espgen.compile(tmp_path / "net.onnx", tmp_path / "net", options=anywhere)
    with pytest.raises(EspgenError, match=RAM_FULL) as raised:
        build_firmware(tmp_path / "net")
    assert "--chip" in str(raised.value.hint)
    # The remedy: planned for the chip, the same network links and runs.
    assert sum(Measurement()(model).values()) > 0.0
