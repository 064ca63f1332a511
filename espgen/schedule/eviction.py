"""Which buffers leave the fastest tier when they do not all fit, at the least price of accesses.

Branch and bound: at the fullest step, the buffer that frees most bytes per price either leaves or is pinned. The
bound is the dearest overfull step, relaxed to fractions of buffers (a fractional knapsack). Packing decides
whether what stays really fits. Bounded by counts, hence deterministic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from espgen.errors import EspgenError
from espgen.schedule.buffers import Buffer, Tier
from espgen.schedule.packing import Packing, load_bound, pack


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
    outside = [buffer for buffer in buffers if buffer.tiers and tier.name not in buffer.tiers]
    movable = [buffer for buffer in buffers if buffer not in outside]
    search = _Search(movable, tier, slower, effort)
    search.run()
    if search.packing is None:
        must_stay = [buffer for buffer in movable if buffer.tiers == (tier.name,) or not slower]
        raise _does_not_fit(must_stay, tier)
    stays = [buffer for buffer in movable if buffer.name not in search.leaves]
    packing = pack(stays, effort=effort) if not search.leaves else search.packing
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
        self._buffers, self._capacity, self._effort = buffers, tier.capacity, effort
        self._last_effort = -10 * effort
        self._pack_effort = max(effort // 20, 1)
        self._price = {buffer.name: _price(buffer, tier, slower) for buffer in buffers}
        self._fixed = {buffer.name for buffer in buffers if buffer.tiers == (tier.name,) or not slower}
        self._steps = sorted({buffer.first for buffer in buffers})
        self._cost = 0
        self._complete = True

    def run(self) -> None:
        """Depth first, moving out before pinning."""
        root_bound = self._bound(frozenset(), frozenset(self._fixed))
        stack = [(frozenset[str](), frozenset(self._fixed), 0)]
        while stack:
            out, pinned, cost = stack.pop()
            if self._effort < (0 if self.packing else self._last_effort):
                self._complete = False
                break
            self._effort -= 4 * len(self._buffers)
            bound = self._bound(out, pinned)
            if bound is None or (self.packing is not None and cost + bound >= self._cost):
                continue
            stack += self._branches(out, pinned, cost)
        if self.packing is not None and not self._complete:
            self.slack = self._cost - (root_bound or 0)

    def _branches(
        self, out: frozenset[str], pinned: frozenset[str], cost: int
    ) -> list[tuple[frozenset[str], frozenset[str], int]]:
        """The two children, the more promising one last; none where the state is a solution or hopeless."""
        stays = [buffer for buffer in self._buffers if buffer.name not in out]
        if load_bound(stays) <= self._capacity:
            packing = pack(stays, enough=self._capacity, effort=self._pack_effort)
            if packing.peak <= self._capacity:
                self.leaves, self.packing, self._cost = out, packing, cost
                return []
            self._complete = self._complete and packing.optimal
        step = max(self._steps, key=lambda step: (self._load(stays, step), -step))
        movable = [b for b in stays if b.first <= step <= b.last and b.name not in pinned]
        movable = movable or [b for b in stays if b.name not in pinned]
        if not movable:
            return []
        pick = max(movable, key=lambda b: (b.occupied / (self._price[b.name] + 1), b.occupied, b.name))
        return [
            (out, pinned | {pick.name}, cost),
            (out | {pick.name}, pinned, cost + self._price[pick.name]),
        ]

    @staticmethod
    def _load(stays: Sequence[Buffer], step: int) -> int:
        return sum(buffer.occupied for buffer in stays if buffer.first <= step <= buffer.last)

    def _bound(self, out: frozenset[str], pinned: frozenset[str]) -> int | None:
        """Least further price of any solution below this state; None where there is none."""
        stays = [buffer for buffer in self._buffers if buffer.name not in out]
        worst = 0
        for step in self._steps:
            live = [buffer for buffer in stays if buffer.first <= step <= buffer.last]
            excess = sum(buffer.occupied for buffer in live) - self._capacity
            if excess <= 0:
                continue
            free = [(self._price[b.name], b.occupied) for b in live if b.name not in pinned and b.occupied]
            price = _fractional(free, excess)
            if price is None:
                return None
            worst = max(worst, price)
        return worst


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

