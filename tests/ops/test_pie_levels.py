"""Kernels on both chip revisions: the same bytes, whether the text is for both or for revision 3 alone."""

from __future__ import annotations

import numpy as np
import pytest
from pie_conv_cases import random_case
from pie_harness import build, run_calls

from espgen.errors import EspgenError
from espgen.target.espv import Level, Levels
from espgen.verify.simulator import Options, simulate

SHAPES = {
    "1x1": {"kernel": (1, 1), "channels": 16, "outputs": 16, "size": (2, 5)},
    "3x3": {"kernel": (3, 3), "channels": 20, "outputs": 24, "size": (2, 4)},
    "stem": {"kernel": (3, 3), "channels": 3, "outputs": 16, "size": (2, 5), "stride": (2, 2), "in_pitch": 3},
}
BUILDS = [(Levels.BOTH, Level.V21), (Levels.BOTH, Level.V22), (Levels.V22, Level.V22)]


@pytest.mark.parametrize("element_bytes", [1, 2])
def test_convolutions_give_the_same_bytes(element_bytes, tmp_path):
    """`scale` holds the shift whose old name means something else on revision 3, and its negative accumulators."""
    rng = np.random.default_rng(29)
    cases = {
        (name, requant): random_case(rng, requant=requant, element_bytes=element_bytes, **shape)
        for name, shape in SHAPES.items()
        for requant in ("shift", "shifts", "scale")
    }
    kernels = {name: case.kernel() for name, case in cases.items()}
    texts = {kernel.symbol: kernel.assembly for kernel in kernels.values()}
    assert element_bytes == 2 or any("espgen.vsl.s32" in text for text in texts.values())
    calls = [case.call(kernels[name]) for name, case in cases.items()]
    for levels, level in BUILDS:
        for (name, case), outcome in zip(
            cases.items(), run_calls(list(texts.values()), calls, tmp_path, levels, level), strict=True
        ):
            case.check(outcome, kernels[name])


def test_a_linked_program_names_its_level(tmp_path):
    """The linker keeps the symbol, and the other chip refuses the program."""
    case = random_case(np.random.default_rng(1), requant="scale", **SHAPES["1x1"])
    kernel = case.kernel()
    for level, other in ((Level.V21, Level.V22), (Level.V22, Level.V21)):
        elf = build([kernel.assembly], [case.call(kernel)], tmp_path, Levels.BOTH, level)
        with pytest.raises(EspgenError, match=f"holds instructions of ESPV {level.version}"):
            simulate(elf, Options(memory_model=False, espv=other))
