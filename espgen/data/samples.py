"""Samples for a model from `--data`: .npz files, image folders with val_list.txt, Python functions `module:name`.

Every command gets its data here: which array feeds which input (mapping.py), in which layout (ir/layout.py), what its
numbers mean (meaning.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from espgen.data.functions import of_function
from espgen.data.images import Preprocess, find_images
from espgen.data.inputs import ModelInput, model_inputs
from espgen.data.mapping import Mapped, Wanted, checked
from espgen.data.meaning import check_numbers, meant
from espgen.data.npz import Arrays, of_file
from espgen.errors import EspgenError
from espgen.ir import Graph
from espgen.ir.layout import RANKS_WITH_CHANNELS, arranged, onnx_shape

KEPT = 1024
"""Images kept in memory where not all are needed at once; of larger sets the first LOOKED_AT are checked."""
LOOKED_AT = 16
LABELS = ("y", "label", "labels")


@dataclass(frozen=True)
class Samples:
    """What the ONNX model would be fed, by input, and the classes that are right.

    arrays  [samples, *shape], without the model's batch axis where that is one; float32, or integers where the model takes them
    labels  int64 [samples * batch] or None; where the model's batch is above 1, a sample has that many
    notes   what is to be told about how the data was taken
    """

    arrays: Mapping[str, np.ndarray]
    labels: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    batch: int = 1

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def take(self, chosen: slice | np.ndarray) -> Samples:
        """Some of the samples."""
        arrays = {name: np.ascontiguousarray(data[chosen]) for name, data in self.arrays.items()}
        labels = None if self.labels is None else self.labels.reshape(len(self), self.batch)[chosen].reshape(-1)
        return Samples(arrays, labels, self.notes, self.batch)


def load(source: str, graph: Graph, preprocess: Preprocess | None = None, limit: int | None = None, lazy: bool = False,
         judging: bool = True, *, mapping: Mapped | None = None, inputs: Mapping[str, ModelInput] | None = None,
         varied: bool = True) -> Samples:  # fmt: skip
    """Samples for the inputs of a graph from `source`.

    A folder holds images and val_list.txt ("path label" lines); `module:name` names a function without arguments that
    returns arrays [samples, ...], a dict of them by input, or (arrays, labels); anything else is an .npz whose arrays
    are named after the inputs (a single array may have any name) with labels in `y`, or an .npy with one array.

    mapping  arrays, layouts and meanings by input (`--input`)
    inputs   what the graph's inputs are in the ONNX model; default: `graph` is that model
    lazy     more than KEPT images of a folder are read only when a part of them is used
    judging  else labels that are no classes of the model (targets of a regression, say) are left out
    varied   refuse data of one value, from which nothing can be learned

    Raises EspgenError for data that does not fit, is empty or not finite.
    """
    path = Path(source)
    known = model_inputs(graph) if inputs is None else dict(inputs)
    wanted = checked(mapping, known)
    if preprocess is not None and preprocess.resize and not path.is_dir():
        raise EspgenError("only images from a folder are resized", place="--resize", hint="resize the arrays yourself")
    if path.is_dir():
        return _from_images(path, graph, known, wanted, preprocess, limit, lazy, judging, varied)
    arrays = of_function(source) if ":" in source and not path.exists() else _file(path)
    sources = {name: _choose(arrays, name, wanted.get(name, Wanted("")).array, len(known) == 1) for name in known}
    ready: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    said: list[str] = []
    for name, chosen in sources.items():
        item, how = known[name], wanted.get(name, Wanted(chosen))
        data, turned = _arranged(arrays.read(chosen), item, how, source)
        counts[name] = len(data)
        if turned and not how.layout:
            said.append(f"input {name!r}: the array has its channels {'first' if item.channels_last else 'last'}: they are moved")
        data = data[:limit]
        if preprocess is not None and (len(item.shape) == 4 or len(known) == 1):
            data = _preprocessed(data, item, how, preprocess)
        ready[name], notes = _checked(data, item, how, source, varied)
        said += notes
    if len(set(counts.values())) != 1:
        message = f"the inputs have different numbers of samples: {counts}"
        raise EspgenError(message, place=source, hint="every array needs one row per sample")
    labels = _labels(arrays, set(sources.values()))
    batch, count = _batch(graph), next(iter(counts.values()))
    right = None if labels is None else _checked_labels(labels, count, batch, graph, source, judging)
    kept = len(next(iter(ready.values())))
    return Samples(ready, None if right is None else right[: kept * batch], tuple(said), batch)


def _from_images(path: Path, graph: Graph, known: Mapping[str, ModelInput], wanted: Mapping[str, Wanted],
                 preprocess: Preprocess | None, limit: int | None, lazy: bool, judging: bool,
                 varied: bool) -> Samples:  # fmt: skip
    if len(known) != 1:
        raise EspgenError("a folder of images fits only a model with one input", place=str(path), hint="use an .npz")
    if wanted:
        raise EspgenError("a folder of images holds no arrays to name", place="--input", hint="leave --input out")
    (item,) = known.values()
    images, labels = find_images(path, item.shape, preprocess or Preprocess(), limit, item.channels_last)
    right = None if labels is None else _checked_labels(labels, len(images), 1, graph, str(path), judging)
    whole = len(images) <= KEPT or not lazy
    found, notes = _checked(np.asarray(images if whole else images[:LOOKED_AT]), item, Wanted(""), str(path), varied)
    return Samples({item.name: found if whole else cast(np.ndarray, images)}, right, notes)


def _file(path: Path) -> Arrays:
    if not path.exists():
        hint = "give an .npz, a folder of images or module:name"
        raise EspgenError("there is no such file or folder", place=str(path), hint=hint)
    return of_file(path)


def _choose(arrays: Arrays, name: str, given: str, only: bool) -> str:
    """Which of the arrays feeds the input `name`."""
    wanted = given or name
    if wanted in arrays.shapes:
        return wanted
    others = [other for other in arrays.shapes if other not in LABELS]
    if not given and only:
        likely = [other for other in others if len(arrays.shapes[other] or ()) > 1] or others
        if len(likely) == 1 or "x" in likely:
            return "x" if "x" in likely else likely[0]
    held = ", ".join(sorted(other or "one array without a name" for other in arrays.shapes)) or "nothing"
    raise EspgenError(
        f"no array {given!r} for input {name!r}" if given else f"no array for input {name!r}", place=arrays.place,
        hint=f"the data holds {held}; name one by --input {name}=ARRAY",
    )  # fmt: skip


def _arranged(data: np.ndarray, item: ModelInput, how: Wanted, source: str) -> tuple[np.ndarray, bool]:
    """(data [samples, *sample shape] in the model's own axis order, whether channels were moved)."""
    place = f"{source}, input {item.name!r}"
    check_numbers(data, place)
    if how.layout and len(item.shape) not in RANKS_WITH_CHANNELS:
        message = f"an input of shape {item.shape} has no layout {how.layout}"
        raise EspgenError(message, place=place, hint=f"leave :{how.layout} out")
    found = arranged(data, item.shape, how.layout, item.channels_last)
    if found is None:
        own = ", ".join(map(str, item.sample_shape))
        other = f" (another layout is named by --input {item.name}=ARRAY:NHWC or :NCHW)"
        other = other if len(item.shape) in RANKS_WITH_CHANNELS else ""
        raise EspgenError(
            f"the data has shape {tuple(data.shape)}, the model wants {('N', *item.sample_shape)}", place=place,
            hint=f"give [{', '.join(filter(None, ('samples', own)))}], preprocessed as in training{other}",
        )  # fmt: skip
    return found.data.reshape((len(found.data), *item.sample_shape)), found.turned


def _preprocessed(data: np.ndarray, item: ModelInput, how: Wanted, preprocess: Preprocess) -> np.ndarray:
    if how.meaning == "codes":
        raise EspgenError("codes are not preprocessed", place="--input", hint="leave :codes out, or --mean, --std and --divisor")
    if data.dtype.kind not in "iuf" or len(item.shape) < 2:
        return data
    return preprocess.apply(data, -1 if item.channels_last else data.ndim - (len(item.shape) - 1))


def _checked(data: np.ndarray, item: ModelInput, how: Wanted, source: str, varied: bool) -> tuple[np.ndarray, tuple[str, ...]]:
    """The data as the model takes it, and notes. EspgenError for data without samples, not finite, of the wrong kind."""
    place = f"{source}, input {item.name!r}"
    if data.size == 0:
        raise EspgenError("the data holds no samples", place=place, hint="give at least a few dozen typical inputs")
    if data.dtype.kind == "f" and not np.isfinite(data).all():
        bad = int(np.argmax(~np.isfinite(data.reshape(len(data), -1)).all(axis=1)))
        raise EspgenError("the data holds NaN or infinity", place=f"{place}, sample {bad}", hint="clean the data")
    found = meant(data, item, how.meaning, source)
    if varied and data.min() == data.max():
        raise EspgenError(
            f"every value of the data is {float(data.flat[0]) + 0.0:g}", place=place,
            hint="constant data says nothing about ranges: check how it was preprocessed",
        )  # fmt: skip
    return np.ascontiguousarray(found.data), found.notes


def _batch(graph: Graph) -> int:
    """Pictures in one sample, each with a label of its own: the first extent that all inputs and the first output share."""
    extents = {(graph.value(name).shape or (1,))[0] for name in (*graph.inputs, graph.outputs[0])}
    return extents.pop() if len(extents) == 1 else 1


def _labels(arrays: Arrays, used: set[str]) -> np.ndarray | None:
    if arrays.labels is not None:
        return arrays.labels
    name = next((name for name in LABELS if name in arrays.shapes and name not in used), None)
    return None if name is None else arrays.read(name)


def _checked_labels(labels: np.ndarray, count: int, batch: int, graph: Graph, source: str, judging: bool) -> np.ndarray | None:
    """Labels as int64 [count * batch]; EspgenError, or None where they are not needed, for what is no class of the model."""
    place = f"{source}, labels"
    value = graph.value(graph.outputs[0])
    classes = math.prod(onnx_shape(value.shape, value.layout)) // max(batch, 1)
    if classes <= 1:  # one number is no vector of scores
        return None
    if labels.size != count * batch:
        hint = "give one class index per sample" if batch == 1 else f"a sample is a batch of {batch}: give {batch} per sample"
        hint += " (the argmax of these)" if labels.ndim > 1 and labels.size > count * batch else ""
        raise EspgenError(f"{labels.size} labels for {count} samples", place=place, hint=hint)
    if labels.dtype.kind not in "iuf" or not np.array_equal(labels, np.floor(labels)):
        if not judging:
            return None
        raise EspgenError(f"labels are class indices, not {labels.dtype}", place=place, hint="store integers from 0 on")
    found = labels.reshape(-1).astype(np.int64)
    if found.size and (found.min() < 0 or found.max() >= classes):
        if not judging:
            return None
        worst = int(found.min()) if found.min() < 0 else int(found.max())
        hint = "is the list for another model, or counted from 1?"
        raise EspgenError(f"label {worst} is none of the model's {classes} classes", place=place, hint=hint)
    return found
