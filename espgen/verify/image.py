"""What a linked firmware image stores: the sections of a 32-bit little-endian ELF file."""

from __future__ import annotations

import struct
from pathlib import Path

_ALLOCATED = 0x2  # SHF_ALLOC
_NO_BITS = 8  # SHT_NOBITS


def stored_sections(image: Path) -> dict[str, int]:
    """Bytes of each section with code, constants or initial values; memory that starts as zeros is not among them."""
    data = image.read_bytes()
    (table,) = struct.unpack_from("<I", data, 32)
    size, count, of_names = struct.unpack_from("<3H", data, 46)
    headers = [struct.unpack_from("<6I", data, table + index * size) for index in range(count)]
    names = headers[of_names][4]
    return {
        data[names + name : data.index(b"\0", names + name)].decode(): length
        for name, kind, flags, _, _, length in headers
        if flags & _ALLOCATED and kind != _NO_BITS
    }
