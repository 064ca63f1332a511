"""Axis orders: ONNX's, channels last, and what samples come in. Nothing else in the project moves a channel axis of data."""

from __future__ import annotations

from dataclasses import dataclass
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


def onnx_shape(shape: tuple[int, ...], layout: str) -> tuple[int, ...]:
    """Shape in ONNX's axis order of a value that is held with `shape` in `layout`."""
    if layout == "NHWC":
        return (shape[0], shape[3], shape[1], shape[2])
    if layout == "NLC":
        return (shape[0], shape[3], shape[2])
    return shape


def arranged(data: npt.NDArray[Any], shape: tuple[int, ...], layout: str, channels_last: bool) -> Arranged | None:
    """Samples in the axis order of the model; None where they do not fit.

    data           [samples, ...], with or without a batch axis of 1 and other axes of extent one; of a model whose first
                   axis is no batch of 1 also a single sample
    shape          the model's own, in ONNX order, batch axis included
    layout         what the data is said to be: "NCHW" (channels first), "NHWC" (last, whatever the rank), "" (the model's own,
                   or the other one where that alone fits)
    channels_last  whether the model itself takes channels last
    """
    turns = _TURNS[layout, channels_last] if len(shape) in RANKS_WITH_CHANNELS else ("",)
    for fit in (_exact, _plain):
        for turn in turns:
            turned = _turned(data, len(shape), turn)
            found = None if turned is None else fit(turned, shape)
            if found is not None:
                return Arranged(found, turn != "")
    return None


@dataclass(frozen=True)
class Arranged:
    """`data` [samples, *shape]; turned: whether channels were moved."""

    data: npt.NDArray[Any]
    turned: bool


RANKS_WITH_CHANNELS = (3, 4, 5)
"""Ranks of tensors that have a channel axis behind the batch and one to three axes of space."""

_TURNS = {
    ("", False): ("", "first"),
    ("", True): ("", "last"),
    ("NHWC", False): ("first", ""),
    ("NHWC", True): ("",),
    ("NCHW", False): ("", "last"),
    ("NCHW", True): ("last", ""),
}
"""(layout of the data, whether the model takes channels last) -> where its channels may have to go, in order of trial."""


def _turned(data: npt.NDArray[Any], rank: int, turn: str) -> npt.NDArray[Any] | None:
    """The data with its channel axis moved: "first" from the end to the front of the space, "last" the other way."""
    if not turn:
        return data
    if data.ndim < rank:
        return None
    first = data.ndim - (rank - 1)
    return np.moveaxis(data, -1, first) if turn == "first" else np.moveaxis(data, first, -1)


def _exact(data: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any] | None:
    if data.ndim and data.shape[1:] == shape:
        return data
    if shape[:1] == (1,) and data.ndim and data.shape[1:] == shape[1:]:
        return data[:, None]
    if shape and shape[0] != 1 and data.shape == shape:
        return data[None]
    return None


def _plain(data: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any] | None:
    """The same but for axes of extent one."""
    if data.ndim and [extent for extent in data.shape[1:] if extent != 1] == [extent for extent in shape if extent != 1]:
        return data.reshape((len(data), *shape))
    return None
