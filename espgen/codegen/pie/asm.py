"""An assembly function under construction: a tree of instructions and loops, its text and its cycles.

Checks what the assembler cannot: registers PIE can reach and immediates (instruction.py), hardware-loop rules
(loop_rules.py), saved registers. Cycles follow the core model (espgen/target/core_costs.py): one per instruction, waits for
loaded values and accumulators, jumps and branches that nothing foretold, none for a hardware loop's back edge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from espgen.codegen.pie.instruction import Instruction, Label, Operand, check_portable, load_immediate, written_for
from espgen.codegen.pie.loop_rules import check_body, check_branches, check_text, end_legally, rounds_together
from espgen.codegen.pie.registers import A0, A1, RA, SP, X
from espgen.errors import Defect, Refused
from espgen.target import core_costs
from espgen.target.espv import Levels
from espgen.target.pie_macros import SWITCH_FILE_NAME

ROUND_HALF_EVEN = 6 << 4
"""CFG.vxrm for rounding to nearest, ties to even."""
MISALIGNED_LOADS = 1 << 1
MISALIGNED_STORES = 1 << 0

FFT_MARK, SAR_MARK = 5, 63
"""What FFT_BIT_WIDTH (4 bits) and SAR (6 bits) hold between kernels while a model runs (watch.py). Exchanged, both differ."""

_SETUPI_REACH, _SETUPI_COUNT, _SETUP_REACH = 1022, 4095, 8190
_BRANCH_REACH = 4000

Trips = int | str
"""How often a loop runs: a number, or the name of a quantity known per call (`rows`)."""


@dataclass(frozen=True)
class Comment:
    """A line of explanation."""

    text: str


@dataclass
class Loop:
    """A counted loop; `counter` holds the count where it does not fit an immediate, and in branch form counts down."""

    trips: Trips
    counter: X
    hardware: bool
    preset: bool
    start: Label
    end: Label
    body: list[Item] = field(default_factory=list)


@dataclass
class Detour:
    """Instructions that a forward branch skips, but for a `share` of the times."""

    branch: Instruction
    end: Label
    share: float
    body: list[Item] = field(default_factory=list)


Item = Instruction | Comment | Label | Loop | Detour


def _instructions(items: list[Item]) -> Iterator[Instruction]:
    for item in items:
        if isinstance(item, Instruction):
            yield item
        elif isinstance(item, Loop):
            yield from _setup(item)
            yield from _instructions(item.body)
            yield from _tail(item)
        elif isinstance(item, Detour):
            yield item.branch
            yield from _instructions(item.body)


def _words(items: list[Item]) -> int:
    return sum(1 for _ in _instructions(items))


def _is_far(loop: Loop) -> bool:
    return _words(loop.body) * 4 > _BRANCH_REACH


def _setup(loop: Loop) -> tuple[Instruction, ...]:
    """Instructions before the body."""
    load: tuple[Instruction, ...] = ()
    if not loop.preset:
        assert isinstance(loop.trips, int)
        if loop.hardware and loop.trips <= _SETUPI_COUNT and _words(loop.body) * 4 <= _SETUPI_REACH:
            return (Instruction("esp.lp.setupi", (0, loop.trips, loop.end)),)
        load = load_immediate(loop.counter, loop.trips)
    if loop.hardware:
        return (*load, Instruction("esp.lp.setup", (0, loop.counter, loop.end)))
    return load


def _tail(loop: Loop) -> tuple[Instruction, ...]:
    """Instructions after the body (branch form)."""
    if loop.hardware:
        return ()
    count = Instruction("addi", (loop.counter, loop.counter, -1))
    if _is_far(loop):
        return (
            count,
            Instruction("beqz", (loop.counter, loop.end)),
            Instruction("j", (loop.start,)),
        )
    return (count, Instruction("bnez", (loop.counter, loop.start)))


class Function:
    """Builds one function of the ilp32f ABI.

    `symbol` is its global name, `summary` the comment above it. `hardware_loops=False` turns every hardware loop
    into a counted branch (an erratum of early silicon). Callee-saved registers that occur are saved and restored.
    """

    def __init__(self, symbol: str, summary: str, *, hardware_loops: bool = True) -> None:
        self.symbol = symbol
        self.summary = summary
        self.hardware_loops = hardware_loops
        self._items: list[Item] = []
        self._open: list[list[Item]] = [self._items]
        self._labels = 0
        self._in_hardware_loop = False
        self._scratch = 0
        self._cfg: int | None = None
        self._sar: int | None = None

    def __call__(self, mnemonic: str, *operands: Operand, note: str = "", extra: float = 0.0) -> None:
        """Append one instruction (`li` of any 32-bit constant: two where it needs them).

        Raises Defect for what the instruction table does not allow.
        """
        if mnemonic == "li" and isinstance(operands[0], X) and isinstance(operands[1], int):
            self._open[-1] += load_immediate(operands[0], operands[1], note)
            return
        instruction = Instruction(mnemonic, operands, note, extra)
        check_portable(instruction)
        self._open[-1].append(instruction)

    def fence(self) -> None:
        """Between vector stores and scalar loads of what they stored: revisions below 3 may load what was there before."""
        self("fence", note="vector stores before scalar loads")

    def comment(self, text: str) -> None:
        """Append a comment line."""
        self._open[-1].append(Comment(text))

    def scratch(self, size: int) -> int:
        """Reserve `size` bytes on the stack, 16-byte aligned; returns the offset from sp."""
        offset = self._scratch
        self._scratch += (size + 15) // 16 * 16
        return offset

    @property
    def stack_bytes(self) -> int:
        """Stack the function needs."""
        return self._frame(self._saved())

    def configure(self, register: X, *, misaligned_loads: bool = False, misaligned_stores: bool = False) -> None:
        """Write CFG: rounding half to even, and whether 128-bit accesses use the low address bits."""
        value = ROUND_HALF_EVEN
        value |= MISALIGNED_LOADS if misaligned_loads else 0
        value |= MISALIGNED_STORES if misaligned_stores else 0
        self._cfg = value
        self("li", register, value)
        self("esp.movx.w.cfg", register, note="round half to even" + (", misaligned loads" if misaligned_loads else ""))

    def shift_by(self, register: X, amount: int) -> None:
        """Write SAR, by way of a register."""
        self._sar = amount
        self("li", register, amount)
        self("esp.movx.w.sar", register)

    @contextmanager
    def loop(self, trips: int, counter: X) -> Iterator[None]:
        """An innermost hardware loop of `trips` >= 1 rounds; a body run once is emitted without a loop."""
        if self._in_hardware_loop:
            raise Defect("kernel generator: hardware loops are not nested")
        if trips == 1:
            yield
            return
        loop = self._new_loop(trips, counter, hardware=self.hardware_loops, preset=False)
        self._in_hardware_loop = self.hardware_loops
        yield from self._body(loop)
        self._in_hardware_loop = False
        if loop.hardware:
            self._finish_hardware(loop)

    @contextmanager
    def repeat(self, trips: Trips, counter: X, *, preset: bool = False) -> Iterator[None]:
        """A loop closed by a branch; with `preset` the caller has put the count into `counter`."""
        if trips == 1:
            yield
            return
        yield from self._body(self._new_loop(trips, counter, hardware=False, preset=preset or isinstance(trips, str)))

    @contextmanager
    def unless(self, mnemonic: str, *operands: X, share: float) -> Iterator[None]:
        """Instructions that a branch skips; `share` is how often it is not taken (for the count of cycles)."""
        self._labels += 1
        end = Label(f".L{self.symbol}_{self._labels}_past")
        detour = Detour(Instruction(mnemonic, (*operands, end)), end, share)
        self._open[-1].append(detour)
        yield from self._body(detour)
        if _words(detour.body) * 4 > _BRANCH_REACH:
            raise Refused(f"{_words(detour.body) * 4} bytes are too many for a branch")

    def _new_loop(self, trips: Trips, counter: X, *, hardware: bool, preset: bool) -> Loop:
        self._labels += 1
        stem = f".L{self.symbol}_{self._labels}"
        loop = Loop(trips, counter, hardware, preset, Label(stem), Label(stem + "_end"))
        self._open[-1].append(loop)
        return loop

    def _body(self, loop: Loop | Detour) -> Iterator[None]:
        self._open.append(loop.body)
        yield
        self._open.pop()
        if isinstance(loop, Loop) and not loop.hardware and any(loop.counter in i.writes for i in _instructions(loop.body)):
            raise Defect(f"kernel generator: {loop.counter} counts a loop whose body changes it")

    def _finish_hardware(self, loop: Loop) -> None:
        body = list(_instructions(loop.body))
        check_branches(body)
        assert isinstance(loop.trips, int)
        together = rounds_together(body, loop.trips, _round_cycles)
        if together > 1:
            left = loop.trips % together
            before = self._open[-1].index(loop)
            self._open[-1][before:before] = [item for _ in range(left) for item in loop.body]
            loop.trips //= together
            loop.body = [_copy(item) for _ in range(together) for item in loop.body]
            body = list(_instructions(loop.body))
        settled = end_legally(body, _round_cycles)
        added = settled[len(body) :]
        if settled[-1] is not body[-1] and not added:  # comments stay where they are
            loop.body[:] = [item for item in loop.body if item is not settled[-1]]
            added = settled[-1:]
        loop.body += added
        check_body(settled)
        if _words(loop.body) * 4 > _SETUP_REACH:
            raise Refused(f"loop body of {_words(loop.body) * 4} bytes is too long")

    def _saved(self) -> list[X]:
        used = {register for item in _instructions(self._items) for register in item.writes if isinstance(register, X)}
        return sorted((r for r in used if r.callee_saved or r == RA), key=lambda register: register.number)

    def _frame(self, saved: list[X]) -> int:
        return (self._scratch + 4 * len(saved) + 15) // 16 * 16

    def _complete(self) -> list[Item]:
        saved = self._saved()
        frame = self._frame(saved)
        if frame > 2032:
            raise Refused(f"{self.symbol} needs {frame} bytes of stack")
        before: list[Item] = []
        after: list[Item] = []
        if frame:
            before.append(Instruction("addi", (SP, SP, -frame)))
        for index, register in enumerate(saved):
            offset = self._scratch + 4 * index
            before.append(Instruction("sw", (register, offset, SP)))
            after.append(Instruction("lw", (register, offset, SP)))
        if frame:
            after.append(Instruction("addi", (SP, SP, frame)))
        return [*before, *self._items, *self._watched(), *after, Instruction("ret")]

    def _watched(self) -> list[Item]:
        """Where CFG or SAR are no longer what the function wrote, another task changed them: take the mark away (watch.py)."""
        items: list[Item] = []
        if self._cfg is not None:
            items += [Instruction("esp.movx.r.cfg", (A0,), "as this function wrote it, unless another task came between")]
            items += [Instruction("addi", (A0, A0, -self._cfg))]
        if self._sar is not None:
            difference = A0 if not items else A1
            items += [Instruction("esp.movx.r.sar", (difference,)), Instruction("addi", (difference, difference, -self._sar))]
            items += [Instruction("or", (A0, A0, A1))] if difference == A1 else []
        if items:
            items += [Instruction("bnez", (A0, self._disturbed)), self._watched_end]
        if self._sar is not None:
            items += [Instruction("li", (A0, SAR_MARK)), Instruction("esp.movx.w.sar", (A0,))]
        return items

    def _aside(self) -> list[Item]:
        """What stands behind the function's end and hardly ever runs."""
        if self._cfg is None and self._sar is None:
            return []
        take = (Instruction("li", (A0, 0)), Instruction("esp.movx.w.fft.bit.width", (A0,)))
        return [self._disturbed, *take, Instruction("j", (self._watched_end,))]

    @property
    def _disturbed(self) -> Label:
        return Label(f".L{self.symbol}_disturbed")

    @property
    def _watched_end(self) -> Label:
        return Label(f".L{self.symbol}_watched")

    def text(self) -> str:
        """The whole function as assembly text."""
        if len(self._open) != 1:
            raise Defect(f"kernel generator: {self.symbol} has an open loop")
        head = [f"// {line}".rstrip() for line in self.summary.splitlines()]
        # A group of its own: of equal functions in several models the linker keeps one.
        section = f'.section .text.{self.symbol}, "axG", @progbits, {self.symbol}, comdat'
        lines = [*head, section, f".weak {self.symbol}", ".balign 4", f".type {self.symbol}, @function", f"{self.symbol}:"]
        lines += _lines([*self._complete(), *self._aside()], "    ")
        return "\n".join([*lines, f".size {self.symbol}, . - {self.symbol}", ""])

    @property
    def code_bytes(self) -> int:
        """Size of the function."""
        return 4 * _words([*self._complete(), *self._aside()])

    def cycles(self, **trips: int) -> float:
        """Cycles of one call, `trips` naming every loop count not known at compile time (`rows=4`)."""
        items = self._complete()
        cycles, _ = _count(items, _Ready(), trips)
        return cycles + _training(items, trips) + core_costs.JUMP

    def instructions(self) -> tuple[Instruction, ...]:
        """Every instruction, loops not unrolled, in order of the text."""
        return tuple(_instructions([*self._complete(), *self._aside()]))


def _lines(items: list[Item], indent: str) -> list[str]:
    lines: list[str] = []
    for item in items:
        if isinstance(item, Comment):
            lines.append(f"{indent}// {item.text}")
        elif isinstance(item, Instruction):
            lines.append(_line(item, indent))
        elif isinstance(item, Label):
            lines.append(f"{item}:")
        elif isinstance(item, Detour):
            lines += [_line(item.branch, indent), *_lines(item.body, indent + "    "), f"{item.end}:"]
        else:
            lines += [_line(instruction, indent) for instruction in _setup(item)]
            body = _lines(item.body, indent + "    ")
            if item.hardware:
                last = max(index for index, line in enumerate(body) if not line.lstrip().startswith("//"))
                lines += [*body[:last], f"{item.end}:", *body[last:]]
            else:
                lines += [f"{item.start}:", *body]
                lines += [_line(instruction, indent) for instruction in _tail(item)]
                lines += [f"{item.end}:"] if _is_far(item) else []
    return lines


def _line(instruction: Instruction, indent: str) -> str:
    text = f"{indent}{instruction}"
    return f"{text:<55} // {instruction.note}" if instruction.note else text


@dataclass(frozen=True)
class _Ready:
    """What has to be waited for: cycles until a register, an accumulator or the unit that adds to it is ready."""

    left: Mapping[Operand | str, float] = field(default_factory=dict)


def _count(items: list[Item], state: _Ready, trips: Mapping[str, int]) -> tuple[float, _Ready]:
    total = 0.0
    for item in items:
        if isinstance(item, Instruction):
            cycles, state = _step(item, state)
            total += cycles
        elif isinstance(item, Loop):
            cycles, state = _count_loop(item, state, trips)
            total += cycles
        elif isinstance(item, Detour):
            branch, state = _step(item.branch, state)
            inside, _ = _count(item.body, state, trips)
            # A counter follows the more frequent way.
            total += branch + item.share * inside + min(item.share, 1 - item.share) * core_costs.MISPREDICTED_BRANCH
    return total, state


def _step(instruction: Instruction, state: _Ready) -> tuple[float, _Ready]:
    awaited, leaves = instruction.awaits, instruction.leaves
    wait = max((state.left[name] for name in awaited if name in state.left), default=0.0)
    cycles = wait + 1
    if instruction.mnemonic == "j":
        cycles += core_costs.JUMP
    left = {name: rest - cycles for name, rest in state.left.items() if rest > cycles}
    # A misaligned access holds everything up: what others wait for comes that much later, too.
    return cycles + instruction.extra_cycles, _Ready({**left, **{name: float(rest) for name, rest in leaves.items() if rest > 0}})


def _training(items: list[Item], trips: Mapping[str, int]) -> float:
    """What branches cost until their counters have seen them taken twice."""
    total = 0.0
    for item in items:
        if isinstance(item, Loop):
            total += _training(item.body, trips)
            if not item.hardware and not _is_far(item) and _trips(item, trips) > 2:
                total += 2 * core_costs.MISPREDICTED_BRANCH
        elif isinstance(item, Detour):
            total += _training(item.body, trips)
            total += 2 * core_costs.MISPREDICTED_BRANCH if item.share < 0.5 else 0.0
    return total


def _trips(loop: Loop, trips: Mapping[str, int]) -> int:
    return trips[loop.trips] if isinstance(loop.trips, str) else loop.trips


def _copy(item: Item) -> Item:
    """A hardware loop's item again, as an object of its own."""
    assert isinstance(item, Instruction | Comment)
    return replace(item)


def _round_cycles(body: Sequence[Instruction]) -> float:
    """Cycles of one round of a hardware loop in steady state."""
    _, state = _count(list(body), _Ready(), {})
    return _count(list(body), state, {})[0]


def _count_loop(loop: Loop, state: _Ready, trips: Mapping[str, int]) -> tuple[float, _Ready]:
    count = _trips(loop, trips)
    before, state = _count(list(_setup(loop)), state, trips)
    around: list[Item] = [*loop.body, *_tail(loop)]
    first, state = _count(around, state, trips)
    steady, state = _count(around, state, trips)
    total = before + first + (count - 1) * steady
    if _is_far(loop):
        # The last round leaves by the beqz, which nothing foretold, and skips the jump.
        total += core_costs.MISPREDICTED_BRANCH - 1 - core_costs.JUMP
    elif not loop.hardware and count > 1:
        total += core_costs.MISPREDICTED_BRANCH
    return total, state


def assembly_file(functions: list[str], levels: Levels = Levels.BOTH, banner: str = "PIE kernels made by espgen") -> str:
    """A complete `.S` file (needs the C preprocessor) holding the functions' texts, written for these levels.

    Raises Defect where a hardware loop breaks a rule.
    """
    head = [
        f"// {banner}",
        f'#include "{SWITCH_FILE_NAME}"',
        ".option norvc",
        ".option norelax",
        ".text",
        "",
    ]
    body = [written_for(line, levels) for text in functions for line in text.split("\n")]
    whole = "\n".join([*head, *body])
    check_text(whole)
    return whole
