"""Kernels of every family, interrupted: the same bytes while another task of the core uses every register there is."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import test_pie_conv
import test_pie_depthwise
import test_pie_elementwise
import test_pie_max_pool
import test_pie_mean
import test_pie_table
from pie_conv_cases import random_case
from pie_harness import Call, Outcome, build, run_program

from espgen.verify.simulator import Options

pytest.importorskip("ziglang")

_SPOILED = [f"x{number}" for number in range(1, 32) if number not in (2, 3, 4)]
OTHER_TASK = "\n".join(
    [
        *(".globl other_task", ".balign 4", "other_task:"),
        *(f"    li {register}, {-77 - number}" for number, register in enumerate(_SPOILED)),
        *(f"    fmv.w.x f{number}, x{5 + number % 20}" for number in range(32)),
        *(f"    esp.zero.q q{number}" for number in range(8)),
        *("    esp.zero.qacc", "    esp.zero.xacc", "    li a0, 63", "    esp.movx.w.sar a0"),
        "    esp.lp.setupi 0, 3, .Lother_end",
        *["    addi a0, a0, 1"] * 3,
        *(".Lother_end:", "    addi a0, a0, 1", "    j other_task", ""),
    ]
)
"""Spoils integer, float, vector and loop registers, over and over. CFG is left alone: no system keeps it."""


def run_interrupted(assembly: Sequence[str], calls: Sequence[Call], folder: Path) -> list[Outcome]:
    """Outcomes without interrupts, equal to those with one after every round of every loop, or every few cycles."""
    elf = build(assembly, calls, folder, other_task=OTHER_TASK)
    plain = run_program(elf, calls, Options(memory_model=False))
    often = Options(memory_model=False, interrupts=(1, 60))
    for options in (Options(memory_model=False, loop_interrupts=True), often):
        for call, quiet, disturbed in zip(calls, plain, run_program(elf, calls, options), strict=True):
            np.testing.assert_array_equal(disturbed.output, quiet.output, call.symbol)
            assert disturbed.margins_intact
    return plain


MODULES = (test_pie_conv, test_pie_depthwise, test_pie_elementwise, test_pie_max_pool, test_pie_mean, test_pie_table)


@pytest.fixture(autouse=True)
def interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every family's own cases and checks, by the calls of this module."""
    for module in MODULES:
        monkeypatch.setattr(module, "run_calls", run_interrupted)


CONVOLUTIONS = ("16 channels", "3x3 stem", "1280 channels, looped", "3x3", "groups of 8")


def test_convolutions(tmp_path: Path) -> None:
    rng = np.random.default_rng(71)
    cases = {}
    for name in CONVOLUTIONS:
        shape = test_pie_conv.SHAPES[name]
        for requant in ("shift", "shifts", "scale"):
            cases[f"{name} {requant}"] = random_case(rng, requant=requant, **shape)
    cases["weight zero point"] = random_case(rng, requant="scale", weight_zero=77, **test_pie_conv.SHAPES["3x3 stem"])
    cases["int16"] = random_case(rng, requant="scale", element_bytes=2, **test_pie_conv.SHAPES["3x3"])
    test_pie_conv.run_cases(cases, tmp_path)


def test_depthwise_convolutions(tmp_path: Path) -> None:
    rng = np.random.default_rng(72)
    cases = {}
    for name, requant in (("64 channels, 5 wide", "scale"), ("stride 2", "shift")):
        cases[name] = test_pie_depthwise.case(rng, requant=requant, **test_pie_depthwise.SHAPES[name])
    test_pie_depthwise.run_cases(cases, tmp_path)


def test_sums(tmp_path: Path) -> None:
    test_pie_elementwise.test_sums(tmp_path)


def test_pools(tmp_path: Path) -> None:
    test_pie_max_pool.test_pools(True, tmp_path)


@pytest.mark.prove
def test_means(tmp_path: Path) -> None:
    test_pie_mean.test_means(False, tmp_path)


def test_tables(tmp_path: Path) -> None:
    test_pie_table.test_tables(True, tmp_path)


def test_a_system_that_keeps_less_is_noticed(tmp_path: Path) -> None:
    """ESP-IDF before 6.0 loses q3: what these tests compare does change then."""
    case = random_case(np.random.default_rng(73), requant="scale", **test_pie_conv.SHAPES["3x3"])
    kernel = case.kernel()
    elf = build([kernel.assembly], [case.call(kernel)], tmp_path, other_task=OTHER_TASK)
    outputs = [
        run_program(elf, [case.call(kernel)], Options(memory_model=False, interrupts=(1, 60), task_switch=version))[0].output
        for version in ("5.3", "6.0")
    ]
    assert not np.array_equal(*outputs)
