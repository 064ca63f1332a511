"""Every operator's portable kernel against its exact numpy reference, byte for byte, on every case and storage."""

from __future__ import annotations

import ctypes
import itertools
from functools import cache
from typing import Any

import numpy as np
import pytest
from harness import VARIANTS, Variant, build, compilers, run, storage_of

from espgen.ir import Graph, Value
from espgen.ops.base import Case, OpSpec
from espgen.ops.registry import specs

SPECS = dict(specs())
WITH_KERNEL = [name for name, spec in SPECS.items() if spec.kernel is not None]


@cache
def cases_of(name: str) -> tuple[Case, ...]:
    return tuple(SPECS[name].cases())


def input_arrays(graph: Graph, pattern: str) -> dict[str, Any]:
    """Inputs that are random, alternate between the ends of their type, or hold the smallest value everywhere."""
    rng = np.random.default_rng(len(pattern))
    arrays = {}
    for name in graph.inputs:
        value: Value = graph.value(name)
        low, high = value.dtype.minimum, value.dtype.maximum
        if pattern == "random":
            data = rng.integers(low, high + 1, value.shape)
        elif pattern == "ends":
            data = rng.choice([low, high], value.shape)
        else:
            data = np.full(value.shape, low)
        arrays[name] = np.asarray(data).astype(value.dtype.numpy)
    return arrays


def expected(spec: OpSpec, graph: Graph, inputs: dict[str, Any]) -> dict[str, Any]:
    node = graph.nodes[0]
    operands = [inputs.get(name, graph.constants.get(name)) for name in node.inputs]
    return dict(zip(node.outputs, spec.reference(node, operands, graph), strict=True))


@cache
def library_of(name: str, compiler: str) -> tuple[Any, dict[tuple[str, str], tuple[Any, list[str]]]]:
    """All cases of an operator in all variants as one library."""
    spec = SPECS[name]
    assert spec.kernel is not None
    table: dict[tuple[str, str], tuple[Any, list[str]]] = {}
    sources, symbols = [], []
    for index, case in enumerate(cases_of(name)):
        for variant in VARIANTS:
            storage = storage_of(case.graph, variant)
            calls = spec.kernel(case.graph.nodes[0], case.graph, storage.__getitem__)
            names = [f"case_{index}_{variant.name}_{number}" for number in range(len(calls))]
            table[case.name, variant.name] = (calls, names)
            sources += calls
            symbols += names
    return ctypes.CDLL(str(build(sources, symbols, compilers()[compiler]))), table


@pytest.mark.parametrize("compiler", compilers())
@pytest.mark.parametrize("name", WITH_KERNEL)
def test_kernel_equals_reference(name: str, compiler: str) -> None:
    library, table = library_of(name, compiler)
    for case in cases_of(name):
        for pattern in ("random", "ends", "lowest"):
            inputs = input_arrays(case.graph, pattern)
            wanted = expected(SPECS[name], case.graph, inputs)
            for variant in VARIANTS:
                check(
                    case.graph,
                    library,
                    table[case.name, variant.name],
                    variant,
                    inputs,
                    wanted,
                    f"{case.name} {pattern}",
                )


def check(
    graph: Graph,
    library: Any,
    entry: tuple[Any, list[str]],
    variant: Variant,
    inputs: dict[str, Any],
    wanted: dict[str, Any],
    place: str,
) -> None:
    calls, names = entry
    functions = [getattr(library, symbol) for symbol in names]
    for seed in (1, 2):
        got = run(graph, calls, functions, variant, inputs, seed)
        for output in graph.outputs:
            np.testing.assert_array_equal(got[output], wanted[output], f"{place} {variant.name} {output}")


@pytest.mark.parametrize("name", SPECS)
def test_spec_is_complete(name: str) -> None:
    spec = SPECS[name]
    cases = cases_of(name)
    assert spec.name == name and spec.name.islower() and spec.summary and spec.onnx
    assert len(cases) >= 3 and len({case.name for case in cases}) == len(cases)
    for case in cases:
        assert len(case.graph.nodes) == 1 and case.graph.nodes[0].op == name


@pytest.mark.parametrize("name", SPECS)
def test_cases_cover_the_types(name: str) -> None:
    """Every activation type the spec promises occurs among its cases."""
    seen = {case.graph.value(case.graph.nodes[0].inputs[0]).dtype.value for case in cases_of(name)}
    assert seen >= set(SPECS[name].dtypes)


@pytest.mark.parametrize("name", SPECS)
def test_references_give_the_described_outputs(name: str) -> None:
    """Shapes and types of reference results, and results that are not all the same value."""
    varied = 0
    for case in cases_of(name):
        inputs = input_arrays(case.graph, "random")
        for output, data in expected(SPECS[name], case.graph, inputs).items():
            value = case.graph.value(output)
            assert data.shape == value.shape and data.dtype == value.dtype.numpy
            varied += int(np.unique(data).size > 1)
    assert varied >= len(cases_of(name)) // 2


@pytest.mark.parametrize("name", WITH_KERNEL)
def test_calls_complete_every_row(name: str) -> None:
    """The row ranges of a node's calls cover its output rows once, in order."""
    spec = SPECS[name]
    assert spec.kernel is not None
    for case in cases_of(name):
        storage = storage_of(case.graph, VARIANTS[0])
        calls = spec.kernel(case.graph.nodes[0], case.graph, storage.__getitem__)
        done = [(call.row_begin, call.row_end) for call in calls if call.row_end > call.row_begin]
        rows = storage[case.graph.nodes[0].outputs[0]].rows
        assert done[0][0] == 0 and done[-1][1] == rows
        assert all(before[1] == after[0] for before, after in itertools.pairwise(done))
