"""The proof of a memory plan: checks every pair of buffers, and shares no code with the planner.

What it relies on is only the meaning of the data: a buffer owns its bytes of its tier during the steps `first` to
`last`. Two buffers may touch the same bytes only if no step needs both, or if one takes the place of the other in
place: at the same offset, in the one step that ends the first life and begins the second.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from espgen.errors import Defect
from espgen.schedule.buffers import Buffer, Placement, Tier


def prove(buffers: Sequence[Buffer], placements: Iterable[Placement], tiers: Sequence[Tier] = ()) -> int:
    """Check a plan; returns the number of pairs that were compared.

    Raises Defect that names the buffers concerned: placed not exactly once, misaligned, outside its tier, in a
    tier it may not use, or overlapping another one in both time and space.
    """
    places: dict[str, Placement] = {}
    for placement in placements:
        if placement.name in places:
            raise _broken(f"buffer {placement.name!r} is placed twice", placement.name)
        places[placement.name] = placement
    unknown = places.keys() - {buffer.name for buffer in buffers}
    if unknown:
        raise _broken(f"{min(unknown)!r} is placed but is no buffer", min(unknown))
    for buffer in buffers:
        _prove_one(buffer, places.get(buffer.name), tiers)
    compared = 0
    for index, one in enumerate(buffers):
        for other in buffers[index + 1 :]:
            compared += 1
            _prove_pair(one, places[one.name], other, places[other.name])
    return compared


def _prove_one(buffer: Buffer, place: Placement | None, tiers: Sequence[Tier]) -> None:
    if place is None:
        raise _broken(f"buffer {buffer.name!r} has no place", buffer.name)
    if place.offset < 0 or place.offset % buffer.align:
        raise _broken(f"buffer {buffer.name!r} at {place.offset} is not aligned to {buffer.align}", buffer.name)
    if buffer.tiers and place.tier not in buffer.tiers:
        raise _broken(f"buffer {buffer.name!r} may not live in {place.tier}", buffer.name)
    capacities = {tier.name: tier.capacity for tier in tiers}
    if tiers and place.tier not in capacities:
        raise _broken(f"buffer {buffer.name!r} lives in {place.tier}, which does not exist", buffer.name)
    if tiers and place.offset + buffer.size > capacities[place.tier]:
        raise _broken(f"buffer {buffer.name!r} ends beyond {place.tier} ({capacities[place.tier]} bytes)", buffer.name)
    for seam in (seam for tier in tiers if tier.name == place.tier for seam in tier.seams):
        if place.offset < seam < place.offset + buffer.size:
            raise _broken(f"buffer {buffer.name!r} lies across the seam of {place.tier} at {seam}", buffer.name)


def _prove_pair(one: Buffer, here: Placement, other: Buffer, there: Placement) -> None:
    if here.tier != there.tier:
        return
    apart_in_space = here.offset + one.size <= there.offset or there.offset + other.size <= here.offset
    apart_in_time = one.last < other.first or other.last < one.first
    if apart_in_space or apart_in_time:
        return
    if _takes_over(one, here, other, there) or _takes_over(other, there, one, here):
        return
    steps = range(max(one.first, other.first), min(one.last, other.last) + 1)
    raise _broken(
        f"buffers {one.name!r} and {other.name!r} overlap in {here.tier} memory during steps {steps[0]}..{steps[-1]}",
        f"{one.name} at {here.offset}+{one.size}, {other.name} at {there.offset}+{other.size}",
    )


def _takes_over(new: Buffer, here: Placement, old: Buffer, there: Placement) -> bool:
    return new.replaces == old.name and old.last == new.first and here.offset == there.offset


def _broken(message: str, place: str) -> Defect:
    return Defect(f"{place}: {message}")
