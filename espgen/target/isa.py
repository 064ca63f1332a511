"""The PIE instruction table of the ESP32-P4 and its encoder, decoder and disassembler.

Words are ESPV 2.1 (chips before revision 3): they are for the simulator, the tests and the macro file. What a
board runs is encoded by the vendor's assembler from the same text. The table itself is ``pie_isa.json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from espgen.errors import EspgenError

_TABLE_FILE = Path(__file__).with_name("pie_isa.json")

ABI_NAMES: tuple[str, ...] = (
    *("zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1"),
    *(f"a{i}" for i in range(8)),
    *(f"s{i}" for i in range(2, 12)),
    *(f"t{i}" for i in range(3, 7)),
)
"""ABI names of x0..x31, in order."""

REGISTER_NUMBERS: Mapping[str, int] = MappingProxyType(
    {name: number for number, name in enumerate(ABI_NAMES)}
    | {f"x{number}": number for number in range(32)}
    | {"fp": 8}
)
"""Every spelling of an integer register -> its number 0..31."""

PIE_REACHABLE: frozenset[int] = frozenset((*range(8, 16), *range(24, 32)))
"""Integer registers an ``x_pie`` operand can name: bit 3 of the number is not encoded and taken as 1."""


@dataclass(frozen=True)
class BitField:
    """``count`` bits of an operand's value from ``value_low`` up, placed in the word from ``word_low`` up."""

    value_low: int
    count: int
    word_low: int


@dataclass(frozen=True)
class Operand:
    """One operand of an instruction, in assembly order.

    Attributes:
        field: name in the vendor's tables (``qu``, ``rs1``, ``off256_16_1``).
        kind: ``q`` (q0..q7), ``x_pie`` or ``x_any`` (integer register), ``simm`` (signed immediate), ``uimm``
            (unsigned select or count) or ``pcrel`` (byte distance from the instruction to a label, forward).
        minimum: smallest legal value; for registers the smallest number.
        maximum: largest legal value.
        step: immediates are multiples of this.
        shift: what is encoded is ``value >> shift``.
        bits: where the value's bits go.
    """

    field: str
    kind: str
    minimum: int
    maximum: int
    step: int
    shift: int
    bits: tuple[BitField, ...]

    @property
    def is_register(self) -> bool:
        """True for q registers and integer registers."""
        return self.kind in ("q", "x_pie", "x_any")


@dataclass(frozen=True)
class Instruction:
    """One instruction of the table.

    Attributes:
        mnemonic: official dotted name.
        match: the word with all operand bits zero.
        mask: the bits of the word that are not operands.
        operands: in assembly order.
        semantics: what it computes, in the table's pseudo code.
        verified: False where no source proves the semantics (complex products, FFT, ...): do not emit these.
        note: a hazard of the assembler or the chip, or "".
    """

    mnemonic: str
    match: int
    mask: int
    operands: tuple[Operand, ...]
    semantics: str
    verified: bool
    note: str


def _operand(key: str, row: Mapping[str, object]) -> Operand:
    kind = str(row["kind"])
    largest_register = {"q": 7, "x_pie": 31, "x_any": 31}
    bits = row["bits"]
    assert isinstance(bits, list)

    def number(name: str, default: int) -> int:
        return int(str(row.get(name, default)))

    return Operand(
        field=key.partition(":")[0],
        kind=kind,
        minimum=number("min", 8 if kind == "x_pie" else 0),
        maximum=number("max", largest_register.get(kind, 0)),
        step=number("step", 1),
        shift=number("shift", 0),
        bits=tuple(BitField(*map(int, entry)) for entry in bits),
    )


@lru_cache(maxsize=1)
def instruction_table() -> Mapping[str, Instruction]:
    """Return every PIE and hardware-loop instruction by mnemonic (read-only, sorted by mnemonic)."""
    data = json.loads(_TABLE_FILE.read_text(encoding="utf-8"))
    fields = {key: _operand(key, row) for key, row in data["fields"].items()}
    table = {
        row["mnemonic"]: Instruction(
            mnemonic=row["mnemonic"],
            match=int(row["match"], 16),
            mask=int(row["mask"], 16),
            operands=tuple(fields[key] for key in row["operands"]),
            semantics=row["semantics"],
            verified=row.get("verified", True),
            note=row.get("note", ""),
        )
        for row in data["instructions"]
    }
    return MappingProxyType(table)


def _lookup(mnemonic: str) -> Instruction:
    instruction = instruction_table().get(mnemonic)
    if instruction is None:
        raise EspgenError(f"{mnemonic} is not a PIE instruction", place=mnemonic)
    return instruction


def _register(operand: Operand, text: str, place: str) -> int:
    if operand.kind == "q":
        match = re.fullmatch(r"q([0-7])", text)
        if match:
            return int(match.group(1))
        raise EspgenError(f"operand {operand.field}: {text!r} is not one of q0..q7", place=place)
    number = REGISTER_NUMBERS.get(text)
    if number is None:
        raise EspgenError(f"operand {operand.field}: {text!r} is not an integer register", place=place)
    return number


def _value(operand: Operand, given: int | str, place: str) -> int:
    """Return the operand's numeric value, checked against what its field can hold."""
    if isinstance(given, int):
        value = given
    elif operand.is_register:
        value = _register(operand, given.strip().lower(), place)
    else:
        try:
            value = int(given, 0)
        except ValueError:
            raise EspgenError(f"operand {operand.field}: {given!r} is not a number", place=place) from None
    if operand.kind == "x_pie" and value not in PIE_REACHABLE:
        shown = ABI_NAMES[value] if 0 <= value < 32 else str(value)
        raise EspgenError(
            f"operand {operand.field}: register {shown} is not reachable by PIE instructions",
            place=place,
            hint="use x8-x15 or x24-x31 (s0 s1 a0-a5 s8-s11 t3-t6)",
        )
    if not operand.minimum <= value <= operand.maximum:
        what = "register number" if operand.is_register else "immediate"
        raise EspgenError(
            f"operand {operand.field}: {what} {value} is out of range {operand.minimum}..{operand.maximum}",
            place=place,
        )
    if value % operand.step:
        raise EspgenError(
            f"operand {operand.field}: immediate {value} is not a multiple of {operand.step}", place=place
        )
    return value


def encode(mnemonic: str, operands: Sequence[int | str] = ()) -> int:
    """Return the 32-bit word of one instruction.

    Args:
        mnemonic: official dotted name.
        operands: in assembly order; registers as numbers or names, immediates and label distances as numbers
            (bytes) or their text.

    Raises:
        EspgenError: unknown mnemonic, wrong operand count, a register PIE cannot reach, or an immediate out of
            range or off its step.
    """
    instruction = _lookup(mnemonic)
    wanted = instruction.operands
    if len(operands) != len(wanted):
        names = ", ".join(operand.field for operand in wanted) or "none"
        raise EspgenError(
            f"{mnemonic} takes {len(wanted)} operands ({names}), got {len(operands)}", place=mnemonic
        )
    word = instruction.match
    for operand, given in zip(wanted, operands, strict=True):
        stored = _value(operand, given, mnemonic) >> operand.shift
        for bits in operand.bits:
            word |= ((stored >> bits.value_low) & ((1 << bits.count) - 1)) << bits.word_low
    return word


def _extract(operand: Operand, word: int) -> int:
    stored = 8 if operand.kind == "x_pie" else 0
    width = 0
    for bits in operand.bits:
        stored |= ((word >> bits.word_low) & ((1 << bits.count) - 1)) << bits.value_low
        width = max(width, bits.value_low + bits.count)
    if operand.kind == "simm" and stored >> (width - 1):
        stored -= 1 << width
    return stored << operand.shift


@lru_cache(maxsize=1)
def _by_mask() -> tuple[tuple[int, Mapping[int, Instruction]], ...]:
    groups: dict[int, dict[int, Instruction]] = {}
    for instruction in instruction_table().values():
        groups.setdefault(instruction.mask, {})[instruction.match] = instruction
    return tuple(groups.items())


def decode(word: int) -> tuple[Instruction, tuple[int, ...]] | None:
    """Return the instruction of a word and its operand values in assembly order.

    None where the word is no PIE instruction, or a lane select is larger than the register has lanes.
    """
    for mask, instructions in _by_mask():
        instruction = instructions.get(word & mask)
        if instruction is not None:
            values = tuple(_extract(operand, word) for operand in instruction.operands)
            legal = all(
                o.minimum <= v <= o.maximum for o, v in zip(instruction.operands, values, strict=True)
            )
            return (instruction, values) if legal else None
    return None


def _shown(operand: Operand, value: int) -> str:
    if operand.kind == "q":
        return f"q{value}"
    return ABI_NAMES[value] if operand.is_register else str(value)


def disassemble(word: int) -> str:
    """Return the assembly text of a word; ``.4byte 0x...`` where it is no PIE instruction."""
    found = decode(word)
    if found is None:
        return f".4byte 0x{word:08x}"
    instruction, values = found
    shown = ", ".join(_shown(o, v) for o, v in zip(instruction.operands, values, strict=True))
    return f"{instruction.mnemonic} {shown}".rstrip()


def assemble_text(line: str) -> int:
    """Return the word of one line such as ``esp.vld.128.ip q0, a0, 16``.

    Label operands are byte distances from the instruction. Comments are not accepted.

    Raises:
        EspgenError: as :func:`encode`.
    """
    mnemonic, _, rest = line.strip().partition(" ")
    operands = [part.strip() for part in rest.split(",")] if rest.strip() else []
    return encode(mnemonic.lower(), operands)


def macro_file() -> str:
    """Return the text of ``esp_pie_macros.inc``; see :mod:`espgen.target.pie_macros`."""
    from espgen.target.pie_macros import macro_file as build  # the macros are made from this module's table

    return build()
