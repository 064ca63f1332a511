"""The table of live buffers agrees with what the steps of a component touch."""

from __future__ import annotations

import pytest

from espgen.codegen.build import Options, plan_graph
from espgen.codegen.component import build_component
from espgen.frontend import load_onnx
from espgen.passes.pipeline import lower_to_integer
from espgen.resources import models_dir
from espgen.schedule.memory import Memory, plan_memory
from espgen.schedule.steps import Step


@pytest.mark.parametrize("internal_bytes", [256 * 1024, 1500])
def test_every_value_is_in_a_buffer_whenever_a_step_touches_it(internal_bytes: int) -> None:
    graph = lower_to_integer(load_onnx(models_dir() / "digits_int8_qdq.onnx", shapes={}))
    planned = plan_graph(graph, Options(internal_bytes=internal_bytes))
    view = build_component(planned, "digits").view
    arenas = [arena.name for arena in planned.memory.arenas]
    assert list(view.buffers) == sorted(view.buffers, key=lambda buffer: (buffer.arena, buffer.offset))
    nodes = {node.name: node for node in graph.nodes}
    checked = 0
    for number, step in enumerate(view.steps):
        node = nodes[view.layer_entries[step.layer].name]
        for name in (*node.inputs, *node.outputs):
            if not name or graph.is_constant(name):
                continue
            place, size = planned.memory.values[name], planned.storage.storages[name].nbytes
            holders = [
                buffer
                for buffer in view.buffers
                if arenas[buffer.arena] == place.arena
                and buffer.first <= number <= buffer.last
                and buffer.offset <= place.offset
                and place.offset + size <= buffer.offset + buffer.bytes
            ]
            assert holders, (step, name)
            checked += 1
    assert checked > len(view.steps)
    both = {buffer.arena for buffer in view.buffers}
    assert both == ({0} if internal_bytes > 1500 else {0, 1})
    for buffer in view.buffers:
        arena_bytes = view.arenas[buffer.arena].nbytes
        assert buffer.bytes > 0 and buffer.offset + buffer.bytes < arena_bytes
        assert 0 <= buffer.first <= buffer.last < len(view.steps)


def test_steps_that_take_turns_extend_the_ranges() -> None:
    """Where the steps of several layers take turns, a buffer is live from the first to the last that touches it."""
    graph = lower_to_integer(load_onnx(models_dir() / "digits_int8_qdq.onnx", shapes={}))
    planned = plan_graph(graph, Options())
    once = [Step(plan.node.name, 0, 1) for plan in planned.nodes if plan.calls]
    tiers = [Memory("internal", (1 << 20,))]
    straight, turned = (
        {buffer.name: buffer for buffer in plan_memory(graph, planned.storage, steps, {}, tiers).buffers}
        for steps in (once, [*once, *once])
    )
    assert straight.keys() == turned.keys()
    for name, buffer in straight.items():
        assert turned[name].first == buffer.first
        assert turned[name].last == buffer.last + len(once)
