"""The loops around a convolution's pixels: blocks, rows, pointers, records of constants."""

from __future__ import annotations

from dataclasses import dataclass

from espgen.codegen.pie.asm import Function
from espgen.codegen.pie.conv_body import PixelBody
from espgen.codegen.pie.correction import emit_sums
from espgen.codegen.pie.epilogue import Epilogue, ScaleEpilogue
from espgen.codegen.pie.packing import LANES, Window
from espgen.codegen.pie.registers import A0, A1, A2, A3, A5, SP, Pool, Q, X
from espgen.codegen.pie.row_pointers import RowPointers
from espgen.codegen.pie.store import Store, Stores, allocate_step

GROUP_WORD = 16
"""Bytes at the start of a record that hold the block's input offset, where blocks read different channels."""


@dataclass(frozen=True)
class Geometry:
    """The numbers of a convolution that shape its loops.

    Attributes:
        windows, steps, extra: input windows, their pointer advances and mean misalignment cycles.
        record_bytes: constants of one block.
        header_bytes: constants before the first record.
        offsets: whether each record starts with the block's input offset.
    """

    windows: tuple[Window, ...]
    steps: tuple[int, ...]
    extra: tuple[float, ...]
    pixel_step: int
    out_width: int
    stride_h: int
    dilation_h: int
    record_bytes: int
    header_bytes: int
    offsets: bool
    misaligned_loads: bool
    corrected: bool


class ConvFrame:
    """Writes one convolution function into `f`."""

    def __init__(self, f: Function, geometry: Geometry, body: PixelBody, epilogue: Epilogue, stores: Stores) -> None:
        self.f, self.geometry, self.body, self.epilogue, self.stores = f, geometry, body, epilogue, stores
        f.configure(A5, misaligned_loads=geometry.misaligned_loads, misaligned_stores=stores.misaligned)
        # The arguments are read once per block or row: their registers are worth more than a load.
        self.arguments = f.scratch(16)
        for place, argument in enumerate((A0, A1, A2, A3)):
            f("sw", argument, self.arguments + 4 * place, SP)
        pool = Pool()
        self.record, self.blocks, self.pixel = pool.plain(), pool.plain(), pool.plain()
        self.row, self.out_cursor, self.in_cursor, self.out_offset = (pool.plain() for _ in range(4))
        self.weights, self.out = pool.take(), pool.take()
        self.in_offset = pool.take() if geometry.offsets else None
        self.sums_offset = 0
        if geometry.corrected:
            assert isinstance(epilogue, ScaleEpilogue)
            epilogue.correction = pool.take()
            self.sums_offset = f.scratch(4 * geometry.out_width)
        epilogue.setup(f, pool)
        self.out_step = allocate_step(f, stores, pool)
        bytewise = stores.last is not None and stores.last.bytewise
        self.temporary = pool.take() if bytewise else self.pixel
        self.pointers = RowPointers(
            f, pool, geometry.windows, geometry.steps, geometry.extra, geometry.pixel_step, body.wanted
        )
        body.allocate(f, pool, self.pointers)

    def emit(self) -> None:
        """Write the loops."""
        f = self.f
        if self.geometry.corrected:
            self._start_rows()
            with f.repeat("rows", self.row):
                self._sums()
                self._all_blocks(self._one_row)
                self._advance_rows()
            return
        self._all_blocks(self._all_rows)

    def _start_rows(self) -> None:
        f = self.f
        f("lw", self.out_cursor, self.arguments, SP)
        f("lw", self.in_cursor, self.arguments + 4, SP)
        f("lw", self.row, self.arguments + 12, SP)

    def _advance_rows(self) -> None:
        f = self.f
        f("addi", self.in_cursor, self.in_cursor, 4 * self.geometry.stride_h)
        f("addi", self.out_cursor, self.out_cursor, 4)

    def _sums(self) -> None:
        f, geometry = self.f, self.geometry
        assert isinstance(self.epilogue, ScaleEpilogue) and self.epilogue.correction is not None
        sums = self.epilogue.correction
        f.comment("-zw * sum x of every pixel of the row")
        self.pointers.start_row(f, self.in_cursor, geometry.dilation_h, None)
        f("lw", self.weights, self.arguments + 8, SP)
        f("addi", sums, SP, self.sums_offset)
        emit_sums(
            f, self.pointers, self.weights, sums, self.out, self.pixel, geometry.out_width
        )

    def _all_blocks(self, rows: object) -> None:
        f, stores = self.f, self.stores
        assert callable(rows)
        f("lw", self.record, self.arguments + 8, SP)
        f("li", self.out_offset, 0)
        if self.geometry.header_bytes:
            f("addi", self.record, self.record, self.geometry.header_bytes)
        if stores.full_blocks:
            with f.repeat(stores.full_blocks, self.blocks):
                self._start_block()
                rows(stores.full)
                if stores.full_blocks > 1 or stores.last is not None:
                    self._next_block()
        if stores.last is not None:
            f.comment("last block: fewer output channels")
            self._start_block()
            rows(stores.last)

    def _start_block(self) -> None:
        f = self.f
        if self.in_offset is not None:
            f("lw", self.in_offset, 0, self.record, note="input channels of this block")
            f("addi", self.weights, self.record, GROUP_WORD)
        else:
            f("mv", self.weights, self.record)
        self.body.start_block(f, self.weights, self.out)

    def _next_block(self) -> None:
        f, size = self.f, self.geometry.record_bytes
        if size <= 2047:
            f("addi", self.record, self.record, size)
        else:
            f("li", self.out, size)
            f("add", self.record, self.record, self.out)
        f("addi", self.out_offset, self.out_offset, LANES)

    def _all_rows(self, store: Store) -> None:
        self._start_rows()
        with self.f.repeat("rows", self.row):
            self._one_row(store)
            self._advance_rows()

    def _one_row(self, store: Store) -> None:
        f, geometry = self.f, self.geometry
        f("lw", self.out, 0, self.out_cursor)
        self.pointers.start_row(f, self.in_cursor, geometry.dilation_h, self.in_offset)
        f("add", self.out, self.out, self.out_offset)
        if geometry.corrected:
            assert isinstance(self.epilogue, ScaleEpilogue) and self.epilogue.correction is not None
            f("addi", self.epilogue.correction, SP, self.sums_offset)
        self.body.start_row(f)

        def write(result: Q) -> None:
            step: X | None = self.out_step if store.needs_register else None
            store.emit(f, result, self.out, step, self.temporary)

        self.body.pixels(f, self.weights, geometry.out_width, self.pixel, write)
