"""The chip records: what must hold between them, and chip files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from espgen.codegen.pie import loop_rules
from espgen.errors import EspgenError
from espgen.target.chips import (
    BOTH,
    CHIPS,
    L2_SIZES,
    RESERVE_BYTES,
    V1,
    V3,
    LoopRules,
    concrete,
    find_chip,
    labelled,
    strictest_loop_rules,
)

TOTAL = 768 * 1024


@pytest.mark.parametrize("l2_kb", L2_SIZES)
@pytest.mark.parametrize("chip", [V1, V3])
def test_pieces_lie_in_internal_ram_beside_the_cache(chip, l2_kb) -> None:  # type: ignore[no-untyped-def]
    end = 0x4FF00000 + TOTAL
    cache = range(end - l2_kb * 1024, end) if chip.l2_at == "top" else range(0x4FF00000, 0x4FF00000 + l2_kb * 1024)
    for piece in chip.pieces:
        start, size = piece.start_by_l2[l2_kb], piece.bytes_by_l2[l2_kb]
        assert start >= 0x4FF00000 and start + size <= end
        assert start + size <= cache.start or start >= cache.stop or size == 0


@pytest.mark.parametrize("l2_kb", L2_SIZES)
def test_what_fits_both_fits_each(l2_kb: int) -> None:
    """Whatever lies in the common pieces must find room on each chip, piece by piece or one behind the other."""
    common = BOTH.internal_pieces(l2_kb)
    assert all(size <= most for size, most in zip(common, V1.internal_pieces(l2_kb), strict=True))
    assert sum(common) <= V3.internal_pieces(l2_kb)[0]


def test_the_arena_that_does_not_exist_on_revision_1() -> None:
    """317,712 bytes with 256 KB of cache: not on revisions below 3 (real memory map), on revision 3 they do."""
    assert max(V1.internal_pieces(256)) == 262_144 < 317_712 <= max(V3.internal_pieces(256))
    assert V1.internal_pieces(256)[0] == 179_152 - RESERVE_BYTES
    assert V1.internal_pieces(512) == (179_152 - RESERVE_BYTES, 0)


def test_which_chips_run_what() -> None:
    assert [chip.name for chip in concrete(BOTH, all_of_them=True)] == ["esp32p4-v1", "esp32p4-v3"]
    assert concrete(BOTH) == (V3,)
    assert concrete(V1, all_of_them=True) == (V1,) == concrete(V1)
    assert set(CHIPS) == {"esp32p4", "esp32p4-v1", "esp32p4-v3", "portable"}


def test_loops_are_written_for_the_chip_that_asks_most(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loop_rules.LEAST_BODY == max(chip.loops.least_instructions for chip in CHIPS.values()) == 4
    later = replace(V3, name="later", loops=LoopRules(alignment=8, least_instructions=6))
    monkeypatch.setattr("espgen.target.chips.CHIPS", {**CHIPS, "later": later})
    assert strictest_loop_rules() == LoopRules(8, 6)


def test_a_chip_is_named_with_what_is_known_of_it() -> None:
    assert V1.label() == "esp32p4-v1 (revision 0.x and 1.x, 360 MHz)"
    assert CHIPS["portable"].label() == "portable (any chip of ESP-IDF)"
    assert labelled({"name": "esp32p4", "revisions": "", "clock_hz": 400_000_000}) == "esp32p4 (400 MHz)"


def test_chip_files(tmp_path: Path) -> None:
    path = tmp_path / "board.json"
    path.write_text(json.dumps({"chip": "esp32p4-v3", "clock_hz": 360_000_000, "costs": {"l1_miss": 12.5}}))
    chip = find_chip(str(path))
    assert chip.parameters() == {**find_chip("esp32p4-v3").parameters(), "clock_hz": 360e6, "l1_miss": 12.5}
    assert concrete(chip, all_of_them=True) == (chip,)
    for text in ("[]", "{", '{"chip": "esp8266"}', '{"chip": "esp32p4", "costs": {"l1_miss": "x"}}', '{"chip": []}'):
        path.write_text(text)
        with pytest.raises(EspgenError, match="chip file") as raised:
            find_chip(str(path))
        assert raised.value.exit_code == 2
    with pytest.raises(EspgenError, match="no chip called 'esp32'"):
        find_chip("esp32")
