"""The calibration firmware: an image for the simulator."""

from __future__ import annotations

import tempfile
from pathlib import Path

from espgen.calibrate.core import CORE
from espgen.calibrate.kernels import BANNER, function, table, unique
from espgen.calibrate.meanings import MEANINGS
from espgen.calibrate.records import Kernel
from espgen.calibrate.switching import SWITCHING
from espgen.codegen.pie.asm import assembly_file
from espgen.resources import firmware_dir
from espgen.target.chips import Chip
from espgen.target.espv import Levels
from espgen.target.pie_macros import support_files
from espgen.verify.build import Recipe, build_units, image_flags, image_link_flags
from espgen.verify.compilers import Compiler, firmware_compiler
from espgen.verify.image_layout import start_flags

KERNEL_FILE = "calibrate_kernels.S"
COMMON = ("commands.cpp", "walks.S")


def kernels() -> tuple[Kernel, ...]:
    """All kernels of all records."""
    timed = [kernel for benchmark in CORE for kernel in benchmark.kernels]
    return unique([*timed, *(meaning.kernel for meaning in MEANINGS), *SWITCHING])


def generated() -> dict[str, str]:
    """File name -> text of the assembly that is made from the records."""
    records = kernels()
    text = assembly_file([*map(function, records), table(records)], Levels.BOTH, BANNER)
    return {KERNEL_FILE: text, **support_files(Levels.BOTH)}


def build_image(chip: Chip, l2_kb: int, compiler: str | None = None) -> Path:
    """The firmware as an ELF image for a simulated chip.

    EspgenError (exit code 3): no compiler.
    """
    firmware = firmware_dir()
    board = firmware / "boards" / "simulator"
    chosen = firmware_compiler(compiler)
    with tempfile.TemporaryDirectory(prefix="espgen-calibrate-") as scratch:
        folder = Path(scratch)
        for name, text in generated().items():
            (folder / name).write_text(text)
        return build_units(_recipe(chip, l2_kb, chosen, folder), _units(board, firmware, folder), "calibrate/image")


def _units(board: Path, firmware: Path, folder: Path) -> list[Path]:
    return [
        *sorted(board.glob("*.S")),
        board / "string.cpp",
        *(firmware / "calibrate" / unit for unit in COMMON),
        firmware / "calibrate" / "simulator" / "platform.cpp",
        folder / KERNEL_FILE,
    ]


def _recipe(chip: Chip, l2_kb: int, chosen: Compiler, folder: Path) -> Recipe:
    firmware = firmware_dir()
    board = firmware / "boards" / "simulator"
    return Recipe(
        compiler=chosen,
        flags=image_flags(chosen),
        link_flags=image_link_flags(chosen, board),
        start_flags=start_flags(chip, l2_kb),
        assembly_flags=(f"-DESPGEN_ESPV={chip.espv[0]}",),
        include_dirs=(folder, firmware / "include", firmware, board, board / "include"),
        served_model="",
        suffix=".elf",
    )
