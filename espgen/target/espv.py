"""Levels of Espressif's vector instruction set: what a chip has, and what a component is made for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from types import MappingProxyType


class Level(Enum):
    """The instruction set of a chip; words of one level mean something else at the other.

    V21 is ESPV 2.1 (ESP32-P4 before revision 3), V22 is ESPV 2.2 (revision 3 and later). The value is the number
    that sources (``ESPGEN_ESPV``), the symbol ``espgen_espv`` and the simulator's ``--espv`` use.
    """

    V21 = 21
    V22 = 22

    @property
    def version(self) -> str:
        """The vendor's name of the level: "2.1" or "2.2"."""
        return f"{self.value // 10}.{self.value % 10}"


class Levels(Enum):
    """The levels that one text is made for: one of them, or both with one meaning."""

    V21 = (Level.V21,)
    V22 = (Level.V22,)
    BOTH = (Level.V21, Level.V22)

    @classmethod
    def of(cls, numbers: Sequence[int]) -> Levels:
        """The member for a chip's levels, such as (21, 22); ValueError for anything else."""
        return cls(tuple(map(Level, numbers)))


SATURATION: Mapping[str, int] = MappingProxyType({"trunc": 0, "sat": 1})
"""Keyword of an optional saturation operand -> value."""

ROUNDING: Mapping[str, int] = MappingProxyType(
    {name: mode for mode, name in enumerate(("rdn", "rup", "raz", "rtz", "rhaz", "rhtz", "rne", "dyn"))}
)
"""Keyword of an optional rounding operand -> value: the modes of CFG.vxrm, and ``dyn`` for the one that CFG holds."""

KEYWORDS: Mapping[str, Mapping[str, int]] = MappingProxyType({"sat": SATURATION, "rm": ROUNDING})
"""Kind of an optional operand -> its keywords."""

DEFAULTS: Mapping[str, int] = MappingProxyType({"sat": SATURATION["sat"], "rm": ROUNDING["dyn"]})
"""Kind of an optional operand -> what the assembler encodes where it is left out."""
