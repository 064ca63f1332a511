"""Which buffers leave the fastest tier when they do not all fit, at the least price of accesses.

Overfull steps that share no buffer decide independently of each other. Branch and bound: at the dearest overfull step, the
buffer that frees most bytes per price either leaves or is pinned. The bound is what the dearest overfull step costs by itself,
relaxed to fractions of buffers (a fractional knapsack), or, in a memory of several pieces, with its largest buffers alone,
none of which may be cut (`pieces`). Packing decides whether what stays really fits. Bounded by counts, hence deterministic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from espgen.errors import EspgenError
from espgen.schedule.buffers import Buffer, Tier
from espgen.schedule.packing import Packing, load_bound, pack
from espgen.schedule.pieces import least_price


@dataclass(frozen=True)
class Choice:
    """Tier and offset per buffer name, bytes used per tier, price, and the bounds proved for bytes and price."""

    tiers: dict[str, str]
    offsets: dict[str, int]
    peaks: dict[str, int]
    lower_bound: int
    cost: int
    cost_bound: int


def choose(buffers: Sequence[Buffer], tiers: Sequence[Tier], effort: int) -> Choice:
    """Distribute `buffers` over `tiers`, fastest first. Raises EspgenError where they do not fit at all."""
    tier, slower = tiers[0], tiers[1:]
    outside = [buffer for buffer in buffers if not _may_stay(buffer, tier)]
    movable = [buffer for buffer in buffers if buffer not in outside]
    search = _Search(movable, tier, slower, effort)
    search.run()
    if search.packing is None:
        must_stay = [buffer for buffer in movable if buffer.tiers == (tier.name,) or not slower]
        raise _does_not_fit(must_stay, tier)
    stays = [buffer for buffer in movable if buffer.name not in search.leaves]
    packing = pack(stays, effort=effort, seams=tier.seams) if not search.leaves else search.packing
    rest = [buffer for buffer in buffers if buffer in outside or buffer.name in search.leaves]
    cost = sum(buffer.accesses for buffer in stays) * tier.cost
    choice = Choice(
        tiers={buffer.name: tier.name for buffer in stays},
        offsets=dict(packing.offsets),
        peaks={tier.name: packing.peak},
        lower_bound=packing.lower_bound,
        cost=cost,
        cost_bound=cost,
    )
    if not slower:
        return choice
    return _joined(choice, choose(rest, slower, effort), search.slack)


def _may_stay(buffer: Buffer, tier: Tier) -> bool:
    return (not buffer.tiers or tier.name in buffer.tiers) and buffer.occupied <= tier.largest


def _joined(fast: Choice, slow: Choice, slack: int) -> Choice:
    return Choice(
        tiers={**fast.tiers, **slow.tiers},
        offsets={**fast.offsets, **slow.offsets},
        peaks={**fast.peaks, **slow.peaks},
        lower_bound=fast.lower_bound,
        cost=fast.cost + slow.cost,
        cost_bound=fast.cost + slow.cost_bound - slack,
    )


def _does_not_fit(buffers: Sequence[Buffer], tier: Tier) -> EspgenError:
    return EspgenError(
        f"the model needs at least {load_bound(buffers)} bytes of {tier.name} memory, {tier.capacity} are available",
        place="memory planner",
        hint="allow more memory or a further tier, or use a smaller input",
    )


class _Search:
    """Finds `leaves`, the names that move to a slower tier, and `packing` of the rest (None where nothing fits).

    `slack` is how much cheaper the best solution might be: 0 when the search is exhausted.
    """

    def __init__(self, buffers: Sequence[Buffer], tier: Tier, slower: Sequence[Tier], effort: int) -> None:
        self.leaves: frozenset[str] = frozenset()
        self.packing: Packing | None = None
        self.slack = 0
        self._buffers, self._capacity, self._seams, self._effort = buffers, tier.capacity, tier.seams, effort
        self._pieces = tier.pieces
        self._in_pieces: dict[tuple[frozenset[str], frozenset[str]], tuple[int, int] | None] = {}
        self._price = {buffer.name: _price(buffer, tier, slower) for buffer in buffers}
        self._fixed = frozenset(b.name for b in buffers if b.tiers == (tier.name,) or not slower)
        self._occupied = {buffer.name: buffer.occupied for buffer in buffers}
        self._live = _cliques(buffers)
        self._cost = 0

    def run(self) -> None:
        """Groups of overfull steps one by one, by load alone; where that does not pack, everything at once."""
        effort, least = self._effort, 0
        leaves: frozenset[str] = frozenset()
        for steps in self._overfull_groups():
            found, lowest = self._cheapest(steps, lambda _out: _FITS)
            if found is None:
                return
            leaves, least = leaves | found, least + lowest
        packing = self._packed(leaves)
        if packing.peak > self._capacity:
            self._effort = effort
            found, lowest = self._cheapest(self._live, self._packed)
            if found is None:
                return
            leaves, least, packing = found, max(least, lowest), self._packed(found)
        self.leaves, self.packing, self.slack = leaves, packing, self._cost_of(leaves) - least

    def _overfull_groups(self) -> list[list[frozenset[str]]]:
        """Overfull steps that share buffers, directly or through each other: groups that decide independently."""
        groups: list[tuple[set[str], list[frozenset[str]]]] = []
        for live in self._live:
            if self._least(live, self._fixed) == (0, False):
                continue
            touched = [group for group in groups if group[0] & live]
            groups = [group for group in groups if group not in touched]
            names = set(live).union(*(names for names, _ in touched))
            groups.append((names, [step for _, steps in touched for step in steps] + [live]))
        return [steps for _, steps in groups]

    def _cheapest(
        self, steps: Sequence[frozenset[str]], pack_rest: Callable[[frozenset[str]], Packing]
    ) -> tuple[frozenset[str] | None, int]:
        """What to move out of `steps` at the least price (None where nothing was found), and a bound on that price.

        `pack_rest` has the last word on a set that fits by load. Depth first, moving out before pinning.
        """
        best: frozenset[str] | None = None
        best_price, complete = 0, True
        root = self._bound(steps, frozenset(), self._fixed)[0] or 0
        stack = [(frozenset[str](), self._fixed, 0)]
        while stack:
            out, pinned, price = stack.pop()
            if self._effort < (0 if best is not None else -_PATIENCE):
                return best, root
            self._effort -= len(steps) + len(self._buffers)
            bound, fullest, overfull = self._bound(steps, out, pinned)
            if bound is None or (best is not None and price + bound >= best_price):
                continue
            if not overfull:
                packing = pack_rest(out)
                if packing.peak <= self._capacity:
                    best, best_price = out, price
                    continue
                complete = complete and packing.lower_bound > self._capacity
            movable = [name for name in fullest if name not in pinned]
            movable = movable or [name for live in steps for name in live if name not in pinned and name not in out]
            if movable:
                pick = max(movable, key=lambda name: (self._occupied[name] / (self._price[name] + 1), name))
                stack.append((out, pinned | {pick}, price))
                stack.append((out | {pick}, pinned, price + self._price[pick]))
        return best, best_price if complete else root

    def _bound(
        self, steps: Sequence[frozenset[str]], out: frozenset[str], pinned: frozenset[str]
    ) -> tuple[int | None, frozenset[str], bool]:
        """Least further price of any solution below this state (None where there is none), the dearest overfull step, else the
        fullest, and whether a step is overfull."""
        worst, chosen = (False, 0, -1), frozenset[str]()
        for step in steps:
            live = step - out
            least = self._least(live, pinned)
            if least is None:
                return None, live, True
            rank = (least[1], least[0], sum(self._occupied[name] for name in live))
            if rank > worst:
                worst, chosen = rank, live
        return worst[1], chosen, worst[0]

    def _least(self, live: frozenset[str], pinned: frozenset[str]) -> tuple[int, bool] | None:
        """Least price of what must leave of the buffers live at one step, and whether any must; None where it cannot fit."""
        excess = sum(self._occupied[name] for name in live) - self._capacity
        free = [(self._price[name], self._occupied[name]) for name in live - pinned if self._occupied[name]]
        by_load = 0 if excess <= 0 else _fractional(free, excess)
        if by_load is None:
            return None
        if len(self._pieces) < 2:
            return by_load, excess > 0
        case = (live, pinned & live)
        if case not in self._in_pieces:
            items = [(self._occupied[name], None if name in pinned else self._price[name]) for name in live]
            self._in_pieces[case] = least_price(items, self._pieces)
        whole = self._in_pieces[case]
        return None if whole is None else (max(by_load, whole[0]), excess > 0 or whole[1] > 0)

    def _packed(self, out: frozenset[str]) -> Packing:
        self._effort -= _PACKING_EFFORT // 2
        stays = [buffer for buffer in self._buffers if buffer.name not in out]
        return pack(stays, enough=self._capacity, effort=_PACKING_EFFORT, seams=self._seams)

    def _cost_of(self, names: frozenset[str]) -> int:
        return sum(self._price[name] for name in names)


_FITS = Packing({}, 0, 0)
_PACKING_EFFORT = 20_000
_PATIENCE = 4_000_000
"""How far beyond its effort a search goes that has found nothing yet."""


def _cliques(buffers: Sequence[Buffer]) -> list[frozenset[str]]:
    """The buffers live at each step, leaving out steps whose buffers are all live together at another."""
    found: list[frozenset[str]] = []
    for step in sorted({buffer.first for buffer in buffers}):
        live = frozenset(buffer.name for buffer in buffers if buffer.first <= step <= buffer.last)
        if found and found[-1] <= live:
            found.pop()
        found.append(live)
    return found


def _fractional(items: Sequence[tuple[int, int]], excess: int) -> int | None:
    """Least price (rounded down) of parts of items (price, bytes) that add up to `excess` bytes."""
    total = 0
    for price, size in sorted(items, key=lambda item: item[0] / item[1]):
        if size >= excess:
            return total + price * excess // size
        total += price
        excess -= size
    return None


def _price(buffer: Buffer, tier: Tier, slower: Sequence[Tier]) -> int:
    """Price of moving the buffer to the best slower tier it may use."""
    costs = [other.cost for other in slower if not buffer.tiers or other.name in buffer.tiers]
    return buffer.accesses * (min(costs) - tier.cost) if costs else 0
