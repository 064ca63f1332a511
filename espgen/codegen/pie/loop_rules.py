"""What silicon asks of a hardware loop, and how a body is made to meet it.

A loop that breaks a rule works until an interrupt arrives at its end: then the counter is corrupted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from espgen.codegen.pie.instruction import Instruction, may_end_loop
from espgen.errors import Defect
from espgen.target.chips import strictest_loop_rules

ASKED = strictest_loop_rules()
LEAST_BODY = ASKED.least_instructions
"""32-bit instructions of the shortest body."""

RULES = (
    f"its first and last instruction lie at multiples of {ASKED.alignment} bytes",
    f"it has {LEAST_BODY} 32-bit instructions or more",
    "its last instruction is no coprocessor instruction (vector or float)",
)

_LONGEST_UNROLLED = 64

_LABEL = re.compile(r"([.\w$]+):\s*")
_SETUP = re.compile(r"esp\.lp\.setupi?\s+[01]\s*,[^,]+,\s*([.\w$]+)")
_LOOP = "esp.lp."


def end_legally(body: Sequence[Instruction], cycles: Callable[[Sequence[Instruction]], float]) -> list[Instruction]:
    """Return the body with four instructions or more and an end that the rules allow, at the least cost.

    An integer instruction that the body needs anyway goes last where nothing behind it depends on it and it costs no
    more there than a `nop` would; `cycles` gives the cost of one round.
    """
    padded = list(body)
    while len(padded) < LEAST_BODY:
        padded.append(Instruction("nop", (), "a hardware loop has four instructions or more"))
    if padded[-1].may_end_loop:
        return padded
    choices = [[*padded[:i], *padded[i + 1 :], padded[i]] for i in reversed(range(len(padded))) if _can_go_last(padded, i)]
    choices.append([*padded, Instruction("nop", (), "no coprocessor instruction may end a loop")])
    return min(choices, key=cycles)


def rounds_together(
    body: Sequence[Instruction], trips: int, cycles: Callable[[Sequence[Instruction]], float]
) -> int:
    """Return how many rounds of a short body to write out as one, so that they share what a legal end costs.

    1 where that gains less than three percent, or the loop would turn once only.
    """

    def cost(together: int) -> float:
        return cycles(end_legally([*body] * together, cycles)) / together

    choices = [1, *(n for n in (2, 4) if n * len(body) <= _LONGEST_UNROLLED and trips >= 2 * n)]
    best = min(choices, key=cost)
    return best if cost(best) <= 0.97 * cost(1) else 1


def _can_go_last(body: Sequence[Instruction], index: int) -> bool:
    moved, behind = body[index], body[index + 1 :]
    if not moved.is_movable:
        return False
    return not any(moved.writes & (other.reads | other.writes) or moved.reads & other.writes for other in behind)


def check_branches(body: Sequence[Instruction]) -> None:
    """Raise Defect where a hardware loop's body jumps, or holds another loop."""
    if any(instruction.is_branch or instruction.mnemonic.startswith(_LOOP) for instruction in body):
        raise Defect("kernel generator: a hardware loop's body holds a branch")


def check_body(body: Sequence[Instruction]) -> None:
    """Raise Defect where a hardware loop's body breaks a rule."""
    check_branches(body)
    if len(body) < LEAST_BODY:
        raise Defect(f"kernel generator: a hardware loop's body of {len(body)} instructions is too short")
    if not body[-1].may_end_loop:
        raise Defect(f"kernel generator: {body[-1].mnemonic} ends a hardware loop: {RULES[2]}")


def check_text(text: str) -> int:
    """Check every hardware loop of an assembly file by its text; returns how many there are.

    Knows the forms that the generator and people write: `esp.lp.setup` or `setupi` with a label on the last instruction,
    one instruction per line, `.option norvc` before (so that all of them have four bytes).

    Raises Defect that names the loop and the rule.
    """
    wide, aligned = False, True
    open_loops: dict[str, list[str]] = {}
    ending: list[str] = []
    found = 0
    for number, line in enumerate(text.splitlines(), 1):
        code = re.sub(r"//.*|/\*.*?\*/|#.*", "", line).strip()
        if code.startswith((".option norvc", ".option rvc")):
            wide = code == ".option norvc"
        if code.startswith((".balign", ".align", ".p2align", ".text", ".section")):
            aligned = True
        elif re.match(r"\.(2byte|half|short|byte|string|ascii)", code):
            aligned = False
        while label := _LABEL.match(code):
            ending.append(label.group(1))
            code = code[label.end() :]
        if not code:
            continue
        if code.startswith("."):
            if any(name in open_loops for name in ending):
                raise _broken(number, "its end label stands on no instruction")
            ending = []
            continue
        for body in open_loops.values():
            body.append(code)
        for name in ending:
            if name in open_loops:
                _check_lines(number, open_loops.pop(name))
        ending = []
        setup = _SETUP.match(code)
        if setup:
            if not wide or not aligned:
                raise _broken(number, f"{RULES[0]} only with .option norvc")
            found += 1
            open_loops[re.sub(r"^(\d+)f$", r"\1", setup.group(1))] = []
        elif code.startswith((_LOOP + "start", _LOOP + "end", _LOOP + "count")):
            raise _broken(number, "loops are written with esp.lp.setup or setupi, so that they can be checked")
    if open_loops:
        raise Defect(f"hardware loop: label {next(iter(open_loops))} is missing")
    return found


def _broken(line: int, reason: str) -> Defect:
    return Defect(f"hardware loop at line {line}: {reason}")


def _check_lines(number: int, body: Sequence[str]) -> None:
    if len(body) < LEAST_BODY:
        raise _broken(number, f"{RULES[1]}, this one has {len(body)}")
    last = body[-1].split()[0]
    if not may_end_loop(last):
        raise _broken(number, f"{last} ends it: {RULES[2]}")
