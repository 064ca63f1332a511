"""A line that damages what it carries, in a way that a seed repeats."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Protocol

BOOT_NOISE = (
    b"ESP-ROM:esp32p4-eco2-20240710\r\nBuild:Jul 10 2024\r\nrst:0x1 (POWERON),boot:0x30f\r\n",
    b"Guru Meditation Error: Core  0 panic'ed\r\n\0\0Rebooting...\r\n",
    bytes(range(256)),
    b"\0" * 40,
    b"\xff" * 2000,
)


class Transport(Protocol):
    def read(self, timeout: float) -> bytes: ...

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Faults:
    """Chance of each fault per byte (`noise`, `cut`: per piece that is read or written)."""

    drop: float = 0.0
    flip: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    cut: float = 0.0  # the rest of a piece is lost
    noise: float = 0.0  # text or bytes of a restarting board in between
    repeat: float = 0.0  # a piece comes twice, the second time later
    boot: bool = False  # noise before everything


class FaultyLine:
    """Between the host side and a transport: damages both directions. Counts what it did."""

    def __init__(self, inner: Transport, faults: Faults, seed: int) -> None:
        self._inner = inner
        self._faults = faults
        self._random = random.Random(seed)
        self._late: list[bytes] = []  # pieces to be repeated towards the device
        self._ahead = self._noise() if faults.boot else b""
        self.done = 0

    def read(self, timeout: float) -> bytes:
        if self._ahead:
            data, self._ahead = self._ahead, b""
            return data
        data = self._inner.read(timeout)
        return self._damage(data) if data else data

    def write(self, data: bytes) -> None:
        self._inner.write(self._damage(data))
        if self._late and self._random.random() < 0.5:
            self._inner.write(self._late.pop(0))
        if self._chance(self._faults.repeat):
            self._late.append(data)

    def close(self) -> None:
        self._inner.close()

    def _damage(self, data: bytes) -> bytes:
        faults, out = self._faults, bytearray()
        if self._chance(faults.noise):
            out += self._noise()
        if self._chance(faults.cut):
            data = data[: self._random.randrange(len(data))]
        for byte in data:
            if self._chance(faults.drop):
                continue
            if self._chance(faults.flip):
                byte ^= 1 << self._random.randrange(8)
            out.append(byte)
            if self._chance(faults.duplicate):
                out.append(byte)
            if len(out) > 1 and self._chance(faults.reorder):
                out[-1], out[-2] = out[-2], out[-1]
        return bytes(out)

    def _noise(self) -> bytes:
        text = self._random.choice(BOOT_NOISE)
        return text[self._random.randrange(len(text)) :] if self._random.random() < 0.5 else text

    def _chance(self, probability: float) -> bool:
        hit = probability > 0 and self._random.random() < probability
        self.done += hit
        return hit
