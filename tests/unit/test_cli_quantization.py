"""`espgen quantize` and `espgen evaluate`: what is parsed reaches the quantizer, and what it returns is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from espgen import cli, evaluation
from espgen.cli.options import bar
from espgen.cycles import Measurement
from espgen.data.images import Preprocess
from espgen.errors import EspgenError
from espgen.quantize import commands
from espgen.quantize.commands import QuantizeOptions
from espgen.report import text
from espgen.resources import models_dir

QUANTIZED = {
    "model": "q.onnx", "record": "q.json", "scheme": "shift", "recipe": "default", "samples": 8, "seconds": 1.25,
    "fidelity": {"error": 0.0123, "agreement": 0.75, "accuracy": 0.5, "float_accuracy": 0.625,
                 "samples": 2, "labelled": 8},
    "reasons": ["because"], "trials": [], "int16": ["head"], "analysis": {}, "tables": "Graphwise error\n",
}  # fmt: skip
ROWS = [
    {"model": "float", "place": "onnxruntime", "samples": 8, "top1": 0.5, "top5": 1.0, "agreement": None, "error": None},
    {"model": "component", "place": "sim", "samples": 8, "top1": None, "top5": None, "agreement": 1.0, "error": 0.001},
]


FALLBACK = {
    "original": 0.9, "global_quantized": 0.8, "saved": 0.89, "rolled_back": ["stem"], "ranking": [], "history": [{}, {}],
    "fake_quant": "out/fake.onnx", "deploy": "out/deploy.onnx", "log": ["Accuracy of saved model is 0.890000"],
}  # fmt: skip
LATENCY = {
    "measured": "simulator", "cycles": {"int8": 30.0, "int16": 60.0, "saved": 29.0}, "rolled_back": ["head"], "history": [],
    "layers": [
        {"name": "stem", "int8": 20.0, "int16": 50.0, "rolled_back": False},
        {"name": "head", "int8": 10.0, "int16": 9.0, "rolled_back": True},
    ],
    "fake_quant": "out/fake.onnx", "deploy": "out/deploy.onnx", "log": ["Cycles of saved model are 29"],
    "fidelity": {"error": 0.0123, "agreement": 0.75, "samples": 2, "labelled": 0},
    "prediction": {"original": {"class": 3, "probability": 0.75}, "quantized": {"class": 3, "probability": 0.7}},
}  # fmt: skip
IN_SIMULATOR = "simulator, esp32p4-v3 (revision 3.1 and later, 400 MHz)"
"""Where cycles are counted without a board: the chip that a component for both is measured on."""
CONVERTED = {
    "model": "c.onnx", "record": "c.json", "scheme": "shift", "layers": 7, "notes": [], "probability_gap": 0.01,
    "fidelity": {"error": 0.001, "agreement": 1.0},
}  # fmt: skip


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    seen: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def stand_in(result: dict[str, Any]) -> Any:
        def call(*positional: Any, **named: Any) -> dict[str, Any]:
            seen.append((positional, named))
            return result

        return call

    monkeypatch.setattr(commands, "quantize", stand_in(QUANTIZED))
    monkeypatch.setattr(commands, "accuracy_fallback", stand_in(FALLBACK))
    monkeypatch.setattr(commands, "latency_fallback", stand_in(LATENCY))
    monkeypatch.setattr(commands, "convert", stand_in(CONVERTED))
    monkeypatch.setattr(evaluation, "run", stand_in({"samples": 8, "rows": ROWS}))
    return seen


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"")
    return path


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(argument) for argument in arguments])
    return int(stopped.value.code or 0)


def test_without_options_the_quantizers_own_defaults_hold(calls: list[Any], model: Path) -> None:
    assert run("quantize", model, "--data", "calib.npz", "-o", "q.onnx") == 0
    positional, named = calls[0]
    assert positional == (model, "calib.npz", Path("q.onnx"), QuantizeOptions())
    assert (named["preprocess"], named["record_path"], named["report"]) == (None, None, None)


def test_every_option_reaches_the_quantizer(calls: list[Any], model: Path) -> None:
    given = QuantizeOptions(
        scheme="esp-dl", recipe="auto", observer="kl", percentile=0.99, hist_percent=0.999, upsample_bins=16, equalize="0.5",
        correction="own", rounding="nearest", margin=1.5, int16=("a*", "b"), skip=("se",), skip_as="float", fuse=False,
        fuse_list=[("conv", "bn")], max_drop=0.5, budget=30.0, jobs=2, dask="tcp://h:1", threads=3, seed=7, limit=9,
        layerwise=False, shapes={"n": 4},
    )  # fmt: skip
    options = (
        "--scheme esp-dl --recipe auto --observer kl --percentile 0.99 --hist-percent 0.999 --upsample-bins 16 "
        "--equalize 0.5 --correction own --rounding nearest --margin 1.5 --int16 a* --int16 b --skip se --skip-as float "
        "--no-fuse --fuse-pair conv bn --max-drop 0.5 --amct-record scales.txt --budget 30 --jobs 2 --dask tcp://h:1 "
        "--threads 3 --seed 7 --limit 9 --no-layerwise --shape n=4 --record r.json --report r.html"
    )
    assert run("quantize", model, "--data", "module:name", "-o", "q.onnx", *options.split()) == 0
    positional, named = calls[0]
    assert positional[1] == "module:name"
    assert positional[3] == given
    assert (named["record_path"], named["report"]) == (Path("r.json"), Path("r.html"))
    assert named["amct_record_path"] == Path("scales.txt")


def test_preprocessing_is_made_of_what_is_given(calls: list[Any], model: Path) -> None:
    options = ["--mean", "0.5,0.25", "--std", "2", "--divisor", "255", "--resize", "256"]
    assert run("quantize", model, "--data", "images", "-o", "q.onnx", *options) == 0
    assert calls[0][1]["preprocess"] == Preprocess(mean=(0.5, 0.25), std=(2.0,), divisor=255.0, resize=256)
    assert run("evaluate", "--float", model, "--data", "images", "--divisor", "128") == 0
    assert calls[1][1]["preprocess"] == Preprocess(divisor=128.0)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--data", "d.npz"],
        ["--data", "d.npz", "-o", "q.onnx", "--scheme", "secret"],
        ["--data", "d.npz", "-o", "q.onnx", "--mean", "a,b"],
        ["--data", "d.npz", "-o", "q.onnx", "--divisor", "0"],
        ["--data", "d.npz", "-o", "q.onnx", "--jobs", "0"],
        ["--data", "d.npz", "-o", "q.onnx", "--max-drop", "-1"],
    ],
)
def test_wrong_usage_exits_2(options: list[str], calls: list[Any], model: Path) -> None:
    assert run("quantize", model, *options) == 2
    assert not calls


def test_the_result_is_printed_for_people_and_for_programs(
    calls: list[Any], model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("quantize", model, "--data", "d.npz", "-o", "q.onnx") == 0
    printed = capsys.readouterr().out
    accuracy = ("on 2 samples: error 1.230 %", "agreement 75.00 %", "top-1 of 8 labelled: float 62.50 %")
    for piece in ("Graphwise error", "because", "int16 layers: head", "error 1.230 %", *accuracy):
        assert piece in printed
    assert run("quantize", model, "--data", "d.npz", "-o", "q.onnx", "--json") == 0
    assert json.loads(capsys.readouterr().out) == QUANTIZED


def test_fallback_passes_its_target_and_prints_what_it_rolled_back(
    calls: list[Any], model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("quantize-fallback", model, "--data", "d.npz", "-o", "out") == 2
    assert run("quantize-fallback", model, "--data", "d.npz", "-o", "out", "--max-drop", 1, "--port", "/dev/ttyACM0") == 2
    how = ["--max-drop", 0.5, "--evaluation", "e.npz", "--strategy", "greedy", "--sensitivity", "noise", "--skip", "se"]
    assert run("quantize-fallback", model, "--data", "d.npz", "-o", "out", *how, "--jobs", 2) == 0
    ((positional, named),) = calls
    assert positional == (model, "d.npz", Path("out"), QuantizeOptions(skip=("se",), jobs=2))
    assert (named["max_drop"], named["evaluation"], named["strategy"], named["sensitivity"]) == (
        0.5, "e.npz", "greedy", "noise",
    )  # fmt: skip
    printed = capsys.readouterr().out
    assert "Accuracy of saved model is 0.890000" in printed
    assert "rolled back: stem (2 configurations" in printed


def test_fallback_takes_an_evaluator_instead_of_a_target(calls: list[Any], model: Path) -> None:
    assert run("quantize-fallback", model, "--data", "d", "-o", "out", "--evaluator", "my:judge", "--max-drop", 1) == 2
    assert run("quantize-fallback", model, "--data", "d", "-o", "out", "--evaluator", "my:judge") == 0
    assert calls[0][1]["evaluator"] == "my:judge"


@pytest.mark.parametrize(("port", "place"), [(None, IN_SIMULATOR), ("/dev/ttyACM0", "board at /dev/ttyACM0")])
def test_fallback_by_latency_measures_in_the_simulator_or_on_a_board(
    port: str | None, place: str, calls: list[Any], model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong in (["--max-drop", 1], ["--strategy", "greedy"], ["--evaluation", "e.npz"]):
        assert run("quantize-fallback", model, "--data", "d.npz", "-o", "out", "--by", "latency", *wrong) == 2
    where = ["--port", port] if port else []
    assert run("quantize-fallback", model, "--data", "d.npz", "-o", "out", "--by", "latency", "--skip", "se", *where) == 0
    ((positional, named),) = calls
    assert positional == (model, "d.npz", Path("out"), QuantizeOptions(skip=("se",)))
    assert named["measure"] == Measurement(port)
    assert named["place"] == place
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split() == ["head", "10", "9", "int16"] for line in lines)
    assert any(line.split() == ["stem", "20", "50", "int8"] for line in lines)
    assert "rolled back: head" in lines
    assert "first sample: original class 3, probability 0.750; quantized class 3, probability 0.700" in lines


@pytest.mark.parametrize(("cost", "measured", "insist"), [(None, True, False), ("simulator", True, True), ("macs", False, False)])
def test_layers_are_weighed_by_cycles_unless_told_otherwise(
    cost: str | None, measured: bool, insist: bool, calls: list[Any], model: Path
) -> None:
    options = [*(["--cost", cost] if cost else []), "--max-drop", 1, "--evaluation", "e.npz"]
    assert run("quantize", model, "--data", "d.npz", "-o", "q.onnx", *options) == 0
    named = calls[0][1]
    assert named["measure"] == (Measurement() if measured else None)
    assert (named["insist"], named["evaluation"], named["measured_at"]) == (insist, "e.npz", IN_SIMULATOR)


def test_nothing_is_measured_without_a_target(calls: list[Any], model: Path) -> None:
    assert run("quantize", model, "--data", "d.npz", "-o", "q.onnx") == 0
    assert calls[0][1]["measure"] is None
    assert run("quantize", model, "--data", "d.npz", "-o", "q.onnx", "--cost", "macs") == 2
    assert run("quantize", model, "--data", "d.npz", "-o", "q.onnx", "--evaluation", "e.npz") == 2


def test_convert_passes_its_sources(calls: list[Any], model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("convert", model, "-o", "c.onnx", "--amct-record", model, "--scheme", "esp-dl", "--record", "r.json") == 0
    assert run("convert", model, "-o", "c.onnx", "--data", "d.npz", "--esp-ppq", model) == 0
    (first, more), (second, others) = calls
    assert first == (model, None, Path("c.onnx"), QuantizeOptions(scheme="esp-dl"))
    assert (more["amct"], more["esp_ppq"], more["record_path"]) == (model, None, Path("r.json"))
    assert second[1] == "d.npz"
    assert (others["amct"], others["esp_ppq"], others["record_path"]) == (None, model, None)
    printed = capsys.readouterr().out
    for piece in ("error 0.100 %", "agreement 100.00 %", "c.onnx and c.json written (shift, 7 layers)"):
        assert piece in printed


def test_the_notes_of_a_conversion_are_printed(calls: list[Any]) -> None:
    assert text.conversion({**CONVERTED, "notes": ["moved by 1 %"]}).splitlines()[0] == "moved by 1 %"


def test_evaluate_passes_places_and_prints_one_line_each(
    calls: list[Any], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = ["--on", "host", "--on", "sim", "--port", "/dev/ttyACM0", "--component", tmp_path, "--no-integer"]
    assert run("evaluate", "--float", model, "--quantized", model, "--data", "t.npz", "--limit", 8, *places) == 0
    positional, named = calls[0]
    assert positional == (model, model, "t.npz")
    assert (named["places"], named["port"], named["component"]) == (("host", "sim"), "/dev/ttyACM0", tmp_path)
    assert (named["integer"], named["limit"], named["threads"]) == (False, 8, 0)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["float", "onnxruntime", "8", "50.00", "100.00", "-", "-"]
    assert lines[3].split() == ["component", "sim", "8", "-", "-", "100.00", "0.10"]


def test_a_place_without_a_quantized_model_is_refused() -> None:
    with pytest.raises(EspgenError, match="no quantized model to run"):
        evaluation.run(models_dir() / "digits_float.onnx", None, "x.npz", places=("host",))


def test_the_compiled_component_agrees_with_the_integer_graph(tmp_path: Path) -> None:
    quantized, data = models_dir() / "digits_int8_qdq.onnx", str(models_dir() / "digits_test.npz")
    result = evaluation.run(models_dir() / "digits_float.onnx", quantized, data, places=("host", "sim"), limit=40)
    assert [(row["model"], row["place"]) for row in result["rows"]] == [
        ("float", "onnxruntime"), ("fake-quant", "onnxruntime"), ("integer", "numpy"), ("component", "host"),
        ("component", "sim, esp32p4-v3 (revision 3.1 and later, 400 MHz)"),
    ]  # fmt: skip
    numpy_row, host_row, sim_row = result["rows"][2:]
    assert {**host_row, "model": "", "place": ""} == {**numpy_row, "model": "", "place": ""}
    assert {**sim_row, "place": ""} == {**host_row, "place": ""}
    assert host_row["top1"] > 0.9
    assert "component" in text.evaluation(result)


@pytest.mark.parametrize(
    ("step", "shown"),
    [
        (("calibrating", 0, 8), "calibrating [........................] 0/8"),
        (("calibrating", 2, 8), "calibrating [######..................] 2/8"),
        (("calibrating", 8, 8), "calibrating [########################] 8/8"),
        (("searching", 3, 0), "searching 3"),
    ],
)
def test_the_progress_bar(step: tuple[str, int, int], shown: str) -> None:
    line = bar(*step)
    assert line.strip("\r\n").removesuffix("\033[K") == shown
    assert line.startswith("\r")
    assert line.endswith("\n") == (step[1] >= step[2])
