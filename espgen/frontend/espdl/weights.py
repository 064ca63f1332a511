"""Filters as ESP32-P4 vector code wants them, and back to ONNX order.

Output channels come in blocks of A = 16 (8-bit) or 8 (16-bit) that lie innermost; the r = N % A channels behind the last full
block follow as a block of their own: [r][H][W][C] for ordinary filters, [H][W][r] for depthwise ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def lanes(dtype: np.dtype[Any]) -> int:
    """Channels of one vector."""
    return 16 // dtype.itemsize


def filters(data: Array, spatial: tuple[int, ...], channels: int, filters: int, align: int) -> Array:
    """[N, C, *spatial] from the packed, flat data of an ordinary filter."""
    size = int(np.prod(spatial, dtype=np.int64)) * channels
    full = filters // align * align
    blocks = data[: full * size].reshape(full // align, size, align).transpose(0, 2, 1).reshape(full, size)
    rest = data[full * size :].reshape(filters - full, size)
    both = np.concatenate([blocks, rest]).reshape(filters, *spatial, channels)
    return np.ascontiguousarray(np.moveaxis(both, -1, 1))


def depthwise(data: Array, spatial: tuple[int, ...], filters: int, align: int) -> Array:
    """[N, 1, *spatial] from the packed, flat data of a depthwise filter."""
    size = int(np.prod(spatial, dtype=np.int64))
    full = filters // align * align
    blocks = data[: full * size].reshape(full // align, size, align).transpose(0, 2, 1).reshape(full, size)
    rest = data[full * size :].reshape(size, filters - full).T
    return np.ascontiguousarray(np.concatenate([blocks, rest]).reshape(filters, 1, *spatial))


def matrices(data: Array, shape: tuple[int, ...], align: int) -> Array:
    """[.., K, N] from packed matrices of that shape: each is a filter of one pixel with K channels."""
    k, n = shape[-2:]
    flat = data.reshape(-1, k * n)
    unpacked = [filters(matrix, (), k, n, align).T for matrix in flat]
    return np.ascontiguousarray(np.stack(unpacked).reshape(shape)) if unpacked else data.reshape(shape)
