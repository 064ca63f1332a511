"""How a component notices that another task used the vector unit while a layer ran.

Operating systems give each task the unit's registers, but never CFG, and some lose more (docs/beside_an_rtos.md). So every
kernel compares CFG with what it wrote, at its end. SAR and FFT_BIT_WIDTH hold marks between kernels: no kernel uses the
latter, and one that shifts by SAR compares it and puts the mark back. ESP-IDF before 6.0 restores the two exchanged, so that
any number of task switches leaves other values there. A kernel that was disturbed takes the mark away; the watch looks for
both after each step.
"""

from __future__ import annotations

from espgen.codegen.pie.asm import FFT_MARK, SAR_MARK, Function
from espgen.codegen.pie.registers import A0, A1

FILE = "espgen_pie_watch"
"""Name of the file with both functions, without .S."""
START, DISTURBED = "espgen_pie_watch_start", "espgen_pie_watch_disturbed"


def watch_functions() -> tuple[str, ...]:
    """Texts of `void START()`, before a run, and `uint32_t DISTURBED()`, after each of its steps: not 0 where it was."""
    start = Function(START, "Puts marks into the vector unit that do not survive another task's use of it.")
    for value, register in ((FFT_MARK, "fft.bit.width"), (SAR_MARK, "sar")):
        start("li", A0, value)
        start(f"esp.movx.w.{register}", A0)
    found = Function(DISTURBED, "0 where the marks are still there. Vector stores before it are visible to scalar loads.")
    found.fence()
    found("esp.movx.r.fft.bit.width", A0)
    found("esp.movx.r.sar", A1)
    found("xori", A0, A0, FFT_MARK)
    found("xori", A1, A1, SAR_MARK)
    found("or", A0, A0, A1)
    return start.text(), found.text()
