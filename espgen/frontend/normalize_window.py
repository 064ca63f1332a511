"""Canonical attributes of convolutions and pools: auto_pad resolved, every list written out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from espgen.frontend.importer import Importer
from espgen.frontend.step import Step, emit

_MAX_WINDOW_PARAMETER = 1 << 20


def conv(importer: Importer, step: Step) -> None:
    """Conv and ConvInteger: attrs kernel_shape, strides, dilations, pads (begin.., end..), group."""
    data, weight = importer.shape(step.inputs[0]), importer.shape(step.inputs[1])
    spatial = _check_rank(step, data, weight)
    group = _positive(step, "group", int(step.attrs.get("group", 1)))
    if weight[0] % group or data[1] != weight[1] * group:
        raise step.error(f"input channels {data[1]}, weight {list(weight)} and group {group} don't fit together")
    attrs = _window(step, data[2:], weight[2:])
    attrs["group"] = group
    if step.op == "Conv":
        _check_bias(importer, step, weight[0])
    _check_extent(step, data[2:], attrs)
    if len(step.output_shape()) != spatial + 2:
        raise step.error("its output has another rank than its input")
    emit(importer, step, attrs=attrs)


def conv_transpose(importer: Importer, step: Step) -> None:
    """ConvTranspose: as Conv plus output_padding; output_shape is turned into pads."""
    data, weight = importer.shape(step.inputs[0]), importer.shape(step.inputs[1])
    spatial = _check_rank(step, data, weight)
    group = _positive(step, "group", int(step.attrs.get("group", 1)))
    if data[1] != weight[0] or weight[0] % group:
        raise step.error(f"input channels {data[1]}, weight {list(weight)} and group {group} don't fit together")
    _check_bias(importer, step, weight[1] * group)
    kernel = _kernel(step, weight[2:])
    strides = _positives(step, "strides", spatial)
    dilations = _positives(step, "dilations", spatial)
    extra = _list(step, "output_padding", spatial, 0)
    effective = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    auto_pad = step.attrs.get("auto_pad", "NOTSET")
    wanted: Sequence[int] | None = step.attrs.get("output_shape")
    if wanted is None and auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [extent * stride for extent, stride in zip(data[2:], strides, strict=True)]
    if wanted is not None:
        wanted = wanted[-spatial:]
        if len(wanted) != spatial:
            raise step.error("output_shape needs one entry per spatial axis")
        total = [
            stride * (extent - 1) + more + size - out
            for extent, stride, more, size, out in zip(data[2:], strides, extra, effective, wanted, strict=True)
        ]
        extra = tuple(more - min(0, pad) for more, pad in zip(extra, total, strict=True))
        pads = _split_pads([max(0, pad) for pad in total], upper=auto_pad == "SAME_UPPER")
    elif auto_pad == "VALID":
        pads = (0,) * (2 * spatial)
    else:
        pads = _pads(step, spatial)
    result = tuple(
        stride * (extent - 1) + more + size - pads[axis] - pads[axis + spatial]
        for axis, (extent, stride, more, size) in enumerate(zip(data[2:], strides, extra, effective, strict=True))
    )
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):  # onnx infers the extent with output_padding on top, nobody computes it
        step = _with_extents(step, result)
    if step.output_shape() != (data[0], weight[1] * group, *result):
        raise step.error(f"its output shape {list(step.output_shape())} isn't what its attributes give, {list(result)}")
    emit(
        importer, step,
        attrs={
            "kernel_shape": kernel, "strides": strides, "dilations": dilations, "pads": pads, "group": group,
            "output_padding": extra,
        },
    )  # fmt: skip


def pool(importer: Importer, step: Step) -> None:
    """AveragePool, MaxPool, LpPool: attrs kernel_shape, strides, dilations, pads, ceil_mode, count_include_pad."""
    data = importer.shape(step.inputs[0])
    if len(data) < 3:
        raise step.error(f"input has rank {len(data)}, wants 3 or more")
    if "kernel_shape" not in step.attrs:
        raise step.error("kernel_shape is missing")
    attrs = _window(step, data[2:], None)
    attrs["ceil_mode"] = int(step.attrs.get("ceil_mode", 0))
    if step.op == "AveragePool":
        attrs["count_include_pad"] = int(step.attrs.get("count_include_pad", 0))
    if any(step.outputs[1:]):
        attrs["storage_order"] = int(step.attrs.get("storage_order", 0))
    if "p" in step.attrs:
        attrs["p"] = step.attrs["p"]
    if any(pad >= (size - 1) * dilation + 1 for pad, size, dilation in zip(
        attrs["pads"], attrs["kernel_shape"] * 2, attrs["dilations"] * 2, strict=True)):  # fmt: skip
        raise step.error("a padding is as large as the window, so that a window holds nothing but padding")
    _check_extent(step, data[2:], attrs)
    emit(importer, _without_windows_of_padding(step, data[2:], attrs) if attrs["ceil_mode"] else step, attrs=attrs)


def _without_windows_of_padding(step: Step, data: Sequence[int], attrs: dict[str, Any]) -> Step:
    """Ceil mode has no window that would start behind the input: said by opset 22, done by onnxruntime for all opsets."""
    kept = tuple(
        min(extent, -(-(size + pad) // stride))
        for extent, size, pad, stride in zip(step.output_shape()[2:], data, attrs["pads"], attrs["strides"], strict=False)
    )
    return _with_extents(step, kept)


def _with_extents(step: Step, extents: Sequence[int]) -> Step:
    """The step with other spatial extents of its outputs than onnx infers."""
    types = tuple(kind and replace(kind, shape=(*kind.shape[:2], *extents)) for kind in step.types)
    return replace(step, types=types)


def _check_rank(step: Step, data: tuple[int, ...], weight: tuple[int, ...]) -> int:
    if len(data) < 3 or len(weight) != len(data):
        raise step.error(f"input {list(data)} and weight {list(weight)} need the same rank, 3 or more")
    return len(data) - 2


def _check_bias(importer: Importer, step: Step, channels: int) -> None:
    bias = step.input(2)
    if bias and importer.shape(bias) != (channels,):
        raise step.error(f"bias has shape {list(importer.shape(bias))}, wants [{channels}]")


def _check_extent(step: Step, data: Sequence[int], attrs: dict[str, Any]) -> None:
    spatial = len(data)
    for axis in range(spatial):
        size = (attrs["kernel_shape"][axis] - 1) * attrs["dilations"][axis] + 1
        if data[axis] + attrs["pads"][axis] + attrs["pads"][axis + spatial] < size:
            raise step.error(f"its window of {size} is larger than the padded input along spatial axis {axis}")


def _window(step: Step, data: Sequence[int], weight: tuple[int, ...] | None) -> dict[str, Any]:
    spatial = len(data)
    kernel = _kernel(step, weight) if weight is not None else _positives(step, "kernel_shape", spatial)
    strides = _positives(step, "strides", spatial)
    dilations = _positives(step, "dilations", spatial)
    auto_pad = step.attrs.get("auto_pad", "NOTSET")
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        total = [
            max((-(-extent // stride) - 1) * stride + (size - 1) * dilation + 1 - extent, 0)
            for extent, stride, size, dilation in zip(data, strides, kernel, dilations, strict=True)
        ]
        pads = _split_pads(total, upper=auto_pad == "SAME_UPPER")
    elif auto_pad == "VALID":
        pads = (0,) * (2 * spatial)
    elif auto_pad == "NOTSET":
        pads = _pads(step, spatial)
    else:
        raise step.error(f"auto_pad {auto_pad!r} is unknown")
    return {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "pads": pads}


def _split_pads(total: Sequence[int], *, upper: bool) -> tuple[int, ...]:
    small = [pad // 2 for pad in total]
    large = [pad - pad // 2 for pad in total]
    return tuple([*small, *large] if upper else [*large, *small])


def _kernel(step: Step, weight: tuple[int, ...]) -> tuple[int, ...]:
    kernel = tuple(step.attrs.get("kernel_shape") or weight)
    if kernel != weight:
        raise step.error(f"kernel_shape {list(kernel)} isn't the weight's {list(weight)}")
    return kernel


def _pads(step: Step, spatial: int) -> tuple[int, ...]:
    pads = _list(step, "pads", 2 * spatial, 0)
    if any(not 0 <= pad <= _MAX_WINDOW_PARAMETER for pad in pads):
        raise step.error(f"pads {list(pads)} must not be negative", "cut the tensor with Slice instead of a negative padding")
    return pads


def _positives(step: Step, key: str, count: int) -> tuple[int, ...]:
    values = _list(step, key, count, 1)
    for value in values:
        _positive(step, key, value)
    return values


def _positive(step: Step, key: str, value: int) -> int:
    if not 1 <= value <= _MAX_WINDOW_PARAMETER:
        raise step.error(f"{key} holds {value}, which must be positive and sensible")
    return value


def _list(step: Step, key: str, count: int, default: int) -> tuple[int, ...]:
    values = tuple(step.attrs.get(key) or (default,) * count)
    if len(values) != count:
        raise step.error(f"{key} has {len(values)} entries, wants {count}")
    return values
