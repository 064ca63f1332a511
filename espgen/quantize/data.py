"""Calibration and evaluation data: .npz files, image folders with val_list.txt, Python functions `module:name`."""

from __future__ import annotations

import importlib
import os
import sys
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from espgen.errors import EspgenError
from espgen.ir import DType, Graph, Value
from espgen.quantize.images import ImageArray, Preprocess, find_images

KEPT = 1024
"""Images kept in memory where not all are needed at once; of larger sets the first LOOKED_AT are checked."""
LOOKED_AT = 16

LABELS = ("y", "label", "labels")


@dataclass(frozen=True)
class Samples:
    """`arrays`: float32 [samples, ...] by graph input; `labels`: int64 [samples] or None."""

    arrays: Mapping[str, np.ndarray]
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def take(self, chosen: slice | np.ndarray) -> Samples:
        """Some of the samples."""
        arrays = {name: np.ascontiguousarray(data[chosen]) for name, data in self.arrays.items()}
        return Samples(arrays, None if self.labels is None else self.labels[chosen])


def load(source: str, graph: Graph, preprocess: Preprocess | None = None, limit: int | None = None,
         lazy: bool = False, judging: bool = True) -> Samples:  # fmt: skip
    """Samples for the inputs of a float graph from `source`.

    A folder holds images and val_list.txt ("path label" lines); `module:name` names a function without arguments that
    returns arrays [samples, ...], a dict of them by input, or (arrays, labels); anything else is an .npz whose arrays
    are named after the inputs (a single array may have any name) with labels in `y`. Images [N, H, W, C] of an NCHW
    input are turned. With `lazy` more than KEPT images of a folder are read only when a part of them is used. Unless
    they are for `judging`, labels that are no classes of the model (targets of a regression, say) are left out. Raises
    EspgenError for data that does not fit, is empty, not finite or constant.
    """
    path = Path(source)
    if preprocess is not None and preprocess.resize and not path.is_dir():
        raise EspgenError("only images from a folder are resized", place="--resize", hint="resize the arrays yourself")
    if path.is_dir():
        if len(graph.inputs) != 1:
            raise EspgenError("a folder of images fits only a model with one input", place=str(path), hint="use an .npz")
        found, labels = find_images(path, graph.value(graph.inputs[0]).shape, preprocess or Preprocess(), limit)
        if lazy and len(found) > KEPT:
            return _lazy_samples(found, labels, graph, source)
        arrays = {graph.inputs[0]: np.asarray(found)}
    elif ":" in source and not path.exists():
        arrays, labels = _function(source, graph)
    else:
        arrays, labels = _npz(path, graph)
    if preprocess is not None and not path.is_dir():
        arrays = {
            name: preprocess.apply(_nchw(data, graph.value(name))) if data.ndim == 4 else data for name, data in arrays.items()
        }
    checked = {name: check(arrays[name], graph.value(name), source) for name in graph.inputs if _present(name, arrays, source)}
    counts = {name: len(data) for name, data in checked.items()}
    if len(set(counts.values())) != 1:
        raise EspgenError(f"the inputs have different numbers of samples: {counts}", place=source)
    count = next(iter(counts.values()))
    samples = Samples(checked, None if labels is None else _checked_labels(np.asarray(labels), count, graph, source, judging))
    return samples.take(slice(0, limit)) if limit is not None else samples


def _lazy_samples(images: ImageArray, labels: np.ndarray | None, graph: Graph, source: str) -> Samples:
    name = graph.inputs[0]
    check(np.asarray(images[:LOOKED_AT]), graph.value(name), source)
    checked = None if labels is None else _checked_labels(labels, len(images), graph, source, True)
    return Samples({name: cast(np.ndarray, images)}, checked)


def _checked_labels(labels: np.ndarray, count: int, graph: Graph, source: str, judging: bool) -> np.ndarray | None:
    """Labels as int64 [samples]; EspgenError, or None where they are not needed, for what is no class of the first output."""
    place = f"{source}, labels"
    if labels.size != count:
        hint = "give one class index per sample" + (" (the argmax of these)" if labels.ndim > 1 else "")
        raise EspgenError(f"{labels.size} labels for {count} samples", place=place, hint=hint)
    numbers = np.issubdtype(labels.dtype, np.integer) or np.issubdtype(labels.dtype, np.floating)
    if not numbers or not np.array_equal(labels, np.floor(labels)):
        if not judging:
            return None
        raise EspgenError(f"labels are class indices, not {labels.dtype}", place=place, hint="store integers from 0 on")
    found = labels.reshape(-1).astype(np.int64)
    shape = graph.value(graph.outputs[0]).shape
    classes = int(np.prod(shape[1:])) if len(shape) > 1 else 0
    if found.min() < 0 or (classes > 1 and found.max() >= classes):
        if not judging:
            return None
        worst = int(found.min()) if found.min() < 0 else int(found.max())
        hint = "is the list for another model, or counted from 1?"
        raise EspgenError(f"label {worst} is none of the model's {classes} classes", place=place, hint=hint)
    return found


def check(data: np.ndarray, value: Value, place: str) -> np.ndarray:
    """`data` as float32 [samples, *shape without the batch axis]; EspgenError for anything that cannot calibrate."""
    place = f"{place}, input {value.name!r}"
    if not np.issubdtype(data.dtype, np.number) or np.issubdtype(data.dtype, np.complexfloating):
        raise EspgenError(f"the data has type {data.dtype}", place=place, hint="store numbers")
    if data.size == 0:
        raise EspgenError("the data holds no samples", place=place, hint="give at least a few dozen typical inputs")
    shape = value.shape[1:] if value.shape[:1] == (1,) else value.shape
    data = _nchw(data, value)
    if data.shape == value.shape and value.shape[:1] != (1,):
        data = data[None]
    elif data.shape[1:] == (1, *shape):
        data = data[:, 0]
    if data.shape[1:] != shape:
        raise EspgenError(
            f"the data has shape {tuple(data.shape)}, the model wants {('N', *shape)}", place=place,
            hint="give samples in the model's own layout, preprocessed as in training",
        )  # fmt: skip
    kind = np.float32 if value.dtype is DType.FLOAT32 else value.dtype.numpy
    if np.issubdtype(data.dtype, np.floating) and not np.isfinite(data).all():
        bad = int(np.argmax(~np.isfinite(data.reshape(len(data), -1)).all(axis=1)))
        raise EspgenError("the data holds NaN or infinity", place=f"{place}, sample {bad}", hint="clean the data")
    if data.min() == data.max():
        raise EspgenError(
            f"every value of the data is {float(data.flat[0]) + 0.0:g}", place=place,
            hint="constant data says nothing about ranges: check how it was preprocessed",
        )  # fmt: skip
    return np.ascontiguousarray(data, kind)


def _nchw(data: np.ndarray, value: Value) -> np.ndarray:
    """Images with the channel last are turned where only that fits."""
    if data.ndim == 4 and len(value.shape) == 4:
        channels, high, wide = value.shape[1:]
        if data.shape[1:] != (channels, high, wide) and data.shape[1:] == (high, wide, channels):
            return np.moveaxis(data, 3, 1)
    return data


def _present(name: str, arrays: Mapping[str, np.ndarray], source: str) -> bool:
    if name not in arrays:
        raise EspgenError(f"no array for input {name!r}", place=source, hint=f"arrays there: {', '.join(sorted(arrays))}")
    return True


def _npz(path: Path, graph: Graph) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    hint = "give an .npz, a folder of images or module:name"
    if not path.exists():
        raise EspgenError("there is no such file or folder", place=str(path), hint=hint)
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return _named({"": loaded}, graph)
        with loaded as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        pickled = "pickle" in str(error)
        reason = "this is no .npz, or one with Python objects in it" if pickled else str(error)
        raise EspgenError(f"can't read the data: {reason}", place=str(path), hint=hint) from None
    return _named(arrays, graph)


def _named(arrays: dict[str, np.ndarray], graph: Graph) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    labels = next((arrays.pop(name) for name in LABELS if name in arrays and name not in graph.inputs), None)
    numeric = {name: data for name, data in arrays.items() if data.ndim >= 1}
    if len(graph.inputs) == 1 and graph.inputs[0] not in numeric:
        likely = [name for name, data in numeric.items() if data.ndim > 1] or list(numeric)
        preferred = "x" if "x" in likely else likely[0] if len(likely) == 1 else ""
        if preferred or len(likely) == 1:
            numeric[graph.inputs[0]] = numeric[preferred or likely[0]]
    return numeric, labels


def imported(source: str, option: str) -> Any:
    """What `module:name` names; modules are also looked for in the working directory. Raises EspgenError."""
    module_name, _, name = source.partition(":")
    hint = "`module:name`, the module in this folder or on PYTHONPATH"
    here = os.getcwd()
    added = here not in sys.path
    if added:
        sys.path.append(here)
    try:
        return getattr(importlib.import_module(module_name), name)
    except (Exception, SystemExit) as error:  # the module is the user's: whatever it raises is about it
        raise EspgenError(f"can't import {source!r}: {type(error).__name__}: {error}", place=option, hint=hint) from error
    finally:
        if added and here in sys.path:
            sys.path.remove(here)


def _function(source: str, graph: Graph) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    function = imported(source, "--data")
    if not callable(function):
        raise EspgenError(f"{source!r} is no function", place="--data", hint="it returns arrays, or (arrays, labels)")
    try:
        result: Any = function()
    except EspgenError:
        raise
    except (Exception, SystemExit) as error:
        raise EspgenError(f"{source} fails: {type(error).__name__}: {error}", place="--data", hint="correct it") from error
    labels = None
    if isinstance(result, tuple) and len(result) == 2:
        result, labels = result
    arrays = dict(result) if isinstance(result, Mapping) else {graph.inputs[0]: np.asarray(result)}
    named, found = _named({key: np.asarray(data) for key, data in arrays.items()}, graph)
    return named, found if labels is None else np.asarray(labels)
