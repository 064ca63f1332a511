"""The chips that a component can be made for: one record each, and nothing about a chip anywhere else.

Sizes are what ESP-IDF's linker scripts leave to an application, the smaller of what its releases leave.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from espgen.errors import EspgenError

RESERVE_BYTES = 64 * 1024
"""What of the first piece of internal RAM stays with ESP-IDF and the application."""

ANY_CHIP = "any chip of ESP-IDF"
"""For people: where neither revision nor clock is known."""

L2_SIZES = (128, 256, 512)
"""KB that the second-level cache may take of the chip's 768 KB."""

L2_KB = 256
"""The second-level cache that plans, reports and generated projects assume."""


@dataclass(frozen=True)
class Piece:
    """A part of internal RAM without a hole: no array is larger.

    start_by_l2, bytes_by_l2: first address and size, by the KB of the second-level cache.
    """

    start_by_l2: Mapping[int, int]
    bytes_by_l2: Mapping[int, int]


@dataclass(frozen=True)
class Caches:
    """Sizes in bytes. An L1 miss that internal RAM serves costs what one served by L2 does."""

    l1_instruction: int = 16 * 1024
    l1_data: int = 64 * 1024
    l1_line: int = 64
    l2_line: int = 128


@dataclass(frozen=True)
class LoopRules:
    """What silicon asks of a hardware loop: otherwise an interrupt at its end corrupts the counter.

    Which instructions may end one is a property of the instruction (`target/isa.py`).

    alignment           of its first and last instruction, in bytes
    least_instructions  of 32 bits in its body
    """

    alignment: int = 4
    least_instructions: int = 4


@dataclass(frozen=True)
class Chip:
    """A chip, or the common part of several.

    name        as in --chip
    revisions   of the silicon, for people; "" where it may be any chip
    espv        levels of the vector unit that text has to mean the same on: 21 (ESPV 2.1), 22; none: no vector unit
    clock_hz    of the core by default; 0 where it may be any chip
    pieces      of internal RAM, by address
    fixed_memory  False where the pieces are a guess that --internal-ram replaces (portable)
    l2_at       where in internal RAM the second-level cache lies: "top", "bottom", "" where unknown
    least_revision, most_revision  as ESP-IDF counts, major * 100 + minor: what an image for it runs on
    march       for ESP-IDF's assembler (6.x), which knows the vector unit
    kconfig     what a project has to set in sdkconfig.defaults, besides what a model needs
    costs       numbers of the simulator (firmware/simulator/parameters.h) that are not its defaults
    runs_on     names of the chips that a component made for this one is proven on; () stands for any PC or chip
    loops       rules of hardware loops
    board_end   where what lies behind the first piece ends (boot loader, ROM, later heap)
    idf         oldest ESP-IDF release that builds for it
    """

    name: str
    revisions: str
    espv: tuple[int, ...]
    clock_hz: int
    pieces: tuple[Piece, ...]
    l2_at: str
    least_revision: int
    most_revision: int
    march: str
    kconfig: Mapping[str, str]
    costs: Mapping[str, float]
    runs_on: tuple[str, ...]
    caches: Caches = Caches()
    loops: LoopRules = LoopRules()
    idf: str = "5.3"
    fixed_memory: bool = True
    board_end: int = 0

    @property
    def has_vectors(self) -> bool:
        """Whether components for it may hold assembly."""
        return bool(self.espv)

    def internal_pieces(self, l2_kb: int = L2_KB, reserve: int = RESERVE_BYTES) -> tuple[int, ...]:
        """Bytes that activations may take of each piece, by address; the reserve comes out of the first one."""
        sizes = [piece.bytes_by_l2[l2_kb] for piece in self.pieces]
        return tuple(max(0, size - (reserve if index == 0 else 0)) for index, size in enumerate(sizes))

    def parameters(self) -> dict[str, float]:
        """Every number that the simulator has to be told to be this chip."""
        at_top = {"l2_at_top": 1.0} if self.l2_at == "top" else {}
        return {"clock_hz": float(self.clock_hz), **at_top, **self.costs}

    def label(self) -> str:
        """Name, revisions and clock on one line, for reports."""
        return labelled(self.to_json())

    def to_json(self) -> dict[str, object]:
        """What every report says about the chip."""
        return {"name": self.name, "revisions": self.revisions, "clock_hz": self.clock_hz}


def labelled(described: Mapping[str, Any]) -> str:
    """A chip, or what a board says about its own ("name", "revisions", "clock_hz"), on one line, for reports."""
    known = [f"revision {described['revisions']}"] if described["revisions"] else []
    known += [f"{described['clock_hz'] / 1e6:.0f} MHz"] if described["clock_hz"] else []
    return f"{described['name']} ({', '.join(known) or ANY_CHIP})"


def strictest_loop_rules() -> LoopRules:
    """What every chip with hardware loops asks: one text runs on all of them."""
    asked = [chip.loops for chip in CHIPS.values() if chip.has_vectors]
    return LoopRules(max(rules.alignment for rules in asked), max(rules.least_instructions for rules in asked))


def _by_l2(small: int, middle: int, large: int) -> Mapping[int, int]:
    return MappingProxyType(dict(zip(L2_SIZES, (small, middle, large), strict=True)))


_RAM = 0x4FF00000
_V1_PIECES = (
    Piece(_by_l2(_RAM, _RAM, _RAM), _by_l2(179_152, 179_152, 179_152)),
    Piece(_by_l2(_RAM + 0x40000, _RAM + 0x40000, _RAM + 0x40000), _by_l2(393_216, 262_144, 0)),
)
_V3_PIECES = (Piece(_by_l2(_RAM + 0x20000, _RAM + 0x40000, _RAM + 0x80000), _by_l2(581_568, 450_496, 188_352)),)
_NO_COSTS: Mapping[str, float] = MappingProxyType({})

_BASE_ISA = "rv32imafc_zicsr_zifencei"

V1 = Chip(
    name="esp32p4-v1",
    revisions="0.x and 1.x",
    espv=(21,),
    clock_hz=360_000_000,
    pieces=_V1_PIECES,
    l2_at="top",
    least_revision=0,
    most_revision=199,
    march=f"{_BASE_ISA}_xesploop_xespv2p1",
    kconfig=MappingProxyType({"CONFIG_ESP32P4_SELECTS_REV_LESS_V3": "y", "CONFIG_ESP_DEFAULT_CPU_FREQ_MHZ_360": "y"}),
    costs=_NO_COSTS,
    runs_on=("esp32p4-v1",),
    board_end=_RAM + 0x40000,
)

V3 = Chip(
    name="esp32p4-v3",
    revisions="3.1 and later",
    espv=(22,),
    clock_hz=400_000_000,
    pieces=_V3_PIECES,
    l2_at="bottom",
    least_revision=301,
    most_revision=399,
    march=f"{_BASE_ISA}_xesploop_xespv",
    kconfig=MappingProxyType({"CONFIG_ESP32P4_SELECTS_REV_LESS_V3": "n", "CONFIG_ESP_DEFAULT_CPU_FREQ_MHZ_400": "y"}),
    costs=MappingProxyType({"psram_fill": 172.0}),  # 431 ns
    runs_on=("esp32p4-v3",),
    board_end=_RAM + 0xC0000,
    idf="5.5.3",
)

BOTH = Chip(
    name="esp32p4",
    revisions="0.x, 1.x, 3.1 and later",
    espv=(21, 22),
    clock_hz=360_000_000,
    pieces=_V1_PIECES,  # the first of them has less room than revision 3 has in all, and both together have
    l2_at="",
    least_revision=0,
    most_revision=399,
    march="",
    kconfig=MappingProxyType({}),
    costs=_NO_COSTS,
    runs_on=("esp32p4-v1", "esp32p4-v3"),
)

PORTABLE = Chip(
    name="portable",
    revisions="",
    espv=(),
    clock_hz=0,
    pieces=(Piece(_by_l2(0, 0, 0), _by_l2(*(3 * (RESERVE_BYTES + 192 * 1024,)))),),
    l2_at="",
    least_revision=0,
    most_revision=65535,
    march="",
    kconfig=MappingProxyType({}),
    costs=_NO_COSTS,
    runs_on=("esp32p4-v1", "esp32p4-v3"),
    fixed_memory=False,
)

CHIPS: Mapping[str, Chip] = MappingProxyType({chip.name: chip for chip in (BOTH, V1, V3, PORTABLE)})
"""Every chip by the name that --chip takes; the first is the default."""

DEFAULT = BOTH


def find_chip(text: str) -> Chip:
    """The chip called `text`, or the one that the chip file at this path describes.

    A chip file is JSON: "chip" names the chip it starts from, "costs" the simulator's numbers that were measured, and
    "clock_hz" the clock where it differs.

    Raises:
        EspgenError: no such name and no such file, or a file that is no chip.
    """
    if text in CHIPS:
        return CHIPS[text]
    path = Path(text)
    if not path.is_file():
        raise EspgenError(f"there is no chip called {text!r}", place="--chip", hint=f"one of {', '.join(CHIPS)}, or a chip file")
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        base = CHIPS[described["chip"]]
        costs = {str(name): float(value) for name, value in described.get("costs", {}).items()}
        clock = int(described.get("clock_hz", base.clock_hz))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        hint = 'it is JSON with "chip" (a chip\'s name) and "costs" (the simulator\'s numbers by name)'
        raise EspgenError(f"the chip file cannot be used: {problem}", place=text, hint=hint) from problem
    return replace(base, costs=MappingProxyType({**base.costs, **costs}), clock_hz=clock)


def concrete(chip: Chip, *, all_of_them: bool = False) -> tuple[Chip, ...]:
    """The chips to run a component on that was made for `chip`: all (verify), or the one that figures are shown for.

    A chip file's costs and clock hold for its own chip alone.
    """
    if chip.name in chip.runs_on:
        return (chip,)
    found = tuple(CHIPS[name] for name in chip.runs_on)
    return found if all_of_them else found[-1:]
