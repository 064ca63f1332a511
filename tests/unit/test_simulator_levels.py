"""The simulator and the rules of the chip: instruction set level of a file, hardware loops that silicon forbids."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import simulator_program as p

from espgen.errors import EspgenError
from espgen.target.espv import Level
from espgen.target.isa import assemble_text, instruction_table
from espgen.verify.simulator import STOPPED_BY_ERROR, Options, simulate


def _section(name: int, kind: int, offset: int, size: int, link: int = 0, entry: int = 0) -> bytes:
    return struct.pack("<10I", name, kind, 0, 0, offset, size, link, 0, 1, entry)


def _elf(path: Path, words: list[int], *, symbol: int | None = None, architecture: str | None = None) -> Path:
    """The program with an absolute symbol `espgen_espv` or with RISC-V attributes."""
    p.write_elf(path, words)
    image = bytearray(path.read_bytes())
    sections = [bytes(40)]
    if symbol is not None:
        symbols = bytes(16) + struct.pack("<IIIBBH", 1, symbol, 0, 0x10, 0, 0xFFF1)
        names = b"\0espgen_espv\0"
        sections.append(_section(0, 2, len(image), len(symbols), 2, 16))
        sections.append(_section(0, 3, len(image) + len(symbols), len(names)))
        image += symbols + names
    if architecture is not None:
        attributes = b"\x04\x10\x05" + architecture.encode() + b"\0\x08\x01"  # stack alignment, architecture, unaligned
        inner = b"\x01" + struct.pack("<I", len(attributes) + 5) + attributes
        data = b"A" + struct.pack("<I", len(inner) + 10) + b"riscv\0" + inner
        sections.append(_section(0, 0x70000003, len(image), len(data)))
        image += data
    struct.pack_into("<I", image, 32, len(image))
    struct.pack_into("<HHH", image, 46, 40, len(sections), 0)
    path.write_bytes(bytes(image) + b"".join(sections))
    return path


def _program(level: Level) -> list[int]:
    """Exits with 7 where its words are read as the level's instructions."""
    return [
        *p.START,
        p.addi("a0", "zero", 7),
        assemble_text("esp.movi.32.q q3, a0, 2", level),
        assemble_text("esp.movi.32.a q3, a1, 2", level),
        *p.exit_with("a1"),
    ]


@pytest.mark.parametrize("level", Level)
@pytest.mark.parametrize(
    ("symbols", "architectures"),
    [
        ({Level.V21: 21, Level.V22: 22}, {}),
        ({}, {Level.V21: "rv32i2p1_xesppie1p0", Level.V22: "rv32i2p1_m2p0_xesploop1p0_xespv2p2"}),
        ({}, {Level.V21: "rv32i2p1_xespv2p1_xesploop1p0", Level.V22: "rv32i2p1_xespv"}),
        ({Level.V21: 22, Level.V22: 21}, {Level.V21: "rv32i_xespv2p1", Level.V22: "rv32i_xespv2p2"}),  # attributes win
    ],
)
def test_the_file_names_its_level(
    level: Level, symbols: dict[Level, int], architectures: dict[Level, str], tmp_path: Path
) -> None:
    elf = _elf(tmp_path / "a.elf", _program(level), symbol=symbols.get(level), architecture=architectures.get(level))
    assert simulate(elf, Options(memory_model=False), timeout=60).status == 7
    assert simulate(elf, Options(memory_model=False, espv=level), timeout=60).status == 7
    other = next(each for each in Level if each is not level)
    message = f"holds instructions of ESPV {level.version}, the chip has ESPV {other.version}"
    with pytest.raises(EspgenError, match=message):
        simulate(elf, Options(memory_model=False, espv=other), timeout=60)


def test_a_file_without_a_level_runs_on_the_chip_that_is_named(tmp_path: Path) -> None:
    for level in Level:
        plain = p.write_elf(tmp_path / "a.elf", _program(level))
        assert simulate(plain, Options(memory_model=False, espv=level), timeout=60).status == 7
    first = p.write_elf(tmp_path / "a.elf", _program(Level.V21))
    assert simulate(first, Options(memory_model=False), timeout=60).status == 7
    other = _elf(tmp_path / "b.elf", _program(Level.V22), architecture="rv32i2p1_m2p0")
    assert simulate(other, Options(memory_model=False, espv=Level.V22), timeout=60).status == 7


def test_a_level_that_is_not_known_is_refused(tmp_path: Path) -> None:
    elf = _elf(tmp_path / "a.elf", _program(Level.V22), architecture="rv32i2p1_xespv3p0")
    with pytest.raises(EspgenError, match="xespv3p0"):
        simulate(elf, Options(memory_model=False), timeout=60)


@pytest.mark.parametrize(
    ("text", "cfg", "message"),
    [
        ("esp.vsl.32 q0, q1", 0, "esp.vsl.u32 at"),
        ("esp.vsl.u32 q0, q1, sat", 0, "not verified for these operands"),
        ("esp.vsr.s32 q0, q1, rne", 0, "not verified for these operands"),
        ("esp.vsr.s32 q0, q1", 0x60, "rounding mode other than rdn"),
        ("esp.vsld.8 q0, q1, q2, trunc", 0, "esp.vsld.8 at"),
        ("esp.vsrd.32 q0, q1, q2, sat, rne", 0, "esp.vsrd.32 at"),
        ("esp.cmul.s16 q0, q1, q2, 0", 0, "esp.cmul.s16 at"),
        ("esp.vsmulas.u16.qacc q6, q2, 9", 0, "the register has no such lane"),
    ],
)
def test_what_has_no_verified_meaning_stops_by_name(text: str, cfg: int, message: str, tmp_path: Path) -> None:
    level = Level.V22
    words = [*p.START, p.addi("a0", "zero", cfg), assemble_text("esp.movx.w.cfg a0", level), assemble_text(text, level)]
    result = p.run(tmp_path, [*words, *p.exit_with()], Options(memory_model=False, espv=level))
    assert result.status == STOPPED_BY_ERROR
    assert message in result.statistics["error"]


def test_a_named_rounding_mode_needs_no_cfg(tmp_path: Path) -> None:
    """CFG 7 (no rounding mode): the word that names its own runs, the one that takes CFG's stops."""
    level = Level.V22
    for text, status in (("esp.vmul.s8 q0, q0, q0, sat, rne", 0), ("esp.vmul.s8 q0, q0, q0", STOPPED_BY_ERROR)):
        words = [*p.START, p.addi("a0", "zero", 0x70)]
        words += [assemble_text("esp.movx.w.cfg a0", level), assemble_text(text, level), *p.exit_with()]
        assert p.run(tmp_path, words, Options(memory_model=False, espv=level)).status == status


ADD = p.addi("a3", "a3", 1)
C_ADD = 0x0685  # c.addi a3, 1


def _loop(body: list[int], *, count: int = 3, end: int | None = None) -> list[int]:
    distance = 4 * len(body) if end is None else end
    return [*p.START, *p.pie(f"esp.lp.setupi 0, {count}, {distance}"), *body, p.addi("a3", "a3", 100)]


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (_loop([ADD] * 3), "has 3 32-bit instructions"),
        (_loop([ADD] * 3, count=1), "has 3 32-bit instructions"),
        (_loop([*[ADD] * 4, *p.pie("esp.zero.qacc")]), "last instruction is esp.zero.qacc"),
        (_loop([*[ADD] * 4, *p.pie("esp.addx2 a3, a3, a4")]), "last instruction is esp.addx2"),
        (_loop([*[ADD] * 4, p.flw("f1", "a4")]), "is a float instruction"),
        (_loop([*[ADD] * 4, p.float_op(0, "f1", "f1", "f1")]), "is a float instruction"),
        (_loop([*[ADD] * 4, p.float_op(0x70, "a3", "f1", "f0")]), "is a float instruction"),
        (_loop([*[ADD] * 4, C_ADD | C_ADD << 16], end=22), "last instruction is not at a multiple of 4"),
        (_loop([*[ADD] * 3, C_ADD | C_ADD << 16], end=16), "has 3 32-bit instructions"),
        (_loop([ADD, ADD, ADD << 16 & 2**32 - 1 | C_ADD, C_ADD << 16 | ADD >> 16, ADD], end=16), "no instruction of the body"),
        (
            [*p.START, *p.pie("esp.lp.starti 0, 12", "esp.lp.endi 0, 16", "esp.lp.counti 0, 4"), *[ADD] * 8],
            "has 3 32-bit instructions",
        ),
    ],
)
def test_a_loop_that_breaks_a_rule_stops_by_name(words: list[int], rule: str, tmp_path: Path) -> None:
    words = [*p.li("a4", p.DATA), *words, *p.exit_with("a3")]
    result = p.run(tmp_path, words, lenient_loops=False)
    assert result.status == STOPPED_BY_ERROR
    assert rule in result.statistics["error"], result.statistics["error"]
    assert "hardware loop 0x4ff500" in result.statistics["error"]
    lenient = p.run(tmp_path, words)
    assert lenient.status != STOPPED_BY_ERROR
    assert lenient.errors.count("warning") == 1
    assert rule in lenient.errors


def test_a_loop_that_starts_between_words_breaks_a_rule(tmp_path: Path) -> None:
    """The set-up lies at an odd half-word, and so does the body."""
    setup = assemble_text("esp.lp.setupi 0, 3, 16")
    parcels = [C_ADD]
    for word in (setup, *[ADD] * 5, *p.exit_with("a3")):
        parcels += [word & 0xFFFF, word >> 16]
    parcels += [1] * (len(parcels) % 2)
    words = [low | high << 16 for low, high in zip(parcels[::2], parcels[1::2], strict=True)]
    result = p.run(tmp_path, [*p.START, *words], lenient_loops=False)
    assert "first instruction is not at a multiple of 4" in result.statistics["error"]


def test_legal_loops_run(tmp_path: Path) -> None:
    for body in ([ADD] * 4, [*p.pie("esp.zero.qacc"), *[ADD] * 3], [*[ADD] * 3, p.lw("a4", "a5"), ADD]):
        words = [*p.li("a5", p.DATA), *_loop(body), *p.exit_with("a3")]
        assert p.run(tmp_path, words, lenient_loops=False).status == 3 * body.count(ADD) + 100


def test_no_instruction_of_the_table_may_end_a_loop(tmp_path: Path) -> None:
    """The simulator reads the same records: what they do not allow at a loop's end stops, for every one of them."""
    for level in Level:
        for entry in list(instruction_table(level).values())[::17]:
            assert not entry.loop_end
            if entry.unit == "loop" or not entry.verified:
                continue
            words = [*p.START, *p.pie("esp.lp.setupi 0, 3, 16"), *[ADD] * 3, entry.match, *p.exit_with()]
            result = p.run(tmp_path, words, Options(memory_model=False, espv=level), lenient_loops=False)
            assert f"last instruction is {entry.mnemonic}," in result.statistics["error"]
