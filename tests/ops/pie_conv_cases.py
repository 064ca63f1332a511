"""Convolution cases for the PIE tests: a spec, its input in memory, the call, and the expected output by im2col."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pie_harness import FILL, Call, Outcome

from espgen import arith
from espgen.codegen.pie.conv import MOST_OVERREAD, conv_kernel
from espgen.codegen.pie.spec import ConvSpec, PieKernel


@dataclass(frozen=True, eq=False)
class ConvCase:
    """A convolution on one image without padding: `image` is int8 or int16 [height, width, channels]."""

    spec: ConvSpec
    image: np.ndarray
    hardware_loops: bool = True
    flipped_rows: bool = False
    """Store the input rows in reverse order, which only row pointers can undo."""

    @property
    def out_height(self) -> int:
        spec = self.spec
        return (self.image.shape[0] - (spec.kernel_h - 1) * spec.dilation_h - 1) // spec.stride_h + 1

    def kernel(self) -> PieKernel:
        return conv_kernel(self.spec, hardware_loops=self.hardware_loops)

    def call(self, kernel: PieKernel) -> Call:
        spec = self.spec
        height, width, channels = self.image.shape
        size = spec.element_bytes
        rng = np.random.default_rng(1)
        pitch = (width * spec.in_pitch + 15) // 16 * 16
        memory = rng.integers(0, 256, height * pitch).astype(np.uint8)
        order = range(height - 1, -1, -1) if self.flipped_rows else range(height)
        places = {row: place * pitch for place, row in enumerate(order)}
        for row in range(height):
            for pixel in range(width):
                at = places[row] + pixel * spec.in_pitch
                memory[at : at + size * channels] = self.image[row, pixel].view(np.uint8)
        last_row = places[height - 1] if not self.flipped_rows else places[0]
        content = memory[: last_row + (width - 1) * spec.in_pitch + size * channels].tobytes()
        out_pitch = self._out_row_bytes()
        return Call(
            symbol=kernel.symbol,
            params=kernel.params,
            out_bytes=self.out_height * out_pitch,
            out_rows=[row * out_pitch for row in range(self.out_height)],
            inputs=[content],
            in_rows=[(0, places[row]) for row in range(height)],
            rows=self.out_height,
            overread=max(16, kernel.overread),
        )

    def _out_row_bytes(self) -> int:
        return (self.spec.out_width * self.spec.out_pitch + 15) // 16 * 16

    def expected(self) -> np.ndarray:
        """int8 or int16 [out_height, out_width, out_channels]."""
        spec = self.spec
        groups, per_group = spec.groups, spec.group_inputs
        per_out = spec.out_channels // groups
        weights = spec.weights.astype(np.int64) - spec.weight_zero
        result = np.zeros((self.out_height, spec.out_width, spec.out_channels), np.int64)
        image = self.image.astype(np.int64)
        for ky in range(spec.kernel_h):
            for kx in range(spec.kernel_w):
                y0, x0 = ky * spec.dilation_h, kx * spec.dilation_w
                part = image[y0 : y0 + (self.out_height - 1) * spec.stride_h + 1 : spec.stride_h]
                part = part[:, x0 : x0 + (spec.out_width - 1) * spec.stride_w + 1 : spec.stride_w]
                for group in range(groups):
                    inside = slice(group * per_group, (group + 1) * per_group)
                    outside = slice(group * per_out, (group + 1) * per_out)
                    result[..., outside] += part[..., inside] @ weights[outside, ky, kx].T
        result += np.asarray(spec.bias, np.int64)
        return arith.requantize(result, spec.requant, spec.zero_point, spec.low, spec.high).astype(
            self.image.dtype
        )

    def check(self, outcome: Outcome, kernel: PieKernel) -> None:
        """Output equal, nothing read far behind the input, nothing written outside the pixels' pitches, cycles as predicted."""
        spec = self.spec
        assert kernel.overread <= MOST_OVERREAD
        rows = outcome.output.reshape(self.out_height, self._out_row_bytes())
        pixels = rows[:, : spec.out_width * spec.out_pitch].reshape(self.out_height, spec.out_width, spec.out_pitch)
        used = spec.out_channels * spec.element_bytes
        got = np.ascontiguousarray(pixels[..., :used]).view(self.image.dtype)
        np.testing.assert_array_equal(got, self.expected())
        assert outcome.margins_intact
        assert (rows[:, spec.out_width * spec.out_pitch :] == FILL).all()
        written = (used + 15) // 16 * 16
        assert (pixels[..., written:] == FILL).all()
        predicted = kernel.cycles(self.out_height)
        assert abs(outcome.cycles - predicted) <= 0.02 * predicted + 4, (outcome.cycles, predicted)


def random_case(
    rng: np.random.Generator,
    *,
    kernel: tuple[int, int] = (1, 1),
    channels: int = 16,
    outputs: int = 16,
    size: tuple[int, int] = (2, 3),
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    in_pitch: int | None = None,
    out_pitch: int | None = None,
    requant: str = "shift",
    weight_zero: int = 0,
    zero_point: int = 0,
    low: int = -128,
    high: int = 127,
    extreme: bool = False,
    element_bytes: int = 1,
    weight_bytes: int = 1,
    **options: bool,
) -> ConvCase:
    """A case with `size` output rows and pixels whose outputs spread over their range; pitches count elements."""
    shape = (outputs, kernel[0], kernel[1], channels // groups)
    height = (size[0] - 1) * stride[0] + (kernel[0] - 1) * dilation[0] + 1
    width = (size[1] - 1) * stride[1] + (kernel[1] - 1) * dilation[1] + 1
    weights = _numbers(rng, shape, np.int8 if weight_bytes == 1 else np.int16, extreme)
    image = _numbers(rng, (height, width, channels), np.int8 if element_bytes == 1 else np.int16, extreme)
    if element_bytes == 2 and (low, high) == (-128, 127):
        low, high = -32768, 32767
    taps = int(np.prod(shape[1:]))
    reach = taps * 2000 << (8 * (element_bytes + weight_bytes - 2))
    bias = rng.integers(-reach, reach + 1, outputs)
    largest = 128 << (8 * (element_bytes - 1))
    bound = np.abs(weights.astype(np.int64) - weight_zero).sum(axis=(1, 2, 3)) * largest + np.abs(bias)
    spread = 74.0 * 74.0 * np.sqrt(taps) / 64.0 * 256.0 ** (weight_bytes - 1)
    if requant == "shift":
        form: arith.Requant = arith.Shift((max(0, round(np.log2(spread))),))
    elif requant == "shifts":
        form = arith.Shift(tuple(int(s) for s in np.maximum(0, np.round(np.log2(spread)) + rng.integers(-2, 3, outputs))))
    else:
        ratios = rng.uniform(0.5, 2.0, outputs) / spread
        form = arith.choose_requant([float(r) for r in ratios], [int(b) for b in bound], 8 * element_bytes)
    spec = ConvSpec(
        weights=weights,
        bias=bias,
        requant=form,
        out_width=size[1],
        in_pitch=element_bytes * ((channels + 15) // 16 * 16 if in_pitch is None else in_pitch),
        out_pitch=element_bytes * ((outputs + 15) // 16 * 16 if out_pitch is None else out_pitch),
        stride_h=stride[0],
        stride_w=stride[1],
        dilation_h=dilation[0],
        dilation_w=dilation[1],
        groups=groups,
        weight_zero=weight_zero,
        zero_point=zero_point,
        low=low,
        high=high,
        bound=int(bound.max()),
        element_bytes=element_bytes,
    )
    return ConvCase(spec, image, **options)


def _numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: type, extreme: bool) -> np.ndarray:
    limits = np.iinfo(dtype)
    if extreme:
        return rng.choice(np.array([limits.min, limits.max], dtype), shape)
    return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)
