"""A device that lies: the real agent behind a pseudo-terminal, with its answers changed in a way that a seed repeats.

Every frame it sends is well formed (framing and CRC are right), so that nothing but its meaning can give it away.
"""

from __future__ import annotations

import os
import pty
import random
import select
import struct
import subprocess
import threading
import tty
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from espgen.verify.framing import Frame, FrameDecoder, encode_frame
from espgen.verify.protocol import MAX_DATA, REPLY_BIT, Type

Lie = Callable[[Frame, random.Random], Iterable[Frame]]

_HELLO_COUNTS = struct.calcsize("<HHI32sIIB")  # where tensors, layers, steps and layer outputs stand in HELLO
_REPLY = {kind: kind | REPLY_BIT for kind in Type}


def _put(frame: Frame, place: int, data: bytes) -> Frame:
    return replace(frame, data=frame.data[:place] + data + frame.data[place + len(data) :])


def _of(*kinds: Type) -> Callable[[Callable[[Frame, random.Random], Iterable[Frame]]], Lie]:
    """A lie about replies to these requests only."""

    def decorate(lie: Callable[[Frame, random.Random], Iterable[Frame]]) -> Lie:
        def chosen(frame: Frame, chance: random.Random) -> Iterable[Frame]:
            return lie(frame, chance) if frame.type in [_REPLY[kind] for kind in kinds] else [frame]

        chosen.__name__ = lie.__name__
        return chosen

    return decorate


@_of(Type.HELLO)
def no_layers(frame: Frame, _chance: random.Random) -> Iterable[Frame]:
    return [_put(frame, _HELLO_COUNTS, struct.pack("<HHII", 0, 0, 0, 0))]


@_of(Type.HELLO)
def other_counts(frame: Frame, chance: random.Random) -> Iterable[Frame]:
    where, layout = chance.choice(((0, "<H"), (2, "<H"), (4, "<I"), (8, "<I")))
    value = chance.choice((0, 1, 0xFFFF, chance.randrange(0x10000)))
    return [_put(frame, _HELLO_COUNTS + where, struct.pack(layout, value))]


@_of(Type.DESCRIBE)
def huge_description(frame: Frame, chance: random.Random) -> Iterable[Frame]:
    place = chance.randrange(0, 24)
    return [_put(frame, place, struct.pack("<I", chance.choice((1 << 28, 0xFFFFFFFF, 0x7FFFFFFF))))]


@_of(Type.DESCRIBE)
def other_description(frame: Frame, chance: random.Random) -> Iterable[Frame]:
    place = chance.randrange(len(frame.data))
    return [_put(frame, place, bytes([frame.data[place] ^ chance.randrange(1, 256)]))]


@_of(Type.DESCRIBE)
def short_description(frame: Frame, chance: random.Random) -> Iterable[Frame]:
    return [replace(frame, data=frame.data[: chance.randrange(len(frame.data))])]


@_of(Type.DESCRIBE)
def any_description(frame: Frame, chance: random.Random) -> Iterable[Frame]:
    return [replace(frame, data=chance.randbytes(chance.randrange(MAX_DATA + 1)))]


@_of(Type.HASHES)
def other_hashes(frame: Frame, chance: random.Random) -> Iterable[Frame]:
    place = chance.randrange(len(frame.data))
    return [_put(frame, place, bytes([frame.data[place] ^ 0x40]))]


@_of(Type.HASHES)
def any_hashes(frame: Frame, chance: random.Random) -> Iterable[Frame]:
    return [replace(frame, data=chance.randbytes(chance.choice((0, 1, 8, 1000, 1024))))]


@_of(Type.READ)
def other_bytes(frame: Frame, chance: random.Random) -> Iterable[Frame]:
    return [replace(frame, data=chance.randbytes(len(frame.data)))]


@_of(Type.READ)
def other_size(frame: Frame, chance: random.Random) -> Iterable[Frame]:
    return [replace(frame, data=chance.randbytes(chance.randrange(MAX_DATA + 1)) + b"\0")] if len(frame.data) < 900 else []


@_of(Type.RUN)
def any_run(frame: Frame, chance: random.Random) -> Iterable[Frame]:
    return [replace(frame, data=chance.randbytes(chance.choice((0, 5, len(frame.data)))))]


@_of(Type.RUN)
def progress_beyond_the_end(frame: Frame, chance: random.Random) -> Iterable[Frame]:
    total = chance.choice((1, 10, 0xFFFFFFFF))
    return [replace(frame, type=Type.PROGRESS, data=struct.pack("<II", total + 1 & 0xFFFFFFFF or total, total))]


@_of(Type.RUN)
def progress_of_another_run(frame: Frame, _chance: random.Random) -> Iterable[Frame]:
    return [replace(frame, type=Type.PROGRESS, data=struct.pack("<II", 1, 0xFFFFFFFF)), frame]


@_of(Type.RUN, Type.READ, Type.DESCRIBE, Type.WRITE)
def only_acknowledges(frame: Frame, _chance: random.Random) -> Iterable[Frame]:
    return [replace(frame, type=Type.ACK, data=b"")] * 3


@_of(Type.RUN, Type.READ, Type.DESCRIBE, Type.WRITE, Type.HELLO)
def only_complains(frame: Frame, _chance: random.Random) -> Iterable[Frame]:
    return [replace(frame, type=Type.NAK, data=b"\3")] * 3


def silent(_frame: Frame, _chance: random.Random) -> Iterable[Frame]:
    return []


def talkative(frame: Frame, chance: random.Random) -> Iterable[Frame]:
    return [replace(frame, type=Type.LOG, data=b"\x1b]0;owned\x07" + chance.randbytes(500))] * 20


def refuses(frame: Frame, chance: random.Random) -> Iterable[Frame]:
    data = bytes([chance.randrange(256), frame.type & ~REPLY_BIT]) + chance.randbytes(chance.randrange(60))
    return [replace(frame, type=Type.ERROR, data=data)]


def any_frame(frame: Frame, chance: random.Random) -> Iterable[Frame]:
    return [replace(frame, type=chance.randrange(256), data=chance.randbytes(chance.randrange(200)))]


def any_data(frame: Frame, chance: random.Random) -> Iterable[Frame]:
    if chance.random() < 0.7 or not frame.data:
        return [frame]
    place = chance.randrange(len(frame.data))
    return [_put(frame, place, bytes([chance.randrange(256)]))]


NEVER_EQUAL: tuple[Lie, ...] = (
    no_layers, huge_description, short_description, any_description, other_hashes, any_hashes, other_bytes, other_size,
    progress_beyond_the_end, progress_of_another_run, only_acknowledges, only_complains, silent, talkative, refuses,
)  # fmt: skip
"""Lies that keep a verdict from being reached, or must be seen."""
SOMETIMES_EQUAL: tuple[Lie, ...] = (other_counts, other_description, any_run, any_frame, any_data)
"""Lies that may happen to be the truth, or are about nothing that is compared."""


class HostileDevice:
    """The agent process `program` with every frame it sends passed through `lie`; `port` is a pseudo-terminal."""

    def __init__(self, program: Path, lie: Lie, seed: int) -> None:
        self._lie, self._chance = lie, random.Random(seed)
        self._process = subprocess.Popen([str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self._ours, self._theirs = pty.openpty()
        tty.setraw(self._theirs)
        self.port = os.ttyname(self._theirs)
        self._over = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> HostileDevice:
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._thread.join(10)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()
        os.close(self._ours)
        os.close(self._theirs)

    def _serve(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        decoder, answers = FrameDecoder(), self._process.stdout.fileno()
        while not self._over:
            ready, _, _ = select.select([self._ours, answers], [], [], 0.05)
            if self._ours in ready:
                self._process.stdin.write(os.read(self._ours, 4096))
            if answers in ready:
                data = os.read(answers, 4096)
                if not data:
                    return
                decoder.push(data)
                while (item := decoder.pop()) is not None:
                    if isinstance(item, Frame):
                        self._send(item)

    def _send(self, frame: Frame) -> None:
        said = [frame] if frame.type == Type.LOG else self._lie(frame, self._chance)
        data = b"".join(encode_frame(replace(part, data=part.data[:MAX_DATA])) for part in said)
        while data and not self._over:
            _, ready, _ = select.select([], [self._ours], [], 0.05)
            if ready:
                data = data[os.write(self._ours, data[:512]) :]
