"""Weight zero points: sum (w - zw) * x with 8-bit factors, although w - zw has nine bits.

Where w - zw fits after all, the difference is the weight. Ranges chosen by minimum and maximum leave only a weight or
two per layer outside: those taps get a second multiply-accumulate with what is missing. Only where many are outside is
the term -zw * sum x worth computing at run time (correction.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from espgen.codegen.pie.packing import Block, Weights, Window, blocks


@dataclass(frozen=True)
class Parts:
    """w - zw = near + rest, both of the weights' type; rest is None where near is everything."""

    near: Weights
    rest: Weights | None


def split(weights: Weights, zero: int, element_bytes: int) -> Parts | None:
    """w - zw in one or two parts of the activations' type; None where two are not enough."""
    limits = np.iinfo(np.int8 if element_bytes == 1 else np.int16)
    difference = weights.astype(np.int64) - zero
    near = np.clip(difference, limits.min, limits.max)
    rest = difference - near
    if rest.max() > limits.max:
        return None
    return Parts(near.astype(limits.dtype), rest.astype(limits.dtype) if rest.any() else None)


def joined_blocks(parts: Parts, groups: int, lanes: int) -> tuple[Block, ...]:
    """Blocks of the near weights; with a rest, its weights as channels of their own behind those of the near ones."""
    near = blocks(parts.near, groups, lanes)
    if parts.rest is None:
        return near
    rest = blocks(parts.rest, groups, lanes)
    return tuple(
        Block(one.first_input, np.concatenate([one.weights, other.weights], axis=3))
        for one, other in zip(near, rest, strict=True)
    )


def rest_taps(whole: tuple[Block, ...], channels: int) -> npt.NDArray[np.bool_]:
    """Which taps [kernel_h, kernel_w, channels] have a rest in any block."""
    used: npt.NDArray[np.bool_] = np.any([block.weights[..., channels:].any(axis=0) for block in whole], axis=0)
    return used


def with_rests(windows: tuple[Window, ...], taps: npt.NDArray[np.bool_]) -> tuple[Window, ...]:
    """The windows with a second use of every lane whose tap has a rest."""
    channels = taps.shape[2]
    return tuple(
        replace(
            window,
            lanes=window.lanes
            + tuple(
                (lane, kx, channel + channels) for lane, kx, channel in window.lanes if taps[window.row, kx, channel]
            ),
        )
        for window in windows
    )
