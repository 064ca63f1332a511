"""The simulator against a reference written from the documents, with neither simulator nor first reference seen.

Operands of level 2.2 that may be left out are left out in some records. What the documents leave open is not compared:
the lists below say what, and why.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from independent_reference import (
    DISPUTED,
    DONE,
    NOT_COVERED,
    NOT_SIMULATED,
    Records,
    build_independent_reference,
    records_with_operands,
    run_independently,
)
from numpy.typing import NDArray
from pie_reference_build import RECORD, blank_record, run_steps

from espgen.target.espv import Level
from espgen.target.isa import REGISTER_NUMBERS, Instruction, assemble_text, disassemble, instruction_table
from espgen.verify.simulator import build_simulator

FIELDS = [name for name in RECORD.names or () if name != "word"]
RECORDS_EACH = 16
MANY = 2000

ONE_RESULT = ("esp.srs.",)
"""Instructions without lanes, which need more records to meet every case."""

NOT_IN_THE_REFERENCE = ("esp.lp.", "esp.movx.r.perf", "esp.movx.w.perf", "esp.movx.r.fft", "esp.movx.w.fft")
"""Hardware loops and counters: no lanes to compare."""

NOT_VERIFIED = ("esp.vcmulas.", "esp.cmul.", "esp.fft.", "esp.vzipt.", "esp.vunzipt.", "esp.sat")
"""No source proves what they compute: the simulator stops on them."""

UNDEFINED_SHIFTS = ("esp.vsld.", "esp.vsrd.")
"""Direction, sign and amount of the shifts per lane are inferred, not documented."""

SECOND_REGISTER_OPEN = ("esp.srci.2q", "esp.srcxxp.2q")
"""Two sources: a shift of the pair, or one of the first register only."""

POINTER_OPEN = ("esp.stxq.32",)
"""That it keeps its pointer is concluded from ldxq.32."""

ONE_ORDER_ONLY = {"esp.src.q.qup": ("qz", "qw", "qy")}
"""Two registers written: the sources give no order where they, or a source, coincide."""

ALIGNED_INDEX = ("esp.ldxq.32", "esp.stxq.32")
"""What an index does to a base that is not aligned is written nowhere."""


def instructions(level: Level) -> Iterator[Instruction]:
    for name, instruction in instruction_table(level).items():
        if not name.startswith((*NOT_IN_THE_REFERENCE, *UNDEFINED_SHIFTS)):
            yield instruction


EACH = [(level, instruction.mnemonic) for level in Level for instruction in instructions(level)]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return build_independent_reference(tmp_path_factory.mktemp("independent"))


@pytest.fixture(scope="session")
def simulator() -> str:
    return str(build_simulator())


def _field(instruction: Instruction, operands: np.ndarray, name: str) -> np.ndarray:
    place = [operand.field for operand in instruction.required].index(name)
    values: np.ndarray = operands[:, place]
    return values


def _forget_what_is_open(instruction: Instruction, operands: np.ndarray, expected: Records, simulated: Records) -> None:
    """Take over from the simulator what no document says."""
    at = np.arange(len(expected))
    if instruction.mnemonic in SECOND_REGISTER_OPEN:
        register = _field(instruction, operands, "qw")
        expected["q"][at, register] = simulated["q"][at, register]
    if instruction.mnemonic in POINTER_OPEN:
        register = _field(instruction, operands, "rs1")
        expected["x"][at, register] = simulated["x"][at, register]


def _usable(instruction: Instruction, records: Records, operands: np.ndarray) -> np.ndarray:
    """Return which records mean one thing only."""
    usable = np.ones(len(records), bool)
    if names := ONE_ORDER_ONLY.get(instruction.mnemonic):
        one, *others = (_field(instruction, operands, name) for name in names)
        for other in others:
            usable &= one != other
    if instruction.mnemonic in ALIGNED_INDEX:
        pointer = _field(instruction, operands, "rs1")
        records["x"][np.arange(len(records)), pointer] &= np.uint32(0xFFFFFFFC)
    return usable


def _difference(level: Level, before: Records, simulated: Records, expected: Records, at: np.ndarray) -> str:
    """Say where the first record of ``at`` that differs does, or return ""."""
    for field in FIELDS:
        unequal = (simulated[field] != expected[field]).reshape(len(before), -1).any(axis=1) & at
        if unequal.any():
            first = int(np.flatnonzero(unequal)[0])
            record = before[first]
            return (
                f"{disassemble(int(record['word']), level)}: {field} of {int(unequal.sum())} of {int(at.sum())} records"
                f" differs; record {first}, cfg {int(record['cfg']):#x}, sar {int(record['sar'])}\n"
                f"  before    {record[field].tolist()}\n"
                f"  simulator {simulated[field][first].tolist()}\n"
                f"  documents {expected[field][first].tolist()}\n  q {record['q'].tolist()}"
            )
    return ""


@dataclass(frozen=True)
class Compared:
    """Records of one instruction, and what both sides made of them."""

    before: Records
    operands: NDArray[np.int32]
    optional: NDArray[np.int32]
    simulated: Records
    expected: Records
    outcomes: NDArray[np.int32]


def _compare(
    entries: list[Instruction], level: Level, count: int, seed: int, simulator: str, library: ctypes.CDLL, folder: Path
) -> dict[str, Compared]:
    """Run all records of several instructions in one go, by mnemonic."""
    counts = [count * (8 if entry.mnemonic.startswith(ONE_RESULT) else 1) for entry in entries]
    batches = [records_with_operands(entry, number, seed, level) for entry, number in zip(entries, counts, strict=True)]
    usable = [_usable(entry, batch[0], batch[1]) for entry, batch in zip(entries, batches, strict=True)]
    command = [simulator, "--espv", str(level.value), "--step"]
    after = run_steps(command, np.concatenate([batch[0] for batch in batches]), folder)
    simulated = np.split(after, np.cumsum(counts)[:-1])
    found: dict[str, Compared] = {}
    for entry, batch, result, good in zip(entries, batches, simulated, usable, strict=True):
        expected, outcomes = run_independently(library, entry.mnemonic, level, *batch)
        _forget_what_is_open(entry, batch[1], expected, result)
        outcomes[~good] = DISPUTED
        found[entry.mnemonic] = Compared(*batch, result, expected, outcomes)
    return found


def _check(level: Level, mnemonic: str, compared: Compared) -> None:
    outcomes = compared.outcomes
    assert not (outcomes == NOT_COVERED).any(), mnemonic
    computed = DONE in outcomes
    assert computed != mnemonic.startswith(NOT_VERIFIED), f"{mnemonic}: computed {computed}"
    stopped = compared.simulated["status"] != 0
    for outcome, must_stop in ((DONE, False), (NOT_SIMULATED, True)):
        wrong = (outcomes == outcome) & (stopped != must_stop)
        if wrong.any():
            word = int(compared.before["word"][np.flatnonzero(wrong)[0]])
            pytest.fail(f"{disassemble(word, level)}: stopped {not must_stop}, documents say {must_stop}")
    message = _difference(level, compared.before, compared.simulated, compared.expected, outcomes == DONE)
    assert not message, message


@pytest.fixture(scope="session")
def compared(simulator: str, library: ctypes.CDLL, tmp_path_factory: pytest.TempPathFactory) -> dict[Level, dict[str, Compared]]:
    folder = tmp_path_factory.mktemp("independent_steps")
    return {level: _compare(list(instructions(level)), level, RECORDS_EACH, 11, simulator, library, folder) for level in Level}


@pytest.mark.parametrize("level", Level)
def test_the_simulator_does_what_the_documents_say(level: Level, compared: dict[Level, dict[str, Compared]]) -> None:
    for mnemonic, result in compared[level].items():
        _check(level, mnemonic, result)


def _changes(library: ctypes.CDLL, mnemonic: str, case: Compared, place: int, one: int, other: int) -> bool:
    """Return whether two values of an optional operand give different results in some record."""
    results = []
    for value in (one, other):
        optional = case.optional.copy()
        optional[:, place] = value
        results.append(run_independently(library, mnemonic, Level.V22, case.before, case.operands, optional))
    (first, known), (second, also_known) = results
    return bool(((first != second) & (known == DONE) & (also_known == DONE)).any())


def test_the_records_tell_saturation_and_rounding_modes_apart(
    library: ctypes.CDLL, compared: dict[Level, dict[str, Compared]]
) -> None:
    """A simulator that ignored an operand, or took one mode for another, would be found out."""
    seen: dict[tuple[str, str, int, int], bool] = {}
    for mnemonic, case in compared[Level.V22].items():
        optional = instruction_table(Level.V22)[mnemonic].optional
        if not optional or mnemonic.startswith((*NOT_VERIFIED, "esp.vsr.", "esp.vsl.u32")):
            continue
        family, lanes = mnemonic.split(".")[1:3]
        for operand in optional:
            if operand.kind == "sat":
                assert _changes(library, mnemonic, case, 0, 0, 1), f"{mnemonic}: sat and trunc give the same"
                continue
            for one, other in combinations(range(7), 2):
                if lanes[0] == "u" and (one, other) in ((0, 3), (1, 2)):
                    continue  # down is toward zero, up is away from it
                pair = (family, lanes[0], one, other)
                seen[pair] = seen.get(pair, False) or _changes(library, mnemonic, case, 1, one, other)
    assert len(seen) > 100
    assert [pair for pair, apart in seen.items() if not apart] == []


def test_a_changed_byte_is_a_difference(compared: dict[Level, dict[str, Compared]]) -> None:
    case = compared[Level.V22]["esp.vadd.s8"]
    at = case.outcomes == DONE
    changed = case.simulated.copy()
    assert _difference(Level.V22, case.before, changed, case.expected, at) == ""
    changed["q"][2, 3, 4] ^= 1
    assert "record 2" in _difference(Level.V22, case.before, changed, case.expected, at)


MEASURED = [
    ("esp.vmul.s16 q2, q0, q1", {0: ("<i2", 200), 1: ("<i2", 200)}, ("<i2", 32767)),
    ("esp.vmul.s8 q2, q0, q1", {0: ("i1", -128), 1: ("i1", -1)}, ("i1", 127)),
    ("esp.vmul.u8 q2, q0, q1", {0: ("u1", 16), 1: ("u1", 16)}, ("u1", 255)),
    ("esp.vprelu.s8 q2, q0, q1, a0", {0: ("i1", -100), 1: ("i1", 2)}, ("i1", -128)),
    ("esp.vabs.8 q2, q0", {0: ("i1", -128)}, ("i1", 127)),
    ("esp.srcmb.s16.qacc q2, a0, 0", {}, ("<i2", -15536)),
    ("esp.vsadds.u8 q2, q0, a1", {0: ("u1", 5)}, ("u1", 6)),
]
"""Measured on chips before revision 3 (a0 = 0, a1 = 257, QACC lanes 50000): text, lanes before, lanes of q2."""


@pytest.mark.parametrize(("text", "q", "result"), MEASURED, ids=[row[0].split()[0] for row in MEASURED])
def test_what_was_measured_on_silicon(
    text: str, q: dict[int, tuple[str, int]], result: tuple[str, int], simulator: str, tmp_path: Path
) -> None:
    for level in Level:
        record = blank_record().copy()
        record["word"] = assemble_text(text, level)
        record["x"][0, REGISTER_NUMBERS["a1"]] = 257
        record["qacc"][0] = np.full(8, 50000, "<i8").view("u1")
        for number, (dtype, value) in q.items():
            record["q"][0, number] = np.full(16 // np.dtype(dtype).itemsize, value, dtype).view("u1")
        after = run_steps([simulator, "--espv", str(level.value), "--step"], record, tmp_path)
        assert set(after["q"][0, 2].view(result[0]).tolist()) == {result[1]}


@pytest.mark.prove
@pytest.mark.parametrize(("level", "mnemonic"), EACH)
def test_the_simulator_does_what_the_documents_say_on_many_records(
    level: Level, mnemonic: str, simulator: str, library: ctypes.CDLL, tmp_path: Path
) -> None:
    entry = instruction_table(level)[mnemonic]
    _check(level, mnemonic, _compare([entry], level, MANY, 12, simulator, library, tmp_path)[mnemonic])
