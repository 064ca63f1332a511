"""A requantization as a kernel sees it: a kind, a few constants, and tables per output channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from espgen.arith import Requant, Scale, Shift, WideScale

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class RequantView:
    """`kind` names the C++ enumerator; `tables` are given to the kernel in this order, always three."""

    kind: str
    split: int
    tables: tuple[tuple[str, Array], ...]


def requant_view(requant: Requant | None, channels: int) -> RequantView:
    """Tables `multiplier`, `low`, `shift` with one entry per channel (a single 0 where the kind has none)."""
    none16, none8 = np.zeros(1, np.int16), np.zeros(1, np.uint8)
    if requant is None:
        return RequantView("Requant::kNone", 0, (("multiplier", none16), ("low", none16), ("shift", none8)))
    repeats = 1 if len(requant.shift) == channels else channels
    shift = np.asarray(requant.shift * repeats, np.uint8)
    if isinstance(requant, Shift):
        return RequantView("Requant::kShift", 0, (("multiplier", none16), ("low", none16), ("shift", shift)))
    if isinstance(requant, Scale):
        high, low = np.asarray(requant.high * repeats, np.int16), np.asarray(requant.low * repeats, np.int16)
        return RequantView("Requant::kScale", requant.split, (("multiplier", high), ("low", low), ("shift", shift)))
    assert isinstance(requant, WideScale)
    multiplier = np.asarray(requant.multiplier * repeats, np.int32)
    return RequantView("Requant::kWideScale", requant.split, (("multiplier", multiplier), ("low", none16), ("shift", shift)))
