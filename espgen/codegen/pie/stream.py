"""The multiply-accumulate stream of one pixel: which weights stay in registers, which instruction carries which load.

Every `esp.vsmulas.s8.qacc.ld.incp` can load 16 bytes besides multiplying. Weights come through two registers in turn,
each loaded by the multiply-accumulate two before its use. Two weights that stay in registers for all pixels let the
stream start without waiting, so the weight pointer can be rewound by the bias loads; they also leave the last two
multiply-accumulates free to load the next pixel's input. Every further resident weight carries one more input load.
"""

from __future__ import annotations

from dataclasses import dataclass

from espgen.codegen.pie.packing import Window


@dataclass(frozen=True)
class Mac:
    """One multiply-accumulate.

    Attributes:
        window: which input window it reads.
        lane: which byte of it.
        resident: number of its resident weight, or None where it is streamed.
        streamed: number of its streamed weight, or None.
        loads_weight: number of the streamed weight it loads, or None.
        loads_window: number of the window it loads (window 0 and 1 of the next pixel in the tail), or None.
        then_loads: windows loaded by instructions of their own right after it.
    """

    window: int
    lane: int
    resident: int | None
    streamed: int | None
    loads_weight: int | None
    loads_window: int | None
    then_loads: tuple[int, ...]


@dataclass(frozen=True)
class Stream:
    """The schedule of one pixel.

    Attributes:
        macs: in order.
        residents: how many weights stay in registers.
        streamed: how many are loaded for every pixel.
        order: for each mac, its weight's place in the packed weights (residents first).
        primed: how many windows are in registers when the pixel starts: the last one loaded them. Where there is none,
            window 0 is to be loaded first (no multiply-accumulate of the pixel before could carry the load).
    """

    macs: tuple[Mac, ...]
    residents: int
    streamed: int
    order: tuple[int, ...]
    primed: int


def plan_stream(
    windows: tuple[Window, ...], fusable: tuple[bool, ...], spare_registers: int, *, kept: int
) -> Stream:
    """Schedule one pixel with at most `spare_registers` (>= 2) resident weights.

    `fusable` tells of each window whether its load may ride on a multiply-accumulate (its pointer then advances by 16).
    `kept` is how many input registers may be loaded before the epilogue and survive it: the next pixel's window 0, or
    also its window 1.
    """
    reads = [(number, lane) for number, window in enumerate(windows) for lane, _, _ in window.lanes]
    count, last = len(reads), len(windows) - 1
    first = [reads.index((number, window.lanes[0][0])) for number, window in enumerate(windows)]
    resident = set(range(min(2, count)))
    if count <= spare_registers:
        resident = set(range(count))
    streamed_indices = [index for index in range(count) if index not in resident]
    free_tail = (streamed_indices or list(range(count)))[-2:] if count > 2 else []
    carries: dict[int, int] = {}
    explicit: dict[int, list[int]] = {}

    even = last % 2 == 1  # an even number of windows: the last one is not in window 0's register
    primed = 0
    if kept:
        pair = kept == 2 and even and len(free_tail) == 2 and fusable[0] and fusable[1]
        if pair and reads[free_tail[0]][0] == last and free_tail[1] == count - 1:
            carries[free_tail[0]], carries[free_tail[1]] = 0, 1
            primed = 2
        elif fusable[0] and free_tail and free_tail[-1] == count - 1 and not even:
            carries[count - 1] = 0
            primed = 1
        elif fusable[0] and even and free_tail and reads[free_tail[0]][0] == last and free_tail[0] < count - 1:
            carries[free_tail[0]] = 0
            primed = 1
    for number in range(max(primed, 1), last + 1):
        before = windows[number - 1].lanes
        middle = first[number - 1] + max(2 if number == 1 else 0, len(before) // 2)
        rides = fusable[number] and 2 <= middle < first[number] - 1 and middle not in carries
        if rides and middle in resident:
            carries[middle] = number
        elif rides and len(resident) < spare_registers and middle not in free_tail:
            resident.add(middle)
            carries[middle] = number
        else:
            at = first[number - 1] + (0 if len(before) > 1 else -1)
            explicit.setdefault(max(at, 0), []).append(number)
    return _assemble(reads, resident, carries, explicit, primed)


def _assemble(
    reads: list[tuple[int, int]],
    resident: set[int],
    carries: dict[int, int],
    explicit: dict[int, list[int]],
    primed: int,
) -> Stream:
    resident_number = {index: number for number, index in enumerate(sorted(resident))}
    streamed_number: dict[int, int] = {}
    for index in range(len(reads)):
        if index not in resident:
            streamed_number[index] = len(streamed_number)
    total = len(streamed_number)
    macs = []
    for index, (window, lane) in enumerate(reads):
        own = streamed_number.get(index)
        wanted = own + 2 if own is not None else index if index < 2 else None
        loads_weight = wanted if wanted is not None and wanted < total else None
        if loads_weight is not None and index in carries:
            raise AssertionError("a multiply-accumulate was given two loads")
        macs.append(
            Mac(
                window,
                lane,
                resident_number.get(index),
                own,
                loads_weight,
                carries.get(index),
                tuple(explicit.get(index, ())),
            )
        )
    order = tuple(
        resident_number[index] if index in resident else len(resident) + streamed_number[index]
        for index in range(len(reads))
    )
    return Stream(tuple(macs), len(resident), total, order, primed)
