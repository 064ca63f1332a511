"""What a network needs before it can be quantized well at all: masks cut, tensors of unlike parts taken apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from espgen.ir import DType, Graph
from espgen.quantize.fold import fold
from espgen.quantize.masks import cut_masks, least_maximum, masked_softmaxes, names_in_front
from espgen.quantize.parts import separate
from espgen.quantize.runtime import graph_session
from espgen.quantize.settings import Settings
from espgen.quantize.statistics import Progress


@dataclass(frozen=True)
class Adapted:
    """The network to quantize, the settings that go with it, and a sentence for each change."""

    graph: Graph
    settings: Settings
    notes: tuple[str, ...] = ()


def adapt(graph: Graph, data: Mapping[str, np.ndarray], settings: Settings, progress: Progress | None = None,
          cut: bool = True) -> Adapted:  # fmt: skip
    """Cut masks in front of Softmax, and take Concats of unlike ranges apart (see masks.py and parts.py).

    data: float32 [samples, ...] by input name; cut: whether a Concat that ends the network may become several outputs
    (int16 instead where something judges the outputs as they are). One pass over the data where the network has a masked
    Softmax or a Concat; otherwise everything is returned as it is. Nodes that are kept in float stay so.
    """
    softmaxes = masked_softmaxes(graph)
    concats = [node for node in graph.nodes if node.op == "Concat"]
    names = {name for node in softmaxes for name in names_in_front(graph, node)}
    names |= {name for node in concats for name in node.inputs if not graph.is_constant(name)}
    names = {name for name in names if graph.value(name).dtype is DType.FLOAT32}
    if not names:
        return Adapted(graph, settings)
    ranges: dict[str, tuple[float, float]] = {}
    lowest: dict[str, tuple[float, float]] = {}
    computed = sorted(names - set(graph.inputs))
    session = graph_session(graph, computed, settings.threads, settings.batch)
    total = len(next(iter(data.values())))
    for part, results in session.chunks(data):
        for name in names:
            values = data[name][part] if name in graph.inputs else results[name]
            if values.size:
                low, high = ranges.get(name, (np.inf, -np.inf))
                ranges[name] = min(low, float(values.min())), max(high, float(values.max()))
        for node in softmaxes:
            axis = int(node.attrs.get("axis", -1)) % max(len(graph.value(node.inputs[0]).shape), 1)
            values = results[node.inputs[0]]
            if values.size:
                rank = len(graph.value(node.inputs[0]).shape)
                low, top = least_maximum(values, axis - rank)
                before = lowest.get(node.name, (low, top))
                lowest[node.name] = min(low, before[0]), max(top, before[1])
        if progress is not None:
            progress("reading ranges", part.stop, total)
    masked = cut_masks(graph, {name: low for name, (low, _) in lowest.items()}, ranges)
    extents = {name: max(abs(low), abs(high)) for name, (low, high) in ranges.items() if np.isfinite(low) and np.isfinite(high)}
    for node in concats:
        for name in node.inputs:
            constant = graph.constant(name)
            if constant is not None and constant.size:
                extents[name] = float(np.abs(constant).max())
    parted = separate(masked.graph, extents, cut)
    there = {node.name for node in fold(parted.graph, settings.fuse, settings.fuse_list).nodes} if parted.wide else set()
    wide = dict.fromkeys(sorted((parted.wide & there) - settings.float_nodes), 16)
    changed = settings.but(bits={**settings.bits, **wide}, floors=masked.floors)
    return Adapted(parted.graph, changed, (*masked.notes, *parted.notes))
