"""The command line against a stand-in for the library: what is parsed, what is printed, which exit code."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest

import espgen
from espgen import cli, demo
from espgen.errors import DEFECT, EXIT_CODES, INTERRUPTED, EspgenError, environment_error, missed_target
from espgen.report import text
from espgen.resources import models_dir
from espgen.target.chips import CHIPS

MEMORY = {"internal": 2048, "psram": 0, "arenas": {"internal": 2048}, "flash": 9000, "planner": "optimal"}
CHIP = {"name": "esp32p4-v3", "revisions": "3.1 and later", "clock_hz": 400_000_000}
LAYERS = [{"name": "stem", "equal": True, "max_abs_diff": 0, "first_diff": None}]
RESULTS: dict[str, dict[str, Any]] = {
    "inspect": {
        "name": "digits",
        "inputs": [{"name": "image", "shape": [1, 1, 8, 8], "dtype": "float32"}],
        "outputs": [{"name": "logits", "shape": [1, 10], "dtype": "float32"}],
        "operators": [
            {"op": "Conv", "count": 5, "macs": 12345, "supported": True},
            {"op": "Loop", "count": 1, "macs": 0, "supported": False},
        ],
        "layers": [{"name": "stem", "op": "Conv", "shape": [1, 16, 8, 8], "dtype": "int8", "macs": 12345}],
        "integer_operators": [{"op": "conv2d", "macs": 12345}],
        "macs": 12345,
        "parameters": 678,
        "unsupported": [{"node": "loop", "op": "Loop", "reason": "control flow"}],
    },
    "compile": {
        "component": "out", "name": "digits", "header": "digits.h", "layers": 9, "chip": CHIP, "seconds": 0.5, "memory": MEMORY,
    },
    "verify": {
        "equal": True, "samples": 3, "layers": LAYERS, "accuracy": {"top1": 0.75, "top5": 1.0}, "target": "sim",
    },
    "profile": {
        "cycles": 1000, "instructions": 900, "macs": 500, "clock_hz": 400_000_000, "ms": 0.003, "memory": {**MEMORY, "code": 77},
        "chip": CHIP, "l2_kb": 256,
        "layers": [
            {
                "name": "stem", "op": "conv", "cycles": 1000, "instructions": 900, "macs": 500, "stall_cycles": 7,
                "candidates": [
                    {"kernel": "conv_pie", "cycles": 990, "note": "predicted", "chosen": True},
                    {"kernel": "wide_pie", "cycles": None, "note": "too many channels", "chosen": False},
                ],
            }
        ],
    },
    "doctor": {
        "ok": True,
        "tools": [
            {"name": "ziglang", "found": True, "path": "/usr/bin/zig", "version": "0.13", "remedy": ""},
            {"name": "idf.py", "found": False, "path": None, "version": None, "remedy": "install ESP-IDF"},
        ],
        "chips": [{**CHIP, "espv": [21, 22], "internal": [1000, 2000], "l2_kb": 256, "idf": "5.5.3"}],
    },
}  # fmt: skip


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """Replace espgen.api by functions that record how they are called."""
    seen: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def stand_in(verb: str) -> Any:
        def call(*positional: Any, **named: Any) -> dict[str, Any]:
            seen.append((verb, positional, named))
            return RESULTS[verb]

        return call

    replace_api(monkeypatch, **{verb: stand_in(verb) for verb in RESULTS}, Options=dict, Progress=object)
    return seen


def replace_api(monkeypatch: pytest.MonkeyPatch, **functions: Any) -> None:
    fake = SimpleNamespace(**functions)
    monkeypatch.setitem(sys.modules, "espgen.api", fake)
    monkeypatch.setattr(espgen, "api", fake, raising=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"")
    return path


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(argument) for argument in arguments])
    return int(stopped.value.code or 0)


@pytest.mark.parametrize("verb", ["inspect", "compile", "verify", "profile", "doctor"])
def test_json_is_the_result_as_it_is(
    verb: str, calls: list[Any], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = {"inspect": [model], "compile": [model, "-o", tmp_path / "c"], "doctor": []}.get(verb, [tmp_path])
    assert run(verb, *arguments, "--json") == 0
    assert json.loads(capsys.readouterr().out) == RESULTS[verb]
    assert [call[0] for call in calls] == [verb]


@pytest.mark.parametrize(
    ("verb", "expected"),
    [
        ("inspect", ["stem", "1x16x8x8", "conv2d", "12,345", "678 parameters", "unsupported: Loop (node loop): control flow"]),
        ("compile", ["9 layers", '#include "digits.h"', "2,048 bytes internal RAM", "plan: optimal", "for esp32p4-v3 (revision"]),
        ("verify", ["every layer equal, byte for byte", "top-1 75.00 %, top-5 100.00 %", "3 samples on sim"]),
        ("profile", ["MAC/cycle", "0.500", "0.003 ms on esp32p4-v3 (revision 3.1 and later, 400 MHz)", "77 of them code"]),
        ("profile", ["* conv_pie: 990 cycles predicted", "not possible: too many"]),
        ("doctor", ["ziglang", "missing", "idf.py: install ESP-IDF", "ready", "ESPV 2.1 and ESPV 2.2", "1,000 + 2,000"]),
    ],
)
def test_text_says_what_matters(
    verb: str, expected: list[str], calls: list[Any], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = {"inspect": [model], "compile": [model, "-o", tmp_path / "c"], "doctor": []}.get(verb, [tmp_path])
    assert run(verb, *arguments) == 0
    printed = capsys.readouterr().out
    for piece in expected:
        assert piece in printed


def test_shapes_and_paths_reach_compile(calls: list[Any], model: Path, tmp_path: Path) -> None:
    shapes = ["--shape", "height=32", "--shape", "a=b=3"]
    assert run("compile", model, "-o", tmp_path / "c", *shapes, "--dump-ir", tmp_path / "ir") == 0
    (_, positional, named) = calls[0]
    assert positional == (model, tmp_path / "c")
    assert named["shapes"] == {"height": 32, "a=b": 3}
    assert (named["project"], named["dump_ir"], named["options"]) == (None, tmp_path / "ir", {})


def test_memory_budgets_and_kernels_reach_compile(calls: list[Any], model: Path, tmp_path: Path) -> None:
    budget = ["--internal-ram", "160K", "--psram", 0, "--kernels", "portable"]
    assert run("compile", model, "-o", tmp_path / "c", *budget) == 0
    assert calls[0][2]["options"] == {"internal_bytes": 163840, "psram_bytes": 0, "kernels": "portable"}


def test_chip_cache_and_reserve_reach_the_verbs(calls: list[Any], model: Path, tmp_path: Path) -> None:
    chip = ["--chip", "esp32p4-v1"]
    assert run("compile", model, "-o", tmp_path / "c", *chip, "--reserve", "32K", "--l2", "128") == 0
    assert calls[0][2]["options"] == {"chip": CHIPS["esp32p4-v1"], "reserve_bytes": 32768, "l2_kb": 128}
    for verb in ("verify", "profile"):
        assert run(verb, tmp_path, *chip) == 0
        assert calls[-1][2]["chip"] is CHIPS["esp32p4-v1"]
        assert run(verb, tmp_path, *chip, "--port", "/dev/ttyACM0") == 2
    assert run("verify", tmp_path, *chip, "--target", "host") == 2
    assert run("profile", tmp_path, "--chip", "esp8266") == 2


def test_two_pieces_and_two_chips_are_told_apart() -> None:
    pieces = {**MEMORY, "internal": 3000, "arenas": {"internal": 2000, "internal_2": 1000, "psram": 64}}
    assert "3,000 bytes internal RAM in 2 pieces (2,000 + 1,000), 0 bytes PSRAM" in text.memory(pieces)
    other = {**RESULTS["verify"], "target": "simulator", "chip": {**CHIP, "name": "esp32p4-v1"}}
    both = {**other, "chips": [other, {**other, "chip": CHIP, "equal": False, "layers": [{**LAYERS[0], "equal": False}]}]}
    lines = text.verification(both).splitlines()
    assert any("on simulator, esp32p4-v1 (" in line and line.endswith("byte for byte") for line in lines)
    assert any("on simulator, esp32p4-v3 (" in line and line.endswith("not equal in 1 layer") for line in lines)


def test_input_mapping_limit_and_target_reach_verify(calls: list[Any], model: Path, tmp_path: Path) -> None:
    mapping = ["--input", "image=pixels:nhwc", "--input", "mask=m:x", "--limit", 5, "--target", "host"]
    assert run("verify", tmp_path, "--data", model, *mapping) == 0
    named = calls[0][2]
    assert named["inputs"] == {"image": ("pixels", "NHWC", ""), "mask": ("m:x", "", "")}
    assert (named["limit"], named["target"], named["port"], named["data"]) == (5, "host", None, model)


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "MODEL", "--shape", "n"],
        ["inspect", "MODEL", "--shape", "n=0"],
        ["inspect", "MODEL", "--shape", "n=-1"],
        ["inspect", "MODEL", "--shape", "=4"],
        ["inspect", "MODEL", "--nonsense"],
        ["inspect", "missing.onnx"],
        ["compile", "MODEL"],
        ["compile", "MODEL", "-o", "out", "--internal-ram", "lots"],
        ["compile", "MODEL", "-o", "out", "--psram", ""],
        ["verify", "FOLDER", "--input", "image"],
        ["verify", "FOLDER", "--input", "=x"],
        ["verify", "FOLDER", "--input", "image=x", "--input", "image=y"],
        ["inspect", "MODEL", "--shape", "n=1", "--shape", "n=2"],
        ["verify", "FOLDER", "--limit", "0"],
        ["verify", "FOLDER", "--target", "moon"],
        ["nonsense"],
    ],
)
def test_wrong_usage_exits_2_without_calling_anything(
    arguments: list[str], calls: list[Any], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"MODEL": model, "FOLDER": tmp_path}
    assert run(*(places.get(argument, argument) for argument in arguments)) == 2
    assert not calls
    captured = capsys.readouterr()
    assert "Error" in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("samples", "equal", "told"),
    [
        (1, [True], "1 sample on sim: every layer equal, byte for byte"),
        (1200, [False, True], "1,200 samples on sim: not equal in 1 layer"),
        (2, [False, False], "2 samples on sim: not equal in 2 layers"),
    ],
)
def test_verdicts_count_in_words(samples: int, equal: list[bool], told: str) -> None:
    layers = [{"name": "x", "equal": same, "max_abs_diff": 0, "first_diff": None} for same in equal]
    result = {"equal": all(equal), "samples": samples, "layers": layers, "accuracy": None, "target": "sim"}
    assert text.verification(result).splitlines()[-1] == told


def test_a_mismatch_exits_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = {"sample": 0, "value": "a", "index": [0, 1], "expected": 3, "actual": 4}
    layers = [{"name": "stem", "equal": False, "max_abs_diff": 1, "first_diff": first}]
    bad = {**RESULTS["verify"], "equal": False, "layers": layers}
    replace_api(monkeypatch, verify=lambda *_positional, **_named: bad)
    assert run("verify", tmp_path) == 1
    printed = capsys.readouterr().out
    assert "DIFFERS" in printed
    assert "expected 3, actual 4" in printed


def test_a_missing_tool_makes_doctor_exit_3(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_api(monkeypatch, doctor=lambda: {**RESULTS["doctor"], "ok": False})
    assert run("doctor") == 3


def raising(error: BaseException) -> Any:
    def call(*_positional: Any, **_named: Any) -> Any:
        raise error

    return call


def test_an_error_is_message_node_place_and_remedy(
    monkeypatch: pytest.MonkeyPatch, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = EspgenError("no scale", node="conv1", place="m.onnx", hint="quantize it")
    replace_api(monkeypatch, inspect=raising(error))
    assert run("inspect", model) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["error: no scale", "  node: conv1", "  place: m.onnx", "  remedy: quantize it"]
    assert run("inspect", model, "--json") == 2
    told = json.loads(capsys.readouterr().out)
    assert told == {"error": {"message": "no scale", "node": "conv1", "place": "m.onnx", "remedy": "quantize it"}}


def test_an_environment_error_exits_3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    replace_api(monkeypatch, verify=raising(environment_error("no such port", place="/dev/ttyX")))
    assert run("verify", tmp_path, "--port", "/dev/ttyX") == 3


def test_an_unexpected_exception_says_what_to_attach(
    monkeypatch: pytest.MonkeyPatch, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    replace_api(monkeypatch, inspect=raising(KeyError("oops")))
    assert run("inspect", model) == DEFECT
    told = capsys.readouterr().err
    assert told.startswith("internal error: a defect of espgen: KeyError: 'oops'")
    assert "Traceback" not in told
    (report,) = tmp_path.glob("espgen-defect-*.txt")
    assert str(report) in told
    assert report.stat().st_mode & 0o077 == 0
    held = report.read_text()
    for piece in ("numpy ", "Python 3", f"$ espgen inspect {model}", "Traceback", "KeyError: 'oops'", "raise error"):
        assert piece in held
    assert run("inspect", model, "--json") == DEFECT
    assert json.loads(capsys.readouterr().out)["error"]["place"].startswith(str(tmp_path))
    assert run("inspect", model, "--debug") == DEFECT
    assert "Traceback" in capsys.readouterr().err


def test_a_report_that_cannot_be_kept_is_printed(
    monkeypatch: pytest.MonkeyPatch, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    replace_api(monkeypatch, inspect=raising(KeyError("oops")))
    assert run("inspect", model) == DEFECT
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert "the report above" in told


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EspgenError("bad"), 2), (environment_error("no tool"), 3), (missed_target("too far"), 1), (MemoryError(), 3),
        (PermissionError(13, "Permission denied", "x"), 3), (click.FileError("x"), 2), (click.ClickException("x"), 2),
        (RecursionError("deep"), DEFECT), (ValueError("odd"), DEFECT), (AssertionError(), DEFECT),
    ],
)  # fmt: skip
def test_every_exception_has_a_code_of_the_list(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, model: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    replace_api(monkeypatch, inspect=raising(error))
    assert run("inspect", model) == code
    assert code in EXIT_CODES


def test_an_interruption_exits_130(
    monkeypatch: pytest.MonkeyPatch, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replace_api(monkeypatch, inspect=raising(KeyboardInterrupt()))
    assert run("inspect", model) == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("wait", [0.1, 0.5, 1.0, 2.5])
def test_an_interruption_at_any_time_is_clean(wait: float, tmp_path: Path) -> None:
    """From the program's first line on, whatever is being imported or computed."""
    script = "import sys; sys.argv = ['espgen', *sys.argv[1:]]; print(flush=True); from espgen.__main__ import run; run()"
    digits = models_dir() / "digits_float.onnx"
    data = models_dir() / "digits_test.npz"
    arguments = ["quantize", digits, "--data", data, "-o", tmp_path / "q.onnx", "--jobs", 2, "--recipe", "auto"]
    command = [sys.executable, "-c", script, *map(str, arguments)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(wait)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the program and all that it started
        _, told = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED, told
    assert "Traceback" not in told
    assert told.strip().splitlines()[-1] == "interrupted"
    assert not list(tmp_path.iterdir())


def test_long_work_is_announced_to_people_and_not_to_programs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def profile(*_positional: Any, **_named: Any) -> dict[str, Any]:
        logging.getLogger("espgen.verify.build").info("compiling something")
        return RESULTS["profile"]

    replace_api(monkeypatch, profile=profile)
    for arguments, told in (([], True), (["--json"], False)):
        monkeypatch.setattr(logging.root, "handlers", [])
        assert run("profile", tmp_path, *arguments) == 0
        assert ("compiling something" in capsys.readouterr().err) == told


def test_the_demo_runs_the_three_verbs_on_the_bundled_model(
    calls: list[Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "api", sys.modules["espgen.api"])
    assert run("demo", "--limit", 2, "--json") == 0
    assert [call[0] for call in calls] == ["compile", "verify", "profile"]
    model, data = calls[0][1][0], calls[1][2]["data"]
    assert model.is_file()
    assert data.is_file()
    assert calls[1][2]["limit"] == 2
    assert set(json.loads(capsys.readouterr().out)) == {"compile", "verify", "profile"}
    assert run("demo") == 0
    printed = capsys.readouterr().out
    order = ("$ espgen compile", "9 layers", "$ espgen verify", "top-1 75.00 %", "$ espgen profile", "0.003 ms")
    assert sorted(order, key=printed.index) == list(order)


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from espgen.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('numpy', 'onnx', 'jinja2', 'serial') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for verb in ("inspect", "compile", "verify", "profile", "doctor", "demo"):
        assert verb in done.stdout


def test_a_failing_file_system_is_the_environments_fault(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_positional: Any, **_named: Any) -> None:
        raise OSError(28, "No space left on device", "somewhere")

    replace_api(monkeypatch, compile=full, Options=dict)
    assert run("compile", model, "-o", tmp_path / "c", "--json") == 3
    printed = capsys.readouterr()
    assert json.loads(printed.out)["error"]["place"] == "somewhere"
    assert "error: No space left on device" in printed.err


def test_wrong_usage_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", "no such file", "--json") == 2
    assert "does not exist" in json.loads(capsys.readouterr().out)["error"]["message"]


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    inspect = f"inspect {models_dir() / 'digits_float.onnx'}"
    for arguments in ("--help", inspect, f"{inspect} --json"):
        command = f"{sys.executable} -m espgen {arguments} | true; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=Path(__file__).parents[2])
        assert "Traceback" not in done.stderr
        assert "Exception" not in done.stderr
        assert "rror" not in done.stderr
        assert done.returncode == 0
