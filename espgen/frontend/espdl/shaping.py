"""Operators on images and those that move, select or sum along axes: axes of the file become axes of the view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from espgen.frontend.espdl.elementwise import aligned
from espgen.frontend.espdl.model import Node
from espgen.frontend.espdl.translation import (
    Axes,
    Translation,
    View,
    attribute_integer,
    attribute_integers,
    attribute_text,
    axis_of,
    channels_first,
    channels_last,
    fault,
    identity,
)

_WINDOW = ("kernel_shape", "pads", "strides", "dilations")


def pool(state: Translation, node: Node) -> None:
    x = state.view(node, 0)
    rank = len(x.axes)
    attrs: dict[str, object] = {key: attribute_integers(node, key) for key in _WINDOW if key in node.attrs}
    if "Global" not in node.op:
        attrs["ceil_mode"] = attribute_integer(node, "ceil_mode", 0)
    if node.op == "AveragePool":
        attrs["count_include_pad"] = attribute_integer(node, "count_include_pad", 0)
    _image(state, node, x, attrs, rank)


def depth_space(state: Translation, node: Node) -> None:
    x = state.view(node, 0)
    attrs: dict[str, object] = {"blocksize": attribute_integer(node, "blocksize", 1)}
    if node.op == "DepthToSpace":
        attrs["mode"] = attribute_text(node, "mode", "DCR")
    _image(state, node, x, attrs, len(x.axes))


def _image(state: Translation, node: Node, x: View, attrs: dict[str, object], rank: int) -> None:
    if rank not in (3, 4):
        raise fault(node, f"an input of rank {rank}")
    made = state.onnx(node.name, node.op, [state.want(x, channels_first(rank))], attrs)[0]
    state.define(node, made, channels_last(rank))


def resize(state: Translation, node: Node) -> None:
    """Scales and sizes are those of ONNX: channels first."""
    x = state.view(node, 0)
    rank = len(x.axes)
    if rank not in (3, 4):
        raise fault(node, f"an input of rank {rank}")
    parameters = [""]
    for index, dtype in ((2, np.float32), (3, np.int64)):
        held = state.tensor(node, index).data.astype(dtype) if state.has(node, index) else None
        name = "" if held is None or not held.size else state.importer.add_constant(state.fresh(f"{node.name}/size"), held)
        parameters.append(name)
    attrs: dict[str, object] = {
        "coordinate_transformation_mode": attribute_text(node, "coordinate_transformation_mode", "half_pixel"),
        "mode": attribute_text(node, "mode", "nearest"),
        "nearest_mode": attribute_text(node, "nearest_mode", "round_prefer_floor"),
    }
    made = state.onnx(node.name, "Resize", [state.want(x, channels_first(rank)), *parameters], attrs)[0]
    state.define(node, made, channels_last(rank))


def transpose(state: Translation, node: Node) -> None:
    """Another view of the same tensor."""
    x = state.view(node, 0)
    rank = len(x.axes)
    perm = tuple(axis_of(node, axis, rank) for axis in attribute_integers(node, "perm", tuple(range(rank))[::-1]))
    if sorted(perm) != list(range(rank)):
        raise fault(node, f"perm {list(perm)} of a tensor of rank {rank}")
    state.alias(node, View(x.base, tuple(x.axes[axis] for axis in perm), x.integers))


def reshape(state: Translation, node: Node) -> None:
    shape = state.integers(node, 1, "shape")
    if shape is None:
        raise fault(node, "has no shape")
    _plain(state, node, "Reshape", [_list(state, node, shape)], {"allowzero": attribute_integer(node, "allowzero", 0)})


def flatten(state: Translation, node: Node) -> None:
    _plain(state, node, "Flatten", [], {"axis": attribute_integer(node, "axis", 1)})


def squeeze(state: Translation, node: Node) -> None:
    """Squeeze and Unsqueeze."""
    axes = state.integers(node, 1, "axes")
    _plain(state, node, node.op, [] if axes is None else [_list(state, node, axes)])


def _plain(
    state: Translation, node: Node, op: str, parameters: Sequence[str], attrs: Mapping[str, object] = MappingProxyType({})
) -> None:
    """An operator on the file's own order of axes."""
    made = state.onnx(node.name, op, [state.plain(state.view(node, 0)), *parameters], attrs)[0]
    state.define(node, made, identity(len(state.importer.shape(made))))


def _list(state: Translation, node: Node, numbers: Sequence[int]) -> str:
    return state.importer.add_constant(state.fresh(f"{node.name}/list"), np.array(numbers, np.int64))


def slice_(state: Translation, node: Node) -> None:
    x = state.view(node, 0)
    starts, ends = state.integers(node, 1, "starts"), state.integers(node, 2, "ends")
    if starts is None or ends is None or len(starts) != len(ends):
        raise fault(node, "its starts and ends do not fit")
    axes = state.integers(node, 3, "axes") or tuple(range(len(starts)))
    steps = state.integers(node, 4, "steps") or (1,) * len(starts)
    held = [x.axes[axis_of(node, axis, len(x.axes))] for axis in axes]
    parameters = [_list(state, node, numbers) for numbers in (starts, ends, held, steps)]
    state.define(node, state.onnx(node.name, "Slice", [x.base, *parameters])[0], x.axes)


def split(state: Translation, node: Node) -> None:
    x = state.view(node, 0)
    axis = x.axes[axis_of(node, attribute_integer(node, "axis", 0), len(x.axes))]
    sizes = state.integers(node, 1, "split")
    count = len(node.outputs)
    attrs: dict[str, object] = {"axis": axis} if sizes is not None else {"axis": axis, "num_outputs": count}
    made = state.onnx(node.name, "Split", [x.base, *([] if sizes is None else [_list(state, node, sizes)])], attrs, count)
    for index, name in enumerate(made):
        if node.outputs[index]:
            state.define(node, name, x.axes, index)


def concat(state: Translation, node: Node) -> None:
    operands, axes = aligned(state, node, len(node.inputs))
    axis = axes[axis_of(node, attribute_integer(node, "axis", 0), len(axes))]
    state.define(node, state.onnx(node.name, "Concat", operands, {"axis": axis})[0], axes)


def reduce(state: Translation, node: Node) -> None:
    """ReduceMean, ReduceSum and their like; without axes over all."""
    x = state.view(node, 0)
    rank = len(x.axes)
    chosen = state.integers(node, 1, "axes") or tuple(range(rank))
    reduced = {x.axes[axis_of(node, axis, rank)] for axis in chosen}
    keep = attribute_integer(node, "keepdims", 1)
    made = state.onnx(node.name, node.op, [x.base, _list(state, node, sorted(reduced))], {"keepdims": keep})[0]
    left = [axis for axis in x.axes if axis not in reduced]
    axes: Axes = x.axes if keep else tuple(sorted(left).index(axis) for axis in left)
    state.define(node, made, axes)


def along_axis(state: Translation, node: Node) -> None:
    """Softmax and LogSoftmax."""
    x = state.view(node, 0)
    axis = x.axes[axis_of(node, attribute_integer(node, "axis", -1), len(x.axes))]
    state.define(node, state.onnx(node.name, node.op, [x.base], {"axis": axis})[0], x.axes)


def pad(state: Translation, node: Node) -> None:
    x = state.view(node, 0)
    rank = len(x.axes)
    pads = state.integers(node, 1, "pads")
    axes = state.integers(node, 3, "axes") or tuple(range(rank))
    if pads is None or len(pads) != 2 * len(axes):
        raise fault(node, "its pads do not fit its axes")
    held = [x.axes[axis_of(node, axis, rank)] for axis in axes]
    value = ""
    if state.has(node, 2):
        tensor = state.tensor(node, 2)
        if tensor.data.size != 1:
            raise fault(node, f"its value has {tensor.data.size} elements")
        number = float(tensor.data.reshape(-1)[0]) * (1.0 if tensor.data.dtype.kind == "f" else 2.0 ** tensor.exponents[0])
        value = state.importer.add_constant(state.fresh(f"{node.name}/value"), np.array(number, np.float32))
    parameters = [_list(state, node, pads), value, _list(state, node, held)]
    made = state.onnx(node.name, "Pad", [x.base, *parameters], {"mode": attribute_text(node, "mode", "constant")})[0]
    state.define(node, made, x.axes)


def gather(state: Translation, node: Node) -> None:
    x = state.view(node, 0)
    axis = axis_of(node, attribute_integer(node, "axis", 0), len(x.axes))
    indices = state.tensor(node, 1)
    held = state.importer.add_constant(state.fresh(indices.name), indices.plain.astype(np.int64))
    made = state.onnx(node.name, "Gather", [state.plain(x), held], {"axis": axis})[0]
    state.define(node, made, identity(len(state.importer.shape(made))))


def normalize(state: Translation, node: Node) -> None:
    """LayerNormalization over the last axes, as the file orders them."""
    x = state.view(node, 0)
    epsilon = node.attrs.get("epsilon", 1e-5)
    if not isinstance(epsilon, float):
        raise fault(node, "attribute 'epsilon' is no number")
    operands = [state.plain(x)] + [state.view(node, index).base for index in range(1, len(node.inputs)) if state.has(node, index)]
    made = state.onnx(node.name, node.op, operands, {"axis": attribute_integer(node, "axis", -1), "epsilon": epsilon})[0]
    state.define(node, made, identity(len(x.axes)))
