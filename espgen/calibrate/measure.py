"""Runs every benchmark on a bench and puts what it finds beside what the model says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from espgen.calibrate.bench import Answer, Bench
from espgen.calibrate.core import ALIASES, CORE
from espgen.calibrate.meanings import MEANINGS, Said
from espgen.calibrate.memory import MEMORY, Memory, MemoryBenchmark
from espgen.calibrate.records import LESS, MORE, Benchmark
from espgen.calibrate.switching import ask_switch
from espgen.errors import ENVIRONMENT, EspgenError
from espgen.target.espv import Level

Progress = Callable[[str, int, int], None]

MODELLED: Mapping[str, Callable[[Mapping[str, float]], float]] = MappingProxyType({
    "instruction": lambda _: 1.0,
    "l1_line": lambda _: 64.0,
    "l1i_miss": lambda known: known["l1_miss"],
    "copy_hold": lambda known: float(round(known["l2_line"] / known["psram_rate"] * known["copy_rate"] / known["psram_rate"])),
})  # fmt: skip
"""Figures that are no parameter, but that the model fixes."""


@dataclass(frozen=True)
class Figure:
    """A figure as it was found. `measured` is None, with the reason, where the place cannot tell; `modelled` is None where
    the model has no such figure."""

    name: str
    measures: str
    unit: str
    measured: float | None
    modelled: float | None
    is_parameter: bool
    reason: str = ""

    @property
    def error(self) -> float | None:
        """(measured - modelled) / modelled; of a figure modelled as 0, the difference. None where one is missing."""
        if self.measured is None or self.modelled is None:
            return None
        return (self.measured - self.modelled) / (self.modelled or 1.0)


def core_command(benchmark: Benchmark, kernel: str) -> str:
    """The firmware's command for one kernel of a benchmark."""
    timed = f"{kernel} {benchmark.place} 0 0 {LESS} {MORE}"
    if not benchmark.beside:
        return f"t {timed}"
    # One round of both comes before.
    return f"b {timed} {kernel} {benchmark.place} 0 0 {benchmark.beside * (LESS + MORE)}"


def measure(bench: Bench, parameters: Mapping[str, float], progress: Progress | None = None) -> list[Figure]:
    """Every figure, those of the core first. `parameters` are the model's."""
    total = len(CORE) + len(MEMORY)
    figures: list[Figure] = []

    def note(figure: Figure) -> None:
        figures.append(figure)
        if progress:
            progress("measuring", len(figures), total)

    commands = [core_command(benchmark, kernel.name) for benchmark in CORE for kernel in benchmark.kernels]
    answers = iter(bench.ask(commands))
    for benchmark in CORE:
        mine = {kernel.name: next(answers) for kernel in benchmark.kernels}
        note(_figure(benchmark, lambda benchmark=benchmark, mine=mine: _core(benchmark, mine), parameters))  # type: ignore[misc]
    memory = Memory(bench)
    for record in MEMORY:
        note(_figure(record, lambda record=record: float(record.derive(memory)), parameters))  # type: ignore[misc]
    return figures


def _core(benchmark: Benchmark, answers: Mapping[str, Answer]) -> float:
    rounds = {}
    for name, answer in answers.items():
        less, more = answer.numbers
        rounds[name] = (more - less) / (MORE - LESS)
    return benchmark.derive(rounds)


def _figure(record: Benchmark | MemoryBenchmark, find: Callable[[], float], parameters: Mapping[str, float]) -> Figure:
    measured, reason = None, ""
    try:
        measured = find()
    except EspgenError as problem:
        if problem.exit_code == ENVIRONMENT:
            raise
        reason = problem.message
    return Figure(
        record.name, record.measures, record.unit, measured, _modelled(record, parameters), record.is_parameter, reason
    )


def _modelled(record: Benchmark | MemoryBenchmark, parameters: Mapping[str, float]) -> float | None:
    if record.name in MODELLED:
        return MODELLED[record.name](parameters)
    return parameters.get(ALIASES.get(record.name, record.name))


def ask_meanings(bench: Bench, level: Level) -> list[Said]:
    """What the uncertain instructions of this level do, each asked apart, for the simulator stops on those that it does
    not know; and what a switch of tasks keeps."""
    said = []
    for meaning in MEANINGS:
        if level not in meaning.levels:
            continue
        answer = bench.ask([meaning.command])[0]
        text = "" if answer.missing else meaning.read(bytes.fromhex(answer.text.removeprefix("= ")))
        said.append(Said(meaning.name, meaning.question, text, answer.missing))
    return [*said, ask_switch(bench)]
