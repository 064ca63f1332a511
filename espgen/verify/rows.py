"""The row hash of firmware/agent/tensors.h, computed on reference values."""

from __future__ import annotations

import struct
import zlib


def hash_rows(data: bytes, row_bytes: int) -> int:
    """Sum over rows of CRC-32(row number as u32 little-endian, row bytes), modulo 2^32.

    Independent of the order of the rows, so that a device may hash them as they are made.
    """
    if row_bytes == 0:
        return 0
    total = 0
    view = memoryview(data)
    for row in range(len(data) // row_bytes):
        start = zlib.crc32(struct.pack("<I", row))
        total += zlib.crc32(view[row * row_bytes : (row + 1) * row_bytes], start)
    return total & 0xFFFFFFFF
