"""What the numbers of an array mean. The rule, the same for every command:

**an array holds what one would feed the ONNX model.** So for an input of real numbers (float32) integers are real values,
too: pixels 0..255 are 0.0..255.0, whatever grid the model is quantized to. For an input of integers, integers are the model's
own, and real values are put on the input's grid. `--input NAME=ARRAY:codes` says that the array holds the integers of the
quantized input instead, `:real` that it holds real values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from espgen import arith
from espgen.data.inputs import Grid, ModelInput
from espgen.errors import EspgenError
from espgen.ir import DType, Value
from espgen.ir.layout import from_layout, to_layout

Array = npt.NDArray[Any]
PART = 1 << 20
"""Elements that are looked at together."""


@dataclass(frozen=True)
class Meant:
    """`data` as the ONNX model takes it (its type, same shape), and what was to be said about it."""

    data: Array
    notes: tuple[str, ...] = ()


def meant(data: Array, item: ModelInput, meaning: str, place: str) -> Meant:
    """An array of any numbers as the model's input takes them, by the rule above; `meaning`: "real", "codes" or "".

    Raises EspgenError for what is no number, and for numbers that the input cannot hold.
    """
    place = f"{place}, input {item.name!r}"
    check_numbers(data, place)
    if meaning == "codes":
        return _from_codes(data, item, place)
    whole = data.dtype.kind != "f"
    if item.dtype.is_float:
        said = f"input {item.name!r}: the {data.dtype} array is taken as real values, {_range(data)}"
        choice = f" (say :codes behind its name in --input if it holds the {item.grid.dtype.value} integers)" if item.grid else ""
        notes = (said + choice,) if whole else ()
        return Meant(_float32(data, place), (*notes, *_saturated(data, item)))
    if (not whole and item.grid is not None) or meaning == "real":
        if item.grid is None:
            return Meant(_held(data, item.dtype, place))
        said = f"input {item.name!r}: real values are put on the grid of the model's {item.dtype.value} input"
        return Meant(_on_grid(_float32(data, place), item.grid).astype(item.dtype.numpy), (said, *_saturated(data, item)))
    return Meant(_held(data, item.dtype, place))


def check_numbers(data: Array, place: str) -> None:
    """EspgenError for an array of texts, objects, truth values or complex numbers."""
    if data.dtype.kind not in "iuf":
        raise EspgenError(f"the data has type {data.dtype}", place=place, hint="store numbers")


def _float32(data: Array, place: str) -> Array:
    with np.errstate(over="ignore"):
        found = data.astype(np.float32)
    if not np.isfinite(found).all():
        raise EspgenError("the data holds values beyond float32", place=place, hint="scale it as in training")
    return found


def _from_codes(data: Array, item: ModelInput, place: str) -> Meant:
    if item.grid is None:
        if item.dtype.is_float:
            hint = "give real values, without :codes"
            raise EspgenError("the model's input is not quantized: there are no codes of it", place=place, hint=hint)
        return Meant(_held(data, item.dtype, place))
    dtype = item.grid.dtype
    held = _of_other_sign(data, dtype)
    codes = _held(data, dtype, place) if held is None else held
    said = f"input {item.name!r}: the {data.dtype} array is taken as codes of the {dtype.value} input" + (
        "" if held is None else f", moved by {int(codes.flat[0]) - int(data.flat[0]) if data.size else 0}"
    )
    if not item.dtype.is_float:
        return Meant(codes.astype(item.dtype.numpy), (said,))
    return Meant(arith.dequantize(codes, item.grid.scale, item.grid.zero_point), (said,))


def _of_other_sign(data: Array, dtype: DType) -> Array | None:
    """Codes of the type of the same width and other signedness, moved by half the range; None for other types."""
    if data.dtype.kind not in "iu" or data.dtype.kind == dtype.numpy.kind or data.dtype.itemsize != dtype.size or dtype.size > 2:
        return None
    half = 1 << (8 * dtype.size - 1)
    moved = data.astype(np.int64) + (half if dtype.minimum == 0 else -half)
    return np.asarray(moved.astype(dtype.numpy))


def _held(data: Array, dtype: DType, place: str) -> Array:
    """The same numbers in the type of the input. EspgenError where it does not hold them."""
    if dtype is DType.BOOL:
        low, high = 0, 1
    else:
        low, high = dtype.minimum, dtype.maximum
    if data.size:
        if data.dtype.kind == "f" and not np.array_equal(data, np.floor(data)):
            hint = f"give {dtype.value} integers"
            raise EspgenError(f"the model takes {dtype.value}, the data holds fractions", place=place, hint=hint)
        if data.min() < low or data.max() > high:
            raise EspgenError(
                f"the {dtype.value} input holds {low} to {high}, the data {_range(data)}", place=place,
                hint=f"give {dtype.value} integers",
            )  # fmt: skip
    return np.asarray(data.astype(dtype.numpy))


def _range(data: Array) -> str:
    return f"{data.min():g} to {data.max():g}" if data.size else "none"


def _on_grid(data: Array, grid: Grid) -> Array:
    return arith.quantize(data, grid.scale, grid.zero_point, grid.dtype.minimum, grid.dtype.maximum)


def _saturated(data: Array, item: ModelInput) -> tuple[str, ...]:
    return () if item.grid is None else saturation(data, item.name, item.grid)


def saturation(data: Array, name: str, grid: Grid) -> tuple[str, ...]:
    """A note with counts where values lie outside what the grid holds, none where all fit."""
    flat = data.reshape(-1)
    outside = 0
    for start in range(0, flat.size, PART):
        steps = np.rint(flat[start : start + PART].astype(np.float32) / np.float32(grid.scale)) + grid.zero_point
        outside += int(np.count_nonzero((steps < grid.dtype.minimum) | (steps > grid.dtype.maximum)))
    if not outside:
        return ()
    low, high = ((bound - grid.zero_point) * grid.scale for bound in (grid.dtype.minimum, grid.dtype.maximum))
    share = 100.0 * outside / flat.size
    return (
        f"input {name!r}: {outside:,} of {flat.size:,} values ({share:.2g} %) lie outside {low:.6g} to {high:.6g}, which the "
        f"input holds, and saturate",
    )


def encoded(sample: Array, value: Value) -> Array:
    """One sample in ONNX order, as the ONNX model takes it -> the array of an integer graph's input.

    Real values are quantized as QuantizeLinear does; integers are the graph's own. Returns value.dtype, value.shape.
    """
    if sample.dtype.kind == "f" and value.quant is not None and not value.dtype.is_float:
        sample = arith.quantize(sample, value.scale, value.zero_point, value.dtype.minimum, value.dtype.maximum)
    return np.ascontiguousarray(to_layout(sample, value.layout).reshape(value.shape), value.dtype.numpy)


def decoded(result: Array, value: Value) -> Array:
    """The array of an integer graph's output -> in ONNX order, real values where it is quantized."""
    ordered = from_layout(result.reshape(value.shape), value.layout)
    if value.quant is None or value.dtype.is_float:
        return ordered
    return arith.dequantize(ordered, value.scale, value.zero_point)
