"""Where a convolution's row pointers live: in registers while they last, the others in a table on the stack."""

from __future__ import annotations

from espgen.codegen.pie.asm import Function
from espgen.codegen.pie.packing import LANES, Window
from espgen.codegen.pie.registers import SP, Pool, Q, X
from espgen.errors import Refused


class RowPointers:
    """The input pointers of the filter rows and the code that loads a window through them.

    `held_rows` rows keep their own register, which every load moves on by the window's step. The others are read from
    the stack for every pixel and added to the pixel's offset, two registers taking turns. `wanted_later` registers
    stay free for others.
    """

    def __init__(
        self,
        f: Function,
        pool: Pool,
        windows: tuple[Window, ...],
        steps: tuple[int, ...],
        extra: tuple[float, ...],
        pixel_step: int,
        wanted_later: int,
    ) -> None:
        self.windows, self.steps, self._extra = windows, steps, extra
        rows = windows[-1].row + 1
        self.step_registers: dict[int, X] = {}
        for step in dict.fromkeys(steps):
            if step % LANES or not -2048 <= step <= 2032:
                self.step_registers[step] = pool.take()
                f("li", self.step_registers[step], step, note="step of an input pointer")
        room = pool.left - max(0, wanted_later - pool.plain_left)
        self.held_rows = rows
        if rows > room:
            self.held_rows = pool.left - max(0, wanted_later + 1 - pool.plain_left) - 2
        if self.held_rows < 1:
            raise Refused("kernel needs more registers than there are")
        self._pixel_step = pixel_step
        self._held = [pool.take() for _ in range(self.held_rows)]
        self._spilled = list(range(self.held_rows, rows))
        self._turns = [pool.take(), pool.take()] if self._spilled else []
        self._offset = pool.plain() if self._spilled else None
        self._table = f.scratch(4 * len(self._spilled)) if self._spilled else 0

    def of(self, row: int) -> X:
        """The register through which a row is read at this moment."""
        return self._held[row] if row < self.held_rows else self._turns[row % 2]

    def rides(self) -> tuple[bool, ...]:
        """For each window, whether a load that only adds 16 to its pointer will do."""
        return tuple(
            step == LANES and not self._opens_spilled_row(number) for number, step in enumerate(self.steps)
        )

    def _opens_spilled_row(self, number: int) -> bool:
        row = self.windows[number].row
        return row >= self.held_rows and (number == 0 or self.windows[number - 1].row != row)

    def start_row(self, f: Function, cursor: X, dilation: int, offset: X | None) -> None:
        """Read the pointers of an output row; `offset` is added to each (grouped convolutions)."""
        for row in range(self.held_rows):
            f("lw", self._held[row], 4 * row * dilation, cursor)
        for row in range(self.held_rows):
            if offset is not None:
                f("add", self._held[row], self._held[row], offset)
        for place, row in enumerate(self._spilled):
            passing = self._turns[row % 2]
            f("lw", passing, 4 * row * dilation, cursor)
            if offset is not None:
                f("add", passing, passing, offset)
            f("sw", passing, self._table + 4 * place, SP)
        if self._offset is not None:
            f("li", self._offset, 0)

    def load(self, f: Function, number: int, into: Q) -> None:
        """Load a window with an instruction of its own."""
        row = self.windows[number].row
        if self._opens_spilled_row(number):
            assert self._offset is not None
            f("add", self.of(row), self.of(row), self._offset)
        step = self.steps[number]
        if step in self.step_registers:
            f("esp.vld.128.xp", into, self.of(row), self.step_registers[step], extra=self._extra[number])
        else:
            f("esp.vld.128.ip", into, self.of(row), step, extra=self._extra[number])
        following = number + 1
        if following < len(self.windows) and self._opens_spilled_row(following):
            f("lw", self.of(row + 1), self._table + 4 * (row + 1 - self.held_rows), SP)

    def extra(self, number: int) -> float:
        """Mean extra cycles of loading a window."""
        return self._extra[number]

    def next_pixel(self, f: Function) -> None:
        """After the last load of a pixel."""
        if self._offset is not None:
            f("addi", self._offset, self._offset, self._pixel_step)
