"""Where elements lie when one axis of a value moves to another: rows, and byte offsets within them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from espgen.ops.base import Storage

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Places:
    """Row number and byte offset in that row of some elements of a value (arrays of one length)."""

    rows: IntArray
    offsets: IntArray

    def bytes(self, storage: Storage) -> npt.NDArray[np.int32]:
        """Distances from the start of row 0 in bytes."""
        return np.asarray(self.rows * storage.row_pitch + self.offsets, np.int32)


def at_least_2(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape with ones in front up to rank 2, as rows_of sees it."""
    return (1,) * max(0, 2 - len(shape)) + tuple(shape)


def places(coordinates: IntArray, shape: Sequence[int], storage: Storage) -> Places:
    """Elements at `coordinates` [count, rank] of a value of `shape` (rank at least 2)."""
    rows = np.zeros(len(coordinates), np.int64)
    for axis, extent in enumerate(shape[:-2]):
        rows = rows * extent + coordinates[:, axis]
    offsets = coordinates[:, -2] * storage.pixel_pitch + coordinates[:, -1] * storage.item
    return Places(rows, offsets)


def every(extents: Sequence[int]) -> IntArray:
    """[product of extents, len(extents)] all index tuples in C order."""
    if not extents:
        return np.zeros((1, 0), np.int64)
    return np.indices(tuple(extents)).reshape(len(extents), -1).T.astype(np.int64)
