"""Firmware sources: every file passes strict warnings in every compiler there is, and the ESP32-P4's board works
against stand-ins of the ESP-IDF functions it calls."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from toy_reference import HASH, TOY, AgentProcess, toy_input, toy_reference

from espgen import api
from espgen.resources import firmware_dir, models_dir
from espgen.verify.build import FIRMWARE_FLAGS
from espgen.verify.compilers import Compiler, firmware_compilers, host_compiler, host_compilers
from espgen.verify.device import Device
from espgen.verify.link import Link

STUBS = Path(__file__).parent / "idf_stubs"
FIRMWARE = firmware_dir()
STRICT = (
    "-std=c++17",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Werror",
    "-fno-exceptions",
    "-fno-rtti",
    "-fno-threadsafe-statics",
)
INCLUDES = (f"-I{FIRMWARE / 'include'}", f"-I{FIRMWARE}")
AGENT = sorted(path for path in (FIRMWARE / "agent").glob("*.cpp") if not path.name.startswith("host_"))
SIMULATOR = sorted((FIRMWARE / "boards" / "simulator").glob("*.cpp"))
HOST = [
    *sorted((FIRMWARE / "agent").glob("host_*.cpp")),
    FIRMWARE / "boards" / "served_model.cpp",
    FIRMWARE / "boards" / "host" / "board.cpp",
]
ESP32P4 = sorted((FIRMWARE / "boards" / "esp32p4").glob("*.cpp"))
CALIBRATION = [FIRMWARE / "calibrate" / "commands.cpp", FIRMWARE / "calibrate" / "simulator" / "platform.cpp"]
CONSOLES = {"uart": (), "usb": ("-DSTUB_CONSOLE_USB",), "none": ("-DSTUB_CONSOLE_NONE",)}


def compile_all(compiler: Compiler, sources: list[Path], flags: tuple[str, ...], folder: Path) -> list[Path]:
    objects = []
    for source in sources:
        target = folder / f"{source.stem}.o"
        command = (*compiler.command, *STRICT, *flags, *INCLUDES, "-c", str(source), "-o", str(target))
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        objects.append(target)
    return objects


@pytest.mark.parametrize("compiler", host_compilers(), ids=lambda compiler: compiler.name)
def test_agent_and_host_files_have_no_warning(compiler: Compiler, tmp_path: Path) -> None:
    compile_all(compiler, AGENT + HOST, ("-DESPGEN_HOST=1", "-DESPGEN_SERVED_MODEL=toy"), tmp_path)


@pytest.mark.parametrize("compiler", firmware_compilers(), ids=lambda compiler: compiler.name)
def test_agent_and_simulator_files_have_no_warning(compiler: Compiler, tmp_path: Path) -> None:
    shim = f"-I{FIRMWARE / 'boards' / 'simulator' / 'include'}"
    compile_all(compiler, AGENT + SIMULATOR, (*FIRMWARE_FLAGS[compiler.kind], "-ffreestanding", shim), tmp_path)


@pytest.mark.parametrize("compiler", firmware_compilers(), ids=lambda compiler: compiler.name)
def test_the_calibration_firmware_has_no_warning(compiler: Compiler, tmp_path: Path) -> None:
    shim = f"-I{FIRMWARE / 'boards' / 'simulator' / 'include'}"
    compile_all(compiler, CALIBRATION, (*FIRMWARE_FLAGS[compiler.kind], "-ffreestanding", shim), tmp_path)


@pytest.mark.parametrize("compiler", host_compilers(), ids=lambda compiler: compiler.name)
def test_the_calibration_of_a_board_compiles_against_the_documented_signatures(compiler: Compiler, tmp_path: Path) -> None:
    sources = [FIRMWARE / "calibrate" / "commands.cpp", FIRMWARE / "calibrate" / "esp32p4" / "platform.cpp"]
    compile_all(compiler, sources, ("-DESP_PLATFORM=1", f"-isystem{STUBS}"), tmp_path)


@pytest.mark.parametrize("console", list(CONSOLES))
@pytest.mark.parametrize("compiler", host_compilers(), ids=lambda compiler: compiler.name)
def test_the_esp32p4_board_compiles_against_the_documented_signatures(compiler: Compiler, console: str, tmp_path: Path) -> None:
    flags = (*CONSOLES[console], "-DESP_PLATFORM=1", f"-isystem{STUBS}")
    compile_all(compiler, [*ESP32P4, TOY / "src" / "toy.cpp"], flags, tmp_path)


@pytest.mark.parametrize("compiler", host_compilers(), ids=lambda compiler: compiler.name)
def test_a_component_in_psram_says_what_esp_idf_must_be_configured_for(compiler: Compiler, tmp_path: Path) -> None:
    compiled = api.compile(
        models_dir() / "digits_int8_qdq.onnx", tmp_path / "component", options=api.Options(internal_bytes=1024)
    )
    assert compiled["memory"]["psram"]
    folder = tmp_path / "component"
    includes = (f"-isystem{STUBS}", f"-I{folder / 'include'}", "-DESP_PLATFORM=1")
    files = ("-c", str(folder / "src" / "digits_int8_qdq.cpp"), "-o", str(tmp_path / "model.o"))
    command = [*compiler.command, *STRICT, *includes, *files]
    without = subprocess.run([*command, "-DSTUB_NO_PSRAM"], capture_output=True, text=True, check=False)
    assert without.returncode != 0
    assert "set CONFIG_SPIRAM and CONFIG_SPIRAM_ALLOW_BSS_SEG_EXTERNAL_MEMORY" in without.stderr
    subprocess.run(command, check=True)


def test_firmware_uses_no_heap_and_no_library_of_cpp() -> None:
    allowed = {"<stddef.h>", "<stdint.h>", "<string.h>", "<stdarg.h>", "<stdio.h>"}
    for path in (*AGENT, *SIMULATOR, *ESP32P4, *sorted((FIRMWARE / "agent").glob("*.h"))):
        if path.name.startswith("host_"):
            continue
        text = path.read_text()
        used = {line.split()[1] for line in text.splitlines() if line.startswith("#include <")}
        assert used <= allowed, path
        if path.parent.name != "esp32p4":
            assert not used & {"<stdarg.h>", "<stdio.h>"}, path
        for word in (" new ", "malloc(", "calloc(", "std::", "throw ", "virtual "):
            assert word not in text, (path, word)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The ESP32-P4's board with the toy model, as a program for the host by console."""
    return {console: _program(flags, tmp_path_factory.mktemp(console)) for console, flags in CONSOLES.items()}


def _program(console: tuple[str, ...], folder: Path) -> Path:
    compiler = host_compiler()
    flags = (*console, f"-isystem{STUBS}", "-pthread")
    sources = [*AGENT, *ESP32P4, STUBS / "stubs.cpp", TOY / "src" / "toy.cpp"]
    objects = []
    for number, source in enumerate(sources):  # two files are called board.cpp in other boards: one folder each
        (folder / str(number)).mkdir()
        objects += compile_all(compiler, [source], flags, folder / str(number))
    weights = folder / "weights.o"
    subprocess.run((*compiler.command, "-c", "weights.S", "-o", str(weights)), cwd=TOY / "src", check=True, capture_output=True)
    program = folder / "board"
    command = (*compiler.command, "-pthread", *map(str, objects), str(weights), "-o", str(program))
    subprocess.run(command, check=True, capture_output=True)
    return program


class Usb:
    """The other end of the board's USB-Serial-JTAG: a transport."""

    def __init__(self) -> None:
        self.board_in, self._out = os.pipe()
        self._in, self.board_out = os.pipe()

    def read(self, timeout: float) -> bytes:
        return os.read(self._in, 65536) if select.select([self._in], [], [], max(timeout, 0))[0] else b""

    def write(self, data: bytes) -> None:
        os.write(self._out, data)

    def close(self) -> None:
        for descriptor in (self.board_in, self._out, self._in, self.board_out):
            os.close(descriptor)


class Board(AgentProcess):
    """The board as a process: it is the transport of its UART, `usb` the one of its USB-Serial-JTAG."""

    def __init__(self, program: Path, taken: str = "") -> None:
        self.usb = Usb()
        ends = (self.usb.board_in, self.usb.board_out)
        super().__init__(program, {"STUB_USB": f"{ends[0]},{ends[1]}", "STUB_TAKEN": taken}, ends)

    def line(self, name: str) -> Usb | Board:
        return self.usb if name == "usb" else self

    def close(self) -> None:
        self.process.kill()  # a board that does not read its UART does not see it end
        super().close()
        self.usb.close()


@contextmanager
def running(program: Path, taken: str = "") -> Iterator[Board]:
    board = Board(program, taken)
    try:
        yield board
    finally:
        board.close()


@pytest.mark.parametrize("line", ["uart", "usb"])
@pytest.mark.parametrize("console", list(CONSOLES))
def test_the_esp32p4_board_serves_a_session_on_either_line_while_another_task_logs(
    programs: dict[str, Path], console: str, line: str
) -> None:
    with running(programs[console]) as board:
        logs: list[str] = []
        link = Link(board.line(line), on_log=logs.append)
        device = Device.connect(link, expected_hash=HASH)
        assert (device.hello.target, device.hello.clock_hz, device.hello.revision) == ("esp32p4", 360_000_000, 103)
        assert device.hello.build_id == "0123abcde"
        x = toy_input(4)
        reference = toy_reference(x)
        for name, value in device.run({"x": x}).items():
            np.testing.assert_array_equal(value, reference[name])
        for layer in device.layers:
            for name, value in device.read_layer({"x": x}, layer).items():
                np.testing.assert_array_equal(value, reference[name])
        profile = device.profile({"x": x}, cold=True)
        assert profile.cold and profile.cycles > 0 and profile.instructions == 0
        assert link.resent == 0
        assert any("a line from another task" in line for line in logs)
        device.reset()


def test_what_is_asked_on_one_line_is_answered_there_and_noise_on_the_other_does_no_harm(programs: dict[str, Path]) -> None:
    x = toy_input(4)
    wanted = toy_reference(x)
    with running(programs["uart"]) as board:
        for asked, other in (("usb", "uart"), ("uart", "usb")):
            link = Link(board.line(asked))
            device = Device.connect(link, expected_hash=HASH)
            # Half a frame, and more bytes without an end than any frame has: neither keeps this line waiting for long.
            for noise in (b"half a fr", b"\xff" * 4096):
                board.line(other).write(noise)
                for name, value in device.run({"x": x}).items():
                    np.testing.assert_array_equal(value, wanted[name])
            while board.line(other).read(0.0):
                pass  # that the noise is no frame
            device.run({"x": x})
            assert board.line(other).read(0.0) == b"", "an answer on the line that did not ask"


@pytest.mark.parametrize("taken", ["uart", "usb"])
def test_a_line_that_the_application_uses_is_left_alone(programs: dict[str, Path], taken: str) -> None:
    """Except the console's, which the agent takes over from it."""
    console, free = ("usb", "usb") if taken == "uart" else ("uart", "uart")
    with running(programs[console], taken) as board:
        board.line(taken).write(b"the application's own\0")
        Device.connect(Link(board.line(free)), expected_hash=HASH)
        assert board.line(taken).read(0.0) == b""
    with running(programs[taken], taken) as board:
        Device.connect(Link(board.line(taken)), expected_hash=HASH)


def test_a_chip_without_usb_serial_jtag_has_the_uart(tmp_path: Path) -> None:
    with running(_program(("-DSTUB_NO_USB",), tmp_path)) as board:
        Device.connect(Link(board), expected_hash=HASH)


RUNS_IN_AN_INTERRUPT = """
#include <stdlib.h>
#include "espgen/run.h"
void espgen_board_serve(const espgen::Model& model);
static int ran = 0;
static void count(uint32_t, uint32_t) { ++ran; }
static int check(espgen::Model model) {
  static const espgen::Step steps[] = {{count, 0, 0, 1}};
  model.steps = steps;
  model.step_count = 1;
  if (espgen::run_model(model) != espgen::Status::kOk || ran != 1) return 1;
  stub_in_interrupt = 1;
  if (espgen::run_model(model) != espgen::Status::kInInterrupt || ran != 1) return 2;
  stub_in_interrupt = 0;
  if (espgen::run_model(model) != espgen::Status::kOk || ran != 2) return 3;  // the lock is free
  model.watch = {[]() {}, []() -> uint32_t { return 1; }};
  return espgen::run_model(model) == espgen::Status::kVectorUnitDisturbed ? 0 : 4;
}
void espgen_board_serve(const espgen::Model& model) { exit(check(model)); }
"""
"""The stubs' main calls espgen_board_serve."""


def test_a_model_does_not_run_in_an_interrupt_handler(tmp_path: Path) -> None:
    compiler = host_compiler()
    (tmp_path / "main.cpp").write_text(RUNS_IN_AN_INTERRUPT)
    flags = ("-DESP_PLATFORM=1", f"-isystem{STUBS}")
    sources = [tmp_path / "main.cpp", STUBS / "stubs.cpp", TOY / "src" / "toy.cpp"]
    objects = [*map(str, compile_all(compiler, sources, flags, tmp_path)), str(tmp_path / "weights.o")]
    subprocess.run((*compiler.command, "-c", "weights.S", "-o", objects[-1]), cwd=TOY / "src", check=True)
    program = tmp_path / "program"
    subprocess.run((*compiler.command, "-pthread", *objects, "-o", str(program)), check=True)
    assert subprocess.run([program], check=False).returncode == 0
