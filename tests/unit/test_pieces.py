"""What must leave a memory of several pieces: the bound of one step against every way to share out, and what that proves."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espgen.schedule.buffers import Buffer, Tier
from espgen.schedule.pieces import LARGEST, least_price
from espgen.schedule.planner import plan

ITEMS = st.lists(st.tuples(st.integers(0, 9), st.one_of(st.none(), st.integers(0, 5))), max_size=5)


def every_way(items: list[tuple[int, int | None]], pieces: list[int]) -> tuple[int, int] | None:
    """Every item in every piece or outside."""
    found = []
    for places in product(range(len(pieces) + 1), repeat=len(items)):
        outside = [item for item, place in zip(items, places, strict=True) if place == len(pieces)]
        if any(price is None for _, price in outside):
            continue
        loads = [
            sum(item[0] for item, place in zip(items, places, strict=True) if place == piece) for piece in range(len(pieces))
        ]
        if all(load <= size for load, size in zip(loads, pieces, strict=True)):
            found.append((sum(price or 0 for _, price in outside), len(outside)))
    return min(found, default=None)


@settings(deadline=None, max_examples=200)
@given(ITEMS, st.lists(st.integers(0, 14), min_size=1, max_size=3))
def test_the_least_price_is_that_of_every_way_to_share_out(items: list[tuple[int, int | None]], pieces: list[int]) -> None:
    assert least_price(items, pieces) == every_way(items, pieces)


def test_more_items_than_are_looked_at_give_a_bound() -> None:
    items: list[tuple[int, int | None]] = [(3, 10)] * LARGEST + [(1, 7)] * 9
    assert least_price(items, (3, 4)) == (10 * (LARGEST - 2), LARGEST - 2)


@pytest.mark.parametrize("accesses", [0, 1, 1000])
def test_two_buffers_that_no_pieces_hold_together_are_proved_to_be_parted(accesses: int) -> None:
    """As in MobileNetV2 on a chip below revision 3: both would fit by their sum, which proved next to nothing."""
    buffers = [
        Buffer("input", 154_112, 0, 2, accesses=accesses),
        Buffer("wide", 200_704, 1, 3, accesses=2 * accesses),
        Buffer("small", 7_168, 1, 2, accesses=1),
    ]
    tiers = (Tier("internal", 375_488, seams=(262_016,)), Tier("psram", 1 << 25, cost=1))
    result = plan(buffers, tiers)
    assert result.tiers == {"input": "psram", "wide": "internal", "small": "internal"} or not accesses
    assert (result.cost, result.cost_bound, result.status) == (accesses, accesses, "optimal")
