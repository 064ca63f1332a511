"""Simulated instructions per second of processor time, core model on."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import simulator_program as p

from espgen.verify.simulator import Options, build_simulator, simulate

POINTERS = [*p.li("a0", p.DATA), *p.li("a2", p.DATA + 0x1000), *p.li("a4", p.DATA)]
SCALAR = [p.addi("a0", "a0", 1)]
MEMORY = [
    *(p.lw("a2", "a4"), p.lw("a3", "a4", 4), p.mul("a5", "a2", "a3")),
    *(p.add("s0", "s0", "a5"), p.addi("s1", "s1", 4), p.sw("s0", "a4", 8)),
]
MACS = [
    *p.pie(*[f"esp.vsmulas.s8.qacc.ld.incp q{1 + i % 2}, a0, q{1 + i % 2}, q0, {i}" for i in range(16)]),
    p.addi("a0", "a4", 0),
]
EPILOGUE = [
    *p.pie(
        *[f"esp.ld.qacc.{part}.128.ip a4, 0" for part in ("l.l", "l.h", "h.l", "h.h")],
        *("esp.srcmb.s8.qacc q0, a5, 1", "esp.vst.128.ip q0, a2, 0"),
    ),
    p.addi("a4", "a4", 0),
]
ROUNDING = [p.addi("a5", "zero", 0x60), *p.pie("esp.movx.w.cfg a5"), p.addi("a5", "zero", 6)]


@pytest.mark.prove
@pytest.mark.parametrize("memory_model", [False, True])
@pytest.mark.parametrize(
    ("name", "loop"),
    [
        ("scalar loop", p.counted_loop(SCALAR, 20_000_000)),
        ("loads, product, store", p.counted_loop(MEMORY, 5_000_000, "t3")),
        ("MACs with fused loads", p.hardware_loop(MACS, 1_000_000)),
        ("accumulator in and out", p.hardware_loop(EPILOGUE, 2_000_000)),
    ],
)
def test_at_least_100_million_instructions_per_second(
    name: str, loop: list[int], memory_model: bool, tmp_path: Path
) -> None:
    build_simulator()
    elf = p.write_elf(tmp_path / "loop.elf", [*p.START, *POINTERS, *ROUNDING, *loop, *p.exit_with()])
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    result = simulate(elf, Options(memory_model=memory_model))
    assert result.status == 0, result.errors
    seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    rate = result.statistics["cores"][0]["instructions"] / seconds / 1e6
    print(f"{name}, memory model {'on' if memory_model else 'off'}: {rate:.0f} million instructions/s")
    assert rate >= 100
