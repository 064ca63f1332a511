"""Programs for the simulator made from words: a few base instructions, PIE from the table, a one-segment ELF file."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from espgen.target.isa import REGISTER_NUMBERS, assemble_text
from espgen.verify.simulator import Options, Result, simulate

CODE = 0x4FF50000
DATA = 0x4FF60000
DEVICES = 0x5FFF0000
DATA_BYTES = 0x4000


def _register(name: str) -> int:
    return int(name[1:]) if name[0] == "f" and name[1:].isdigit() else REGISTER_NUMBERS[name]


def _i(opcode: int, function: int, rd: str, rs1: str, imm: int) -> int:
    return opcode | _register(rd) << 7 | function << 12 | _register(rs1) << 15 | (imm & 0xFFF) << 20


def _r(function7: int, function: int, rd: str, rs1: str, rs2: str, opcode: int = 0x33) -> int:
    word = opcode | _register(rd) << 7 | function << 12 | _register(rs1) << 15
    return word | _register(rs2) << 20 | function7 << 25


def _s(opcode: int, function: int, rs2: str, rs1: str, imm: int) -> int:
    word = opcode | (imm & 31) << 7 | function << 12 | _register(rs1) << 15
    return word | _register(rs2) << 20 | (imm >> 5 & 0x7F) << 25


def addi(rd: str, rs1: str, imm: int) -> int:
    return _i(0x13, 0, rd, rs1, imm)


def lui(rd: str, high: int) -> int:
    return 0x37 | _register(rd) << 7 | (high & 0xFFFFF) << 12


def li(rd: str, value: int) -> list[int]:
    """Two instructions: any 32-bit value."""
    low = (value & 0xFFF) - (0x1000 if value & 0x800 else 0)
    return [lui(rd, (value - low) >> 12), addi(rd, rd, low)]


def add(rd: str, rs1: str, rs2: str) -> int:
    return _r(0, 0, rd, rs1, rs2)


def sub(rd: str, rs1: str, rs2: str) -> int:
    return _r(0x20, 0, rd, rs1, rs2)


def mul(rd: str, rs1: str, rs2: str) -> int:
    return _r(1, 0, rd, rs1, rs2)


def div(rd: str, rs1: str, rs2: str) -> int:
    return _r(1, 4, rd, rs1, rs2)


def lw(rd: str, rs1: str, imm: int = 0) -> int:
    return _i(0x03, 2, rd, rs1, imm)


def sw(rs2: str, rs1: str, imm: int = 0) -> int:
    return _s(0x23, 2, rs2, rs1, imm)


def flw(rd: str, rs1: str, imm: int = 0) -> int:
    return _i(0x07, 2, rd, rs1, imm)


def fsw(rs2: str, rs1: str, imm: int = 0) -> int:
    return _s(0x27, 2, rs2, rs1, imm)


def fused(rd: str, rs1: str, rs2: str, rs3: str) -> int:
    """fmadd.s: rs1 * rs2 + rs3."""
    return _r(_register(rs3) << 2, 0, rd, rs1, rs2, 0x43)


def andi(rd: str, rs1: str, imm: int) -> int:
    return _i(0x13, 7, rd, rs1, imm)


def float_op(function7: int, rd: str, rs1: str, rs2: str) -> int:
    """fadd.s 0x00, fmul.s 0x08, fdiv.s 0x0C; fcvt.w.s 0x60, fcvt.s.w 0x68, fmv.x.w 0x70 with rs2 = f0."""
    return _r(function7, 0, rd, rs1, rs2, 0x53)


def csrr(rd: str, csr: int) -> int:
    return 0x73 | _register(rd) << 7 | 2 << 12 | csr << 20


def csrsi(csr: int, imm: int) -> int:
    return 0x73 | 6 << 12 | imm << 15 | csr << 20


def csrs(csr: int, rs1: str) -> int:
    return 0x73 | 2 << 12 | _register(rs1) << 15 | csr << 20


def branch(function: int, rs1: str, rs2: str, offset: int) -> int:
    """beq 0, bne 1, blt 4, bge 5; `offset` in bytes from this instruction."""
    word = 0x63 | (offset >> 11 & 1) << 7 | (offset >> 1 & 15) << 8 | function << 12
    word |= _register(rs1) << 15 | _register(rs2) << 20
    return word | (offset >> 5 & 63) << 25 | (offset >> 12 & 1) << 31


def jal(rd: str, offset: int) -> int:
    word = 0x6F | _register(rd) << 7 | offset & 0xFF000 | (offset >> 11 & 1) << 20
    return word | (offset >> 1 & 0x3FF) << 21 | (offset >> 20 & 1) << 31


def jalr(rd: str, rs1: str) -> int:
    return _i(0x67, 0, rd, rs1, 0)


def pie(*lines: str) -> list[int]:
    """Words of PIE instructions."""
    return [assemble_text(line) for line in lines]


START = [*li("t0", 0x2000), csrs(0x300, "t0"), csrsi(0x7F2, 1)]
"""Float unit and PIE on."""


def exit_with(register: str = "zero") -> list[int]:
    return [lui("t6", DEVICES >> 12), sw(register, "t6", 0), jal("zero", 0)]


def counted_loop(body: list[int], count: int, counter: str = "a1") -> list[int]:
    """The body with `addi counter, counter, -1; bnez counter` after it."""
    offset = -4 * (len(body) + 1)
    return [*li(counter, count), *body, addi(counter, counter, -1), branch(1, counter, "zero", offset)]


def hardware_loop(body: list[int], count: int, identity: int = 0) -> list[int]:
    distance = 4 * len(body)
    return [*li("t5", count), *pie(f"esp.lp.setup {identity}, t5, {distance}"), *body]


def write_elf(path: Path, words: Iterable[int]) -> Path:
    """One loadable segment with the words at CODE, zeros behind it up to and including the data area."""
    code = b"".join(struct.pack("<I", word) for word in words)
    size = DATA + DATA_BYTES - CODE
    header = struct.pack("<16sHHIIIIIHHHHHH", b"\x7fELF\x01\x01\x01", 2, 243, 1, CODE, 52, 0, 0, 52, 32, 1, 40, 0, 0)
    segment = struct.pack("<IIIIIIII", 1, 84, CODE, CODE, len(code), size, 7, 4)
    path.write_bytes(header + segment + code)
    return path


def run(directory: Path, words: Iterable[int], options: Options | None = None, lenient_loops: bool = True) -> Result:
    """Run words; hardware loops may be shorter than silicon allows, unless `lenient_loops` is False."""
    elf = write_elf(directory / "program.elf", words)
    chosen = replace(options or Options(memory_model=False), lenient_loops=lenient_loops)
    return simulate(elf, chosen, timeout=60)


def cycles_per_iteration(
    directory: Path, setup: list[int], loop: Callable[[int], list[int]], options: Options | None = None
) -> float:
    """Cycles of one iteration in steady state: the difference of two iteration counts."""
    cycles = []
    for count in (1000, 3000):
        result = run(directory, [*START, *setup, *loop(count), *exit_with()], options)
        assert result.status == 0, result.errors
        cycles.append(result.statistics["cores"][0]["cycles"])
    return (cycles[1] - cycles[0]) / 2000
