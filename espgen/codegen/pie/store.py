"""How 16 output lanes reach memory, for pixels of any pitch."""

from __future__ import annotations

from dataclasses import dataclass

from espgen.codegen.pie.asm import Function
from espgen.codegen.pie.packing import LANES
from espgen.codegen.pie.registers import Pool, Q, X


@dataclass(frozen=True)
class Store:
    """One way to write a block's outputs of one pixel and move on by `pitch`.

    Attributes:
        lanes: how many lanes to write: 16, 8 (aligned to 8), or any number byte by byte.
        bytewise: one byte at a time.
        pitch: bytes to the next pixel.
        extra: mean extra cycles of misaligned stores.
    """

    lanes: int
    bytewise: bool
    pitch: int
    extra: float = 0.0

    @property
    def needs_register(self) -> bool:
        """Whether the pitch does not fit the store's own offset."""
        if self.bytewise:
            return False
        return self.pitch % 16 != 0 or self.pitch > (2032 if self.lanes == LANES else 1016)

    def emit(self, f: Function, out: Q, pointer: X, step: X | None, temporary: X) -> None:
        """Write `out`; `step` holds the pitch where needs_register."""
        if self.bytewise:
            for lane in range(self.lanes):
                f("esp.movi.8.a", out, temporary, lane)
                f("sb", temporary, lane, pointer)
            f("addi", pointer, pointer, self.pitch)
            return
        stem = "esp.vst.128" if self.lanes == LANES else "esp.vst.l.64"
        if step is not None:
            f(f"{stem}.xp", out, pointer, step, extra=self.extra)
        else:
            f(f"{stem}.ip", out, pointer, self.pitch, extra=self.extra)


@dataclass(frozen=True)
class Stores:
    """Stores of the full blocks and of the last one.

    Attributes:
        full: for blocks whose 16 lanes may all be written.
        full_blocks: how many there are.
        last: for the remaining block, or None.
        misaligned: whether CFG.mis_st is needed.
    """

    full: Store
    full_blocks: int
    last: Store | None
    misaligned: bool


def plan_stores(channels: int, pitch: int, width: int) -> Stores:
    """Choose stores that never touch a byte past the pixel's pitch (padding lanes inside the pitch are written)."""
    misaligned = pitch % LANES != 0
    extra = 0.0
    if misaligned:
        places = [pixel * pitch % LANES != 0 for pixel in range(min(width, LANES))]
        extra = sum(places) / len(places)
    full = Store(LANES, False, pitch, extra)
    room = pitch // LANES
    count = (channels + LANES - 1) // LANES
    if count <= room:
        return Stores(full, count, None, misaligned)
    rest = channels - room * LANES
    eight = rest <= 8 and pitch % 8 == 0
    return Stores(full, room, Store(8 if eight else rest, not eight, pitch), misaligned)


def allocate_step(f: Function, stores: Stores, pool: Pool) -> X | None:
    """A register holding the pitch, where a store needs one."""
    used = [store for store in (stores.full if stores.full_blocks else None, stores.last) if store is not None]
    if not any(store.needs_register for store in used):
        return None
    step = pool.take()
    f("li", step, used[0].pitch, note="bytes per output pixel")
    return step
