"""The benchmarks of the core: one record each."""

from __future__ import annotations

from dataclasses import replace

from espgen.calibrate.records import Benchmark, Kernel, Rounds, more_than, rate, wait

PATTERN = 0x5A3C96E1
"""Which of 32 branches are taken, from the lowest bit on."""

SETTLE = 8
"""Rounds of the pattern after which a 2-bit counter repeats itself."""

_ROTATE = "srli t3, t1, 1\nslli t4, t1, 31\nor t1, t3, t4\nandi t2, t1, 1\nbnez t2, 2f\n2:"
_POINTERS = "addi a2, a1, 32\nli a3, 0\nmv a4, a2"


def taken_and_missed(pattern: int = PATTERN) -> tuple[int, int]:
    """Of 32 branches in the rhythm of `pattern`: how many are taken and rightly predicted, how many wrongly predicted, by
    a 2-bit counter that starts at 0."""
    counter = right = wrong = 0
    for _ in range(SETTLE + 1):
        right = wrong = 0
        for bit in range(1, 33):  # the first rotation comes before the first branch
            taken = bool(pattern >> bit % 32 & 1)
            missed = (counter >= 2) != taken
            wrong += missed
            right += taken and not missed
            counter = min(3, counter + 1) if taken else max(0, counter - 1)
    return right, wrong


def _mispredicted(rounds: Rounds) -> float:
    right, wrong = taken_and_missed()
    taken = (rounds["branch_predicted_dear"] - rounds["branch_predicted_cheap"]) / 8
    return (32 * (rounds["branch_pattern"] - rounds["branch_never"]) - right * taken) / wrong


_HARDWARE_LOOP = """\
li t1, 4
esp.lp.setup 0, a0, 3f
nop
nop
nop
3: addi t1, t1, 1
ret"""

_ONE_ROUND_LOOP = "addi t1, t1, 1\naddi t2, t2, 1\naddi t1, t1, 1\n4: addi t1, t1, 1"

LOADS = Kernel("sixteen_loads", ".rept 16\nlw t0, 0(a1)\n.endr")

CORE: tuple[Benchmark, ...] = (
    replace(rate("instruction", "an instruction that waits for nothing", "addi t0, t1, 1"), is_parameter=False),
    wait("load_use", "the next reader of a loaded register waits", "lw t0, 0(a1)", "addi t1, t0, 0"),
    wait("vector_load_use", "the same for a 128-bit load", "esp.vld.128.ip q1, a1, 0", "esp.vadd.s8 q2, q1, q1",
         parameter=False),
    wait("float_load_use", "the same for a load of a float", "flw ft0, 0(a1)", "fmul.s ft1, ft0, ft0", parameter=False),
    wait("qacc_mac_use", "the next reader of QACC waits after a multiply-accumulate",
         "esp.vmulas.s8.qacc q1, q2", "esp.srcmb.s8.qacc q3, a3, 1", _POINTERS),
    wait("qacc_load_use", "the same after a load into QACC", "esp.ld.qacc.l.l.128.ip a4, 0",
         "esp.srcmb.s8.qacc q3, a3, 1", _POINTERS),
    rate("qacc_mac_interval", "from one QACC multiply-accumulate to the next", "esp.vmulas.s8.qacc q1, q2"),
    wait("xacc_mac_use", "the next reader of XACC waits after a multiply-accumulate",
         "esp.vmulas.s8.xacc q1, q2", "esp.movx.r.xacc.l t3"),
    wait("xacc_load_use", "the same after a load into XACC", "esp.ld.xacc.ip a4, 0", "esp.movx.r.xacc.l t3", _POINTERS),
    rate("xacc_mac_interval", "from one XACC multiply-accumulate to the next", "esp.vmulas.s8.xacc q1, q2"),
    wait("mul_latency", "the next reader of a product waits", "mul t0, t1, t2", "addi t3, t0, 0"),
    rate("div_cycles", "a division in all", "div t0, t1, t2", setup="li t1, 12345\nli t2, 7"),
    wait("float_latency", "the next reader of a float sum or product waits", "fmul.s ft0, ft1, ft2", "fmul.s ft3, ft0, ft0"),
    Benchmark(
        "fused_addend", "by which a fused multiply-add reads its addend later",
        wait("fused_factor", "", "fmul.s ft0, ft1, ft2", "fmadd.s ft3, ft0, ft1, ft2").kernels
        + wait("fused_sum", "", "fmul.s ft0, ft1, ft2", "fmadd.s ft3, ft1, ft2, ft0").kernels,
        lambda r: (r["fused_factor_near"] - r["fused_factor_far"]) - (r["fused_sum_near"] - r["fused_sum_far"]),
    ),
    wait("float_div_latency", "the next reader of a quotient of floats waits", "fdiv.s ft0, ft1, ft2",
         "fmul.s ft3, ft0, ft0", "li t1, 0x40490fdb\nfmv.w.x ft1, t1\nli t1, 0x3fb504f3\nfmv.w.x ft2, t1"),
    wait("convert_latency", "the next reader of a conversion waits", "fcvt.s.w ft0, t1", "fmul.s ft3, ft0, ft0"),
    wait("csr_latency", "the next reader of a CSR's value waits", "csrr t0, fcsr", "addi t1, t0, 0"),
    more_than("branch_predicted", "lost by a taken, rightly predicted branch", "beq zero, zero, 2f\n2:", "addi t0, t0, 1"),
    Benchmark(
        "branch_mispredicted", "lost by a wrongly predicted branch",
        (
            Kernel("branch_pattern", _ROTATE, f"li t1, {PATTERN:#x}"),
            Kernel("branch_never", _ROTATE, "li t1, 0"),
            *more_than("branch_predicted", "", "beq zero, zero, 2f\n2:", "addi t0, t0, 1").kernels,
        ),
        _mispredicted,
    ),
    more_than("jump", "lost by a jump", "jal t0, 2f\n2:", "addi t0, t0, 1"),
    Benchmark("loop_back", "lost by the back edge of a hardware loop", (Kernel("loop_back", whole=_HARDWARE_LOOP),),
              lambda r: r["loop_back"] - 4),
    rate("loop_setup", "of an instruction that sets up a hardware loop", "esp.lp.setup 0, a5, 4f",
         setup="li a5, 1", tail=_ONE_ROUND_LOOP),
    more_than("misaligned", "more for a misaligned load of a word", "lw t0, 2(a1)", "lw t0, 4(a1)"),
    Benchmark(
        "misaligned_vector", "more for a misaligned 128-bit load, with CFG.mis_ld set",
        tuple(Kernel(f"misaligned_vector_{offset}", ".rept 8\nesp.vld.128.ip q1, a2, 0\n.endr",
                     f"li t3, 2\nesp.movx.w.cfg t3\naddi a2, a1, {offset}") for offset in (16, 20)),
        lambda r: (r["misaligned_vector_20"] - r["misaligned_vector_16"]) / 8, is_parameter=False,
    ),
    Benchmark("port_cycles", "a data access keeps the L1 port from the other core",
              (LOADS,), lambda r: r[LOADS.name] / 32, beside=4),
    replace(more_than("barrier", "of a barrier of both cores (the simulator's device)", "sw zero, 0x70(a1)", "addi t0, t0, 1"),
            beside=1, place="d"),
)  # fmt: skip

ALIASES = {"vector_load_use": "load_use", "float_load_use": "load_use", "misaligned_vector": "misaligned"}
"""Figures that share another one's parameter."""
