"""The ESP32-P4 simulator as a process: built on first use, started, talked to over its pseudo-terminal, stopped.

The program itself is firmware/simulator/ (C++17, standard library only); docs/simulator.md describes the chip it
models, its parameters and device registers.
"""

from __future__ import annotations

import json
import logging
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from espgen.errors import EspgenError, environment_error
from espgen.resources import firmware_dir
from espgen.target.chips import Chip
from espgen.target.espv import Level
from espgen.verify.cache import cached, digest, digest_of_headers
from espgen.verify.compilers import host_compiler

_LOG = logging.getLogger(__name__)

STOPPED_BY_ERROR = 121
"""Exit status of a simulation that ended with an error instead of the firmware's own exit."""

STOP_SECONDS = 10.0

_FLAGS = ("-std=c++17", "-O2", "-ffp-contract=off", "-Wno-psabi")
_PARALLEL = 2


def build_simulator(compiler: str | None = None) -> Path:
    """Path of the simulator program, built now if this version of its sources was not built before.

    Args:
        compiler: name of a host compiler ("g++", "clang++", "zig"); default: the best one found.

    Raises:
        EspgenError: (exit code 3) no compiler, or it fails.
    """
    chosen = host_compiler(compiler)
    # zig checks for undefined behaviour by default, which costs speed.
    flags = (*_FLAGS, "-fno-sanitize=undefined") if chosen.kind == "zig" else _FLAGS
    folder = firmware_dir() / "simulator"
    common = digest(chosen.identity, *flags, digest_of_headers((folder,)))
    sources = sorted(folder.glob("*.cpp"))
    keys = [digest(common, source.read_bytes()) for source in sources]

    def compile_one(job: tuple[Path, str]) -> Path:
        source, key = job
        command = (*chosen.command, *flags, "-c", str(source), "-o")
        return cached(f"objects/{key}.o", lambda out: _run((*command, str(out)), source))

    def link(out: Path) -> None:
        slow = ", which takes zig minutes" if chosen.kind == "zig" else ""
        _LOG.info(f"compiling the simulator (once for this version of espgen{slow})")
        with ThreadPoolExecutor(_PARALLEL) as pool:
            objects = list(pool.map(compile_one, zip(sources, keys, strict=True)))
        _run((*chosen.command, *map(str, objects), "-o", str(out)), folder)

    return cached(f"simulator/p4sim-{digest(common, *keys)[:24]}", link)


def _run(command: Sequence[str], what: Path) -> None:
    result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if result.returncode != 0:
        raise environment_error(
            f"the simulator does not build: {result.stderr.strip()[-2000:]}",
            place=str(what),
            hint="a C++17 compiler is needed; pip install ziglang gives one",
        )


@dataclass(frozen=True)
class Options:
    """How the simulator runs.

    Attributes:
        memory_model: caches and PSRAM cost cycles ("cold"); off, only the core does ("warm"). Firmware may switch it.
        l2_kb: size of the L2 cache, 128 or 256 KB, taken from internal RAM where the chip has it.
        chip: what it simulates; None: the simulator's own defaults (revision 3 at 360 MHz).
        parameters: model numbers by name (``p4sim --parameters`` lists them with their defaults).
        max_cycles: stop with an error when a core gets there.
        guards: address ranges [start, end) whose loads and stores stop the simulation with an error.
        profile: file for cycles, instructions and stalls per function.
        espv: instruction set of the chip; None: that of `chip`, or what the ELF file names, ESPV 2.1 where it names none.
        interrupts: shortest and longest time from one timer interrupt to the next in cycles; None: no interrupts unless
            the firmware asks for them.
        loop_interrupts: an interrupt after every round of a hardware loop, too.
        seed: of the times between interrupts.
        task_switch: what a switch to another task keeps of the vector unit: "5.3" (ESP-IDF up to 5.5.5) or "6.0".
        lenient_loops: only warn about hardware loops that break a rule of silicon, instead of stopping.
    """

    memory_model: bool = True
    l2_kb: int = 128
    chip: Chip | None = None
    parameters: Mapping[str, float] | None = None
    max_cycles: int | None = None
    guards: Sequence[tuple[int, int]] = ()
    profile: Path | None = None
    espv: Level | None = None
    lenient_loops: bool = False
    interrupts: tuple[int, int] | None = None
    loop_interrupts: bool = False
    seed: int = 1
    task_switch: str = "6.0"

    def arguments(self) -> list[str]:
        """Command-line arguments."""
        words = ["--memory-model", "on" if self.memory_model else "off", "--l2", str(self.l2_kb)]
        chip = self.chip.parameters() if self.chip else {}
        for name, value in sorted({**chip, **(self.parameters or {})}.items()):
            words += ["--param", f"{name}={value!r}"]
        if self.max_cycles is not None:
            words += ["--max-cycles", str(self.max_cycles)]
        for start, end in self.guards:
            words += ["--guard", f"{start:#x}:{end:#x}"]
        if self.profile is not None:
            words += ["--profile", str(self.profile)]
        espv = Level(self.chip.espv[0]) if self.espv is None and self.chip else self.espv
        if espv is not None:
            words += ["--espv", str(espv.value)]
        if self.lenient_loops:
            words.append("--lenient-loops")
        if self.interrupts is not None:
            words += ["--interrupts", f"{self.interrupts[0]}:{self.interrupts[1]}"]
        if self.loop_interrupts:
            words.append("--interrupts-at-loops")
        words += ["--seed", str(self.seed), "--task-switch", self.task_switch]
        return words


class Simulator:
    """A running simulator whose UART is the pseudo-terminal `port`; a context manager.

    Raises:
        EspgenError: (exit code 3) the simulator cannot be built or started, or it stopped with an error while the
            caller talked to it.
    """

    def __init__(self, elf: str | Path, options: Options | None = None) -> None:
        self._elf = Path(elf)
        self._options = options or Options()
        self._process: subprocess.Popen[str] | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._port: str | None = None
        self._errors = ""
        self._statistics: dict[str, Any] | None = None

    @property
    def port(self) -> str:
        """Path of the pseudo-terminal; pyserial opens it like a board's port."""
        if self._port is None:
            raise EspgenError("the simulator is not running", place=str(self._elf))
        return self._port

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def process_id(self) -> int:
        """The process's number."""
        if self._process is None:
            raise EspgenError("the simulator is not running", place=str(self._elf))
        return self._process.pid

    def start(self) -> None:
        """Starts the process and waits until its port exists."""
        program = build_simulator()
        self._scratch = tempfile.TemporaryDirectory(prefix="espgen-simulator-")
        command = [str(program), "--elf", str(self._elf), "--uart", "pty", *self._options.arguments()]
        command += ["--statistics", str(self._file("statistics.json"))]
        with self._file("errors.txt").open("w") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            message = self.errors().splitlines()
            self.stop()
            raise environment_error(
                f"the simulator did not start: {message[0] if message else ''}", place=str(self._elf)
            )
        self._port = json.loads(line)["pty"]

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the firmware to end and returns the exit status.

        Raises:
            EspgenError: it still runs after `timeout` seconds.
        """
        if self._process is None:
            raise EspgenError("the simulator is not running", place=str(self._elf))
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise EspgenError(f"the simulated firmware still runs after {timeout} s", place=str(self._elf)) from None

    def errors(self) -> str:
        """What the simulator wrote to its standard error: why it stopped, and the firmware's debug characters."""
        if self._scratch is not None and self._file("errors.txt").exists():
            self._errors = self._file("errors.txt").read_text(errors="replace").strip()
        return self._errors

    def statistics(self) -> dict[str, Any]:
        """Counters at the end (see docs/simulator.md); stops the simulator if it runs."""
        self.stop()
        if self._statistics is None:
            raise EspgenError("the simulator left no statistics", place=str(self._elf))
        return self._statistics

    def stop(self) -> None:
        """Ends the process, if it runs, and collects its statistics."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.terminate()
                try:
                    self._process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None
            self._port = None
        if self._scratch is not None:
            self.errors()
            if self._file("statistics.json").exists():
                self._statistics = json.loads(self._file("statistics.json").read_text())
            self._scratch.cleanup()
            self._scratch = None

    def _file(self, name: str) -> Path:
        assert self._scratch is not None
        return Path(self._scratch.name) / name

    def __enter__(self) -> Simulator:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # It writes its statistics before it lets go of the port.
        ended = self._scratch is not None and self._file("statistics.json").exists()
        self.stop()
        died = ended and self._statistics is not None and self._statistics["error"] is not None
        if died and isinstance(error, EspgenError):
            # The link's error is only the consequence.
            raise environment_error(
                f"the simulator stopped: {self._errors[-2000:]}",
                hint="this is a defect of the generated firmware or of the simulator: please report it",
            ) from error


@dataclass(frozen=True)
class Result:
    """A finished simulation: exit status, UART output, standard error, statistics."""

    status: int
    output: bytes
    errors: str
    statistics: dict[str, Any]


def simulate(
    elf: str | Path, options: Options | None = None, *, uart_input: bytes = b"", timeout: float = 600
) -> Result:
    """Runs a program from start to exit, without a pseudo-terminal.

    Raises:
        EspgenError: the simulator cannot be built, the ELF file is no good, or it runs longer than `timeout` seconds.
    """
    with tempfile.TemporaryDirectory(prefix="espgen-simulator-") as scratch:
        statistics = Path(scratch) / "statistics.json"
        command = [str(build_simulator()), "--elf", str(elf), "--uart", "stdio", *(options or Options()).arguments()]
        try:
            done = subprocess.run(
                [*command, "--statistics", str(statistics)],
                input=uart_input,
                capture_output=True,
                check=False,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            raise EspgenError(f"the simulated program still runs after {timeout} s", place=str(elf)) from None
        errors = done.stderr.decode(errors="replace")
        if not statistics.exists():
            raise EspgenError(f"the simulator did not start: {errors.strip()[:200]}", place=str(elf))
        return Result(done.returncode, done.stdout, errors, json.loads(statistics.read_text()))
