"""Unary functions of int8 through 256 entries, eight elements at a time in integer registers.

There is no vector load by index; loads of eight elements in a row hide each other's latency.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from espgen.codegen.pie.asm import Function
from espgen.codegen.pie.registers import A0, A1, A2, A3, Pool, X
from espgen.codegen.pie.spec import PieKernel

_TOGETHER = 8
_MIDDLE = 128


@dataclass(frozen=True, eq=False)
class TableSpec:
    """y = entries[x + 128] over rows of `pixels` pixels of `channels` int8 elements.

    `entries` are int8 or int16; pitches are bytes from pixel to pixel.
    """

    entries: npt.NDArray[np.int8] | npt.NDArray[np.int16]
    pixels: int
    channels: int
    in_pitch: int
    out_pitch: int

    @property
    def run(self) -> tuple[int, int]:
        """(pixels, channels) with pixels that follow each other without gaps made one."""
        size = self.entries.itemsize
        if self.in_pitch == self.channels and self.out_pitch == self.channels * size:
            return 1, self.pixels * self.channels
        return self.pixels, self.channels


def table_kernel(spec: TableSpec, *, hardware_loops: bool = True) -> PieKernel:
    """The kernel of a table; the entries come through the constants, so that all tables of a shape share the code."""
    digest = hashlib.sha256(_function("kernel", spec, hardware_loops).text().encode()).hexdigest()[:8]
    name = f"espgen_table_{spec.pixels}x{spec.channels}_{digest}"
    function = _function(name, spec, hardware_loops)
    return PieKernel(name, function.text(), spec.entries.tobytes(), function, 0)


def _function(symbol: str, spec: TableSpec, hardware_loops: bool) -> Function:
    f = Function(
        symbol,
        f"{symbol}: table of 256 int{8 * spec.entries.itemsize}, {spec.pixels} pixels of {spec.channels} channels per row\n"
        "a0 out_rows, a1 in_rows, a2 params, a3 rows",
        hardware_loops=hardware_loops,
    )
    _Writer(f, spec).emit()
    return f


class _Writer:
    """Writes one function."""

    def __init__(self, f: Function, spec: TableSpec) -> None:
        self.f, self.spec = f, spec
        pool = Pool(exclude=(A0, A1, A2, A3))
        self.size = spec.entries.itemsize
        self.source, self.target, self.pixel, self.counter, self.far = (pool.plain() for _ in range(5))
        self.values = [pool.plain() for _ in range(_TOGETHER)]
        f("addi", A2, A2, _MIDDLE * self.size, note="the entry of 0")

    def emit(self) -> None:
        """Write the loops."""
        f = self.f
        pixels, channels = self.spec.run
        trips, rest = divmod(channels, _TOGETHER)
        with f.repeat("rows", A3):
            f("lw", self.source, 0, A1)
            f("lw", self.target, 0, A0)
            f("addi", A1, A1, 4)
            f("addi", A0, A0, 4)
            with f.repeat(pixels, self.pixel):
                if trips:
                    with f.loop(trips, self.counter):
                        self._elements(_TOGETHER)
                        f("addi", self.source, self.source, _TOGETHER)
                        f("addi", self.target, self.target, _TOGETHER * self.size)
                self._elements(rest)
                if pixels > 1:
                    self._add(self.source, self.spec.in_pitch - trips * _TOGETHER)
                    self._add(self.target, self.spec.out_pitch - trips * _TOGETHER * self.size)

    def _add(self, register: X, value: int) -> None:
        if not -2048 <= value <= 2047:
            self.f("li", self.far, value)
            self.f("add", register, register, self.far)
        elif value:
            self.f("addi", register, register, value)

    def _elements(self, count: int) -> None:
        f, values = self.f, self.values[:count]
        load, store = ("lb", "sb") if self.size == 1 else ("lh", "sh")
        for number, value in enumerate(values):
            f("lb", value, number, self.source)
        for value in values if self.size == 2 else ():
            f("slli", value, value, 1)
        for value in values:
            f("add", value, value, A2)
        for value in values:
            f(load, value, 0, value)
        for number, value in enumerate(values):
            f(store, value, number * self.size, self.target)
