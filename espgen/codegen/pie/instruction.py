"""One checked assembly instruction: operands, registers read and written, latencies of the core model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from espgen.codegen.pie.registers import F, Q, X
from espgen.errors import EspgenError
from espgen.target.isa import Instruction as TableEntry
from espgen.target.isa import instruction_table


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
        "nop": "",
    }
)
"""RV32 instructions kernels use -> operands: d destination, s source (F, f: float), i/h/U immediate of 12/5/20 bits, l label."""

_ROUNDING = ("fadd.s", "fmul.s", "fdiv.s", "fcvt.s.w")
"""Instructions that name their rounding mode: to nearest, ties to even, whatever the caller's is."""
_LOADS = ("lw", "lh", "lhu", "lb", "lbu")
_BRANCHES = (*(name for name, form in SCALAR.items() if form.endswith("l")), "ret")
_IMMEDIATE_RANGES = {"i": (-2048, 2047), "h": (0, 31), "U": (0, 2**20 - 1)}


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
    def loads_qacc(self) -> bool:
        """Whether the next reader of QACC other than a multiply-accumulate waits (one cycle)."""
        return self.mnemonic.startswith(("esp.ld.qacc", "esp.ldqa"))

    @property
    def takes_qacc(self) -> bool:
        """Whether it reads QACC and is no multiply-accumulate."""
        return self.mnemonic.startswith(("esp.srcmb", "esp.st.qacc"))

    def __str__(self) -> str:
        shown = [str(operand) for operand in self.operands]
        if SCALAR.get(self.mnemonic) in ("dis", "sis"):
            shown = [shown[0], f"{shown[1]}({shown[2]})"]
        if self.mnemonic in _ROUNDING:
            shown.append("rne")
        return f"{self.mnemonic} {', '.join(shown)}".rstrip()


def load_immediate(register: X, value: int, note: str = "") -> tuple[Instruction, ...]:
    """A 32-bit constant into a register: one instruction, or lui and addi (every assembler then makes the same words)."""
    if -2048 <= value <= 2047:
        return (Instruction("li", (register, value), note),)
    upper = (value + 0x800) >> 12
    lower = value - (upper << 12)
    lui = Instruction("lui", (register, upper & 0xFFFFF), note)
    return (lui, Instruction("addi", (register, register, lower))) if lower else (lui,)


def _fail(instruction: Instruction, reason: str) -> EspgenError:
    return EspgenError(f"kernel generator: {instruction.mnemonic}: {reason}", place=str(instruction.operands))


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


def _check_pie(instruction: Instruction) -> None:
    entry = instruction_table().get(instruction.mnemonic)
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
        elif (
            not isinstance(operand, int)
            or not field.minimum <= operand <= field.maximum
            or operand % field.step
        ):
            expected = f"{field.minimum}..{field.maximum} step {field.step}"
            raise _fail(instruction, f"{field.field}: immediate {operand} is not in {expected}")


# Fields that are results, by operand list: the table's field names alone do not tell (`qu` is stored or loaded,
# `qv` added into or the upper half of a product).
_RESULTS: Mapping[tuple[str, ...], tuple[str, ...]] = MappingProxyType(
    {
        ("qx", "qy"): (),
        ("qv", "qy"): ("qv",),
        ("qv", "qx", "qy"): ("qv",),
        ("qv", "qx", "rs1"): ("qv",),
        ("qz", "qv", "qx", "qy"): ("qz", "qv"),
        ("qz", "qv", "qw"): ("qz", "qv"),
        ("qu", "qy"): ("qu",),
        ("qu", "qw", "sel2_3"): ("qu",),
        ("qu", "rs1", "sel2_4"): ("qu",),
        ("qu", "rs1", "qv", "qx", "qy"): ("qv",),
    }
)


@lru_cache(maxsize=1024)
def _roles(mnemonic: str) -> tuple[tuple[bool, bool, bool], ...]:
    """(read, written, loaded) of every operand of a PIE instruction."""
    entry: TableEntry = instruction_table()[mnemonic]
    names = tuple(operand.field for operand in entry.operands)
    results = set(_RESULTS.get(names, tuple(name for name in names if name in ("qz", "rd", "frd"))))
    parts = mnemonic.split(".")
    loading = any(part in ("ld", "ldbc", "vld", "vldbc", "vldext", "vldhbc", "ldxq") for part in parts)
    loaded = {"qu"} if loading else set()
    if "vldext" in parts or "vldhbc" in parts:
        loaded.add("qz")
    both = set()
    if parts[1] in ("vzip", "vunzip", "slci", "srci", "slcxxp", "srcxxp"):
        both = {"qx", "qy", "qw"}
    elif (parts[1] == "movi" and parts[-1] == "q") or parts[1] == "vrelu":
        both = {"qy"}
    elif mnemonic.startswith(("esp.src.q.qup", "esp.src.q.ld")):
        both = {"qw"}
    post_modified = any(part in ("ip", "xp", "incp") for part in parts)
    roles = []
    for name in names:
        written = name in results or name in loaded or name in both or (post_modified and name == "rs1")
        read = name in both or not (name in results or name in loaded)
        roles.append((read, written, name in loaded))
    return tuple(roles)


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
