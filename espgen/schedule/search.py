"""Which nodes run together in bands of rows: the cheapest way to cut the list of nodes into segments.

Dynamic programming over the order of the nodes: the best schedule of the first n nodes ends with some segment, preceded by the
best schedule of the nodes before it. The price of a segment is what its kernels compute, and the cache lines that it waits for:
weights once where they and the rows in between stay in the first-level cache, else once per band; values from outside by the
memory they live in. Bounded by counts, so that every machine finds the same schedule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from espgen.schedule.segments import Segment, alone, fused
from espgen.schedule.work import Work
from espgen.target.memory_costs import LINE_BYTES, MISS_INTERNAL, MISS_PSRAM, TILE_BYTES

BAND_ROWS = (1, 2, 4, 8)
"""Heights that are tried for the last node of a segment."""
LONGEST = 14
"""Nodes in a segment at most."""
_SPREAD = 40 * 1024
"""How far beyond what the cache holds everything is lost."""


@dataclass(frozen=True)
class Prices:
    """What segments are priced with.

    total, row      bytes of every value that owns its bytes, and of one of its rows
    internal_bytes  internal RAM for activations
    byte_price      cycles that a byte of memory in use is worth; more than 0 where memory counts more than time
    """

    total: Mapping[str, int]
    row: Mapping[str, int]
    internal_bytes: int
    byte_price: float = 0.0

    def lost(self, used: float) -> float:
        """The share of what is used again that the cache has lost by then, where `used` bytes are touched in between."""
        return min(1.0, max(0.0, (used - TILE_BYTES) / _SPREAD))


def search(works: Sequence[Work], prices: Prices, ringable: frozenset[str]) -> tuple[Segment, ...]:
    """The cheapest segments for all nodes, in their order.

    ringable  values that may be held as rings: no graph input or output, no view of another value and none of them
    """
    lives = _lives(works)
    best: list[tuple[float, tuple[Segment, ...]]] = [(0.0, ())]
    for end in range(1, len(works) + 1):
        options = []
        for begin in range(end - 1, max(-1, end - 1 - LONGEST), -1):
            if end - begin > 1 and not _joinable(works[begin:end]):
                break
            for segment in _candidates(works, begin, end, lives, ringable):
                price = price_of(segment, prices, _held(lives, begin, end, prices, segment))
                options.append((best[begin][0] + price, (*best[begin][1], segment)))
        best.append(min(options, key=lambda option: option[0]))
    return best[-1][1]


@dataclass(frozen=True)
class _Life:
    first: int
    last: int


def _lives(works: Sequence[Work]) -> dict[str, _Life]:
    """First and last node that touches each value; values that nothing makes live from the beginning."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    made: set[str] = set()
    for number, work in enumerate(works):
        for value in (*work.reads, *work.writes):
            first.setdefault(value, number if value in work.writes else 0)
            last[value] = number
        made.update(work.writes)
    return {value: _Life(first[value], last[value]) for value in first}


def _joinable(works: Sequence[Work]) -> bool:
    """Whether nodes may run in bands of rows: each can be parted and each but the first reads another of them by rows."""
    if not all(work.parted and work.rows > 1 for work in works):
        return False
    made: set[str] = set()
    for number, work in enumerate(works):
        if number and not any(value in made and value in work.reach for value in work.reads):
            return False
        made.update(work.writes)
    return True


def _candidates(
    works: Sequence[Work], begin: int, end: int, lives: Mapping[str, _Life], ringable: frozenset[str]
) -> list[Segment]:
    if end - begin == 1:
        return [alone(works[begin])]
    members = works[begin:end]
    inside = [
        value
        for work in members
        for value in work.writes
        if value in ringable
        and lives[value].first >= begin
        and lives[value].last < end
        and lives[value].last > lives[value].first
        and all(value in reader.reach for reader in members if value in reader.reads)
    ]
    if not inside:
        return []
    return [fused(members, rows, inside) for rows in BAND_ROWS if rows < members[-1].rows]


def _held(lives: Mapping[str, _Life], begin: int, end: int, prices: Prices, segment: Segment) -> int:
    """Bytes that are in use while nodes [begin, end) run: whole values, and rings."""
    whole = sum(
        prices.total[value]
        for value, life in lives.items()
        if life.first < end and life.last >= begin and value not in segment.rings
    )
    return whole + sum(rows * prices.row[value] for value, rows in segment.rings.items())


def price_of(segment: Segment, prices: Prices, held: int) -> float:
    """Predicted cycles of a segment, the cache lines that it waits for included."""
    calls = {work.node: 0 for work in segment.works}
    for step in segment.steps:
        calls[step.node] += 1
    compute = sum(work.call_cycles * calls[work.node] + work.row_cycles * work.rows for work in segment.works)
    weights = sum(work.weight_bytes for work in segment.works)
    made = {value for work in segment.works for value in work.writes}
    rings = sum(rows * prices.row[value] for value, rows in segment.rings.items())
    outside = [value for work in segment.works for value in (*work.reads, *work.writes) if value not in segment.rings]
    band_bytes = sum(prices.total[value] / segment.bands for value in set(outside))
    lost = prices.lost(weights + rings + band_bytes)
    far = prices.lost(held + weights)
    lines = weights / LINE_BYTES * (MISS_PSRAM + lost * (segment.bands - 1) * MISS_INTERNAL)
    # A value made here and read again here is in the cache where everything that is used in between stays there.
    for value in dict.fromkeys(outside):
        again = outside.count(value) - 1
        kept = 0.0 if value not in made or len(segment.works) == 1 else 1.0 - lost
        lines += far * (1 + again * (1.0 - kept)) * prices.total[value] / LINE_BYTES * MISS_INTERNAL
    lines += lost * sum(2 * prices.total[value] / LINE_BYTES * MISS_INTERNAL for value in segment.rings)
    overflow = max(0, held - prices.internal_bytes)
    lines += 2 * overflow / LINE_BYTES * (MISS_PSRAM - MISS_INTERNAL)
    return compute + lines + prices.byte_price * held
