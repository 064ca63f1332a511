"""Unary functions of int8 through 256 entries, gathered 16 at a time.

A gather (`esp.ldxq.32`) loads the word at base + 4 * index for one lane of indices, so an entry takes a word, in its low
byte; unzipping twice leaves these bytes. Indices are the input's bytes as they are: the table is in the order of unsigned ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from espgen.codegen.pie.asm import Function
from espgen.codegen.pie.elementwise import StoreVector
from espgen.codegen.pie.packing import LANES
from espgen.codegen.pie.registers import Pool, Q, X

_WORDS = tuple(Q(number) for number in range(4))
_INDICES = ((Q(4), Q(5)), (Q(6), Q(7)))
_PER_REGISTER = 4
_HALF = 8


@dataclass
class GatherTable:
    """y = entries[x + 128], int8 to int8."""

    entries: npt.NDArray[np.int8]
    summary: str = "table of 256 int8"
    unroll: int = len(_INDICES)
    misaligned_loads: bool = False
    base: X = field(init=False)

    def params(self) -> bytes:
        """One word per entry, in the order of the inputs' bytes."""
        return np.roll(self.entries, 128).astype("<i4").tobytes()

    def setup(self, f: Function, pool: Pool, params: X) -> None:
        """See VectorBody."""
        self.base = pool.take()
        f("mv", self.base, params, note="the entry of 0")

    def emit(self, f: Function, operands: tuple[X, ...], count: int, store: StoreVector) -> None:
        """See VectorBody."""
        for low, high in _INDICES[:count]:
            f("esp.vldext.u8.ip", low, high, operands[0], LANES, note="16 inputs as indices")
        for low, high in _INDICES[:count]:
            # Registers take turns: no gather waits for the one before it.
            for lane in range(_PER_REGISTER):
                for number, words in enumerate(_WORDS):
                    index = _PER_REGISTER * number + lane
                    f("esp.ldxq.32", words, (low, high)[index // _HALF], self.base, lane, index % _HALF)
            f("esp.vunzip.16", _WORDS[0], _WORDS[1], note="the low halves of the words")
            f("esp.vunzip.16", _WORDS[2], _WORDS[3])
            f("esp.vunzip.8", _WORDS[0], _WORDS[2], note="and of these the low bytes")
            store(_WORDS[0])
