"""The overlap checker finds every kind of broken plan: each test breaks a good plan in one way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from espgen.errors import Defect
from espgen.schedule.buffers import Buffer, Placement, Tier
from espgen.schedule.proof import prove

TIERS = (Tier("internal", 256), Tier("psram", 4096, cost=1))
BUFFERS = [Buffer("a", 100, 0, 2), Buffer("b", 64, 2, 4), Buffer("c", 128, 3, 5, tiers=("internal",))]
GOOD = [Placement("a", "internal", 0), Placement("b", "internal", 128), Placement("c", "internal", 0)]


def broken(name: str, **change: object) -> list[Placement]:
    return [replace(place, **change) if place.name == name else place for place in GOOD]  # type: ignore[arg-type]


def test_a_good_plan_passes_and_every_pair_was_compared() -> None:
    assert prove(BUFFERS, GOOD, TIERS) == 3


@pytest.mark.parametrize(
    ("placements", "message"),
    [
        (broken("b", offset=64), "'a' and 'b' overlap in internal memory during steps 2..2"),
        (broken("c", offset=64), "'b' and 'c' overlap in internal memory during steps 3..4"),
        (broken("b", offset=130), "'b' at 130 is not aligned to 64"),
        (broken("b", offset=-64), "'b' at -64 is not aligned"),
        (broken("b", offset=256), "'b' ends beyond internal"),
        (broken("c", tier="psram"), "'c' may not live in psram"),
        (broken("a", tier="moon"), "moon, which does not exist"),
        (GOOD[:2], "'c' has no place"),
        ([*GOOD, GOOD[0]], "'a' is placed twice"),
        ([*GOOD, Placement("x", "internal", 0)], "'x' is placed but is no buffer"),
    ],
)
def test_each_fault_is_found_and_named(placements: list[Placement], message: str) -> None:
    with pytest.raises(Defect, match=message):
        prove(BUFFERS, placements, TIERS)


def test_a_buffer_across_a_seam_is_found() -> None:
    """Two pieces of memory, elsewhere in the address space: what lies across their seam lies nowhere."""
    seamed = (Tier("internal", 256, seams=(64,)), TIERS[1])
    assert prove(BUFFERS[1:2], [Placement("b", "internal", 0)], seamed) == 0
    assert prove(BUFFERS[1:2], [Placement("b", "internal", 64)], seamed) == 0
    with pytest.raises(Defect, match="'a' lies across the seam of internal at 64"):
        prove(BUFFERS[:1], [Placement("a", "internal", 0)], seamed)


def test_the_same_bytes_of_different_tiers_do_not_overlap() -> None:
    assert prove(BUFFERS, broken("b", tier="psram", offset=0), TIERS) == 3


def test_taking_over_in_place_needs_the_same_offset_and_the_declared_buffer() -> None:
    old, new = Buffer("old", 64, 0, 2), Buffer("new", 128, 2, 4, replaces="old")
    assert prove([old, new], [Placement("old", "internal", 0), Placement("new", "internal", 0)]) == 1
    moved = [Placement("old", "internal", 64), Placement("new", "internal", 0)]
    with pytest.raises(Defect, match="overlap"):
        prove([old, new], moved)
    with pytest.raises(Defect, match="overlap"):
        prove([old, replace(new, replaces=None)], [Placement("old", "internal", 0), Placement("new", "internal", 0)])
    with pytest.raises(Defect, match="overlap"):
        prove([replace(old, last=3), new], [Placement("old", "internal", 0), Placement("new", "internal", 0)])
