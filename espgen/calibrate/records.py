"""What a benchmark is: kernels in assembly, and how a figure follows from the cycles of their rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

REST = 40
"""Instructions between a result and its late reader: longer than anything takes."""

LESS, MORE = 64, 320
"""Two counts of rounds, multiples of 32: what a call costs by itself cancels out of their difference."""

Rounds = Mapping[str, float]
"""Kernel -> cycles of one of its rounds."""


@dataclass(frozen=True)
class Kernel:
    """A loop: `setup` runs once, `body` every round.

    a0 counts rounds, a1 points to 128 bytes of data and 64 of results; all registers that a C function may change are
    free but for these. `whole` is everything from entry to return instead, for kernels with a loop of another kind.
    """

    name: str
    body: str = ""
    setup: str = ""
    whole: str = ""


@dataclass(frozen=True)
class Benchmark:
    """A figure of the core.

    name       of the figure, which is the simulator's parameter where `is_parameter`
    unit       of the figure
    measures   in a sentence
    kernels    whose rounds are timed, one after the other
    derive     the figure, from the cycles of a round of each kernel
    beside     rounds of the same kernel that core 1 runs meanwhile, per round here; 0: core 1 rests
    place      what kernels get as data: scratch memory ("s"), or device registers ("d"), which only the simulator has
    """

    name: str
    measures: str
    kernels: tuple[Kernel, ...]
    derive: Callable[[Rounds], float]
    unit: str = "cycles"
    is_parameter: bool = True
    beside: int = 0
    place: str = "s"


def wait(name: str, measures: str, producer: str, reader: str, setup: str = "", parameter: bool = True) -> Benchmark:
    """How long `reader` waits right behind `producer`: the difference to a round in which it comes much later."""
    rest = f".rept {REST}\nnop\n.endr"
    near = Kernel(f"{name}_near", f"{producer}\n{reader}\n{rest}", setup)
    far = Kernel(f"{name}_far", f"{producer}\n{rest}\n{reader}", setup)
    return Benchmark(name, measures, (near, far), lambda rounds: rounds[near.name] - rounds[far.name], is_parameter=parameter)


def rate(name: str, measures: str, instruction: str, *, less: float = 0, setup: str = "", tail: str = "") -> Benchmark:
    """Cycles of each of many equal instructions, `less` of which do not count: 16 in a round against 8."""
    few, many = (Kernel(f"{name}_{n}", f".rept {n}\n{instruction}\n.endr\n{tail}", setup) for n in (8, 16))
    return Benchmark(name, measures, (few, many), lambda rounds: (rounds[many.name] - rounds[few.name]) / 8 - less)


def more_than(name: str, measures: str, dear: str, cheap: str, setup: str = "", setup_cheap: str | None = None) -> Benchmark:
    """What one instruction costs more than another: eight of each in a round."""
    first = Kernel(f"{name}_dear", f".rept 8\n{dear}\n.endr", setup)
    second = Kernel(f"{name}_cheap", f".rept 8\n{cheap}\n.endr", setup if setup_cheap is None else setup_cheap)
    return Benchmark(name, measures, (first, second), lambda rounds: (rounds[first.name] - rounds[second.name]) / 8)
