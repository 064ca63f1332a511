"""Sharing out buffers that live at the same time among the pieces of a memory: what must leave, at the least price.

A bound, by one step alone: where two buffers are each larger than what the other leaves of any piece, one of them leaves, however
many bytes the pieces have in all. Only the largest buffers are looked at, whose exact answer holds for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

LARGEST = 8
"""Buffers that are looked at: each may go to one of a few pieces or leave, so that there are thousands of cases, not more."""


def least_price(items: Sequence[tuple[int, int | None]], pieces: Sequence[int]) -> tuple[int, int] | None:
    """The least sum of prices of items that leave so that each of the others fits whole into a piece, all of them together, and
    how many leave for it at least (which tells none from some that cost nothing).

    items   (bytes, price of leaving, or None where it must stay)
    pieces  bytes of each

    None where those that must stay do not fit. A lower bound where there are more than LARGEST items.
    """
    chosen = sorted(items, key=lambda item: (-item[0], item[1] is not None, item[1] or 0))[:LARGEST]
    best: tuple[int, int] | None = None
    stack: list[tuple[int, tuple[int, ...], tuple[int, int]]] = [(0, tuple(sorted(pieces)), (0, 0))]
    while stack:
        index, free, left = stack.pop()
        if best is not None and left >= best:
            continue
        if index == len(chosen):
            best = left
            continue
        size, leaving = chosen[index]
        if leaving is not None:
            stack.append((index + 1, free, (left[0] + leaving, left[1] + 1)))
        for room in sorted(set(free), reverse=True):  # the tightest piece is tried first
            if room >= size:
                rest = list(free)
                rest[rest.index(room)] -= size
                stack.append((index + 1, tuple(sorted(rest)), left))
    return best
