"""Where ONNX's Resize reads: coordinates, nearest indices and the weights of linear and cubic interpolation.

Formulas as in the ONNX operator's specification (opset 19) and its reference implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

WEIGHT_BITS = 11
"""Weights are integers of 2^-11; those of one output element sum to 2^11 exactly."""


@dataclass(frozen=True)
class Axis:
    """Resizing along one axis: from `extent` to `count` elements, `scale` as ONNX has it."""

    extent: int
    count: int
    scale: float


def _half_pixel(x: FloatArray, axis: Axis) -> FloatArray:
    return (x + 0.5) / axis.scale - 0.5


def _half_pixel_symmetric(x: FloatArray, axis: Axis) -> FloatArray:
    adjustment = axis.count / (axis.scale * axis.extent)
    centre = axis.extent / 2
    return centre * (1 - adjustment) + (x + 0.5) / axis.scale - 0.5


def _pytorch_half_pixel(x: FloatArray, axis: Axis) -> FloatArray:
    return (x + 0.5) / axis.scale - 0.5 if axis.count > 1 else np.zeros_like(x)


def _align_corners(x: FloatArray, axis: Axis) -> FloatArray:
    return x * (axis.extent - 1) / (axis.count - 1) if axis.count > 1 else np.zeros_like(x)


def _asymmetric(x: FloatArray, axis: Axis) -> FloatArray:
    return x / axis.scale


def _tf_half_pixel_for_nn(x: FloatArray, axis: Axis) -> FloatArray:
    return (x + 0.5) / axis.scale


TRANSFORMATIONS: Mapping[str, Callable[[FloatArray, Axis], FloatArray]] = {
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _half_pixel_symmetric,
    "pytorch_half_pixel": _pytorch_half_pixel,
    "align_corners": _align_corners,
    "asymmetric": _asymmetric,
    "tf_half_pixel_for_nn": _tf_half_pixel_for_nn,
}

ROUNDINGS: Mapping[str, Callable[[FloatArray], FloatArray]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def positions(axis: Axis, transformation: str) -> FloatArray:
    """[count] real source coordinates, freed of float noise next to whole and half numbers."""
    exact = TRANSFORMATIONS[transformation](np.arange(axis.count, dtype=np.float64), axis)
    near = np.rint(exact * 2**20) / 2**20
    return np.where(np.abs(exact - near) < 1e-9, near, exact)


def nearest(axis: Axis, transformation: str, rounding: str) -> IntArray:
    """[count] index of the source element that each output element copies."""
    rounded = ROUNDINGS[rounding](positions(axis, transformation))
    return np.clip(rounded, 0, axis.extent - 1).astype(np.int64)


def linear(axis: Axis, transformation: str) -> tuple[IntArray, IntArray]:
    """[count, 2] source indices and integer weights of linear interpolation."""
    real = np.clip(positions(axis, transformation), 0, axis.extent - 1)
    first = np.minimum(np.floor(real), max(axis.extent - 2, 0)).astype(np.int64)
    second = np.rint((real - first) * 2**WEIGHT_BITS).astype(np.int64)
    indices = np.stack([first, np.minimum(first + 1, axis.extent - 1)], axis=1)
    return indices, np.stack([2**WEIGHT_BITS - second, second], axis=1)


def cubic(axis: Axis, transformation: str, a: float, exclude_outside: bool) -> tuple[IntArray, IntArray]:
    """[count, 4] source indices and integer weights of cubic convolution (Keys 1981) with coefficient `a`."""
    real = positions(axis, transformation)
    base = np.floor(real)
    distance = np.abs((real - base)[:, None] - np.array([-1.0, 0.0, 1.0, 2.0]))
    inner = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    outer = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    weights = np.where(distance <= 1, inner, np.where(distance < 2, outer, 0.0))
    raw = base.astype(np.int64)[:, None] + np.arange(-1, 3)
    if exclude_outside:
        weights = np.where((raw >= 0) & (raw < axis.extent), weights, 0.0)
        weights = weights / weights.sum(axis=1, keepdims=True)
    return np.clip(raw, 0, axis.extent - 1), whole_weights(weights)


def whole_weights(weights: FloatArray) -> IntArray:
    """Integers of 2^-11 that sum to 2^11 in every row; the largest weight takes up the rest."""
    integers = np.rint(weights * 2**WEIGHT_BITS).astype(np.int64)
    rest = 2**WEIGHT_BITS - integers.sum(axis=1)
    integers[np.arange(len(integers)), np.abs(integers).argmax(axis=1)] += rest
    return np.asarray(integers)
