"""Every PIE instruction of both levels: the simulator's step against the C reference, byte for byte.

Both were written from the instruction table by different people; where they differ, one misread it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pie_records import records_for
from pie_reference_build import MEMORY_BASE, RECORD, RESULT, build_reference, run_steps

from espgen.target.espv import Level
from espgen.target.isa import decode, disassemble, encode, instruction_table
from espgen.verify.simulator import build_simulator

TABLES = {level: instruction_table(level) for level in Level}
VERIFIED = [(level, name) for level in Level for name, entry in TABLES[level].items() if entry.verified]
UNVERIFIED = {level: [name for name, entry in TABLES[level].items() if not entry.verified] for level in Level}
EACH = pytest.mark.parametrize(("level", "mnemonic"), VERIFIED, ids=lambda value: getattr(value, "version", value))
RECORDS_EACH = 240
FIELDS = [name for name in RECORD.names or () if name != "word"]

INVISIBLE = ("esp.lp.", "esp.movx.w.fft", "esp.movx.w.perf")
"""Instructions that change only state a step does not show."""


@pytest.fixture(scope="session")
def simulator() -> list[str]:
    return [str(build_simulator())]


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return [str(build_reference(tmp_path_factory.mktemp("pie_reference")))]


def _both(
    records: np.ndarray, simulator: list[str], reference: list[str], directory: Path, level: Level
) -> list[np.ndarray]:
    name = str(level.value)
    commands = ([*simulator, "--espv", name, "--step"], [*reference, name])
    return [run_steps(command, records, directory) for command in commands]


def _difference(before: np.ndarray, simulated: np.ndarray, expected: np.ndarray, level: Level = Level.V21) -> str:
    """Say where the first differing record of two results differs, or return ""."""
    same_status = simulated["status"] == expected["status"]
    done = (simulated["status"] == 0) & (expected["status"] == 0)
    differs = ~same_status
    for field in FIELDS:
        unequal = (simulated[field] != expected[field]).reshape(len(before), -1).any(axis=1)
        differs |= done & unequal
    if not differs.any():
        return ""
    at = int(np.flatnonzero(differs)[0])
    lines = [
        f"{disassemble(int(before['word'][at]), level)}: {int(differs.sum())} of {len(before)} records differ;"
        f" record {at}, cfg {int(before['cfg'][at]):#x}, sar {int(before['sar'][at])},"
        f" sar_byte {int(before['sar_byte'][at])}"
    ]
    for field in ("status", *FIELDS):
        if (simulated[field][at] != expected[field][at]).any():
            given = f", before {before[field][at].tolist()}" if field != "status" else ""
            got, want = simulated[field][at].tolist(), expected[field][at].tolist()
            lines.append(f"  {field}: simulator {got}, reference {want}{given}")
    return "\n".join(lines)


def _changed(before: np.ndarray, after: np.ndarray) -> int:
    """Return how many records an instruction changed."""
    unequal = [(before[field] != after[field]).reshape(len(before), -1).any(axis=1) for field in FIELDS]
    return int(np.logical_or.reduce(unequal).sum())


Outcome = dict[tuple[Level, str], tuple[np.ndarray, np.ndarray, np.ndarray]]


@pytest.fixture(scope="session")
def outcome(simulator: list[str], reference: list[str], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Run all instructions of a level at once: level, mnemonic -> (before, simulated, expected)."""
    found: Outcome = {}
    for level in Level:
        names = [name for of, name in VERIFIED if of is level]
        batches = [records_for(TABLES[level][name], RECORDS_EACH, seed=1, level=level) for name in names]
        folder = tmp_path_factory.mktemp("steps")
        both = _both(np.concatenate(batches), simulator, reference, folder, level)
        parts = [np.split(result, len(names)) for result in both]
        found.update(zip([(level, name) for name in names], zip(batches, *parts, strict=True), strict=True))
    return found


@EACH
def test_simulator_equals_reference(level: Level, mnemonic: str, outcome: Outcome) -> None:
    before, simulated, expected = outcome[level, mnemonic]
    if TABLES[level][mnemonic].proven == "always":
        assert (expected["status"] == 0).all(), f"{mnemonic}: a record leaves the memory"
    else:  # only some operands have a verified meaning
        assert 5 < int((expected["status"] == 0).sum()) < RECORDS_EACH - 5
    if not mnemonic.startswith(INVISIBLE):
        done = expected["status"] == 0
        assert _changed(before[done], expected[done]) > done.sum() // 2, f"{mnemonic}: the records show too little"
    assert not (message := _difference(before, simulated, expected, level)), message


@pytest.mark.prove
@EACH
def test_simulator_equals_reference_on_many_records(
    level: Level, mnemonic: str, simulator: list[str], reference: list[str], tmp_path: Path
) -> None:
    before = records_for(TABLES[level][mnemonic], 20 * RECORDS_EACH, seed=2, level=level)
    message = _difference(before, *_both(before, simulator, reference, tmp_path, level), level)
    assert not message, message


def test_saturation_and_rounding_show(outcome: Outcome) -> None:
    """Where a word of level 2.2 names them, both saturations and all eight rounding operands occur and change results."""
    for (level, mnemonic), (before, _, expected) in outcome.items():
        entry = TABLES[level][mnemonic]
        for operand in entry.optional:
            place = entry.operands.index(operand)
            found = [decode(int(word), level) for word in before["word"]]
            values = {item[1][place] for item in found if item is not None}
            assert values == set(range(operand.maximum + 1)), (mnemonic, operand.field)
        assert len(expected) == RECORDS_EACH


def _words(words: list[int]) -> np.ndarray:
    records = np.zeros(len(words), RECORD)
    records["word"] = words
    records["x"][:, 1:] = MEMORY_BASE + 64
    return records


@pytest.mark.parametrize("level", Level)
def test_both_stop_on_unverified_semantics(
    level: Level, simulator: list[str], reference: list[str], tmp_path: Path
) -> None:
    names = UNVERIFIED[level]
    words = [encode(name, [operand.minimum for operand in TABLES[level][name].operands], level) for name in names]
    if level is Level.V22:
        more = [("esp.vsl.u32", (0, 1)), ("esp.vsl.u32", (0, 1, "sat")), ("esp.vsr.s32", (0, 1, "rne"))]
        names = [*names, *(name for name, _ in more)]
        words += [encode(name, operands, level) for name, operands in more]
    simulated, expected = _both(_words(words), simulator, reference, tmp_path, level)
    assert (expected["status"] == 1).all()
    assert [name for name, status in zip(names, simulated["status"], strict=True) if status != 1] == []


def _in_table(word: int, level: Level) -> bool:
    return any(word & instruction.mask == instruction.match for instruction in TABLES[level].values())


@pytest.mark.parametrize("level", Level)
def test_both_stop_on_words_that_are_no_instruction(
    level: Level, simulator: list[str], reference: list[str], tmp_path: Path
) -> None:
    """Random words in PIE's opcode spaces, those that the table does not know."""
    opcodes = sorted({instruction.match & 0x7F for instruction in TABLES[level].values()} - {0x33})
    rng = np.random.default_rng(3)
    candidates = rng.integers(0, 2**25, 2000) << 7 | rng.choice(opcodes, 2000)
    words = [int(word) for word in candidates if not _in_table(int(word), level)]
    assert len(words) > 500
    simulated, expected = _both(_words(words), simulator, reference, tmp_path, level)
    assert (expected["status"] == 1).all()
    assert [hex(word) for word, status in zip(words, simulated["status"], strict=True) if status != 1] == []


@pytest.mark.parametrize("level", Level)
def test_both_stop_on_a_lane_the_register_does_not_have(
    level: Level, simulator: list[str], reference: list[str], tmp_path: Path
) -> None:
    """Selects of 16-bit lanes have fields of 4 bits, of which 8..15 name no lane."""
    words = []
    for instruction in TABLES[level].values():
        for place, operand in enumerate(instruction.operands):
            if operand.lanes:
                values = [o.minimum for o in instruction.operands]
                for lane in range(operand.lanes, operand.maximum + 1):
                    values[place] = lane
                    words.append(encode(instruction.mnemonic, values, level))
    assert len(words) == 8 * 6
    simulated, expected = _both(_words(words), simulator, reference, tmp_path, level)
    assert (expected["status"] == 1).all()
    assert [hex(word) for word, status in zip(words, simulated["status"], strict=True) if status != 1] == []


@pytest.mark.parametrize("level", Level)
def test_both_stop_on_an_address_without_memory(
    level: Level, simulator: list[str], reference: list[str], tmp_path: Path
) -> None:
    table = TABLES[level]
    verified = [name for of, name in VERIFIED if of is level]
    names = [name for name in verified if "rs1] " in table[name].semantics or "rs1 & " in table[name].semantics]
    assert len(names) > 80
    words = [encode(name, [o.minimum for o in table[name].operands], level) for name in names]
    records = _words(words)
    records["x"][:] = 0x10
    records["x"][:, 0] = 0
    simulated, expected = _both(records, simulator, reference, tmp_path, level)
    assert (expected["status"] == 1).all()
    assert [name for name, status in zip(names, simulated["status"], strict=True) if status != 1] == []


def test_the_comparison_sees_a_changed_byte(reference: list[str], tmp_path: Path) -> None:
    before = records_for(TABLES[Level.V21]["esp.vadd.s8"], 4, seed=1)
    expected = run_steps([*reference, "21"], before, tmp_path)
    changed = expected.copy()
    assert changed.dtype == RESULT
    assert _difference(before, changed, expected) == ""
    changed["q"][2][3][4] ^= 1
    assert "record 2" in _difference(before, changed, expected)
