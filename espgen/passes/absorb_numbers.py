"""Numbers of the quantized graph's constants: real values of integers and back, and moved constants."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from espgen.errors import EspgenError
from espgen.ir import DType, Node, QuantParams

Array = npt.NDArray[Any]


def dequantized(data: Array, quant: QuantParams) -> Array:
    """Real values, float64, of integers of any rank."""
    scale, zero_point = spread(quant, data.ndim)
    return np.asarray((data.astype(np.float64) - zero_point) * scale)


def quantized(real: Array, quant: QuantParams, dtype: DType) -> Array:
    """sat(zero_point + rne(real / scale)), computed in float64."""
    scale, zero_point = spread(quant, real.ndim)
    steps = np.rint(real.astype(np.float64) / scale) + zero_point
    return np.asarray(np.clip(steps, dtype.minimum, dtype.maximum).astype(dtype.numpy))


def spread(quant: QuantParams, rank: int) -> tuple[Array, Array]:
    """Scale and zero point, float64, shaped to broadcast against data of `rank`."""
    shape: tuple[int, ...] = ()
    if quant.axis is not None:
        shape = tuple(-1 if axis == quant.axis else 1 for axis in range(rank))
    scale = np.asarray(quant.scale, np.float64).reshape(shape)
    return scale, np.asarray(quant.zero_point, np.float64).reshape(shape)


def moved_constant(
    node: Node, data: Array, quant: QuantParams | None, shape: tuple[int, ...]
) -> tuple[Array, QuantParams | None]:
    """A constant behind a data movement, with its channel axis moved along. EspgenError where that can't be said."""
    axis = None if quant is None else quant.axis
    if node.op == "Reshape":
        return data.reshape(shape), _on_axis(node, quant, _axis_after_reshape(data.shape, axis, shape))
    if node.op == "Transpose":
        permutation = node.attrs["perm"]
        return data.transpose(permutation), _on_axis(node, quant, None if axis is None else permutation.index(axis))
    if node.op == "Expand":
        moved_axis = None if axis is None else axis + len(shape) - data.ndim
        return np.array(np.broadcast_to(data, shape)), _on_axis(node, quant, moved_axis)
    if node.op == "Slice" and axis is None:
        return np.array(data[slices(node)]), quant
    raise EspgenError(
        f"{node.op} of a quantized constant", node=node.name, place=node.inputs[0], hint="apply it to the constant before export"
    )


def slices(node: Node) -> tuple[slice, ...]:
    """Python slices of a canonical Slice node."""
    entries = zip(node.attrs["starts"], node.attrs["ends"], node.attrs["steps"], strict=True)
    return tuple(slice(start, None if end < 0 else end, step) for start, end, step in entries)


def _axis_after_reshape(shape: tuple[int, ...], axis: int | None, target: tuple[int, ...]) -> int | None:
    if axis is None:
        return None
    before = math.prod(shape[:axis])
    for candidate, extent in enumerate(target):
        if extent == shape[axis] and math.prod(target[:candidate]) == before:
            return candidate
    return -1


def _on_axis(node: Node, quant: QuantParams | None, axis: int | None) -> QuantParams | None:
    if quant is None or quant.axis is None:
        return quant
    if axis is None or axis < 0:
        raise EspgenError(
            "the reshape of a constant splits its quantized channels", node=node.name, place=node.inputs[0],
            hint="quantize the constant in its final shape",
        )  # fmt: skip
    return QuantParams(quant.scale, quant.zero_point, axis)
