"""One checked assembly instruction: operands, registers read and written, latencies of the core model.

What the vector unit's instructions are comes from the records of :mod:`espgen.target.isa`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from espgen.codegen.pie.registers import F, Q, X
from espgen.errors import Defect
from espgen.target import core_costs
from espgen.target.espv import Level, Levels
from espgen.target.isa import PORTABLE_FORMS, changed_meanings, instruction_table
from espgen.target.isa import Instruction as TableEntry


@dataclass(frozen=True)
class Label:
    """A local label, by its full text."""

    name: str

    def __str__(self) -> str:
        return self.name


Operand = Q | X | F | int | Label

SCALAR: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("add", "sub", "and", "or", "xor", "sll", "srl", "sra", "mul", "mulh", "slt", "sltu"), "dss"),
        **dict.fromkeys(("addi", "andi", "ori", "xori", "slti", "sltiu"), "dsi"),
        **dict.fromkeys(("slli", "srli", "srai"), "dsh"),
        **dict.fromkeys(("lw", "lh", "lhu", "lb", "lbu"), "dis"),
        **dict.fromkeys(("sw", "sh", "sb"), "sis"),
        **dict.fromkeys(("beq", "bne", "blt", "bge", "bltu", "bgeu"), "ssl"),
        **dict.fromkeys(("bnez", "beqz", "blez", "bgtz", "bltz", "bgez"), "sl"),
        **dict.fromkeys(("mv", "neg", "not", "seqz", "snez"), "ds"),
        **dict.fromkeys(("fadd.s", "fmul.s", "fdiv.s"), "Fff"),
        **dict.fromkeys(("fcvt.s.w", "fmv.w.x"), "Fs"),
        **dict.fromkeys(("flt.s", "feq.s"), "dff"),
        "fmv.s": "Ff",
        "li": "di",
        "lui": "dU",
        "j": "l",
        "ret": "",
        "fence": "",
        "nop": "",
    }
)
"""RV32 instructions kernels use -> operands: d destination, s source (F, f: float), i/h/U immediate of 12/5/20 bits, l label."""

_ROUNDING = ("fadd.s", "fmul.s", "fdiv.s", "fcvt.s.w")
"""Instructions that name their rounding mode: to nearest, ties to even, whatever the caller's is."""
_LOADS = ("lw", "lh", "lhu", "lb", "lbu")
_STORES = ("sw", "sh", "sb")
_BRANCHES = (*(name for name, form in SCALAR.items() if form.endswith("l")), "ret")
_IMMEDIATE_RANGES = {"i": (-2048, 2047), "h": (0, 31), "U": (0, 2**20 - 1)}


# By latency class of the instruction's record.
_AWAITS: Mapping[str, frozenset[Operand | str]] = {
    "qacc_read": frozenset({"qacc"}),
    "qacc_move": frozenset({"qacc"}),
    "xacc_read": frozenset({"xacc"}),
    "xacc_mac": frozenset({"xacc unit"}),
}
_LEAVES: Mapping[str, Mapping[Operand | str, int]] = {
    "qacc_mac": {"qacc": core_costs.QACC_MAC_USE},
    "xacc_mac": {"xacc": core_costs.XACC_MAC_USE, "xacc unit": core_costs.XACC_MAC_INTERVAL - 1},
    "qacc_load": {"qacc": core_costs.QACC_LOAD_USE},
    "xacc_load": {"xacc": core_costs.XACC_LOAD_USE},
}


@dataclass(frozen=True)
class Instruction:
    """A mnemonic with operands, checked when made.

    Attributes:
        mnemonic: official name, PIE or RV32.
        operands: in assembly order (a scalar load or store: register, offset, base).
        note: why it is there; printed as a comment.
        extra_cycles: cycles the core model adds by data the text does not show (misaligned accesses; may be a mean).
    """

    mnemonic: str
    operands: tuple[Operand, ...] = ()
    note: str = ""
    extra_cycles: float = 0.0

    def __post_init__(self) -> None:
        if self.mnemonic in SCALAR:
            _check_scalar(self)
        else:
            _check_pie(self)

    @property
    def is_branch(self) -> bool:
        """Whether it may jump (hardware loop set-up does not)."""
        return self.mnemonic in _BRANCHES

    @property
    def reads(self) -> frozenset[Operand]:
        """Registers whose value it uses."""
        return _effects(self.mnemonic, self.operands)[0]

    @property
    def writes(self) -> frozenset[Operand]:
        """Registers it changes."""
        return _effects(self.mnemonic, self.operands)[1]

    @property
    def loads(self) -> frozenset[Operand]:
        """Registers a reader in the next instruction must wait for (one cycle)."""
        return _effects(self.mnemonic, self.operands)[2]

    @property
    def awaits(self) -> frozenset[Operand | str]:
        """Registers, accumulators and units that have to be ready."""
        return self.reads | _AWAITS.get(self._latency, frozenset())

    @property
    def leaves(self) -> Mapping[Operand | str, int]:
        """How many cycles the next reader of what it changes has to wait, where it has to."""
        waits: dict[Operand | str, int] = {**dict.fromkeys(self.loads, core_costs.LOAD_USE)}
        if self.mnemonic.startswith("mul"):
            waits.update(dict.fromkeys(self.writes, core_costs.MUL_LATENCY))
        return {**waits, **_LEAVES.get(self._latency, {})}

    @property
    def may_end_loop(self) -> bool:
        """Whether a hardware loop may end with it: an integer instruction that does not jump."""
        return may_end_loop(self.mnemonic)

    @property
    def is_movable(self) -> bool:
        """Whether it only computes with integer registers, so that order is a matter of registers alone."""
        return self.may_end_loop and self.mnemonic not in (*_LOADS, *_STORES, "fence")

    @property
    def _latency(self) -> str:
        entry = None if self.mnemonic in SCALAR else record(self.mnemonic)
        return entry.latency if entry else "plain"

    def __str__(self) -> str:
        shown = [str(operand) for operand in self.operands]
        if SCALAR.get(self.mnemonic) in ("dis", "sis"):
            shown = [shown[0], f"{shown[1]}({shown[2]})"]
        if self.mnemonic in _ROUNDING:
            shown.append("rne")
        return f"{self.mnemonic} {', '.join(shown)}".rstrip()


def may_end_loop(mnemonic: str) -> bool:
    """Whether a hardware loop may end with the instruction: no jump, nothing that the vector or float unit executes."""
    form = SCALAR.get(mnemonic)
    if form is None:
        entry = record(mnemonic)
        return entry is not None and entry.loop_end
    return mnemonic not in _BRANCHES and not set(form) & set("Ff")


def check_portable(instruction: Instruction) -> None:
    """Raise Defect for an instruction whose text means, or may mean, something else on the other chip."""
    reason = changed_meanings().get(instruction.mnemonic)
    if reason is not None:
        raise _fail(instruction, f"does not mean the same on both chips: {reason}")


def load_immediate(register: X, value: int, note: str = "") -> tuple[Instruction, ...]:
    """A 32-bit constant into a register: one instruction, or lui and addi (every assembler then makes the same words)."""
    if -2048 <= value <= 2047:
        return (Instruction("li", (register, value), note),)
    upper = (value + 0x800) >> 12
    lower = value - (upper << 12)
    lui = Instruction("lui", (register, upper & 0xFFFFF), note)
    return (lui, Instruction("addi", (register, register, lower))) if lower else (lui,)


def _fail(instruction: Instruction, reason: str) -> Defect:
    return Defect(f"kernel generator: {instruction.mnemonic} {instruction.operands}: {reason}")


def _check_scalar(instruction: Instruction) -> None:
    form = SCALAR[instruction.mnemonic]
    if len(form) != len(instruction.operands):
        raise _fail(instruction, f"takes {len(form)} operands")
    for letter, operand in zip(form, instruction.operands, strict=True):
        if letter in "ds" and not isinstance(operand, X):
            raise _fail(instruction, f"{operand} is no integer register")
        if letter in "Ff" and not isinstance(operand, F):
            raise _fail(instruction, f"{operand} is no float register")
        if letter == "l" and not isinstance(operand, Label):
            raise _fail(instruction, f"{operand} is no label")
        if letter in _IMMEDIATE_RANGES:
            low, high = _IMMEDIATE_RANGES[letter]
            if not isinstance(operand, int) or not low <= operand <= high:
                raise _fail(instruction, f"immediate {operand} is not in {low}..{high}")


def record(mnemonic: str) -> TableEntry | None:
    """The table's record of a PIE or loop instruction, or of what a form of our own stands for; None where it is neither."""
    form = PORTABLE_FORMS.get(mnemonic)
    return instruction_table(Level.V21).get(form.v21 if form else mnemonic)


def written_for(line: str, levels: Levels) -> str:
    """One line of assembly as it is written for these levels.

    For revision 3 alone, saturation and `rne` are written out where the instruction rounds, so that its result no longer
    depends on CFG, which no operating system keeps; text for both levels has no operand that only one of them knows.
    """
    if levels is not Levels.V22:
        return line
    code, separator, note = line.partition("//")
    mnemonic, _, operands = code.strip().partition(" ")
    entry = instruction_table(Level.V22).get(mnemonic)
    if entry is None or all(operand.kind != "rm" for operand in entry.optional):
        return line
    given = [text.strip() for text in operands.split(",")]
    shown = [*given[: len(entry.required)]]
    if entry.optional[0].kind == "sat":
        saturates = given[len(entry.required)] if len(given) > len(entry.required) else "1"
        shown.append("sat" if saturates == "1" else "trunc")
    indent = code[: len(code) - len(code.lstrip())]
    text = f"{indent}{mnemonic} {', '.join([*shown, 'rne'])}"
    return f"{text:<55} //{note}" if separator else text


def _check_pie(instruction: Instruction) -> None:
    entry = record(instruction.mnemonic)
    if entry is None:
        raise _fail(instruction, "is not in the instruction table")
    if not entry.verified:
        raise _fail(instruction, "has no verified semantics and must not be emitted")
    if len(entry.operands) != len(instruction.operands):
        raise _fail(instruction, f"takes {len(entry.operands)} operands")
    for field, operand in zip(entry.operands, instruction.operands, strict=True):
        if field.kind == "q":
            if not isinstance(operand, Q):
                raise _fail(instruction, f"{field.field}: {operand} is no PIE register")
        elif field.kind in ("x_pie", "x_any"):
            if not isinstance(operand, X) or (field.kind == "x_pie" and not operand.reachable):
                raise _fail(instruction, f"{field.field}: {operand} is not reachable by PIE")
        elif field.kind == "pcrel":
            if not isinstance(operand, Label):
                raise _fail(instruction, f"{field.field}: {operand} is no label")
        elif not isinstance(operand, int) or not field.minimum <= operand <= field.maximum or operand % field.step:
            expected = f"{field.minimum}..{field.maximum} step {field.step}"
            raise _fail(instruction, f"{field.field}: immediate {operand} is not in {expected}")
        elif field.lanes and operand not in field.names_a_lane:
            raise _fail(instruction, f"{field.field}: the register has no lane {operand}")


_ROLES = {"r": (True, False, False), "w": (False, True, False), "l": (False, True, True), "b": (True, True, False)}


@lru_cache(maxsize=1024)
def _roles(mnemonic: str) -> tuple[tuple[bool, bool, bool], ...]:
    """(read, written, loaded) of every operand of a PIE instruction."""
    entry = record(mnemonic)
    assert entry is not None
    return tuple(_ROLES.get(letter, (False, False, False)) for letter in entry.roles)


@lru_cache(maxsize=8192)
def _effects(mnemonic: str, operands: tuple[Operand, ...]) -> tuple[frozenset[Operand], ...]:
    form = SCALAR.get(mnemonic)
    if form is not None:
        slow = mnemonic in _LOADS or mnemonic in ("mul", "mulh") or mnemonic in _ROUNDING
        roles = tuple((letter in "sf", letter in "dF", letter in "dF" and slow) for letter in form)
    else:
        roles = _roles(mnemonic)
    sets: tuple[set[Operand], ...] = (set(), set(), set())
    for operand, role in zip(operands, roles, strict=True):
        if isinstance(operand, Q | X | F) and operand != X(0):
            for target, member in zip(sets, role, strict=True):
                if member:
                    target.add(operand)
    return tuple(frozenset(members) for members in sets)
