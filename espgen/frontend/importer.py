"""The state of one import: what is known about every name, and the canonical nodes made so far.

Nodes are taken one at a time in topological order, so that at each of them every input's static shape, type and, where
it has one, constant content is known. That makes shape inference, constant folding and data propagation one pass.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from espgen.errors import EspgenError
from espgen.frontend.limits import MAX_FOLDED_ELEMENTS, check_shape
from espgen.ir import DType, Graph, Node, QuantParams, Value

_OTHER_FLOATS = {"float64", "float16", "bfloat16"}


def widened(dtype: np.dtype) -> np.dtype:
    """float32 for every other float type: what is computed at run time is quantized anyway."""
    return np.dtype(np.float32) if dtype.name in _OTHER_FLOATS else dtype


@dataclass(frozen=True)
class TensorType:
    """Static shape and numpy element type."""

    shape: tuple[int, ...]
    dtype: np.dtype


@dataclass
class Importer:
    """Names -> types, constants, aliases; plus the canonical nodes. `opset` is the model's ai.onnx version.

    `opsets` holds that of values whose makers came from local functions with versions of their own. `written_out`: whether
    quantization may be written out in other operators (written_out.py); `cast_from`, `shifted`: what it noted of constants.
    """

    opset: int
    opsets: dict[str, int] = field(default_factory=dict)
    types: dict[str, TensorType] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    quants: dict[str, QuantParams] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    dequantized: dict[str, tuple[str, QuantParams]] = field(default_factory=dict)
    four_bit: set[str] = field(default_factory=set)
    written_out: bool = False
    cast_from: dict[str, str] = field(default_factory=dict)
    shifted: dict[str, tuple[str, np.ndarray]] = field(default_factory=dict)
    folded_elements: int = 0
    node_names: set[str] = field(default_factory=set)
    made: int = 0

    def resolve(self, name: str) -> str:
        """The name a value really has after Identity, Dropout and the like vanished."""
        return self.aliases.get(name, name)

    def type(self, name: str) -> TensorType:
        return self.types[name]

    def shape(self, name: str) -> tuple[int, ...]:
        return self.types[name].shape

    def constant(self, name: str) -> np.ndarray | None:
        return self.constants.get(name) if name else None

    def maker(self, name: str) -> Node | None:
        """The node that computes a value, None for inputs and constants."""
        return next((node for node in reversed(self.nodes) if name in node.outputs), None)

    def parameter(self, name: str, what: str, node: str) -> np.ndarray | None:
        """A parameter input's content, None where absent; EspgenError where it is only known at run time."""
        if not name:
            return None
        data = self.constants.get(name)
        if data is None:
            data = self._dequantized(name)
        if data is None:
            raise EspgenError(
                f"{what} {name!r} is computed at run time", node=node, place=name, hint=self._made_constant(name, what)
            )  # fmt: skip
        return data

    def _made_constant(self, name: str, what: str) -> str:
        """How a value that is computed at run time becomes constant: through the one input it depends on, or in the model."""
        makers = {output: made for made in self.nodes for output in made.outputs}
        waiting, inputs, seen = [self.resolve(name)], set(), set()
        while waiting:
            value = waiting.pop()
            if not value or value in seen or value in self.constants:
                continue
            seen.add(value)
            if value in makers:
                waiting.extend(makers[value].inputs)
            else:
                inputs.add(value)
        if len(inputs) == 1:
            return f"make its input a constant: --const {inputs.pop()}=VALUE, or make {what} a constant of the model"
        return f"make {what} a constant of the model"

    def _dequantized(self, name: str) -> np.ndarray | None:
        """Real values of a constant behind DequantizeLinear (quantizers wrap statistics and bounds, too), else None."""
        source, quant = self.dequantized.get(name, ("", None))
        integers = self.constants.get(source)
        if integers is None or quant is None:
            return None
        shape = [-1 if axis == quant.axis else 1 for axis in range(integers.ndim)]
        scale = np.asarray(quant.scale, np.float64).reshape(shape if quant.axis is not None else ())
        zero_point = np.asarray(quant.zero_point, np.float64).reshape(shape if quant.axis is not None else ())
        real: np.ndarray = ((integers.astype(np.float64) - zero_point) * scale).astype(np.float32)
        return real

    def integers(self, name: str, what: str, node: str) -> tuple[int, ...] | None:
        """A parameter input as a flat tuple of integers."""
        data = self.parameter(name, what, node)
        if data is None:
            return None
        if data.dtype.kind not in "iu":
            raise EspgenError(f"{what} must be integers", node=node, place=name, hint="export the model again")
        return tuple(int(value) for value in data.reshape(-1))

    def fresh(self, wanted: str) -> str:
        """A value name nobody uses."""
        name = wanted
        while name in self.types or name in self.aliases:
            self.made += 1
            name = f"{wanted}_{self.made}"
        return name

    def unique_node_name(self, wanted: str) -> str:
        name, count = wanted, 1
        while name in self.node_names:
            count += 1
            name = f"{wanted}_{count}"
        self.node_names.add(name)
        return name

    def declare(self, name: str, shape: Sequence[int], dtype: np.dtype, node: str | None = None) -> None:
        """Record a value's type; EspgenError where the name is taken or the shape out of bounds."""
        if not name:
            raise EspgenError("a constant or an input has no name", node=node, place="graph", hint="'' means absent: name it")
        if name in self.types or name in self.aliases:
            raise EspgenError(f"value {name!r} is defined twice", node=node, place=name, hint="give every value its own name")
        checked = check_shape(shape, f"value {name!r}", node, allow_empty=True)
        self.types[name] = TensorType(checked, widened(np.dtype(dtype)))

    def add_constant(self, name: str, data: np.ndarray, node: str | None = None) -> str:
        """Record a constant in its own precision: shape arithmetic in float64 must stay exact."""
        self.declare(name, data.shape, data.dtype, node)
        self.types[name] = TensorType(self.types[name].shape, data.dtype)
        self.constants[name] = data
        return name

    def fold(self, name: str, data: np.ndarray, node: str) -> None:
        """Record a value computed at compile time, within the budget for all of them."""
        self.reserve(int(data.size), node)
        self.add_constant(name, data, node)

    def reserve(self, elements: int, node: str) -> None:
        self.folded_elements += elements
        if self.folded_elements > MAX_FOLDED_ELEMENTS:
            raise EspgenError(
                f"folding constants would make more than {MAX_FOLDED_ELEMENTS} elements", node=node,
                hint="the constant subgraph that ends here is too large: simplify it before export",
            )  # fmt: skip

    def alias(self, name: str, target: str, node: str) -> None:
        """`name` is the same tensor as `target`."""
        if name in self.types or name in self.aliases:
            raise EspgenError(f"value {name!r} is defined twice", node=node, place=name, hint="give every value its own name")
        self.aliases[name] = target

    def emit(
        self, name: str, op: str, inputs: Sequence[str], outputs: Sequence[str], attrs: dict[str, Any] | None = None
    ) -> None:
        self.nodes.append(Node(self.unique_node_name(name), op, tuple(inputs), tuple(outputs), attrs or {}))

    def finish(self, name: str, inputs: Sequence[str], outputs: Sequence[str]) -> Graph:
        """The source graph: reachable nodes and inputs only, the file's output names kept, every float type float32."""
        nodes = _name_outputs(self, outputs)
        nodes = _reachable(nodes, outputs)
        read = {operand for node in nodes for operand in node.inputs} | set(outputs)
        inputs = [item for item in inputs if item in read]
        used = {item for node in nodes for item in (*node.inputs, *node.outputs) if item} | set(inputs) | set(outputs)
        values: dict[str, Value] = {}
        constants: dict[str, np.ndarray] = {}
        for item in sorted(used):
            data = self.constants.get(item)
            if data is not None:
                constants[item] = np.array(_converted(data))
            values[item] = self._value(item, item in constants, nodes)
        clean = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_") or "model"
        return Graph(clean, tuple(inputs), tuple(outputs), tuple(nodes), values, constants)

    def _value(self, name: str, is_constant: bool, nodes: Sequence[Node]) -> Value:
        kind = self.types[name]
        user = next((node.name for node in nodes if name in (*node.outputs, *node.inputs)), None)
        check_shape(kind.shape, f"value {name!r}", user, allow_empty=is_constant)
        try:
            dtype = DType(widened(kind.dtype).name)
        except ValueError:
            raise EspgenError(
                f"value {name!r} has element type {kind.dtype.name}", node=user, place=name,
                hint="use float32, int8, uint8, int16, uint16, int32, int64 or bool",
            ) from None  # fmt: skip
        return Value(name, kind.shape, dtype, self.quants.get(name))


def _converted(data: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return data.astype(widened(data.dtype))


def _name_outputs(importer: Importer, outputs: Sequence[str]) -> list[Node]:
    """Where a graph output vanished into another value, rename that value, or keep an Identity where it can't be."""
    nodes = list(importer.nodes)
    for output in outputs:
        source = importer.aliases.get(output)
        if source is None:
            continue
        importer.types[output] = importer.types[source]
        if source in importer.constants:
            importer.constants[output] = importer.constants[source]
            continue
        if source in importer.quants:
            importer.quants[output] = importer.quants[source]
        made_by = next((index for index, node in enumerate(nodes) if source in node.outputs), None)
        if made_by is None or source in outputs:
            nodes.append(Node(importer.unique_node_name(f"{output}/identity"), "Identity", (source,), (output,), {}))
            continue
        nodes = [_renamed(node, source, output) for node in nodes]
        for alias, target in list(importer.aliases.items()):
            if target == source:
                importer.aliases[alias] = output
        del importer.aliases[output]
    return nodes


def _renamed(node: Node, old: str, new: str) -> Node:
    if old not in node.inputs and old not in node.outputs:
        return node
    swap = {old: new}
    return replace(
        node,
        inputs=tuple(swap.get(name, name) for name in node.inputs),
        outputs=tuple(swap.get(name, name) for name in node.outputs),
    )


def _reachable(nodes: Sequence[Node], outputs: Sequence[str]) -> list[Node]:
    """Nodes that an output needs, in order; what nobody reads becomes the empty string, but for first outputs."""
    needed = set(outputs)
    kept: list[Node] = []
    for node in reversed(nodes):
        if not any(name in needed for name in node.outputs if name):
            continue
        trimmed = [name if index == 0 or name in needed else "" for index, name in enumerate(node.outputs)]
        while trimmed and not trimmed[-1]:
            trimmed.pop()
        kept.append(replace(node, outputs=tuple(trimmed)))
        needed.update(name for name in node.inputs if name)
    return kept[::-1]
