"""Random depthwise convolutions, sums and pools on PIE: hypothesis draws batches of cases, one program runs a batch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

import test_pie_depthwise
import test_pie_elementwise

from espgen import arith
from espgen.codegen.pie import weighted_sum
from espgen.codegen.pie.elementwise import RowShape
from espgen.codegen.pie.weighted_sum import SumSpec

pytest.importorskip("ziglang")

BATCH = 10
FEW, MANY = 2, 40

CHANNELS = st.sampled_from((1, 3, 8, 15, 16, 17, 24, 40))
POINTS = st.integers(-128, 127)


def batches(case: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(case, min_size=BATCH, max_size=BATCH)


@st.composite
def depthwise_arguments(draw: st.DrawFn) -> dict[str, Any]:
    channels = draw(CHANNELS)
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    dense = draw(st.booleans())
    low = draw(st.sampled_from((-128, -128, -20, 0)))
    return {
        "seed": draw(st.integers(0, 2**32 - 1)),
        "channels": channels,
        "kernel": kernel,
        "size": draw(st.tuples(st.integers(1, 3), st.integers(1, 17))),
        "stride": draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        "dilation": draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        "in_pitch": channels if dense else None,
        "out_pitch": channels if dense and draw(st.booleans()) else None,
        "requant": draw(st.sampled_from(("shift", "shifts", "scale"))),
        "weight_zero": draw(st.sampled_from((0, 0, 0, -128, 5, 127))),
        "zero_point": draw(POINTS),
        "low": low,
        "high": draw(st.sampled_from((127, 127, 100))),
        "extreme": draw(st.integers(0, 4)) == 0,
        "hardware_loops": draw(st.integers(0, 4)) > 0,
    }


def check_depthwise(batch: list[dict[str, Any]], folder: Path) -> None:
    cases = {}
    for number, arguments in enumerate(batch):
        rng = np.random.default_rng(arguments["seed"])
        rest = {key: value for key, value in arguments.items() if key != "seed"}
        cases[f"{number}: {arguments}"] = test_pie_depthwise.case(rng, **rest)
    test_pie_depthwise.run_cases(cases, folder)


@st.composite
def sum_arguments(draw: st.DrawFn) -> tuple[int, RowShape, SumSpec]:
    size, pixels = draw(CHANNELS), draw(st.integers(1, 17))
    pitches = [draw(st.sampled_from((size, -(-size // 16) * 16))) for _ in range(3)]
    count = draw(st.integers(1, 2))
    exact = draw(st.booleans())
    exponents = [draw(st.integers(-6, 2) if exact else st.floats(-6, 3)) for _ in range(count)]
    ratios = [draw(st.sampled_from((1.0, -1.0))) * 2.0**exponent for exponent in exponents]
    points = tuple(draw(POINTS) for _ in range(count))
    low = draw(st.sampled_from((-128, -7)))
    spec = SumSpec(arith.choose_weights(ratios, 8), points, draw(POINTS), low, draw(st.sampled_from((127, 90))))
    return draw(st.integers(0, 2**32 - 1)), RowShape(pixels, size, tuple(pitches[:2]), pitches[2]), spec


def check_sums(batch: list[tuple[int, RowShape, SumSpec]], folder: Path) -> None:
    cases = {}
    for number, (seed, shape, spec) in enumerate(batch):
        if weighted_sum.supports(spec) is None:
            rng = np.random.default_rng(seed)
            cases[f"{number}: {shape} {spec}"] = test_pie_elementwise.sum_case(rng, shape, spec)
    test_pie_elementwise.run_cases(cases, folder)


CHECKS = {"depthwise": (depthwise_arguments(), check_depthwise), "sums": (sum_arguments(), check_sums)}


def run(name: str, examples: int, folder: Path) -> None:
    strategy, check = CHECKS[name]

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(batches(strategy))
    def every_batch(batch: list[Any]) -> None:
        check(batch, folder)

    every_batch()


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_some_random_cases(name: str, tmp_path: Path) -> None:
    run(name, FEW, tmp_path)


@pytest.mark.prove
@pytest.mark.parametrize("name", sorted(CHECKS))
def test_many_random_cases(name: str, tmp_path: Path) -> None:
    run(name, MANY, tmp_path)
