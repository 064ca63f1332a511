"""Damaged .tflite files: each compiles to an integer graph, or is refused with a place and a remedy, in bounded time."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent.parent / "oracles"))
from mutations import BYTE_MUTATIONS, Random, pick
from tflite_cases import CASES, SEVERAL

from espgen import frontend
from espgen.errors import BAD_INPUT, EspgenError
from espgen.passes.pipeline import lower_to_integer

SECONDS = 20
"""For one file of a few kilobytes, on a busy machine."""

FILES = CASES | {f"{name}_{index}": data for name, data in SEVERAL.items() for index in range(6)}

_WORDS = (0, 1, 2, 3, 4, 8, 127, 255, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32 - 4)


def _word(data: bytes, rng: Random) -> bytes:
    """One aligned number, offset or length replaced: what most of a FlatBuffers file is made of."""
    start = 4 * int(rng.integers(len(data) // 4))
    word = int(pick(rng, _WORDS)) if rng.random() < 0.5 else int(rng.integers(0, 300))  # type: ignore[call-overload]
    return data[:start] + word.to_bytes(4, "little") + data[start + 4 :]


def _short(data: bytes, rng: Random) -> bytes:
    start = 2 * int(rng.integers(len(data) // 2))
    return data[:start] + int(rng.integers(0, 40)).to_bytes(2, "little") + data[start + 2 :]


def mutated(seed: int) -> bytes:
    """A .tflite file damaged in one to three places, its identifier kept."""
    rng = np.random.default_rng(seed)
    data = FILES[str(pick(rng, sorted(FILES)))]
    for _ in range(int(rng.integers(1, 4))):
        kind = rng.random()
        change = _word if kind < 0.5 else _short if kind < 0.7 else pick(rng, BYTE_MUTATIONS)
        data = change(data, rng) if len(data) > 8 else data  # type: ignore[operator]
    return data[:4] + b"TFL3" + data[8:]


def check(seeds: range) -> int:
    """How many were accepted."""
    accepted = 0
    for seed in seeds:
        content, start = mutated(seed), time.monotonic()
        try:
            lower_to_integer(frontend.load(content))
            accepted += 1
        except EspgenError as error:
            assert error.exit_code == BAD_INPUT, seed
            assert error.hint, (seed, str(error))
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
        assert time.monotonic() - start < SECONDS, seed
    return accepted


def test_damaged_files_are_refused_or_compile() -> None:
    accepted = check(range(400))
    assert 20 < accepted < 380  # the damage is neither nothing nor everything


@pytest.mark.prove
@pytest.mark.parametrize("part", range(10))
def test_ten_thousand_damaged_files_are_refused_or_compile(part: int) -> None:
    check(range(1000 * (part + 1), 1000 * (part + 2)))


def test_tables_that_all_point_to_one_another_come_to_an_end() -> None:
    """A vector whose entries are all the same table, which has such a vector again: the budget stops it."""
    data = bytearray(CASES["conv_same"])
    for seed in range(200):
        rng = np.random.default_rng(seed)
        start = 4 * int(rng.integers(len(data) // 4))
        data[start : start + 4] = (64).to_bytes(4, "little")
    begin = time.monotonic()
    with pytest.raises(EspgenError):
        frontend.load(bytes(data[:4]) + b"TFL3" + bytes(data[8:]))
    assert time.monotonic() - begin < SECONDS
