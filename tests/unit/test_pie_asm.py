"""The assembler objects of the kernel generator: checks, loop forms, saved registers, predicted cycles."""

from __future__ import annotations

import re

import pytest

from espgen.codegen.pie.asm import Function
from espgen.codegen.pie.instruction import Instruction, Label
from espgen.codegen.pie.registers import A0, A1, A2, A6, S8, T3, Pool, Q
from espgen.errors import EspgenError
from espgen.target.isa import instruction_table


@pytest.mark.parametrize(
    ("mnemonic", "operands", "reason"),
    [
        ("esp.vld.128.ip", (Q(0), A6, 16), "not reachable"),
        ("esp.vld.128.ip", (Q(0), A0, 8), "not in -2048..2032 step 16"),
        ("esp.vld.128.ip", (Q(0), A0, 2048), "not in"),
        ("esp.vld.128.ip", (A0, A0, 16), "no PIE register"),
        ("esp.vsld.32", (Q(0), Q(1), Q(2)), "no verified semantics"),
        ("esp.vnothing", (), "not in the instruction table"),
        ("esp.zero.q", (), "takes 1 operands"),
        ("addi", (A0, A0, 2048), "immediate"),
        ("bnez", (A0, 4), "no label"),
        ("lw", (Q(0), 0, A0), "no integer register"),
    ],
)
def test_what_the_table_does_not_allow_is_refused(mnemonic, operands, reason):
    with pytest.raises(EspgenError, match=re.escape(reason)):
        Instruction(mnemonic, operands)


@pytest.mark.parametrize(
    ("instruction", "reads", "writes", "loads"),
    [
        (Instruction("esp.vsmulas.s8.qacc.ld.incp", (Q(1), A0, Q(2), Q(3), 0)), {A0, Q(2), Q(3)}, {Q(1), A0}, {Q(1)}),
        (Instruction("esp.vmax.s8.st.incp", (Q(1), A0, Q(2), Q(3), Q(4))), {A0, Q(1), Q(3), Q(4)}, {Q(2), A0}, set()),
        (Instruction("esp.vadd.s8.ld.incp", (Q(1), A0, Q(2), Q(3), Q(4))), {A0, Q(3), Q(4)}, {Q(1), Q(2), A0}, {Q(1)}),
        (Instruction("esp.vunzip.8", (Q(1), Q(2))), {Q(1), Q(2)}, {Q(1), Q(2)}, set()),
        (Instruction("esp.mov.s8.qacc", (Q(1),)), {Q(1)}, set(), set()),
        (Instruction("esp.srcmb.s8.qacc", (Q(1), A0, 1)), {A0}, {Q(1)}, set()),
        (Instruction("esp.vst.128.xp", (Q(1), A0, A1)), {A0, A1, Q(1)}, {A0}, set()),
        (Instruction("esp.vrelu.s8", (Q(1), A0, A1)), {A0, A1, Q(1)}, {Q(1)}, set()),
        (Instruction("esp.vldext.s8.ip", (Q(1), Q(2), A0, 16)), {A0}, {Q(1), Q(2), A0}, {Q(1), Q(2)}),
        (Instruction("lw", (A0, 4, A1)), {A1}, {A0}, {A0}),
        (Instruction("sw", (A0, 4, A1)), {A0, A1}, set(), set()),
    ],
)
def test_registers_read_written_and_loaded(instruction, reads, writes, loads):
    assert (instruction.reads, instruction.writes, instruction.loads) == (reads, writes, loads)


def test_every_verified_instruction_names_each_register_as_read_or_written():
    sample = {"q": Q(3), "x_pie": A1, "x_any": A1, "pcrel": Label("here")}
    for entry in instruction_table().values():
        if entry.verified:
            operands = tuple(sample.get(operand.kind, operand.minimum) for operand in entry.operands)
            instruction = Instruction(entry.mnemonic, operands)
            registers = {operand for operand in operands if not isinstance(operand, int | Label)}
            assert instruction.reads | instruction.writes == registers, entry.mnemonic


def _function(**options):
    return Function("kernel", "a kernel", **options)


def test_cycles_of_the_conformance_loops():
    f = _function()
    with f.loop(100, T3):
        for lane in range(16):
            weight = Q(1 + lane % 2)
            f("esp.vsmulas.s8.qacc.ld.incp", weight, A0, weight, Q(0), lane)
    assert f.cycles() == 1 + 100 * 16 + 3
    f = _function()
    with f.loop(100, T3):
        f("esp.vld.128.ip", Q(0), A0, 16)
        f("esp.vadd.s8", Q(1), Q(1), Q(0))
        f("addi", A1, A1, 1)
        f("addi", A2, A2, 1)
    assert f.cycles() == 1 + 100 * 5 + 3
    f = _function()
    with f.loop(100, T3):
        for part in ("l.l", "l.h", "h.l", "h.h"):
            f(f"esp.ld.qacc.{part}.128.ip", A0, 16)
        f("esp.srcmb.s8.qacc", Q(0), A1, 1)
        f("esp.vst.128.ip", Q(0), A2, 0)
    assert f.cycles() == 1 + 100 * 7 + 3
    f = _function()
    with f.repeat("rows", A1):
        f("lw", A2, 0, A0)
        f("add", A2, A2, A2)
    assert f.cycles(rows=10) == 10 * (3 + 1 + 1) + 9 * 2 + 3


def test_branch_form_counts_the_same_rounds():
    f = _function(hardware_loops=False)
    with f.loop(7, T3):
        f("addi", A0, A0, 1)
    text = f.text()
    assert "esp.lp" not in text
    assert "li t3, 7" in text
    assert "bnez t3" in text


def test_hardware_loop_label_stands_on_the_last_instruction():
    f = _function()
    with f.loop(5000, T3):
        for _ in range(5):
            f("addi", A0, A0, 1)
        f.comment("done")
    lines = f.text().splitlines()
    at = next(index for index, line in enumerate(lines) if line.endswith("_end:"))
    assert lines[at + 1].split() == ["addi", "a0,", "a0,", "1"]
    assert any("esp.lp.setup 0, t3" in line for line in lines)


def test_hardware_loop_rules():
    f = _function()
    with pytest.raises(EspgenError, match="holds a branch"), f.loop(5, T3):
        with f.repeat(3, A1):
            f("addi", A0, A0, 1)
        f("addi", A0, A0, 1)
    f = _function()
    with pytest.raises(EspgenError, match="too long"), f.loop(5, T3):
        for _ in range(2100):
            f("addi", A0, A0, 1)
    f = _function()
    with pytest.raises(EspgenError, match="not nested"), f.loop(5, T3), f.loop(5, T3):
        pass
    f = _function()
    with pytest.raises(EspgenError, match="body changes it"), f.repeat(5, T3):
        f("addi", T3, T3, 1)


def test_callee_saved_registers_and_scratch_share_the_frame():
    f = _function()
    assert f.scratch(64) == 0
    f("mv", S8, A0)
    text = f.text()
    assert "addi sp, sp, -80" in text
    assert "sw s8, 64(sp)" in text
    assert text.index("lw s8, 64(sp)") > text.index("mv s8, a0")
    assert f.stack_bytes == 80


def test_pool_hands_out_each_register_once_and_ends():
    pool = Pool(exclude=(A0,))
    taken = [pool.take() for _ in range(15)]
    assert len(set(taken)) == 15
    assert A0 not in taken
    assert all(register.reachable for register in taken)
    with pytest.raises(EspgenError, match="16 PIE-reachable"):
        pool.take()
