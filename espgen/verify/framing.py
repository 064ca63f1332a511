"""Frames on a byte stream: consistent overhead byte stuffing (Cheshire and Baker, 1999) and CRC-32.

A frame is 00 | COBS(header, data, crc) | 00; firmware/agent/protocol.h gives the header. Text that a boot loader or
a log prints between frames contains no zero byte, so the delimiter before each frame keeps it apart from them.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from espgen.verify.protocol import CRC_BYTES, HEADER_BYTES, MAX_DATA, MAX_ENCODED

_HEADER = struct.Struct("<BBHIH")
_CRC = struct.Struct("<I")


@dataclass(frozen=True)
class Frame:
    """One message. `type` is a number, not protocol.Type: what comes in may be anything."""

    type: int
    sequence: int
    session: int
    data: bytes = b""


@dataclass(frozen=True)
class Noise:
    """Bytes between delimiters that are no frame: boot text, or a frame that was damaged."""

    data: bytes


def stuff(data: bytes) -> bytes:
    """COBS: `data` without its zero bytes, one byte longer for every 254."""
    out = bytearray()
    for block in data.split(b"\0"):
        while len(block) >= 254:
            out += b"\xff" + block[:254]
            block = block[254:]
        out.append(len(block) + 1)
        out += block
    return bytes(out)


def unstuff(data: bytes) -> bytes | None:
    """Undo `stuff`; None where the bytes are nothing `stuff` makes."""
    out = bytearray()
    place = 0
    while place < len(data):
        code = data[place]
        block = data[place + 1 : place + code]
        if code == 0 or len(block) != code - 1 or 0 in block:
            return None
        out += block
        place += code
        if code != 0xFF and place < len(data):
            out.append(0)
    return bytes(out)


def encode_frame(frame: Frame) -> bytes:
    """The frame's bytes on the wire with both delimiters. ValueError for more than MAX_DATA bytes of data."""
    if len(frame.data) > MAX_DATA:
        raise ValueError(f"{len(frame.data)} bytes do not fit a frame of {MAX_DATA}")
    body = _HEADER.pack(frame.type, 0, frame.sequence, frame.session, len(frame.data)) + frame.data
    return b"\0" + stuff(body + _CRC.pack(zlib.crc32(body))) + b"\0"


def decode_frame(encoded: bytes) -> Frame | None:
    """The frame between two delimiters, None where it is damaged or no frame at all."""
    if len(encoded) > MAX_ENCODED:
        return None
    body = unstuff(encoded)
    if body is None or len(body) < HEADER_BYTES + CRC_BYTES:
        return None
    kind, reserved, sequence, session, length = _HEADER.unpack_from(body)
    if reserved != 0 or length > MAX_DATA or length != len(body) - HEADER_BYTES - CRC_BYTES:
        return None
    if _CRC.unpack_from(body, len(body) - CRC_BYTES)[0] != zlib.crc32(body[:-CRC_BYTES]):
        return None
    return Frame(kind, sequence, session, body[HEADER_BYTES:-CRC_BYTES])


class FrameDecoder:
    """Takes a byte stream in pieces of any size; gives frames and what lies between them, in order."""

    # A device that sends no zero at all (another program's output) is given back in pieces of this size.
    LONGEST_NOISE = 4 * MAX_ENCODED

    def __init__(self) -> None:
        self._pending = bytearray()

    def push(self, data: bytes) -> None:
        """Append bytes that came in."""
        self._pending += data

    def pop(self) -> Frame | Noise | None:
        """Take the next frame or noise; None where more bytes are needed first."""
        while (end := self._pending.find(0)) >= 0:
            encoded = bytes(self._pending[:end])
            del self._pending[: end + 1]
            if encoded:
                return decode_frame(encoded) or Noise(encoded)
        if len(self._pending) > self.LONGEST_NOISE:
            return Noise(self.flush())
        return None

    def flush(self) -> bytes:
        """Give back and forget the bytes after the last delimiter."""
        rest = bytes(self._pending)
        self._pending.clear()
        return rest
