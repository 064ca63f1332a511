"""Compilers and builds in one place: what the command line and the library import."""

from espgen.verify.build import Stored, build_firmware, build_host, build_host_agent, stored_bytes
from espgen.verify.compilers import Compiler, Finding, doctor, firmware_compilers, host_compilers

__all__ = [
    "Compiler",
    "Finding",
    "Stored",
    "build_firmware",
    "build_host",
    "build_host_agent",
    "doctor",
    "firmware_compilers",
    "host_compilers",
    "stored_bytes",
]
