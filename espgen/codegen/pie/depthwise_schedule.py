"""Where the operands of a depthwise convolution sit and when they are loaded.

A run of output pixels is a fixed sequence of instructions: four bias loads, one multiply-accumulate per tap, an
epilogue and a store for each pixel. Eight vector registers hold pinned weights and, by Belady's rule (evict what is
used last), everything else. Loads ride on multiply-accumulates where the register is free early enough and the value
is not needed by the very next instruction (earliest deadline first, which fills the most slots); of the others, some fill
the time that a pixel's accumulators take to be readable, and the rest become instructions of their own. The order of the
taps decides how much survives from one pixel to the next: it is found by a short deterministic search.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache

from espgen.target.core_costs import QACC_MAC_USE

Item = tuple[int, int]
"""(-1, weight) or (filter row, input column relative to the run's first pixel)."""

WEIGHT = -1
_BIAS_STEPS = 4
_NEVER = 1 << 30
_SAMPLE_PIXELS = 4
_EFFORT = 2700
"""Schedules tried, times taps."""
_MOST_PIXELS = 8
_MOST_MACS = 80


@dataclass(frozen=True)
class Geometry:
    """What a schedule depends on.

    Attributes:
        stride, dilation: along the row.
        extras: taps with a second multiply-accumulate (what a weight leaves of its zero point), whose weights are
            number taps, taps + 1, ..
        registers: vector registers free for operands.
        pinned: how many of them keep a weight through the whole row.
        clobbered: how many of the others the epilogue overwrites (all results appear in the first it is given).
        uniform: whether all taps have the same weight, number 0 (sums and averages).
    """

    kernel_h: int
    kernel_w: int
    stride: int
    dilation: int
    extras: tuple[int, ...]
    registers: int
    pinned: int
    clobbered: int
    uniform: bool = False

    @property
    def taps(self) -> int:
        """Filter positions."""
        return self.kernel_h * self.kernel_w


@dataclass(frozen=True)
class Load:
    """Bring an item into a register."""

    item: Item
    register: int


@dataclass(frozen=True)
class Bias:
    """Load a quarter of the accumulators, number 0..3."""

    part: int


@dataclass(frozen=True)
class Mac:
    """Multiply-accumulate of two registers, with a load in the same instruction or none."""

    weight: int
    value: int
    load: Load | None


@dataclass(frozen=True)
class Finish:
    """Requantize into the first of `registers`, overwriting all of them, and store."""

    registers: tuple[int, ...]


Step = Load | Bias | Mac | Finish


@dataclass(frozen=True)
class Order:
    """The order of taps in even and odd pixels, and the weights that stay in registers."""

    even: tuple[int, ...]
    odd: tuple[int, ...]
    pinned: tuple[int, ...]


@dataclass(frozen=True)
class Run:
    """The steps of `pixels` neighbouring pixels, the weights kept in registers 0.., and the order of the other loads."""

    pixels: int
    pinned: tuple[int, ...]
    steps: tuple[Step, ...]
    cost: int

    @property
    def streamed(self) -> tuple[int, ...]:
        """Weights in the order they are loaded."""
        loads = [step.load if isinstance(step, Mac) else step for step in self.steps]
        return tuple(load.item[1] for load in loads if isinstance(load, Load) and load.item[0] == WEIGHT)


@dataclass
class _Request:
    """A load to place: not before fixed step `earliest` (in it where that is a Mac), needed by step `use`."""

    item: Item
    register: int
    earliest: int
    use: int


@lru_cache(maxsize=256)
def plan_run(geometry: Geometry, pixels: int) -> Run:
    """The run of `pixels` pixels by the order found for this geometry."""
    return _schedule(geometry, pixels, _best_order(geometry))


@dataclass(frozen=True)
class Row:
    """An output row: `trips` times the run `main`, then the run `rest` where pixels are left over."""

    main: Run
    trips: int
    rest: Run | None

    @property
    def cost(self) -> int:
        """Cycles of the steps of a row."""
        return self.main.cost * self.trips + (self.rest.cost + 2 if self.rest else 0)


def plan_row(geometry: Geometry, width: int) -> Row:
    """The cheapest split of a row of `width` pixels into equal runs and a rest."""
    most = max(1, min(width, _MOST_PIXELS, _MOST_MACS // geometry.taps))
    rows = []
    for pixels in range(1, most + 1):
        rest = width % pixels
        rows.append(
            Row(plan_run(geometry, pixels), width // pixels, plan_run(geometry, rest) if rest else None)
        )
    return min(rows, key=lambda row: row.cost)


@lru_cache(maxsize=64)
def _best_order(geometry: Geometry) -> Order:
    """The order of taps with the cheapest sample run: systematic ones first, then random exchanges (seeded)."""
    candidates = _systematic(geometry)
    best_order = min(candidates, key=lambda order: _schedule(geometry, _SAMPLE_PIXELS, order).cost)
    best = _schedule(geometry, _SAMPLE_PIXELS, best_order).cost
    dice = random.Random(geometry.taps)
    for _ in range(_EFFORT // geometry.taps):
        candidate = _neighbour(geometry, best_order, dice)
        cost = _schedule(geometry, _SAMPLE_PIXELS, candidate).cost
        if cost <= best:
            best, best_order = cost, candidate
    return best_order


def _pinned_choice(geometry: Geometry, preferred: list[int]) -> tuple[int, ...]:
    if geometry.uniform:
        return (0,)
    return tuple(preferred[: geometry.pinned])


def _systematic(geometry: Geometry) -> list[Order]:
    """Row-wise and column-wise orders, odd pixels the same way or backwards."""
    height, width = geometry.kernel_h, geometry.kernel_w
    by_column = tuple(ky * width + kx for kx in range(width) for ky in range(height))
    by_row = tuple(range(geometry.taps))
    orders = []
    for taps in (by_row, by_column):
        for odd in (taps, tuple(reversed(taps))):
            for preferred in (taps, taps[1::2] + taps[::2], taps[::2] + taps[1::2]):
                orders.append(Order(taps, odd, _pinned_choice(geometry, list(preferred))))
    return orders


def _neighbour(geometry: Geometry, order: Order, dice: random.Random) -> Order:
    even, odd, pinned = list(order.even), list(order.odd), list(order.pinned)
    for _ in range(dice.choice((1, 1, 2, 3))):
        what = dice.randrange(3)
        if what < 2 and geometry.taps > 1:
            taps = even if what == 0 else odd
            taps.insert(dice.randrange(len(taps)), taps.pop(dice.randrange(len(taps))))
        elif not geometry.uniform and 0 < len(pinned) < geometry.taps:
            place = dice.randrange(len(pinned))
            pinned[place] = dice.choice([tap for tap in range(geometry.taps) if tap not in pinned])
    return Order(tuple(even), tuple(odd), tuple(pinned))


def _uses(geometry: Geometry, pixels: int, order: Order) -> list[tuple[Item, Item] | None | int]:
    """The fixed steps: (weight, input) of a Mac, an int for a part of the bias, None for a pixel's end."""
    steps: list[tuple[Item, Item] | None | int] = []
    for pixel in range(pixels):
        steps += range(_BIAS_STEPS)
        for tap in order.even if pixel % 2 == 0 else order.odd:
            ky, kx = divmod(tap, geometry.kernel_w)
            value = (ky, pixel * geometry.stride + kx * geometry.dilation)
            steps.append(((WEIGHT, 0 if geometry.uniform else tap), value))
            steps += [
                ((WEIGHT, geometry.taps + number), value) for number, of in enumerate(geometry.extras) if of == tap
            ]
        steps.append(None)
    return steps


def _schedule(geometry: Geometry, pixels: int, order: Order) -> Run:
    fixed = _uses(geometry, pixels, order)
    requests, operands = _allocate(geometry, fixed, order)
    fused, alone = _place(fixed, requests)
    steps: list[Step] = []
    for request in alone.get(-1, ()):
        steps.append(Load(request.item, request.register))
    for index, step in enumerate(fixed):
        if step is None:
            steps.append(Finish(operands[index]))
        elif isinstance(step, int):
            steps.append(Bias(step))
        else:
            load = fused.get(index)
            ride = None if load is None else Load(load.item, load.register)
            steps.append(Mac(operands[index][0], operands[index][1], ride))
        for request in alone.get(index, ()):
            steps.append(Load(request.item, request.register))
    return Run(pixels, order.pinned, tuple(steps), _cost(steps))


def _cost(steps: list[Step]) -> int:
    """Instructions, a Finish counted as two, stalls of values used right after their load and of accumulators read too soon."""
    cost, loaded, since_mac = 0, None, 0
    for step in steps:
        cost += 2 + max(0, QACC_MAC_USE - since_mac) if isinstance(step, Finish) else 1
        since_mac = 0 if isinstance(step, Mac) else since_mac + 1
        if isinstance(step, Mac):
            cost += loaded in (step.weight, step.value)
            loaded = step.load.register if step.load else None
        else:
            loaded = step.register if isinstance(step, Load) else None
    return cost


def _allocate(
    geometry: Geometry, fixed: list[tuple[Item, Item] | None | int], order: Order
) -> tuple[list[_Request], dict[int, tuple[int, ...]]]:
    """Registers of every Mac and Finish, and the loads this takes."""
    next_uses: dict[Item, list[int]] = {}
    for index in range(len(fixed) - 1, -1, -1):
        step = fixed[index]
        if isinstance(step, tuple):
            for item in step:
                next_uses.setdefault(item, []).append(index)
    pinned = {(WEIGHT, weight): register for register, weight in enumerate(order.pinned)}
    dynamic = range(len(order.pinned), geometry.registers)
    content: dict[int, Item | None] = dict.fromkeys(dynamic)
    touched = dict.fromkeys(dynamic, -1)
    requests: list[_Request] = []
    operands: dict[int, tuple[int, ...]] = {}

    def following(register: int) -> int:
        item = content[register]
        return next_uses[item][-1] if item is not None and next_uses[item] else _NEVER

    for index, step in enumerate(fixed):
        if step is None:
            # The result goes where the latest operand died: registers that died before can be loaded earlier.
            ranked = sorted(dynamic, key=lambda r: (following(r), touched[r]), reverse=True)
            taken = tuple(ranked[: max(1, geometry.clobbered)])
            for register in taken:
                content[register], touched[register] = None, index
            operands[index] = taken
        elif isinstance(step, tuple):
            places: list[int] = []
            for item in step:
                next_uses[item].pop()
            for item in step:
                place = pinned.get(item)
                if place is None:
                    place = next((r for r in dynamic if content[r] == item), None)
                if place is None:
                    busy = {*places, *(r for r in dynamic if content[r] in step)}
                    # Prefer a register that died longest ago, so that the load has the widest choice of places.
                    place = max(
                        (r for r in dynamic if r not in busy), key=lambda r: (following(r), -touched[r])
                    )
                    requests.append(_Request(item, place, touched[place], index))
                    content[place] = item
                places.append(place)
            for place in places:
                if place in touched:
                    touched[place] = index
            operands[index] = tuple(places)
    return requests, operands


def _place(
    fixed: list[tuple[Item, Item] | None | int], requests: list[_Request]
) -> tuple[dict[int, _Request], dict[int, list[_Request]]]:
    """Loads that ride on a Mac, and loads that follow a fixed step as instructions of their own."""
    waiting = sorted(requests, key=lambda request: request.use)
    fused: dict[int, _Request] = {}
    alone: dict[int, list[_Request]] = {}
    for index, step in enumerate(fixed):
        if isinstance(step, tuple):
            ready = [r for r in waiting if r.earliest <= index <= r.use - 2]
            if ready:
                fused[index] = min(ready, key=lambda r: r.use)
                waiting.remove(fused[index])
        if index + 1 < len(fixed) and isinstance(step, tuple) and fixed[index + 1] is None:
            alone[index] = [r for r in waiting if r.earliest <= index < r.use][:QACC_MAC_USE]
            waiting = [r for r in waiting if r not in alone[index]]
    for request in waiting:
        alone.setdefault(max(request.earliest, request.use - 2), []).append(request)
    return fused, alone
