"""Instructions whose meaning the published sources leave open: each question is put to the chip itself."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from espgen.calibrate.records import Kernel
from espgen.target.espv import Level

OTHERWISE = "something else"

_PRELUDE = """\
li t3, {cfg}
esp.movx.w.cfg t3
li t3, {sar}
esp.movx.w.sar t3
addi a2, a1, 128
addi a3, a1, 48
addi a4, a1, 16
esp.vld.128.ip q0, a1, 0
esp.vld.128.ip q1, a4, 16
esp.vld.128.ip q2, a4, 0
"""
_STORE = "\nesp.vst.128.ip q3, a2, 0"
_HALF_AWAY = 4 << 4
"""CFG with the rounding mode rhaz."""


@dataclass(frozen=True)
class Said:
    """What was found; empty, with the reason, where the place cannot tell."""

    name: str
    question: str
    measured: str
    reason: str = ""


@dataclass(frozen=True)
class Meaning:
    """A question, what is run for it, and what the bytes that come out say.

    name      of the instruction and the question
    question  in a sentence
    levels    that have the instruction
    text      for each level; q0, q1, q2 hold the first 48 bytes of `data`, a1 is their address, a3 = a1 + 48, q3 or a3 the result
    answers   the result's first bytes -> what they say
    """

    name: str
    question: str
    levels: Mapping[Level, str]
    data: bytes
    answers: Mapping[bytes, str]
    cfg: int = 0
    sar: int = 0
    store: str = _STORE

    @property
    def kernel(self) -> Kernel:
        """What runs: nothing on a level that does not have the instruction."""
        lines = [_PRELUDE.format(cfg=self.cfg, sar=self.sar)]
        for level, text in self.levels.items():
            lines.append(f"#if ESPGEN_ESPV == {level.value}\n{text}\n#endif")
        return Kernel(f"meaning_{self.name}", whole="\n".join(lines) + self.store + "\nli t3, 0\nesp.movx.w.cfg t3\nret")

    @property
    def command(self) -> str:
        """The firmware's command."""
        return f"m {self.kernel.name} {self.data.ljust(96, bytes(1)).hex()}"

    def read(self, result: bytes) -> str:
        """What `result` says; its bytes where nobody has foreseen it."""
        found = next((said for start, said in self.answers.items() if result.startswith(start)), "")
        return found or f"{OTHERWISE}: {result[: max(map(len, self.answers))].hex()}"


def _both(text: str) -> Mapping[Level, str]:
    return MappingProxyType(dict.fromkeys(Level, text))


def _new(text: str) -> Mapping[Level, str]:
    return MappingProxyType({Level.V22: text})


def _words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *(value & 0xFFFFFFFF for value in values))


def _lanes(first: bytes, second: bytes = b"") -> bytes:
    return first.ljust(16, bytes(1)) + second.ljust(16, bytes(1))


_DELTA = "\nsub t3, a3, a1\naddi t3, t3, -48\nsw t3, 0(a2)"

MEANINGS: tuple[Meaning, ...] = (
    Meaning("add_saturates", "does vadd.s8 saturate when CFG is 0?", _both("esp.vadd.s8 q3, q0, q1"),
            _lanes(bytes([100]), bytes([100])), {b"\x7f": "saturates", b"\xc8": "wraps"}),
    Meaning("vmul_saturates", "does vmul.s16 saturate, or keep the low half?", _both("esp.vmul.s16 q3, q0, q1"),
            _lanes(struct.pack("<h", 200), struct.pack("<h", 200)),
            {struct.pack("<h", 32767): "saturates", struct.pack("<H", 40000): "keeps the low half"}),
    Meaning("cmul_saturates", "does cmul.s8 saturate?", _both("esp.cmul.s8 q3, q0, q1, 0"),
            _lanes(bytes([128, 0]), bytes([128, 0])), {b"\x7f": "saturates", b"\x00": "keeps the low half"}),
    Meaning("vsl_u32_clamps", "does vsl.u32 with saturation clamp? (vsl.32 on revisions below 3)",
            {Level.V21: "esp.vsl.32 q3, q0", Level.V22: "esp.vsl.u32 q3, q0, sat"}, _words(0x80000001),
            {_words(0xFFFFFFFF): "clamps", _words(2): "drops high bits"}, sar=1),
    Meaning("vsl_s32_clamps", "does vsl.s32 with saturation clamp?", _new("esp.vsl.s32 q3, q0, sat"), _words(0x40000001),
            {_words(0x7FFFFFFF): "clamps", _words(0x80000002): "drops high bits"}, sar=1),
    Meaning("vsr_s32_rounds", "does vsr.s32 round as CFG says?", _both("esp.vsr.s32 q3, q0"), _words(3),
            {_words(2): "rounds", _words(1): "rounds down"}, cfg=_HALF_AWAY, sar=1),
    Meaning("vsrd_32_rounds", "does vsrd.32 round as CFG says, and keep the sign?", _both("esp.vsrd.32 q3, q0, q1"),
            _lanes(_words(3, -6), _words(1, 1)),
            {_words(2, -3): "rounds, keeps the sign", _words(1, -3): "rounds down, keeps the sign",
             _words(1, 0x7FFFFFFD): "rounds down, fills with zeros", _words(2, 0x7FFFFFFD): "rounds, fills with zeros"},
            cfg=_HALF_AWAY),
    Meaning("vsld_32_saturates", "does vsld.32 saturate, signed or unsigned?", _both("esp.vsld.32 q3, q0, q1"),
            _lanes(_words(0x40000001, 0xA0000001), _words(1, 1)),
            {_words(0x7FFFFFFF, 0x80000000): "saturates, signed", _words(0x80000002, 0xFFFFFFFF): "saturates, unsigned",
             _words(0x80000002, 0x40000002): "drops high bits"}),
    Meaning("ldxq_keeps_address", "does ldxq.32 leave its address register alone?", _both("esp.ldxq.32 q3, q0, a3, 0, 0"),
            b"", {_words(0): "keeps it", _words(16): "adds 16"}, store=_DELTA),
    Meaning("vldbc_8_offset", "does vldbc.8.ip add its offset unscaled? (assemblers before ESP-IDF 5.5.2 scale it)",
            _both("esp.vldbc.8.ip q3, a3, 4"), b"", {_words(4): "unscaled", _words(16): "times 4"}, store=_DELTA),
    Meaning("srcmb_wide_shift", "does srcmb.s16.q use all bits of a shift of 40 and more?",
            _both("esp.zero.qacc\nesp.vmulas.s16.qacc q0, q0\nesp.srcmb.s16.q.qacc q3, q1, 1"),
            _lanes(struct.pack("<h", 16384), struct.pack("<h", 66)),
            {struct.pack("<h", 0): "all bits", struct.pack("<h", 32767): "the low six"}),
)  # fmt: skip
