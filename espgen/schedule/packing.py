"""Packing buffers with known lifetimes into the fewest bytes of one memory (dynamic storage allocation).

Greedy orders give a first answer, and reordering what reaches the top improves it. Then branch and bound over canonical
solutions: buffers are placed in order of nondecreasing offset, each directly above what lies below it, so that a
skyline (one height per step) is the whole state. Every solution can be pushed down into this form, hence an exhausted
search is a proof. Where the memory has seams, which no buffer may lie across, a buffer that would is lifted onto the seam:
it lies as low as it can all the same. Pruning follows M. D. Moffitt, "MiniMalloc: A Lightweight Memory Allocator for
Hardware-Accelerated Machine Learning", ASPLOS 2023.
All searches are limited by counts of operations, not by time: the same input gives the same plan on every machine.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from espgen.schedule.buffers import Buffer

DEFAULT_EFFORT = 400_000


@dataclass(frozen=True)
class Packing:
    """Offsets per buffer name, bytes used, and a proven lower bound on them."""

    offsets: dict[str, int]
    peak: int
    lower_bound: int

    @property
    def optimal(self) -> bool:
        return self.peak == self.lower_bound


def load_bound(buffers: Sequence[Buffer]) -> int:
    """The largest sum of occupied bytes over all steps: no packing uses less."""
    best = load = 0
    events = [(buffer.first, 1, buffer.occupied) for buffer in buffers]
    events += [(buffer.last + 1, 0, -buffer.occupied) for buffer in buffers]
    for _, _, change in sorted(events):
        load += change
        best = max(best, load)
    return best


def pack(
    buffers: Sequence[Buffer], *, enough: int = 0, effort: int = DEFAULT_EFFORT, seams: Sequence[int] = ()
) -> Packing:
    """Pack `buffers` into as few bytes as possible, none of them across a seam (see Tier).

    Stops as soon as `enough` bytes suffice. `effort` bounds the search (buffers looked at).
    """
    sized = [buffer for buffer in buffers if buffer.occupied]
    offsets = {buffer.name: 0 for buffer in buffers}
    peak = bound = 0
    parts = components(sized)
    for part in sorted(parts, key=load_bound, reverse=True):
        # A part that fits below what another part needs anyway is done.
        found = _pack_connected(part, max(enough, peak), effort // max(1, len(parts)), seams)
        offsets.update(found.offsets)
        peak = max(peak, found.peak)
        bound = max(bound, found.lower_bound)
    return Packing(offsets, peak, bound)


def components(buffers: Sequence[Buffer]) -> list[list[Buffer]]:
    """Groups of buffers with no lifetime crossing from one to another: they pack independently."""
    parts: list[list[Buffer]] = []
    end = -1
    for buffer in sorted(buffers, key=lambda buffer: (buffer.first, buffer.last, buffer.name)):
        if not parts or buffer.first > end:
            parts.append([])
        parts[-1].append(buffer)
        end = max(end, buffer.last)
    return parts


def _pack_connected(buffers: list[Buffer], enough: int, effort: int, seams: Sequence[int]) -> Packing:
    bound = load_bound(buffers)
    best, peak = _best_greedy(buffers, max(bound, enough), seams)
    best, peak = _reorder(buffers, best, peak, max(bound, enough), effort // (20 * len(buffers)), seams)
    if peak <= max(bound, enough):
        return Packing(best, peak, bound)
    search = _Search(buffers, best, peak, max(bound, enough), effort, seams)
    search.run()
    return Packing(search.best, search.peak, search.peak if search.exhausted else bound)


def _best_greedy(buffers: list[Buffer], enough: int, seams: Sequence[int]) -> tuple[dict[str, int], int]:
    orders: tuple[Callable[[Buffer], tuple[int | str, ...]], ...] = (
        lambda buffer: (-buffer.occupied, buffer.first, buffer.name),
        lambda buffer: (-buffer.occupied * (buffer.last - buffer.first + 1), buffer.first, buffer.name),
        lambda buffer: (buffer.first - buffer.last, -buffer.occupied, buffer.name),
        lambda buffer: (buffer.first, -buffer.occupied, buffer.name),
        lambda buffer: (-buffer.last, -buffer.occupied, buffer.name),
        _contention_key(buffers),
    )
    best: dict[str, int] = {}
    peak = 0
    for key in orders:
        offsets = first_fit(sorted(buffers, key=key), seams)
        top = max(offsets[buffer.name] + buffer.occupied for buffer in buffers)
        if not best or top < peak:
            best, peak = offsets, top
        if peak <= enough:
            break
    return best, peak


def _reorder(
    buffers: list[Buffer], best: dict[str, int], peak: int, enough: int, tries: int, seams: Sequence[int]
) -> tuple[dict[str, int], int]:
    """Move buffers that reach the top elsewhere in the order of placement, as long as nothing gets worse."""
    order = sorted(buffers, key=lambda buffer: (best[buffer.name], buffer.name))
    chance = _numbers()
    for turn in range(tries):
        if peak <= enough:
            break
        top = [buffer for buffer in order if best[buffer.name] + buffer.occupied == peak]
        moved = top[next(chance) % len(top)]
        trial = [buffer for buffer in order if buffer is not moved]
        trial.insert(next(chance) % len(order), moved)
        if turn % 2:
            one, other = next(chance) % len(order), next(chance) % len(order)
            trial[one], trial[other] = trial[other], trial[one]
        offsets = first_fit(trial, seams)
        reached = max(offsets[buffer.name] + buffer.occupied for buffer in buffers)
        if reached <= peak:
            best, peak, order = offsets, reached, trial
    return best, peak


def _numbers() -> Iterator[int]:
    """The same numbers on every machine (Knuth's MMIX generator, upper bits)."""
    state = 1
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        yield state >> 33


def _contention_key(buffers: list[Buffer]) -> Callable[[Buffer], tuple[int | str, ...]]:
    """Buffers that live through the fullest step come first, largest first."""
    events = sorted({buffer.first for buffer in buffers})
    load = {step: sum(b.occupied for b in buffers if b.first <= step <= b.last) for step in events}
    contention = {b.name: max(load[step] for step in events if b.first <= step <= b.last) for b in buffers}
    return lambda buffer: (-contention[buffer.name], -buffer.occupied, buffer.first, buffer.name)


def lifted(offset: int, size: int, seams: Sequence[int]) -> int:
    """The lowest offset from `offset` up where `size` bytes lie across no seam."""
    for seam in seams:
        if offset < seam < offset + size:
            offset = seam
    return offset


def first_fit(order: Sequence[Buffer], seams: Sequence[int] = ()) -> dict[str, int]:
    """Place buffers in the given order, each at the lowest offset that is free throughout its life and off the seams."""
    placed: list[tuple[int, int, Buffer]] = []
    offsets: dict[str, int] = {}
    for buffer in order:
        offset = lifted(0, buffer.occupied, seams)
        for low, high, other in placed:
            if not buffer.overlaps(other):
                continue
            if offset + buffer.occupied <= low:
                break
            offset = lifted(max(offset, -(-high // buffer.align) * buffer.align), buffer.occupied, seams)
        offsets[buffer.name] = offset
        insort(placed, (offset, offset + buffer.occupied, buffer), key=lambda entry: entry[:2])
    return offsets


class _Search:
    """Depth-first branch and bound; `best` and `peak` improve until exhausted, `enough` reached or out of effort."""

    def __init__(
        self, buffers: list[Buffer], best: dict[str, int], peak: int, enough: int, effort: int, seams: Sequence[int]
    ) -> None:
        self._seams = seams
        self.best, self.peak, self.exhausted = best, peak, False
        self._enough, self._effort = enough, effort
        order = sorted(buffers, key=lambda b: (-b.occupied * (b.last - b.first + 1), b.first, b.name))
        self._names = [buffer.name for buffer in order]
        self._sizes = [buffer.occupied for buffer in order]
        self._aligns = [buffer.align for buffer in order]
        steps = sorted({buffer.first for buffer in order})
        position = {step: index for index, step in enumerate(steps)}
        self._first = [position[buffer.first] for buffer in order]
        self._end = [sum(step <= buffer.last for step in steps) for buffer in order]
        self._shape = list(zip(self._sizes, self._aligns, self._first, self._end, strict=True))
        self._height = [0] * len(steps)
        self._pending = [0] * len(steps)
        for item in range(len(order)):
            self._pend(item, self._sizes[item])

    def run(self) -> None:
        """Visit canonical solutions. The stack holds, per placed item, what undoes it and its untried siblings."""
        unplaced = list(range(len(self._names)))
        path: list[tuple[int, int, list[int]]] = []
        siblings = [iter(self._candidates(unplaced, 0, -1))]
        while siblings:
            if len(path) == len(siblings):
                self._take_back(path.pop(), unplaced)
            choice = next(siblings[-1], None)
            if choice is None:
                siblings.pop()
                continue
            low, item = choice
            path.append(self._place(item, low, unplaced))
            if not unplaced:
                self.peak = max(self._height)
                self.best = {self._names[placed]: offset for placed, offset, _ in path}
                if self.peak <= self._enough:
                    return
            if not unplaced or not self._possible(low):
                self._take_back(path.pop(), unplaced)
                continue
            self._effort -= len(unplaced) + len(self._height)
            if self._effort < 0:
                return
            siblings.append(iter(self._candidates(unplaced, low, item)))
        self.exhausted = True

    def _candidates(self, unplaced: list[int], floor: int, previous: int) -> list[tuple[int, int]]:
        """(offset, item) of everything worth placing next, lowest first."""
        lowest: list[tuple[int, int]] = []
        ceiling = self.peak
        for item in unplaced:
            align = self._aligns[item]
            low = -(-max(self._height[self._first[item] : self._end[item]]) // align) * align
            low = lifted(low, self._sizes[item], self._seams)
            top = low + self._sizes[item]
            if top >= self.peak:
                return []
            ceiling = min(ceiling, top)
            lowest.append((low, item))
        chosen = []
        shapes = set()
        for low, item in lowest:
            # Interchangeable buffers are placed in the order of their numbers.
            if self._shape[item] in shapes:
                continue
            shapes.add(self._shape[item])
            # Canonical order: by offset, then number. What leaves room for another buffer below is never better.
            if (low, item) > (floor, previous) and low < ceiling:
                chosen.append((low, item))
        chosen.sort()
        return chosen

    def _place(self, item: int, low: int, unplaced: list[int]) -> tuple[int, int, list[int]]:
        first, end = self._first[item], self._end[item]
        saved = self._height[first:end]
        self._height[first:end] = [low + self._sizes[item]] * (end - first)
        self._pend(item, -self._sizes[item])
        unplaced.remove(item)
        return item, low, saved

    def _take_back(self, placed: tuple[int, int, list[int]], unplaced: list[int]) -> None:
        item, _, saved = placed
        self._height[self._first[item] : self._end[item]] = saved
        self._pend(item, self._sizes[item])
        insort(unplaced, item)

    def _pend(self, item: int, amount: int) -> None:
        for step in range(self._first[item], self._end[item]):
            self._pending[step] += amount

    def _possible(self, floor: int) -> bool:
        """Whether what is still to come can fit below the best peak at every step."""
        return all(
            max(height, floor) + pending < self.peak
            for height, pending in zip(self._height, self._pending, strict=True)
            if pending
        )
