"""Canonical attributes of operators that move or select data: parameter inputs become attributes."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from espgen.frontend.importer import Importer, TensorType
from espgen.frontend.step import Step, alias, emit


def reshape(importer: Importer, step: Step) -> None:
    """Reshape, Flatten, Squeeze, Unsqueeze: op Reshape without attributes; the output value has the shape."""
    source, target = importer.shape(step.inputs[0]), step.output_shape()
    if math.prod(source) != math.prod(target):
        raise step.error(f"shape {list(source)} can't become {list(target)}")
    if source == target:
        alias(importer, step)
    else:
        emit(importer, step, "Reshape", step.inputs[:1])


def expand(importer: Importer, step: Step) -> None:
    """Expand: no attributes; the output value has the shape."""
    if importer.shape(step.inputs[0]) == step.output_shape():
        alias(importer, step)
    else:
        emit(importer, step, inputs=step.inputs[:1])


def tile(importer: Importer, step: Step) -> None:
    """Tile: attr repeats."""
    repeats = importer.integers(step.input(1), "repeats", step.name) or ()
    if all(count == 1 for count in repeats):
        alias(importer, step)
    else:
        emit(importer, step, inputs=step.inputs[:1], attrs={"repeats": repeats})


def transpose(importer: Importer, step: Step) -> None:
    """Transpose: attr perm."""
    rank = len(importer.shape(step.inputs[0]))
    perm = tuple(step.attrs.get("perm") or reversed(range(rank)))
    if sorted(perm) != list(range(rank)):
        raise step.error(f"perm {list(perm)} is no permutation of rank {rank}")
    if perm == tuple(range(rank)):
        alias(importer, step)
    else:
        emit(importer, step, attrs={"perm": perm})


def slice_(importer: Importer, step: Step) -> None:
    """Slice: attrs starts, ends, axes, steps, one per axis, as in range(start, end, step): an end of -1 is before 0."""
    shape = importer.shape(step.inputs[0])
    starts = importer.integers(step.input(1), "starts", step.name) or ()
    ends = importer.integers(step.input(2), "ends", step.name) or ()
    axes = importer.integers(step.input(3), "axes", step.name)
    steps = importer.integers(step.input(4), "steps", step.name)
    axes = step.axes(tuple(range(len(starts))) if axes is None else axes, len(shape))
    steps = (1,) * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise step.error("starts, ends, axes and steps differ in length")
    if 0 in steps:
        raise step.error("a step is 0")
    full = [(0, extent, 1) for extent in shape]
    for axis, start, end, stride in zip(axes, starts, ends, steps, strict=True):
        full[axis] = slice(start, end, stride).indices(shape[axis])
    emit_slice(importer, step, full)


def emit_slice(importer: Importer, step: Step, ranges: list[tuple[int, int, int]]) -> None:
    """A canonical Slice of the step's first input, or nothing where it takes everything."""
    shape = importer.shape(step.inputs[0])
    target = tuple(len(range(*entry)) for entry in ranges)
    if target != step.output_shape():
        raise step.error(f"its output shape {list(step.output_shape())} isn't what it selects, {list(target)}")
    if all(entry == (0, extent, 1) for entry, extent in zip(ranges, shape, strict=True)):
        alias(importer, step)
        return
    starts, ends, steps = (tuple(entry[index] for entry in ranges) for index in range(3))
    attrs = {"starts": starts, "ends": ends, "axes": tuple(range(len(shape))), "steps": steps}
    emit(importer, step, "Slice", step.inputs[:1], attrs)


def gather(importer: Importer, step: Step) -> None:
    """Gather of a constant run of indices is a Slice (then a Reshape for a scalar index); others keep attr axis."""
    shape = importer.shape(step.inputs[0])
    axis = step.axis(int(step.attrs.get("axis", 0)), len(shape))
    indices = importer.constant(step.inputs[1])
    if indices is None or indices.ndim > 1 or indices.size == 0:
        emit(importer, step, attrs={"axis": axis})
        return
    chosen = [int(index) for index in indices.reshape(-1)]
    if any(not -shape[axis] <= index < shape[axis] for index in chosen):
        raise step.error(f"an index is outside axis {axis} of extent {shape[axis]}")
    chosen = [index % shape[axis] for index in chosen]
    stride = chosen[1] - chosen[0] if len(chosen) > 1 else 1
    if stride == 0 or any(right - left != stride for left, right in pairwise(chosen)):
        emit(importer, step, attrs={"axis": axis})
        return
    stop = chosen[-1] + (1 if stride > 0 else -1)
    ranges = [(0, extent, 1) for extent in shape]
    ranges[axis] = (chosen[0], stop, stride)
    if indices.ndim == 1:
        emit_slice(importer, step, ranges)
        return
    attrs = {
        "starts": tuple(entry[0] for entry in ranges), "ends": tuple(entry[1] for entry in ranges),
        "axes": tuple(range(len(shape))), "steps": tuple(entry[2] for entry in ranges),
    }  # fmt: skip
    middle = importer.fresh(f"{step.outputs[0]}/slice")
    importer.declare(middle, [len(range(*entry)) for entry in ranges], importer.type(step.inputs[0]).dtype, step.name)
    importer.emit(f"{step.name}/slice", "Slice", step.inputs[:1], (middle,), attrs)
    emit(importer, step, "Reshape", (middle,))


def pad(importer: Importer, step: Step) -> None:
    """Pad: attrs pads (full rank, begin.. end..), mode, value (a Python number; 0 where the mode has none)."""
    shape = importer.shape(step.inputs[0])
    rank = len(shape)
    given = importer.integers(step.input(1), "pads", step.name) or ()
    axes = importer.integers(step.input(3), "axes", step.name)
    axes = step.axes(tuple(range(rank)) if axes is None else axes, rank)
    if len(given) != 2 * len(axes):
        raise step.error(f"pads has {len(given)} entries for {len(axes)} axes")
    pads = [0] * (2 * rank)
    for position, axis in enumerate(axes):
        pads[axis], pads[axis + rank] = given[position], given[position + len(axes)]
    if any(amount < 0 for amount in pads):
        raise step.error("a padding is negative", "cut the tensor with Slice instead of a negative padding")
    mode = step.attrs.get("mode", "constant")
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise step.error(f"mode {mode!r} is unknown")
    if mode == "reflect" and any(
        pads[axis] >= shape[axis] or pads[axis + rank] >= shape[axis] for axis in range(rank) if pads[axis] or pads[axis + rank]
    ):
        raise step.error("reflects more than the tensor has")
    if tuple(extent + pads[axis] + pads[axis + rank] for axis, extent in enumerate(shape)) != step.output_shape():
        raise step.error("its output shape isn't what its pads give")
    value = importer.parameter(step.input(2), "constant_value", step.name)
    if value is not None and value.size != 1:
        raise step.error("constant_value must be one number")
    number: Any = 0 if value is None or mode != "constant" else value.reshape(-1)[0].item()
    if not any(pads):
        alias(importer, step)
    else:
        emit(importer, step, inputs=step.inputs[:1], attrs={"pads": tuple(pads), "mode": mode, "value": number})


def split(importer: Importer, step: Step) -> None:
    """Split: attrs axis, sizes (one per output). Parts without elements are constants."""
    shape = importer.shape(step.inputs[0])
    axis = step.axis(int(step.attrs.get("axis", 0)), len(shape))
    importer.parameter(step.input(1), "split", step.name)
    sizes = tuple(kind.shape[axis] if kind is not None else -1 for kind in step.types)
    if "" in step.outputs:  # an unused output has no inferred type, but keeps its share
        sizes = _split_sizes(importer, step, shape[axis])
    if sum(sizes) != shape[axis] or min(sizes) < 0:
        raise step.error(f"parts {list(sizes)} don't add up to {shape[axis]} along axis {axis}")
    parts = list(zip(step.outputs, step.types, sizes, strict=True))
    for output, kind, size in parts:
        if output and kind is not None and size == 0:
            importer.add_constant(output, np.zeros(kind.shape, kind.dtype), step.name)
    left = [part for part in parts if part[2] > 0]
    if len(left) == 1:
        importer.alias(left[0][0] or importer.fresh(f"{step.name}/unread"), step.inputs[0], step.name)
        return
    if not left[0][0]:  # a node is known by its first output
        size = left[0][2]
        kind = TensorType((*shape[:axis], size, *shape[axis + 1 :]), importer.type(step.inputs[0]).dtype)
        left[0] = (importer.fresh(f"{step.name}/unread"), kind, size)
    rest = replace(step, outputs=tuple(part[0] for part in left), types=tuple(part[1] for part in left))
    emit(importer, rest, inputs=step.inputs[:1], attrs={"axis": axis, "sizes": tuple(part[2] for part in left)})


def _split_sizes(importer: Importer, step: Step, extent: int) -> tuple[int, ...]:
    given = importer.integers(step.input(1), "split", step.name) or tuple(step.attrs.get("split") or ())
    if given:
        return given
    count = len(step.outputs)
    part = -(-extent // count)
    return (part,) * (count - 1) + (extent - part * (count - 1),)


def concat(importer: Importer, step: Step) -> None:
    """Concat: attr axis, non-negative. Operands without elements are left out."""
    axis = step.axis(int(step.attrs["axis"]), len(importer.shape(step.inputs[0])))
    inputs = tuple(name for name in step.inputs if 0 not in importer.shape(name))
    if len(inputs) == 1:
        importer.alias(step.outputs[0], inputs[0], step.name)
    else:
        emit(importer, step, inputs=inputs, attrs={"axis": axis})


def space_to_depth(importer: Importer, step: Step) -> None:
    """SpaceToDepth: attr blocksize; mode CRD (a block's pixels stay together in depth) is a transpose between reshapes."""
    block = int(step.attrs["blocksize"])
    shape = importer.shape(step.inputs[0])
    if len(shape) != 4 or block < 1 or shape[2] % block or shape[3] % block:
        raise step.error(f"{list(shape)} doesn't divide into blocks of {block}")
    if step.attrs.get("mode", "DCR") != "CRD":
        emit(importer, step, attrs={"blocksize": block})
        return
    batch, channels, height, width = shape[0], shape[1], shape[2] // block, shape[3] // block
    split, turned = (importer.fresh(f"{step.outputs[0]}/{label}") for label in ("blocks", "moved"))
    dtype = importer.type(step.inputs[0]).dtype
    importer.declare(split, (batch, channels, height, block, width, block), dtype, step.name)
    importer.emit(f"{step.name}/split", "Reshape", step.inputs, (split,))
    importer.declare(turned, (batch, channels, block, block, height, width), dtype, step.name)
    importer.emit(f"{step.name}/move", "Transpose", (split,), (turned,), {"perm": (0, 1, 3, 5, 2, 4)})
    emit(importer, step, "Reshape", (turned,))


_RESIZE_MODES = ("nearest", "linear", "cubic")


def resize(importer: Importer, step: Step) -> None:
    """Resize: attrs sizes and scales (full rank), mode and ONNX's other attributes."""
    shape, target = importer.shape(step.inputs[0]), step.output_shape()
    rank = len(shape)
    axes = step.axes(step.attrs.get("axes") or tuple(range(rank)), rank)
    scales_in = importer.parameter(step.input(2), "scales", step.name)
    sizes_in = importer.integers(step.input(3), "sizes", step.name)
    scales = [out / extent for out, extent in zip(target, shape, strict=True)]
    if scales_in is not None and scales_in.size:
        given = [float(value) for value in scales_in.reshape(-1)]
        if len(given) != len(axes) or not all(0 < value < math.inf for value in given):
            raise step.error("scales must be positive, one per axis")
        for axis, value in zip(axes, given, strict=True):
            scales[axis] = value
    elif sizes_in is None or len(sizes_in) != len(axes):
        raise step.error("needs scales or sizes, one per axis")
    elif step.attrs.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        pick = min if step.attrs["keep_aspect_ratio_policy"] == "not_larger" else max
        common = pick(size / shape[axis] for size, axis in zip(sizes_in, axes, strict=True))
        for axis in axes:
            scales[axis] = common
    mode = step.attrs.get("mode", "nearest")
    if mode not in _RESIZE_MODES:
        raise step.error(f"mode {mode!r} is unknown")
    keep = (
        "coordinate_transformation_mode", "nearest_mode", "cubic_coeff_a", "exclude_outside", "extrapolation_value",
        "antialias",
    )  # fmt: skip
    attrs = {key: step.attrs[key] for key in keep if key in step.attrs}
    attrs.setdefault("antialias", 0)
    attrs.update(sizes=target, scales=tuple(scales), mode=mode)
    if attrs.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        roi = importer.parameter(step.input(1), "roi", step.name)
        attrs["roi"] = _region(step, () if roi is None else tuple(float(value) for value in roi.reshape(-1)), axes, rank)
    elif target == shape and all(scale == 1.0 for scale in scales):
        alias(importer, step)
        return
    emit(importer, step, inputs=step.inputs[:1], attrs=attrs)


def _region(step: Step, roi: tuple[float, ...], axes: tuple[int, ...], rank: int) -> tuple[float, ...]:
    """The region of interest for every axis: starts, then ends; whole axes where the model says nothing."""
    if len(roi) != 2 * len(axes):
        raise step.error(f"roi has {len(roi)} entries for {len(axes)} axes")
    region = [0.0] * rank + [1.0] * rank
    for position, axis in enumerate(axes):
        region[axis], region[axis + rank] = roi[position], roi[position + len(axes)]
    return tuple(region)


def reduce(importer: Importer, step: Step) -> None:
    """ReduceMean, ReduceSum, ReduceMax ..: attrs axes (sorted, non-negative), keepdims."""
    rank = len(importer.shape(step.inputs[0]))
    axes = importer.integers(step.input(1), "axes", step.name)
    if axes is None:
        axes = tuple(step.attrs.get("axes") or ())
    if not axes and int(step.attrs.get("noop_with_empty_axes", 0)):
        alias(importer, step)
        return
    chosen = tuple(sorted(step.axes(axes or tuple(range(rank)), rank)))
    emit(importer, step, inputs=step.inputs[:1], attrs={"axes": chosen, "keepdims": int(step.attrs.get("keepdims", 1))})
