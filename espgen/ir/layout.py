"""Between ONNX's axis order and channels last."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def to_layout(data: npt.NDArray[Any], layout: str) -> npt.NDArray[Any]:
    """An array in ONNX order to `layout`: NCHW to NHWC, NCL to N,1,L,C, "" unchanged."""
    if layout == "NHWC":
        return np.ascontiguousarray(np.moveaxis(data, 1, -1))
    if layout == "NLC":
        return np.ascontiguousarray(np.moveaxis(data, 1, -1)[:, None])
    return data


def from_layout(data: npt.NDArray[Any], layout: str) -> npt.NDArray[Any]:
    """The inverse of to_layout."""
    if layout == "NHWC":
        return np.ascontiguousarray(np.moveaxis(data, -1, 1))
    if layout == "NLC":
        return np.ascontiguousarray(np.moveaxis(data[:, 0], -1, 1))
    return data


def channels_last_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a rank-3 or rank-4 ONNX tensor held channels last."""
    if len(shape) == 4:
        return (shape[0], shape[2], shape[3], shape[1])
    return (shape[0], 1, shape[2], shape[1])


def channels_last_layout(rank: int) -> str:
    """Name of the channels-last layout of a rank-3 or rank-4 tensor."""
    return "NHWC" if rank == 4 else "NLC"
