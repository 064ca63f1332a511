"""Compilers and builds in one place: what the command line and the library import."""

from espgen.verify.build import build_firmware, build_host, build_host_agent, flash_bytes
from espgen.verify.compilers import Compiler, Finding, doctor, firmware_compilers, host_compilers

__all__ = [
    "Compiler",
    "Finding",
    "build_firmware",
    "build_host",
    "build_host_agent",
    "doctor",
    "firmware_compilers",
    "flash_bytes",
    "host_compilers",
]
