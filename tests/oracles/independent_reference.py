"""Build the independent C reference of the vector instructions and run records through it."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pie_records import records_for
from pie_reference_build import RECORD, host_c_compiler

from espgen.target.espv import DEFAULTS, KEYWORDS, Level
from espgen.target.isa import Instruction, decode, encode

HERE = Path(__file__).parent
SOURCES = ("independent_2p2.c", "independent_2p2_values.c", "independent_2p2_moves.c")
FLAGS = ("-std=c11", "-ffreestanding", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-shared", "-fPIC")
PLACES = 8

_WORDS = {kind: {value: word for word, value in names.items()} for kind, names in KEYWORDS.items()}

DONE, NOT_SIMULATED, DISPUTED, NOT_COVERED = range(4)
"""Outcomes: computed; without verified meaning; the documents contradict each other; not in this reference."""

Records = NDArray[np.void]


def build_independent_reference(directory: Path) -> ctypes.CDLL:
    """Compile the reference with the host's compiler and load it."""
    library = directory / "independent_2p2.so"
    sources = [str(HERE / name) for name in SOURCES]
    subprocess.run([*host_c_compiler(), *FLAGS, *sources, "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


def _values_that_round(rng: np.random.Generator, record: np.void, family: str, at: dict[str, int]) -> None:
    """Give half of the records a small shift, so that ties occur and results fit, and a quarter of some none."""
    narrowing = family in ("vmul", "vrelu", "vprelu")
    choice = rng.random()
    shift = int(rng.integers(1, 6)) if choice < 0.5 else 0
    if not shift and not (narrowing and choice < 0.75):
        return
    if "rs1" in at and family in ("vrelu", "vprelu", "srs", "srcmb"):
        record["x"][at["rs1"]] = record["x"][at["rs1"]] & 0xFFFFFFC0 | shift
    small = np.repeat(rng.integers(1, 6, 8), 2) * np.tile([1, rng.integers(0, 2)], 8)  # as lanes of 8 or of 16 bits
    if family == "srcmb" and "qw" in at:
        record["q"][at["qw"]] = small
    if family == "srs":
        record["xacc"] = int(rng.integers(-200, 200)) % 2**40
    if family == "vmul":
        record["sar"] = shift
    sign = int(rng.choice([-1, 1]))
    if shift and family in ("vmul", "vprelu"):
        record["q"][at["qx"]] = sign * small & 255
    if shift and family == "vrelu" and at["rs1"] != at["rs2"]:
        record["x"][at["rs2"]] = sign * int(small[0]) & 0xFFFFFFFF


def _values_that_saturate(rng: np.random.Generator, record: np.void, family: str, lanes: str, mnemonic: str) -> None:
    """Put the accumulator near an end of its range in most records of what adds to it."""
    if family not in ("vmulas", "vsmulas") or rng.random() < 0.3:
        return
    element = int(lanes[1:])
    bits, reach = (40, 18 if element == 8 else 33) if ".xacc" in mnemonic else (4 * element, 2 * element)
    distance = (2 ** rng.uniform(0, reach, 16)).astype("i8")
    top = 2 ** (bits - (lanes[0] == "s")) - 1  # behind it lies the lowest of a signed one
    ends = [top - int(d) if lanes[0] == "u" or rng.random() < 0.5 else top + 1 + int(d) for d in distance]
    if bits == 40:
        record["xacc"] = ends[0] % 2**40
    else:
        record["qacc"] = np.array(ends[: 512 // bits], "<u8").astype(f"<u{bits // 8}").view("u1")


def _keywords_left_out(rng: np.random.Generator, instruction: Instruction, values: tuple[int, ...]) -> list[int]:
    """Return the optional values of a record, some of them replaced by what leaving them out means."""
    given = values[len(instruction.required) :]
    return [
        DEFAULTS[operand.kind] if rng.random() < 0.25 else value
        for operand, value in zip(instruction.optional, given, strict=True)
    ]


def records_with_operands(
    instruction: Instruction, count: int, seed: int, level: Level
) -> tuple[Records, NDArray[np.int32], NDArray[np.int32]]:
    """Random records of one instruction for both sides.

    Returns:
        Records of dtype RECORD, whose words leave out an optional operand where it has its default; required operands
        in assembly order (count, PLACES); saturation and rounding (count, 2), the defaults where there is none.
    """
    rng = np.random.default_rng(seed)
    family, lanes = [*instruction.mnemonic.split("."), ""][1:3]
    records = records_for(instruction, count, seed, level)
    operands = np.zeros((count, PLACES), np.int32)
    optional = np.tile(np.array([DEFAULTS["sat"], DEFAULTS["rm"]], np.int32), (count, 1))
    for record, row, chosen in zip(records, operands, optional, strict=True):
        found = decode(int(record["word"]), level)
        assert found is not None and found[0] is instruction
        required = found[1][: len(instruction.required)]
        row[: len(required)] = required
        at = dict(zip((operand.field for operand in instruction.required), required, strict=True))
        _values_that_round(rng, record, family, at)
        _values_that_saturate(rng, record, family, lanes, instruction.mnemonic)
        written: list[int | str] = list(required)
        for operand, value in zip(instruction.optional, _keywords_left_out(rng, instruction, found[1]), strict=True):
            chosen[("sat", "rm").index(operand.kind)] = value
            if value != DEFAULTS[operand.kind] or rng.random() < 0.5:
                written.append(_WORDS[operand.kind][value])
        record["word"] = encode(instruction.mnemonic, written, level)
    return records, operands, optional


def run_independently(
    library: ctypes.CDLL,
    mnemonic: str,
    level: Level,
    records: Records,
    operands: NDArray[np.int32],
    optional: NDArray[np.int32],
) -> tuple[Records, NDArray[np.int32]]:
    """Return the records after the instruction, and the outcome of each."""
    after = records.copy()
    outcomes = np.full(len(records), NOT_COVERED, np.int32)
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (operands, optional, outcomes)]
    state_bytes = library.independent_run(
        after.ctypes.data_as(ctypes.c_void_p),
        ctypes.c_size_t(len(after)),
        mnemonic.encode(),
        ctypes.c_uint(level.value),
        *pointers,
    )
    assert state_bytes == RECORD.itemsize
    return after, outcomes
