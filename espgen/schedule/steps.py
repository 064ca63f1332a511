"""The list of steps: which rows of which node are made when. Everything that follows the schedule reads this list."""

from __future__ import annotations

from dataclasses import dataclass

Band = tuple[int, int]
"""Rows [begin, end) of a node's outputs (rows as in ops.base.rows_of, over all images)."""


@dataclass(frozen=True)
class Step:
    """Rows [begin, end) of the outputs of `node` are made, from rows that earlier steps made."""

    node: str
    begin: int
    end: int


def cut(begin: int, end: int, rows: int) -> tuple[Band, ...]:
    """[begin, end) as bands of `rows` rows, the last one of what is left."""
    return tuple((first, min(first + rows, end)) for first in range(begin, end, max(rows, 1)))
