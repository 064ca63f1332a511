"""One grid for a float graph input that several QuantizeLinear read in grids of their own."""

from __future__ import annotations

from collections.abc import Sequence

from espgen.errors import EspgenError
from espgen.ir import DType, QuantParams

Grid = tuple[QuantParams, DType]

_MUCH_FINER = 16
"""A grid this much finer than another stands in for it: rounding twice then shows in few elements, and by one step."""

_COARSEST = 0.5
"""The finest scale in units of one that is twice as coarse: half of its step is one step of that scale."""


def joint_grid(name: str, grids: Sequence[Grid]) -> Grid:
    """The grid in which graph input `name` is held so that each of `grids` (two or more) can be computed from it.

    One of them, where it reaches as far as all others and is much finer (or has their scale); else int16 of the finest
    scale divided by an odd number, whose halves between two steps are those of that scale, too: rounding twice is rounding
    once. Where 16 bits can't hold all of them in the finest scale, in a scale up to twice as coarse: no reader is more than
    one of its steps off. Raises EspgenError beyond that.
    """
    for quant, dtype in grids:
        if all(_covers((quant, dtype), other) for other in grids):
            return quant, dtype
    ends = [end for grid in grids for end in _ends(grid)]
    low, high = min(ends), max(ends)
    scales = [quant.scale[0] for quant, _ in grids]
    steps = (high - low) / min(scales)
    room = (DType.INT16.maximum - DType.INT16.minimum - 2) / steps
    if room < _COARSEST:
        raise EspgenError(
            f"graph input {name!r} is quantized in {len(grids)} grids, from {low:.6g} to {high:.6g} in steps of "
            f"{min(scales):.6g}: more than 16 bits hold",
            place=f"tensor {name!r}",
            hint="let one QuantizeLinear serve all its readers, or give each of them a graph input of its own",
        )
    same = len(set(scales)) == 1
    divisor = room if room < 1 else 1 if same else int(room) - (int(room) + 1) % 2
    scale = min(scales) / divisor
    middle = round((low + high) / 2 / scale)
    return QuantParams.tensor(scale, max(DType.INT16.minimum, min(DType.INT16.maximum, -middle))), DType.INT16


def _ends(grid: Grid) -> tuple[float, float]:
    """Least and greatest real value."""
    (quant, dtype), point = grid, grid[0].zero_point[0]
    return (dtype.minimum - point) * quant.scale[0], (dtype.maximum - point) * quant.scale[0]


def _covers(grid: Grid, other: Grid) -> bool:
    (low, high), (least, greatest) = _ends(grid), _ends(other)
    scale, coarser = grid[0].scale[0], other[0].scale[0]
    return low <= least and greatest <= high and (scale == coarser or scale * _MUCH_FINER <= coarser)
