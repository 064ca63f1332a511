"""The memory planner: every buffer gets a tier and an offset at compile time, with a statement of how good that is.

Two questions, in this order:
1. Which buffers must leave the fastest tier because they do not all fit? Branch and bound over what to move out at
   overfull steps, minimising the price of the accesses made to slower tiers.
2. Where does each buffer go within its tier? `packing`, which minimises the bytes used.
Both searches are bounded by counts, not by time, so that the same input gives the same plan on every machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from espgen.errors import Defect, EspgenError
from espgen.schedule.buffers import Buffer, Placement, Plan, Tier
from espgen.schedule.eviction import Choice, choose
from espgen.schedule.packing import DEFAULT_EFFORT

UNLIMITED = Tier("internal", 1 << 40)


def plan(
    buffers: Sequence[Buffer], tiers: Sequence[Tier] = (UNLIMITED,), *, effort: int = DEFAULT_EFFORT
) -> Plan:
    """Place all buffers in the tiers, fastest tier first.

    Minimises the price of accesses (`Tier.cost` per byte), then the bytes used of each tier. Buffers that name a
    buffer they `replace` take over its place where that helps. Raises EspgenError where a buffer fits nowhere.
    """
    _check(buffers, tiers)
    best = _plan_groups(buffers, _singles(buffers), tiers, effort)
    if any(buffer.replaces for buffer in buffers):
        in_place = _plan_groups(buffers, _chains(buffers), tiers, effort)
        if (in_place.cost, in_place.peak) <= (best.cost, best.peak):
            best = in_place
        best = _against_relaxed_bounds(best, buffers, tiers, effort)
    return best


@dataclass(frozen=True)
class _Group:
    """Buffers that share one place, as the one buffer that covers them."""

    cover: Buffer
    members: tuple[str, ...]


def _singles(buffers: Iterable[Buffer]) -> list[_Group]:
    return [_Group(buffer, (buffer.name,)) for buffer in buffers]


def _chains(buffers: Sequence[Buffer]) -> list[_Group]:
    """Each buffer together with those that take over its place one after the other."""
    by_name = {buffer.name: buffer for buffer in buffers}
    followers = {b.replaces: b for b in buffers if b.replaces in by_name and _compatible(b, by_name[b.replaces])}
    started = {follower.name for follower in followers.values()}
    groups = []
    for buffer in buffers:
        if buffer.name in started:
            continue
        members = [buffer]
        while members[-1].name in followers:
            members.append(followers[members[-1].name])
        cover = replace(
            buffer,
            size=max(member.size for member in members),
            last=max(member.last for member in members),
            align=max(member.align for member in members),
            accesses=sum(member.accesses for member in members),
        )
        groups.append(_Group(cover, tuple(member.name for member in members)))
    return groups


def _compatible(new: Buffer, old: Buffer) -> bool:
    return new.tiers == old.tiers and old.last == new.first and new.last > new.first


def _plan_groups(buffers: Sequence[Buffer], groups: Sequence[_Group], tiers: Sequence[Tier], effort: int) -> Plan:
    choice = choose([group.cover for group in groups], tiers, effort)
    placements = {
        member: Placement(member, choice.tiers[group.cover.name], choice.offsets[group.cover.name])
        for group in groups
        for member in group.members
    }
    return Plan(
        placements=tuple(placements[buffer.name] for buffer in buffers),
        peaks=choice.peaks,
        lower_bound=choice.lower_bound,
        cost=choice.cost,
        cost_bound=choice.cost_bound,
        status=_status(choice),
    )


def _status(choice: Choice) -> str:
    peak = next(iter(choice.peaks.values()))
    return status(peak, choice.lower_bound, choice.cost, choice.cost_bound)


def status(peak: int, lower_bound: int, cost: int, cost_bound: int) -> str:
    """What the figures prove. Where something had to leave the fastest tier, the price is what counts."""
    value, bound = (cost, cost_bound) if cost else (peak, lower_bound)
    if value <= bound:
        return "optimal"
    return f"gap {100.0 * (value - bound) / max(value, 1):.1f} %"


def _against_relaxed_bounds(best: Plan, buffers: Sequence[Buffer], tiers: Sequence[Tier], effort: int) -> Plan:
    """With in-place pairs, what is proved is a bound on a problem in which every pair shares what it can share.

    Any plan, whichever pairs it joins, is a plan for buffers of which the smaller of each pair is not needed during the
    step of the takeover.
    """
    relaxed = choose(_relaxed(buffers), tiers, effort)
    cost_bound = min(best.cost, relaxed.cost_bound)
    lower_bound = min(best.peak, relaxed.lower_bound)
    proved = status(best.peak, lower_bound, best.cost, cost_bound)
    return replace(best, lower_bound=lower_bound, cost_bound=cost_bound, status=proved)


def _relaxed(buffers: Sequence[Buffer]) -> list[Buffer]:
    by_name = {buffer.name: buffer for buffer in buffers}
    later: dict[str, int] = {}
    earlier: dict[str, int] = {}
    for new in buffers:
        old = by_name.get(new.replaces or "")
        if old is not None and _compatible(new, old):
            if old.occupied > new.occupied:
                later[new.name] = new.first + 1
            else:
                earlier[old.name] = old.last - 1
    result = []
    for buffer in buffers:
        first, last = later.get(buffer.name, buffer.first), earlier.get(buffer.name, buffer.last)
        needed = first <= last
        result.append(replace(buffer, first=first, last=last) if needed else replace(buffer, size=0))
    return result


def _check(buffers: Sequence[Buffer], tiers: Sequence[Tier]) -> None:
    known = {tier.name for tier in tiers}
    seen: set[str] = set()
    for buffer in buffers:
        if buffer.name in seen:
            raise Defect(f"buffer {buffer.name!r} is listed twice")
        seen.add(buffer.name)
        if buffer.last < buffer.first or buffer.size < 0 or buffer.align < 1 or buffer.align & (buffer.align - 1):
            raise Defect(f"buffer {buffer.name!r} has no valid life, size or alignment")
        if not set(buffer.tiers) <= known:
            raise Defect(f"buffer {buffer.name!r} asks for a tier that does not exist")
        allowed = [tier for tier in tiers if not buffer.tiers or tier.name in buffer.tiers]
        if all(buffer.occupied > tier.largest for tier in allowed):
            raise EspgenError(
                f"a buffer of {buffer.size} bytes is larger than the memory it may use",
                place=buffer.name,
                hint="give it more memory (--internal-ram, --psram), or use a smaller input",
            )
