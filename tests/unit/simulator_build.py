"""Compiles small firmware for the simulator board with zig, the compiler that needs no installation."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from espgen.resources import firmware_dir

PROGRAMS = Path(__file__).parent / "simulator_firmware"
FLAGS = (
    *("-target", "riscv32-freestanding-none", "-mcpu=generic_rv32+m+a+f+c", "-mabi=ilp32f"),
    *("-O2", "-std=c++17", "-ffreestanding", "-nostdlib++", "-fno-exceptions", "-fno-rtti", "-fno-sanitize=undefined"),
)


def build(directory: Path, name: str, *extra: str) -> Path:
    """ELF file of simulator_firmware/`name`.cpp; skips the test where zig is missing."""
    if find_spec("ziglang") is None:
        pytest.skip("ziglang is not installed")
    board = firmware_dir() / "boards" / "simulator"
    elf = directory / f"{name}.elf"
    command = [sys.executable, "-m", "ziglang", "c++", *FLAGS, "-I", str(firmware_dir()), "-T", str(board / "link.ld")]
    command += [str(board / "start.S"), str(PROGRAMS / f"{name}.cpp"), "-o", str(elf), *extra]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return elf
