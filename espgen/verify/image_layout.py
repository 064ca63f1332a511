"""Where a component's image for the simulator lies on a chip: what firmware/boards/simulator/start.S tells its linker script."""

from __future__ import annotations

from espgen.target.chips import Chip

_ROUND = 64
_PSRAM_END = 0x4A000000
_LARGE_TABLES = 1 << 20
"""Bytes at the end of PSRAM for the agent's tables of a model with more layers than internal RAM has room for."""


def start_flags(chip: Chip, l2_kb: int, *, large_tables: bool = False) -> tuple[str, ...]:
    """Definitions for start.S.

    The larger arena lies in the largest piece of internal RAM, as the planner means it, the other one in the second or,
    where there is none, behind the first. Data and stacks of the board lie where no piece is: behind the first one.
    """
    if not chip.fixed_memory:
        raise ValueError(f"{chip.name} is no chip that the simulator can be")
    sizes = [(piece.bytes_by_l2[l2_kb], piece.start_by_l2[l2_kb]) for piece in chip.pieces]
    used = sorted(((size, start) for size, start in sizes if size), reverse=True)
    (size, start), *others = used
    second_start, second_end = (others[0][1], sum(others[0])) if others else (0, start + size)
    board_start = -(-sum(sizes[0]) // _ROUND) * _ROUND
    values = {
        "PIECE_START": start,
        "PIECE_END": start + size,
        "PIECE2_START": second_start,
        "PIECE2_END": second_end,
        "BOARD_START": board_start,
        "BOARD_END": chip.board_end,
        "BOARD_BSS": _PSRAM_END - _LARGE_TABLES if large_tables else 0,
    }
    return tuple(f"-DESPGEN_{name}={value:#x}" for name, value in values.items())
