"""What a component must say about itself: the tensors, layers and ports of its graph. Devices are compared with this."""

from __future__ import annotations

import numpy as np

from espgen.codegen.calls import VIEW
from espgen.errors import EspgenError
from espgen.ir import Graph, Node, Value
from espgen.ops.base import rows_of
from espgen.ops.registry import spec_of
from espgen.verify.component import MANIFEST, Component
from espgen.verify.model_info import LayerInfo, ModelInfo, TensorInfo


def expected_info(graph: Graph, component: Component) -> ModelInfo:
    """The description of `component`, made of `graph`.

    From the manifest comes only which nodes are views (no code of theirs runs, so they are no layers), the number of steps, and
    which values are held a few rows at a time.
    EspgenError where manifest and graph do not name the same nodes.
    """
    run = _nodes_with_code(graph, component)
    names = dict.fromkeys([*graph.inputs, *(name for node in run for name in node.outputs if name), *graph.outputs])
    rings = _rings(graph, component)
    tensors = {name: _tensor(index, graph.value(name), rings.get(name)) for index, name in enumerate(names)}
    layers: list[LayerInfo] = []
    first = 0
    for index, node in enumerate(run):
        values = tuple(name for name in node.outputs if name)
        outputs = tuple(tensors[name].index for name in values)
        macs = spec_of(node.op).macs(node, graph)
        layers.append(LayerInfo(index, node.name, node.op, macs, first, outputs, values))
        first += len(outputs)
    return ModelInfo(
        tuple(tensors.values()),
        tuple(layers),
        tuple(tensors[name] for name in graph.inputs),
        tuple(tensors[name] for name in graph.outputs),
        _steps(component),
    )


def _nodes_with_code(graph: Graph, component: Component) -> list[Node]:
    kernels = component.manifest["kernels"]
    if [entry["layer"] for entry in kernels] != [node.name for node in graph.nodes]:
        raise _broken(component, "its kernels are not those of the graph's nodes")
    return [node for node, entry in zip(graph.nodes, kernels, strict=True) if entry["kernel"] != VIEW]


def _steps(component: Component) -> int:
    steps = component.manifest.get("steps")
    if not isinstance(steps, int) or not 0 <= steps < 1 << 32:
        raise _broken(component, "no number of steps")
    return steps


def _rings(graph: Graph, component: Component) -> dict[str, int]:
    rings = component.manifest.get("rings")
    if not isinstance(rings, dict):
        raise _broken(component, "no list of rings")
    made = {name for node in graph.nodes for name in node.outputs} - set(graph.outputs)
    for name, rows in rings.items():
        if name not in made or type(rows) is not int or not 0 < rows < rows_of(graph.value(name).shape)[0]:
            raise _broken(component, f"no value of the graph is a ring {name!r} of {rows!r} rows")
    return rings


def _broken(component: Component, why: str) -> EspgenError:
    place = str(component.path / MANIFEST)
    return EspgenError(f"the component's manifest is broken: {why}", place=place, hint="compile the model again")


def _tensor(index: int, value: Value, ring_rows: int | None) -> TensorInfo:
    quantized = value.quant is not None and value.quant.per_tensor
    rows, pixels, channels = rows_of(value.shape)
    return TensorInfo(
        index=index,
        name=value.name,
        dtype=np.dtype(value.dtype.value),
        shape=tuple(value.shape),
        scale=float(np.float32(value.scale if quantized else 1.0)),
        zero_point=value.zero_point if quantized else 0,
        rows=rows,
        row_bytes=pixels * channels * value.dtype.size,
        ring_rows=ring_rows or rows,
    )
