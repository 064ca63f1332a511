"""All operators in generated components: row tables, constants and halos as planned, on the host and simulated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from operators import WITH_KERNEL, cases_of, input_arrays

from espgen import api
from espgen.codegen.build import Options, generate
from espgen.interpret import run_layers
from espgen.ir import Graph, Node, Value, verify
from espgen.verify.build import build_host
from espgen.verify.compare import Comparison, compare_host
from espgen.verify.host import HostModel

SIMULATED_PARTS = 6
"""Enough that the description of a part's inputs fits a frame of the protocol."""


def renamed(graph: Graph, prefix: str) -> Graph:
    """The graph with `prefix` before every name, its one node within its type's bounds."""

    def name(old: str) -> str:
        return f"{prefix}_{old}"

    nodes = tuple(
        Node(name(node.name), node.op, tuple(map(name, node.inputs)), tuple(map(name, node.outputs)), node.attrs)
        for node in graph.nodes
    )
    values: dict[str, Value] = {name(key): replace(value, name=name(key)) for key, value in graph.values.items()}
    constants = {name(key): data for key, data in graph.constants.items()}
    return Graph(prefix, tuple(map(name, graph.inputs)), tuple(map(name, graph.outputs)), nodes, values, constants)


def merged(graphs: list[Graph]) -> Graph:
    """One graph with the inputs, nodes and outputs of all."""
    return Graph(
        "all_operators",
        tuple(name for graph in graphs for name in graph.inputs),
        tuple(name for graph in graphs for name in graph.outputs),
        tuple(node for graph in graphs for node in graph.nodes),
        {key: value for graph in graphs for key, value in graph.values.items()},
        {key: data for graph in graphs for key, data in graph.constants.items()},
    )


@pytest.mark.parametrize("part", range(3))
def test_component_of_all_cases(part: int, tmp_path: Path) -> None:
    names = WITH_KERNEL[part::3]
    graphs = [renamed(case.graph, f"{name}_{case.name}") for name in names for case in cases_of(name)]
    graph = merged(graphs)
    verify(graph)
    generate(graph, tmp_path / "component", options=Options(), name="all_operators", extra={})
    inputs = input_arrays(graph, "random")
    wanted = run_layers(graph, inputs)
    with HostModel(build_host(tmp_path / "component")) as model:
        comparison = Comparison(model.layers)
        outputs = compare_host(model, inputs, wanted, comparison, 0)
    different = [report for report in comparison.layers if not report.equal]
    assert not different, different[:5]
    assert set(outputs) == set(graph.outputs)
    for name, data in outputs.items():
        np.testing.assert_array_equal(data, wanted[name], name)


@pytest.mark.prove
@pytest.mark.parametrize("part", range(SIMULATED_PARTS))
def test_simulated_component(part: int, tmp_path: Path) -> None:
    """The same in the P4 simulator, with the vector kernels that are chosen there."""
    graphs = [renamed(case.graph, f"{name}_{case.name}") for name in WITH_KERNEL for case in cases_of(name)]
    generate(merged(graphs[part::SIMULATED_PARTS]), tmp_path, options=Options(), name="all_operators", extra={})
    report = api.verify(tmp_path, target="sim", limit=1)
    assert report["equal"] and report["samples"] == 1
    assert all(layer["equal"] for layer in report["layers"]) and len(report["layers"]) > 10
