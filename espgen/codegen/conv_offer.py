"""PIE convolutions for conv2d nodes: what they need of storage, how rows are tiled for the cache, and their calls."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from espgen.codegen.calls import Call, NodePlan, padding_bytes
from espgen.codegen.offers import KernelOptions, Offer, Refusal
from espgen.codegen.pie.conv import conv_kernel
from espgen.codegen.pie.spec import ConvSpec, PieKernel
from espgen.codegen.tiles import row_tiles
from espgen.errors import EspgenError
from espgen.ir import DType, Graph, Node, Value
from espgen.ops.base import PADDING_ROW, RowTable, Storage, bounds
from espgen.ops.conv2d import accumulator_bounds, folded_bias, image_shape, input_rows, weight_zero_points
from espgen.schedule.storage import StorageNeed, StoragePlan, padded_storage

KERNEL = "pie conv"
LANES = 16
"""Bytes of a vector."""
_NARROW_CHANNELS = 8

Generate = Callable[[ConvSpec], PieKernel]


def offer(node: Node, graph: Graph, options: KernelOptions) -> Offer | Refusal | None:
    """A PIE convolution for a conv2d node, or why there is none."""
    if node.op != "conv2d" or is_depthwise(node, graph):
        return None
    return offer_of(node, graph, KERNEL, partial(conv_kernel, hardware_loops=options.hardware_loops))


def offer_of(node: Node, graph: Graph, name: str, generate: Generate) -> Offer | Refusal:
    """What the family `name` offers for a conv2d node; `generate` raises EspgenError where it has no kernel."""
    reason = refusal(node, graph)
    if reason is not None:
        return Refusal(name, reason)
    needs = storage_needs(node, graph)
    spec = conv_spec(node, graph, {value: padded_storage(graph.value(value), need) for value, need in needs.items()})
    try:
        kernel = generate(spec)
    except EspgenError as problem:
        return Refusal(name, problem.message)
    batch = image_shape(graph.value(node.inputs[0]).shape)[0]
    out_h = image_shape(graph.value(node.outputs[0]).shape)[1]

    def reuse(wanted: ConvSpec) -> PieKernel:
        """The kernel at hand where the storage turned out as asked for."""
        same = (wanted.in_pitch, wanted.out_pitch) == (spec.in_pitch, spec.out_pitch)
        return kernel if same else generate(wanted)

    cycles = int(kernel.cycles(out_h) * batch)
    return Offer(name, cycles, needs, lambda storage: build(node, graph, storage, name, reuse))


def is_depthwise(node: Node, graph: Graph) -> bool:
    """Whether every output channel has one input channel of its own, which the depthwise family does faster."""
    weights = graph.value(node.inputs[1]).shape
    return bool(node.attrs["groups"] == weights[0] > 1 and weights[3] == 1)


def refusal(node: Node, graph: Graph) -> str | None:
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


def storage_needs(node: Node, graph: Graph) -> dict[str, StorageNeed]:
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


def conv_spec(node: Node, graph: Graph, storages: dict[str, Storage]) -> ConvSpec:
    """The numbers of the convolution for the kernel generator."""
    result = graph.value(node.outputs[0])
    attrs = node.attrs
    points = weight_zero_points(node, graph)
    return ConvSpec(
        weights=graph.constants[node.inputs[1]],
        bias=folded_bias(node, graph),
        requant=attrs["requant"],
        out_width=image_shape(result.shape)[2],
        in_pitch=storages[node.inputs[0]].pixel_pitch,
        out_pitch=storages[node.outputs[0]].pixel_pitch,
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


def build(
    node: Node, graph: Graph, storage: StoragePlan, name: str, generate: Generate
) -> NodePlan:
    """The node's calls of the kernel that `generate` makes: one per image and tile of rows."""
    source, result = graph.value(node.inputs[0]), graph.value(node.outputs[0])
    batch, height, _, _ = image_shape(source.shape)
    _, out_h, _, _ = image_shape(result.shape)
    storages = {name: storage.storages[name] for name in (source.name, result.name)}
    kernel = generate(conv_spec(node, graph, storages))
    kernel_h = graph.value(node.inputs[1]).shape[1]
    tile = row_tiles(
        out_rows=out_h,
        in_row_bytes=storages[source.name].row_pitch * node.attrs["strides"][0],
        out_row_bytes=storages[result.name].row_pitch,
        overlap_bytes=storages[source.name].row_pitch * max(0, kernel_h - node.attrs["strides"][0]),
        weight_bytes=len(kernel.params),
        blocks=-(-image_shape(result.shape)[3] * result.dtype.size // LANES),
    )
    calls = []
    for image in range(batch):
        for begin in range(0, out_h, tile):
            end = min(out_h, begin + tile)
            rows = input_rows(begin, end, node, kernel_h, height)
            shifted = tuple(row if row == PADDING_ROW else row + image * height for row in rows)
            calls.append(
                Call(
                    function=kernel.symbol,
                    header=None,
                    template=None,
                    output=RowTable(result.name, tuple(range(image * out_h + begin, image * out_h + end))),
                    inputs=(RowTable(source.name, shifted, first_pixel=-node.attrs["pads"][1]),),
                    tables=(("void", kernel.params),),
                    rows=end - begin,
                    row_begin=image * out_h + begin,
                    row_end=image * out_h + end,
                )
            )
    scratch = padding_bytes(tuple(calls), storage)
    return NodePlan(node, name, tuple(calls), assembly=((kernel.symbol, kernel.assembly),), scratch=scratch)
