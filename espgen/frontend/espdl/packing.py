"""MatMul by a value computed at run time: ESP-DL packs it with Transpose, Slice, Reshape and Concat nodes. Here that is undone.

The movements behind a value are followed with the places of elements instead of elements. Where what reaches MatMul, read as
packed matrices, is a transposition of some value, MatMul gets that value, transposed.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations

import numpy as np

from espgen.errors import EspgenError
from espgen.frontend.espdl.model import Array, Node
from espgen.frontend.espdl.translation import Axes, Translation, attribute_integer, attribute_integers, axis_of, fault
from espgen.frontend.espdl.weights import lanes, matrices

_MOVEMENTS = frozenset({"Concat", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"})
_MOST_RANK = 5
_MOST_NODES = 64


def unpacked_operand(state: Translation, node: Node, index: int) -> str:
    """The float tensor that operand `index` of a MatMul holds, matrices of [K, N] in the usual order."""
    name = state.operand_name(node, index)
    view = state.view(node, index)
    shape = state.shape(view)
    if len(shape) < 2:
        raise fault(node, f"multiplies by a tensor of rank {len(shape)}")
    makers = {output: item for item in state.model.nodes for output in item.outputs}
    align = lanes(state.model.values[name].dtype)
    for source in _sources(makers, name):
        if source not in state.views or source in state.model.constants:
            continue
        held = state.views[source]
        extents = state.shape(held)
        places = _moved(state, makers, source, extents, name)
        if places is None or places.shape != shape or places.size != np.prod(extents, dtype=np.int64):
            continue
        axes = _transposition(matrices(places.reshape(-1), shape, align), extents)
        if axes is not None:
            return state.want(held, axes)
    raise fault(
        node, f"its operand {name!r} is made at run time, and not by ESP-PPQ's packing for the ESP32-P4",
        "export the model for esp32p4 with a current ESP-PPQ",
    )  # fmt: skip


def _sources(makers: Mapping[str, Node], name: str) -> list[str]:
    """Values that `name` may be a movement of, the nearest first."""
    found, waiting = [name], [name]
    while waiting and len(found) < _MOST_NODES:
        maker = makers.get(waiting.pop(0))
        if maker is None or maker.op not in _MOVEMENTS:
            continue
        for operand in maker.inputs if maker.op == "Concat" else maker.inputs[:1]:
            if operand and operand not in found:
                found.append(operand)
                waiting.append(operand)
    return found


def _moved(state: Translation, makers: Mapping[str, Node], source: str, extents: Axes, name: str) -> Array | None:
    """Places of `source`'s elements as movements bring them to `name`; None where something else goes into it."""
    made: dict[str, Array] = {source: np.arange(np.prod(extents, dtype=np.int64)).reshape(extents)}
    waiting = [name]
    while waiting:
        current = waiting[-1]
        maker = makers.get(current)
        if current in made:
            waiting.pop()
            continue
        if maker is None or maker.op not in _MOVEMENTS or len(waiting) > _MOST_NODES:
            return None
        operands = maker.inputs if maker.op == "Concat" else maker.inputs[:1]
        missing = [operand for operand in operands if operand not in made]
        if missing:
            waiting.extend(missing)
            continue
        try:
            made[current] = _apply(state, maker, [made[operand] for operand in operands])
        except (ValueError, IndexError) as error:
            raise fault(maker, f"does not fit its operand: {error}") from None
        waiting.pop()
    return made[name]


def _apply(state: Translation, node: Node, operands: list[Array]) -> Array:
    x = operands[0]
    if node.op == "Transpose":
        return x.transpose([axis_of(node, axis, x.ndim) for axis in attribute_integers(node, "perm")])
    if node.op == "Concat":
        return np.concatenate(operands, axis_of(node, attribute_integer(node, "axis", 0), x.ndim))
    if node.op in ("Reshape", "Squeeze", "Unsqueeze"):
        return x.reshape(state.shape(state.views[node.outputs[0]]))
    if node.op == "Slice":
        starts, ends, axes, steps = (state.integers(node, index) for index in range(1, 5))
        if starts is None or ends is None:
            raise EspgenError("Slice has no bounds", node=node.name, place="operator Slice", hint="export the model again")
        chosen = [slice(None)] * x.ndim
        for index, axis in enumerate(axes or range(len(starts))):
            step = 1 if steps is None else steps[index]
            chosen[axis_of(node, axis, x.ndim)] = slice(starts[index], ends[index], step)
        return x[tuple(chosen)]
    return x


def _transposition(places: Array, extents: tuple[int, ...]) -> Axes | None:
    """The axes with which a tensor of shape `extents` becomes `places`, None where it is no transposition."""
    if places.ndim != len(extents) or places.ndim > _MOST_RANK:
        return None
    original = np.arange(places.size).reshape(extents)
    for axes in permutations(range(len(extents))):
        turned = original.transpose(axes)
        if turned.shape == places.shape and np.array_equal(turned, places):
            return axes
    return None
