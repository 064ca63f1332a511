"""Random QDQ graphs against onnxruntime, step by step: no element off by more than one, but for the rules below."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))
from qdq_graphs import Drawn, Step, Tensor, drawn
from qdq_operators import OPERATORS

from espgen import arith
from espgen.errors import EspgenError
from espgen.frontend import load_onnx
from espgen.interpret import run_layers
from espgen.ir import Graph, Value
from espgen.ir.layout import from_layout, to_layout
from espgen.passes.pipeline import lower_to_integer


def _bias_rounding(step: Step, output: Tensor, constants: dict[str, np.ndarray]) -> float:
    """Half an accumulator's step, where a convolution or matrix product has a float bias."""
    names = [name for node in step.nodes for name in node.input]
    if not any(name.startswith("bias") for name in names):
        return 0.0
    weights = max(float(constants[name].max()) for name in names if name.startswith("ws"))
    factor = max([1.0, *(abs(float(constants[name])) for name in names if name.startswith("f"))])
    return 0.5 * step.inputs[0].scale * weights * factor / output.scale


def _interpolation(step: Step, output: Tensor, constants: dict[str, np.ndarray]) -> float:
    """The square of a 16-bit tensor is a function of it: a table."""
    return 7.0 if step.op == "Mul" and len({item.name for item in step.inputs}) == 1 and step.inputs[0].wide else 0.0


def _common_shift(step: Step, output: Tensor, constants: dict[str, np.ndarray]) -> float:
    """Rounded multipliers, at the ends of the operands' ranges; it shows where an operand's step is many of the result's."""
    if step.op not in ("Add", "Sub"):
        return 0.0
    bits = 30 if output.wide else 15
    shift = bits - 1 - math.floor(math.log2(max(item.scale for item in step.inputs) / output.scale))
    return sum(2.0 ** ((16 if item.wide else 8) - shift - 1) for item in step.inputs)


RULES: dict[str, Callable[[Step, Tensor, dict[str, np.ndarray]], float]] = {
    "A bias is rounded to a step of the accumulator": _bias_rounding,
    "The bound is **8 steps of the output**": _interpolation,
    "15-bit multipliers for 8-bit outputs, 30-bit ones for 16-bit outputs": _common_shift,
}
"""Words of docs/arithmetic.md -> how many steps a result may be off because of them, besides the one step for all."""

REFUSALS: dict[str, str] = {
    "more than 16 bits hold": "An input that is read in several grids is held in one",
}
"""Part of a message -> words of docs/arithmetic.md that say why such a graph is refused."""


def faults(item: Drawn) -> list[str]:
    """What is wrong with espgen's integers of a graph, in words; empty where all is right."""
    graph = lower_to_integer(load_onnx(item.model))
    given = {source.name: _integers(graph.value(source.name), source) for source in item.inputs}
    values = run_layers(graph, given)
    inputs = {source.name: source.data for source in item.inputs}
    held: dict[str, np.ndarray] = dict(inputs)
    found: list[str] = []
    for step in item.steps:
        expected = step.reference(item.constants, held)
        for output in step.outputs:
            names = [output.name, f"y_{output.name}", *(source.name for source in step.inputs if step.op == "input")]
            mine = _held(graph, {**values, **given}, names, output)
            held[output.name] = expected[output.name] if mine is None else mine
            if mine is not None:
                found += _compared(step, output, mine, expected[output.name], item.constants)
    for name, output in item.outputs.items():
        value = graph.value(name)
        real = (_ordered(value, values[name], output.shape).astype(np.float64) - value.zero_point) * value.scale
        expected_real = (held[output.name].astype(np.float64) - output.zero_point) * output.scale
        worst = float(np.abs(real - expected_real).max(initial=0.0)) / output.scale
        if worst > 1.001:
            found.append(f"output {name}: {worst:.2f} steps")
    return found


def _compared(step: Step, output: Tensor, mine: np.ndarray, expected: np.ndarray, constants: dict[str, np.ndarray]) -> list[str]:
    worst = int(np.abs(mine.astype(np.int64) - expected.astype(np.int64)).max(initial=0))
    allowed = 1.0 + sum(rule(step, output, constants) for rule in RULES.values())
    kinds = [item.kind for item in step.inputs]
    return [f"{step.op} {kinds} -> {output.name} {output.kind}: {worst} steps"] if worst > allowed else []


def _integers(value: Value, source: Tensor) -> np.ndarray:
    low, high = value.dtype.minimum, value.dtype.maximum
    integers = source.data
    if source.kind == "float32":
        integers = arith.quantize(source.data, value.scale, value.zero_point, low, high).astype(value.dtype.numpy)
    return to_layout(integers, value.layout).reshape(value.shape)


def _ordered(value: Value, data: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return from_layout(data, value.layout).reshape(shape)


def _held(graph: Graph, values: dict[str, np.ndarray], names: list[str], output: Tensor) -> np.ndarray | None:
    """The integers of a tensor in the model's own type, None where espgen holds no value of these names in its grid."""
    limits = np.iinfo(output.kind)
    for name in names:
        if name not in values:
            continue
        value = graph.value(name)
        offset = int(limits.min) - value.dtype.minimum
        same = value.dtype.size == limits.bits // 8 and value.scale == output.scale
        if same and value.zero_point + offset == output.zero_point and np.prod(value.shape) == output.data.size:
            data = _flattened(graph, name, values[name])
            data = _ordered(value, values[name], output.shape) if data is None else data.reshape(output.shape)
            return (data.astype(np.int64) + offset).astype(output.kind)
    return None


def _flattened(graph: Graph, name: str, data: np.ndarray) -> np.ndarray | None:
    """A matrix of flattened images in ONNX's order, where espgen keeps it channels last for the matrix product behind it."""
    maker = next((node for node in graph.nodes if name in node.outputs), None)
    source = None if maker is None or maker.op != "reshape" else graph.value(maker.inputs[0])
    if source is None or not source.layout or len(graph.value(name).shape) != 2:
        return None
    return from_layout(data.reshape(source.shape), source.layout)


def _survey(seeds: range) -> tuple[dict[int, list[str]], Counter[str]]:
    wrong, refused = {}, Counter[str]()
    for seed in seeds:
        item = drawn(seed, OPERATORS)
        try:
            found = faults(item)
        except EspgenError as error:
            reason = next((part for part in REFUSALS if part in error.message), None)
            if reason is None:
                wrong[seed] = [f"refused: {error}"]
            refused[str(reason)] += 1
            continue
        if found:
            wrong[seed] = found
    return wrong, refused


def test_rules_are_documented() -> None:
    text = " ".join((Path(__file__).parents[2] / "docs" / "arithmetic.md").read_text(encoding="utf-8").split())
    assert [words for words in (*RULES, *REFUSALS.values()) if words not in text] == []


def test_some_graphs() -> None:
    wrong, refused = _survey(range(40))
    assert not wrong
    assert refused.total() <= 4


@pytest.mark.prove
def test_a_thousand_graphs() -> None:
    wrong, refused = _survey(range(1000, 2000))
    assert not wrong
    assert refused.total() <= 50
