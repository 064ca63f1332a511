"""Test data for a component: arrays of an .npz file as integer inputs in the graph's own types and layouts."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.npyio import NpzFile

from espgen import arith
from espgen.errors import EspgenError
from espgen.ir import DType, Graph, Value
from espgen.ir.layout import to_layout

Array = npt.NDArray[Any]

LABELS = "y"
_OFFSETS = {
    (DType.UINT8, DType.INT8): -128,
    (DType.INT8, DType.UINT8): 128,
    (DType.UINT16, DType.INT16): -32768,
    (DType.INT16, DType.UINT16): 32768,
}


@dataclass(frozen=True)
class Dataset:
    """Samples as integers: `arrays[input]` is [samples, *value.shape].

    labels  [samples * batch] for classification, or None; where the model's batch is above 1, a sample has that many
    """

    arrays: Mapping[str, Array]
    labels: Array | None

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __iter__(self) -> Iterator[dict[str, Array]]:
        for index in range(len(self)):
            yield {name: data[index] for name, data in self.arrays.items()}


def load_dataset(path: Path, graph: Graph, inputs: Mapping[str, tuple[str, str]], limit: int | None) -> Dataset:
    """The arrays of `path` for the inputs of an integer graph.

    An array is named after its input (a single array may have any name but `y`), or mapped by `inputs`: input ->
    (array, "NHWC" | "NCHW" | ""). Real values (float) are quantized with the input's scale; integers are taken as they
    are, in the input's type or the one of other signedness. Arrays that nothing names are not read. Raises EspgenError for
    anything that does not fit.
    """
    for name in inputs:
        if name not in graph.inputs:
            raise EspgenError(f"the model has no input {name!r}", place="--input", hint=f"its inputs: {', '.join(graph.inputs)}")
    result = {}
    with _opened(path) as file:
        sources = {
            name: _choose(file.files, name, inputs.get(name, ("", ""))[0], len(graph.inputs) == 1, path)
            for name in graph.inputs
        }
        for name, source in sources.items():
            layout = inputs.get(name, ("", ""))[1]
            result[name] = _samples(_read(file, source, path), limit, graph.value(name), layout, str(path))
        labelled = LABELS in file.files and LABELS not in sources.values()
        labels = _read(file, LABELS, path) if labelled else None
    counts = {name: len(data) for name, data in result.items()}
    if len(set(counts.values())) != 1:
        raise EspgenError(f"the inputs have different numbers of samples: {counts}", place=str(path))
    count = next(iter(counts.values()))
    if count == 0:
        raise EspgenError("the data holds no samples", place=str(path))
    return Dataset(result, _checked_labels(labels, limit, count, graph, path))


def random_dataset(graph: Graph, samples: int, seed: int = 0) -> Dataset:
    """Uniform random integers over every input's whole range."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name in graph.inputs:
        value = graph.value(name)
        low, high = max(value.dtype.minimum, -(2**31)), min(value.dtype.maximum, 2**31 - 1)
        arrays[name] = rng.integers(low, high, (samples, *value.shape), endpoint=True).astype(value.dtype.numpy)
    return Dataset(arrays, None)


_UNREADABLE = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError, KeyError, TypeError)
_PLAIN = "write it with numpy.savez"


def _opened(path: Path) -> NpzFile:
    try:
        file = np.load(path, allow_pickle=False)
    except _UNREADABLE as problem:
        raise EspgenError("the data is no .npz file of plain arrays", place=str(path), hint=_PLAIN) from problem
    if not isinstance(file, NpzFile):
        raise EspgenError("the data is no .npz file of plain arrays", place=str(path), hint=_PLAIN)
    return file


def _read(file: NpzFile, name: str, path: Path) -> Array:
    try:
        return np.asarray(file[name])
    except _UNREADABLE as problem:
        message = f"array {name!r} of the data cannot be read: {problem}"
        raise EspgenError(message, place=str(path), hint=_PLAIN) from problem


def _choose(arrays: Sequence[str], name: str, source: str, only: bool, path: Path) -> str:
    """Which of the file's arrays feeds the input `name`."""
    wanted = source or name
    if wanted in arrays:
        return wanted
    others = [other for other in arrays if other != LABELS]
    if not source and only and len(others) == 1:
        return others[0]
    raise EspgenError(
        f"the data has no array {wanted!r} for input {name!r}",
        place=str(path),
        hint=f"it holds {', '.join(sorted(arrays)) or 'nothing'}; name one by --input {name}=ARRAY",
    )


def _samples(data: Array, limit: int | None, value: Value, layout: str, place: str) -> Array:
    shape = onnx_shape(value)
    data = data[:limit] if data.ndim else data
    if layout == "NHWC":
        if data.ndim not in (3, 4, 5):
            raise EspgenError(f"an array of {data.ndim} axes has no layout NHWC", place=place, hint="drop :NHWC")
        data = data[..., None] if data.ndim == 3 else data
        data = np.moveaxis(data, -1, -3)
    count = len(data) if data.ndim else 0
    plain = [extent for extent in data.shape[1:] if extent != 1]
    if data.ndim == 0 or plain != [extent for extent in shape if extent != 1]:
        raise EspgenError(
            f"array of shape {list(data.shape)} does not hold samples of shape {list(shape)}",
            place=f"{place}, input {value.name!r}",
            hint=f"give [samples, {', '.join(map(str, shape))}], or name another layout: --input NAME=ARRAY:NHWC",
        )
    integers = _integers(data.reshape((count, *shape)), value, place)
    return np.stack([to_layout(sample, value.layout) for sample in integers]) if count else integers


def onnx_shape(value: Value) -> tuple[int, ...]:
    """The value's shape in ONNX's axis order."""
    shape = value.shape
    if value.layout == "NHWC":
        return (shape[0], shape[3], shape[1], shape[2])
    if value.layout == "NLC":
        return (shape[0], shape[3], shape[2])
    return shape


def _integers(data: Array, value: Value, place: str) -> Array:
    target = value.dtype
    if data.dtype.kind == "f":
        if not np.all(np.isfinite(data)):
            raise EspgenError("the data holds NaN or infinity", place=f"{place}, input {value.name!r}")
        if value.quant is None:
            return np.asarray(data.astype(target.numpy))
        quantized = arith.quantize(data.astype(np.float32), value.scale, value.zero_point, target.minimum, target.maximum)
        return np.asarray(quantized.astype(target.numpy))
    if data.dtype == target.numpy:
        return data
    for (source, result), offset in _OFFSETS.items():
        if data.dtype == source.numpy and target is result:
            return np.asarray((data.astype(np.int64) + offset).astype(target.numpy))
    fits = data.size and data.dtype.kind in "iu" and data.min() >= target.minimum and data.max() <= target.maximum
    if fits and target.size >= 4:
        return np.asarray(data.astype(target.numpy))
    raise EspgenError(
        f"array of type {data.dtype} for an input of type {target.value}",
        place=f"{place}, input {value.name!r}",
        hint="give real values (float32) or the input's integer type",
    )


def _batch(graph: Graph) -> int:
    """Pictures in one sample, each with a label of its own: the first extent that all inputs and the first output share."""
    extents = {(graph.value(name).shape or (1,))[0] for name in (*graph.inputs, graph.outputs[0])}
    return extents.pop() if len(extents) == 1 else 1


def _checked_labels(labels: Array | None, limit: int | None, count: int, graph: Graph, path: Path) -> Array | None:
    if labels is None:
        return None
    batch = _batch(graph)
    classes = int(np.prod(graph.value(graph.outputs[0]).shape)) // batch
    flat = labels.reshape(-1)[: limit and limit * batch]
    if labels.dtype.kind not in "iu" or len(flat) != count * batch:
        message = f"labels y: {labels.dtype} {list(labels.shape)} for {count} samples"
        hint = "one integer per sample" if batch == 1 else f"{batch} integers per sample, which is a batch of {batch}"
        raise EspgenError(message, place=str(path), hint=hint)
    outside = flat[(flat < 0) | (flat >= classes)]
    if outside.size:
        hint = f"the model has {classes} classes, counted from 0"
        raise EspgenError(f"label {int(outside[0])} of y is none of the model's classes", place=str(path), hint=hint)
    return flat
