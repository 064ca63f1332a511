"""Random and extreme records for one PIE instruction, kept to what its pseudo code defines."""

from __future__ import annotations

import zlib

import numpy as np
from pie_reference_build import MEMORY_BASE, MEMORY_BYTES, RECORD

from espgen.target.espv import Level
from espgen.target.isa import PIE_REACHABLE, Instruction, Operand, encode

EXTREMES_8 = np.array([0x00, 0x01, 0x7F, 0x80, 0x81, 0xFF, 0x40, 0xC0], "u1")
EXTREMES_16 = np.array([0x0000, 0x0001, 0x7FFF, 0x8000, 0x8001, 0xFFFF, 0x00FF, 0xFF80], "<u2")
EXTREMES_32 = np.array([0, 1, 2, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFFFFFF, 0x7FFF, 0xFFFF8000, 0x80, 0xFFFFFF7F], "<u4")
EXTREMES_64 = np.array(
    [0, 1, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1, 2**31, 2**64 - 2**31, 0x8000, 2**64 - 0x8001, 3 << 40],
    "<u8",
)
EXTREMES_40 = np.array([0, 1, 2**39 - 1, 2**39, 2**39 + 1, 2**40 - 1, 2**31, 2**31 - 1, 2**40 - 2**31], "<u8")
ROUNDING_MODES = 7

# Two results in one register: the sources give no order for these, so the operands are kept apart.
DISTINCT_RESULTS: dict[str, tuple[str, str]] = {
    "vext": ("qz", "qv"),
    "vzip": ("qx", "qy"),
    "vunzip": ("qx", "qy"),
    "slci": ("qy", "qw"),
    "srci": ("qy", "qw"),
    "slcxxp": ("qy", "qw"),
    "srcxxp": ("qy", "qw"),
    "vldext": ("qu", "qz"),
    "vldhbc": ("qu", "qz"),
}
WIDENING = ("esp.vmul.s16.s8xs8", "esp.vmul.s32.s16xs16")


def _pick_rows(rng: np.random.Generator, pools: list[np.ndarray], weights: list[float]) -> np.ndarray:
    """Take every row from one of several arrays of bytes of the same shape (count, width)."""
    choice = rng.choice(len(pools), len(pools[0]), p=weights)
    return np.stack(pools)[choice, np.arange(len(choice))]


def _mixed(rng: np.random.Generator, count: int, width: int) -> np.ndarray:
    """Rows of bytes: random, extremes of 8-, 16- or 32-bit lanes, or small values."""
    pools = [
        rng.integers(0, 256, (count, width), dtype=np.uint8),
        rng.choice(EXTREMES_8, (count, width)),
        rng.choice(EXTREMES_16, (count, width // 2)).view("u1"),
        rng.choice(EXTREMES_32, (count, width // 4)).view("u1"),
        rng.integers(-4, 5, (count, width)).astype("i1").view("u1"),
    ]
    return _pick_rows(rng, pools, [0.4, 0.2, 0.15, 0.15, 0.1])


def _accumulators(rng: np.random.Generator, count: int) -> np.ndarray:
    """Rows of 64 bytes: random lanes, lanes at and near the ends of their ranges, lanes that are ties of a shift."""
    narrow, wide = (count, 16), (count, 8)
    near_32 = rng.choice(EXTREMES_32, narrow) + rng.integers(-20000, 20000, narrow).astype("<i4").view("<u4")
    near_64 = rng.choice(EXTREMES_64, wide) + rng.integers(-(2**31), 2**31, wide).astype("<i8").view("<u8")
    ties_32 = (rng.integers(-512, 512, narrow) * 2 + 1) << rng.integers(0, 20, narrow)
    ties_64 = (rng.integers(-512, 512, wide) * 2 + 1) << rng.integers(0, 50, wide)
    pools = [
        rng.integers(0, 256, (count, 64), dtype=np.uint8),
        near_32.astype("<u4").view("u1"),
        near_64.astype("<u8").view("u1"),
        rng.choice(EXTREMES_32, narrow).view("u1"),
        rng.choice(EXTREMES_64, wide).view("u1"),
        ties_32.astype("<i4").view("u1"),
        ties_64.astype("<i8").view("u1"),
    ]
    return _pick_rows(rng, pools, [1 / len(pools)] * len(pools))


def _integer_registers(rng: np.random.Generator, count: int) -> np.ndarray:
    shape = (count, 32)
    values = rng.integers(0, 2**32, shape, dtype=np.uint64).astype("<u4")
    values = np.where(rng.random(shape) < 0.4, rng.integers(-40, 70, shape).astype("<i4").view("<u4"), values)
    values = np.where(rng.random(shape) < 0.2, rng.choice(EXTREMES_32, shape), values)
    values[:, 0] = 0
    return values


def random_states(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return records of dtype RECORD with every field but the word filled in."""
    records = np.zeros(count, RECORD)
    records["x"] = _integer_registers(rng, count)
    records["q"] = _mixed(rng, count * 8, 16).reshape(count, 8, 16)
    records["qacc"] = _accumulators(rng, count)
    anywhere = np.where(rng.random(count) < 0.5, rng.integers(0, 2**40, count), rng.choice(EXTREMES_40, count))
    records["xacc"] = (anywhere.astype("i8") + rng.integers(-300000, 300000, count)) % 2**40
    records["sar"] = np.where(rng.random(count) < 0.3, rng.integers(0, 64, count), rng.integers(0, 17, count))
    records["sar_byte"] = rng.integers(0, 16, count)
    records["cfg"] = rng.integers(0, ROUNDING_MODES, count) << 4 | rng.integers(0, 4, count)
    records["ua_state"] = rng.integers(0, 256, (count, 16))
    records["mem"] = _mixed(rng, count, MEMORY_BYTES)
    return records


def _operand_value(rng: np.random.Generator, operand: Operand) -> int:
    if operand.kind == "x_pie":
        return int(rng.choice(sorted(PIE_REACHABLE)))
    highest = operand.names_a_lane[-1] if operand.lanes else operand.maximum
    ends = (operand.minimum, highest)
    if not operand.is_register and rng.random() < 0.2:
        return int(rng.choice(ends)) // operand.step * operand.step
    return int(rng.integers(operand.minimum // operand.step, highest // operand.step + 1)) * operand.step


def _operands(rng: np.random.Generator, instruction: Instruction) -> dict[str, int]:
    family = instruction.mnemonic.split(".")[1]
    distinct = ("qz", "qv") if instruction.mnemonic in WIDENING else DISTINCT_RESULTS.get(family)
    while True:
        values = {operand.field: _operand_value(rng, operand) for operand in instruction.operands}
        if distinct is None or values[distinct[0]] != values[distinct[1]]:
            return values


def touches_memory(instruction: Instruction) -> bool:
    """Return whether the instruction loads or stores at rs1."""
    return "mem" in instruction.semantics or "element at rs1" in instruction.semantics


def records_for(instruction: Instruction, count: int, seed: int, level: Level = Level.V21) -> np.ndarray:
    """Return ``count`` records of dtype RECORD that execute the instruction of a level inside the memory window.

    Operands are random, those of level 2.2 that may be left out (saturation and rounding) as well.
    """
    rng = np.random.default_rng([seed, zlib.crc32(instruction.mnemonic.encode())])
    records = random_states(rng, count)
    for record in records:
        values = _operands(rng, instruction)
        record["word"] = encode(instruction.mnemonic, list(values.values()), level)
        if touches_memory(instruction):
            _aim(rng, record, instruction, values)
        if instruction.mnemonic == "esp.movx.w.cfg":  # only the bits that have a name
            record["x"][values["rs1"]] &= 0x1FF
    return records


def _aim(rng: np.random.Generator, record: np.ndarray, instruction: Instruction, values: dict[str, int]) -> None:
    """Point rs1 where the access stays inside the memory, at any alignment."""
    last = MEMORY_BYTES - 16
    if instruction.mnemonic in ("esp.ldxq.32", "esp.stxq.32"):
        index = int(rng.integers(0, 32))
        select = instruction.required[-1].field
        record["q"][values["qw"]].view("<u2")[values[select]] = index
        last -= index * 4
    record["x"][values["rs1"]] = MEMORY_BASE + int(rng.integers(0, last + 1))
