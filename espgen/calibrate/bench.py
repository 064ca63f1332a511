"""Where benchmarks run: commands in, numbers out, whoever answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from espgen.errors import EspgenError, environment_error
from espgen.verify.link import Transport, printable
from espgen.verify.simulator import STOPPED_BY_ERROR, Options, simulate

MISSING = "?"
"""How an answer begins that says what a place does not have."""


@dataclass(frozen=True)
class Answer:
    """What the firmware said to a command: numbers, or why there are none. `text` is what it wrote."""

    text: str

    @property
    def missing(self) -> str:
        """Why there is no number; empty where there is one."""
        return self.text.removeprefix(MISSING).strip() if self.text.startswith(MISSING) else ""

    @property
    def numbers(self) -> list[int]:
        """Raises EspgenError where the answer is none."""
        if self.missing or not self.text.startswith("="):
            raise EspgenError(f"the calibration firmware cannot measure this: {self.missing or printable(self.text)}")
        return [int(word) for word in self.text[1:].split()]


class Bench(Protocol):
    """A board or a simulation."""

    def ask(self, commands: Sequence[str]) -> list[Answer]:
        """One answer per command, in their order. EspgenError where the line is lost or the firmware stops."""


class SimulatorBench:
    """Each call runs the firmware from its start: what a command measures depends on nothing before it."""

    def __init__(self, image: Path, options: Options, hidden: Mapping[str, float] | None = None) -> None:
        self._image = image
        self._options = replace(options, parameters={**(options.parameters or {}), **(hidden or {})})

    def ask(self, commands: Sequence[str]) -> list[Answer]:
        """As Bench.ask."""
        script = "".join(f"{command}\n" for command in [*commands, "q"])
        result = simulate(self._image, self._options, uart_input=script.encode())
        lines = result.output.decode("ascii", "replace").splitlines()
        if result.status == STOPPED_BY_ERROR:
            told = next((line for line in result.errors.splitlines() if line.startswith("p4sim:")), "p4sim: stopped")
            reason = told.removeprefix("p4sim: ").partition(";")[0]
            lines += [f"{MISSING} {reason}"] * (len(commands) - len(lines))
        if len(lines) != len(commands):
            raise EspgenError(f"the calibration firmware gave {len(lines)} answers to {len(commands)} commands")
        return [Answer(line) for line in lines]


class BoardBench:
    """One command after the other over a serial port."""

    REPLY_SECONDS = 30.0
    QUIET_SECONDS = 0.3
    HELLOS, HELLO_SECONDS = 12, 1.0

    def __init__(self, transport: Transport, place: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._transport, self._place, self._clock = transport, place, clock
        self._received = b""

    def ask(self, commands: Sequence[str]) -> list[Answer]:
        """As Bench.ask."""
        return [self._one(command) for command in commands]

    def hello(self) -> Answer:
        """Wait until the firmware answers, whatever the board printed before."""
        try:
            for _ in range(self.HELLOS):
                self._transport.write(b"\ni\n\0")
                answer = self._line(self.HELLO_SECONDS)
                if answer is not None:
                    while self._transport.read(self.QUIET_SECONDS):  # answers to what was asked before it woke up
                        pass
                    self._received = b""
                    return answer
        except OSError as problem:
            raise self._gone(problem) from problem
        raise environment_error(
            "nothing answers that is espgen's calibration firmware",
            place=self._place,
            hint="write it with `espgen calibrate --project DIR`, then `idf.py flash` there",
        )

    def _one(self, command: str) -> Answer:
        try:
            self._transport.write(f"{command}\n\0".encode())
            answer = self._line(self.REPLY_SECONDS)
        except OSError as problem:
            raise self._gone(problem) from problem
        if answer is None:
            raise environment_error(
                f"the board does not answer {command.split()[0]!r} within {self.REPLY_SECONDS:.0f} s",
                place=self._place,
                hint="reset the board and run the command again",
            )
        return answer

    def _gone(self, problem: OSError) -> EspgenError:
        return environment_error(f"the port is gone: {problem}", place=self._place, hint="plug the board in again")

    def _line(self, seconds: float) -> Answer | None:
        """The next line that is an answer; what else the board prints is none."""
        until = self._clock() + seconds
        while self._clock() < until:
            line, newline, rest = self._received.partition(b"\n")
            if not newline:
                self._received += self._transport.read(0.1)
                continue
            self._received = rest
            text = line.decode("ascii", "replace").strip()
            if text.startswith(("=", MISSING)):
                return Answer(text)
        return None
