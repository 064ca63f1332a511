"""Checks networks: layers against onnxruntime, then one component of all of them on the host and in the simulator."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from random_networks import Network

from espgen import api
from espgen.codegen.build import Options, generate
from espgen.frontend import load_onnx
from espgen.interpret import run_layers
from espgen.ir import Graph, Node, Value, verify
from espgen.passes.pipeline import lower_to_integer
from espgen.target.chips import CHIPS
from espgen.verify.build import build_host
from espgen.verify.compare import Comparison, compare_host
from espgen.verify.component import Component
from espgen.verify.data import random_dataset
from espgen.verify.host import HostModel

sys.path.append(str(Path(__file__).parents[2]))
from tests.e2e.layer_oracle import LayerOracle

SAMPLES = 2


@dataclass(frozen=True)
class Lowered:
    """A network, its file, and its integer graph."""

    network: Network
    path: Path
    graph: Graph


def lowered(network: Network, folder: Path) -> Lowered:
    """The network's integer graph, by way of a file as a user's model."""
    path = folder / f"network_{network.seed}.onnx"
    onnx.save(network.model, path)
    return Lowered(network, path, lower_to_integer(load_onnx(path)))


def disagreements(item: Lowered) -> dict[str, tuple[int, float]]:
    """Layers that differ by more than one unit from onnxruntime's on the same inputs: largest difference, share.

    int16 functions are interpolated tables and int16 resizing has weights of 11 bits: those have no place here.
    """
    graph = item.graph
    sample = next(iter(random_dataset(graph, 1, seed=item.network.seed)))
    coarse = {name for node in graph.nodes if node.op in ("table", "resize") for name in node.outputs}
    wide = item.network.style.kind == "int16"
    values = run_layers(graph, sample)
    oracle = LayerOracle(str(item.path), graph)
    skipped = {oracle.quantized.get(name) for name in coarse} if wide else set()
    found = oracle.compare({**sample, **values})
    return {name: result for name, result in found.items() if result[0] > 1 and name not in skipped}


def merged(items: Sequence[Lowered]) -> Graph:
    """One graph of all networks side by side, names prefixed by their seeds."""
    parts = [_renamed(item.graph, f"n{item.network.seed}_") for item in items]
    graph = Graph(
        "networks",
        tuple(name for part in parts for name in part.inputs),
        tuple(name for part in parts for name in part.outputs),
        tuple(node for part in parts for node in part.nodes),
        {key: value for part in parts for key, value in part.values.items()},
        {key: data for part in parts for key, data in part.constants.items()},
    )
    verify(graph)
    return graph


def _renamed(graph: Graph, prefix: str) -> Graph:
    def name(old: str) -> str:
        return prefix + old if old else old

    nodes = tuple(
        Node(name(node.name), node.op, tuple(map(name, node.inputs)), tuple(map(name, node.outputs)), node.attrs)
        for node in graph.nodes
    )
    values: dict[str, Value] = {name(key): replace(value, name=name(key)) for key, value in graph.values.items()}
    constants: dict[str, np.ndarray] = {name(key): data for key, data in graph.constants.items()}
    return Graph(prefix, tuple(map(name, graph.inputs)), tuple(map(name, graph.outputs)), nodes, values, constants)


def different_layers(
    graph: Graph, folder: Path, target: str, options: Options, sanitize: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Layers of the graph's component that differ from the interpreter's on random inputs; the guards are on.

    target    "host" (with sanitizers, if named), the name of the chip to simulate, or "sim" for all that options.chip stands for
    """
    generate(graph, folder, options=options, name="networks", extra={})
    samples = random_dataset(graph, SAMPLES)
    if target == "host":
        with HostModel(build_host(folder, sanitize)) as model:
            comparison = Comparison(model.layers)
            for index, sample in enumerate(samples):
                compare_host(model, sample, run_layers(graph, sample), comparison, index)
        assert comparison.samples == SAMPLES
        return [layer for layer in comparison.to_json() if not layer["equal"]]
    verdict = api._verify_simulated(Component.load(folder), graph, samples, CHIPS.get(target))
    assert verdict["samples"] == SAMPLES
    return [layer for chip in verdict["chips"] for layer in chip["layers"] if not layer["equal"]]
