"""The bundled model under timer interrupts: the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from espgen import api, demo
from espgen.resources import models_dir
from espgen.target.chips import V1, V3, Chip
from espgen.verify.build import build_firmware
from espgen.verify.simulator import Options, Simulator

pytest.importorskip("ziglang")


@pytest.mark.parametrize("chip", [V1, V3], ids=lambda chip: chip.name)
def test_a_hundred_inferences(chip: Chip, tmp_path: Path) -> None:
    """An interrupt every 50 to 500 cycles, and after every round of a hardware loop."""
    component = tmp_path / "digits"
    api.compile(models_dir() / demo.MODEL, component)
    options = Options(memory_model=False, l2_kb=256, chip=chip, interrupts=(50, 500), loop_interrupts=True)
    with Simulator(build_firmware(component, chip=chip, l2_kb=256), options) as simulator:
        verdict = api.verify(component, data=models_dir() / demo.DATA, port=simulator.port, limit=100)
        core = simulator.statistics()["cores"][0]
    assert verdict["equal"], [layer for layer in verdict["layers"] if not layer["equal"]]
    assert verdict["samples"] == 100
    assert core["interrupts"] > 100 * 100
