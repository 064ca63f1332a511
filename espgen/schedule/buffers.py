"""What the memory planner places and what it answers: plain data, independent of graphs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Buffer:
    """Memory that is needed during the steps `first` to `last`, both included.

    size      bytes; occupied memory is `size` rounded up to `align`
    align     alignment of the address in bytes, a power of two
    tiers     names of the tiers it may live in; empty means any
    accesses  bytes read and written per inference, the price of a slow tier
    replaces  name of the buffer whose storage this one may take over in place: that buffer's `last` is this
              one's `first`, and the step that does it reads each element before it writes over it
    """

    name: str
    size: int
    first: int
    last: int
    align: int = 64
    tiers: tuple[str, ...] = ()
    accesses: int = 0
    replaces: str | None = None

    @property
    def occupied(self) -> int:
        """Bytes including the rounding up to the alignment."""
        return -(-self.size // self.align) * self.align

    def overlaps(self, other: Buffer) -> bool:
        """Whether both are needed during some step."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Tier:
    """A memory: how many bytes of it may be used, and what one byte of access costs relative to the others.

    seams  offsets, ascending, that no buffer may lie across: where one piece of the memory ends and another, elsewhere in
           the address space, begins. Multiples of every buffer's alignment.
    """

    name: str
    capacity: int
    cost: int = 0
    seams: tuple[int, ...] = ()

    @property
    def pieces(self) -> tuple[int, ...]:
        """Bytes between one seam and the next."""
        edges = (0, *(seam for seam in self.seams if seam < self.capacity), self.capacity)
        return tuple(end - start for start, end in pairwise(edges))

    @property
    def largest(self) -> int:
        """Bytes of the largest buffer that it can hold."""
        return max(self.pieces)


@dataclass(frozen=True)
class Placement:
    """Where a buffer lives: byte `offset` within tier `tier`."""

    name: str
    tier: str
    offset: int


@dataclass(frozen=True)
class Plan:
    """Placements of all buffers, and how good they are.

    peaks        bytes used of each tier
    peak         bytes used of the first (fastest) tier
    lower_bound  no plan that puts the same buffers into the first tier needs fewer bytes of it
    cost         sum of accesses * tier cost over all buffers
    cost_bound   no plan within the capacities costs less
    status       "optimal", or "gap x %": how far peak (or, where buffers had to leave the first tier, cost)
                 may be from the best
    """

    placements: tuple[Placement, ...]
    peaks: Mapping[str, int]
    lower_bound: int
    cost: int
    cost_bound: int
    status: str

    @property
    def peak(self) -> int:
        return next(iter(self.peaks.values()))

    @property
    def offsets(self) -> dict[str, int]:
        """Byte offset of each buffer within its tier."""
        return {placement.name: placement.offset for placement in self.placements}

    @property
    def tiers(self) -> dict[str, str]:
        """Tier of each buffer."""
        return {placement.name: placement.tier for placement in self.placements}
