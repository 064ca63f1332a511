"""Lifetimes of a small schedule, worked out by hand, and their properties on random ones."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espgen.errors import Defect
from espgen.schedule.buffers import Buffer
from espgen.schedule.liveness import Use, liveness
from espgen.schedule.planner import plan
from espgen.schedule.proof import prove

STEPS = [
    Use("conv", ("x", "w"), ("a",), scratch=40),
    Use("relu", ("a",), ("b",), in_place=(("b", "a"),)),
    Use("left", ("b",), ("c",)),
    Use("right", ("b",), ("d",), in_place=(("d", "b"),)),
    Use("add", ("c", "d"), ("y",), in_place=(("y", "c"), ("y", "d"))),
]
SIZES = {"x": 10, "a": 20, "b": 20, "c": 30, "d": 30, "y": 30}


def lives(buffers: tuple[Buffer, ...]) -> dict[str, tuple[int, int]]:
    return {buffer.name: (buffer.first, buffer.last) for buffer in buffers}


def test_lives_of_a_branching_schedule() -> None:
    buffers = liveness(STEPS, SIZES, inputs=("x",), outputs=("y",))
    assert lives(buffers) == {
        "x": (0, 0), "a": (0, 1), "b": (1, 3), "c": (2, 4), "d": (3, 4), "y": (4, 4), "conv.scratch": (0, 0),
    }  # fmt: skip
    assert {b.name: b.accesses for b in buffers} == {
        "x": 10, "a": 40, "b": 60, "c": 60, "d": 60, "y": 30, "conv.scratch": 80,
    }  # fmt: skip


def test_only_a_value_that_dies_is_replaced_and_only_once() -> None:
    replaced = {b.name: b.replaces for b in liveness(STEPS, SIZES, inputs=("x",), outputs=("y",)) if b.replaces}
    assert replaced == {"b": "a", "d": "b", "y": "c"}
    longer = [*STEPS, Use("again", ("b", "y"), ("z",))]
    replaced = {b.name: b.replaces for b in liveness(longer, {**SIZES, "z": 5}, inputs=("x",), outputs=("z",))}
    assert replaced["d"] is None


def test_outputs_and_kept_values_live_to_the_end() -> None:
    buffers = liveness(STEPS, SIZES, inputs=("x",), outputs=("y", "a"), keep=("x",))
    assert lives(buffers)["a"] == (0, 4)
    assert lives(buffers)["x"] == (0, 4)


def test_aliases_share_the_buffer_of_their_root() -> None:
    steps = [Use("one", ("x",), ("left",)), Use("two", ("x",), ("right",)), Use("use", ("flat",), ("y",))]
    aliases = {"left": "joined", "right": "joined", "flat": "joined"}
    sizes = {"x": 8, "left": 8, "right": 8, "joined": 16, "y": 4}
    buffers = liveness(steps, sizes, inputs=("x",), outputs=("y",), aliases=aliases)
    assert lives(buffers) == {"x": (0, 1), "joined": (0, 2), "y": (2, 2)}
    joined = next(buffer for buffer in buffers if buffer.name == "joined")
    assert (joined.size, joined.accesses) == (16, 8 + 8 + 16)


def test_reading_before_writing_is_refused_with_the_step() -> None:
    with pytest.raises(Defect, match="relu: value 'a' is read before it is written"):
        liveness([Use("relu", ("a",), ("b",))], {"a": 1, "b": 1}, outputs=("b",))


def test_an_output_that_nothing_writes_is_refused() -> None:
    with pytest.raises(Defect, match="never written"):
        liveness([], {"y": 4}, outputs=("y",))


def test_circular_aliases_are_refused() -> None:
    with pytest.raises(Defect, match="alias of itself"):
        liveness([], {}, aliases={"a": "b", "b": "a"})


@st.composite
def schedules(draw: st.DrawFn) -> tuple[list[Use], dict[str, int]]:
    count = draw(st.integers(1, 12))
    names, sizes, steps = ["v0"], {"v0": draw(st.integers(1, 500))}, []
    for index in range(1, count + 1):
        reads = tuple(draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True)))
        name = f"v{index}"
        pairs = tuple((name, read) for read in reads) if draw(st.booleans()) else ()
        steps.append(Use(f"s{index}", reads, (name,), draw(st.integers(0, 300)), pairs))
        names.append(name)
        sizes[name] = draw(st.integers(1, 500))
    return steps, sizes


@settings(deadline=None, max_examples=100)
@given(schedules())
def test_running_a_planned_schedule_never_reads_overwritten_bytes(case: tuple[list[Use], dict[str, int]]) -> None:
    """Execute the schedule on an owner-tagged memory: whoever reads a value finds every byte of it intact."""
    steps, sizes = case
    output = steps[-1].writes[0]
    buffers = liveness(steps, sizes, inputs=("v0",), outputs=(output,))
    result = plan(buffers)
    prove(buffers, result.placements)
    memory = [""] * max(result.peak, 1)
    offsets = result.offsets

    def own(name: str, size: int) -> None:
        memory[offsets[name] : offsets[name] + size] = [name] * size

    def intact(name: str) -> bool:
        return memory[offsets[name] : offsets[name] + sizes[name]] == [name] * sizes[name]

    own("v0", sizes["v0"])
    for step in steps:
        scratch = f"{step.name}.scratch"
        if scratch in offsets:
            own(scratch, step.scratch)
        assert all(intact(name) for name in step.reads)
        own(step.writes[0], sizes[step.writes[0]])
    assert intact(output)
