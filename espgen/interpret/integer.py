"""Integer graphs in numpy by the references of espgen.ops: the meaning that every other backend must reproduce."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from espgen.errors import EspgenError
from espgen.ir import Graph
from espgen.ops.registry import spec_of

Array = npt.NDArray[Any]


def run_layers(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Every computed value of an integer graph by name, for integer `inputs` in the graph's own layout and types.

    Raises EspgenError where an input is missing or has the wrong type or shape.
    """
    arrays: dict[str, Array] = dict(graph.constants)
    for name in graph.inputs:
        arrays[name] = _checked(graph, name, inputs)
    for node in graph.nodes:
        operands = [arrays[name] for name in node.inputs]
        results = spec_of(node.op).reference(node, operands, graph)
        arrays.update(zip(node.outputs, results, strict=True))
    return {name: data for name, data in arrays.items() if name not in graph.constants}


def run_integer(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The graph's outputs by name; see run_layers."""
    arrays = run_layers(graph, inputs)
    return {name: arrays[name] for name in graph.outputs}


def _checked(graph: Graph, name: str, inputs: Mapping[str, Array]) -> Array:
    value = graph.value(name)
    if name not in inputs:
        raise EspgenError(f"input {name!r} is missing", hint=f"give an array of {value.dtype.value} {list(value.shape)}")
    data = np.asarray(inputs[name])
    if data.dtype != value.dtype.numpy or tuple(data.shape) != value.shape:
        raise EspgenError(
            f"input {name!r} is {data.dtype} {list(data.shape)}, not {value.dtype.value} {list(value.shape)}",
            hint="quantize and lay out the data as the model's header says",
        )
    return data
