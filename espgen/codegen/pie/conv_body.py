"""The code of one output pixel and block: unrolled whole, or with hardware loops over long runs of channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from espgen.codegen.pie.asm import Function
from espgen.codegen.pie.epilogue import Epilogue, bias_rewinds, load_bias
from espgen.codegen.pie.packing import LANES, Window
from espgen.codegen.pie.registers import Pool, Q, X
from espgen.codegen.pie.row_pointers import RowPointers
from espgen.codegen.pie.stream import Stream, plan_stream

_BIAS_BYTES = 4 * LANES
_WEIGHTS = (Q(0), Q(1))
_INPUTS = (Q(2), Q(3))
_EPILOGUE = (*_WEIGHTS, _INPUTS[1], Q(4))
"""Registers an epilogue may overwrite, in its order: window 0's is not among them."""

Store = Callable[[Q], None]


class PixelBody(Protocol):
    """What the frame of a convolution needs of a pixel's code.

    Attributes:
        order: place of each multiply-accumulate's weights in the record, in the order of weight_vectors.
        primed: windows to load before the first pixel of a row.
        wanted: integer registers `allocate` takes at most.
    """

    order: tuple[int, ...]
    primed: int
    wanted: int

    def allocate(self, f: Function, pool: Pool, pointers: RowPointers) -> None:
        """Take registers and decide the schedule."""

    def start_block(self, f: Function, weights: X, temporary: X) -> None:
        """`weights` points past the epilogue's block constants: load what stays and move on to the bias."""

    def start_row(self, f: Function) -> None:
        """After the row pointers are set."""

    def pixels(self, f: Function, weights: X, width: int, counter: X, store: Store) -> None:
        """All pixels of a row."""


def _add(f: Function, register: X, value: int, temporary: X) -> None:
    if -2048 <= value <= 2047:
        f("addi", register, register, value)
    else:
        f("li", temporary, value)
        f("add", register, register, temporary)


class UnrolledBody:
    """Every multiply-accumulate of the pixel in line, in a hardware loop over the row's pixels."""

    def __init__(self, windows: tuple[Window, ...], epilogue: Epilogue, kind: str, ahead: int) -> None:
        self._windows, self._epilogue = windows, epilogue
        self._kept = min(epilogue.keeps, ahead)
        self._mac = f"esp.vsmulas.{kind}.qacc"
        taken = {*_WEIGHTS, *_INPUTS[: min(2, len(windows))], *_EPILOGUE[: epilogue.clobbered]}
        free = [Q(number) for number in range(8) if Q(number) not in taken]
        self._held = tuple(free[: epilogue.held])
        self._residents = tuple(free[epilogue.held :])
        self.primed = 1
        macs = sum(len(window.lanes) for window in windows)
        self.wanted = 0 if bias_rewinds(LANES * macs + _BIAS_BYTES) else 1

    def allocate(self, f: Function, pool: Pool, pointers: RowPointers) -> None:
        """See PixelBody."""
        self._pointers = pointers
        self._stream: Stream = plan_stream(
            self._windows, pointers.rides(), len(self._residents), kept=self._kept
        )
        self.order, self.primed = self._stream.order, self._stream.primed
        self._rewind = LANES * self._stream.streamed + _BIAS_BYTES
        self._far = None if bias_rewinds(self._rewind) else pool.plain()
        if self._far is not None:
            f("li", self._far, self._rewind, note="bytes of streamed weights and bias")

    def start_block(self, f: Function, weights: X, temporary: X) -> None:
        """See PixelBody."""
        constants = LANES * len(self.order) + _BIAS_BYTES
        self._epilogue.start_block(f, weights, self._held, constants)
        for number in range(self._stream.residents):
            f("esp.vld.128.ip", self._residents[number], weights, 16, note="resident weights")
        _add(f, weights, LANES * self._stream.streamed, temporary)

    def start_row(self, f: Function) -> None:
        """See PixelBody."""
        for number in range(self.primed):
            self._pointers.load(f, number, _INPUTS[number % 2])

    def pixels(self, f: Function, weights: X, width: int, counter: X, store: Store) -> None:
        """See PixelBody."""
        with f.loop(width, counter):
            if not self.primed:
                self._pointers.load(f, 0, _INPUTS[0])
            load_bias(f, weights, self._rewind, self._far)
            self._macs(f, weights)
            self._pointers.next_pixel(f)
            store(self._epilogue.emit(f, _EPILOGUE[: self._epilogue.clobbered], self._held))

    def _macs(self, f: Function, weights: X) -> None:
        for mac in self._stream.macs:
            if mac.resident is not None:
                weight = self._residents[mac.resident]
            else:
                assert mac.streamed is not None
                weight = _WEIGHTS[mac.streamed % 2]
            value = _INPUTS[mac.window % 2]
            if mac.loads_weight is not None:
                target = _WEIGHTS[mac.loads_weight % 2]
                f(f"{self._mac}.ld.incp", target, weights, weight, value, mac.lane)
            elif mac.loads_window is not None:
                number = mac.loads_window
                pointer = self._pointers.of(self._windows[number].row)
                f(
                    f"{self._mac}.ld.incp",
                    _INPUTS[number % 2],
                    pointer,
                    weight,
                    value,
                    mac.lane,
                    note=f"window {number}" + (" of the next pixel" if number < mac.window else ""),
                    extra=self._pointers.extra(number),
                )
            else:
                f(self._mac, weight, value, mac.lane)
            for number in mac.then_loads:
                self._pointers.load(f, number, _INPUTS[number % 2])


class LoopedBody:
    """Runs of full windows as hardware loops of two windows each; the pixels of a row in a branch loop."""

    def __init__(self, windows: tuple[Window, ...], epilogue: Epilogue, kind: str) -> None:
        self._windows, self._epilogue = windows, epilogue
        self._mac = f"esp.vsmulas.{kind}.qacc"
        self._lanes = LANES if kind == "s8" else LANES // 2
        self._count = sum(len(window.lanes) for window in windows)
        self._held = (Q(7),)[: epilogue.held]
        self.order = tuple(range(self._count))
        self.primed = 0
        self.wanted = 2

    def allocate(self, f: Function, pool: Pool, pointers: RowPointers) -> None:
        """See PixelBody."""
        self._pointers = pointers
        self._rounds = pool.plain()
        self._rewind = LANES * self._count + _BIAS_BYTES
        self._far = pool.plain()
        f("li", self._far, self._rewind, note="bytes of weights and bias")

    def start_block(self, f: Function, weights: X, temporary: X) -> None:
        """See PixelBody."""
        self._epilogue.start_block(f, weights, self._held, self._rewind)
        _add(f, weights, LANES * self._count, temporary)

    def start_row(self, f: Function) -> None:
        """Nothing: every pixel loads its own first window."""

    def pixels(self, f: Function, weights: X, width: int, counter: X, store: Store) -> None:
        """See PixelBody."""
        with f.repeat(width, counter):
            self._pointers.load(f, 0, _INPUTS[0])
            load_bias(f, weights, self._rewind, self._far)
            for register in _WEIGHTS[: self._count]:
                f("esp.vld.128.ip", register, weights, 16)
            self._macs(f, weights)
            self._pointers.next_pixel(f)
            store(self._epilogue.emit(f, _EPILOGUE[: self._epilogue.clobbered], self._held))

    def _macs(self, f: Function, weights: X) -> None:
        done, number = 0, 0
        while number < len(self._windows):
            rounds = self._run(number) // 2
            if rounds >= 2:
                with f.loop(rounds, self._rounds):
                    self._window(f, weights, number, done)
                    self._window(f, weights, number + 1, done + self._lanes)
                number += 2 * rounds
                done += 2 * self._lanes * rounds
            else:
                self._window(f, weights, number, done)
                done += len(self._windows[number].lanes)
                number += 1

    def _run(self, first: int) -> int:
        """How many full windows from `first` on load a following one of the same row and advance its pointer by 16."""
        rides, row, length = self._pointers.rides(), self._windows[first].row, 0
        for window, following, rode in zip(self._windows[first:], self._windows[first + 1 :], rides[first + 1 :], strict=False):
            if len(window.lanes) != self._lanes or following.row != row or not rode:
                break
            length += 1
        return length

    def _window(self, f: Function, weights: X, number: int, done: int) -> None:
        lanes = [lane for lane, _, _ in self._windows[number].lanes]
        following = number + 1 if number + 1 < len(self._windows) else None
        if following is not None and len(lanes) == 1:
            self._pointers.load(f, following, _INPUTS[following % 2])
        for place, lane in enumerate(lanes):
            index = done + place
            weight = _WEIGHTS[index % 2]
            if index + 2 < self._count:
                f(f"{self._mac}.ld.incp", weight, weights, weight, _INPUTS[number % 2], lane)
            else:
                f(self._mac, weight, _INPUTS[number % 2], lane)
            if following is not None and place == 0 and len(lanes) > 1:
                self._pointers.load(f, following, _INPUTS[following % 2])
