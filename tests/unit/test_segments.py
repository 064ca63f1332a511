"""Schedules in bands of rows: every step finds its rows, rings are as small as can be, and a damaged schedule is noticed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from espdl_files import File, packed
from hypothesis import given, settings
from hypothesis import strategies as st

from espgen.codegen.build import BANDS, LAYERS, Options, generate, plan_graph
from espgen.codegen.component import Planned
from espgen.errors import Defect
from espgen.frontend import load, load_onnx
from espgen.interpret import run_layers
from espgen.ir import Graph
from espgen.passes.pipeline import lower_to_integer
from espgen.resources import models_dir
from espgen.schedule.memory import Address
from espgen.schedule.replay import replay
from espgen.schedule.steps import Step
from espgen.schedule.storage import with_rings
from espgen.verify.build import build_host
from espgen.verify.compare import Comparison, compare_host
from espgen.verify.data import random_dataset
from espgen.verify.host import HostModel


def digits() -> Graph:
    return lower_to_integer(load_onnx(models_dir() / "digits_int8_qdq.onnx", shapes={}))


GRAPH = digits()
PLANNED = plan_graph(GRAPH, Options(schedule=BANDS))
RINGS = {name: held.ring_rows for name, held in PLANNED.storage.storages.items() if held.ring_rows}

WINDOWED = [
    (node.inputs[0], node.outputs[0])
    for node in GRAPH.nodes
    if node.op == "conv2d" and GRAPH.value(node.inputs[1]).shape[1] > 1 and node.inputs[0] in RINGS
]


def padding(planned: Planned) -> dict[str, int]:
    return {plan.node.name: plan.scratch for plan in planned.nodes}


def check(planned: Planned) -> int:
    return replay(planned.graph, planned.storage, planned.steps, planned.memory, padding(planned))


def test_bands_take_less_memory_and_more_steps_than_layers() -> None:
    layers = plan_graph(GRAPH, Options(schedule=LAYERS))
    assert not any(held.ring_rows for held in layers.storage.storages.values())
    assert len(RINGS) >= 3 and len(PLANNED.steps) > len(layers.steps)
    assert check(PLANNED) > 0 and check(layers) > 0
    assert sum(held.nbytes for held in PLANNED.storage.storages.values()) < sum(
        held.nbytes for held in layers.storage.storages.values()
    )


def test_a_component_in_bands_equals_the_interpreter(tmp_path: Path) -> None:
    component = generate(GRAPH, tmp_path / "c", options=Options(schedule=BANDS), name="bands", extra={})
    with HostModel(build_host(component)) as model:
        comparison = Comparison(model.layers)
        for index, sample in enumerate(random_dataset(GRAPH, 3, seed=4)):
            compare_host(model, sample, run_layers(GRAPH, sample), comparison, index)
    assert all(report.equal for report in comparison.layers)


def steps_changed(change: Callable[[list[Step]], None]) -> Planned:
    steps = list(PLANNED.steps)
    change(steps)
    return replace(PLANNED, steps=tuple(steps))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_damaged_entry_is_noticed(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["left out", "twice", "longer", "later", "smaller ring", "moved"]))
    number = data.draw(st.integers(0, len(PLANNED.steps) - 1))
    step = PLANNED.steps[number]
    if kind == "left out":
        damaged = steps_changed(lambda steps: steps.pop(number) and None)
    elif kind == "twice":
        damaged = steps_changed(lambda steps: steps.insert(number, step))
    elif kind == "longer":
        damaged = steps_changed(lambda steps: steps.__setitem__(number, replace(step, end=step.end + 1)))
    elif kind == "later":
        damaged = steps_changed(lambda steps: steps.append(steps.pop(number)))
        if number == len(PLANNED.steps) - 1:
            return
    elif kind == "smaller ring":
        name = data.draw(st.sampled_from(sorted(RINGS)))
        damaged = replace(PLANNED, storage=with_rings(PLANNED.storage, {**RINGS, name: RINGS[name] - 1 or 1}))
        if RINGS[name] == 1:
            return
    else:
        # A result over the rows that the next window still needs.
        read, written = data.draw(st.sampled_from(WINDOWED))
        values = {**PLANNED.memory.values, written: PLANNED.memory.values[read]}
        damaged = replace(PLANNED, memory=replace(PLANNED.memory, values=values))
    with pytest.raises((Defect, IndexError)):
        check(damaged)


def in_place_between_halos() -> Graph:
    """A sum in the place of its operand, both of which lie in halos: one for a convolution, one for a pool."""
    file, shape = File(), (1, 24, 32)
    file.input("x", shape, -5)
    file.constant("w", packed(np.eye(32, dtype=np.int8)[:, :, None], 16), (1, 32, 32), [-3])
    file.constant("d", packed(np.ones((32, 1, 3), np.int8), 16, depthwise=True), (3, 32, 1), [-3])
    window = {"kernel_shape": (3,), "pads": (2, 0), "strides": (1,)}
    file.node("Conv", "x w", "a", shape, -6, group=1, kernel_shape=(1,))
    file.node("Conv", "a d", "b", shape, -6, group=32, dilations=(1,), **window)
    file.node("Add", "a b", "s", shape, -6)
    file.node("AveragePool", "s", "y", shape, -7, count_include_pad=1, **window)
    return lower_to_integer(load(file.data("y")))


def test_a_layer_in_place_fills_the_halo_of_its_result_over_that_of_its_operand() -> None:
    planned = plan_graph(in_place_between_halos(), Options(schedule=LAYERS))
    names = {name.removesuffix("/integers"): name for name in planned.storage.storages}
    operand, result = names["a"], names["s"]
    assert planned.memory.values[operand] == planned.memory.values[result]
    assert planned.storage.storages[operand].pad_left == planned.storage.storages[result].pad_left == 2
    assert check(planned) > 0
    # Over the operand of a layer that reads the halo, it is still noticed.
    values = {**planned.memory.values, names["b"]: planned.memory.values[operand]}
    with pytest.raises(Defect):
        check(replace(planned, memory=replace(planned.memory, values=values)))


def test_a_value_beyond_its_arena_is_noticed() -> None:
    name = sorted(RINGS)[0]
    values = {**PLANNED.memory.values, name: Address("internal", PLANNED.memory.bytes_of("internal") - 8)}
    with pytest.raises(Defect, match="beyond arena"):
        check(replace(PLANNED, memory=replace(PLANNED.memory, values=values)))
