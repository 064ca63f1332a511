"""The PIE instructions of the ESP32-P4: one record each, for both levels, with encoder, decoder and disassembler.

Words are for the simulator, the tests and the macro files; what a board runs is encoded by the vendor's assembler
from the same text. The records are ``pie_isa.json``; assembler checks, macro files, the simulator's decode tables, the
page docs/instructions.md and the tests all read them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from espgen.errors import EspgenError
from espgen.target.espv import DEFAULTS, KEYWORDS, ROUNDING, Level

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
            (unsigned select or count), ``pcrel`` (byte distance from the instruction to a label, forward), or one
            of the optional ``sat`` and ``rm`` (keywords, see :mod:`espgen.target.espv`).
        minimum: smallest legal value; for registers the smallest number.
        maximum: largest legal value.
        step: immediates are multiples of this.
        shift: what is encoded is ``value >> shift``.
        bits: where the value's bits go.
        lanes: selects from there on are encoded but name no lane; 0 where the select has no such values.
    """

    field: str
    kind: str
    minimum: int
    maximum: int
    step: int
    shift: int
    bits: tuple[BitField, ...]
    lanes: int = 0

    @property
    def is_register(self) -> bool:
        """True for q registers and integer registers."""
        return self.kind in ("q", "x_pie", "x_any")

    @property
    def is_optional(self) -> bool:
        """True for saturation and rounding: left out, ``sat`` and ``dyn`` are encoded."""
        return self.kind in DEFAULTS

    @property
    def names_a_lane(self) -> range:
        """Values that a select may take and mean something."""
        return range(self.minimum, self.lanes or self.maximum + 1)


@dataclass(frozen=True)
class Instruction:
    """One instruction at one level.

    Attributes:
        mnemonic: official dotted name.
        match: the word with all operand bits zero.
        mask: the bits of the word that are not operands.
        operands: in assembly order, optional ones last.
        roles: per operand that is not optional: ``r`` read, ``w`` written, ``l`` loaded (a reader right behind waits),
            ``b`` read and written, ``-`` no register.
        latency: class of the timing model: ``plain``, ``loop``, ``qacc_mac`` and ``xacc_mac`` (multiply-accumulate),
            ``qacc_load``, ``xacc_load``, ``qacc_read``, ``xacc_read`` (readers that are no multiply-accumulate) or
            ``qacc_move``. Registers with role ``l`` are loads whatever the class.
        unit: ``pie`` (a coprocessor instruction), ``scalar`` or ``loop``.
        loop_end: whether a hardware loop may end with it.
        semantics: what it computes with saturation and the rounding mode of CFG, in the table's pseudo code.
        saturates: for level 2.1, which has no operand for it: whether it computes ``sat`` or ``trunc``.
        rounding: for level 2.1 likewise: ``dyn`` (by CFG) or ``rdn``.
        proven: ``always``, ``never`` (no source proves the semantics: complex products, FFT, ...), or the keyword
            ``trunc`` or ``rdn`` that the proof is limited to.
        note: a hazard of the assembler or the chip, or "".
    """

    mnemonic: str
    match: int
    mask: int
    operands: tuple[Operand, ...]
    roles: str
    latency: str
    unit: str
    loop_end: bool
    semantics: str
    saturates: bool
    rounding: int
    proven: str
    note: str

    @property
    def verified(self) -> bool:
        """Whether the semantics are proven for some operands at least."""
        return self.proven != "never"

    @property
    def is_coprocessor(self) -> bool:
        """Whether the vector unit executes it."""
        return self.unit == "pie"

    @property
    def required(self) -> tuple[Operand, ...]:
        """The operands that must be given: those of both levels' texts."""
        return tuple(operand for operand in self.operands if not operand.is_optional)

    @property
    def optional(self) -> tuple[Operand, ...]:
        """The trailing operands that may be left out."""
        return tuple(operand for operand in self.operands if operand.is_optional)


@dataclass(frozen=True)
class PortableForm:
    """A name of our own for what the levels write differently: an assembler macro of every kernel file."""

    mnemonic: str
    v21: str
    v22: str
    v22_suffix: str


PORTABLE_FORMS: Mapping[str, PortableForm] = MappingProxyType(
    {form.mnemonic: form for form in (PortableForm("espgen.vsl.s32", "esp.vsl.32", "esp.vsl.s32", "trunc"),)}
)
"""Own mnemonic -> instruction of each level with the same meaning and operands (2.2 with a keyword behind)."""


def _operand(key: str, row: Mapping[str, object]) -> Operand:
    kind = str(row["kind"])
    largest = {"q": 7, "x_pie": 31, "x_any": 31, "sat": 1, "rm": 7}
    bits = row["bits"]
    assert isinstance(bits, list)

    def number(name: str, default: int) -> int:
        return int(str(row.get(name, default)))

    return Operand(
        field=key.partition(":")[0],
        kind=kind,
        minimum=number("min", 8 if kind == "x_pie" else 0),
        maximum=number("max", largest.get(kind, 0)),
        step=number("step", 1),
        shift=number("shift", 0),
        bits=tuple(BitField(*map(int, entry)) for entry in bits),
        lanes=number("lanes", 0),
    )


@lru_cache(maxsize=1)
def _records() -> Mapping[str, Any]:
    data: Mapping[str, Any] = json.loads(_TABLE_FILE.read_text(encoding="utf-8"))
    return data


@lru_cache(maxsize=2)
def instruction_table(level: Level = Level.V21) -> Mapping[str, Instruction]:
    """Return every PIE and hardware-loop instruction of a level by mnemonic (read-only, sorted by mnemonic)."""
    data = _records()
    fields = {key: _operand(key, row) for key, row in data["fields"].items()}
    key = level.name.lower()
    table = {}
    for row in data["instructions"]:
        if key not in row:
            continue
        match, mask, keys = row[key]
        operands = tuple(fields[name] for name in keys.split())
        required = sum(not operand.is_optional for operand in operands)
        means = row.get("v21_means", "") if level is Level.V21 else ""
        table[row["mnemonic"]] = Instruction(
            mnemonic=row["mnemonic"],
            match=int(match, 16),
            mask=int(mask, 16),
            operands=operands,
            roles=row.get("roles", "")[:required],  # srcmb's saturation is optional at one level only
            latency=row.get("latency", "plain"),
            unit=row.get("unit", "pie"),
            loop_end=row.get("loop_end", False),
            semantics=row["semantics"],
            saturates=means != "trunc",
            rounding=ROUNDING["rdn" if means == "rdn" else "dyn"],
            proven=row.get("proven", {}).get(key, "always"),
            note=row.get("note", ""),
        )
    return MappingProxyType(table)


@lru_cache(maxsize=2)
def aliases(level: Level) -> Mapping[str, str]:
    """Old mnemonic -> the instruction that the level's assembler makes of it, without optional operands."""
    key = f"{level.name.lower()}_alias"
    return MappingProxyType({row["mnemonic"]: row[key] for row in _records()["instructions"] if key in row})


@lru_cache(maxsize=1)
def changed_meanings() -> Mapping[str, str]:
    """Mnemonic of level 2.1 -> why the same text means, or may mean, something else at level 2.2."""
    return MappingProxyType(
        {
            row["mnemonic"]: row["note"]
            for row in _records()["instructions"]
            if "v21" in row and ("v22" not in row or "v21_means" in row)
        }
    )


def _lookup(mnemonic: str, level: Level) -> Instruction:
    instruction = instruction_table(level).get(mnemonic)
    if instruction is None:
        hint = "it exists at the other level" if any(mnemonic in instruction_table(other) for other in Level) else ""
        raise EspgenError(f"{mnemonic} is not a PIE instruction of ESPV {level.version}", place=mnemonic, hint=hint)
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


def _optional_values(instruction: Instruction, given: Sequence[int | str]) -> dict[str, int]:
    """Kind -> value of the optional operands, in order, any of them left out.

    Keywords only, as the vendor's assembler takes them, but for the saturation of srcmb, which may be 0 or 1.
    """
    values = {operand.kind: DEFAULTS[operand.kind] for operand in instruction.optional}
    left = list(values)
    for item in given:
        text = item.strip().lower() if isinstance(item, str) else item
        if text in ("0", "1") and instruction.mnemonic.startswith("esp.srcmb.") and left[:1] == ["sat"]:
            text = int(text)
        fits = [kind for kind in left if (text in KEYWORDS[kind] if isinstance(text, str) else kind == left[0])]
        if not fits or (isinstance(text, int) and text not in KEYWORDS[fits[0]].values()):
            choice = ", ".join(name for kind in left for name in KEYWORDS[kind]) or "nothing more"
            raise EspgenError(f"operand {item!r} is not one of: {choice}", place=instruction.mnemonic)
        kind = fits[0]
        values[kind] = KEYWORDS[kind][text] if isinstance(text, str) else text
        left = left[left.index(kind) + 1 :]
    return values


def encode(mnemonic: str, operands: Sequence[int | str] = (), level: Level = Level.V21) -> int:
    """Return the 32-bit word of one instruction.

    Args:
        mnemonic: official dotted name, or an old name that the level's assembler still takes.
        operands: in assembly order; registers as numbers or names, immediates and label distances as numbers
            (bytes) or their text, saturation and rounding as keywords or numbers, or left out.
        level: the instruction set.

    Raises:
        EspgenError: unknown mnemonic, wrong operand count, a register PIE cannot reach, or an immediate out of
            range or off its step.
    """
    old = aliases(level).get(mnemonic)
    instruction = _lookup(old or mnemonic, level)
    wanted = instruction.required
    most = len(wanted) if old else len(instruction.operands)
    if not len(wanted) <= len(operands) <= most:
        names = ", ".join(operand.field for operand in wanted) or "none"
        raise EspgenError(
            f"{mnemonic} takes {len(wanted)} operands ({names}), got {len(operands)}", place=mnemonic
        )
    values = [_value(operand, given, mnemonic) for operand, given in zip(wanted, operands, strict=False)]
    optional = _optional_values(instruction, operands[len(wanted) :])
    values += [optional[operand.kind] for operand in instruction.optional]
    word = instruction.match
    for operand, value in zip(instruction.operands, values, strict=True):
        stored = value >> operand.shift
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


@lru_cache(maxsize=2)
def _by_mask(level: Level) -> tuple[tuple[int, Mapping[int, Instruction]], ...]:
    groups: dict[int, dict[int, Instruction]] = {}
    for instruction in instruction_table(level).values():
        groups.setdefault(instruction.mask, {})[instruction.match] = instruction
    return tuple(groups.items())


def decode(word: int, level: Level = Level.V21) -> tuple[Instruction, tuple[int, ...]] | None:
    """Return the instruction of a word and its operand values in assembly order; None where it is no PIE instruction."""
    for mask, instructions in _by_mask(level):
        instruction = instructions.get(word & mask)
        if instruction is not None:
            return instruction, tuple(_extract(operand, word) for operand in instruction.operands)
    return None


def _shown(operand: Operand, value: int) -> str:
    if operand.kind == "q":
        return f"q{value}"
    if operand.is_optional:
        return next(name for name, number in KEYWORDS[operand.kind].items() if number == value)
    return ABI_NAMES[value] if operand.is_register else str(value)


def disassemble(word: int, level: Level = Level.V21) -> str:
    """Return the assembly text of a word, optional operands written out; ``.4byte 0x...`` where it is no PIE instruction."""
    found = decode(word, level)
    if found is None:
        return f".4byte 0x{word:08x}"
    instruction, values = found
    shown = ", ".join(_shown(o, v) for o, v in zip(instruction.operands, values, strict=True))
    return f"{instruction.mnemonic} {shown}".rstrip()


def assemble_text(line: str, level: Level = Level.V21) -> int:
    """Return the word of one line such as ``esp.vld.128.ip q0, a0, 16``.

    Label operands are byte distances from the instruction. Comments are not accepted.

    Raises:
        EspgenError: as :func:`encode`.
    """
    mnemonic, _, rest = line.strip().partition(" ")
    operands = [part.strip() for part in rest.split(",")] if rest.strip() else []
    return encode(mnemonic.lower(), operands, level)


def macro_file(level: Level = Level.V21) -> str:
    """Return the text of a level's macro file; see :mod:`espgen.target.pie_macros`."""
    from espgen.target.pie_macros import macro_file as build  # the macros are made from this module's table

    return build(level)
