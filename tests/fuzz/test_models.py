"""Mutated and truncated model files: each compiles to a graph that runs, or is refused with its place and a remedy."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType

import numpy as np
import onnx
import pytest
from onnx import ModelProto

sys.path.append(str(Path(__file__).parent.parent / "unit"))
sys.path.append(str(Path(__file__).parent.parent / "passes"))
import onnx_models
import test_absorb_qdq as patterns
from mutations import mutated

import espgen
from espgen.codegen.build import Options, generate, plan_graph
from espgen.errors import EspgenError
from espgen.frontend import load_onnx
from espgen.interpret.integer import run_integer
from espgen.ir import Graph, Value
from espgen.ir.layout import from_layout
from espgen.ops.registry import spec_of
from espgen.ops.table_forms import INTERPOLATE, LARGEST_ERROR, SEGMENTS
from espgen.passes.pipeline import lower_to_integer

SECONDS = 60
"""For one case, on a busy machine; the slowest honest ones (a batch of thousands) take a third of that."""

LARGEST_RUN = 3_000_000
"""Multiply-accumulates and elements up to which an accepted model is also run in the interpreter."""


LARGEST_DIFFERENCE = 2.0
"""Steps between espgen's and onnxruntime's result of an accepted model, besides what a step of an inner value comes to."""


class Hang(Exception):
    """A case took longer than SECONDS."""


@cache
def bases() -> tuple[ModelProto, ...]:
    """The models that get damaged: every pattern of the Q/DQ tests, QOperator forms, and the bundled digits model."""
    digits = ModelProto.FromString((Path(espgen.__file__).parent / "models" / "digits_int8_qdq.onnx").read_bytes())
    return (*(build() for build in patterns.CASES), *_qoperators(), digits, digits)


def _qoperators() -> list[ModelProto]:
    constants = {
        "xs": np.float32(0.5), "xz": np.uint8(3), "ws": np.float32([0.25, 0.5]), "wz": np.int8([0, 0]), "ys": np.float32(0.75),
        "yz": np.uint8(9), "w": np.ones((2, 3, 3, 3), np.int8), "b": np.int32([1, 2]), "shape": np.int64([1, -1]),
    }  # fmt: skip
    nodes = [
        onnx_models.node("QLinearConv", "x xs xz w ws wz ys yz b", "c", pads=[1, 1, 1, 1]),
        onnx_models.node("QLinearAdd", "c ys yz c ys yz ys yz", "a", domain="com.microsoft"),
        onnx_models.node("QLinearGlobalAveragePool", "a ys yz xs xz", "p", domain="com.microsoft"),
        onnx_models.node("Reshape", "p shape", "r"),
        onnx_models.node("QLinearSoftmax", "r xs xz ys yz", "y", domain="com.microsoft", axis=1, opset=13),
    ]
    kinds = {"x": "uint8", "y": "uint8"}
    return [onnx_models.model(nodes, {"x": [1, 3, 6, 6]}, ["y"], constants, types=kinds, contrib=True)]


@contextmanager
def time_limit() -> Iterator[None]:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def attempt(case: int, folder: Path) -> str:
    """What becomes of a case: "refused" or "compiled"; anything but an EspgenError with place and remedy propagates."""
    models = bases()
    data = mutated(models[case % len(models) if case % 2 else (case // 2) % len(models)], case)
    with time_limit():
        try:
            graph = lower_to_integer(load_onnx(data))
            _run(graph, data, case)
            plan_graph(graph, Options())
            if case % 10 == 0:
                generate(graph, folder / f"component{case}", options=Options(), name="model", extra={"model": "model.onnx"})
        except EspgenError as error:
            assert error.message and error.hint, f"no remedy: {error}"
            assert error.node or error.place, f"no place: {error}"
            assert "defect of espgen" not in error.hint, f"espgen's own rule broken: {error}"
            return "refused"
    return "compiled"


def _run(graph: Graph, data: bytes, case: int) -> None:
    """Run an accepted graph, where it is small enough, and compare with what onnxruntime makes of the same file."""
    work = sum(spec_of(node.op).macs(node, graph) for node in graph.nodes) + sum(
        value.elements for value in graph.values.values()
    )
    if work > LARGEST_RUN:
        return
    rng = np.random.default_rng(case)
    inputs = {}
    for value in (graph.value(name) for name in graph.inputs):
        inputs[value.name] = rng.integers(value.dtype.minimum, value.dtype.maximum + 1, value.shape).astype(value.dtype.numpy)
    results = run_integer(graph, inputs)
    expected = _onnxruntime(graph, data, inputs)
    for (name, held), wanted in zip(results.items(), expected, strict=False):
        value = graph.value(name)
        result = from_layout(held, value.layout)
        assert result.shape == wanted.shape, f"{name} has shape {result.shape}, onnxruntime gives {wanted.shape}"
        known = np.isfinite(wanted)  # scales beyond float32 overflow in onnxruntime
        if wanted.dtype.kind == "f":
            with np.errstate(all="ignore"):
                steps = np.nan_to_num(np.rint(wanted.astype(np.float64) / value.scale)) + value.zero_point
            wanted = np.clip(steps, value.dtype.minimum, value.dtype.maximum)
        difference = np.abs(result.astype(np.int64) - wanted.astype(np.int64))[known]
        near = difference.max(initial=0) <= _allowed(graph, value)
        assert near or _undefined(graph, data, inputs), f"{name} is {difference.max()} steps from onnxruntime"


def _undefined(graph: Graph, data: bytes, inputs: dict[str, np.ndarray]) -> bool:
    """True where the model computes not-a-number on the way: ONNX does not say which integer that is."""
    model = onnx.load_model_from_string(data)
    names = [name for node in model.graph.node for name in node.output if name and name not in graph.outputs]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    results = _onnxruntime(graph, model.SerializeToString(), inputs, names)
    return any(bool(np.isnan(result).any()) for result in results if result.dtype.kind == "f")


def _allowed(graph: Graph, output: Value) -> float:
    """Steps of `output` that rounding can explain: ties here, and ties of inner values, which weigh as their scales do."""
    inner = [graph.value(name) for node in graph.nodes for name in node.outputs if name not in graph.outputs]
    coarser = [graph.value(name) for name in graph.outputs if name != output.name]
    scales = [value.scale for value in (*inner, *coarser) if value.quant is not None]
    tables = [node.outputs[0] for node in graph.nodes if node.attrs.get("mode") in (INTERPOLATE, SEGMENTS)]
    bends = [LARGEST_ERROR * graph.value(name).scale for name in tables]
    return LARGEST_DIFFERENCE + (4.0 * sum(scales) + sum(bends)) / output.scale if output.quant is not None else 0.0


def _onnxruntime(graph: Graph, data: bytes, inputs: dict[str, np.ndarray], values: list[str] | None = None) -> list[np.ndarray]:
    """onnxruntime's outputs, or `values`; none where it is not installed, or refuses what espgen takes (float16, an unused
    import)."""
    try:
        import onnxruntime
    except ImportError:
        return []
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        feeds = {}
        for item in session.get_inputs():
            value, held = graph.value(item.name), from_layout(inputs[item.name], graph.value(item.name).layout)
            with np.errstate(over="ignore"):
                real = (held.astype(np.int64) - value.zero_point) * np.float32(value.scale)
            if not np.all(np.isfinite(real.astype(np.float32))):
                return []  # a scale that float32 can't multiply
            feeds[item.name] = real.astype(np.float32) if item.type == "tensor(float)" else held
        return [np.asarray(result) for result in session.run(values or list(graph.outputs), feeds)]
    except Exception:
        return []


def _all(cases: range, folder: Path) -> Counter[str]:
    seen: Counter[str] = Counter()
    for case in cases:
        try:
            seen[attempt(case, folder)] += 1
        except Hang:
            pytest.fail(f"case {case} took longer than {SECONDS} s")
        except Exception as error:
            raise AssertionError(f"case {case}: {type(error).__name__}: {error}") from error
    return seen


def test_some_models(tmp_path: Path) -> None:
    seen = _all(range(1000), tmp_path)
    assert seen["refused"] > 600 and seen["compiled"] > 80, seen


@pytest.mark.prove
def test_all_models(tmp_path: Path) -> None:
    """10,000 damaged files, half of them well-formed protobuf."""
    seen = _all(range(10_000), tmp_path)
    assert seen["refused"] > 6_000 and seen["compiled"] > 800, seen
