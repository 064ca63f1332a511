"""Every operator's portable kernel against its exact numpy reference, byte for byte, on every case and storage."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from harness import ADDRESS_SANITIZERS, ROOT, VARIANTS, address_sanitizer, build, compilers, run, storage_of
from operators import SPECS, WITH_KERNEL, cases_of, check_operator, expected, input_arrays

from espgen.ir import Graph
from espgen.ops.base import KernelCall, rows_of

PARTS = 2


@pytest.mark.parametrize("name", WITH_KERNEL)
def test_kernel_equals_reference(name: str) -> None:
    """Between guard bytes, stopped where the undefined-behaviour sanitizer objects."""
    check_operator(name, "zig", exact=False)


def sanitized_python(compiler: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with the compiler's AddressSanitizer loaded; skips the test where it has none."""
    runtime = address_sanitizer(compiler)
    if runtime is None:
        pytest.skip(f"needs {compiler} with AddressSanitizer")
    environment = {
        **os.environ,
        "LD_PRELOAD": runtime,
        "ASAN_OPTIONS": "detect_leaks=0:symbolize=0",  # clang's symbolizer would be started with the preload, and stay
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(ROOT), *sys.path]),
    }
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("compiler", ADDRESS_SANITIZERS)
@pytest.mark.parametrize("part", range(PARTS))
def test_kernels_under_address_sanitizer(part: int, compiler: str) -> None:
    """The same in a process of its own, with AddressSanitizer loaded and every buffer of exactly its size."""
    arguments = [str(Path(__file__).parent / "operators.py"), compiler, *WITH_KERNEL[part::PARTS]]
    done = sanitized_python(compiler, *arguments)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert done.stdout.split() == WITH_KERNEL[part::PARTS]


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
        assert all(before[1] == after[0] for before, after in pairwise(done))


@pytest.mark.parametrize("name", WITH_KERNEL)
def test_rows_that_are_not_read_do_not_matter(name: str) -> None:
    """What rows_read leaves out may hold anything: the reference's rows stay as they are."""
    spec, rng = SPECS[name], np.random.default_rng(7)
    for case in cases_of(name):
        node = case.graph.nodes[0]
        inputs = input_arrays(case.graph, "random")
        wanted = expected(spec, case.graph, inputs)
        total = rows_of(case.graph.value(node.outputs[0]).shape)[0]
        for begin, end in {(0, min(1, total)), (total // 2, total // 2 + 1), (max(total - 2, 0), total)}:
            read = spec.rows_read(node, case.graph, begin, min(end, total))
            changed = {key: _spoilt(data, read.get(key, frozenset()), rng) for key, data in inputs.items()}
            for output, data in expected(spec, case.graph, changed).items():
                rows = rows_of(data.shape)
                np.testing.assert_array_equal(
                    data.reshape(rows)[begin:end], wanted[output].reshape(rows)[begin:end], f"{case.name} {begin} {output}"
                )


def test_few_rows_of_a_convolution_need_few() -> None:
    case = next(case for case in cases_of("conv2d") if case.name == "same_asymmetric_stride_2")
    read = SPECS["conv2d"].rows_read(case.graph.nodes[0], case.graph, 1, 2)
    assert read == {"x": frozenset({2, 3, 4})}


def _spoilt(data: np.ndarray, kept: frozenset[int], rng: np.random.Generator) -> np.ndarray:
    """The same with other values in all rows but the kept ones."""
    rows = data.reshape(rows_of(data.shape)).copy()
    for row in set(range(len(rows))) - kept:
        rows[row] = rng.permutation(rows[row].reshape(-1)[::-1] ^ 1).reshape(rows[row].shape)
    return rows.reshape(data.shape)


def one_channel_too_many() -> tuple[Graph, KernelCall]:
    """A kernel that writes one element beyond the last row."""
    graph = cases_of("flip_sign")[0].graph
    storage = storage_of(graph, VARIANTS[0])
    (call,) = SPECS["flip_sign"].kernel(graph.nodes[0], graph, storage.__getitem__)  # type: ignore[misc]
    return graph, replace(call, shape={**call.shape, "channels": storage["x"].channels + 1})


def run_one_channel_too_many(compiler: str, exact: bool) -> None:
    graph, wide = one_channel_too_many()
    library = ctypes.CDLL(str(build([wide], ["wide"], compilers()[compiler])))
    run(graph, [wide], [library.wide], VARIANTS[0], input_arrays(graph, "random"), 1, exact)


def test_guards_notice_one_channel_too_many() -> None:
    """The harness itself."""
    with pytest.raises(AssertionError, match="written where it must not be"):
        run_one_channel_too_many("zig", exact=False)


@pytest.mark.parametrize("compiler", ADDRESS_SANITIZERS)
def test_address_sanitizers_notice_one_channel_too_many(compiler: str) -> None:
    done = sanitized_python(compiler, "-c", f"import test_ops; test_ops.run_one_channel_too_many({compiler!r}, True)")
    assert done.returncode != 0 and "heap-buffer-overflow" in done.stderr, done.stderr[-2000:]
