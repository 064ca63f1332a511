"""GNU-as and LLVM macros with the official PIE mnemonics, for assemblers that do not know them.

The same ``.S`` text then assembles with Espressif's assembler (which skips the macros) and with the others, which
get the words of one level. ``.insn`` cannot express these opcode spaces, so each macro emits one ``.4byte``. Every
kernel file includes ``espgen_pie.inc``, which knows the level of the build and takes the level's macro file.
"""

from __future__ import annotations

from espgen.target.espv import DEFAULTS, KEYWORDS, Level, Levels
from espgen.target.isa import (
    PIE_REACHABLE,
    PORTABLE_FORMS,
    REGISTER_NUMBERS,
    Instruction,
    Operand,
    aliases,
    instruction_table,
)

SWITCH_FILE_NAME = "espgen_pie.inc"
"""What a kernel file includes: level of the build, macros, forms with one meaning on both levels."""

MACRO_FILE_NAMES = {level: f"esp_pie_macros_{level.version.replace('.', 'p')}.inc" for level in Level}
"""Level -> name of its macro file."""

_PREFIX = {
    "q": ".L__espgen_q_",
    "x_pie": ".L__espgen_p_",
    "x_any": ".L__espgen_x_",
    "sat": ".L__espgen_s_",
    "rm": ".L__espgen_r_",
}
_SRCMB = ".L__espgen_n_"
"""Saturation of srcmb, which takes 0 and 1 besides the keywords."""

_HEADER = """\
/* Made by espgen from its instruction table; do not edit.
 * PIE (ESPV {version}, {chips}) and hardware loops for assemblers that do not know them.
 * Files with esp.lp.* also need, for every assembler:
 *     .option norvc
 *     .option norelax
 * so that label distances are constants and loop labels stand on 4-byte instructions.
 * An assembler that knows the mnemonics must not see this: ESPGEN_NATIVE_PIE leaves it out. */
#if !defined(ESPGEN_NATIVE_PIE) && !defined(ESPGEN_PIE_MACROS_INC)
#define ESPGEN_PIE_MACROS_INC {value}
"""
_CHIPS = {Level.V21: "ESP32-P4 before revision 3", Level.V22: "ESP32-P4 revision 3 and later"}

_SWITCH = """\
/* Made by espgen; do not edit.
 * ESPGEN_ESPV is the instruction set of the build: 21 (ESP32-P4 before revision 3) or 22 (revision 3 and later).
 * ESP-IDF says it by the minimum chip revision; elsewhere the compiler's command line does (default {default}).
 * ESP-IDF's assembler knows the instructions; others get macros, unless ESPGEN_NATIVE_PIE is defined. */
#if !defined(ESPGEN_PIE_INC)
#define ESPGEN_PIE_INC
#if defined(ESP_PLATFORM)
#include "sdkconfig.h"
#define ESPGEN_NATIVE_PIE 1
#undef ESPGEN_ESPV
#if CONFIG_ESP32P4_REV_MIN_FULL >= 300
#define ESPGEN_ESPV 22
#else
#define ESPGEN_ESPV 21
#endif
#elif !defined(ESPGEN_ESPV)
#define ESPGEN_ESPV {default}
#endif
{guard}
#if !defined(ESPGEN_NATIVE_PIE)
{includes}
#endif
.globl espgen_espv
.set espgen_espv, ESPGEN_ESPV
{forms}
#endif
"""

_REFUSED = {
    Levels.V21: ("made for ESP32-P4 before revision 3 only", "espgen's --chip esp32p4 or esp32p4-v3"),
    Levels.V22: ("made for ESP32-P4 revision 3 and later only", "espgen's --chip esp32p4 or esp32p4-v1"),
}


def _register_symbols() -> list[str]:
    """Register names reach a macro as text; a symbol per name turns them into numbers.

    A name PIE cannot reach has no ``_p_`` symbol, so using it is an assembly error.
    """
    lines = [f".equ {_PREFIX['q']}q{number}, {number}" for number in range(8)]
    for name, number in REGISTER_NUMBERS.items():
        lines.append(f".equ {_PREFIX['x_any']}{name}, {number}")
        if number in PIE_REACHABLE:
            lines.append(f".equ {_PREFIX['x_pie']}{name}, {number}")
    return lines


def _keyword_symbols() -> list[str]:
    """Keywords of optional operands in the same way; a rounding mode in the place of a saturation has no symbol."""
    lines = [f".equ {_PREFIX[kind]}{name}, {value}" for kind, names in KEYWORDS.items() for name, value in names.items()]
    lines += [f".equ {_SRCMB}{name}, {value}" for name, value in KEYWORDS["sat"].items()]
    return [*lines, f".equ {_SRCMB}0, 0", f".equ {_SRCMB}1, 1"]


def _range_check(mnemonic: str, operand: Operand) -> list[str]:
    argument = f"(\\{operand.field})"
    tests = f"({argument} < {operand.minimum}) | ({argument} > {operand.maximum})"
    if operand.step > 1:
        tests += f" | ({argument} & {operand.step - 1})"
    text = f"{mnemonic}: {operand.field} must be {operand.minimum}..{operand.maximum} step {operand.step}"
    return [f".if {tests}", f'.error "{text}"', ".endif"]


def _prefix(instruction: Instruction, operand: Operand) -> str:
    if operand.kind == "sat" and instruction.mnemonic.startswith("esp.srcmb."):
        return _SRCMB
    return _PREFIX[operand.kind]


def _field_terms(instruction: Instruction, operand: Operand) -> list[str]:
    if operand.kind == "pcrel":
        value = f"(\\{operand.field} - .)"
    elif operand.is_register or operand.is_optional:
        value = f"{_prefix(instruction, operand)}\\{operand.field}"
    else:
        value = f"(\\{operand.field})"
    terms = []
    for bits in operand.bits:
        mask = (1 << bits.count) - 1
        shift = bits.value_low + operand.shift
        terms.append(f"((({value} >> {shift}) & {mask}) << {bits.word_low})")
    return terms


def _argument(operand: Operand) -> str:
    if not operand.is_optional:
        return operand.field
    default = next(name for name, value in KEYWORDS[operand.kind].items() if value == DEFAULTS[operand.kind])
    return f"{operand.field}={default}"


def _macro(instruction: Instruction) -> list[str]:
    arguments = ", ".join(_argument(operand) for operand in instruction.operands)
    checks = [
        line
        for operand in instruction.operands
        if operand.kind in ("simm", "uimm")
        for line in _range_check(instruction.mnemonic, operand)
    ]
    terms = [term for operand in instruction.operands for term in _field_terms(instruction, operand)]
    return [
        f".macro {instruction.mnemonic} {arguments}".rstrip(),
        *checks,
        ".4byte " + " | ".join([f"0x{instruction.match:08x}", *terms]),
        ".endm",
    ]


def _alias_macro(name: str, instruction: Instruction) -> list[str]:
    fields = [operand.field for operand in instruction.required]
    shown = ", ".join(f"\\{field}" for field in fields)
    return [f".macro {name} {', '.join(fields)}", f"{instruction.mnemonic} {shown}", ".endm"]


def macro_file(level: Level = Level.V21) -> str:
    """Return the macro file of a level, one macro per instruction of the table, guarded for the preprocessor.

    Operands of a macro must not contain blanks other than those after commas. A rounding mode after a saturation
    that is left out is not understood: write both.
    """
    table = instruction_table(level)
    lines = [*_register_symbols()]
    if level is Level.V22:
        lines += _keyword_symbols()
    for instruction in table.values():
        lines += _macro(instruction)
    for name, target in aliases(level).items():
        lines += _alias_macro(name, table[target])
    header = _HEADER.format(version=level.version, chips=_CHIPS[level], value=level.value)
    return header + "\n".join(lines) + "\n#endif\n"


def _forms() -> list[str]:
    lines = []
    for form in PORTABLE_FORMS.values():
        fields = [operand.field for operand in instruction_table(Level.V21)[form.v21].operands]
        shown = ", ".join(f"\\{field}" for field in fields)
        lines += [
            f".macro {form.mnemonic} {', '.join(fields)}",
            "#if ESPGEN_ESPV == 22",
            f"{form.v22} {shown}, {form.v22_suffix}",
            "#else",
            f"{form.v21} {shown}",
            "#endif",
            ".endm",
        ]
    return lines


def switch_file(levels: Levels) -> str:
    """Return ``espgen_pie.inc`` for a component that is proven for these levels.

    It refuses other levels with ``#error``, defines the absolute symbol ``espgen_espv`` (21 or 22, so that an
    image tells its level and two levels do not link) and the macros of :data:`espgen.target.isa.PORTABLE_FORMS`.
    """
    allowed = " && ".join(f"ESPGEN_ESPV != {level.value}" for level in levels.value)
    what, remedy = _REFUSED.get(levels, ("made for ESPV 2.1 and 2.2", "ESPGEN_ESPV 21 or 22"))
    guard = [f"#if {allowed}", f'#error "this component is {what}: make it again with {remedy}"', "#endif"]
    includes = [
        line
        for level in levels.value
        for line in (f"#if ESPGEN_ESPV == {level.value}", f'#include "{MACRO_FILE_NAMES[level]}"', "#endif")
    ]
    return _SWITCH.format(
        default=levels.value[0].value,
        guard="\n".join(guard),
        includes="\n".join(includes),
        forms="\n".join(_forms()),
    )


def support_files(levels: Levels) -> dict[str, str]:
    """Return name -> text of the files that kernel files of these levels include."""
    files = {SWITCH_FILE_NAME: switch_file(levels)}
    files.update({MACRO_FILE_NAMES[level]: macro_file(level) for level in levels.value})
    return files
