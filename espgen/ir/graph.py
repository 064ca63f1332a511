"""The intermediate representation: an immutable graph of values and nodes.

A graph is used at three levels, told apart by its operators' names:
source     ONNX names, float values with QuantizeLinear/DequantizeLinear (or purely float);
quantized  ONNX names, every activation an integer value that carries its QuantParams;
integer    snake_case names of espgen.ops, channels last, every node an integer kernel with its requantization.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from espgen.ir.dtype import DType


@dataclass(frozen=True)
class QuantParams:
    """real = scale * (integer - zero_point), per tensor (axis None, one entry) or per channel of `axis`."""

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None = None

    @property
    def per_tensor(self) -> bool:
        return self.axis is None

    @staticmethod
    def tensor(scale: float, zero_point: int = 0) -> QuantParams:
        return QuantParams((float(scale),), (int(zero_point),))


Extents = int | Sequence[int]
"""What a user says of a shape: a symbolic dimension's extent, or all extents of an input."""


@dataclass(frozen=True)
class Value:
    """A tensor: its static shape, element type and, if quantized, what its integers mean."""

    name: str
    shape: tuple[int, ...]
    dtype: DType
    quant: QuantParams | None = None
    layout: str = ""
    """"NHWC" or "NLC" (held as N,1,L,C) where the axes are not in ONNX's order; "" where they are."""

    @property
    def elements(self) -> int:
        count = 1
        for extent in self.shape:
            count *= extent
        return count

    @property
    def nbytes(self) -> int:
        return self.elements * self.dtype.size

    @property
    def scale(self) -> float:
        """Per-tensor scale; ValueError where the value has none."""
        if self.quant is None or not self.quant.per_tensor:
            raise ValueError(f"{self.name} has no per-tensor scale")
        return self.quant.scale[0]

    @property
    def zero_point(self) -> int:
        """Per-tensor zero point (0 where the value is not quantized)."""
        if self.quant is None:
            return 0
        if not self.quant.per_tensor:
            raise ValueError(f"{self.name} has no per-tensor zero point")
        return self.quant.zero_point[0]


@dataclass(frozen=True)
class Node:
    """One operator. An absent optional input is the empty string."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)

    def with_attrs(self, **changes: Any) -> Node:
        return replace(self, attrs={**self.attrs, **changes})

    def input(self, index: int) -> str:
        """Name of input `index`, or "" where absent."""
        return self.inputs[index] if index < len(self.inputs) else ""


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order over named values. Constants are values too; their data is in `constants`."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    values: Mapping[str, Value]
    constants: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        for array in self.constants.values():
            array.setflags(write=False)
        object.__setattr__(self, "values", MappingProxyType(dict(self.values)))
        object.__setattr__(self, "constants", MappingProxyType(dict(self.constants)))

    def value(self, name: str) -> Value:
        return self.values[name]

    def constant(self, name: str) -> np.ndarray | None:
        """Data of a constant value, None for anything computed at run time."""
        return self.constants.get(name)

    def is_constant(self, name: str) -> bool:
        return name in self.constants

    def producers(self) -> dict[str, Node]:
        """Which node makes each computed value."""
        return {output: node for node in self.nodes for output in node.outputs if output}

    def consumers(self) -> dict[str, list[Node]]:
        """Which nodes read each value (each node once per value), in graph order."""
        readers: dict[str, list[Node]] = {name: [] for name in self.values}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                if name:
                    readers[name].append(node)
        return readers

    def updated(
        self,
        *,
        nodes: Iterable[Node] | None = None,
        values: Iterable[Value] = (),
        constants: Mapping[str, np.ndarray] | None = None,
        inputs: Iterable[str] | None = None,
        outputs: Iterable[str] | None = None,
    ) -> Graph:
        """A copy with the given nodes, inputs and outputs, and with values and constants added or replaced.

        Values that nothing uses any more are dropped.
        """
        new_nodes = self.nodes if nodes is None else tuple(nodes)
        new_inputs = self.inputs if inputs is None else tuple(inputs)
        new_outputs = self.outputs if outputs is None else tuple(outputs)
        used = {name for node in new_nodes for name in (*node.inputs, *node.outputs) if name}
        used.update(new_inputs, new_outputs)
        all_values = {**self.values, **{value.name: value for value in values}}
        all_constants = {**self.constants, **(constants or {})}
        return Graph(
            name=self.name,
            inputs=new_inputs,
            outputs=new_outputs,
            nodes=new_nodes,
            values={name: value for name, value in all_values.items() if name in used},
            constants={name: data for name, data in all_constants.items() if name in used},
        )


def constant_value(name: str, data: np.ndarray, quant: QuantParams | None = None) -> Value:
    """The Value that describes constant `data`."""
    return Value(name, tuple(int(extent) for extent in data.shape), DType.of(data), quant)


def fresh_name(graph: Graph, wanted: str, taken: Iterable[str] = ()) -> str:
    """`wanted`, or `wanted_2`, `wanted_3` .. if a value of the graph or of `taken` has that name."""
    return unused_name(wanted, {*graph.values, *taken})


def unused_name(wanted: str, taken: Container[str]) -> str:
    """`wanted`, or `wanted_2`, `wanted_3` .. if that is in `taken`."""
    name, count = wanted, 1
    while name in taken:
        count += 1
        name = f"{wanted}_{count}"
    return name
