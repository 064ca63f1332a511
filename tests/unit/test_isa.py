"""The PIE table, its encoder and the macro file, against the vendor's own test vectors."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espgen.errors import EspgenError
from espgen.target import instruction_page, isa
from espgen.target.espv import DEFAULTS, KEYWORDS, Level, Levels
from espgen.target.pie_macros import MACRO_FILE_NAMES, SWITCH_FILE_NAME, support_files

_VECTOR_FILES = {Level.V21: "pie_encoding_vectors.json", Level.V22: "pie_encoding_vectors_2p2.json"}
VECTORS = [
    (row["asm"], int(row["word"], 16), level)
    for level, name in _VECTOR_FILES.items()
    for row in json.loads(Path(__file__).with_name(name).read_text())
]
TABLES = {level: isa.instruction_table(level) for level in Level}

SENTENCES = st.sampled_from([(level, name) for level in Level for name in sorted(TABLES[level])]).flatmap(
    lambda chosen: st.tuples(
        st.just(chosen),
        st.tuples(
            *(
                st.sampled_from(sorted(isa.PIE_REACHABLE))
                if operand.kind == "x_pie"
                else st.integers(operand.minimum // operand.step, operand.maximum // operand.step).map(
                    lambda n, step=operand.step: n * step
                )
                for operand in TABLES[chosen[0]][chosen[1]].operands
            )
        ),
    )
)


@pytest.mark.parametrize(("level", "count"), [(Level.V21, 360), (Level.V22, 361)])
def test_the_table_is_complete_and_unambiguous(level: Level, count: int) -> None:
    assert len(TABLES[level]) == count
    for instruction in TABLES[level].values():
        operand_bits = 0
        for operand in instruction.operands:
            for bits in operand.bits:
                field = ((1 << bits.count) - 1) << bits.word_low
                assert not operand_bits & field, instruction.mnemonic
                operand_bits |= field
        assert operand_bits ^ 0xFFFFFFFF == instruction.mask, instruction.mnemonic
        assert isa.decode(instruction.match, level) is not None
        assert len(instruction.roles) == len(instruction.required)
        registers = [letter != "-" for letter in instruction.roles]
        assert registers == [operand.is_register for operand in instruction.required], instruction.mnemonic


def test_no_two_patterns_of_a_level_overlap() -> None:
    for table in TABLES.values():
        patterns = [(entry.match, entry.mask) for entry in table.values()]
        for index, (match, mask) in enumerate(patterns):
            assert not any((match ^ other) & mask & width == 0 for other, width in patterns[:index])


@pytest.mark.parametrize(("text", "word", "level"), VECTORS)
def test_vendor_vector(text: str, word: int, level: Level) -> None:
    assert isa.assemble_text(text, level) == word
    found = isa.decode(word, level)
    assert found is not None
    assert found[0].mnemonic == text.split()[0]
    assert isa.encode(found[0].mnemonic, found[1], level) == word
    assert isa.assemble_text(isa.disassemble(word, level), level) == word


@given(SENTENCES)
def test_encode_then_decode_is_the_identity(sentence: tuple[tuple[Level, str], tuple[int, ...]]) -> None:
    (level, mnemonic), operands = sentence
    word = isa.encode(mnemonic, operands, level)
    assert isa.decode(word, level) == (TABLES[level][mnemonic], operands)
    assert isa.assemble_text(isa.disassemble(word, level), level) == word


def test_operands_left_out_are_sat_and_dyn() -> None:
    for level22 in TABLES[Level.V22].values():
        required = [operand.minimum for operand in level22.required]
        written = [DEFAULTS[operand.kind] for operand in level22.optional]
        short = isa.encode(level22.mnemonic, required, Level.V22)
        assert short == isa.encode(level22.mnemonic, [*required, *written], Level.V22)
        for operand, default in zip(level22.optional, written, strict=True):
            keyword = next(name for name, value in KEYWORDS[operand.kind].items() if value == default)
            assert isa.encode(level22.mnemonic, [*required, keyword], Level.V22) == short
    assert isa.assemble_text("esp.srcmb.s8.qacc q0, a1, 1", Level.V22) == isa.assemble_text(
        "esp.srcmb.s8.qacc q0, a1, sat, dyn", Level.V22
    )


def test_the_old_name_of_the_shift_means_something_else_on_revision_3() -> None:
    old = isa.assemble_text("esp.vsl.32 q1, q2", Level.V22)
    assert isa.disassemble(old, Level.V22) == "esp.vsl.u32 q1, q2, sat"
    assert isa.assemble_text("esp.vsl.s32 q1, q2, trunc", Level.V22) == 0x8204201B | 1 << 10 | 2 << 26
    with pytest.raises(EspgenError, match="takes 2 operands"):
        isa.assemble_text("esp.vsl.32 q1, q2, trunc", Level.V22)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("esp.vmul.s8 q0, q1, q2, 1", "not one of: trunc, sat, rdn"),
        ("esp.vmul.s8 q0, q1, q2, rne, sat", "not one of: nothing more"),
        ("esp.vadd.s8 q0, q1, q2, rne", "not one of: trunc, sat"),
        ("esp.vmul.s8 q0, q1, q2, sat, rne, rne", "takes 3 operands"),
        ("esp.srcmb.s8.qacc q0, a0, 2", "not one of"),
        ("esp.vmax.s8 q0, q1, q2, sat", "takes 3 operands"),
    ],
)
def test_bad_optional_operands_are_refused(text: str, message: str) -> None:
    with pytest.raises(EspgenError, match=message):
        isa.assemble_text(text, Level.V22)
    with pytest.raises(EspgenError):
        isa.assemble_text("esp.vsl.s32 q0, q1", Level.V21)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("esp.vld.128.ip q0, t0, 16", "register t0 is not reachable"),
        ("esp.vld.128.ip q0, a6, 16", "register a6 is not reachable"),
        ("esp.vld.128.ip q8, a0, 16", "not one of q0..q7"),
        ("esp.vld.128.ip q0, a0, 8", "not a multiple of 16"),
        ("esp.vld.128.ip q0, a0, 2048", "out of range -2048..2032"),
        ("esp.vld.128.ip q0, a0, -2064", "out of range -2048..2032"),
        ("esp.vld.128.ip q0, a0, x", "is not a number"),
        ("esp.vld.128.ip q0, b0, 0", "not an integer register"),
        ("esp.vld.128.ip q0, a0", "takes 3 operands"),
        ("esp.vsmulas.s16.qacc q0, q1, 16", "out of range 0..15"),
        ("esp.lp.setup 0, a0, 3", "not a multiple of 2"),
        ("esp.nop", "not a PIE instruction"),
    ],
)
def test_bad_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(EspgenError, match=message):
        isa.assemble_text(text)


def test_words_that_are_no_pie_instruction_decode_to_none() -> None:
    for word in (0, 0xFFFFFFFF, 0x00000013, 0x00A50533):
        assert isa.decode(word) is None
        assert isa.disassemble(word) == f".4byte 0x{word:08x}"


@pytest.mark.parametrize("level", Level)
def test_a_lane_select_past_the_last_lane_is_encoded_but_named(level: Level) -> None:
    """The vendor's own vectors hold `esp.vsmulas.u16.qacc q6, q2, 9`; the register has eight lanes."""
    word = isa.encode("esp.vsmulas.s16.qacc", (0, 1, 9), level)
    found = isa.decode(word, level)
    assert found is not None
    select = found[0].required[2]
    assert found[1][2] == 9
    assert 7 in select.names_a_lane
    assert 8 not in select.names_a_lane
    assert 15 in TABLES[level]["esp.vsmulas.s8.qacc"].required[2].names_a_lane


def _assemblers() -> dict[str, list[str]]:
    """Return every assembler at hand, as the command that takes ``-o out.o in.S`` after it."""
    zig = [
        sys.executable,
        "-m",
        "ziglang",
        "cc",
        "-target",
        "riscv32-freestanding-none",
        "-mcpu=generic_rv32+m+a+f+c",
    ]
    found = {"zig": [*zig, "-c"]}
    gnu = shutil.which("riscv64-unknown-elf-as")
    if gnu:
        found["gnu-as"] = [gnu, "-march=rv32imafc", "-mabi=ilp32f"]
    return found


ASSEMBLERS = _assemblers()


def _assemble(
    command: list[str], body: str, directory: Path, level: Level = Level.V21
) -> subprocess.CompletedProcess[str]:
    source = directory / "body.S"
    header = isa.macro_file(level)
    source.write_text(f"{header}\n.text\n.option norvc\n.option norelax\n{body}\n")
    return subprocess.run(
        [*command, "-o", str(directory / "body.o"), str(source)], capture_output=True, text=True, check=False
    )


def _text_section(path: Path) -> bytes:
    """Return the bytes of .text of a little-endian ELF32 object."""
    data = path.read_bytes()
    (table,) = struct.unpack_from("<I", data, 32)
    size, count, names_index = struct.unpack_from("<HHH", data, 46)
    headers = [struct.unpack_from("<10I", data, table + size * i) for i in range(count)]
    names = headers[names_index][4]
    for header in headers:
        start = names + header[0]
        if data[start : data.index(b"\0", start)] == b".text":
            return data[header[4] : header[4] + header[5]]
    raise AssertionError("no .text")


def _macro_text(word: int, level: Level) -> str:
    """Return the text of a word with label distances written as labels."""
    found = isa.decode(word, level)
    assert found is not None
    text = isa.disassemble(word, level)
    if any(operand.kind == "pcrel" for operand in found[0].operands):
        head, _, distance = text.rpartition(" ")
        return f"{head} .+{distance}"
    return text


@pytest.mark.parametrize("level", Level)
@pytest.mark.parametrize("assembler", sorted(ASSEMBLERS))
def test_macros_give_the_vendor_words(assembler: str, level: Level, tmp_path: Path) -> None:
    vectors = [(text, word) for text, word, of in VECTORS if of is level]
    texts = [text if ".lp." not in text else _macro_text(word, level) for text, word in vectors]
    words = [word for _, word in vectors]
    for instruction in TABLES[level].values():  # extremes of every operand of every instruction, vectors or not
        for pick in (
            lambda o: o.minimum,
            lambda o: o.maximum,
            lambda o: 9 if o.kind == "x_pie" else o.maximum & 5,
        ):
            operands = [
                min(value, operand.maximum) // operand.step * operand.step
                for operand in instruction.operands
                for value in (pick(operand),)
            ]
            words.append(isa.encode(instruction.mnemonic, operands, level))
            texts.append(_macro_text(words[-1], level))
        if not any(operand.kind == "pcrel" for operand in instruction.operands):  # optional operands left out
            short = [9 if operand.kind == "x_pie" else operand.minimum for operand in instruction.required]
            words.append(isa.encode(instruction.mnemonic, short, level))
            text = isa.disassemble(words[-1], level)
            texts.append(", ".join(text.split(", ")[: len(short)]) if short else text)
    result = _assemble(ASSEMBLERS[assembler], "\n".join(texts), tmp_path, level)
    assert result.returncode == 0, result.stderr[:2000]
    made = _text_section(tmp_path / "body.o")
    assert len(made) == 4 * len(words)
    for text, word, actual in zip(texts, words, struct.unpack(f"<{len(words)}I", made), strict=True):
        assert actual == word, f"{text}: {actual:08x} instead of {word:08x}"


@pytest.mark.parametrize("assembler", sorted(ASSEMBLERS))
def test_a_hardware_loop_resolves_its_forward_label(assembler: str, tmp_path: Path) -> None:
    body = """
        esp.lp.setup 0, a5, 92f
        esp.vsmulas.s8.qacc.ld.incp q1, a0, q1, q0, 3
        addi a1, a1, 1
    92: esp.vld.128.ip q0, a0, 16
        esp.lp.setupi 1, 7, 93f
        nop
    93: nop
    """
    result = _assemble(ASSEMBLERS[assembler], body, tmp_path)
    assert result.returncode == 0, result.stderr[:2000]
    words = struct.unpack("<7I", _text_section(tmp_path / "body.o"))
    assert isa.disassemble(words[0]) == "esp.lp.setup 0, a5, 12"
    assert isa.disassemble(words[3]) == "esp.vld.128.ip q0, a0, 16"
    assert isa.disassemble(words[4]) == "esp.lp.setupi 1, 7, 8"


@pytest.mark.parametrize("assembler", sorted(ASSEMBLERS))
@pytest.mark.parametrize(
    "text",
    [
        "esp.vld.128.ip q0, t0, 16",
        "esp.vld.128.ip q0, a0, 8",
        "esp.vsmulas.s16.qacc q0, q1, 16",
        "esp.zero.q a0",
    ],
)
def test_macros_refuse_bad_operands(assembler: str, text: str, tmp_path: Path) -> None:
    assert _assemble(ASSEMBLERS[assembler], text, tmp_path).returncode != 0


@pytest.mark.parametrize("assembler", sorted(ASSEMBLERS))
@pytest.mark.parametrize(
    "text", ["esp.vmul.s8 q0, q1, q2, rne", "esp.vmul.s8 q0, q1, q2, 1", "esp.vmax.s8 q0, q1, q2, sat", "esp.vsl.32 q0, q1, sat"]
)
def test_macros_of_revision_3_refuse_what_the_vendors_assembler_refuses(assembler: str, text: str, tmp_path: Path) -> None:
    """But for a lone rounding mode, which the vendor's assembler takes: espgen writes both operands."""
    assert _assemble(ASSEMBLERS[assembler], text, tmp_path, Level.V22).returncode != 0


def _preprocess(folder: Path, levels: Levels, *defines: str, knobs: str = "") -> subprocess.CompletedProcess[str]:
    for name, text in support_files(levels).items():
        (folder / name).write_text(text)
    (folder / "sdkconfig.h").write_text(knobs)
    command = [*ASSEMBLERS["zig"][:-1], "-E", "-x", "assembler-with-cpp", "-P", f"-I{folder}", *defines]
    source = str(folder / SWITCH_FILE_NAME)
    return subprocess.run([*command, source], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("levels", "revision", "expected"),
    [
        (Levels.BOTH, "1", "esp.vsl.32 "),
        (Levels.BOTH, "100", "esp.vsl.32 "),
        (Levels.BOTH, "300", "esp.vsl.s32 "),
        (Levels.BOTH, "301", "esp.vsl.s32 "),
        (Levels.V21, "1", "esp.vsl.32 "),
        (Levels.V21, "301", ""),
        (Levels.V22, "301", "esp.vsl.s32 "),
        (Levels.V22, "1", ""),
    ],
)
def test_esp_idf_says_the_level_and_a_foreign_chip_is_an_error(
    levels: Levels, revision: str, expected: str, tmp_path: Path
) -> None:
    knobs = f"#define CONFIG_ESP32P4_REV_MIN_FULL {revision}\n"
    result = _preprocess(tmp_path, levels, "-DESP_PLATFORM", "-DESPGEN_ESPV=22", knobs=knobs)
    if not expected:
        assert result.returncode != 0
        assert "#error" in result.stderr or "made for ESP32-P4" in result.stderr
        return
    assert result.returncode == 0, result.stderr
    assert [word in result.stdout for word in ("esp.vsl.32 ", "esp.vsl.s32 ")] == [
        word == expected for word in ("esp.vsl.32 ", "esp.vsl.s32 ")
    ]
    assert ".4byte" not in result.stdout, "an assembler that knows PIE must not see the macros"


def test_only_the_shift_is_left_for_an_assembler_that_knows_pie(tmp_path: Path) -> None:
    result = _preprocess(tmp_path, Levels.BOTH, "-DESPGEN_NATIVE_PIE")
    assert result.stdout.split() == (
        ".globl espgen_espv .set espgen_espv, 21 .macro espgen.vsl.s32 qu, qy esp.vsl.32 \\qu, \\qy .endm".split()
    )
    assert set(support_files(Levels.V22)) == {SWITCH_FILE_NAME, MACRO_FILE_NAMES[Level.V22]}


def test_the_page_of_instructions_is_the_generated_one() -> None:
    assert instruction_page.page_path().read_text() == instruction_page.render()
