"""Published cycle counts of small programs on silicon, beside the model's: within ten percent."""

from __future__ import annotations

from pathlib import Path

import simulator_program as p

from espgen.verify.simulator import Options

PSRAM = 0x48000000


def _cycles(tmp_path: Path, setup: list[int], program: list[int], options: Options | None = None) -> int:
    """Cycles of the program without its setup."""
    cycles = []
    for words in ([], program):
        result = p.run(tmp_path, [*p.START, *setup, *words, *p.exit_with()], options)
        assert result.status == 0, result.errors
        cycles.append(result.statistics["cores"][0]["cycles"])
    return int(cycles[1] - cycles[0])


def test_addition_of_2048_int16(tmp_path: Path) -> None:
    # Espressif's introduction to the vector unit: 1,279 cycles.
    setup = [*p.li("a0", p.DATA), *p.li("a1", p.DATA + 0x1000), *p.li("a2", p.DATA + 0x2000)]
    body = p.pie(
        *("esp.vld.128.ip q0, a0, 16", "esp.vld.128.ip q1, a1, 16"),
        *("esp.vadd.s16 q2, q0, q1", "esp.vst.128.ip q2, a2, 16"),
    )
    measured = 1279
    assert abs(_cycles(tmp_path, setup, p.hardware_loop(body, 256)) - measured) <= 0.1 * measured


def test_scaling_48000_floats_in_psram(tmp_path: Path) -> None:
    # esp32-p4-jit, t01, caches cold: 1,050,950 cycles.
    setup = [*p.li("a0", PSRAM), *p.li("a2", PSRAM + 0x100000)]
    body = [p.flw("f1", "a0"), p.addi("a0", "a0", 4), p.float_op(8, "f2", "f1", "f0"), p.fsw("f2", "a2")]
    loop = p.counted_loop([*body, p.addi("a2", "a2", 4)], 48000)
    measured = 1_050_950
    assert abs(_cycles(tmp_path, setup, loop, Options(memory_model=True)) - measured) <= 0.1 * measured
