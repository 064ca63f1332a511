"""Views: which values need no storage of their own because they are a part, or another shape, of a stored value.

reshape  dense on both sides: the same bytes
slice    (also each output of a Split) one step-1 range of one axis: a part of its input
concat   its operands become parts of the result, each written in place by its own producer
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from espgen.ir import Graph, Node
from espgen.ops.base import Storage

_VECTOR = 16


@dataclass
class Views:
    """Grows while the graph is walked: storages are rewritten for values that become views."""

    graph: Graph
    storages: dict[str, Storage]
    multiples: Mapping[str, int]
    views: dict[str, tuple[str, int]] = field(default_factory=dict)
    elided: set[str] = field(default_factory=set)

    def visit(self, node: Node) -> None:
        """Elide `node` if its operation is only a matter of addresses."""
        handler = {"reshape": self._reshape, "slice": self._slice, "concat": self._concat}.get(node.op)
        if node.outputs[0] in self.graph.outputs and self._root(node.inputs[0]) in self.graph.inputs:
            return  # results have memory of their own, and a network of movements only has a step
        if handler is not None and handler(node):
            self.elided.add(node.name)

    def _root(self, name: str) -> str:
        """The value in whose storage `name` lies."""
        while name in self.views:
            name = self.views[name][0]
        return name

    def _reshape(self, node: Node) -> bool:
        source, result = node.inputs[0], node.outputs[0]
        if source not in self.storages or not (self.storages[source].dense and self.storages[result].dense):
            return False
        self.views[result] = (source, 0)
        return True

    def _slice(self, node: Node) -> bool:
        source, result = node.inputs[0], node.outputs[0]
        if source not in self.storages or any(step != 1 for step in node.attrs["steps"]):
            return False
        shape, part = self.graph.value(source).shape, self.graph.value(result).shape
        axes = [axis for axis, (whole, extent) in enumerate(zip(shape, part, strict=True)) if whole != extent]
        if len(axes) != 1:
            return False
        return self._nest(result, source, axes[0], node.attrs["starts"][axes[0]])

    def _concat(self, node: Node) -> bool:
        result, axis = node.outputs[0], node.attrs["axis"] % len(self.graph.value(node.outputs[0]).shape)
        if not self._can_hold(node, result):
            return False
        starts, position = [], 0
        for name in node.inputs:
            starts.append(position)
            position += self.graph.value(name).shape[axis]
        places = [self._place(name, result, axis, start) for name, start in zip(node.inputs, starts, strict=True)]
        if any(place is None for place in places):
            return False
        return all(self._nest(name, result, axis, start) for name, start in zip(node.inputs, starts, strict=True))

    def _can_hold(self, node: Node, result: str) -> bool:
        """Operands are computed here, once each, stored nowhere else and seen by nobody outside of the graph."""
        producers = self.graph.producers()
        whole = self.graph.value(result)
        for name in node.inputs:
            value = self.graph.value(name)
            held = name in self.views or any(parent == name for parent, _ in self.views.values())
            if name not in producers or held or name in self.graph.outputs or node.inputs.count(name) > 1:
                return False
            if value.dtype is not whole.dtype or value.quant != whole.quant:
                return False
        return result not in self.views

    def _nest(self, part: str, whole: str, axis: int, start: int) -> bool:
        """Make `part` a view of `whole` from index `start` of `axis` on, where addresses allow it."""
        place = self._place(part, whole, axis, start)
        if place is None:
            return False
        offset, storage = place
        self.storages[part] = storage
        self.views[part] = (whole, offset)
        return True

    def _place(self, part: str, whole: str, axis: int, start: int) -> tuple[int, Storage] | None:
        """Byte offset and storage of `part` in `whole`, None where kernels could not address it."""
        outer, inner = self.storages[whole], self.storages[part]
        if any((outer.pad_left, outer.pad_right, inner.pad_left, inner.pad_right)):
            return None
        shape = self.graph.value(whole).shape
        pixel = outer.channels * outer.item
        if len(shape) - 1 == axis:
            offset = start * outer.item
            storage = replace(inner, pixel_pitch=outer.pixel_pitch, row_pitch=outer.row_pitch, shared_gaps=True)
            vectors = [offset, inner.channels * inner.item, outer.pixel_pitch]
        else:
            if any(extent != 1 for extent in shape[:axis]) or not outer.dense or not inner.dense:
                return None
            below = 1
            for extent in shape[axis + 1 : -1]:
                below *= extent
            offset, storage = start * below * pixel, inner
            vectors = [offset]
        multiple = max(self.multiples.get(part, 1), self.multiples.get(whole, 1))
        if multiple > 1 and any(size % max(multiple, _VECTOR) for size in vectors):
            return None
        return offset, storage
