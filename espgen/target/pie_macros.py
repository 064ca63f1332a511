"""GNU-as and LLVM macros with the official PIE mnemonics, for assemblers that do not know them.

The same ``.S`` text then assembles with Espressif's assembler (which skips the macros) and with the
others, which get ESPV 2.1 words. ``.insn`` cannot express these opcode spaces, so each macro emits one ``.4byte``.
"""

from __future__ import annotations

from espgen.target.isa import PIE_REACHABLE, REGISTER_NUMBERS, Instruction, Operand, instruction_table

MACRO_FILE_NAME = "esp_pie_macros.inc"

_PREFIX = {"q": ".L__espgen_q_", "x_pie": ".L__espgen_p_", "x_any": ".L__espgen_x_"}

_HEADER = """\
/* Made by espgen from its instruction table; do not edit.
 * PIE (ESPV 2.1, ESP32-P4 before revision 3) and hardware loops for assemblers that do not know them.
 * Include at the top of a .S file. Files with esp.lp.* also need, for every assembler:
 *     .option norvc
 *     .option norelax
 * so that label distances are constants and loop labels stand on 4-byte instructions.
 * An assembler that knows the mnemonics must not see this: it is left out in ESP-IDF builds
 * (ESP_PLATFORM), where the compiler announces the extension, and where ESPGEN_NATIVE_PIE is defined. */
#if defined(ESP_PLATFORM) || defined(__riscv_xespv) || defined(__riscv_xespv2p1)
#define ESPGEN_NATIVE_PIE 1
#endif
#if !defined(ESPGEN_NATIVE_PIE) && !defined(ESPGEN_PIE_MACROS_INC)
#define ESPGEN_PIE_MACROS_INC
"""


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


def _range_check(mnemonic: str, operand: Operand) -> list[str]:
    argument = f"(\\{operand.field})"
    tests = f"({argument} < {operand.minimum}) | ({argument} > {operand.maximum})"
    if operand.step > 1:
        tests += f" | ({argument} & {operand.step - 1})"
    text = f"{mnemonic}: {operand.field} must be {operand.minimum}..{operand.maximum} step {operand.step}"
    return [f".if {tests}", f'.error "{text}"', ".endif"]


def _field_terms(operand: Operand) -> list[str]:
    if operand.kind == "pcrel":
        value = f"(\\{operand.field} - .)"
    elif operand.is_register:
        value = f"{_PREFIX[operand.kind]}\\{operand.field}"
    else:
        value = f"(\\{operand.field})"
    terms = []
    for bits in operand.bits:
        mask = (1 << bits.count) - 1
        shift = bits.value_low + operand.shift
        terms.append(f"((({value} >> {shift}) & {mask}) << {bits.word_low})")
    return terms


def _macro(instruction: Instruction) -> list[str]:
    arguments = ", ".join(operand.field for operand in instruction.operands)
    checks = [
        line
        for operand in instruction.operands
        if operand.kind in ("simm", "uimm")
        for line in _range_check(instruction.mnemonic, operand)
    ]
    terms = [term for operand in instruction.operands for term in _field_terms(operand)]
    return [
        f".macro {instruction.mnemonic} {arguments}".rstrip(),
        *checks,
        ".4byte " + " | ".join([f"0x{instruction.match:08x}", *terms]),
        ".endm",
    ]


def macro_file() -> str:
    """Return the macro file, one macro per instruction of the table, guarded for the preprocessor.

    Operands of a macro must not contain blanks other than those after commas.
    """
    lines = [*_register_symbols()]
    for instruction in instruction_table().values():
        lines += _macro(instruction)
    return _HEADER + "\n".join(lines) + "\n#endif\n"
