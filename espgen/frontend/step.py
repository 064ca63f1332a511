"""One ONNX node on its way into the source graph, and the checks that all normalisers share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from espgen.errors import EspgenError
from espgen.frontend.importer import Importer, TensorType


@dataclass(frozen=True)
class Step:
    """A node with resolved inputs, attributes as Python values and inferred output types."""

    name: str
    op: str
    version: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: dict[str, Any]
    types: tuple[TensorType | None, ...]

    def input(self, index: int) -> str:
        return self.inputs[index] if index < len(self.inputs) else ""

    def error(self, problem: str, hint: str = "export the model again, or correct this node") -> EspgenError:
        return EspgenError(f"{self.op}: {problem}", node=self.name, place=f"operator {self.op}", hint=hint)

    def output_shape(self) -> tuple[int, ...]:
        kind = self.types[0]
        if kind is None:
            raise self.error(
                "its output shape isn't static",
                "make shapes constant: run onnx-simplifier, or export with fixed shapes",
            )
        return kind.shape

    def axis(self, value: int, rank: int) -> int:
        """`value` as a non-negative axis of a tensor of `rank`."""
        if not -rank <= value < rank:
            raise self.error(f"axis {value} is outside rank {rank}")
        return value % rank if rank else 0

    def axes(self, values: Sequence[int], rank: int) -> tuple[int, ...]:
        """Axes, non-negative and all different."""
        result = tuple(self.axis(value, rank) for value in values)
        if len(set(result)) != len(result):
            raise self.error(f"axes {list(values)} repeat")
        return result


Normalizer = Callable[[Importer, Step], None]


def emit(
    importer: Importer,
    step: Step,
    op: str | None = None,
    inputs: Sequence[str] | None = None,
    attrs: dict[str, Any] | None = None,
) -> None:
    """Put the canonical node into the graph and record its outputs' types."""
    for output, kind in zip(step.outputs, step.types, strict=True):
        if not output:
            continue
        if kind is None:
            raise step.error(
                f"the shape of {output!r} isn't static",
                "make shapes constant: export with fixed shapes, or run onnx-simplifier",
            )
        importer.declare(output, kind.shape, kind.dtype, step.name)
    importer.emit(step.name, op or step.op, step.inputs if inputs is None else inputs, step.outputs, attrs or {})


def alias(importer: Importer, step: Step) -> None:
    """The node does nothing: its first output is its first input."""
    importer.alias(step.outputs[0], step.inputs[0], step.name)
