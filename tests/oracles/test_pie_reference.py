"""The C reference of the PIE instructions against cases worked out by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pie_reference_build import MEMORY_BASE, blank_record, build_reference, run_steps

from espgen.target.espv import ROUNDING, Level
from espgen.target.isa import REGISTER_NUMBERS, assemble_text

Step = Callable[..., Any]
S8, U8, S16, U16, S32, U32, S64, U64 = "<i1", "<u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8"
M = MEMORY_BASE


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_reference(tmp_path_factory.mktemp("pie_reference"))


@pytest.fixture
def step(reference: Path, tmp_path: Path) -> Step:
    """Execute one line of assembly; q, qacc and mem are given as (dtype, values)."""

    def run(
        text: str,
        *,
        x: Mapping[str, int] | None = None,
        q: Mapping[int, tuple[str, Sequence[int]]] | None = None,
        qacc: tuple[str, Sequence[int]] | None = None,
        mem: Sequence[int] | None = None,
        mode: int = 0,
        level: Level = Level.V21,
        **fields: int,
    ) -> Any:
        records = blank_record().copy()
        record = records[0]
        record["word"] = assemble_text(text, level)
        record["cfg"] = mode << 4
        for name, value in (x or {}).items():
            record["x"][REGISTER_NUMBERS[name]] = value & 0xFFFFFFFF
        for number, (dtype, values) in (q or {}).items():
            record["q"][number] = np.resize(np.array(values, dtype), 16 // np.dtype(dtype).itemsize).view("u1")
        if qacc:
            record["qacc"] = np.resize(np.array(qacc[1], qacc[0]), 64 // np.dtype(qacc[0]).itemsize).view("u1")
        if mem is not None:
            record["mem"][: len(mem)] = mem
        for name, value in fields.items():
            record[name] = value
        return run_steps([str(reference), str(level.value)], records, tmp_path)[0]

    return run


def lanes(data: np.ndarray, dtype: str) -> list[int]:
    return [int(v) for v in np.ascontiguousarray(data).view(dtype)]


def x_of(result: Any, name: str) -> int:
    return int(result["x"][REGISTER_NUMBERS[name]])


COUNT16 = list(range(16))


def test_mac_s8_multiplies_lane_by_lane_and_saturates(step: Step) -> None:
    result = step(
        "esp.vmulas.s8.qacc q1, q2",
        q={1: (S8, [-128]), 2: (S8, [-128, 127])},
        qacc=(S32, [2**31 - 10, -(2**31), 5, 7]),
    )
    assert result["status"] == 0
    expected = [2**31 - 1, -(2**31), 5 + 16384, 7 - 16256]
    assert lanes(result["qacc"], S32) == expected * 4


def test_mac_u8_saturates_at_the_top_of_u32(step: Step) -> None:
    result = step(
        "esp.vmulas.u8.qacc q1, q2",
        q={1: (U8, [255]), 2: (U8, [255])},
        qacc=(U32, [2**32 - 65026, 2**32 - 5]),
    )
    assert lanes(result["qacc"], U32) == [2**32 - 1, 2**32 - 1] * 8


def test_mac_s16_has_lanes_of_64_bits(step: Step) -> None:
    result = step(
        "esp.vmulas.s16.qacc q1, q2",
        q={1: (S16, [-32768]), 2: (S16, [-32768, 32767])},
        qacc=(S64, [2**63 - 1, -(2**63), 1, -1]),
    )
    assert lanes(result["qacc"], S64) == [2**63 - 1, -(2**63), 1 + 2**30, -1 - 32768 * 32767] * 2


def test_mac_into_xacc_saturates_to_40_bits(step: Step) -> None:
    products = {1: (S8, [127]), 2: (S8, [127])}
    total = 16 * 127 * 127
    assert step("esp.vmulas.s8.xacc q1, q2", q=products)["xacc"] == total
    assert step("esp.vmulas.s8.xacc q1, q2", q=products, xacc=2**39 - total)["xacc"] == 2**39 - 1
    assert step("esp.vmulas.s8.xacc q1, q2", q=products, xacc=2**40 - 1)["xacc"] == total - 1
    assert step("esp.vmulas.u8.xacc q1, q2", q=products, xacc=2**40 - total)["xacc"] == 2**40 - 1


def test_vsmulas_takes_one_lane_and_loads_after_reading(step: Step) -> None:
    result = step(
        "esp.vsmulas.s8.qacc.ld.incp q1, a0, q1, q0, 3",
        x={"a0": M + 21},
        q={1: (S8, [1, -2]), 0: (S8, [9, 9, 9, -5, 9])},
        mem=range(64),
    )
    assert lanes(result["qacc"], S32) == [-5, 10] * 8
    assert lanes(result["q"][1], U8) == list(range(16, 32))
    assert x_of(result, "a0") == M + 37


def test_fused_store_writes_the_value_from_before(step: Step) -> None:
    result = step(
        "esp.vadd.s8.st.incp q1, a0, q1, q2, q3",
        x={"a0": M + 32},
        q={1: (S8, [7]), 2: (S8, [100, -100]), 3: (S8, [100, -100])},
    )
    assert lanes(result["q"][1], S8) == [127, -128] * 8
    assert list(result["mem"][32:48]) == [7] * 16
    assert x_of(result, "a0") == M + 48


def test_broadcast_load_of_a_mac(step: Step) -> None:
    result = step("esp.vmulas.s16.qacc.ldbc.incp q1, a0, q2, q3", x={"a0": M + 7}, mem=range(16))
    assert lanes(result["q"][1], U8) == [6, 7] * 8
    assert x_of(result, "a0") == M + 9


@pytest.mark.parametrize(
    ("mode", "expected"),
    [  # -7/2 -6/2 -5/2 ... of the lanes below; halves decide the modes apart
        (0, [-4, -3, -3, -2, 1, 2, 3, 3]),
        (1, [-3, -3, -2, -1, 2, 3, 3, 4]),
        (2, [-4, -3, -3, -2, 2, 3, 3, 4]),
        (3, [-3, -3, -2, -1, 1, 2, 3, 3]),
        (4, [-4, -3, -3, -2, 2, 3, 3, 4]),
        (5, [-3, -3, -2, -1, 1, 2, 3, 3]),
        (6, [-4, -3, -2, -2, 2, 2, 3, 4]),
    ],
)
def test_seven_rounding_modes(step: Step, mode: int, expected: list[int]) -> None:
    values = [-7, -6, -5, -3, 3, 5, 6, 7]
    result = step("esp.srcmb.s8.qacc q0, a0, 1", x={"a0": 1}, qacc=(S32, values), mode=mode)
    assert lanes(result["q"][0], S8) == expected * 2
    assert lanes(result["qacc"], S32) == expected * 2  # the shifted value is written back


@pytest.mark.parametrize(("mode", "expected"), [(4, [0, 1, 1, 2]), (5, [0, 0, 1, 1]), (6, [0, 0, 1, 2])])
def test_rounding_of_unsigned_accumulators(step: Step, mode: int, expected: list[int]) -> None:
    result = step("esp.srcmb.u8.qacc q0, a0, 1", x={"a0": 2}, qacc=(U32, [1, 2, 3, 6]), mode=mode)
    assert lanes(result["q"][0], U8) == expected * 4


def test_srcmb_select_saturates_or_wraps(step: Step) -> None:
    qacc = (S32, [200, -200, 256, 127])
    assert lanes(step("esp.srcmb.s8.qacc q0, a0, 1", qacc=qacc)["q"][0], S8) == [127, -128, 127, 127] * 4
    assert lanes(step("esp.srcmb.s8.qacc q0, a0, 0", qacc=qacc)["q"][0], S8) == [-56, 56, 0, 127] * 4


def test_srcmb_shifts_of_32_and_more(step: Step) -> None:
    qacc = (S32, [2**31 - 1, -(2**31), 0, -1])
    nearest = step("esp.srcmb.s8.qacc q0, a0, 1", x={"a0": 40}, qacc=qacc, mode=6)
    assert lanes(nearest["q"][0], S8) == [0] * 16
    half = step("esp.srcmb.s8.qacc q0, a0, 1", x={"a0": 32}, qacc=qacc, mode=4)
    assert lanes(half["q"][0], S8) == [0, -1, 0, 0] * 4
    floor = step("esp.srcmb.s8.qacc q0, a0, 1", x={"a0": 63}, qacc=qacc, mode=0)
    assert lanes(floor["q"][0], S8) == [0, -1, 0, -1] * 4


def test_srcmb_with_a_shift_per_lane(step: Step) -> None:
    result = step("esp.srcmb.s16.q.qacc q0, q1, 1", q={1: (U16, [0, 4, 8, 36])}, qacc=(S64, [2**36]), mode=6)
    assert lanes(result["q"][0], S16) == [32767, 32767, 32767, 1] * 2
    assert lanes(result["qacc"], S64) == [2**36, 2**32, 2**28, 1] * 2


def test_srs_rounds_saturates_and_writes_back(step: Step) -> None:
    result = step("esp.srs.s.xacc a0, a1", x={"a1": 1}, xacc=2**40 - 3, mode=6)  # -3 / 2 = -1.5 -> -2
    assert x_of(result, "a0") == 2**32 - 2
    assert result["xacc"] == 2**40 - 2
    assert x_of(step("esp.srs.s.xacc a0, a1", xacc=2**38), "a0") == 2**31 - 1
    assert x_of(step("esp.srs.u.xacc a0, a1", xacc=2**39), "a0") == 2**32 - 1
    assert x_of(step("esp.srs.u.xacc a0, a1", x={"a1": 8}, xacc=2**39 + 128, mode=4), "a0") == 2**31 + 1


def test_loads_drop_low_bits_unless_cfg_keeps_them(step: Step) -> None:
    pointer = {"a0": M + 19}
    aligned = step("esp.vld.128.ip q0, a0, -16", x=pointer, mem=range(64))
    assert lanes(aligned["q"][0], U8) == list(range(16, 32))
    assert x_of(aligned, "a0") == M + 3
    unaligned = step("esp.vld.128.ip q0, a0, -16", x=pointer, mem=range(64), cfg=2)
    assert lanes(unaligned["q"][0], U8) == list(range(19, 35))
    usar = step("esp.ld.128.usar.ip q0, a0, 16", x=pointer, mem=range(64), cfg=2)
    assert lanes(usar["q"][0], U8) == list(range(16, 32))
    assert usar["sar_byte"] == 3
    half = step("esp.vld.h.64.ip q0, a0, 8", x=pointer, mem=range(64), q={0: (U8, [9])})
    assert lanes(half["q"][0], U8) == [9] * 8 + list(range(16, 24))


def test_stores_obey_their_own_bit(step: Step) -> None:
    pointer, q = {"a0": M + 19, "a1": 100}, {0: (U8, [255])}
    assert np.flatnonzero(step("esp.vst.128.xp q0, a0, a1", x=pointer, q=q, cfg=2)["mem"])[0] == 16
    unaligned = step("esp.vst.128.xp q0, a0, a1", x=pointer, q=q, cfg=1)
    assert np.flatnonzero(unaligned["mem"])[0] == 19
    assert x_of(unaligned, "a0") == M + 119


def test_unaligned_read_by_usar_and_src_q(step: Step) -> None:
    pair = {1: (U8, COUNT16), 2: (U8, list(range(16, 32)))}
    assert lanes(step("esp.src.q q0, q1, q2", q=pair, sar_byte=3)["q"][0], U8) == list(range(3, 19))
    qup = step("esp.src.q.qup q0, q1, q2", q=pair, sar_byte=15)
    assert lanes(qup["q"][0], U8) == list(range(15, 31))
    assert lanes(qup["q"][1], U8) == list(range(16, 32))
    fused = step("esp.src.q.ld.ip q0, a0, 16, q1, q2", q=pair, sar_byte=1, x={"a0": M}, mem=[5] * 16)
    assert lanes(fused["q"][0], U8) == [5] * 16
    assert lanes(fused["q"][1], U8) == list(range(1, 17))


def test_byte_shifts_of_a_pair(step: Step) -> None:
    pair = {0: (U8, list(range(1, 17))), 1: (U8, list(range(17, 33)))}
    left = step("esp.slci.2q q1, q0, 1", q=pair)
    assert lanes(left["q"][0], U8) == [0, 0, *range(1, 15)]
    assert lanes(left["q"][1], U8) == list(range(15, 31))
    right = step("esp.srcxxp.2q q1, q0, a0, a1", q=pair, x={"a0": 0x12, "a1": 5})
    assert lanes(right["q"][0], U8) == list(range(4, 20))
    assert lanes(right["q"][1], U8) == [*range(20, 33), 0, 0, 0]
    assert x_of(right, "a0") == 0x17


def test_quarters_of_qacc(step: Step) -> None:
    qacc = (S32, COUNT16)
    for quarter, name in enumerate(("l.l", "l.h", "h.l", "h.h")):
        stored = step(f"esp.st.qacc.{name}.128.ip a0, 16", x={"a0": M}, qacc=qacc)
        assert lanes(stored["mem"][:16], S32) == COUNT16[4 * quarter : 4 * quarter + 4]
        loaded = step(f"esp.ld.qacc.{name}.128.ip a0, 16", x={"a0": M}, mem=[1] * 16)
        assert np.flatnonzero(loaded["qacc"]).tolist() == list(range(16 * quarter, 16 * quarter + 16))


def test_vmul_saturates_after_the_shift(step: Step) -> None:
    q = {1: (S8, [100, -100, 3]), 2: (S8, [100, 100, -1])}
    result = step("esp.vmul.s8 q0, q1, q2", q=q, sar=1, mode=6)
    assert lanes(result["q"][0], S8)[:3] == [127, -128, -2]  # 5000 and -5000 do not fit; -1.5 to even
    low = step("esp.vmul.s8 q0, q1, q2, trunc, rne", q=q, sar=1, level=Level.V22)
    assert lanes(low["q"][0], S8)[:3] == [-120, 120, -2]  # 5000 and -5000 mod 256
    q200 = {1: (S16, [200, -200]), 2: (S16, [200])}  # measured on silicon before revision 3
    assert lanes(step("esp.vmul.s16 q0, q1, q2", q=q200)["q"][0], S16)[:2] == [32767, -32768]
    assert lanes(step("esp.vmul.u8 q0, q1, q1", q={1: (U8, [16])})["q"][0], U8)[0] == 255
    wide = step("esp.vmul.s16.s8xs8 q3, q4, q1, q2", q=q, sar=0)
    assert lanes(wide["q"][3], S16)[:3] == [10000, -10000, -3]
    assert lanes(wide["q"][4], S16)[:2] == [-3, 10000]  # lanes 8 and 9 of the repeating triple


def test_arithmetic_saturates(step: Step) -> None:
    q = {1: (S16, [32767, -32768]), 2: (S16, [1, -1])}
    assert lanes(step("esp.vadd.s16 q0, q1, q2", q=q)["q"][0], S16) == [32767, -32768] * 4
    assert lanes(step("esp.vsub.u16 q0, q2, q1", q=q)["q"][0], U16) == [0, 32767] * 4
    assert lanes(step("esp.vsadds.s8 q0, q1, a0", q={1: (S8, [100, -100])}, x={"a0": 0x150})["q"][0], S8) == [127, -20] * 8
    assert lanes(step("esp.vssubs.u8 q0, q1, a0", q={1: (U8, [100, 200])}, x={"a0": 150})["q"][0], U8) == [0, 50] * 8


def test_clamps(step: Step) -> None:
    q = {1: (S16, [300, -300, 127, -128])}
    assert lanes(step("esp.vclamp.s16 q0, q1, 7", q=q)["q"][0], S16) == [127, -128, 127, -128] * 2
    assert lanes(step("esp.vclamp.s16 q0, q1, 15", q=q)["q"][0], S16) == [300, -300, 127, -128] * 2
    for low, high in (("a0", "a1"), ("a1", "a0")):
        result = step(f"esp.vsat.s16 q0, q1, {low}, {high}", q=q, x={"a0": -5, "a1": 126})
        assert lanes(result["q"][0], S16) == [126, -5, 126, -5] * 2


def test_activations(step: Step) -> None:
    q = {0: (S8, [-128, -3, 0, 5]), 1: (S8, [2])}
    assert lanes(step("esp.vrelu.s8 q0, a0, a1", q=q)["q"][0], S8) == [0, 0, 0, 5] * 4
    leaky = step("esp.vrelu.s8 q0, a0, a1", q=q, x={"a0": 1, "a1": 1}, mode=6)
    assert lanes(leaky["q"][0], S8) == [-64, -2, 0, 5] * 4
    per_lane = step("esp.vprelu.s8 q2, q0, q1, a1", q=q, x={"a1": 2}, mode=0)
    assert lanes(per_lane["q"][2], S8) == [-64, -2, 0, 5] * 4


def test_layout_changes(step: Step) -> None:
    q = {0: (U8, COUNT16), 1: (U8, list(range(16, 32)))}
    zipped = step("esp.vzip.16 q0, q1", q=q)
    assert lanes(zipped["q"][0], U8) == [0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23]
    assert lanes(zipped["q"][1], U8) == [8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31]
    unzipped = step("esp.vunzip.8 q0, q1", q=q)
    assert lanes(unzipped["q"][0], U8) == list(range(0, 32, 2))
    assert lanes(unzipped["q"][1], U8) == list(range(1, 32, 2))
    extended = step("esp.vext.s8 q2, q3, q0", q={0: (S8, [*range(-8, 0), *range(1, 9)])})
    assert lanes(extended["q"][2], S16) == list(range(-8, 0))
    assert lanes(extended["q"][3], S16) == list(range(1, 9))
    loaded = step("esp.vldext.u16.ip q2, q3, a0, 16", x={"a0": M}, mem=[255] * 16)
    assert lanes(loaded["q"][2], U32) == lanes(loaded["q"][3], U32) == [65535] * 4
    doubled = step("esp.vldhbc.16.incp q2, q3, a0", x={"a0": M}, mem=COUNT16)
    assert lanes(doubled["q"][2], U8) == [0, 1, 0, 1, 2, 3, 2, 3, 4, 5, 4, 5, 6, 7, 6, 7]
    assert lanes(doubled["q"][3], U8)[:4] == [8, 9, 8, 9]


def test_indexed_words_keep_the_pointer(step: Step) -> None:
    q = {1: (U16, [0, 0, 0, 5]), 0: (U32, [1, 2, 3, 4])}
    loaded = step("esp.ldxq.32 q0, q1, a0, 2, 3", x={"a0": M + 4}, q=q, mem=range(64))
    assert lanes(loaded["q"][0], U32) == [1, 2, 0x1B1A1918, 4]
    assert x_of(loaded, "a0") == M + 4
    stored = step("esp.stxq.32 q0, q1, a0, 3, 3", x={"a0": M + 4}, q=q)
    assert np.flatnonzero(stored["mem"]).tolist() == [24]


def test_scalar_and_special_registers(step: Step) -> None:
    regs = {"a0": 10, "a1": 3, "t0": 7}
    assert x_of(step("esp.addx4 t0, a0, a1", x=regs), "t0") == 22
    assert x_of(step("esp.subx2 t0, a0, t0", x=regs), "t0") == 2**32 - 4
    assert step("esp.addx2 zero, a0, a1", x=regs)["x"][0] == 0
    assert step("esp.movx.w.sar a0", x={"a0": 0xFF})["sar"] == 63
    assert step("esp.movx.w.sar.bytes a0", x={"a0": 0xFF})["sar_byte"] == 15
    assert step("esp.movx.w.xacc.h a0", x={"a0": 0x1FF}, xacc=5)["xacc"] == 0xFF00000005
    assert x_of(step("esp.movx.r.xacc.h a0", xacc=0xFF00000005), "a0") == 0xFF
    assert x_of(step("esp.movi.8.a q0, a0, 2", q={0: (U8, [1, 2, 0x80])}), "a0") == 0xFFFFFF80
    assert lanes(step("esp.movi.16.q q0, a0, 7", x={"a0": 0x12345})["q"][0], U16) == [0] * 7 + [0x2345]
    assert x_of(step("esp.max.u8.a q0, a0", q={0: (U8, [3, 200])}), "a0") == 200
    assert x_of(step("esp.min.s8.a q0, a0", q={0: (U8, [3, 200])}), "a0") == 2**32 - 56


def test_xacc_in_memory(step: Step) -> None:
    assert lanes(step("esp.st.s.xacc.ip a0, 8", x={"a0": M}, xacc=2**40 - 2)["mem"][:8], S64) == [-2]
    assert lanes(step("esp.st.u.xacc.ip a0, 8", x={"a0": M}, xacc=2**40 - 2)["mem"][:8], S64) == [2**40 - 2]
    assert step("esp.ld.xacc.ip a0, 8", x={"a0": M}, mem=[255] * 8)["xacc"] == 2**40 - 1


@pytest.mark.parametrize(
    "text",
    [
        "esp.vcmulas.s8.qacc.l q0, q1",
        "esp.cmul.s16 q0, q1, q2, 0",
        "esp.fft.bitrev q0, a0",
        "esp.vzipt.8 q0, q1, q2",
        "esp.vunzipt.16 q0, q1, q2",
        "esp.sat a0, a1, a2",
        "esp.vsld.8 q0, q1, q2",
        "esp.vsrd.32 q0, q1, q2",
        "esp.vld.128.ip q0, a0, 16",  # a0 = 0 is outside the memory
    ],
)
def test_it_stops_where_semantics_or_memory_are_missing(step: Step, text: str) -> None:
    assert step(text)["status"] == 1


V22 = Level.V22


@pytest.mark.parametrize(
    ("mode", "results"),  # of -7/4, -6/4, -5/4, 5/4, 6/4, 7/4
    [
        ("rdn", [-2, -2, -2, 1, 1, 1]),
        ("rup", [-1, -1, -1, 2, 2, 2]),
        ("raz", [-2, -2, -2, 2, 2, 2]),
        ("rtz", [-1, -1, -1, 1, 1, 1]),
        ("rhaz", [-2, -2, -1, 1, 2, 2]),
        ("rhtz", [-2, -1, -1, 1, 1, 2]),
        ("rne", [-2, -2, -1, 1, 2, 2]),
    ],
)
def test_a_named_rounding_mode_goes_before_that_of_cfg(mode: str, results: list[int], step: Step) -> None:
    values = [-7, -6, -5, 5, 6, 7, 0, 0]
    for other in (0, 1, 6):
        named = step(f"esp.srcmb.s16.qacc q0, a0, sat, {mode}", x={"a0": 2}, qacc=(S64, values), mode=other, level=V22)
        assert lanes(named["q"][0], S16)[:6] == results
    by_cfg = step("esp.srcmb.s16.qacc q0, a0", x={"a0": 2}, qacc=(S64, values), mode=ROUNDING[mode], level=V22)
    assert lanes(by_cfg["q"][0], S16)[:6] == results
    q = {1: (S16, values), 2: (S16, [1])}
    assert lanes(step(f"esp.vmul.s16 q0, q1, q2, sat, {mode}", q=q, sar=2, level=V22)["q"][0], S16)[:6] == results


def test_trunc_wraps(step: Step) -> None:
    q = {1: (S8, [127, -128]), 2: (S8, [1, -1])}
    for text, kept, wrapped in (
        ("esp.vadd.s8 q0, q1, q2", [127, -128], [-128, 127]),
        ("esp.vsub.s8 q0, q2, q1", [-126, 127], [-126, 127]),
        ("esp.vsadds.s8 q0, q1, a0", [127, -127], [-128, -127]),
    ):
        x = {"a0": 1}
        assert lanes(step(text, q=q, x=x, level=V22)["q"][0], S8)[:2] == kept
        assert lanes(step(f"{text}, sat", q=q, x=x, level=V22)["q"][0], S8)[:2] == kept
        assert lanes(step(f"{text}, trunc", q=q, x=x, level=V22)["q"][0], S8)[:2] == wrapped


def test_trunc_wraps_accumulators(step: Step) -> None:
    q = {1: (S8, [127]), 2: (S8, [127, -127])}
    full = (S32, [2**31 - 1, -(2**31)])
    wrapped = step("esp.vmulas.s8.qacc q1, q2, trunc", q=q, qacc=full, level=V22)
    assert lanes(wrapped["qacc"], S32)[:2] == [2**31 - 1 + 127 * 127 - 2**32, -(2**31) - 127 * 127 + 2**32]
    assert lanes(step("esp.vmulas.s8.qacc q1, q2", q=q, qacc=full, level=V22)["qacc"], S32)[:2] == list(full[1])
    unsigned = step("esp.vmulas.u16.qacc q1, q1, trunc", q={1: (U16, [2])}, qacc=(U64, [2**64 - 1]), level=V22)
    assert lanes(unsigned["qacc"], U64) == [3] * 8
    ones = {1: (S8, [1])}
    assert step("esp.vmulas.s8.xacc q1, q1, trunc", q=ones, xacc=2**39 - 1, level=V22)["xacc"] == 2**39 + 15
    assert step("esp.vmulas.u8.xacc q1, q1, trunc", q=ones, xacc=2**40 - 1, level=V22)["xacc"] == 15
    assert x_of(step("esp.srs.s.xacc a0, a1, trunc", xacc=2**38 + 5, level=V22), "a0") == 5
    assert x_of(step("esp.srs.s.xacc a0, a1", xacc=2**38 + 5, level=V22), "a0") == 2**31 - 1


def test_left_shifts(step: Step) -> None:
    q = {1: (U32, [0x40000001, 0xC0000001, 0xFFFFFFFF, 1])}
    dropped = [0x80000002, 0x80000002, 0xFFFFFFFE, 2]
    assert lanes(step("esp.vsl.32 q0, q1", q=q, sar=1)["q"][0], U32) == dropped
    assert lanes(step("esp.vsl.s32 q0, q1, trunc", q=q, sar=33, level=V22)["q"][0], U32) == dropped
    assert lanes(step("esp.vsl.u32 q0, q1, trunc", q=q, sar=1, level=V22)["q"][0], U32) == dropped
    clamped = [0x7FFFFFFF, 0x80000002, 0xFFFFFFFE, 2]
    assert lanes(step("esp.vsl.s32 q0, q1", q=q, sar=1, level=V22)["q"][0], U32) == clamped
    assert step("esp.vsl.32 q0, q1", q=q, sar=1, level=V22)["status"] == 1  # vsl.u32, sat: not known


def test_right_shifts_are_known_where_they_round_down(step: Step) -> None:
    q = {1: (S32, [-1, -7, 7, 2**31 - 1])}
    floor = [-1, -2, 1, 2**29 - 1]
    for mode in range(7):
        assert lanes(step("esp.vsr.s32 q0, q1", q=q, sar=2, mode=mode)["q"][0], S32) == floor
        assert lanes(step("esp.vsr.s32 q0, q1, rdn", q=q, sar=2, mode=mode, level=V22)["q"][0], S32) == floor
        assert step("esp.vsr.s32 q0, q1", q=q, sar=2, mode=mode, level=V22)["status"] == (mode != 0)
        assert step("esp.vsr.s32 q0, q1, rne", q=q, sar=2, mode=mode, level=V22)["status"] == 1


def test_activations_saturate_as_measured(step: Step) -> None:
    q = {0: (S8, [-100, 5]), 1: (S8, [2])}
    assert lanes(step("esp.vprelu.s8 q2, q0, q1, a1", q=q)["q"][2], S8)[:2] == [-128, 5]
    assert lanes(step("esp.vprelu.s8 q2, q0, q1, a1, trunc", q=q, level=V22)["q"][2], S8)[:2] == [56, 5]
    assert lanes(step("esp.vrelu.s8 q0, a0, a1", q=q, x={"a0": 2})["q"][0], S8)[:2] == [56, 5]
    assert lanes(step("esp.vrelu.s8 q0, a0, a1", q=q, x={"a0": 2}, level=V22)["q"][0], S8)[:2] == [-128, 5]


def test_absolute_values_saturate(step: Step) -> None:
    for level in Level:
        assert lanes(step("esp.vabs.8 q0, q1", q={1: (S8, [-128, -127, 5])}, level=level)["q"][0], S8)[:3] == [127, 127, 5]
