"""Holds every operator's portable kernel to its reference; as a program, with a compiler for the operators named as arguments."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

import numpy as np
from harness import VARIANTS, build, compilers, run, storage_of

from espgen.ir import Graph
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
        value = graph.value(name)
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
    """The reference's outputs by name."""
    node = graph.nodes[0]
    operands = [inputs.get(name, graph.constants.get(name)) for name in node.inputs]
    return dict(zip(node.outputs, spec.reference(node, operands, graph), strict=True))


def check_operator(name: str, compiler: str, exact: bool) -> None:
    """Compile all cases of an operator in all variants as one library; AssertionError at the first difference."""
    kernel = SPECS[name].kernel
    assert kernel is not None
    table, calls, symbols = {}, [], []
    for index, case in enumerate(cases_of(name)):
        for variant in VARIANTS:
            own = kernel(case.graph.nodes[0], case.graph, storage_of(case.graph, variant).__getitem__)
            names = [f"case_{index}_{variant.name}_{number}" for number in range(len(own))]
            table[case.name, variant.name] = (own, names)
            calls += own
            symbols += names
    library = ctypes.CDLL(str(build(calls, symbols, compilers()[compiler])))
    for case in cases_of(name):
        for pattern in ("random", "ends", "lowest"):
            inputs = input_arrays(case.graph, pattern)
            wanted = expected(SPECS[name], case.graph, inputs)
            for variant in VARIANTS:
                own, names = table[case.name, variant.name]
                functions = [getattr(library, symbol) for symbol in names]
                for seed, band_rows in ((1, 1 << 30), (2, 1), (3, 2)):
                    got = run(case.graph, own, functions, variant, inputs, seed, exact, band_rows)
                    for output in case.graph.outputs:
                        place = f"{name} {case.name} {pattern} {variant.name} {output} {band_rows}"
                        np.testing.assert_array_equal(got[output], wanted[output], place)


if __name__ == "__main__":
    for operator in sys.argv[2:]:
        check_operator(operator, sys.argv[1], exact=True)
        print(operator, flush=True)
