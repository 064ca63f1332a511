"""The simulator's core model: conformance loops, latencies, loops, clean stops, decoding."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import simulator_program as p

from espgen.target import simulator_table
from espgen.target.espv import Level
from espgen.target.isa import REGISTER_NUMBERS, instruction_table
from espgen.verify.simulator import STOPPED_BY_ERROR, Options, build_simulator

_VECTOR_FILES = {Level.V21: ("pie_encoding_vectors.json", 534), Level.V22: ("pie_encoding_vectors_2p2.json", 286)}
POINTERS = [*p.li("a0", p.DATA), *p.li("a2", p.DATA + 0x1000), *p.li("a4", p.DATA), p.addi("a1", "zero", 3)]


def _alternating_macs() -> list[int]:
    lines = [f"esp.vsmulas.s8.qacc.ld.incp q{1 + i % 2}, a0, q{1 + i % 2}, q0, 0" for i in range(16)]
    return [*p.pie(*lines)]


def _accumulator_round_trip() -> list[int]:
    quarters = [f"esp.ld.qacc.{part}.128.ip a0, 16" for part in ("l.l", "l.h", "h.l")]
    return p.pie(*quarters, "esp.ld.qacc.h.h.128.ip a0, -48", "esp.srcmb.s8.qacc q0, a1, 1", "esp.vst.128.ip q0, a2, 0")


def _rewound(body: list[int]) -> list[int]:
    """Keeps a walking pointer inside memory at the cost of one cycle."""
    return [*body, p.addi("a0", "a4", 0)]


def test_counting_loop(tmp_path: Path) -> None:
    body = [p.addi("a0", "a0", 1)]
    assert p.cycles_per_iteration(tmp_path, POINTERS, lambda n: p.counted_loop(body, n)) == 3


def test_summing_loop_waits_for_its_load(tmp_path: Path) -> None:
    body = [p.lw("a2", "a0"), p.add("a3", "a3", "a2")]
    assert p.cycles_per_iteration(tmp_path, POINTERS, lambda n: p.counted_loop(body, n)) == 4 + 1


def test_alternating_macs_run_at_one_per_cycle(tmp_path: Path) -> None:
    # The pointer walks 256 bytes per iteration: PSRAM has room for it, internal RAM does not.
    setup = [*p.li("a0", 0x48000000)]
    body = [*_alternating_macs(), p.addi("a5", "a5", 1)]
    assert p.cycles_per_iteration(tmp_path, setup, lambda n: p.hardware_loop(body, n)) == 17


def test_xacc_macs_are_five_apart(tmp_path: Path) -> None:
    body = [*p.pie(*["esp.vmulas.s8.xacc q0, q1"] * 16), p.addi("a5", "a5", 1)]
    assert abs(p.cycles_per_iteration(tmp_path, POINTERS, lambda n: p.hardware_loop(body, n)) - 80) <= 5


def test_float_loop(tmp_path: Path) -> None:
    body = [p.flw("f1", "a4"), p.float_op(8, "f2", "f1", "f0"), p.float_op(0, "f3", "f3", "f2"), p.fsw("f3", "a4")]
    body += [p.addi("a3", "a3", 1), p.addi("a5", "a5", 1)]
    assert p.cycles_per_iteration(tmp_path, POINTERS, lambda n: p.counted_loop(body, n)) == 8 + 1 + 2 + 2


def test_vector_load_use(tmp_path: Path) -> None:
    body = [*p.pie("esp.vld.128.ip q0, a0, 16", "esp.vadd.s8 q1, q1, q0"), p.addi("a5", "a5", 1), p.addi("a3", "a3", 1)]
    assert p.cycles_per_iteration(tmp_path, p.li("a0", 0x48000000), lambda n: p.hardware_loop(body, n)) == 4 + 1


def test_accumulator_round_trip(tmp_path: Path) -> None:
    loop = [*_accumulator_round_trip(), p.addi("a5", "a5", 1)]
    assert p.cycles_per_iteration(tmp_path, POINTERS, lambda n: p.hardware_loop(loop, n)) == 7 + 1


@pytest.mark.parametrize(
    ("name", "body", "cycles"),
    [
        ("independent", [p.addi("a3", "a3", 1)] * 4, 4),
        ("multiply and use", [p.mul("a3", "a1", "a1"), p.add("a5", "a3", "a3")], 3),
        ("multiply, then something else", [p.mul("a3", "a1", "a1"), p.add("a5", "a1", "a1"), p.add("a5", "a3", "a3")], 3),
        ("divide", [p.div("a3", "a1", "a1")], 16),
        ("load without a reader", [p.lw("a3", "a4"), p.addi("a5", "a1", 0)], 2),
        ("load, reader one later", [p.lw("a3", "a4"), p.addi("a5", "a1", 0), p.addi("a5", "a3", 0)], 3),
        ("load across the back edge", [p.addi("a5", "a3", 0), p.lw("a3", "a4")], 3),
        ("loaded value stored", [p.lw("a3", "a4"), p.sw("a3", "a4")], 3),
        ("float load and use", [p.flw("f1", "a4"), p.float_op(0, "f2", "f1", "f1"), *[p.addi("a5", "a5", 1)] * 3], 6),
        ("float chain", [p.float_op(0, "f1", "f1", "f1")], 3),
        ("float product chain", [p.float_op(8, "f1", "f1", "f1")], 3),
        ("fused addend", [p.fused("f1", "f2", "f3", "f1")], 2),
        ("fused factor", [p.fused("f1", "f1", "f3", "f2")], 3),
        ("loaded addend", [p.flw("f1", "a4"), p.fused("f2", "f3", "f4", "f1")], 2),
        ("sum as addend", [p.float_op(0, "f1", "f2", "f3"), p.fused("f4", "f2", "f3", "f1")], 3),
        ("float division chain", [p.float_op(0x0C, "f1", "f1", "f1")], 21),
        ("conversion and use", [p.float_op(0x60, "a3", "f1", "f0"), p.addi("a5", "a3", 0)], 4),
        ("csr and use", [p.csrr("a3", 0xB00), p.addi("a5", "a3", 0)], 3),
        ("csr alone", [p.csrr("a3", 0xB00), p.addi("a5", "a1", 0)], 2),
        ("jump", [p.jal("ra", 4), p.addi("a5", "a5", 1)], 5),
        ("branch not taken", [p.branch(0, "a0", "a1", 8), p.addi("a5", "a5", 1)], 2),
        ("branch taken", [p.branch(1, "a0", "a1", 8), p.addi("a5", "a5", 1), p.addi("a3", "a3", 1)], 2),
        ("fused load and use", p.pie("esp.vmulas.s8.qacc.ld.ip q1, a4, 0, q2, q3", "esp.vadd.s8 q4, q1, q1"), 3),
        ("two MACs on one accumulator", p.pie("esp.vmulas.s8.qacc q1, q2", "esp.vmulas.s8.qacc q1, q2"), 2),
        ("MAC result shifted out", p.pie("esp.vmulas.s8.qacc q1, q2", "esp.srcmb.s8.qacc q0, a1, 1"), 4),
        (
            "MAC result stored one later",
            [
                *p.pie("esp.vmulas.s8.qacc q1, q2"),
                p.addi("a5", "a5", 1),
                *p.pie("esp.st.qacc.l.l.128.ip a4, 0"),
            ],
            4,
        ),
        ("MAC result replaced", p.pie("esp.vmulas.s8.qacc q1, q2", "esp.mov.s8.qacc q0"), 4),
        ("MAC result cleared", p.pie("esp.vmulas.s8.qacc q1, q2", "esp.zero.qacc"), 2),
        ("XACC MAC and reader", p.pie("esp.vmulas.s8.xacc q1, q2", "esp.srs.s.xacc a5, a1"), 5),
        (
            "XACC MAC, read after three",
            [*p.pie("esp.vmulas.s8.xacc q1, q2"), *[p.addi("a5", "a5", 1)] * 3, *p.pie("esp.movx.r.xacc.l a3")],
            5,
        ),
        ("MAC after ld.qacc", p.pie("esp.ld.qacc.l.l.128.ip a4, 0", "esp.vmulas.s8.qacc q1, q2"), 2),
        ("srcmb after ld.qacc", p.pie("esp.ld.qacc.l.l.128.ip a4, 0", "esp.srcmb.s8.qacc q0, a1, 1"), 3),
        ("vector store of a loaded value", p.pie("esp.vld.128.ip q0, a4, 0", "esp.vst.128.ip q0, a4, 0"), 3),
        ("post-incremented base", p.pie("esp.vld.128.ip q0, a4, 0", "esp.vld.128.ip q1, a4, 0"), 2),
        ("xacc load and use", p.pie("esp.ld.xacc.ip a4, 0", "esp.srs.s.xacc a5, a1"), 3),
    ],
)
def test_cycles_of_a_hardware_loop(name: str, body: list[int], cycles: int, tmp_path: Path) -> None:
    assert p.cycles_per_iteration(tmp_path, POINTERS, lambda n: p.hardware_loop(body, n)) == cycles, name


def test_misaligned_vector_access_costs_one_cycle_when_enabled(tmp_path: Path) -> None:
    body = p.pie("esp.vld.128.ip q0, a0, 0")
    for cfg, extra in ((0, 0), (2, 1)):
        setup = [*p.li("a0", p.DATA + 5), p.addi("a3", "zero", cfg), *p.pie("esp.movx.w.cfg a3")]
        assert p.cycles_per_iteration(tmp_path, setup, lambda n: p.hardware_loop(body, n)) == 1 + extra


def test_parameters_change_the_model(tmp_path: Path) -> None:
    body = [p.lw("a2", "a0"), p.add("a3", "a3", "a2")]
    options = Options(memory_model=False, parameters={"load_use": 3, "branch_predicted": 5})
    assert p.cycles_per_iteration(tmp_path, POINTERS, lambda n: p.counted_loop(body, n), options) == 4 + 3 + 5


def test_parameters_come_from_a_file_and_out_of_range_ones_are_refused(tmp_path: Path) -> None:
    program = str(build_simulator())
    table = json.loads(subprocess.run([program, "--parameter-table"], capture_output=True, check=True).stdout)
    assert all(row["meaning"] and row["unit"] for row in table)
    elf = p.write_elf(tmp_path / "program.elf", [*p.START, *p.exit_with()])
    file = tmp_path / "chip.txt"
    file.write_text("# measured\nload_use = 3  # one more\n\njump=2\n")
    command = [program, "--elf", str(elf), "--uart", "none", "--params", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)["parameters"]
    assert (told["load_use"], told["jump"]) == (3, 2)
    assert told == {row["name"]: row["default"] for row in table} | {"load_use": 3, "jump": 2}
    for wrong in ("load_use=-1", "load_use=201", "nothing=1", "jump=x", "jump"):
        file.write_text(wrong)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 122
        assert wrong.partition("=")[0] in done.stderr


@pytest.mark.parametrize(("period", "wrong"), [(1, 0), (2, 1), (4, 1)])
def test_branches_are_predicted_by_a_counter_per_address(period: int, wrong: int, tmp_path: Path) -> None:
    # A branch forward that is not taken once in `period` rounds: the counter, at its top, leaves it at "taken".
    body = [p.andi("a3", "a1", period - 1), p.branch(1, "a3", "zero", 8), p.addi("a5", "a5", 1)]
    cycles = p.cycles_per_iteration(tmp_path, POINTERS, lambda n: p.counted_loop(body, 4 * n)) / 4
    executed = 5 - (period - 1) / period
    # Taken every other time, it wavers between the two lowest states: wrong whenever it is taken.
    assert cycles == executed + (4 * wrong / period if wrong else 0)


def test_counters_count_cycles_and_instructions(tmp_path: Path) -> None:
    # mcycle, minstret, ten additions, mcycle, minstret: both differences are 12; exit status 12 + 16 * 12.
    block = [p.addi("a0", "a0", 1)] * 10
    words = [*p.START, p.csrr("s0", 0xB00), p.csrr("s1", 0xB02), *block, p.csrr("a2", 0xB00), p.csrr("a3", 0xB02)]
    words += [p.sub("a2", "a2", "s0"), p.sub("a3", "a3", "s1"), p.addi("a4", "zero", 16), p.mul("a3", "a3", "a4")]
    assert p.run(tmp_path, [*words, p.add("a0", "a2", "a3"), *p.exit_with("a0")]).status == 12 + 16 * 12


def test_nested_hardware_loops(tmp_path: Path) -> None:
    inner = [p.addi("a0", "a0", 1)] * 2
    body = [p.addi("s0", "zero", 5), *p.pie("esp.lp.setup 0, s0, 8"), *inner, p.addi("a3", "a3", 1)]
    words = [*p.START, p.addi("a0", "zero", 0), *p.hardware_loop(body, 7, identity=1)]
    assert p.run(tmp_path, [*words, *p.exit_with("a0")]).status == 7 * 5 * 2
    assert p.run(tmp_path, [*words, *p.exit_with("a3")]).status == 7


@pytest.mark.parametrize("count", [1, 2, 5])
def test_loop_counts(count: int, tmp_path: Path) -> None:
    setup = p.pie(f"esp.lp.setupi 0, {count}, 4")
    words = [*p.START, *setup, p.addi("a0", "a0", 3), p.addi("a0", "a0", 100)]
    assert p.run(tmp_path, [*words, *p.exit_with("a0")]).status == 3 * count + 100


def test_loop_by_its_parts_and_csrs(tmp_path: Path) -> None:
    # starti/endi/counti, the body two instructions further on.
    words = [*p.START, *p.pie("esp.lp.starti 0, 12", "esp.lp.endi 0, 12", "esp.lp.counti 0, 4")]
    words += [p.addi("a0", "a0", 1), p.addi("a0", "a0", 2), p.csrr("a1", 0x7C8), p.add("a0", "a0", "a1")]
    assert p.run(tmp_path, [*words, *p.exit_with("a0")]).status == 4 * 3 + 1


@pytest.mark.parametrize("level", Level)
def test_every_unverified_instruction_stops_by_name(level: Level, tmp_path: Path) -> None:
    unverified = [i for i in instruction_table(level).values() if not i.verified]
    assert len(unverified) == 45
    for instruction in unverified:
        result = p.run(tmp_path, [*p.START, instruction.match], Options(memory_model=False, espv=level))
        assert result.status == STOPPED_BY_ERROR
        error = result.statistics["error"]
        assert instruction.mnemonic + " at 0x4ff50010" in error and "not verified" in error
        assert f"0x{instruction.match:08x}" in error
        assert result.statistics["address"] == p.CODE + 16


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*p.START, 0xFFFFFFFF], "unknown instruction at 0x4ff50010, word 0xffffffff"),
        ([*p.START, 0x00000000], "unknown instruction at 0x4ff50010, word 0x00000000"),
        ([*p.START, 0x00100073], "ebreak at 0x4ff50010"),
        ([p.float_op(0, "f1", "f1", "f1")], "mstatus.FS is off"),
        (p.pie("esp.zero.qacc"), "PIE is off"),
        ([*p.START, p.lw("a0", "zero", 16)], "load of 4 bytes at 0x00000010"),
        ([*p.START, *p.li("a0", 0x4FF1FFF0), *p.pie("esp.vld.128.ip q0, a0, 0")], "load of 16 bytes at 0x4ff1fff0"),
        ([*p.START, *p.li("a0", 0x40000000), p.sw("a0", "a0")], "store of 4 bytes at 0x40000000"),
        ([*p.START, *p.li("a0", 0x4FFC0000), p.jalr("ra", "a0")], "unmapped address 0x4ffc0000"),
        ([*p.START, *p.li("a0", p.DEVICES), p.lw("a1", "a0", 0x7FC)], "no such device register"),
        (
            [*p.START, p.addi("a3", "zero", 0x70), *p.pie("esp.movx.w.cfg a3", "esp.vmul.s8 q0, q0, q0")],
            "rounding mode 7",
        ),
        ([*p.START, p.jal("zero", 0)], "cycle limit reached"),
    ],
)
def test_clean_stops(words: list[int], message: str, tmp_path: Path) -> None:
    result = p.run(tmp_path, words, Options(memory_model=False, max_cycles=100000))
    assert result.status == STOPPED_BY_ERROR
    assert message in result.statistics["error"]
    assert message in result.errors


def test_guards_stop_loads_and_stores_and_nothing_else(tmp_path: Path) -> None:
    guard = (p.DATA + 64, p.DATA + 80)
    options = Options(memory_model=False, guards=[guard])
    for address, stops in ((p.DATA + 48, False), (p.DATA + 64, True), (p.DATA + 79, True), (p.DATA + 80, False)):
        for access in (p.pie("esp.vld.128.ip q0, a0, 0"), p.pie("esp.vst.128.ip q0, a0, 0")):
            result = p.run(tmp_path, [*p.START, *p.li("a0", address), *access, *p.exit_with()], options)
            assert (result.status == STOPPED_BY_ERROR) == stops
            assert ("guarded" in str(result.statistics["error"])) == stops


def test_code_size_is_reported(tmp_path: Path) -> None:
    words = [*p.START, *[p.addi("a0", "a0", 1)] * 100, *p.exit_with()]
    code = p.run(tmp_path, words).statistics["code"]
    lines = -(-4 * (len(words) - 1) // 64)  # the jump behind the exit never runs, but shares the last line
    assert code == {"executed_bytes": 64 * lines}


@pytest.mark.parametrize("level", Level)
def test_encoding_vectors_decode_to_their_text(level: Level) -> None:
    name, count = _VECTOR_FILES[level]
    vectors = json.loads((Path(__file__).parent / name).read_text())
    words = "".join(row["word"] + "\n" for row in vectors)
    command = [str(build_simulator()), "--espv", str(level.value), "--disasm"]
    done = subprocess.run(command, input=words, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(vectors) == count
    for row, line in zip(vectors, lines, strict=True):
        mnemonic, operands = _parts(row["asm"])
        shown = _parts(line)
        assert (shown[0], shown[1][: len(operands)]) == (mnemonic, operands), row
        assert set(shown[1][len(operands) :]) <= {"sat", "dyn"}, row  # left out


def _parts(text: str) -> tuple[str, list[str | int]]:
    mnemonic, _, rest = text.partition(" ")
    operands = [part.strip() for part in rest.split(",") if part.strip()]
    return mnemonic, [REGISTER_NUMBERS.get(part, part) for part in operands]


def test_the_committed_decode_table_is_the_generated_one() -> None:
    assert simulator_table.table_path().read_text() == simulator_table.render()
