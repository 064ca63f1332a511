"""How a filter meets memory: the 16-byte windows of input a pixel reads, and the order of its weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LANES = 16
"""Bytes of a PIE register, and lanes of 8 bits in it."""


Weights = npt.NDArray[np.signedinteger]


@dataclass(frozen=True)
class Window:
    """One 16-byte load of input.

    Attributes:
        row: filter row ky, so which row pointer it uses.
        offset: bytes from the pointer of the pixel.
        lanes: (lane, kx, channel) of every element that meets a weight, lanes ascending.
    """

    row: int
    offset: int
    lanes: tuple[tuple[int, int, int], ...]


def input_windows(
    kernel_h: int, kernel_w: int, channels: int, pitch: int, dilation_w: int, *, aligned: bool, size: int = 1
) -> tuple[Window, ...]:
    """Cover the bytes one output pixel reads with as few 16-byte loads as a left-to-right sweep finds.

    Elements have `size` bytes, and `pitch` is a multiple of that. With `aligned` every load starts at a multiple of
    16 from the pixel; else at the first byte not yet covered.
    """
    needed = [
        (kx * dilation_w * pitch + channel * size, kx, channel) for kx in range(kernel_w) for channel in range(channels)
    ]
    row: list[tuple[int, tuple[tuple[int, int, int], ...]]] = []
    while needed:
        start = needed[0][0] // LANES * LANES if aligned else needed[0][0]
        inside = [entry for entry in needed if entry[0] < start + LANES]
        row.append((start, tuple(((byte - start) // size, kx, channel) for byte, kx, channel in inside)))
        needed = needed[len(inside) :]
    return tuple(Window(ky, start, lanes) for ky in range(kernel_h) for start, lanes in row)


def advances(windows: tuple[Window, ...], pixel_step: int) -> tuple[int, ...]:
    """By how many bytes each load moves its row pointer: to the row's next window, or to the next pixel's first."""
    steps = []
    for index, window in enumerate(windows):
        following = windows[index + 1] if index + 1 < len(windows) else None
        if following is not None and following.row == window.row:
            steps.append(following.offset - window.offset)
        else:
            first = next(other for other in windows if other.row == window.row)
            steps.append(pixel_step + first.offset - window.offset)
    return tuple(steps)


@dataclass(frozen=True)
class Block:
    """As many output channels as a register has lanes: where their inputs start, and their weights.

    Attributes:
        first_input: first input channel they read.
        weights: int8 or int16 [lanes, kernel_h, kernel_w, channels], zero for outputs and groups that are not there.
    """

    first_input: int
    weights: Weights


def blocks(weights: Weights, groups: int, lanes: int = LANES) -> tuple[Block, ...]:
    """Split a filter bank [outputs, kernel_h, kernel_w, inputs / groups] into blocks of `lanes` outputs.

    All blocks read the same number of input channels: those of the groups their outputs belong to, rounded up to
    the widest block. Groups smaller than a block make its weights block-diagonal.
    """
    outputs, kernel_h, kernel_w, per_group = weights.shape
    group_outputs = outputs // groups
    spans = []
    for first in range(0, outputs, lanes):
        last = min(first + lanes, outputs) - 1
        spans.append((first // group_outputs * per_group, (last // group_outputs + 1) * per_group))
    channels = max(end - start for start, end in spans)
    result = []
    for number, (start, _) in enumerate(spans):
        start = min(start, per_group * groups - channels)
        packed = np.zeros((lanes, kernel_h, kernel_w, channels), weights.dtype)
        for lane, output in enumerate(range(number * lanes, min((number + 1) * lanes, outputs))):
            at = output // group_outputs * per_group - start
            packed[lane, :, :, at : at + per_group] = weights[output]
        result.append(Block(start, packed))
    return tuple(result)


def weight_vectors(block: Block, windows: tuple[Window, ...]) -> Weights:
    """Weights [macs, lanes] in the order of the multiply-accumulates: windows in order, their lanes in order."""
    taps = [(window.row, kx, channel) for window in windows for _, kx, channel in window.lanes]
    rows, columns, channels = (list(axis) for axis in zip(*taps, strict=True))
    vectors: Weights = np.ascontiguousarray(block.weights[:, rows, columns, channels].T)
    return vectors


def padded(values: npt.ArrayLike, dtype: type, count: int, fill: int = 0) -> npt.NDArray[np.int64]:
    """Per-channel constants brought to `count` entries, checked to fit `dtype`."""
    given = np.atleast_1d(np.asarray(values, dtype=np.int64))
    whole = np.full(count, fill, np.int64)
    whole[: given.size] = given
    limits = np.iinfo(dtype)
    assert whole.min() >= limits.min and whole.max() <= limits.max, (whole.min(), whole.max(), dtype)
    return whole.astype(dtype)
