"""A calibration from end to end: where it runs, what it reports, the chip file that it writes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from espgen.calibrate.bench import Answer, Bench, BoardBench, SimulatorBench
from espgen.calibrate.firmware import build_image
from espgen.calibrate.meanings import Said
from espgen.calibrate.measure import Figure, Progress, ask_meanings, measure
from espgen.errors import EspgenError, environment_error
from espgen.target.chips import V1, V3, Chip, concrete
from espgen.target.espv import Level
from espgen.verify.link import open_serial
from espgen.verify.simulator import Options, build_simulator

REVISION_3 = 300
NOT_OF_THE_CHIP = ("l2_size",)
"""Parameters that sdkconfig chooses: they stay out of a chip file."""

MAX_CYCLES = 500_000_000
"""A simulated command that takes longer hangs."""


def model_parameters(chip: Chip, l2_kb: int) -> dict[str, float]:
    """Every number of the simulator for a chip, by name."""
    told = subprocess.run([build_simulator(), "--parameters"], capture_output=True, text=True, check=True).stdout
    return {**json.loads(told), **chip.parameters(), "l2_size": float(l2_kb * 1024)}


def simulator_bench(chip: Chip, l2_kb: int, hidden: Mapping[str, float] | None = None) -> SimulatorBench:
    """The simulated chip as a bench; `hidden` are parameters that differ from the chip's, which the report does not know."""
    image = build_image(chip, l2_kb)
    return SimulatorBench(image, Options(chip=chip, l2_kb=l2_kb, max_cycles=MAX_CYCLES), hidden)


def calibrate_simulator(chip: Chip, l2_kb: int, progress: Progress | None = None) -> dict[str, Any]:
    """Measure the simulated `chip`: the one that stands for it where it stands for several."""
    if not chip.has_vectors:
        hint = "name one with a vector unit: espgen doctor lists them"
        raise EspgenError(f"{chip.name} is no chip that the simulator can be", place="--chip", hint=hint)
    one = concrete(chip)[0]
    return _calibrated(simulator_bench(one, l2_kb), one, l2_kb, "simulator", progress)


def calibrate_board(port: str, l2_kb: int, progress: Progress | None = None) -> dict[str, Any]:
    """Measure the board at `port`, which runs the calibration firmware.

    EspgenError (exit code 3): no such port, nothing that answers, or not all of it.
    """
    link = open_serial(port)
    with link:
        bench = BoardBench(link.transport, link.place)
        chip = chip_of(bench.hello())
        return _calibrated(bench, chip, l2_kb, port, progress)


def chip_of(hello: Answer) -> Chip:
    """The chip whose revision the firmware tells, at the clock that it runs at."""
    clock, revision, *_ = hello.numbers
    if clock <= 0:
        raise environment_error("the firmware does not know its clock", hint="write the firmware of this espgen again")
    return replace(V3 if revision >= REVISION_3 else V1, clock_hz=clock)


def _calibrated(bench: Bench, chip: Chip, l2_kb: int, place: str, progress: Progress | None) -> dict[str, Any]:
    figures = measure(bench, model_parameters(chip, l2_kb), progress)
    level = Level(chip.espv[0])
    said = ask_meanings(bench, level)
    modelled = said if place == "simulator" else ask_meanings(simulator_bench(chip, l2_kb), level)
    return {
        "chip": chip.to_json(),
        "place": place,
        "l2_kb": l2_kb,
        "figures": [{**asdict(figure), "error": figure.error} for figure in figures],
        "meanings": [_meaning(one, model) for one, model in zip(said, modelled, strict=True)],
        "costs": costs(figures),
    }


def _meaning(one: Said, model: Said) -> dict[str, str]:
    return {**asdict(one), "modelled": model.measured}


def costs(figures: Iterable[Figure]) -> dict[str, float]:
    """The simulator's parameters as they were measured: whole numbers but for rates, none below 0."""
    return {
        figure.name: max(0.0, round(figure.measured, 4) if "per cycle" in figure.unit else float(round(figure.measured)))
        for figure in figures
        if figure.is_parameter and figure.measured is not None and figure.name not in NOT_OF_THE_CHIP
    }


def write_chip_file(result: Mapping[str, Any], path: Path) -> None:
    """What `--chip FILE` takes (target.chips.find_chip). EspgenError (exit code 3) where it cannot be written."""
    described = {
        "chip": result["chip"]["name"],
        "clock_hz": result["chip"]["clock_hz"],
        "measured_on": result["place"],
        "costs": result["costs"],
    }
    try:
        path.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    except OSError as problem:
        hint = "name a file in a folder that you may write to"
        raise environment_error(f"the chip file cannot be written: {problem.strerror}", place=str(path), hint=hint) from problem
