"""What a kernel generator is asked for and what it gives: plain numbers in, assembly text and packed constants out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from espgen import arith
from espgen.codegen.pie.asm import Function


@dataclass(frozen=True, eq=False)
class ConvSpec:
    """A convolution, int8 (or int16) in and out: y = requant(sum (w - weight_zero) * x + bias), clipped to [low, high].

    Attributes:
        weights: int8 [out_channels, kernel_h, kernel_w, in_channels / groups]; int16 also for int16 activations.
        bias: [out_channels], the input's zero point already folded in: bias - zx * sum (w - weight_zero).
        requant: Shift or Scale of the output (Shift or WideScale for int16).
        out_width: output pixels per row.
        in_pitch: bytes from one input pixel to the next.
        out_pitch: bytes from one output pixel to the next.
        bound: largest |accumulator| that can be left after all sums, any channel; None: found from the weights.
        element_bytes: 1 for int8 activations, 2 for int16 ones (low and high are to be given then).
    """

    weights: npt.NDArray[np.int8] | npt.NDArray[np.int16]
    bias: npt.NDArray[np.int64]
    requant: arith.Requant
    out_width: int
    in_pitch: int
    out_pitch: int
    stride_h: int = 1
    stride_w: int = 1
    dilation_h: int = 1
    dilation_w: int = 1
    groups: int = 1
    weight_zero: int = 0
    zero_point: int = 0
    low: int = -128
    high: int = 127
    bound: int | None = None
    element_bytes: int = 1

    @property
    def lanes(self) -> int:
        """Output channels computed together."""
        return 16 // self.element_bytes

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        return int(self.weights.shape[0])

    @property
    def kernel_h(self) -> int:
        """Filter rows."""
        return int(self.weights.shape[1])

    @property
    def kernel_w(self) -> int:
        """Filter columns."""
        return int(self.weights.shape[2])

    @property
    def group_inputs(self) -> int:
        """Input channels per group."""
        return int(self.weights.shape[3])

    @property
    def in_channels(self) -> int:
        """Channels of the input."""
        return self.group_inputs * self.groups


@dataclass(frozen=True, eq=False)
class PieKernel:
    """A finished kernel.

    Attributes:
        symbol: function name, unique per content of `assembly`.
        assembly: text of the function; several go into one file by asm.assembly_file.
        params: constants the function reads through a2, 64-byte aligned.
        function: the function as a tree (code size, stack, cycles).
        overread: bytes a load may touch past the last byte a pixel needs.
    """

    symbol: str
    assembly: str
    params: bytes
    function: Function
    overread: int = 15

    def cycles(self, rows: int) -> float:
        """Predicted cycles of one call with `rows` output rows, memory model off, call included."""
        return self.function.cycles(rows=rows)
