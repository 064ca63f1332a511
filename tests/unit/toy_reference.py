"""The hand-written component of tests/unit/toy_component, and what it computes."""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from espgen.verify.compilers import host_compilers

TOY = Path(__file__).parent / "toy_component"
HASH = bytes(range(32)).hex()
LAYER_VALUES = ("doubled", "difference", "wide", "high")


def sanitizers() -> tuple[str, ...]:
    """What the host compilers of this machine can check: zig has no address sanitizer."""
    able = any(compiler.kind != "zig" for compiler in host_compilers())
    return ("address", "undefined") if able else ("undefined",)


def toy_input(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, (1, 8, 5, 3), dtype=np.int8)


def toy_reference(x: np.ndarray) -> dict[str, np.ndarray]:
    """Every value of the toy model, computed from its description, not from its code."""
    doubled = np.clip(2 * x.astype(np.int32) + np.array([5, -2, 7]), -128, 127).astype(np.int8)
    above = np.concatenate([doubled[:, :1], doubled[:, :-1]], axis=1)
    difference = doubled ^ above
    return {
        "doubled": doubled,
        "difference": difference,
        "wide": (300 * difference.astype(np.int32)).astype(np.int16),
        "high": ((difference >> 4) + 8).astype(np.uint8).reshape(1, 120),
    }


class AgentProcess:
    """The agent as a host process behind a pipe: a transport without a line in between."""

    def __init__(self, program: Path, environment: Mapping[str, str] | None = None, descriptors: Sequence[int] = ()) -> None:
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed in close)
        self.process = subprocess.Popen(
            [str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            bufsize=0,
            env={**os.environ, **(environment or {})},
            pass_fds=tuple(descriptors),
        )

    def read(self, timeout: float) -> bytes:
        ready, _, _ = select.select([self.process.stdout], [], [], max(timeout, 0))
        if not ready:
            return b""
        data = os.read(self.process.stdout.fileno(), 65536)
        if not data:
            raise OSError("the agent ended: " + self.error_text())
        return data

    def write(self, data: bytes) -> None:
        self.process.stdin.write(data)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()
        self.errors.close()

    def error_text(self) -> str:
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")
