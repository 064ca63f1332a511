"""Runs PIE kernels in the simulator: many calls per program, buffers between guards, cycles per call.

Every buffer a kernel may read lies between ranges whose access stops the simulation; what it may write is compared
with its old content by the caller, margins included.
"""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from espgen.codegen.pie.asm import assembly_file
from espgen.resources import firmware_dir
from espgen.target.espv import Level, Levels
from espgen.target.pie_macros import support_files
from espgen.verify.simulator import Options, simulate

FILL = 0xA5
GUARD = 256
_OUT_MARGIN = 64
_CALL_BASE = 3  # cycles of an empty function by the core model: one instruction, its jump taken


@dataclass(frozen=True)
class Call:
    """One kernel call.

    Attributes:
        symbol: function to call; its text must be among the assembly given to run_calls.
        params: constants.
        out_bytes: size of the output buffer; out_rows are offsets into it.
        inputs: input buffers; in_rows and second_rows are (buffer, offset).
        overread: readable bytes behind each input buffer before its guard.
        old: what the output buffer holds before the call (FILL bytes where None).
    """

    symbol: str
    params: bytes
    out_bytes: int
    out_rows: Sequence[int]
    inputs: Sequence[bytes]
    in_rows: Sequence[tuple[int, int]]
    second_rows: Sequence[tuple[int, int]] = field(default_factory=tuple)
    rows: int = 1
    overread: int = 16
    old: bytes | None = None


@dataclass(frozen=True)
class Outcome:
    """What a call left: its output buffer, whether its margins are intact, and its cycles (call included)."""

    output: np.ndarray
    margins_intact: bool
    cycles: int


class _Image:
    """Bytes with named places, 64-byte aligned."""

    def __init__(self) -> None:
        self.data = bytearray()

    def add(self, content: bytes, before: int = 0, after: int = 0) -> int:
        self.data += bytes(-len(self.data) % 64)
        self.data += bytes(before)
        place = len(self.data)
        self.data += content + bytes(after)
        return place


_MAIN = """
#include "boards/simulator/board.h"
#include "calls.h"

extern "C" void empty_kernel(void* const*, const void* const*, const void*, int32_t, const void* const*);

extern "C" void other_task(void*);
alignas(16) static uint8_t other_stack[1024];

extern "C" int main() {
  p4sim::SetMemoryModel(false);
#ifdef ESPGEN_OTHER_TASK
  p4sim::StartTask(other_task, nullptr, other_stack + sizeof other_stack);
#endif
  const Call empty = {empty_kernel, nullptr, nullptr, nullptr, nullptr, 1, nullptr, 0, 0, 0};
  for (int pass = 0; pass <= kCalls; ++pass) {
    const Call& call = pass == 0 ? empty : calls[pass - 1];
    for (uint32_t i = call.first_guard; i < call.first_guard + call.guards; ++i) {
      p4sim::GuardAdd(guards[i].start, guards[i].end, p4sim::kGuardBoth);
    }
    const uint32_t before = p4sim::Cycles32();
    call.kernel(call.out_rows, call.in_rows, call.params, call.rows, call.second_rows);
    const uint32_t cycles = p4sim::Cycles32() - before;
    p4sim::GuardClear();
    p4sim::UartWrite(&cycles, 4);
    p4sim::UartWrite(call.out, call.out_bytes);
  }
  return 0;
}
"""

_HEADER = """
#include <stdint.h>
typedef void (*Kernel)(void* const*, const void* const*, const void*, int32_t, const void* const*);
struct Call {
  Kernel kernel;
  const void* params;
  void* const* out_rows;
  const void* const* in_rows;
  const void* const* second_rows;
  int32_t rows;
  const void* out;
  uint32_t out_bytes, first_guard, guards;
};
struct Guard { const void *start, *end; };
extern "C" const Call calls[];
extern "C" const Guard guards[];
"""

_EMPTY = ".globl empty_kernel\nempty_kernel:\n    ret\n"


def build(
    assembly: Sequence[str],
    calls: Sequence[Call],
    folder: Path,
    levels: Levels = Levels.BOTH,
    level: Level = Level.V21,
    other_task: str = "",
) -> Path:
    """The program of `calls` as an ELF in `folder`: text written for `levels`, words of `level`.

    other_task  assembly of `void other_task(void*)`, a second task for timer interrupts to switch to
    """
    image = _Image()
    tables: list[str] = []
    rows_text: list[str] = []
    guards: list[tuple[int, int]] = []

    def table(offsets: Sequence[int]) -> str:
        if not offsets:
            return "0"
        name = f"table{len(tables)}"
        tables.append(f".balign 4\n{name}: .4byte " + ", ".join(f"blob + {offset}" for offset in offsets))
        return name

    for call in calls:
        params = image.add(call.params, after=GUARD)
        first = len(guards)
        places = []
        for content in call.inputs:
            place = image.add(content, before=GUARD, after=call.overread + GUARD)
            places.append(place)
            end = place + len(content) + call.overread
            guards += [(place - GUARD, place), (end, end + GUARD)]
        old = call.old if call.old is not None else bytes([FILL]) * call.out_bytes
        margin = bytes([FILL]) * _OUT_MARGIN
        out = image.add(margin + old + margin)
        fields = [
            call.symbol,
            f"blob + {params}",
            table([out + _OUT_MARGIN + offset for offset in call.out_rows]),
            table([places[buffer] + offset for buffer, offset in call.in_rows]),
            table([places[buffer] + offset for buffer, offset in call.second_rows]),
            str(call.rows),
            f"blob + {out}",
            str(call.out_bytes + 2 * _OUT_MARGIN),
            str(first),
            str(len(guards) - first),
        ]
        rows_text.append(".4byte " + ", ".join(fields))
    (folder / "blob.bin").write_bytes(image.data)
    guard_text = "\n".join(f".4byte blob + {start}, blob + {end}" for start, end in guards)
    data = [
        '.section .psram.data, "aw", @progbits\n.balign 64\nblob: .incbin "blob.bin"',
        ".data\n.balign 4\n.globl calls\n.globl guards\ncalls:",
        *rows_text,
        "guards:",
        guard_text,
        *tables,
        "",
    ]
    (folder / "data.S").write_text("\n".join(data))
    (folder / "kernels.S").write_text(assembly_file([*assembly, other_task, _EMPTY], levels))
    for name, text in support_files(levels).items():
        (folder / name).write_text(text)
    (folder / "calls.h").write_text(_HEADER + f"constexpr int kCalls = {len(calls)};\n")
    (folder / "main.cpp").write_text(_MAIN)
    board = firmware_dir() / "boards" / "simulator"
    elf = folder / "kernels.elf"
    command = [sys.executable, "-m", "ziglang", "c++", "-target", "riscv32-freestanding-none"]
    command += ["-mcpu=generic_rv32+m+a+f+c", "-mabi=ilp32f", "-O2", "-ffreestanding", "-nostdlib++", "-std=c++17"]
    command += ["-fno-exceptions", "-fno-rtti", "-I", str(firmware_dir()), "-T", str(board / "link.ld")]
    command.append(f"-DESPGEN_ESPV={level.value}")
    command += ["-DESPGEN_OTHER_TASK"] if other_task else []
    sources = [str(board / "start.S"), "main.cpp", "data.S", "kernels.S"]
    result = subprocess.run([*command, *sources, "-o", str(elf)], cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-4000:]
    return elf


def run_calls(
    assembly: Sequence[str],
    calls: Sequence[Call],
    folder: Path,
    levels: Levels = Levels.BOTH,
    level: Level = Level.V21,
) -> list[Outcome]:
    """Run `calls` one after the other, memory model off; each symbol's text once in `assembly`.

    The simulator takes the level from the program, and stops where it is not `level`.
    """
    elf = build(assembly, calls, folder, levels, level)
    return run_program(elf, calls, Options(memory_model=False, espv=level))


def run_program(elf: Path, calls: Sequence[Call], options: Options) -> list[Outcome]:
    """Run what `build` made of `calls`."""
    result = simulate(elf, options)
    assert result.status == 0, (result.status, result.errors)
    data = bytes(result.output)
    base = struct.unpack_from("<I", data)[0] - _CALL_BASE
    at = 4
    outcomes = []
    for call in calls:
        cycles = struct.unpack_from("<I", data, at)[0]
        whole = np.frombuffer(data, np.uint8, call.out_bytes + 2 * _OUT_MARGIN, at + 4)
        margins = np.concatenate([whole[:_OUT_MARGIN], whole[-_OUT_MARGIN:]])
        intact = bool((margins == FILL).all())
        outcomes.append(Outcome(whole[_OUT_MARGIN:-_OUT_MARGIN].copy(), intact, cycles - base))
        at += 4 + len(whole)
    assert at == len(data), (at, len(data))
    return outcomes
