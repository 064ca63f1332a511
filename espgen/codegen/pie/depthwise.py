"""Depthwise convolution of int8 or int16, any kernel, stride and dilation, one output channel per input channel.

Loops: block of 16 bytes of channels / row / runs of pixels, whose steps depthwise_schedule.py plans. A block's record
holds what the epilogue wants, the weights that stay in registers, the bias, and the other weights in the order the
steps load them. What a weight minus its zero point leaves beyond its type is a second product of its tap.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from espgen import arith
from espgen.codegen.pie.asm import Function
from espgen.codegen.pie.conv import accumulator_bound, accumulator_reach
from espgen.codegen.pie.depthwise_schedule import WEIGHT, Bias, Finish, Geometry, Load, Mac, Row, Run, plan_row
from espgen.codegen.pie.epilogue import Epilogue, ScaleEpilogue, ShiftEpilogue, choose_epilogue, load_bias
from espgen.codegen.pie.packing import LANES, padded
from espgen.codegen.pie.registers import A0, A1, A2, A3, A5, SP, Pool, Q, X
from espgen.codegen.pie.spec import ConvSpec, PieKernel
from espgen.codegen.pie.store import Store, Stores, allocate_step, plan_stores
from espgen.errors import Refused

_REGISTERS = 8
_MOST_ROWS = 7
"""Filter rows, each with a pointer of its own."""
_MOST_TAPS = 49
_BIAS_BYTES = 4 * LANES
_FUSED_REACH, _ALONE_REACH = (-128, 112), (-2048, 2032)


def supports(spec: ConvSpec) -> str | None:
    """None where there is a PIE kernel for this depthwise convolution, else the reason why not."""
    try:
        depthwise_kernel(spec)
    except Refused as reason:
        return str(reason)
    return None


def _refusal(spec: ConvSpec) -> str | None:
    """Why there is no PIE kernel, or None; registers may still run out."""
    if spec.groups != spec.out_channels or spec.group_inputs != 1:
        return "not one filter per channel"
    size = spec.element_bytes
    if spec.weights.dtype not in (np.int8, np.int16)[:size]:
        return f"{spec.weights.dtype} weights"
    if spec.in_pitch % size or spec.out_pitch % size:
        return "pitches are no multiple of the element size"
    if size == 1 and isinstance(spec.requant, arith.WideScale):
        return "WideScale is for wider outputs"
    if spec.kernel_h > _MOST_ROWS or spec.kernel_h * spec.kernel_w > _MOST_TAPS:
        return f"a window of {spec.kernel_h}x{spec.kernel_w}"
    if accumulator_bound(spec) >= 2 ** (31 if size == 1 else 62):
        return "accumulators may leave their register"
    try:
        epilogue = _epilogue(spec)
    except Refused as problem:
        return str(problem)
    if isinstance(epilogue, ScaleEpilogue) and epilogue.scale.split > 15:
        return "accumulators too wide for 16-bit factors"
    return None


def _epilogue(spec: ConvSpec) -> Epilogue:
    bound = accumulator_reach(spec)
    return choose_epilogue(
        spec.requant, spec.zero_point, spec.low, spec.high, bound, spec.out_channels, spec.element_bytes
    )


def _parts(spec: ConvSpec) -> tuple[npt.NDArray[np.int64], tuple[tuple[int, npt.NDArray[np.int64]], ...]]:
    """w - weight_zero as weights [channels, taps] and, for the taps where they are too narrow, (tap, what is missing)."""
    limits = np.iinfo(np.int8 if spec.element_bytes == 1 else np.int16)
    left = spec.weights.astype(np.int64).reshape(spec.out_channels, -1) - spec.weight_zero
    near = np.clip(left, limits.min, limits.max)
    left = left - near
    extras = []
    while left.any():
        part = np.clip(left, limits.min, limits.max)
        extras += [(int(tap), part[:, tap]) for tap in np.flatnonzero(part.any(axis=0))]
        left = left - part
    return near, tuple(extras)


@dataclass(frozen=True, eq=False)
class _Plan:
    """Everything decided before code is written."""

    spec: ConvSpec
    weights: npt.NDArray[np.int64]
    extras: tuple[tuple[int, npt.NDArray[np.int64]], ...]
    row: Row
    stores: Stores
    aligned: bool

    @property
    def blocks(self) -> int:
        """Blocks of 16 bytes of channels."""
        return -(-self.spec.out_channels // self.spec.lanes)

    @property
    def streamed(self) -> tuple[int, ...]:
        """Weights in the order of the record."""
        return self.row.main.streamed + (self.row.rest.streamed if self.row.rest else ())


def _plan(spec: ConvSpec) -> _Plan:
    weights, extras = _parts(spec)
    epilogue = _epilogue(spec)
    free = _REGISTERS - epilogue.held
    most = free - max(3, epilogue.clobbered)
    uniform = not extras and bool((weights == weights[:, :1]).all())
    rows = []
    weights_at_most = min(most, spec.kernel_h * spec.kernel_w)
    for pinned in sorted({weights_at_most, most - 1, max(1, weights_at_most - 3)}):
        geometry = Geometry(
            spec.kernel_h,
            spec.kernel_w,
            spec.stride_w,
            spec.dilation_w,
            tuple(tap for tap, _ in extras),
            free,
            pinned,
            epilogue.clobbered if epilogue.clobbered > 1 else 0,
            uniform,
        )
        rows.append(plan_row(geometry, spec.out_width))
    row = min(rows, key=lambda row: row.cost)
    stores = plan_stores(spec.out_channels * spec.element_bytes, spec.out_pitch, spec.out_width)
    return _Plan(spec, weights, extras, row, stores, spec.in_pitch % LANES == 0)


def _packed(spec: ConvSpec) -> ConvSpec | None:
    """The same convolution with several neighbouring pixels of few channels as one of 16 bytes, or None.

    Dense pixels of 8 channels, say, are computed in pairs: 16 lanes whose weights repeat, reading columns 8 bytes apart.
    """
    size = spec.out_channels * spec.element_bytes
    group = LANES // size
    if group < 2 or size * group != LANES or spec.stride_w != 1 or spec.out_width % group:
        return None
    if spec.in_pitch != size or spec.out_pitch != size:
        return None
    requant = spec.requant
    if isinstance(requant, arith.Scale):
        requant = arith.Scale(requant.split, requant.high * group, requant.low * group, requant.shift * group)
    elif isinstance(requant, arith.WideScale):
        requant = arith.WideScale(requant.split, requant.multiplier * group, requant.shift * group)
    elif len(requant.shift) > 1:
        requant = arith.Shift(requant.shift * group)
    return replace(
        spec,
        weights=spec.weights[np.tile(np.arange(len(spec.weights)), group)],
        bias=np.tile(spec.bias, group),
        requant=requant,
        out_width=spec.out_width // group,
        out_pitch=LANES,
        stride_w=group,
        groups=spec.groups * group,
    )


@lru_cache(maxsize=32)
def depthwise_kernel(spec: ConvSpec, *, symbol: str = "", hardware_loops: bool = True) -> PieKernel:
    """The PIE kernel of a depthwise convolution; in_rows point to the pixel that output pixel 0 reads first.

    `symbol` defaults to a name made from the shape and a digest of the code. Raises Refused where `supports` gives
    a reason.
    """
    reason = _refusal(spec)
    if reason is not None:
        raise Refused(reason)
    packed = _packed(spec)
    plan = _plan(packed or spec)
    if packed is not None:
        # Rows of the output may start between multiples of 16.
        plan = replace(plan, stores=replace(plan.stores, misaligned=True))
    if not symbol:
        digest = hashlib.sha256(_function(plan, "kernel", hardware_loops).text().encode()).hexdigest()[:8]
        shape = f"{spec.kernel_h}x{spec.kernel_w}s{spec.stride_h}_{spec.out_channels}_w{spec.out_width}"
        symbol = f"espgen_pie_depthwise{8 * spec.element_bytes}_{shape}_{digest}"
    function = _function(plan, symbol, hardware_loops)
    return PieKernel(symbol, function.text(), _params(plan), function, LANES - 1)


def _function(plan: _Plan, symbol: str, hardware_loops: bool) -> Function:
    spec, row = plan.spec, plan.row
    epilogue = _epilogue(spec)
    form = "shift" if isinstance(epilogue, ShiftEpilogue) else "scale"
    rest = f" and {row.rest.pixels}" if row.rest else ""
    function = Function(
        symbol,
        f"{symbol}: int{8 * spec.element_bytes} depthwise convolution {spec.kernel_h}x{spec.kernel_w} "
        f"stride {spec.stride_h}x{spec.stride_w} dilation {spec.dilation_h}x{spec.dilation_w}, "
        f"{spec.out_channels} channels, {spec.out_width} pixels per row\n"
        f"runs of {row.main.pixels}{rest} pixels, {len(row.main.pinned)} weights in registers, requantization by {form}\n"
        "a0 out_rows, a1 in_rows, a2 params, a3 rows",
        hardware_loops=hardware_loops,
    )
    _Writer(function, plan, epilogue).emit()
    return function


class _Writer:
    """Writes one depthwise function."""

    def __init__(self, f: Function, plan: _Plan, epilogue: Epilogue) -> None:
        self.f, self.plan, self.epilogue, self.spec = f, plan, epilogue, plan.spec
        self.mac = f"esp.vmulas.s{8 * plan.spec.element_bytes}.qacc"
        f.configure(A5, misaligned_loads=not plan.aligned, misaligned_stores=plan.stores.misaligned)
        pool = Pool(exclude=(A0, A1, A2, A3))
        self.record = pool.plain()
        f("mv", self.record, A2)
        self.arguments = f.scratch(12)
        for place, argument in enumerate((A0, A1, A3)):
            f("sw", argument, self.arguments + 4 * place, SP)
        for argument in (A0, A1, A2, A3):
            pool.give_back(argument)
        self.blocks, self.row, self.counter, self.offset = (pool.plain() for _ in range(4))
        self.out_cursor, self.in_cursor = pool.plain(), pool.plain()
        self.out, self.bias, self.stream = pool.take(), pool.take(), pool.take()
        self.pointers = [pool.take() for _ in range(self.spec.kernel_h)]
        epilogue.setup(f, pool)
        self.step = allocate_step(f, plan.stores, pool)
        bytewise = plan.stores.last is not None and plan.stores.last.bytewise
        self.temporary = pool.take() if bytewise else self.counter
        self.far = pool.plain()
        self.held = tuple(Q(_REGISTERS - 1 - number) for number in range(epilogue.held))
        self.steps: dict[int, X] = {}
        for delta in self._far_deltas():
            if pool.left:
                self.steps[delta] = pool.take()
                f("li", self.steps[delta], delta, note="bytes between two inputs of a row")

    def _deltas(self, run: Run, following: Run | None) -> list[tuple[Load, bool, int]]:
        """Input loads of a run in order: (load, whether it rides on a Mac, bytes to the next load of its row)."""
        loads = [(step.load, True) if isinstance(step, Mac) else (step, False) for step in run.steps]
        inputs = [(load, fused) for load, fused in loads if isinstance(load, Load) and load.item[0] != WEIGHT]
        result = []
        for place, (load, fused) in enumerate(inputs):
            row, column = load.item
            after = next((other.item[1] for other, _ in inputs[place + 1 :] if other.item[0] == row), None)
            if after is None:
                after = column if following is None else run.pixels * self.spec.stride_w + _first_column(following, row)
            result.append((load, fused, (after - column) * self.spec.in_pitch))
        return result

    def _segments(self) -> list[tuple[Run, int, Run | None]]:
        """Runs of a row, how often each is repeated, and the run that its pointers are left ready for."""
        row = self.plan.row
        if row.rest is None:
            return [(row.main, row.trips, row.main if row.trips > 1 else None)]
        return [(row.main, row.trips, row.main if row.trips > 1 else row.rest), (row.rest, 1, None)]

    def _far_deltas(self) -> list[int]:
        """Pointer steps that need a register, the most frequent ones first."""
        counts: Counter[int] = Counter()
        for run, trips, following in self._segments():
            for _, fused, delta in self._deltas(run, following):
                if not _fits(delta, _FUSED_REACH if fused else _ALONE_REACH):
                    counts[delta] += trips
        return [delta for delta, _ in counts.most_common()]

    def emit(self) -> None:
        """Write the loops."""
        f, stores = self.f, self.plan.stores
        f("li", self.offset, 0)
        if stores.full_blocks:
            with f.repeat(stores.full_blocks, self.blocks):
                self._block(stores.full)
                if stores.full_blocks > 1 or stores.last is not None:
                    self._add(self.record, _record_bytes(self.plan, self.epilogue))
                    f("addi", self.offset, self.offset, LANES)
        if stores.last is not None:
            f.comment("last block: fewer channels")
            self._block(stores.last)

    def _add(self, register: X, value: int) -> None:
        if -2048 <= value <= 2047:
            if value:
                self.f("addi", register, register, value)
        else:
            self.f("li", self.far, value)
            self.f("add", register, register, self.far)

    def _block(self, store: Store) -> None:
        f, plan = self.f, self.plan
        pinned = len(plan.row.main.pinned)
        f("mv", self.stream, self.record)
        constants = LANES * (pinned + len(plan.streamed)) + _BIAS_BYTES
        self.epilogue.start_block(f, self.stream, self.held, constants)
        for number in range(pinned):
            f("esp.vld.128.ip", Q(number), self.stream, LANES, note="weights that stay")
        f("mv", self.bias, self.stream)
        for place, register in enumerate((self.out_cursor, self.in_cursor, self.row)):
            f("lw", register, self.arguments + 4 * place, SP)
        with f.repeat("rows", self.row):
            self._row(store)
            f("addi", self.in_cursor, self.in_cursor, 4 * self.spec.stride_h)
            f("addi", self.out_cursor, self.out_cursor, 4)

    def _row(self, store: Store) -> None:
        f, row = self.f, self.plan.row
        f("lw", self.out, 0, self.out_cursor)
        for ky, pointer in enumerate(self.pointers):
            f("lw", pointer, 4 * ky * self.spec.dilation_h, self.in_cursor)
        f("add", self.out, self.out, self.offset)
        for pointer in self.pointers:
            f("add", pointer, pointer, self.offset)
        self._move_pointers(None, row.main)
        f("addi", self.stream, self.bias, _BIAS_BYTES, note="weights in the order of their loads")
        looped = row.trips > 1
        with f.loop(row.trips, self.counter):
            self._run(row.main, row.main if looped else row.rest, store, rewind=looped)
        if row.rest is not None:
            f.comment(f"the last {row.rest.pixels} pixels")
            if looped:
                self._move_pointers(row.main, row.rest)
                self._add(self.stream, LANES * len(row.main.streamed))
            self._run(row.rest, None, store, rewind=False)

    def _move_pointers(self, ready: Run | None, wanted: Run) -> None:
        """Pointers stand at the first column of `ready` (or of the row): bring them to that of `wanted`."""
        for ky, pointer in enumerate(self.pointers):
            column = _first_column(wanted, ky) - (0 if ready is None else _first_column(ready, ky))
            self._add(pointer, column * self.spec.in_pitch)

    def _run(self, run: Run, following: Run | None, store: Store, *, rewind: bool) -> None:
        f = self.f
        deltas = iter(self._deltas(run, following))
        weights_left = len(run.streamed)
        for step in run.steps:
            if isinstance(step, Bias):
                if step.part == 0:
                    load_bias(f, self.bias, _BIAS_BYTES, None)
                continue
            if isinstance(step, Finish):
                registers = tuple(Q(number) for number in step.registers)
                out = self.epilogue.emit(f, registers, self.held)
                store.emit(f, out, self.out, self.step, self.temporary)
                continue
            load = step.load if isinstance(step, Mac) else step
            mac = step if isinstance(step, Mac) else None
            if load is None:
                assert mac is not None
                f(self.mac, Q(mac.value), Q(mac.weight))
            elif load.item[0] == WEIGHT:
                weights_left -= 1
                back = LANES * (1 - len(run.streamed)) if rewind and weights_left == 0 else LANES
                self._load(load, mac, self.stream, back, 0.0, f"weight {load.item[1]}")
            else:
                _, _, delta = next(deltas)
                row, column = load.item
                self._load(
                    load, mac, self.pointers[row], delta, self._extra(run, column), f"row {row} column {column}"
                )

    def _extra(self, run: Run, column: int) -> float:
        """Mean cycles that misalignment costs a load of this column: the share of the run's repetitions with it."""
        plan_row, step = self.plan.row, self.spec.stride_w
        main = plan_row.main.pixels * step
        bases = [plan_row.trips * main] if run is plan_row.rest else [trip * main for trip in range(plan_row.trips)]
        return sum((base + column) * self.spec.in_pitch % LANES != 0 for base in bases) / len(bases)

    def _load(self, load: Load, mac: Mac | None, pointer: X, delta: int, extra: float, note: str) -> None:
        f = self.f
        target = Q(load.register)
        factors = () if mac is None else (Q(mac.value), Q(mac.weight))
        stem = "esp.vld.128" if mac is None else f"{self.mac}.ld"
        if _fits(delta, _ALONE_REACH if mac is None else _FUSED_REACH):
            f(f"{stem}.ip", target, pointer, delta, *factors, note=note, extra=extra)
        elif delta in self.steps:
            f(f"{stem}.xp", target, pointer, self.steps[delta], *factors, note=note, extra=extra)
        else:
            f(f"{stem}.ip", target, pointer, 0, *factors, note=note, extra=extra)
            self._add(pointer, delta)


def _fits(delta: int, reach: tuple[int, int]) -> bool:
    return delta % LANES == 0 and reach[0] <= delta <= reach[1]


def _first_column(run: Run, row: int) -> int:
    """The input column that a run loads first in a filter row."""
    loads = [step.load if isinstance(step, Mac) else step for step in run.steps]
    return next(load.item[1] for load in loads if isinstance(load, Load) and load.item[0] == row)


def _record_bytes(plan: _Plan, epilogue: Epilogue) -> int:
    vectors = len(plan.row.main.pinned) + len(plan.streamed)
    return epilogue.block_constants + epilogue.pixel_constants + LANES * vectors + _BIAS_BYTES


def _params(plan: _Plan) -> bytes:
    """One record per block."""
    spec, epilogue = plan.spec, _epilogue(plan.spec)
    lanes, count = spec.lanes * plan.blocks, spec.kernel_h * spec.kernel_w
    taps = np.zeros((lanes, count + len(plan.extras)), f"<i{spec.element_bytes}")
    taps[: spec.out_channels, :count] = plan.weights
    for number, (_, missing) in enumerate(plan.extras):
        taps[: spec.out_channels, count + number] = missing
    wide = np.int32 if spec.element_bytes == 1 else np.int64
    bias = padded(epilogue.bias(np.asarray(spec.bias, np.int64)), wide, lanes)
    records = []
    for block in range(plan.blocks):
        part = slice(block * spec.lanes, (block + 1) * spec.lanes)
        held, pixel = epilogue.pack(block)
        vectors = taps[part][:, list(plan.row.main.pinned)].T.tobytes()
        streamed = taps[part][:, list(plan.streamed)].T.tobytes()
        records.append(held + vectors + bias[part].tobytes() + streamed + pixel)
    return b"".join(records)
