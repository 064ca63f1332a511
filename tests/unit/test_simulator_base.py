"""The base instruction set against qemu-riscv32: the same C programs must print the same checksums."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from espgen.resources import firmware_dir
from espgen.verify.simulator import Options, simulate

PROGRAMS = Path(__file__).parent / "simulator_programs"
GCC = "riscv64-unknown-elf-gcc"
GCC_FLAGS = ("-march=rv32imafc", "-mabi=ilp32f", "-mno-relax", "-Wl,--no-relax")  # nobody sets gp
ZIG_FLAGS = ("-target", "riscv32-freestanding-none", "-mcpu=generic_rv32+m+a+f+c", "-mabi=ilp32f", "-fno-sanitize=undefined")
COMMON = ("-ffreestanding", "-nostdlib", "-static", "-fno-strict-aliasing", "-ffp-contract=off", "-w")


def _compilers() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    if find_spec("ziglang") is not None:
        found.append((sys.executable, "-m", "ziglang", "cc", *ZIG_FLAGS))
    if shutil.which(GCC) is not None:
        found.append((GCC, *GCC_FLAGS))
    return found


def _build(command: tuple[str, ...], source: Path, out: Path, *extra: str) -> Path:
    libraries = ("-lgcc",) if command[0] == GCC else ()
    done = subprocess.run(
        [*command, *COMMON, *extra, str(source), "-o", str(out), *libraries], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.parametrize("level", ["-O0", "-O2"])
@pytest.mark.parametrize("program", ["integers", "floats", "algorithms"])
def test_programs_print_what_qemu_prints(program: str, level: str, tmp_path: Path) -> None:
    if shutil.which("qemu-riscv32") is None:
        pytest.skip("qemu-riscv32 is not installed")
    compilers = _compilers()
    if not compilers:
        pytest.skip("neither ziglang nor riscv64-unknown-elf-gcc is installed")
    board = firmware_dir() / "boards" / "simulator"
    for index, command in enumerate(compilers):
        source = PROGRAMS / f"{program}.c"
        linux = _build(command, source, tmp_path / f"linux{index}", "-DON_LINUX", level)
        start = str(board / "start.S")
        own = _build(command, source, tmp_path / f"own{index}.elf", level, "-T", str(board / "link.ld"), start)
        expected = subprocess.run(["qemu-riscv32", str(linux)], capture_output=True, check=True, timeout=60).stdout
        assert expected.count(b"\n") >= 5
        result = simulate(own, Options(memory_model=False), timeout=60)
        assert (result.status, result.errors) == (0, "")
        assert result.output.decode().splitlines() == expected.decode().splitlines()
