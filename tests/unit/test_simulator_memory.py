"""The memory model against a second one, written in Python from the same definition."""

from __future__ import annotations

import random
from collections import OrderedDict
from pathlib import Path

import pytest
import simulator_program as p

from espgen.verify.simulator import Options

INTERNAL, PSRAM, FLASH = p.DATA, 0x48000000, 0x40000000


class Cache:
    """Sets of least-recently-used lines; a line maps to whether it is dirty."""

    def __init__(self, size: int, ways: int, line: int) -> None:
        self.line, self.ways = line, ways
        self.sets: list[OrderedDict[int, bool]] = [OrderedDict() for _ in range(size // ways // line)]
        self.misses = self.dirty_evictions = 0

    def access(self, address: int, write: bool) -> tuple[bool, int | None]:
        """(hit, address of the dirty line that had to go)."""
        number = address // self.line
        lines = self.sets[number % len(self.sets)]
        hit = number in lines
        dirty = lines.pop(number, False) or write
        evicted = None
        if not hit:
            self.misses += 1
            if len(lines) == self.ways:
                old, was_dirty = lines.popitem(last=False)
                if was_dirty:
                    self.dirty_evictions += 1
                    evicted = old * self.line
        lines[number] = dirty
        return hit, evicted


class Memory:
    """Cycles an access costs beyond its instruction, as pie/MODEL.md defines them."""

    def __init__(self, l1_size: int, l2_size: int) -> None:
        self.l1 = Cache(l1_size, 2, 64)
        self.l2 = Cache(l2_size, 8, 128)

    def cost(self, address: int, write: bool) -> int:
        hit, evicted = self.l1.access(address, write)
        if hit:
            return 0
        cycles = 13
        if evicted is not None:
            cycles += 4
            if evicted < INTERNAL and self.l2.access(evicted, True)[1] is not None:
                cycles += 11
        if address < INTERNAL:
            hit, evicted = self.l2.access(address, False)
            if not hit:
                cycles += 1660 if address < PSRAM else 165
            cycles += 11 if evicted is not None else 0
        return cycles


@pytest.mark.parametrize(("l1_size", "l2_size"), [(1024, 4096), (2048, 2048), (65536, 131072)])
@pytest.mark.parametrize("seed", range(3))
def test_random_accesses(l1_size: int, l2_size: int, seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    memory = Memory(l1_size, l2_size)
    words = list(p.START)
    cycles = 0
    for _ in range(2500):
        base, span = rng.choice([(INTERNAL, 4096), (PSRAM, 16384), (PSRAM, 2048), (FLASH, 4096)])
        address = base + rng.randrange(span) // 4 * 4
        write = base != FLASH and rng.random() < 0.4
        words += [*p.li("a0", address), p.sw("a1", "a0") if write else p.lw("a1", "a0")]
        cycles += memory.cost(address, write)
    parameters = {"l1_size": l1_size, "l2_size": l2_size}
    words += p.exit_with()
    # Straight code: every one of its lines is fetched once, from internal RAM.
    cycles += 13 * -(-4 * (len(words) - 1) // 64)
    result = p.run(tmp_path, words, Options(parameters=parameters))
    assert result.status == 0, result.errors
    statistics = result.statistics["memory"]
    assert statistics["l1_misses"] == memory.l1.misses
    assert statistics["l1_dirty_evictions"] == memory.l1.dirty_evictions
    assert statistics["l2_misses"] == memory.l2.misses
    assert statistics["l2_dirty_evictions"] == memory.l2.dirty_evictions
    assert result.statistics["cores"][0]["stall_cycles"] == cycles


def test_the_model_costs_nothing_while_it_is_off(tmp_path: Path) -> None:
    words = [*p.START, *p.li("a0", PSRAM), *[p.lw("a1", "a0", 64 * i) for i in range(30)], *p.exit_with()]
    assert p.run(tmp_path, words).statistics["cores"][0]["stall_cycles"] == 0
    cold = p.run(tmp_path, words, Options(memory_model=True)).statistics["cores"][0]["stall_cycles"]
    assert cold == 15 * (13 + 165) + 15 * 13 + 13 * -(-4 * (len(words) - 1) // 64)


def test_a_vector_across_two_lines_costs_both(tmp_path: Path) -> None:
    setup = [*p.START, p.addi("a3", "zero", 2), *p.pie("esp.movx.w.cfg a3")]
    for offset, lines in ((0, 1), (40, 1), (56, 2)):
        words = [*setup, *p.li("a0", INTERNAL + offset), *p.pie("esp.vld.128.ip q0, a0, 0"), *p.exit_with()]
        result = p.run(tmp_path, words, Options(memory_model=True))
        assert result.statistics["cores"][0]["stall_cycles"] == 13 * (lines + -(-4 * (len(words) - 1) // 64))
        assert result.statistics["memory"]["misaligned_accesses"] == (offset % 16 != 0)
