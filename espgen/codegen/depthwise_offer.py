"""PIE depthwise convolutions for conv2d nodes with one filter per channel."""

from __future__ import annotations

from functools import partial

from espgen.codegen.conv_offer import build, conv_spec, is_depthwise, refusal, storage_needs
from espgen.codegen.offers import KernelOptions, Offer, Refusal
from espgen.codegen.pie.depthwise import depthwise_kernel, supports
from espgen.ir import DType, Graph, Node
from espgen.ops.conv2d import image_shape
from espgen.schedule.storage import padded_storage

KERNEL = "pie depthwise"


def offer(node: Node, graph: Graph, options: KernelOptions) -> Offer | Refusal | None:
    """A PIE depthwise convolution for a conv2d node, or why there is none; None for other nodes."""
    if node.op != "conv2d" or not is_depthwise(node, graph):
        return None
    reason = refusal(node, graph, (DType.INT8, DType.INT16))
    if reason is not None:
        return Refusal(KERNEL, reason)
    needs = storage_needs(node, graph)
    spec = conv_spec(node, graph, {name: padded_storage(graph.value(name), need) for name, need in needs.items()})
    reason = supports(spec)
    if reason is not None:
        return Refusal(KERNEL, reason)
    batch = image_shape(graph.value(node.inputs[0]).shape)[0]
    out_h = image_shape(graph.value(node.outputs[0]).shape)[1]
    generate = partial(depthwise_kernel, hardware_loops=options.hardware_loops)
    cycles = int(generate(spec).cycles(out_h) * batch)
    return Offer(KERNEL, cycles, needs, lambda storage: build(node, graph, storage, KERNEL, generate))
