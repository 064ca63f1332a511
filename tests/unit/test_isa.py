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
from espgen.target import isa
from espgen.target.pie_macros import MACRO_FILE_NAME

VECTORS = [
    (row["asm"], int(row["word"], 16))
    for row in json.loads(Path(__file__).with_name("pie_encoding_vectors.json").read_text())
]
TABLE = isa.instruction_table()

SENTENCES = st.sampled_from(sorted(TABLE)).flatmap(
    lambda mnemonic: st.tuples(
        st.just(mnemonic),
        st.tuples(
            *(
                st.sampled_from(sorted(isa.PIE_REACHABLE))
                if operand.kind == "x_pie"
                else st.integers(operand.minimum // operand.step, operand.maximum // operand.step).map(
                    lambda n, step=operand.step: n * step
                )
                for operand in TABLE[mnemonic].operands
            )
        ),
    )
)


def test_the_table_is_complete_and_unambiguous() -> None:
    assert len(TABLE) == 360
    for instruction in TABLE.values():
        operand_bits = 0
        for operand in instruction.operands:
            for bits in operand.bits:
                field = ((1 << bits.count) - 1) << bits.word_low
                assert not operand_bits & field, instruction.mnemonic
                operand_bits |= field
        assert operand_bits ^ 0xFFFFFFFF == instruction.mask, instruction.mnemonic
        assert isa.decode(instruction.match) is not None


@pytest.mark.parametrize(("text", "word"), VECTORS)
def test_vendor_vector(text: str, word: int) -> None:
    assert isa.assemble_text(text) == word
    found = isa.decode(word)
    assert found is not None
    assert found[0].mnemonic == text.split()[0]
    assert isa.encode(found[0].mnemonic, found[1]) == word
    assert isa.assemble_text(isa.disassemble(word)) == word


@given(SENTENCES)
def test_encode_then_decode_is_the_identity(sentence: tuple[str, tuple[int, ...]]) -> None:
    mnemonic, operands = sentence
    word = isa.encode(mnemonic, operands)
    assert isa.decode(word) == (TABLE[mnemonic], operands)
    assert isa.assemble_text(isa.disassemble(word)) == word


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
        ("esp.vsmulas.s16.qacc q0, q1, 8", "out of range 0..7"),
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


def test_a_lane_select_past_the_last_lane_is_no_instruction() -> None:
    word = isa.encode("esp.vsmulas.s16.qacc", (0, 1, 7))
    assert isa.decode(word | 8 << 15) is None


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


def _assemble(command: list[str], body: str, directory: Path) -> subprocess.CompletedProcess[str]:
    source = directory / "body.S"
    header = isa.macro_file()
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


def _macro_text(word: int) -> str:
    """Return the text of a word with label distances written as labels."""
    found = isa.decode(word)
    assert found is not None
    text = isa.disassemble(word)
    if any(operand.kind == "pcrel" for operand in found[0].operands):
        head, _, distance = text.rpartition(" ")
        return f"{head} .+{distance}"
    return text


@pytest.mark.parametrize("assembler", sorted(ASSEMBLERS))
def test_macros_give_the_vendor_words(assembler: str, tmp_path: Path) -> None:
    texts = [text if ".lp." not in text else _macro_text(word) for text, word in VECTORS]
    words = [word for _, word in VECTORS]
    for instruction in TABLE.values():  # extremes of every operand of every instruction, vectors or not
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
            words.append(isa.encode(instruction.mnemonic, operands))
            texts.append(_macro_text(words[-1]))
    result = _assemble(ASSEMBLERS[assembler], "\n".join(texts), tmp_path)
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
        "esp.vsmulas.s16.qacc q0, q1, 8",
        "esp.zero.q a0",
    ],
)
def test_macros_refuse_bad_operands(assembler: str, text: str, tmp_path: Path) -> None:
    assert _assemble(ASSEMBLERS[assembler], text, tmp_path).returncode != 0


def test_an_assembler_that_knows_pie_skips_the_macros(tmp_path: Path) -> None:
    source = tmp_path / MACRO_FILE_NAME
    source.write_text(isa.macro_file())
    command = [
        *ASSEMBLERS["zig"][:-1],
        "-E",
        "-x",
        "assembler-with-cpp",
        "-P",
        "-DESPGEN_NATIVE_PIE",
        str(source),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
