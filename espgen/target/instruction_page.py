"""Writes docs/instructions.md, the page of the vector unit's instructions, from pie_isa.json.

Run ``python -m espgen.target.instruction_page`` after a change of the records; a unit test holds the two together.
"""

from __future__ import annotations

from pathlib import Path

from espgen.target.espv import Level
from espgen.target.isa import PORTABLE_FORMS, Instruction, Operand, aliases, instruction_table

_HEAD = """\
# Instructions of the vector unit

Made from `espgen/target/pie_isa.json` by `python -m espgen.target.instruction_page`: one record per instruction, which the
assembler's checks, the macro files, the simulator's decode tables, the tests and this page all read.

ESP32-P4 before revision 3 has ESPV 2.1, revision 3 and later has ESPV 2.2. The text is the same but for the rows marked below;
the words differ (hardware loops and the scalar instructions excepted), and most of one level mean something else at the other.

* **2.2 adds**: operands that level 2.2 has behind the others and that may be left out: `sat` or `trunc` (left out: `sat`), then
  a rounding mode `rdn`, `rup`, `raz`, `rtz`, `rhaz`, `rhtz`, `rne` or `dyn` (left out: `dyn`, the mode in CFG). The vendor's
  assembler takes keywords only, but for srcmb, whose saturation may also be 0 or 1: at level 2.1 it must.
* **meaning**: with saturation, and rounding by CFG; `trunc` keeps the low bits where the text says `sat_`. A 2.1 instruction
  means what the 2.2 one means with nothing added, unless the row says otherwise.
* **timing**: the class that the simulator's core model uses; `load`: a register that the next instruction must wait for.
* **proven**: `no`: sources do not agree or do not prove what it does. The simulator stops on it by name, the generator refuses
  it.
* None of these instructions may end a hardware loop: no coprocessor instruction may, and of the scalar ones nobody says so.

Forms with one meaning on both levels, macros of every kernel file (`espgen_pie.inc`):

| form | level 2.1 | level 2.2 |
|---|---|---|
"""

_TABLE = """
| instruction | operands | 2.2 adds | timing | proven 2.1 / 2.2 | meaning |
|---|---|---|---|---|---|
"""

_PROVEN = {"always": "yes", "never": "no", "trunc": "with trunc", "rdn": "rounding down"}


def _shown(operand: Operand) -> str:
    if operand.kind == "q":
        return operand.field
    if operand.is_register:
        return f"{operand.field} ({'x8-15, x24-31' if operand.kind == 'x_pie' else 'any'})"
    if operand.kind == "pcrel":
        return "label"
    step = f" step {operand.step}" if operand.step > 1 else ""
    return f"{operand.minimum}..{operand.names_a_lane[-1] if operand.kind == 'uimm' else operand.maximum}{step}"


def _timing(instruction: Instruction) -> str:
    loads = "load" if "l" in instruction.roles else ""
    kind = instruction.latency if instruction.latency != "plain" else ""
    return ", ".join(part for part in (loads, kind) if part) or "plain"


def _meaning(older: Instruction | None, shown: Instruction) -> str:
    text = shown.semantics.replace("|", "\\|")
    if older is not None and not older.saturates and shown.optional:
        text += "; level 2.1: `trunc`"
    if older is not None and older.rounding == 0:
        text += "; level 2.1: `rdn`"
    return f"{text}. {shown.note}" if shown.note else text


def _row(name: str) -> str:
    older, newer = (instruction_table(level).get(name) for level in Level)
    shown = newer or older
    assert shown is not None
    old_name = aliases(Level.V22).get(name)
    adds = " ".join({"sat": "[, sat]", "rm": "[, rm]"}[operand.kind] for operand in shown.optional)
    if newer is None:
        adds = f"means `{old_name}`"
    elif older is None:
        adds = f"{adds} (new)"
    proven = " / ".join(_PROVEN[entry.proven] if entry else "-" for entry in (older, newer))
    operands = ", ".join(map(_shown, shown.required))
    return f"| `{name}` | {operands} | {adds} | {_timing(shown)} | {proven} | {_meaning(older, shown)} |"


def render() -> str:
    """Text of docs/instructions.md."""
    forms = [
        f"| `{form.mnemonic} a, b` | `{form.v21} a, b` | `{form.v22} a, b, {form.v22_suffix}` |"
        for form in PORTABLE_FORMS.values()
    ]
    names = sorted({name for level in Level for name in instruction_table(level)})
    return _HEAD + "\n".join(forms) + "\n" + _TABLE + "\n".join(map(_row, names)) + "\n"


def page_path() -> Path:
    """Where the page belongs in a checkout."""
    return Path(__file__).parents[2] / "docs" / "instructions.md"


if __name__ == "__main__":
    page_path().write_text(render())
