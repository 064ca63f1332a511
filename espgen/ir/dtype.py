"""Element types of values and what numpy calls them."""

from __future__ import annotations

from enum import Enum

import numpy as np


class DType(Enum):
    """Element type of a value; the member's value is numpy's name for it."""

    INT8 = "int8"
    UINT8 = "uint8"
    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    INT64 = "int64"
    FLOAT32 = "float32"
    BOOL = "bool"

    @property
    def numpy(self) -> np.dtype:
        return np.dtype(self.value)

    @property
    def size(self) -> int:
        """Bytes per element."""
        return int(self.numpy.itemsize)

    @property
    def is_float(self) -> bool:
        return self is DType.FLOAT32

    @property
    def is_integer(self) -> bool:
        return self not in (DType.FLOAT32, DType.BOOL)

    @property
    def minimum(self) -> int:
        """Smallest integer the type holds; ValueError for float32 and bool."""
        return int(np.iinfo(self.numpy).min)

    @property
    def maximum(self) -> int:
        """Largest integer the type holds; ValueError for float32 and bool."""
        return int(np.iinfo(self.numpy).max)

    @staticmethod
    def of(array: np.ndarray) -> DType:
        """The type of a numpy array; ValueError for a type espgen does not know."""
        return DType(array.dtype.name)
