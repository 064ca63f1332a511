"""Segments: consecutive nodes that run in bands of rows, so that what passes between them lives for a few rows only.

The last node of a segment makes `band_rows` rows at a time; every node before it makes the rows that are then missing. Nothing
is computed twice. A value that is made and used up inside a segment is held as a ring of as many rows as are ever needed at
once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from espgen.schedule.steps import Step, cut
from espgen.schedule.work import Work


@dataclass(frozen=True)
class Segment:
    """Nodes that run together, their steps, and the rows that are held of what passes between them.

    band_rows  of the last node; 0: a node by itself, in the bands that suit it
    rings      rows held of each value that lives inside only
    """

    works: tuple[Work, ...]
    band_rows: int
    steps: tuple[Step, ...]
    rings: dict[str, int]

    @property
    def bands(self) -> int:
        """How often the last node is stepped."""
        last = self.works[-1].node
        return sum(step.node == last for step in self.steps)


def alone(work: Work) -> Segment:
    """A node by itself."""
    bands = cut(0, work.rows, work.band_rows or work.rows) if work.parted else ((0, work.rows),)
    return Segment((work,), 0, tuple(Step(work.node, begin, end) for begin, end in bands), {})


def fused(works: Sequence[Work], band_rows: int, inside: Collection[str]) -> Segment:
    """Nodes in bands. `inside`: values that nothing but these nodes reads or writes, one of them each time."""
    made = [0] * len(works)
    steps: list[tuple[int, int, int]] = []
    for _, end in cut(0, works[-1].rows, band_rows):
        need = _needs(works, made, end)
        for number, rows in enumerate(need):
            if rows > made[number]:
                steps.append((number, made[number], rows))
                made[number] = rows
    for number, work in enumerate(works):
        if made[number] < work.rows:
            steps.append((number, made[number], work.rows))
            made[number] = work.rows
    rings = {value: height for value in inside if (height := _height(works, steps, value)) is not None}
    return Segment(tuple(works), band_rows, tuple(Step(works[n].node, begin, end) for n, begin, end in steps), rings)


def _needs(works: Sequence[Work], made: Sequence[int], end: int) -> list[int]:
    """Rows that every node must have made so that the last one can make its rows up to `end`."""
    need = list(made)
    need[-1] = end
    makers = {value: number for number, work in enumerate(works) for value in work.writes}
    for number in range(len(works) - 1, -1, -1):
        work = works[number]
        if need[number] <= made[number]:
            continue
        for value in work.reads:
            maker = makers.get(value)
            if maker is None or maker >= number:
                continue
            reach = work.reach.get(value)
            wanted = works[maker].rows if reach is None else reach.upto[need[number] - 1]
            need[maker] = max(need[maker], wanted)
    return need


def _height(works: Sequence[Work], steps: Sequence[tuple[int, int, int]], value: str) -> int | None:
    """Rows of `value` that are needed at once; None where all are."""
    maker = next(number for number, work in enumerate(works) if value in work.writes)
    readers = [number for number, work in enumerate(works) if value in work.reads]
    done = [0] * len(works)
    height = 1
    for number, begin, end in steps:
        if number == maker:
            oldest = min(works[reader].reach[value].needed_from(done[reader]) for reader in readers)
            height = max(height, end - min(oldest, begin))
        done[number] = end
    return height if height < works[maker].rows else None
