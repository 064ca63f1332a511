"""Build the C reference of the PIE instructions and pack the records it reads and writes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np

from espgen.target.espv import Level
from espgen.target.isa import Instruction, Operand, instruction_table

HERE = Path(__file__).parent
SOURCES = ("pie_reference.c", "pie_state.c", "pie_lanes.c", "pie_accumulators.c", "pie_memory.c")
MEMORY_BASE = 0x4FF40000
MEMORY_BYTES = 256

RECORD = np.dtype(
    [
        ("word", "<u4"),
        ("x", "<u4", 32),
        ("q", "u1", (8, 16)),
        ("qacc", "u1", 64),
        ("xacc", "<u8"),
        ("sar", "<u4"),
        ("sar_byte", "<u4"),
        ("cfg", "<u4"),
        ("ua_state", "u1", 16),
        ("mem", "u1", MEMORY_BYTES),
    ]
)
RESULT = np.dtype([*((name, RECORD[name]) for name in RECORD.names or ()), ("status", "<u4")])

_KINDS = {"q": "q", "x_pie": "p", "x_any": "x", "simm": "s", "uimm": "u", "pcrel": "l", "sat": "t", "rm": "m"}


def _field_row(operand: Operand) -> str:
    pieces = ", ".join(f"{{{b.value_low}, {b.count}, {b.word_low}}}" for b in operand.bits)
    return (
        f"{{\"{operand.field}\", '{_KINDS[operand.kind]}', {operand.shift}, {operand.names_a_lane[-1]}, "
        f"{len(operand.bits)}, {{{pieces}}}}}"
    )


def _table_row(instruction: Instruction) -> str:
    fields = ", ".join(map(_field_row, instruction.operands)) or "{0}"
    return (
        f'{{0x{instruction.match:08x}u, 0x{instruction.mask:08x}u, "{instruction.mnemonic}", '
        f"{int(instruction.verified)}, {len(instruction.operands)}, {{{fields}}}}},"
    )


def host_c_compiler() -> list[str]:
    """Return a C compiler of this machine, or zig's."""
    for name in ("gcc", "clang", "cc"):
        if shutil.which(name):
            return [name]
    return [sys.executable, "-m", "ziglang", "cc"]


def build_reference(directory: Path) -> Path:
    """Build ``pie_reference`` in a directory and return the program (``pie_reference LEVEL IN OUT``)."""
    for level in Level:
        table = "\n".join(map(_table_row, instruction_table(level).values()))
        (directory / f"pie_reference_table_{level.value}.inc").write_text(table + "\n")
    program = directory / "pie_reference"
    flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Werror", f"-I{directory}", f"-I{HERE}"]
    sources = [str(HERE / name) for name in SOURCES]
    subprocess.run([*host_c_compiler(), *flags, *sources, "-o", str(program)], check=True)
    return program


def run_steps(command: list[str], records: np.ndarray, directory: Path) -> np.ndarray:
    """Run a step program (``command IN OUT``) on records of dtype RECORD and return dtype RESULT."""
    source, target = directory / "steps.in", directory / "steps.out"
    source.write_bytes(records.tobytes())
    subprocess.run([*command, str(source), str(target)], check=True)
    results = np.fromfile(target, dtype=RESULT)
    assert len(results) == len(records), f"{len(records)} records in, {len(results)} out"
    return results


@lru_cache(maxsize=1)
def blank_record() -> np.ndarray:
    """Return one record of zeros (read-only)."""
    record = np.zeros(1, dtype=RECORD)
    record.flags.writeable = False
    return record
