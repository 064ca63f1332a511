"""Damaged .espdl files: each becomes an integer graph that runs, or is refused with its place and a remedy."""

from __future__ import annotations

import struct
import sys
from collections import Counter
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent.parent / "unit"))
from espdl_examples import examples
from espdl_files import container, flatbuffer, pack
from mutations import BYTE_MUTATIONS, FLOATS, INTEGERS, NAMES, Random, pick
from test_models import LARGEST_RUN, Hang, time_limit

from espgen.errors import EspgenError
from espgen.frontend import load
from espgen.interpret.integer import run_integer
from espgen.ops.registry import spec_of
from espgen.passes.pipeline import lower_to_integer

Place = tuple[Any, Any]


@cache
def bases() -> tuple[dict[str, Any], ...]:
    return tuple({"graph": file.graph(*outputs)} for file, outputs in examples().values())


@cache
def files() -> tuple[bytes, ...]:
    found = [container(flatbuffer(base)) for base in bases()]
    return (*found, pack({"one": found[0], "two": found[1]}))


def places(part: Any) -> list[Place]:
    """(container, key) of everything inside nested dicts and lists."""
    found: list[Place] = []
    waiting = [part]
    while waiting:
        item = waiting.pop()
        keys = list(item) if isinstance(item, dict) else range(len(item)) if isinstance(item, list) else ()
        for key in keys:
            found.append((item, key))
            waiting.append(item[key])
    return found


def said_wrong(base: dict[str, Any], rng: Random) -> bytes:
    """A well-formed file that says something else in one to three places."""
    root = deepcopy(base)
    for _ in range(int(rng.integers(1, 4))):
        found = places(root)
        holder, key = found[int(rng.integers(len(found)))]
        holder[key] = _other(holder[key], found, rng)
    return container(flatbuffer(root))


def _other(value: Any, found: list[Place], rng: Random) -> Any:
    if isinstance(value, bool | int | np.integer):
        return int(value) + int(rng.integers(-2, 3)) if rng.integers(2) else int(pick(rng, INTEGERS))  # type: ignore[call-overload]
    if isinstance(value, float):
        return pick(rng, FLOATS)
    if isinstance(value, str):
        names = [holder[key] for holder, key in found if isinstance(holder[key], str)]
        return pick(rng, names if rng.integers(4) else NAMES)
    if isinstance(value, bytes):
        return bytes(rng.integers(0, 256, len(value), np.uint8)) if rng.integers(2) else value[:-16]
    if isinstance(value, list | tuple):
        choice, items = int(rng.integers(4)), list(value)
        return [items[:-1], items * 2, items[::-1], []][choice]
    kept = dict(value)
    if kept:
        del kept[pick(rng, kept)]
    return kept


def damaged(case: int) -> bytes:
    rng = np.random.default_rng(case)
    if case % 2:
        try:
            return said_wrong(bases()[case // 2 % len(bases())], rng)
        except (struct.error, TypeError, OverflowError, ValueError, AttributeError, KeyError):
            pass  # no FlatBuffer can say it
    data = files()[case // 2 % len(files())]
    for _ in range(int(rng.integers(1, 3))):
        data = BYTE_MUTATIONS[int(rng.integers(len(BYTE_MUTATIONS)))](data, rng) or data
    return data


def attempt(case: int) -> str:
    """ "refused" or "read"; anything but an EspgenError with place and remedy propagates."""
    with time_limit():
        try:
            graph = lower_to_integer(load(damaged(case), member="two" if case % 7 == 0 else None))
            work = sum(spec_of(node.op).macs(node, graph) for node in graph.nodes)
            if work + sum(value.elements for value in graph.values.values()) <= LARGEST_RUN:
                rng = np.random.default_rng(case)
                shapes = [graph.value(name) for name in graph.inputs]
                limits = {item.name: (item.dtype.minimum, item.dtype.maximum + 1, item.shape) for item in shapes}
                run_integer(graph, {
                    item.name: rng.integers(*limits[item.name]).astype(item.dtype.numpy) for item in shapes
                })  # fmt: skip
        except EspgenError as error:
            assert error.message and error.hint, f"no remedy: {error}"
            assert error.node or error.place, f"no place: {error}"
            return "refused"
    return "read"


def _all(cases: range) -> Counter[str]:
    seen: Counter[str] = Counter()
    for case in cases:
        try:
            seen[attempt(case)] += 1
        except Hang:
            pytest.fail(f"case {case} takes too long")
        except Exception as error:
            raise AssertionError(f"case {case}: {type(error).__name__}: {error}") from error
    return seen


def test_some_files() -> None:
    seen = _all(range(400))
    assert seen["refused"] > 200 and seen["read"] > 20, seen


@pytest.mark.prove
def test_all_files() -> None:
    """10,000 damaged files, half of them well-formed FlatBuffers."""
    seen = _all(range(10_000))
    assert seen["refused"] > 5_000 and seen["read"] > 500, seen
