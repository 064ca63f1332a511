"""Operators that move, select, resize and reduce."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from espgen.errors import EspgenError
from espgen.frontend.tflite.emitter import AXIS_FIRST, FIRST, LAST, TO_FIRST, Emitter
from espgen.frontend.tflite.model import Operator
from espgen.frontend.tflite.pointwise import activation

_AGAIN = "the file is damaged: convert the model again"


def reshape(emitter: Emitter, operator: Operator) -> None:
    """RESHAPE, SQUEEZE, EXPAND_DIMS: the shape that the file tells of the result."""
    _reshaped(emitter, operator, emitter.real(operator.inputs[0]))


def _reshaped(emitter: Emitter, operator: Operator, real: str, output: int = 0) -> None:
    shape = emitter.numbers(f"{operator.name}/shape", emitter.shape(operator.outputs[output]))
    emitter.result(operator, emitter.emit("Reshape", [real, shape], name=operator.name, allowzero=1), LAST, output)


def transpose(emitter: Emitter, operator: Operator) -> None:
    perm = emitter.integers(operator.inputs[1], "the permutation")
    emitter.result(operator, emitter.emit("Transpose", [emitter.real(operator.inputs[0])], name=operator.name, perm=perm))


def concatenation(emitter: Emitter, operator: Operator) -> None:
    form = emitter.form_of(operator.inputs)
    axis = emitter.axis(operator.option("axis"), emitter.rank(operator.outputs[0]))
    if form == FIRST:
        axis = AXIS_FIRST[axis]
    real = emitter.emit("Concat", [emitter.real(index, form) for index in operator.inputs], name=operator.name, axis=axis)
    emitter.result(operator, emitter.activated(operator, real, activation(operator)), form)


def split(emitter: Emitter, operator: Operator) -> None:
    """SPLIT (axis, data) in equal parts, SPLIT_V (data, sizes, axis)."""
    if operator.op == "SPLIT":
        where, x = operator.inputs[:2]
        sizes: tuple[int, ...] = ()
    else:
        x, extents, where = operator.inputs[:3]
        sizes = emitter.integers(extents, "the sizes")
    rank, form = emitter.rank(x), emitter.form_of([x])
    axis = emitter.axis(emitter.integers(where, "the axis")[0], rank)
    count, extent = len(operator.outputs), emitter.shape(x)[axis]
    sizes = sizes or (extent // max(count, 1),) * count
    if sizes.count(-1) == 1:
        sizes = tuple(extent - sum(sizes) - 1 if size == -1 else size for size in sizes)
    if len(sizes) != count or sum(sizes) != extent:
        raise EspgenError(f"parts of {list(sizes)} of an axis of {extent}", hint=_AGAIN)
    inputs = [emitter.real(x, form), emitter.numbers(f"{operator.name}/sizes", sizes)]
    names = [emitter.fresh(f"{operator.name}/part") for _ in sizes]
    parts = emitter.emit_parts("Split", inputs, names, name=operator.name, axis=AXIS_FIRST[axis] if form == FIRST else axis)
    for output, part in enumerate(parts):
        emitter.result(operator, part, form, output)


def pack(emitter: Emitter, operator: Operator) -> None:
    """Tensors of one shape, side by side on a new axis."""
    axis = emitter.axis(operator.option("axis"), emitter.rank(operator.outputs[0]))
    axes = emitter.numbers(f"{operator.name}/axis", [axis])
    parts = [emitter.emit("Unsqueeze", [emitter.real(index), axes], name=f"{operator.name}/part") for index in operator.inputs]
    emitter.result(operator, emitter.emit("Concat", parts, name=operator.name, axis=axis))


def unpack(emitter: Emitter, operator: Operator) -> None:
    """The slices of one axis, each without it."""
    x = operator.inputs[0]
    axis = emitter.axis(operator.option("axis"), emitter.rank(x))
    if emitter.shape(x)[axis] != len(operator.outputs):
        raise EspgenError(f"{len(operator.outputs)} outputs of an axis of {emitter.shape(x)[axis]}", hint=_AGAIN)
    for output in range(len(operator.outputs)):
        real = _sliced(emitter, operator, x, LAST, {axis: (output, output + 1, 1)})
        _reshaped(emitter, operator, real, output)


def slice_(emitter: Emitter, operator: Operator) -> None:
    """SLICE (data, begin, size): a size of -1 is all that is left."""
    x, first, size = operator.inputs[:3]
    begins, sizes, shape = emitter.integers(first, "the start"), emitter.integers(size, "the size"), emitter.shape(x)
    if len(begins) != len(shape) or len(sizes) != len(shape):
        raise EspgenError(f"{len(begins)} starts and {len(sizes)} sizes of {len(shape)} axes", hint=_AGAIN)
    ranges = {
        axis: (begin, extent if length == -1 else begin + length, 1)
        for axis, (begin, length, extent) in enumerate(zip(begins, sizes, shape, strict=True))
        if (begin, length) not in ((0, -1), (0, extent))
    }
    form = emitter.form_of([x])
    emitter.result(operator, _sliced(emitter, operator, x, form, ranges), form)


def strided_slice(emitter: Emitter, operator: Operator) -> None:
    """STRIDED_SLICE (data, begin, end, strides): bits of masks say where a bound is the axis' own, and which axes vanish."""
    x, *bounds = operator.inputs[:4]
    names = ("the start", "the end", "the stride")
    begins, ends, steps = (emitter.integers(index, what) for index, what in zip(bounds, names, strict=True))
    for mask in ("ellipsis_mask", "new_axis_mask", "offset"):
        if operator.option(mask):
            raise EspgenError(f"STRIDED_SLICE with {mask.replace('_', ' ')}", hint="slice with plain bounds, then reshape")
    shape = emitter.shape(x)
    if not len(begins) == len(ends) == len(steps) <= len(shape) or 0 in steps:
        raise EspgenError("bounds that do not fit the data", hint=_AGAIN)
    shrink = operator.option("shrink_axis_mask")
    ranges = {}
    for axis, (begin, end, step) in enumerate(zip(begins, ends, steps, strict=True)):
        extent = shape[axis]
        if shrink >> axis & 1:
            begin = emitter.axis(begin, extent)
            ranges[axis] = (begin, begin + 1, 1)
            continue
        first, behind, _ = slice(
            None if operator.option("begin_mask") >> axis & 1 else begin,
            None if operator.option("end_mask") >> axis & 1 else end,
            step,
        ).indices(extent)
        if (first, behind, step) != (0, extent, 1):
            ranges[axis] = (first, behind if behind >= 0 else -extent - 1, step)
    if shrink:
        _reshaped(emitter, operator, _sliced(emitter, operator, x, LAST, ranges))
        return
    form = emitter.form_of([x])
    emitter.result(operator, _sliced(emitter, operator, x, form, ranges), form)


def _sliced(emitter: Emitter, operator: Operator, x: int, form: str, ranges: dict[int, tuple[int, int, int]]) -> str:
    """Ranges (start, end, step) by axis of the file's order."""
    real = emitter.real(x, form)
    if not ranges:
        return real
    axes = [AXIS_FIRST[axis] if form == FIRST else axis for axis in ranges]
    columns = [*zip(*ranges.values(), strict=True)]
    parameters = {"starts": columns[0], "ends": columns[1], "axes": axes, "steps": columns[2]}
    names = [emitter.numbers(f"{operator.name}/{name}", values) for name, values in parameters.items()]
    return emitter.emit("Slice", [real, *names], name=operator.name)


def pad(emitter: Emitter, operator: Operator) -> None:
    """PAD with real 0, PADV2 with a constant, MIRROR_PAD."""
    x, amounts, *rest = operator.inputs
    rank, pairs = emitter.rank(x), emitter.integers(amounts, "the padding")
    if len(pairs) != 2 * rank:
        raise EspgenError(f"{len(pairs)} amounts of padding for {rank} axes", hint=_AGAIN)
    form = FIRST if rank == 4 else LAST
    order = TO_FIRST if form == FIRST else tuple(range(rank))
    pads = [pairs[2 * axis] for axis in order] + [pairs[2 * axis + 1] for axis in order]
    inputs = [emitter.real(x, form), emitter.numbers(f"{operator.name}/pads", pads)]
    mode = "constant"
    if operator.op == "MIRROR_PAD":
        if operator.option("mode"):
            raise EspgenError("MIRROR_PAD that repeats the edge", hint="use the mode REFLECT")
        mode = "reflect"
    elif rest:
        data, grid = emitter.constant(rest[0]), emitter.grid(rest[0])
        if data is None or data.size != 1:
            raise EspgenError("the value of the padding is not one constant", hint="make it a constant of the model")
        number = float(data.reshape(-1)[0])
        number = number if grid is None else (number - grid.zero_point[0]) * grid.scale[0]
        inputs.append(emitter.initializer(f"{operator.name}/value", np.array(number, np.float32)))
    emitter.result(operator, emitter.emit("Pad", inputs, name=operator.name, mode=mode), form)


_REDUCTIONS = {"MEAN": "ReduceMean", "SUM": "ReduceSum", "REDUCE_MAX": "ReduceMax", "REDUCE_MIN": "ReduceMin"}


def reduce(emitter: Emitter, operator: Operator) -> None:
    """MEAN, SUM, REDUCE_MAX, REDUCE_MIN over some axes; channels first where what is left has the same order then."""
    x, where = operator.inputs[:2]
    rank, keep = emitter.rank(x), operator.option("keep_dims")
    axes = sorted({emitter.axis(axis, rank) for axis in emitter.integers(where, "the axes")})
    form = emitter.form_of([x])
    left = [axis for axis in TO_FIRST if axis not in axes]
    if form == FIRST and not keep and left != sorted(left):
        form = LAST
    chosen = [AXIS_FIRST[axis] for axis in axes] if form == FIRST else axes
    inputs = [emitter.real(x, form), emitter.numbers(f"{operator.name}/axes", chosen)]
    real = emitter.emit(_REDUCTIONS[operator.op], inputs, name=operator.name, keepdims=keep)
    emitter.result(operator, real, form if keep else LAST)


def resize(emitter: Emitter, operator: Operator) -> None:
    """RESIZE_BILINEAR, RESIZE_NEAREST_NEIGHBOR (data, [height, width])."""
    x, size = operator.inputs[:2]
    height_width = emitter.integers(size, "the size")
    corners, half = operator.option("align_corners"), operator.option("half_pixel_centers")
    linear = operator.op == "RESIZE_BILINEAR"
    shape = emitter.shape(x)
    if len(shape) != 4 or len(height_width) != 2:
        raise EspgenError(f"data of shape {list(shape)} resized to {list(height_width)}", hint=_AGAIN)
    sizes = emitter.numbers(f"{operator.name}/sizes", (shape[0], shape[3], *height_width))
    real = emitter.emit(
        "Resize",
        [emitter.real(x, FIRST), "", "", sizes],
        name=operator.name,
        mode="linear" if linear else "nearest",
        coordinate_transformation_mode="align_corners" if corners else "half_pixel" if half else "asymmetric",
        **({} if linear else {"nearest_mode": "round_prefer_ceil" if corners or half else "floor"}),
    )
    emitter.result(operator, real, FIRST)


def depth_space(emitter: Emitter, operator: Operator) -> None:
    op = "DepthToSpace" if operator.op == "DEPTH_TO_SPACE" else "SpaceToDepth"
    real = emitter.emit(
        op, [emitter.real(operator.inputs[0], FIRST)], name=operator.name, blocksize=operator.option("block_size")
    )
    emitter.result(operator, real, FIRST)


def gather(emitter: Emitter, operator: Operator) -> None:
    x, indices = operator.inputs[:2]
    if operator.option("batch_dims"):
        raise EspgenError("GATHER with batch dimensions", hint="gather along one axis of the whole tensor")
    emitter.integers(indices, "the indices")
    axis = emitter.axis(operator.option("axis"), emitter.rank(x))
    emitter.result(operator, emitter.emit("Gather", [emitter.real(x), emitter.held(indices)], name=operator.name, axis=axis))


def tile(emitter: Emitter, operator: Operator) -> None:
    repeats = emitter.numbers(f"{operator.name}/repeats", emitter.integers(operator.inputs[1], "the repeats"))
    emitter.result(operator, emitter.emit("Tile", [emitter.real(operator.inputs[0]), repeats], name=operator.name))


def broadcast_to(emitter: Emitter, operator: Operator) -> None:
    shape: Sequence[int] = emitter.shape(operator.outputs[0])
    inputs = [emitter.real(operator.inputs[0]), emitter.numbers(f"{operator.name}/shape", shape)]
    emitter.result(operator, emitter.emit("Expand", inputs, name=operator.name))


def shape(emitter: Emitter, operator: Operator) -> None:
    """SHAPE: known, as every shape is."""
    emitter.folded[operator.outputs[0]] = np.array(emitter.shape(operator.inputs[0]), np.int32)
