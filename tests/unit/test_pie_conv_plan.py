"""What the convolution generator decides before code: windows, weight order, register use, cycles per pixel."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from espgen import arith
from espgen.codegen.pie.asm import assembly_file
from espgen.codegen.pie.conv import MOST_OVERREAD, conv_kernel, supports
from espgen.codegen.pie.instruction import SCALAR
from espgen.codegen.pie.mean import MeanSpec, mean_kernel
from espgen.codegen.pie.packing import advances, blocks, input_windows, weight_vectors
from espgen.codegen.pie.spec import ConvSpec
from espgen.codegen.pie.store import plan_stores
from espgen.codegen.pie.stream import plan_stream
from espgen.ops.float_ties import FloatTies
from espgen.schedule.memory import OVERREAD
from espgen.target import core_costs
from espgen.target.espv import Level, Levels
from espgen.target.isa import instruction_table
from espgen.target.pie_macros import support_files


def _spec(kernel, channels, outputs, width, *, requant=None, in_pitch=None, **options):
    rng = np.random.default_rng(3)
    weights = rng.integers(-128, 128, (outputs, *kernel, channels)).astype(np.int8)
    return ConvSpec(
        weights,
        rng.integers(-500, 500, outputs),
        requant or arith.Shift((8,)),
        width,
        in_pitch or (channels + 15) // 16 * 16,
        (outputs + 15) // 16 * 16,
        **options,
    )


def _pixel_cycles(**arguments) -> float:
    """Cycles of one more pixel, but for its wait until the accumulators may be read."""
    few, more = (conv_kernel(_spec(outputs=16, width=width, **arguments)).cycles(1) for width in (8, 9))
    return more - few - core_costs.QACC_MAC_USE


@pytest.mark.parametrize(
    ("kernel", "channels", "cycles"),
    [
        ((1, 1), 1, 1 + 1 + 6),  # one resident weight, a late load; the loop ends once in four pixels
        ((1, 1), 16, 16 + 7),
        ((1, 1), 24, 24 + 7),
        ((1, 1), 32, 32 + 7),
        ((1, 1), 64, 64 + 7),
        ((1, 1), 96, 96 + 2 + 7),
        ((1, 1), 160, 160 + 6 + 8),
        ((1, 1), 960, 960 + 56 + 8),
        ((3, 3), 16, 144 + 6 + 8),
        ((3, 3), 64, 576 + 32 + 8),
    ],
)
def test_a_pixel_costs_its_macs_the_loads_that_cannot_ride_and_seven_or_eight(kernel, channels, cycles):
    assert _pixel_cycles(kernel=kernel, channels=channels) == cycles


def test_more_output_forms_cost_what_they_add():
    assert _pixel_cycles(kernel=(1, 1), channels=64, low=0) == 64 + 8
    assert _pixel_cycles(kernel=(1, 1), channels=64, requant=arith.Shift(tuple([8] * 15 + [9]))) == 64 + 7 + 1
    wait = core_costs.QACC_MAC_USE - 1  # for the second eight products; the other waits are filled
    scale = arith.Scale(3, (20000,) * 16, (2500,) * 16, (20,) * 16)
    assert _pixel_cycles(kernel=(1, 1), channels=64, requant=scale, bound=2**17) == 64 + 3 + 4 + 30 + wait
    assert _pixel_cycles(kernel=(1, 1), channels=64, requant=scale, zero_point=-128) == 64 + 3 + 4 + 35 + wait


def test_a_weight_out_of_range_of_its_zero_point_costs_one_more_multiply_accumulate():
    weights = np.full((16, 1, 1, 64), -100, np.int8)
    spec = replace(_spec((1, 1), 64, 16, 8), weights=weights, weight_zero=28)
    assert "64 multiply-accumulates" in conv_kernel(spec).assembly
    weights = weights.copy()
    weights[3, 0, 0, 5] = weights[4, 0, 0, 5] = -101
    kernel = conv_kernel(replace(spec, weights=weights))
    assert "65 multiply-accumulates" in kernel.assembly
    assert "sum x" not in kernel.assembly
    weights[:, 0, 0, :] = -128
    assert "sum x" in conv_kernel(replace(spec, weights=weights.copy())).assembly


def test_windows_pack_dense_pixels_and_keep_aligned_ones():
    packed = input_windows(3, 3, 3, 3, 1, aligned=False)
    assert [(window.row, window.offset, len(window.lanes)) for window in packed] == [(0, 0, 9), (1, 0, 9), (2, 0, 9)]
    aligned = input_windows(1, 3, 24, 32, 2, aligned=True)
    assert [(window.offset, len(window.lanes)) for window in aligned] == [
        (0, 16), (16, 8), (64, 16), (80, 8), (128, 16), (144, 8),
    ]
    assert advances(aligned, 32) == (16, 48, 16, 48, 16, 32 - 144)
    wide = input_windows(1, 1, 12, 24, 1, aligned=False, size=2)
    assert [(window.offset, [lane for lane, _, _ in window.lanes]) for window in wide] == [
        (0, list(range(8))), (16, list(range(4))),
    ]


def test_weights_meet_the_lanes_they_belong_to():
    weights = np.arange(20 * 2 * 3 * 5).reshape(20, 2, 3, 5).astype(np.int8)
    windows = input_windows(2, 3, 5, 5, 1, aligned=False)
    first, second = blocks(weights, 1)
    vectors = weight_vectors(second, windows)
    assert vectors.shape == (30, 16)
    taps = [(window.row, kx, channel) for window in windows for _, kx, channel in window.lanes]
    for vector, tap in zip(vectors, taps, strict=True):
        assert vector[:4].tolist() == weights[16:, *tap].tolist()
        assert not vector[4:].any()
    assert first.first_input == second.first_input == 0


def test_grouped_blocks_read_only_their_groups():
    weights = np.ones((32, 1, 1, 4), np.int8)
    first, second = blocks(weights, 8)
    assert (first.first_input, second.first_input) == (0, 16)
    assert first.weights.shape == (16, 1, 1, 16)
    assert first.weights[0, 0, 0].tolist() == [1] * 4 + [0] * 12
    assert first.weights[15, 0, 0].tolist() == [0] * 12 + [1] * 4


@pytest.mark.parametrize("kept", [0, 1, 2])
@pytest.mark.parametrize("spare", [2, 3, 4, 5])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 2), (1, 1, 9), (1, 1, 33), (1, 1, 64), (2, 3, 16), (3, 3, 5)])
def test_streams_load_every_register_before_its_use_and_not_before_its_last(kept, spare, shape):
    rows, columns, channels = shape
    windows = input_windows(rows, columns, channels, (channels + 15) // 16 * 16, 1, aligned=True)
    steps = advances(windows, (channels + 15) // 16 * 16)
    stream = plan_stream(windows, tuple(step == 16 for step in steps), spare, kept=kept)
    assert sorted(stream.order) == list(range(len(stream.macs)))
    assert stream.residents <= spare
    inputs = {number % 2: (0, number) for number in range(stream.primed)}
    weights: dict[int, int] = {}
    for pixel in range(3):
        if not stream.primed:
            inputs[0] = (pixel, 0)
        for mac in stream.macs:
            assert inputs[mac.window % 2] == (pixel, mac.window)
            if mac.streamed is not None:
                assert weights[mac.streamed % 2] == mac.streamed
            if mac.loads_weight is not None:
                weights[mac.loads_weight % 2] = mac.loads_weight
            loads = ([] if mac.loads_window is None else [mac.loads_window]) + list(mac.then_loads)
            for number in loads:
                following = number < mac.window or (number == mac.window == 0)
                inputs[number % 2] = (pixel + following, number)
        weights.clear()
        for register in range(kept, 2):
            inputs.pop(register, None)


def test_stores_never_pass_the_pitch():
    assert plan_stores(32, 32, 4).last is None
    assert plan_stores(24, 32, 4).last is None
    tight = plan_stores(24, 24, 4)
    assert (tight.full_blocks, tight.last.lanes, tight.last.bytewise, tight.misaligned) == (1, 8, False, True)
    odd = plan_stores(21, 21, 4)
    assert (odd.full_blocks, odd.last.lanes, odd.last.bytewise) == (1, 5, True)


def test_every_instruction_is_in_the_table_and_equal_layers_share_code():
    first, second = (conv_kernel(_spec((3, 3), 20, 40, 7)) for _ in range(2))
    assert first.symbol == second.symbol
    assert first.assembly == second.assembly
    known = {*instruction_table(), *SCALAR}
    assert {instruction.mnemonic for instruction in first.function.instructions()} <= known
    assert len(first.params) % 16 == 0


def test_reasons():
    wide = _spec((1, 1), 16, 16, 4, requant=arith.WideScale(0, (1,) * 16, (40,) * 16))
    assert "WideScale" in str(supports(wide))
    assert supports(_spec((1, 1), 16, 16, 4)) is None
    heavy = replace(_spec((1, 1), 16, 16, 4), bias=np.full(16, 2**31 - 1))
    assert "32 bits" in str(supports(heavy))


@pytest.mark.skipif(shutil.which("riscv64-unknown-elf-gcc") is None, reason="no riscv64-unknown-elf-gcc")
@pytest.mark.parametrize(
    ("levels", "level"), [(Levels.BOTH, Level.V21), (Levels.BOTH, Level.V22), (Levels.V22, Level.V22)], ids=str
)
def test_gnu_as_and_llvm_make_the_same_words(levels, level, tmp_path):
    pytest.importorskip("ziglang")
    mean = MeanSpec(4, 4, 32, 32, 32, arith.Ratio(1, 16), 0, 0, -128, 127, contiguous=True, float_ties=FloatTies(0.02, 0.02))
    kernels = [conv_kernel(_spec((3, 3), 20, 40, 7)), conv_kernel(_spec((1, 1), 960, 16, 7), hardware_loops=False)]
    kernels.append(mean_kernel(mean))  # the one with float instructions
    (tmp_path / "k.S").write_text(assembly_file([kernel.assembly for kernel in kernels], levels))
    for name, text in support_files(levels).items():
        (tmp_path / name).write_text(text)
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", "riscv32-freestanding-none", "-mcpu=generic_rv32+m+a+f"]
    gnu = ["riscv64-unknown-elf-gcc", "-march=rv32imaf", "-mabi=ilp32f"]
    for name, command in (("zig.o", zig), ("gnu.o", gnu)):
        subprocess.run([*command, f"-DESPGEN_ESPV={level.value}", "-c", "k.S", "-o", name], cwd=tmp_path, check=True)
    for kernel in kernels:
        words = []
        for name in ("zig.o", "gnu.o"):
            copy = ["riscv64-unknown-elf-objcopy", "-O", "binary", "-j", f".text.{kernel.symbol}", name, "words"]
            subprocess.run(copy, cwd=tmp_path, check=True)
            words.append((tmp_path / "words").read_bytes())
        assert words[0] == words[1]
        assert len(words[0]) == kernel.function.code_bytes


def test_the_planner_keeps_readable_what_kernels_read_ahead():
    assert MOST_OVERREAD <= OVERREAD
