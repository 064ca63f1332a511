"""Convolution in int8 or int16, any kernel, stride, dilation and grouping; a dense layer is the 1x1 case of one pixel.

Loops: block of 16 output channels / row / pixel. A pixel's multiply-accumulates are unrolled as planned by stream.py;
where that is too much code, runs of 16-channel windows become hardware loops (conv_body.py holds both bodies).
A weight zero point goes into the weights (weight_zero.py), or a pre-pass per row leaves -zw * sum x of every pixel on
the stack, shared by all blocks (correction.py).
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np

from espgen import arith
from espgen.codegen.pie.asm import Function
from espgen.codegen.pie.conv_body import LoopedBody, PixelBody, UnrolledBody
from espgen.codegen.pie.conv_frame import GROUP_WORD, ConvFrame, Geometry
from espgen.codegen.pie.correction import MOST_MASKS, header, mask_shapes
from espgen.codegen.pie.epilogue import Epilogue, ScaleEpilogue, ShiftEpilogue, as_scale, choose_epilogue
from espgen.codegen.pie.packing import LANES, Block, Window, advances, blocks, input_windows, padded, weight_vectors
from espgen.codegen.pie.spec import ConvSpec, PieKernel
from espgen.codegen.pie.store import plan_stores
from espgen.codegen.pie.weight_zero import joined_blocks, rest_taps, split, with_rests
from espgen.errors import Refused

MOST_UNROLLED = 1150
"""Instructions of a pixel body up to which it is unrolled whole (4.6 KB)."""
_MOST_CODE_BYTES = 48000
MOST_OVERREAD = 48
"""Bytes behind the input that a kernel may read at most."""
# Cycles of the run-time correction per pixel and block, and per pixel besides two for each window.
_CORRECTION_OF_BLOCK, _CORRECTION_OF_PIXEL = 6, 8
_UNNAMED = "espgen_pie_unnamed"
_STACK_FOR_CORRECTION = 1600


def accumulator_bound(spec: ConvSpec) -> int:
    """Largest |sum| in any order of summation, for any input of the type, over all channels."""
    largest = 1 << (8 * spec.element_bytes - 1)
    magnitude = np.abs(spec.weights.astype(np.int64) - spec.weight_zero).sum(axis=(1, 2, 3)) * largest
    return int((magnitude + np.abs(np.asarray(spec.bias, np.int64))).max())


def accumulator_reach(spec: ConvSpec) -> int:
    """Largest |accumulator| that can be left when all is summed, for any input of the type, over all channels."""
    weights = spec.weights.astype(np.int64) - spec.weight_zero
    least, most = -(1 << (8 * spec.element_bytes - 1)), (1 << (8 * spec.element_bytes - 1)) - 1
    positive, negative = (np.maximum(sign * weights, 0).sum(axis=(1, 2, 3)) for sign in (1, -1))
    bias = np.asarray(spec.bias, np.int64)
    high = bias + positive * most - negative * least
    low = bias + positive * least - negative * most
    return int(max(high.max(), -low.min()))


def supports(spec: ConvSpec) -> str | None:
    """None where there is a PIE kernel for this convolution, else the reason why not."""
    try:
        conv_kernel(spec)
    except Refused as reason:
        return str(reason)
    return None


class _Plan:
    """Everything decided before code is written. Raises Refused."""

    def __init__(self, spec: ConvSpec) -> None:
        self.spec = spec
        size = spec.element_bytes
        if spec.weights.dtype not in (np.int8, np.int16)[:size] or spec.weights.ndim != 4 or spec.weights.size == 0:
            raise Refused("weights are not int8 (int16 with int16 activations) [O, KH, KW, I / groups]")
        if spec.in_pitch % size or spec.out_pitch % size:
            raise Refused("pitches are no multiple of the element size")
        if spec.out_channels % spec.groups:
            raise Refused("output channels are no multiple of the groups")
        if isinstance(spec.requant, arith.WideScale) and size == 1:
            raise Refused("WideScale is for wider outputs")
        self.bound = min(accumulator_reach(spec), *(() if spec.bound is None else (spec.bound,)), 2**62)
        if max(accumulator_bound(spec), self._raw_bound()) >= 2 ** (31 if size == 1 else 62):
            raise Refused("accumulators may leave 32 bits")
        self.weight_zero = spec.weight_zero
        self.blocks = blocks(spec.weights, spec.groups, spec.lanes)
        channels = self.blocks[0].weights.shape[3]
        self.aligned = spec.in_pitch % LANES == 0 and all(b.first_input % spec.lanes == 0 for b in self.blocks)
        self.windows = input_windows(
            spec.kernel_h, spec.kernel_w, channels, spec.in_pitch, spec.dilation_w, aligned=self.aligned, size=size
        )
        self._absorb_weight_zero(channels)
        self.pixel_step = spec.stride_w * spec.in_pitch
        self.steps = advances(self.windows, self.pixel_step)
        self.stores = plan_stores(size * spec.out_channels, spec.out_pitch, spec.out_width)
        self.epilogue = self._epilogue()
        if self.weight_zero:
            reason = self._no_correction()
            if reason is not None:
                raise Refused(reason)

    def _no_correction(self) -> str | None:
        """Why the weight zero point's term cannot be computed at run time, or None."""
        if self.spec.element_bytes == 2:
            return "16-bit weights with a zero point that does not fold into them"
        if self.offsets:
            return "grouped convolution with a weight zero point"
        if 4 * self.spec.out_width > _STACK_FOR_CORRECTION:
            return "rows too wide for the weight zero point's sums on the stack"
        if len(mask_shapes(self.windows)) > MOST_MASKS:
            return "too many window shapes for the weight zero point's sums"
        return None

    def _absorb_weight_zero(self, channels: int) -> None:
        """Move the zero point into the weights, with a second product where one is too narrow, if that is cheaper."""
        parts = split(self.spec.weights, self.weight_zero, self.spec.element_bytes)
        if parts is None:
            return
        whole = joined_blocks(parts, self.spec.groups, self.spec.lanes)
        if parts.rest is not None:
            taps = rest_taps(whole, channels)
            per_block = _CORRECTION_OF_BLOCK + (_CORRECTION_OF_PIXEL + 2 * len(self.windows)) / len(whole)
            if taps.sum() > per_block and self._no_correction() is None:
                return
            self.windows = with_rests(self.windows, taps)
        self.blocks, self.weight_zero = whole, 0

    def _raw_bound(self) -> int:
        """Largest sum of products before the weight zero point's correction."""
        spec = self.spec
        total = np.abs(spec.weights.astype(np.int64)).sum(axis=(1, 2, 3)) << (8 * spec.element_bytes - 1)
        return int((total + np.abs(np.asarray(spec.bias, np.int64))).max())

    @property
    def offsets(self) -> bool:
        """Whether blocks read different input channels."""
        return len({block.first_input for block in self.blocks}) > 1

    @property
    def record_bytes(self) -> int:
        """Constants of one block."""
        macs = sum(len(window.lanes) for window in self.windows)
        constants = self.epilogue.block_constants + self.epilogue.pixel_constants
        return (GROUP_WORD if self.offsets else 0) + LANES * macs + 4 * LANES + constants

    def _epilogue(self) -> Epilogue:
        spec = self.spec
        if not self.weight_zero:
            return choose_epilogue(
                spec.requant,
                spec.zero_point,
                spec.low,
                spec.high,
                self.bound,
                spec.out_channels,
                spec.element_bytes,
            )
        scale = as_scale(spec.requant, self.bound, spec.out_channels)
        if scale.split > 15:
            raise Refused("accumulators too wide for 16-bit factors")
        return ScaleEpilogue(scale, spec.zero_point, spec.low, spec.high, self.bound)

    def misaligned_share(self, window: Window) -> float:
        """Mean extra cycles of a window's load: the share of pixels where it is not 16-byte aligned."""
        if self.aligned:
            return 0.0
        pixels = np.arange(min(self.spec.out_width, LANES)) * self.pixel_step + window.offset
        starts = np.array([self.spec.element_bytes * block.first_input for block in self.blocks])
        return float(np.mean((pixels + starts[:, None]) % LANES != 0))


@lru_cache(maxsize=128)
def conv_kernel(spec: ConvSpec, *, hardware_loops: bool = True) -> PieKernel:
    """The PIE kernel of a convolution.

    Its symbol is made from the shape and a digest of the code, so that layers with equal code share one function.
    Raises Refused where `supports` gives a reason.
    """
    plan = _Plan(spec)
    function, body = _function(plan, hardware_loops)
    if function.code_bytes > _MOST_CODE_BYTES:
        raise Refused(f"{function.code_bytes} bytes of code")
    text = function.text()
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    shape = f"{spec.kernel_h}x{spec.kernel_w}s{spec.stride_h}_{spec.in_channels}_{spec.out_channels}"
    symbol = f"espgen_pie_conv{8 * spec.element_bytes}_{shape}_w{spec.out_width}_{digest}"
    return PieKernel(symbol, text.replace(_UNNAMED, symbol), _params(plan, body), function, _overread(plan, body))


def _body(plan: _Plan) -> PixelBody:
    macs = sum(len(window.lanes) for window in plan.windows)
    kind = f"s{8 * plan.spec.element_bytes}"
    if macs + len(plan.windows) <= MOST_UNROLLED:
        # The last pixel of a row loads ahead too: not further behind the input than memory is sure to be readable.
        gap = plan.pixel_step - _used_bytes(plan)
        ahead = sum(gap + LANES * count <= MOST_OVERREAD for count in (1, 2))
        return UnrolledBody(plan.windows, plan.epilogue, kind, ahead)
    return LoopedBody(plan.windows, plan.epilogue, kind)


def _summary(plan: _Plan) -> str:
    spec = plan.spec
    form = "shift" if isinstance(plan.epilogue, ShiftEpilogue) else "scale"
    kind = f"int{8 * spec.element_bytes}"
    macs = sum(len(window.lanes) for window in plan.windows)
    return (
        f"{_UNNAMED}: {kind} convolution {spec.kernel_h}x{spec.kernel_w} stride {spec.stride_h}x{spec.stride_w} dilation "
        f"{spec.dilation_h}x{spec.dilation_w}, {spec.in_channels} -> {spec.out_channels} channels, {spec.groups} "
        f"group(s), {spec.out_width} pixels per row\n"
        f"{macs} multiply-accumulates of {spec.lanes} lanes per pixel and block, {len(plan.windows)} input loads, "
        f"requantization by {form}\n"
        "a0 out_rows, a1 in_rows, a2 params, a3 rows"
    )


def _function(plan: _Plan, hardware_loops: bool) -> tuple[Function, PixelBody]:
    spec = plan.spec
    function = Function(_UNNAMED, _summary(plan), hardware_loops=hardware_loops)
    body = _body(plan)
    geometry = Geometry(
        windows=plan.windows,
        steps=plan.steps,
        extra=tuple(plan.misaligned_share(window) for window in plan.windows),
        pixel_step=plan.pixel_step,
        out_width=spec.out_width,
        stride_h=spec.stride_h,
        dilation_h=spec.dilation_h,
        record_bytes=plan.record_bytes,
        header_bytes=len(header(plan.windows, plan.weight_zero)),
        offsets=plan.offsets,
        misaligned_loads=not plan.aligned,
        corrected=plan.weight_zero != 0,
    )
    ConvFrame(function, geometry, body, plan.epilogue, plan.stores).emit()
    return function, body


def _params(plan: _Plan, body: PixelBody) -> bytes:
    """Header (masks of the weight zero point), then one record per block."""
    spec = plan.spec
    lanes, wide = spec.lanes, np.int32 if spec.element_bytes == 1 else np.int64
    bias = padded(plan.epilogue.bias(np.asarray(spec.bias, np.int64)), wide, lanes * len(plan.blocks))
    records = [header(plan.windows, plan.weight_zero)]
    for number, block in enumerate(plan.blocks):
        records.append(_record(plan, body, number, block, bias[number * lanes : (number + 1) * lanes]))
    return b"".join(records)


def _record(plan: _Plan, body: PixelBody, number: int, block: Block, bias: np.ndarray) -> bytes:
    vectors = weight_vectors(block, plan.windows)
    ordered = np.zeros_like(vectors)
    ordered[list(body.order)] = vectors
    held, pixel = plan.epilogue.pack(number)
    start = np.array([block.first_input * plan.spec.element_bytes, 0, 0, 0], "<i4").tobytes() if plan.offsets else b""
    return start + held + ordered.tobytes() + bias.tobytes() + pixel


def _used_bytes(plan: _Plan) -> int:
    """From a pixel's first input byte to the last it needs."""
    size = plan.spec.element_bytes
    return max(window.offset + size * (max(lane for lane, _, _ in window.lanes) + 1) for window in plan.windows)


def _overread(plan: _Plan, body: PixelBody) -> int:
    """Bytes a call may read past the last input byte it needs."""
    spec = plan.spec
    end = _used_bytes(plan) + plan.pixel_step * (spec.out_width - 1)
    reach = max(window.offset + LANES for window in plan.windows) + plan.pixel_step * (spec.out_width - 1)
    ahead = max((window.offset + LANES for window in plan.windows[: body.primed]), default=0)
    if body.primed:
        reach = max(reach, ahead + plan.pixel_step * spec.out_width)
    return reach - end
