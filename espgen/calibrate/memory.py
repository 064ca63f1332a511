"""The benchmarks of memory: caches found by walks that do or do not fit them, and what their misses cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from espgen.calibrate.bench import Answer, Bench
from espgen.errors import EspgenError

READ, WRITE, JUMP = "calibrate_walk_read", "calibrate_walk_write", "calibrate_walk_jump"
MOST_WAYS = 16
FAR = 256 * 1024
"""Bytes between addresses that share a set of every cache for data."""
FAR_CODE = 8 * 1024
LINE = 64
"""Bytes between two lines: no line of L1 is longer."""
CLEAR = 1.0
"""Cycles per step by which a walk that misses is told from one that hits: less than any miss costs, more than noise."""
SEQUENCE = 16384
"""Steps of a walk through memory that is longer than any L2 cache."""
COPIES = (64 * 1024, 256 * 1024)
BESIDE = 2 * 1024 * 1024
"""Bytes of a copy that a walk runs beside: it takes longer than the walk."""
PATIENCE = 4_000_000
"""Cycles after which the longest copy is over: at 0.07 bytes per cycle or more."""


@dataclass(frozen=True)
class Walk:
    """Steps of `stride` bytes through `limit` bytes of a place, over and over."""

    place: str
    stride: int
    limit: int
    kernel: str = READ
    steps: int = 0

    @property
    def call(self) -> str:
        """The firmware's words for it, counts of steps last."""
        rounds = self.steps or 16 * max(1, self.limit // self.stride)
        return f"{self.kernel} {self.place} {self.stride} {self.limit} {rounds} {2 * rounds}"

    def cycles(self, answer: Answer) -> float:
        """Cycles of a step, call and return apart."""
        less, more = answer.numbers
        rounds = self.steps or 16 * max(1, self.limit // self.stride)
        return (more - less) / rounds


def conflict(place: str, lines: int, stride: int, kernel: str = READ) -> Walk:
    """Round and round over so many lines, `stride` bytes apart."""
    return Walk(place, stride, lines * stride, kernel)


@dataclass(frozen=True)
class Cache:
    """What a cache was found to be, in bytes."""

    ways: int
    way_bytes: int

    @property
    def size(self) -> int:
        """All ways together."""
        return self.ways * self.way_bytes


class Memory:
    """Everything that walks find, asked for once each. EspgenError where a cache has more ways than the walks try."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def steps(self, walks: Sequence[Walk]) -> list[float]:
        """Cycles of a step of each walk."""
        answers = self._bench.ask([f"t {walk.call}" for walk in walks])
        return [walk.cycles(answer) for walk, answer in zip(walks, answers, strict=True)]

    def step(self, walk: Walk) -> float:
        """Cycles of a step of this walk."""
        return self.steps([walk])[0]

    def _cache(self, what: str, place: str, far: int, kernel: str, above: float, most: int = MOST_WAYS) -> Cache:
        """The cache whose misses make a step dearer than `above`."""
        counts = range(2, most + 2)
        found = [cost > above for cost in self.steps([conflict(place, lines, far, kernel) for lines in counts])]
        if True not in found:
            raise EspgenError(f"{what}: {most + 1} lines of one set are all held at once")
        ways = counts[found.index(True)] - 1
        # Twice as many lines as ways still fit where they take turns in two sets, and leave none of them to a smaller cache
        # in between that would hide the misses.
        lines = 2 * ways
        strides = [LINE << power for power in range((far // LINE).bit_length()) if lines << power <= (most + 1) * far // LINE]
        costs = self.steps([conflict(place, lines, stride, kernel) for stride in strides])
        return Cache(ways, next(stride for stride, cost in zip(strides, costs, strict=True) if cost > above))

    @cached_property
    def hit(self) -> float:
        """A step that hits L1."""
        return self.step(Walk("i", 4, LINE))

    @cached_property
    def write_hit(self) -> float:
        """The same of a walk that stores."""
        return self.step(Walk("i", 4, LINE, WRITE))

    @cached_property
    def l1(self) -> Cache:
        """The data cache."""
        return self._cache("L1 data cache", "p", FAR, READ, self.hit + CLEAR)

    @cached_property
    def l1_miss(self) -> float:
        """An L1 miss that L2 serves."""
        return self.step(conflict("p", self.l1.ways + 1, FAR)) - self.hit

    @cached_property
    def l2(self) -> Cache:
        """The second-level cache."""
        return self._cache("L2 cache", "p", FAR, READ, self.hit + self.l1_miss + CLEAR)

    @cached_property
    def l1_line(self) -> float:
        """Bytes of a line of L1: what a walk in small steps pays of a miss."""
        pass_bytes = 192 * 1024
        small = self.step(Walk("i", 16, pass_bytes, steps=2 * pass_bytes // 16)) - self.hit
        return 16 * self.internal_miss / small

    @cached_property
    def internal_miss(self) -> float:
        """An L1 miss that internal RAM serves."""
        return self.step(conflict("i", self.l1.ways + 1, self.l1.way_bytes)) - self.hit

    @cached_property
    def l1_dirty_eviction(self) -> float:
        """What a miss costs more where its line takes a dirty one's place."""
        walk = conflict("i", self.l1.ways + 1, self.l1.way_bytes, WRITE)
        return self.step(walk) - self.write_hit - self.internal_miss

    def _beyond_l2(self, place: str, kernel: str = READ) -> Walk:
        return conflict(place, self.l2.ways + 1, max(self.l1.way_bytes, self.l2.way_bytes), kernel)

    @cached_property
    def psram_fill(self) -> float:
        """A line of L2 from PSRAM."""
        return self.step(self._beyond_l2("p")) - self.hit - self.l1_miss

    @cached_property
    def flash_fill(self) -> float:
        """A line of L2 from flash."""
        return self.step(self._beyond_l2("f")) - self.hit - self.l1_miss

    @cached_property
    def l2_write_back(self) -> float:
        """What it costs more where it takes a dirty line's place."""
        dirty = self.step(self._beyond_l2("p", WRITE)) - self.write_hit
        return dirty - self.l1_miss - self.l1_dirty_eviction - self.psram_fill

    @cached_property
    def l2_line(self) -> float:
        """Bytes of a line of L2: how many lines of L1 share what a fill costs."""
        sequence = self.step(Walk("p", LINE, 2 * SEQUENCE * LINE, steps=SEQUENCE)) - self.hit - self.l1_miss
        return LINE * self.psram_fill / sequence

    @cached_property
    def l1i_hit(self) -> float:
        """A jump from line to line of cached code."""
        return self.step(Walk("c", LINE, 2 * LINE, JUMP))

    @cached_property
    def l1i(self) -> Cache:
        """The instruction cache."""
        return self._cache("L1 instruction cache", "c", FAR_CODE, JUMP, self.l1i_hit + CLEAR)

    @cached_property
    def l1i_miss(self) -> float:
        """A miss of the instruction cache that L2 serves."""
        return self.step(conflict("c", self.l1i.ways + 1, self.l1i.way_bytes, JUMP)) - self.l1i_hit

    @cached_property
    def _copies(self) -> list[list[int]]:
        return [answer.numbers for answer in self._bench.ask([f"c {length} {PATIENCE}" for length in COPIES])]

    @cached_property
    def copy_start(self) -> float:
        """Cycles to start a copy."""
        return float(self._copies[0][0])

    @cached_property
    def copy_finish_line(self) -> float:
        """Cycles to end a copy, per line of its destination."""
        (_, _, short), (_, _, long) = self._copies
        return (long - short) / ((COPIES[1] - COPIES[0]) / LINE)

    @cached_property
    def copy_finish(self) -> float:
        """Cycles to end a copy of nothing."""
        return self._copies[0][2] - self.copy_finish_line * COPIES[0] / LINE

    @cached_property
    def copy_rate(self) -> float:
        """Bytes per cycle."""
        (_, short, _), (_, long, _) = self._copies
        length = COPIES[1] - COPIES[0]
        return length / (long - short - self.copy_finish_line * length / LINE)

    @cached_property
    def copy_hold(self) -> float:
        """What a fill from PSRAM costs more beside a copy."""
        walk = replace(self._beyond_l2("p"), steps=4 * (self.l2.ways + 1))
        alone, (beside,) = self.step(walk), self._bench.ask([f"o {BESIDE} {walk.call}"])
        return walk.cycles(beside) - alone

    @cached_property
    def psram_rate(self) -> float:
        """Bytes per cycle of the PSRAM bus, of which a copy takes its share away from fills."""
        if self.copy_hold < CLEAR / 2:
            raise EspgenError("a copy does not hold back what fills the L2 cache")
        return math.sqrt(self.l2_line * self.copy_rate / self.copy_hold)

    @cached_property
    def miss_blocks(self) -> float:
        """1 where hits of one core wait for misses of the other."""
        hits, misses = Walk("s", 4, LINE), conflict("p", self.l1.ways + 1, FAR)
        lines = self._bench.ask([
            f"b {hits.call} {READ} i 4 {LINE} {40 * LINE}",
            f"b {hits.call} {READ} p {misses.stride} {misses.limit} {40 * LINE}",
        ])
        among_hits, among_misses = map(hits.cycles, lines)
        return float(among_misses > among_hits + max(CLEAR, self.l1_miss / 4))


@dataclass(frozen=True)
class MemoryBenchmark:
    """A figure of memory: the simulator's parameter of this name where `is_parameter`."""

    name: str
    measures: str
    derive: Callable[[Memory], float]
    unit: str = "cycles"
    is_parameter: bool = True


def _figure(name: str, measures: str, unit: str = "cycles", parameter: bool = True) -> MemoryBenchmark:
    return MemoryBenchmark(name, measures, lambda memory: float(getattr(memory, name)), unit, parameter)


MEMORY: tuple[MemoryBenchmark, ...] = (
    MemoryBenchmark("l1_size", "L1 data cache", lambda memory: memory.l1.size, "bytes"),
    MemoryBenchmark("l1_ways", "of the L1 data cache", lambda memory: memory.l1.ways, "ways"),
    MemoryBenchmark("l1_line", "line of the L1 data cache", lambda memory: memory.l1_line, "bytes", False),
    _figure("l1_miss", "an L1 miss that L2 serves"),
    _figure("internal_miss", "an L1 miss that internal RAM serves"),
    _figure("l1_dirty_eviction", "more where a dirty line has to leave L1"),
    MemoryBenchmark("l1i_size", "L1 instruction cache", lambda memory: memory.l1i.size, "bytes"),
    MemoryBenchmark("l1i_ways", "of the L1 instruction cache", lambda memory: memory.l1i.ways, "ways"),
    _figure("l1i_miss", "a miss of the instruction cache that L2 serves", parameter=False),
    MemoryBenchmark("l2_size", "L2 cache", lambda memory: memory.l2.size, "bytes"),
    MemoryBenchmark("l2_ways", "of the L2 cache", lambda memory: memory.l2.ways, "ways"),
    _figure("l2_line", "line of the L2 cache", "bytes"),
    _figure("psram_fill", "an L2 line from PSRAM, on top of l1_miss"),
    _figure("flash_fill", "an L2 line from flash, on top of l1_miss"),
    _figure("l2_write_back", "more where a dirty line has to leave L2"),
    _figure("copy_start", "to start a copy"),
    _figure("copy_rate", "of the copy engine", "bytes per cycle"),
    _figure("copy_finish", "to end a copy"),
    _figure("copy_finish_line", "to end a copy, per 64-byte line of its destination"),
    _figure("copy_hold", "more for a fill from PSRAM beside a copy", parameter=False),
    _figure("psram_rate", "of the PSRAM bus: what a copy and fills share", "bytes per cycle"),
    _figure("miss_blocks", "whether a data miss keeps the other core from L1, too", "0 or 1"),
)
