"""What the search for a schedule knows of a node: its rows, where they come from, and what making some of them costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from espgen.ops.base import PADDING_ROW, KernelCall

_NEVER = 1 << 30


@dataclass(frozen=True)
class Reach:
    """Which rows of one input every output row of a node is made from.

    upto[n]   one past the last input row that output rows below n + 1 need
    since[n]  the first input row that output row n or any later one needs; _NEVER where none does
    """

    upto: tuple[int, ...]
    since: tuple[int, ...]

    def needed_from(self, row: int) -> int:
        """First input row that output row `row` or a later one needs."""
        return self.since[row] if row < len(self.since) else _NEVER


@dataclass(frozen=True)
class Work:
    """One node that takes steps.

    reads, writes  the values, by the names of those that own the bytes
    rows           of its outputs
    parted         whether a step may make any of the rows; else one step makes all
    band_rows      rows per step where the node is run by itself, 0: all
    call_cycles, row_cycles  predicted for a call, and for every row it makes
    weight_bytes   constants that a call reads
    reach          by input; an input that is not named is needed as a whole
    """

    node: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    rows: int
    parted: bool
    band_rows: int
    call_cycles: float
    row_cycles: float
    weight_bytes: int
    reach: Mapping[str, Reach]


def reaches(calls: Sequence[KernelCall]) -> dict[str, Reach]:
    """Row reach of every input of a node whose one call can be parted; empty for other nodes."""
    if len(calls) != 1 or calls[0].advance is None:
        return {}
    (call,) = calls
    lowest: dict[str, list[int]] = {}
    highest: dict[str, list[int]] = {}
    assert call.advance is not None
    for table, step in zip(call.inputs, call.advance, strict=True):
        window = len(table.rows) - (call.rows - 1) * step
        low, high = lowest.setdefault(table.value, [_NEVER] * call.rows), highest.setdefault(table.value, [-1] * call.rows)
        for row in range(call.rows):
            inside = [entry for entry in table.rows[row * step : row * step + window] if entry != PADDING_ROW]
            if inside:
                low[row], high[row] = min(low[row], *inside), max(high[row], *inside)
    return {name: _reach(lowest[name], highest[name]) for name in lowest}


def _reach(lowest: list[int], highest: list[int]) -> Reach:
    upto, since, most, least = [], [], 0, _NEVER
    for high in highest:
        most = max(most, high + 1)
        upto.append(most)
    for low in reversed(lowest):
        least = min(least, low)
        since.append(least)
    return Reach(tuple(upto), tuple(reversed(since)))
