"""Which compilers this machine has, for the host and for the firmware, and what to install where one is missing."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache

from espgen.errors import environment_error

INSTALL_ZIG = "pip install 'espgen[sim]' (brings ziglang: no root, no other download)"


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler driver. `kind` is "gcc", "clang" or "zig"; `version` its first line of --version."""

    name: str
    command: tuple[str, ...]
    kind: str
    version: str

    @property
    def identity(self) -> str:
        """What its output depends on besides the flags."""
        return f"{self.name} {self.version}"


@dataclass(frozen=True)
class Finding:
    """One line of `espgen doctor`."""

    name: str
    found: bool
    path: str
    version: str
    remedy: str
    firmware: bool  # it serves to compile firmware
    host: bool  # it serves to compile for this machine


@dataclass(frozen=True)
class _Candidate:
    name: str
    kind: str
    purpose: str
    remedy: str


# In order of preference.
FIRMWARE = (
    _Candidate("riscv32-esp-elf-g++", "gcc", "firmware", "install ESP-IDF and run its export script"),
    _Candidate("riscv64-unknown-elf-g++", "gcc", "firmware", "apt-get install gcc-riscv64-unknown-elf"),
    _Candidate("zig", "zig", "firmware", INSTALL_ZIG),
)
HOST = (
    _Candidate("g++", "gcc", "host", "apt-get install g++"),
    _Candidate("clang++", "clang", "host", "apt-get install clang"),
    _Candidate("zig", "zig", "host", INSTALL_ZIG),
)


def host_compilers() -> tuple[Compiler, ...]:
    """The host compilers found, best first."""
    return _found(HOST)


def firmware_compilers() -> tuple[Compiler, ...]:
    """The RV32 compilers found, best first."""
    return _found(FIRMWARE)


def host_compiler(name: str | None = None, sanitize: tuple[str, ...] = ()) -> Compiler:
    """The host compiler called `name` (default: $ESPGEN_HOST_COMPILER, else the best found).

    EspgenError (exit code 3) where there is none, or none that has all of `sanitize`.
    """
    chosen = _choose(host_compilers(), name or os.environ.get("ESPGEN_HOST_COMPILER"), "host", HOST)
    able = next((entry for entry in chosen if has_sanitizers(entry, sanitize)), None)
    if able is None:
        names = ", ".join(entry.name for entry in chosen)
        raise environment_error(
            f"no sanitizer for {' and '.join(sanitize)} with {names} (zig has undefined alone)",
            hint="apt-get install g++, or clang and libclang-rt-dev",
        )
    return able


@cache
def has_sanitizers(compiler: Compiler, sanitize: tuple[str, ...]) -> bool:
    """Whether it links programs with all of `sanitize`: clang is often installed without the libraries they need."""
    if not sanitize:
        return True
    if compiler.kind == "zig":
        return sanitize == ("undefined",)
    with tempfile.TemporaryDirectory() as folder:
        flags = (f"-fsanitize={','.join(sanitize)}", "-x", "c++", "-", "-o", f"{folder}/program")
        done = subprocess.run(
            (*compiler.command, *flags), input=b"int main() {}", capture_output=True, timeout=60, check=False
        )
    return done.returncode == 0


def firmware_compiler(name: str | None = None) -> Compiler:
    """The RV32 compiler called `name` (default: $ESPGEN_FIRMWARE_COMPILER, else the best found).

    EspgenError (exit code 3) where there is none.
    """
    wanted = name or os.environ.get("ESPGEN_FIRMWARE_COMPILER")
    return _choose(firmware_compilers(), wanted, "firmware", FIRMWARE)[0]


def doctor() -> list[Finding]:
    """What was found and what to install. One compiler of each purpose is enough."""
    findings = []
    for candidate in (*FIRMWARE, *HOST):
        compiler = _probe(candidate.name, candidate.kind)
        findings.append(
            Finding(
                name=f"{candidate.purpose} compiler {candidate.name}",
                found=compiler is not None,
                path=" ".join(compiler.command) if compiler else "",
                version=compiler.version if compiler else "",
                remedy="" if compiler else candidate.remedy,
                firmware=candidate.purpose == "firmware",
                host=candidate.purpose == "host",
            )
        )
    return findings


def _choose(
    found: tuple[Compiler, ...], wanted: str | None, purpose: str, candidates: tuple[_Candidate, ...]
) -> list[Compiler]:
    chosen = [entry for entry in found if wanted in (None, entry.name)]
    if chosen:
        return chosen
    names = ", ".join(candidate.name for candidate in candidates)
    raise environment_error(
        f"no {purpose} compiler{f' called {wanted}' if wanted else ''} (looked for {names})",
        hint=INSTALL_ZIG,
    )


def _found(candidates: tuple[_Candidate, ...]) -> tuple[Compiler, ...]:
    probed = (_probe(candidate.name, candidate.kind) for candidate in candidates)
    return tuple(compiler for compiler in probed if compiler is not None)


@cache
def _probe(name: str, kind: str) -> Compiler | None:
    if kind == "zig":
        return _probe_zig()
    path = shutil.which(name)
    if path is None:
        return None
    version = _first_line((path, "--version"))
    return Compiler(name, (path,), kind, version) if version else None


def _probe_zig() -> Compiler | None:
    commands: list[tuple[str, ...]] = []
    if importlib.util.find_spec("ziglang") is not None:
        commands.append((sys.executable, "-m", "ziglang"))
    if path := shutil.which("zig"):
        commands.append((path,))
    for command in commands:
        if version := _first_line((*command, "version")):
            return Compiler("zig", (*command, "c++"), "zig", version)
    return None


def _first_line(command: tuple[str, ...]) -> str:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = result.stdout.splitlines()
    return lines[0].strip() if result.returncode == 0 and lines else ""
