"""Element-wise kernels without arithmetic: copies between storages, and the top bit of every element inverted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from espgen.codegen.pie.asm import Function
from espgen.codegen.pie.elementwise import StoreVector
from espgen.codegen.pie.packing import LANES
from espgen.codegen.pie.registers import Pool, Q, X

_MASK = Q(7)


@dataclass
class Copy:
    """y = x."""

    summary: str = "copy"
    unroll: int = 4
    misaligned_loads: bool = False

    def params(self) -> bytes:
        """See VectorBody."""
        return b""

    def setup(self, f: Function, pool: Pool, params: X) -> None:
        """See VectorBody."""

    def emit(self, f: Function, operands: tuple[X, ...], count: int, store: StoreVector) -> None:
        """See VectorBody."""
        for number in range(count):
            f("esp.vld.128.ip", Q(number), operands[0], LANES)
        for number in range(count):
            store(Q(number))


@dataclass
class FlipSign:
    """y = x with the top bit of every element of `element_bytes` bytes inverted."""

    element_bytes: int = 1
    summary: str = "x with its top bit inverted"
    unroll: int = 4
    misaligned_loads: bool = False

    def params(self) -> bytes:
        """See VectorBody."""
        dtype = {1: np.uint8, 2: np.uint16}[self.element_bytes]
        return np.full(LANES // self.element_bytes, 1 << (8 * self.element_bytes - 1), dtype).tobytes()

    def setup(self, f: Function, pool: Pool, params: X) -> None:
        """See VectorBody."""
        f("esp.vld.128.ip", _MASK, params, 0, note="top bits")

    def emit(self, f: Function, operands: tuple[X, ...], count: int, store: StoreVector) -> None:
        """See VectorBody."""
        for number in range(count):
            f("esp.vld.128.ip", Q(number), operands[0], LANES)
        for number in range(count):
            f("esp.xorq", Q(number), Q(number), _MASK)
        for number in range(count):
            store(Q(number))
