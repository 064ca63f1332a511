"""The component's constants: one aligned binary in which equal arrays lie once."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

ALIGNMENT = 64


class WeightsBuilder:
    """Collects arrays and raw blocks; `offset_of` gives each its place."""

    def __init__(self) -> None:
        self._blob = bytearray()
        self._known: dict[str, int] = {}

    def add(self, data: npt.NDArray[Any] | bytes, alignment: int = ALIGNMENT) -> int:
        """Offset of `data` in the binary, a multiple of `alignment` (at most ALIGNMENT)."""
        raw = data if isinstance(data, bytes) else np.ascontiguousarray(data).astype(data.dtype.newbyteorder("<")).tobytes()
        key = f"{alignment}:{hashlib.sha256(raw).hexdigest()}"
        if key not in self._known:
            self._blob += bytes(-len(self._blob) % alignment)
            self._known[key] = len(self._blob)
            self._blob += raw
        return self._known[key]

    def binary(self) -> bytes:
        """Everything added so far, padded to the alignment plus one vector that loads may reach into."""
        return bytes(self._blob) + bytes(-len(self._blob) % ALIGNMENT + ALIGNMENT)
