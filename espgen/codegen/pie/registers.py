"""Typed registers: PIE vectors `Q(0)`..`Q(7)`, integer registers under their ABI names, and floats nobody need save."""

from __future__ import annotations

from dataclasses import dataclass

from espgen.errors import Defect, Refused
from espgen.target.isa import ABI_NAMES, PIE_REACHABLE


@dataclass(frozen=True)
class Q:
    """A 128-bit PIE register, number 0..7."""

    number: int

    def __post_init__(self) -> None:
        if not 0 <= self.number < 8:
            raise Defect(f"there is no PIE register q{self.number}")

    def __str__(self) -> str:
        return f"q{self.number}"


@dataclass(frozen=True)
class X:
    """An integer register, number 0..31; printed by its ABI name."""

    number: int

    def __post_init__(self) -> None:
        if not 0 <= self.number < 32:
            raise Defect(f"there is no integer register x{self.number}")

    def __str__(self) -> str:
        return ABI_NAMES[self.number]

    @property
    def reachable(self) -> bool:
        """Whether PIE instructions can name it."""
        return self.number in PIE_REACHABLE

    @property
    def callee_saved(self) -> bool:
        """Whether a function must restore it (s0..s11)."""
        return self.number in (8, 9, *range(18, 28))


@dataclass(frozen=True)
class F:
    """A float register the ABI lets every function change, number 0..15: ft0..ft7, fa0..fa7."""

    number: int

    def __post_init__(self) -> None:
        if not 0 <= self.number < 16:
            raise Defect(f"there is no free float register {self.number}")

    def __str__(self) -> str:
        return f"ft{self.number}" if self.number < 8 else f"fa{self.number - 8}"


ZERO, RA, SP = X(0), X(1), X(2)
T0, T1, T2 = X(5), X(6), X(7)
S0, S1 = X(8), X(9)
A0, A1, A2, A3, A4, A5, A6, A7 = (X(number) for number in range(10, 18))
S2, S3, S4, S5, S6, S7, S8, S9, S10, S11 = (X(number) for number in range(18, 28))
T3, T4, T5, T6 = (X(number) for number in range(28, 32))

PIE_POOL: tuple[X, ...] = (A0, A1, A2, A3, A4, A5, T3, T4, T5, T6, S0, S1, S8, S9, S10, S11)
"""Registers PIE can name, those that need no saving first."""

PLAIN_POOL: tuple[X, ...] = (A6, A7, T0, T1, T2, S2, S3, S4, S5, S6, S7, RA)
"""Registers for everything else, those that need no saving first."""


class Pool:
    """Hands out registers, each once.

    `take()` prefers registers that cost no save; `plain()` keeps PIE-reachable ones for those who need them.
    """

    def __init__(self, exclude: tuple[X, ...] = ()) -> None:
        self._pie = [register for register in PIE_POOL if register not in exclude]
        self._plain = [register for register in PLAIN_POOL if register not in exclude]

    @property
    def left(self) -> int:
        """PIE-reachable registers not yet handed out."""
        return len(self._pie)

    @property
    def plain_left(self) -> int:
        """Other registers not yet handed out."""
        return len(self._plain)

    def take(self) -> X:
        """A register PIE instructions can name; raises Refused when none is left."""
        if not self._pie:
            raise Refused("kernel needs more than 16 PIE-reachable registers")
        return self._pie.pop(0)

    def plain(self) -> X:
        """A register for scalar instructions only (a PIE-reachable one when the others are used up)."""
        return self._plain.pop(0) if self._plain else self.take()

    def give_back(self, register: X) -> None:
        """Return a register that is dead."""
        (self._pie if register.reachable else self._plain).insert(0, register)
