"""PIE depthwise convolutions for conv2d nodes with one filter per channel."""

from __future__ import annotations

from functools import partial

from espgen.codegen.conv_offer import is_depthwise, offer_of
from espgen.codegen.offers import KernelOptions, Offer, Refusal
from espgen.codegen.pie.depthwise import depthwise_kernel
from espgen.ir import Graph, Node

KERNEL = "pie depthwise"


def offer(node: Node, graph: Graph, options: KernelOptions) -> Offer | Refusal | None:
    """A PIE depthwise convolution for a conv2d node, or why there is none; None for other nodes."""
    if node.op != "conv2d" or not is_depthwise(node, graph):
        return None
    return offer_of(node, graph, KERNEL, partial(depthwise_kernel, hardware_loops=options.hardware_loops))
