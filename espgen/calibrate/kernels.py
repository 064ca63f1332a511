"""The assembly file of all kernels, and the table that the firmware finds them in by name."""

from __future__ import annotations

from collections.abc import Iterable

from espgen.calibrate.records import Kernel

WALKS = ("calibrate_walk_read", "calibrate_walk_write", "calibrate_walk_jump")
"""Kernels of firmware/calibrate/walks.S."""

BANNER = "Kernels of espgen calibrate"


def function(kernel: Kernel) -> str:
    """A kernel as an assembly function."""
    symbol = f"calibrate_{kernel.name}"
    looped = f"{kernel.setup}\n.balign 64\n1:\n{kernel.body}\naddi a0, a0, -1\nbnez a0, 1b\nret"
    body = kernel.whole or looped
    lines = "\n".join(line if line.startswith(".") or line[:1].isdigit() else f"    {line}" for line in body.split("\n") if line)
    return f".globl {symbol}\n.type {symbol}, @function\n.balign 64\n{symbol}:\n{lines}\n.size {symbol}, . - {symbol}\n"


def table(kernels: Iterable[Kernel]) -> str:
    """The table of names and addresses (kernels.h)."""
    entries = [(name, name) for name in WALKS] + [(kernel.name, f"calibrate_{kernel.name}") for kernel in kernels]
    lines = ['.section .rodata.calibrate, "a", @progbits', ".balign 4", ".globl calibrate_kernel_count, calibrate_kernels"]
    lines += [f"calibrate_kernel_count: .4byte {len(entries)}", "calibrate_kernels:"]
    lines += [f"    .4byte .Lname_{index}, {symbol}" for index, (_name, symbol) in enumerate(entries)]
    lines += [f'.Lname_{index}: .asciz "{name}"' for index, (name, _symbol) in enumerate(entries)]
    return "\n".join(lines) + "\n"


def unique(kernels: Iterable[Kernel]) -> tuple[Kernel, ...]:
    """Each kernel once, in the order of its first appearance."""
    return tuple({kernel.name: kernel for kernel in kernels}.values())
