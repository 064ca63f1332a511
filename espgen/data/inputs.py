"""What a model takes: type, shape, layout and grid of each of its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from espgen.errors import EspgenError
from espgen.ir import DType, Graph, Node, QuantParams, Value
from espgen.ir.layout import RANKS_WITH_CHANNELS, onnx_shape

PASSING = frozenset({"Add", "Cast", "Clip", "DequantizeLinear", "Div", "Identity", "Mul", "QuantizeLinear", "Relu", "Sub"})
"""Operators that keep the order of axes."""
MOVING = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators that keep the numbers."""


@dataclass(frozen=True)
class Grid:
    """What the integers of a quantized input mean: real = (integer - zero_point) * scale."""

    scale: float
    zero_point: int
    dtype: DType


@dataclass(frozen=True)
class ModelInput:
    """An input as the ONNX model has it: shape in its own axis order, batch axis included; `grid` where it is quantized."""

    name: str
    shape: tuple[int, ...]
    dtype: DType
    channels_last: bool = False
    grid: Grid | None = None

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample: without a batch axis of one."""
        return self.shape[1:] if self.shape[:1] == (1,) else self.shape


def model_inputs(graph: Graph) -> dict[str, ModelInput]:
    """The inputs of a source graph (as the frontend reads it)."""
    found = {}
    readers = graph.consumers()
    for name in graph.inputs:
        value = graph.value(name)
        last = len(value.shape) in RANKS_WITH_CHANNELS and _takes_channels_last(graph, readers, name, len(value.shape))
        found[name] = ModelInput(name, value.shape, value.dtype, last, _grid(graph, readers, value))
    return found


def as_entries(inputs: Mapping[str, ModelInput]) -> dict[str, Any]:
    """What a component's manifest says about the inputs of the model it was made from."""
    return {
        name: {"type": item.dtype.value, "channels_last": item.channels_last, "grid": item.grid is not None}
        for name, item in inputs.items()
    }


def component_inputs(graph: Graph, entries: object, place: str) -> dict[str, ModelInput]:
    """The inputs of an integer graph, with the manifest's `entries` (as_entries). EspgenError where those make no sense."""
    known = entries if isinstance(entries, Mapping) else {}
    found = {}
    for name in graph.inputs:
        value = graph.value(name)
        grid = None if value.quant is None else Grid(value.scale, value.zero_point, value.dtype)
        entry = known.get(name, {"type": value.dtype.value if grid is None else "float32", "channels_last": False, "grid": True})
        try:
            dtype, last = DType(entry["type"]), bool(entry["channels_last"])
            # Integers that the model itself turns into real numbers (a Cast) have no grid of which anybody else would know.
            grid = grid if entry["grid"] or dtype.is_float else None
        except (KeyError, TypeError, ValueError):
            hint = "compile the model again"
            raise EspgenError(f"the manifest's entry for input {name!r} makes no sense", place=place, hint=hint) from None
        found[name] = ModelInput(name, onnx_shape(value.shape, value.layout), dtype, last, grid)
    return found


def _takes_channels_last(graph: Graph, readers: Mapping[str, list[Node]], name: str, rank: int) -> bool:
    """True where all that reads the input first moves its last axis to the place of ONNX's channels."""
    order = (0, rank - 1, *range(1, rank - 1))
    waiting, seen, moved = [name], {name}, False
    while waiting:
        value = waiting.pop()
        if value in graph.outputs:
            return False
        for node in readers.get(value, []):
            if node.op == "Transpose" and tuple(node.attrs.get("perm", ())) == order:
                moved = True
            elif node.op in PASSING and all(item == value or not item or graph.is_constant(item) for item in node.inputs):
                waiting += [item for item in node.outputs if item not in seen]
                seen |= set(node.outputs)
            else:
                return False
    return moved


def _grid(graph: Graph, readers: Mapping[str, list[Node]], value: Value) -> Grid | None:
    """The grid that the model itself puts its input on; None where there is none, or more than one."""
    grids: set[Grid | None] = set()
    waiting = [value.name]
    while waiting:
        for node in readers.get(waiting.pop(), []):
            quant = node.attrs.get("quant")
            if node.op in ("QuantizeLinear", "DequantizeLinear") and isinstance(quant, QuantParams) and quant.per_tensor:
                integers = node.outputs[0] if node.op == "QuantizeLinear" else node.inputs[0]
                grids.add(Grid(quant.scale[0], quant.zero_point[0], graph.value(integers).dtype))
            elif node.op in MOVING:
                waiting += node.outputs
            else:
                grids.add(None)
    return grids.pop() if len(grids) == 1 else None
