"""Convolutions for conv2d nodes: what they need of storage, their calls, and how many rows a step should make."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from espgen.codegen.family import Family, KernelOptions, Parts, assembly_call
from espgen.codegen.pie.conv import conv_kernel
from espgen.codegen.pie.depthwise import depthwise_kernel
from espgen.codegen.pie.spec import ConvSpec, PieKernel
from espgen.errors import Refusal
from espgen.ir import DType, Graph, Node, Value
from espgen.ops.base import PADDING_ROW, RowTable, StorageOf, bounds
from espgen.ops.conv2d import accumulator_bounds, folded_bias, image_shape, input_rows, weight_zero_points
from espgen.schedule.storage import StorageNeed
from espgen.schedule.tiles import row_tiles

LANES = 16
"""Bytes of a vector."""
_NARROW_CHANNELS = 8

def _is_depthwise(node: Node, graph: Graph) -> bool:
    """Whether every output channel has one input channel of its own, which the depthwise family does faster."""
    weights = graph.value(node.inputs[1]).shape
    return bool(node.attrs["groups"] == weights[0] > 1 and weights[3] == 1)


def _reason(node: Node, graph: Graph) -> str | None:
    """Why a conv2d node has no PIE kernel of any family, or None."""
    source, weights, result = (graph.value(name).dtype for name in (node.inputs[0], node.inputs[1], node.outputs[0]))
    if source is not result or source not in (DType.INT8, DType.INT16):
        return f"{source.value} to {result.value}"
    if weights not in (DType.INT8, source):
        return f"{weights.value} weights for {source.value} activations"
    if node.attrs["requant"] is None:
        return "raw accumulators as output"
    points = set(weight_zero_points(node, graph).tolist())
    if len(points) > 1:
        return "a different weight zero point per channel"
    return None


def _storage_needs(node: Node, graph: Graph) -> dict[str, StorageNeed]:
    """Halos wide enough for every window; whole vectors per pixel, except for the few channels of an image."""
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    _, _, width, channels = image_shape(source.shape)
    _, _, out_w, _ = image_shape(result.shape)
    kernel_w = graph.value(node.inputs[1]).shape[2]
    left = node.attrs["pads"][1]
    reach = (out_w - 1) * node.attrs["strides"][1] + (kernel_w - 1) * node.attrs["dilations"][1] + 1
    right = max(0, reach - left - width)
    maker = graph.producers().get(source.name)
    narrow = channels < _NARROW_CHANNELS and (maker is None or maker.op == "flip_sign")
    return {
        source.name: StorageNeed(left, right, 1 if narrow else _pitch_multiple(source)),
        result.name: StorageNeed(0, 0, _pitch_multiple(result)),
    }


def _pitch_multiple(value: Value) -> int:
    """Whole vectors, or half of one where a pixel fits in it."""
    return LANES // 2 if 2 * value.shape[-1] * value.dtype.size == LANES else LANES


def _spec(node: Node, graph: Graph, storage: StorageOf) -> ConvSpec:
    """The numbers of the convolution for the kernel generator."""
    result = graph.value(node.outputs[0])
    attrs = node.attrs
    points = weight_zero_points(node, graph)
    return ConvSpec(
        weights=graph.constants[node.inputs[1]],
        bias=folded_bias(node, graph),
        requant=attrs["requant"],
        out_width=image_shape(result.shape)[2],
        in_pitch=storage(node.inputs[0]).pixel_pitch,
        out_pitch=storage(node.outputs[0]).pixel_pitch,
        stride_h=attrs["strides"][0],
        stride_w=attrs["strides"][1],
        dilation_h=attrs["dilations"][0],
        dilation_w=attrs["dilations"][1],
        groups=attrs["groups"],
        weight_zero=int(points[0]) if len(points) else 0,
        zero_point=result.zero_point,
        low=bounds(node, graph)[0],
        high=bounds(node, graph)[1],
        bound=int(accumulator_bounds(node, graph).max()),
        element_bytes=result.dtype.size,
    )


def _needs(node: Node, graph: Graph, *, depthwise: bool) -> dict[str, StorageNeed] | Refusal | None:
    if _is_depthwise(node, graph) is not depthwise:
        return None
    reason = _reason(node, graph)
    return _storage_needs(node, graph) if reason is None else Refusal(reason)


def _parts(
    node: Node, graph: Graph, storage: StorageOf, options: KernelOptions, *, generate: Callable[..., PieKernel]
) -> Parts:
    """One call per image of the kernel that `generate` makes."""
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    batch, height, _, _ = image_shape(source.shape)
    out_h = image_shape(result.shape)[1]
    kernel = generate(_spec(node, graph, storage), hardware_loops=options.hardware_loops)
    rows = input_rows(0, out_h, node, graph.value(node.inputs[1]).shape[1], height)
    return tuple(
        assembly_call(
            kernel,
            RowTable(result.name, tuple(range(image * out_h, (image + 1) * out_h))),
            (
                RowTable(
                    source.name,
                    tuple(row if row == PADDING_ROW else row + image * height for row in rows),
                    first_pixel=-node.attrs["pads"][1],
                ),
            ),
            row_begin=image * out_h,
            advance=(node.attrs["strides"][0],),
        )
        for image in range(batch)
    )


def _band_rows(node: Node, graph: Graph, storage: StorageOf, parts: Parts) -> int:
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    stride, kernel_h = node.attrs["strides"][0], graph.value(node.inputs[1]).shape[1]
    return row_tiles(
        out_rows=image_shape(result.shape)[1],
        in_row_bytes=storage(source.name).row_pitch * stride,
        out_row_bytes=storage(result.name).row_pitch,
        overlap_bytes=storage(source.name).row_pitch * max(0, kernel_h - stride),
        weight_bytes=len(parts[0].kernel.params),
        blocks=-(-image_shape(result.shape)[3] * result.dtype.size // LANES),
    )


CONVOLUTION = Family(
    "pie conv", ("conv2d",), partial(_needs, depthwise=False), partial(_parts, generate=conv_kernel), _band_rows
)
DEPTHWISE = Family(
    "pie depthwise", ("conv2d",), partial(_needs, depthwise=True), partial(_parts, generate=depthwise_kernel), _band_rows
)
