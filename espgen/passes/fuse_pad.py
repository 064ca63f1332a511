"""Pad with a constant into the window operator behind it, where that operator's own padding means the same."""

from __future__ import annotations

from dataclasses import replace

from espgen.ir import Graph, Node, Value

_POOLS = ("AveragePool", "MaxPool")


def run(graph: Graph) -> Graph:
    """The graph with constant Pad nodes gone whose readers all can take the padding over.

    Conv and ConvInteger pad with the zero point: real 0. AveragePool does if it counts its padding (or, having none of its
    own, can be told to). MaxPool pads with the lowest integer.
    """
    consumers = graph.consumers()
    replaced: dict[str, Node] = {}
    dropped: set[str] = set()
    for node in graph.nodes:
        if node.op != "Pad" or node.outputs[0] in graph.outputs:
            continue
        readers = [replaced.get(reader.name, reader) for reader in consumers[node.outputs[0]]]
        fused = [_fused(graph, node, reader) for reader in readers]
        if not fused or any(reader is None for reader in fused):
            continue
        dropped.add(node.name)
        replaced.update({reader.name: reader for reader in fused if reader is not None})
    if not dropped:
        return graph
    return graph.updated(nodes=[replaced.get(node.name, node) for node in graph.nodes if node.name not in dropped])


def _fused(graph: Graph, pad: Node, reader: Node) -> Node | None:
    """`reader` on the unpadded tensor, None where it can't take the padding over."""
    pads, rank = pad.attrs["pads"], len(pad.attrs["pads"]) // 2
    spatial = rank - 2
    outside = any(pads[axis] or pads[axis + rank] for axis in (0, 1) if axis < rank)
    if pad.attrs["mode"] != "constant" or spatial < 1 or outside or reader.inputs[0] != pad.outputs[0]:
        return None
    if pad.outputs[0] in reader.inputs[1:]:
        return None
    changes = _changes(graph.value(pad.inputs[0]), float(pad.attrs["value"]), reader)
    if changes is None:
        return None
    begin, end = pads[2:rank], pads[rank + 2 :]
    own = reader.attrs["pads"]
    total = tuple(more + given for more, given in zip((*begin, *end), own, strict=True))
    windows = [(size - 1) * step + 1 for size, step in zip(reader.attrs["kernel_shape"], reader.attrs["dilations"], strict=True)]
    if reader.op in _POOLS and any(pad >= size for pad, size in zip(total, windows * 2, strict=True)):
        return None  # a window of nothing but padding has no maximum
    return replace(reader.with_attrs(pads=total, **changes), inputs=(pad.inputs[0], *reader.inputs[1:]))


def _changes(source: Value, real: float, reader: Node) -> dict[str, int] | None:
    """Attributes to change besides pads, None where the reader pads with something else."""
    if source.quant is None or not source.quant.per_tensor:
        return None
    integer = round(real / source.scale) + source.zero_point if abs(real) < 1e30 else (source.dtype.minimum if real < 0 else None)
    if reader.op in ("Conv", "ConvInteger"):
        return {} if integer == source.zero_point else None
    if reader.op == "AveragePool":
        own_padding = any(reader.attrs["pads"])
        counts = bool(reader.attrs["count_include_pad"])
        # With ceil_mode the windows that reach beyond the padding are counted differently: leave them alone.
        if integer != source.zero_point or reader.attrs["ceil_mode"] or (own_padding and not counts):
            return None
        return {"count_include_pad": 1}
    if reader.op == "MaxPool" and integer is not None and integer <= source.dtype.minimum and not reader.attrs["ceil_mode"]:
        return {}
    return None
