"""Timer interrupts: traps into firmware, and tasks that share the vector unit as ESP-IDF's do."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
import simulator_program as p
from simulator_build import build

from espgen.target.isa import assemble_text
from espgen.verify.simulator import STOPPED_BY_ERROR, Options, simulate

STATE = 8 * 16 + 12


def _pie(text: str) -> str:
    return f".4byte {assemble_text(text):#x}"


def _support(folder: Path) -> Path:
    """What tasks.cpp calls: the compiler knows no instruction of the vector unit."""
    names = ("sar", "fft.bit.width", "cfg")
    loads = [_pie(f"esp.vld.128.ip q{i}, a0, 16") for i in range(8)]
    stores = [_pie(f"esp.vst.128.ip q{i}, a0, 16") for i in range(8)]
    writes = [line for i, name in enumerate(names) for line in (f"lw a1, {4 * i}(a0)", _pie(f"esp.movx.w.{name} a1"))]
    reads = [line for i, name in enumerate(names) for line in (_pie(f"esp.movx.r.{name} a1"), f"sw a1, {4 * i}(a0)")]
    functions = {
        "set_vectors": [*loads, *writes, "ret"],
        "get_vectors": [*stores, *reads, "ret"],
        "count_rounds": ["li a1, 0", _pie("esp.lp.setup 0, a0, 16"), *["addi a1, a1, 1", "nop"] * 2, "srli a0, a1, 1", "ret"],
        "trap": [
            *("addi sp, sp, -16", "sw t0, 0(sp)", "sw t1, 4(sp)", "la t0, trap_count", "lw t1, 0(t0)", "addi t1, t1, 1"),
            *("sw t1, 0(t0)", "csrr t1, mcause", "bgez t1, 1f", "lw t0, 0(sp)", "lw t1, 4(sp)", "addi sp, sp, 16", "mret"),
            *("1: li t0, 0x5FFF0000", "li t1, 99", "sw t1, 0(t0)"),
        ],
    }
    lines = [".option norvc", ".option norelax"]
    for name, body in functions.items():
        lines += [f".globl {name}", ".balign 4", f"{name}:", *body]
    (folder / "support.S").write_text("\n".join([*lines, ""]))
    return folder / "support.S"


def _run(folder: Path, options: Options, *defines: str) -> tuple[bytes, dict[str, Any]]:
    elf = build(folder, "tasks", str(_support(folder)), *defines)
    result = simulate(elf, options, timeout=60)
    assert (result.status, result.errors) == (0, "")
    return result.output, result.statistics["cores"][0]


@pytest.mark.parametrize("memory_model", [False, True])
def test_a_handler_of_the_firmware_is_entered_and_left(memory_model: bool, tmp_path: Path) -> None:
    _, core = _run(tmp_path, Options(memory_model=memory_model), "-DTRAP")
    assert core["interrupts"] > 100
    assert core["task_switches"] == 0


def test_tasks_keep_their_registers(tmp_path: Path) -> None:
    output, core = _run(tmp_path, Options(memory_model=False))
    assert core["task_switches"] > 100
    assert core["vector_switches"] == 0  # the other task does not use the unit
    mine = bytes(range(128)) + struct.pack("<3I", 37, 5, 0x60)
    assert output == 2 * mine


@pytest.mark.parametrize("version", ["5.3", "6.0"])
def test_a_switch_keeps_of_the_vector_unit_what_the_system_does(version: str, tmp_path: Path) -> None:
    options = Options(memory_model=False, task_switch=version)
    output, core = _run(tmp_path, options, "-DVECTORS")
    first, second = output[:STATE], output[STATE:]
    assert core["task_switches"] > 100
    assert 2 <= core["vector_switches"] <= 4  # lazily: the first task needs the unit twice
    other = bytes(range(0x80, 0x100))
    q = bytearray(range(128))
    sar, fft = 37, 5
    if version == "5.3":
        q[48:64] = other[48:64]
        sar, fft = fft, sar & 15
    assert first == bytes(q) + struct.pack("<3I", sar, fft, 0)  # CFG is the other task's
    if version == "5.3":
        sar, fft = fft, sar & 15
    assert second in (bytes(q) + struct.pack("<3I", sar, fft, 0), first)


def test_the_seed_decides_when_interrupts_come(tmp_path: Path) -> None:
    elf = build(tmp_path, "tasks", str(_support(tmp_path)))
    runs = [simulate(elf, Options(memory_model=False, seed=seed), timeout=60).statistics["cores"] for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_what_lies_below_the_stack_pointer_is_lost(tmp_path: Path) -> None:
    """The interrupt's frame is written there, as on the chip."""
    words = [*p.START, *p.li("a4", p.DATA), p.addi("sp", "a4", 512), p.addi("a0", "zero", 5), p.sw("a0", "sp", -8)]
    words += [*[p.addi("a1", "a1", 1)] * 40, p.lw("a0", "sp", -8), *p.exit_with("a0")]
    assert p.run(tmp_path, words, Options(memory_model=False)).status == 5
    assert p.run(tmp_path, words, Options(memory_model=False, interrupts=(10, 20))).status != 5


ADD = p.addi("a3", "a3", 1)


@pytest.mark.parametrize("at_loops", [True, False])
def test_an_interrupt_between_rounds_leaves_legal_loops_alone(at_loops: bool, tmp_path: Path) -> None:
    body = [*p.pie("esp.zero.qacc"), ADD, *[p.addi("a5", "a5", 0)] * 2]
    words = [*p.START, *p.pie("esp.lp.setupi 0, 100, 16"), *body, *p.exit_with("a3")]
    options = Options(memory_model=False, interrupts=None if at_loops else (1, 9), loop_interrupts=at_loops)
    result = p.run(tmp_path, words, options, lenient_loops=False)
    assert result.status == 100
    interrupts = result.statistics["cores"][0]["interrupts"]
    assert interrupts == 100 if at_loops else interrupts > 50


def test_an_interrupt_between_rounds_ruins_a_loop_that_breaks_a_rule(tmp_path: Path) -> None:
    words = [*p.START, *p.pie("esp.lp.setupi 0, 100, 16"), *[ADD] * 3, *p.pie("esp.zero.qacc")]
    words += [p.addi("a3", "a3", -200), *p.exit_with("a3")]
    assert p.run(tmp_path, words, Options(memory_model=False)).status == 100
    assert p.run(tmp_path, words, Options(memory_model=False, interrupts=(1, 40))).status > 100
    endless = p.run(tmp_path, words, Options(memory_model=False, loop_interrupts=True, max_cycles=10_000))
    assert endless.status == STOPPED_BY_ERROR
    assert "cycle limit" in endless.statistics["error"]
