"""What a switch between two tasks that use the vector unit keeps of it."""

from __future__ import annotations

import struct

from espgen.calibrate.bench import Bench
from espgen.calibrate.meanings import Said
from espgen.calibrate.records import Kernel

_MOVED = {"XACC": "xacc.l", "SAR": "sar", "SAR_BYTE": "sar.bytes", "FFT_BIT_WIDTH": "fft.bit.width", "CFG": "cfg"}
"""Registers that a scalar register is moved to and from."""

REGISTERS = (*(f"q{number}" for number in range(8)), "QACC", *_MOVED)
"""In the order of the words that `switch_look` writes."""

_FULL = (0x1234, 5, 3, 7, 2 | 6 << 4)
_SPOILT = (0x4321, 1, 9, 2, 0)


def _moves(values: tuple[int, ...]) -> list[str]:
    pairs = zip(_MOVED.values(), values, strict=True)
    return [line for name, value in pairs for line in (f"li t3, {value}", f"esp.movx.w.{name} t3")]


def _fill() -> str:
    lines = ["mv a2, a1"]
    for number in range(8):
        lines += [f"li t3, {0x01010101 * (number + 1)}", "sw t3, 0(a1)", f"esp.vldbc.32.ip q{number}, a2, 0"]
    return "\n".join([*lines, "esp.zero.qacc", "esp.vmulas.s8.qacc q1, q2", *_moves(_FULL), "ret"])


def _spoil() -> str:
    return "\n".join([*(f"esp.zero.q q{number}" for number in range(8)), "esp.zero.qacc", *_moves(_SPOILT), "ret"])


def _look() -> str:
    lines = ["addi a2, a1, 64"]
    stores = [f"esp.vst.128.ip q{number}, a2, 0" for number in range(8)] + ["esp.st.qacc.l.l.128.ip a2, 0"]
    for index, store in enumerate(stores):
        # What the vector unit has stored reaches a scalar load behind a fence only, on revisions below 3.
        lines += [store, "fence", "lw t4, 0(a2)", f"sw t4, {128 + 4 * index}(a1)"]
    for index, name in enumerate(_MOVED.values(), len(stores)):
        lines += [f"esp.movx.r.{name} t4", f"sw t4, {128 + 4 * index}(a1)"]
    return "\n".join([*lines, "li t3, 0", "esp.movx.w.cfg t3", "ret"])


FILL = Kernel("switch_fill", whole=_fill())
SPOIL = Kernel("switch_spoil", whole=_spoil())
LOOK = Kernel("switch_look", whole=_look())
REST = Kernel("switch_rest", whole="ret")
SWITCHING = (FILL, SPOIL, LOOK, REST)

QUESTION = "what does a switch between two tasks of a core that use the vector unit keep?"


def ask_switch(bench: Bench) -> Said:
    """Compare what the first task finds when the second one has used the unit with what it finds when it has not."""
    undisturbed, disturbed = bench.ask([f"s {FILL.name} {other.name} {LOOK.name}" for other in (REST, SPOIL)])
    missing = undisturbed.missing or disturbed.missing
    if missing:
        return Said("task_switch", QUESTION, "", missing)
    before, after = (
        struct.unpack(f"<{len(REGISTERS)}I", bytes(answer.numbers)[: 4 * len(REGISTERS)]) for answer in (undisturbed, disturbed)
    )
    lost = [name for name, one, other in zip(REGISTERS, before, after, strict=True) if one != other]
    return Said("task_switch", QUESTION, f"all but {', '.join(lost)}" if lost else "everything")
