"""Scales and zero points of Q and DQ as they may be written: in blocks that are none, and 0 for channels that are dead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from espgen.ir import QuantParams

Pair = tuple[np.ndarray, np.ndarray]


def without_blocks(scale: np.ndarray, zero_point: np.ndarray, shape: tuple[int, ...], axis: int, size: int) -> tuple[Pair, int]:
    """((scales, zero points), axis): one each, or one per entry of an axis, that mean the same as blocks along `axis`.

    scale, zero_point  of rank len(shape), with ceil(shape[axis] / size) entries along `axis`
    Raises ValueError where they do not fit `shape`, or where blocks differ along more than one axis.
    """
    axis %= len(shape)
    blocks = (*shape[:axis], -(-shape[axis] // size), *shape[axis + 1 :])
    if scale.shape != blocks or zero_point.shape != blocks:
        raise ValueError(f"{list(scale.shape)} scales, where blocks of {size} of {list(shape)} are {list(blocks)}")
    pair = tuple(np.repeat(data, size, axis).take(np.arange(shape[axis]), axis) for data in (scale, zero_point))
    for position in range(len(shape)):
        if all(np.array_equal(data, np.broadcast_to(data.take([0], position), data.shape)) for data in pair):
            pair = tuple(data.take([0], position) for data in pair)
    varying = [position for position in range(len(shape)) if pair[0].shape[position] > 1]
    if len(varying) > 1:
        raise ValueError(f"blocks that differ along axes {varying[0]} and {varying[1]}")
    return (pair[0].reshape(-1), pair[1].reshape(-1)), varying[0] if varying else 0


def revived(data: np.ndarray, quant: QuantParams) -> tuple[np.ndarray, QuantParams]:
    """The same real values without scales of 0: where one stands, integers become the zero point.

    data  constant integers of any shape; a channel whose weights are all 0 is written with scale 0 by some quantizers
    """
    dead = np.asarray(quant.scale) == 0.0
    if not dead.any():
        return data, quant
    scale = max(quant.scale) or 1.0
    points = np.asarray(quant.zero_point, data.dtype)
    shape = [-1 if axis == quant.axis else 1 for axis in range(data.ndim)] if quant.axis is not None else []
    living = np.where(dead.reshape(shape), points.reshape(shape), data).astype(data.dtype)
    return living, replace(quant, scale=tuple(value or scale for value in quant.scale))
