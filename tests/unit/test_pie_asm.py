"""The assembler objects of the kernel generator: checks, loop forms, saved registers, predicted cycles."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from espgen.codegen.pie.asm import FFT_MARK, SAR_MARK, Function, assembly_file
from espgen.codegen.pie.instruction import Instruction, Label
from espgen.codegen.pie.loop_rules import check_text
from espgen.codegen.pie.registers import A0, A1, A2, A3, A6, S8, T3, F, Pool, Q
from espgen.errors import Defect, Refused
from espgen.target import core_costs
from espgen.target.espv import Levels
from espgen.target.isa import instruction_table
from espgen.verify.simulator import build_simulator


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
    with pytest.raises(Defect, match=re.escape(reason)):
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


RETURN = 1 + core_costs.JUMP


def test_costs_are_the_simulators():
    rows = subprocess.run([build_simulator(), "--parameters"], capture_output=True, check=True).stdout
    assert core_costs.PARAMETERS.items() <= json.loads(rows).items()


def test_accumulators_are_waited_for():
    f = _function()
    with f.loop(100, T3):
        f("esp.vmulas.s8.qacc", Q(0), Q(1))
        f("esp.srcmb.s8.qacc", Q(2), A1, 1)
        f("addi", A1, A1, 1)
        f("addi", A2, A2, 1)
    assert f.cycles() == 1 + 100 * (4 + 2) + RETURN
    f = _function()
    with f.loop(100, T3):
        f("esp.vmulas.s8.xacc", Q(0), Q(1))
        f("esp.vmulas.s8.xacc", Q(0), Q(1))
        f("esp.srs.s.xacc", A1, A2)
        f("addi", A2, A2, 1)
    assert f.cycles() == 1 + 100 * (5 + 3 + 2) + RETURN


def test_cycles_of_the_conformance_loops():
    f = _function()
    with f.loop(100, T3):
        for lane in range(16):
            weight = Q(1 + lane % 2)
            f("esp.vsmulas.s8.qacc.ld.incp", weight, A0, weight, Q(0), lane)
        f("addi", A1, A1, 1)
    assert f.cycles() == 1 + 100 * 17 + RETURN
    f = _function()
    with f.loop(100, T3):
        f("esp.vld.128.ip", Q(0), A0, 16)
        f("esp.vadd.s8", Q(1), Q(1), Q(0))
        f("addi", A1, A1, 1)
        f("addi", A2, A2, 1)
    assert f.cycles() == 1 + 100 * 5 + RETURN
    f = _function()
    with f.loop(100, T3):
        for part in ("l.l", "l.h", "h.l", "h.h"):
            f(f"esp.ld.qacc.{part}.128.ip", A0, 16)
        f("esp.srcmb.s8.qacc", Q(0), A1, 1)
        f("esp.vst.128.ip", Q(0), A2, 0)
        f("addi", A3, A3, 1)
    assert f.cycles() == 1 + 100 * 8 + RETURN
    f = _function()
    with f.repeat("rows", A1):
        f("lw", A2, 0, A0)
        f("add", A2, A2, A2)
    assert f.cycles(rows=10) == 10 * (3 + 1 + 1) + 3 * 4 + RETURN


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
    with pytest.raises(Defect, match="holds a branch"), f.loop(5, T3):
        with f.repeat(3, A1):
            f("addi", A0, A0, 1)
        f("addi", A0, A0, 1)
    f = _function()
    with pytest.raises(Refused, match="too long"), f.loop(5, T3):
        for _ in range(2100):
            f("addi", A0, A0, 1)
    f = _function()
    with pytest.raises(Defect, match="not nested"), f.loop(5, T3), f.loop(5, T3):
        pass
    f = _function()
    with pytest.raises(Defect, match="body changes it"), f.repeat(5, T3):
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
    with pytest.raises(Refused, match="16 PIE-reachable"):
        pool.take()


def _loop_body(f):
    lines = [line.split("//")[0].strip() for line in f.text().splitlines()]
    start = next(i for i, line in enumerate(lines) if line.startswith("esp.lp.setup"))
    end = next(i for i, line in enumerate(lines) if line.endswith("_end:"))
    return [*lines[start + 1 : end], lines[end + 1]]


def test_an_integer_instruction_that_the_body_needs_goes_last():
    f = _function()
    with f.loop(3, T3):
        f("esp.vld.128.ip", Q(0), A0, 16)
        f("addi", A1, A1, 4, note="kept")
        f("esp.vadd.s8", Q(1), Q(1), Q(0))
        f.comment("a remark")
        f("esp.vst.128.ip", Q(2), A2, 16)
    assert _loop_body(f)[-1] == "addi a1, a1, 4"
    assert len([line for line in _loop_body(f) if line]) == 4
    assert f.cycles() == 1 + 3 * 5 + RETURN  # the load is used at once now: as dear as a nop, and shorter


def test_nothing_moves_past_what_depends_on_it():
    for mnemonic, operands in (
        ("esp.vst.128.ip", (Q(2), A1, 16)),  # uses and changes what addi computes
        ("sw", (A1, 0, A0)),
        ("mv", (A1, A0)),
    ):
        f = _function()
        with f.loop(3, T3):
            f("addi", A1, A1, 4)
            f(mnemonic, *operands)
            for _ in range(3):
                f("esp.vadd.s8", Q(1), Q(1), Q(0))
        body = _loop_body(f)
        assert body[0] == "addi a1, a1, 4"
        assert body[-1] in ("nop", "mv a1, a0")
        assert ("nop" in body) == (mnemonic != "mv")


def test_equal_instructions_are_told_apart_when_one_moves():
    f = _function()
    with f.loop(3, T3):
        f("addi", A1, A1, 4)
        f("esp.vst.128.ip", Q(2), A1, 0)
        f("addi", A1, A1, 4)
        f("esp.vadd.s8", Q(1), Q(1), Q(0))
    assert [line.split()[0] for line in _loop_body(f)] == ["addi", "esp.vst.128.ip", "esp.vadd.s8", "addi"]


@pytest.mark.parametrize("trips", range(2, 20))
def test_short_bodies_share_what_a_legal_end_costs(trips):
    """Rounds written out: the same number of each instruction in the same order, cheaper, and the end is legal."""

    def build(end):
        f = _function()
        with f.loop(trips, T3):
            f("esp.vld.128.ip", Q(0), A0, 16)
            f("addi", A1, A1, 4)
            f.comment("a remark")
            f("esp.vmax.s8.ld.incp", Q(1), A1, Q(2), Q(2), Q(0))
            for _ in range(6):
                f("esp.vadd.s8", Q(1), Q(1), Q(2))
            if end:
                f("addi", A2, A2, 1)
        return f

    f, ended = build(False), build(True)
    lines = [line.split("//")[0].strip() for line in f.text().splitlines()]
    at = next((i for i, line in enumerate(lines) if line.startswith("esp.lp.setup")), len(lines))
    rounds = int(lines[at].split(",")[1]) if at < len(lines) else 0
    assert rounds >= 2 or trips < 2
    end = next(i for i, line in enumerate(lines) if line.endswith("_end:"))
    run = lines[: at + 1] + lines[at + 1 : end + 2] * rounds + lines[end + 2 :]
    wanted = ["esp.vld.128.ip", "addi", "esp.vmax.s8.ld.incp", *["esp.vadd.s8"] * 6]
    shown = [line.split()[0] for line in run if line.split() and line.split()[0] in wanted]
    assert shown == wanted * trips
    assert lines[end + 1] == "nop"
    assert f.cycles() <= ended.cycles()
    assert (f.cycles() < ended.cycles()) == (trips >= 4)


def test_loads_stores_and_floats():
    f = _function()
    with f.loop(3, T3):
        for _ in range(4):
            f("esp.vadd.s8", Q(1), Q(1), Q(0))
        f("lw", A1, 0, A0)
    assert _loop_body(f)[-1] == "lw a1, 0(a0)"  # an integer instruction where it stands
    f = _function()
    with f.loop(3, T3):
        for _ in range(4):
            f("fadd.s", F(1), F(1), F(0))
    assert _loop_body(f)[-1] == "nop"


def test_what_means_something_else_on_the_other_chip_is_not_emitted():
    for mnemonic, operands in (("esp.vsl.32", (Q(0), Q(1))), ("esp.vsr.s32", (Q(0), Q(1))), ("esp.vrelu.s8", (Q(0), A0, A1))):
        with pytest.raises(Defect, match="not mean the same on both chips"):
            _function()(mnemonic, *operands)
    f = _function()
    f("espgen.vsl.s32", Q(0), Q(1))
    assert "espgen.vsl.s32 q0, q1" in f.text()


def test_revision_3_alone_names_its_rounding():
    f = _function()
    f("esp.srcmb.s8.qacc", Q(0), A1, 1, note="narrow")
    f("esp.srcmb.s16.q.qacc", Q(0), Q(1), 0)
    f("esp.vmul.s16.ld.incp", Q(1), A0, Q(2), Q(3), Q(4))
    f("esp.vadd.s32", Q(1), Q(1), Q(0))
    for levels in (Levels.BOTH, Levels.V21):
        assert f.text() in assembly_file([f.text()], levels)
    lines = [" ".join(line.split()) for line in assembly_file([f.text()], Levels.V22).splitlines()]
    assert "esp.srcmb.s8.qacc q0, a1, sat, rne // narrow" in lines
    assert "esp.srcmb.s16.q.qacc q0, q1, trunc, rne" in lines
    assert "esp.vmul.s16.ld.incp q1, a0, q2, q3, q4, sat, rne" in lines
    assert "esp.vadd.s32 q1, q1, q0" in lines


GOOD_LOOP = """.option norvc
    esp.lp.setup 0, a0, 1f
    addi a1, a1, 1
    esp.vld.128.ip q0, a0, 16  # a comment
    esp.vst.128.ip q0, a2, 16
1:  addi a3, a3, 1
"""


def test_a_legal_loop_in_text():
    assert check_text(GOOD_LOOP) == 1
    assert check_text(GOOD_LOOP * 2) == 2
    assert check_text("    ret\n") == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((".option norvc", ".option rvc"), "norvc"),
        (("addi a3, a3, 1", "esp.vadd.s8 q1, q1, q0"), "esp.vadd.s8 ends it"),
        (("addi a3, a3, 1", "fadd.s fa0, fa0, fa1"), "fadd.s ends it"),
        (("addi a3, a3, 1", "bnez a3, 1b"), "bnez ends it"),
        (("addi a3, a3, 1", "esp.addx2 a3, a3, a4"), "esp.addx2 ends it"),
        (("addi a3, a3, 1", ""), "label"),
        (("    addi a1, a1, 1\n", ""), "this one has 3"),
        (("1:  addi", "2:  addi"), "is missing"),
        (("    esp.lp.setup 0, a0, 1f", "    .byte 1\n    esp.lp.setup 0, a0, 1f"), "norvc"),
        (("esp.lp.setup 0, a0, 1f", "esp.lp.starti 0, 1f"), "setup"),
    ],
)
def test_a_loop_in_text_that_breaks_a_rule(change, message):
    assert change[0] in GOOD_LOOP
    with pytest.raises(Defect, match=message):
        check_text(GOOD_LOOP.replace(*change))


def test_an_assembly_file_is_checked():
    with pytest.raises(Defect, match="ends it"):
        assembly_file([GOOD_LOOP.replace("addi a3, a3, 1", "esp.zero.qacc")])


def test_a_function_that_writes_cfg_or_sar_compares_them_at_its_end():
    f = Function("k", "t")
    f("addi", A0, A1, 1)
    assert [i.mnemonic for i in f.instructions()] == ["addi", "ret"]  # writes neither: nothing to compare
    before = f.cycles()
    f.configure(A1, misaligned_loads=True)
    shown = [str(i) for i in f.instructions()]
    assert shown[3:6] == ["esp.movx.r.cfg a0", "addi a0, a0, -98", "bnez a0, .Lk_disturbed"]
    assert shown[6:] == ["ret", "li a0, 0", "esp.movx.w.fft.bit.width a0", "j .Lk_watched"]
    assert f.code_bytes == 4 * len(shown)
    assert f.cycles() == before + 2 + 3  # what stands behind the end does not run
    f.shift_by(A1, 12)
    shown = [str(i) for i in f.instructions()]
    assert shown[7:10] == ["esp.movx.r.sar a1", "addi a1, a1, -12", "or a0, a0, a1"]
    assert shown[11:14] == ["li a0, 63", "esp.movx.w.sar a0", "ret"]  # the mark is back


def test_the_marks_differ_after_any_number_of_exchanges():
    """ESP-IDF before 6.0 brings SAR back from FFT_BIT_WIDTH (4 bits), and the other way round."""
    sar, fft = SAR_MARK, FFT_MARK
    for _ in range(4):
        sar, fft = fft, sar & 15
        assert (sar, fft) != (SAR_MARK, FFT_MARK)


def test_a_fence_stays_where_it_was_put():
    f = Function("k", "t")
    with f.loop(4, A3):
        f("esp.zero.qacc")
        f.fence()
        f("lw", A1, 0, A2)
        f("esp.zero.xacc")
    names = [i.mnemonic for i in f.instructions()]
    assert names.index("fence") == names.index("lw") - 1
