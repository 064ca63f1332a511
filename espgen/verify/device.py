"""A device that runs the verification agent: a board, the simulator, or the agent as a host process."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from espgen.errors import MISMATCH, EspgenError, environment_error
from espgen.resources import MODEL_ABI
from espgen.verify.link import DeviceRefusal, Link, printable
from espgen.verify.model_info import LayerInfo, ModelInfo, TensorInfo, not_the_graphs, parse_text, read_model_info
from espgen.verify.protocol import MAX_DATA, PROTOCOL_VERSION, Counter, ErrorCode, RunFlag, Status, Type
from espgen.verify.rows import hash_rows

INPUT_ATTEMPTS = 3

STATUSES = {
    Status.VECTOR_UNIT_DISTURBED: (
        "another task used the vector unit of the same core, and the system did not keep all of its state,",
        "let one task per core use it, or let every other hold espgen::VectorLock meanwhile (espgen/port.h)",
    ),
    Status.IN_INTERRUPT: ("the model was called from an interrupt handler", "call it from a task"),
}
"""What a run's status says, and what to do about it."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Hello:
    """What a device says about itself. `revision` is major * 100 + minor of the chip, 0 where there is none."""

    protocol: int
    abi: int
    hash: str
    model: str
    target: str
    build_id: str
    clock_hz: int
    revision: int
    counters: Counter
    tensors: int
    layers: int
    steps: int
    layer_outputs: int


@dataclass(frozen=True)
class RunReport:
    """How a run ended: cycles, instructions and stall cycles are sums over its steps."""

    stopped: bool
    finished: bool
    cold: bool
    next_step: int
    layer: int
    row_begin: int
    row_end: int
    cycles: int
    instructions: int
    stalls: int


@dataclass(frozen=True)
class LayerHash:
    """Row hash of one layer output and how many rows went into it."""

    hash: int
    rows: int


@dataclass(frozen=True)
class LayerProfile:
    """Counters of one layer, summed over its steps."""

    name: str
    op: str
    macs: int
    cycles: int
    instructions: int
    stalls: int


@dataclass(frozen=True)
class Profile:
    """Counters of a whole run; the layers' sum equals the total. `cold`: the caches were empty at its start."""

    cycles: int
    instructions: int
    stalls: int
    clock_hz: int
    cold: bool
    layers: tuple[LayerProfile, ...]


@dataclass(frozen=True)
class MemoryInfo:
    """Bytes the component needs, and what its planner said."""

    internal: int
    psram: int
    weights: int
    planner: str


class Device:
    """The requests of the protocol, by name. Made by `connect`.

    Inputs and results are arrays in the tensor's own integer type and logical shape (channels last), by value name.
    """

    def __init__(self, link: Link, hello: Hello, info: ModelInfo) -> None:
        self.link = link
        self.hello = hello
        self.info = info

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """The model's layers in order."""
        return self.info.layers

    @staticmethod
    def connect(link: Link, expected_hash: str | None = None, expected: ModelInfo | None = None) -> Device:
        """Say hello and read the model's description.

        EspgenError (exit code 3) where nothing answers, where the firmware speaks another protocol, where it was
        built from another model than `expected_hash` (64 hex digits) names, or where it does not describe the `expected`
        tensors, layers and ports, all of them. Without `expected`, the device is believed.
        """
        hello = parse_hello(_hello_or_reset(link))
        if hello.protocol != PROTOCOL_VERSION or hello.abi != MODEL_ABI:
            raise environment_error(
                f"the firmware speaks protocol {hello.protocol} with model ABI {hello.abi}, this espgen "
                f"{PROTOCOL_VERSION} and {MODEL_ABI}",
                place=link.place,
                hint="compile the component again with this espgen, then build and flash",
            )
        if expected_hash is not None and hello.hash != expected_hash.lower():
            raise environment_error(
                f"the firmware was built from another model ({hello.model!r}, {hello.hash[:12]}.., build "
                f"{hello.build_id[:12]}) than the component ({expected_hash[:12].lower()}..)",
                place=link.place,
                hint="build and flash the component again",
            )

        def describe(what: int, index: int) -> bytes:
            return link.request(Type.DESCRIBE, struct.pack("<BH", what, index))

        if expected is not None:
            found = (hello.steps, hello.layer_outputs)
            if found != (expected.steps, len(expected.layer_outputs)):
                wanted = f"{expected.steps} and {len(expected.layer_outputs)}"
                raise not_the_graphs(f"it has {found[0]} steps and {found[1]} layer outputs, the component {wanted}")
        return Device(link, hello, read_model_info(describe, hello.tensors, hello.layers, expected))

    def run(self, inputs: Mapping[str, np.ndarray], progress: Progress | None = None) -> dict[str, np.ndarray]:
        """Run once and return the model's outputs."""
        self.run_model(inputs, RunFlag(0), progress=progress)
        return self.outputs()

    def outputs(self) -> dict[str, np.ndarray]:
        """The model's outputs as the last complete run left them."""
        return {tensor.name: self.read_tensor(tensor) for tensor in self.info.outputs}

    def layer_hashes(
        self,
        inputs: Mapping[str, np.ndarray],
        *,
        check_memory: bool = False,
        progress: Progress | None = None,
    ) -> dict[str, LayerHash]:
        """Run once; the hash of every layer output. The outputs can be read afterwards.

        With `check_memory`, all bytes of the arenas that no buffer holds at a step are overwritten before it and
        compared after it: EspgenError where a layer wrote to one of them.
        """
        flags = RunFlag.HASH | (RunFlag.GUARD if check_memory else RunFlag(0))
        self.run_model(inputs, flags, progress=progress)
        tensors = self.info.layer_outputs
        table = self._table(Type.HASHES, "<II", len(tensors))
        return {tensor.name: LayerHash(*entry) for tensor, entry in zip(tensors, table, strict=True)}

    def read_layer(
        self, inputs: Mapping[str, np.ndarray], layer: LayerInfo | int, progress: Progress | None = None
    ) -> dict[str, np.ndarray]:
        """Run up to and including `layer`, reading the rows of its outputs as they are made.

        EspgenError where the layer's steps leave a row out.
        """
        chosen = self.info.layers[layer] if isinstance(layer, int) else layer
        tensors = self.info.outputs_of(chosen)
        data = {tensor.name: bytearray(tensor.nbytes) for tensor in tensors}
        missing = {tensor.name: set(range(tensor.rows)) for tensor in tensors}
        report = self.run_model(inputs, RunFlag.STOP_AT_LAYER, chosen.index, progress)
        stops = 0
        while report.stopped:
            stops += 1
            if stops > self.hello.steps:
                raise _nonsense()
            for tensor in tensors:
                begin, end = min(report.row_begin, tensor.rows), min(report.row_end, tensor.rows)
                if begin > end:
                    raise _nonsense()
                start = begin * tensor.row_bytes
                packed = self._read(tensor, start, (end - begin) * tensor.row_bytes)
                data[tensor.name][start : start + len(packed)] = packed
                missing[tensor.name] -= set(range(begin, end))
            if not any(missing.values()):
                break
            report = self._go_on(chosen.index, progress)
        for name, rows in missing.items():
            if rows:
                raise environment_error(f"no step of {chosen.name} makes row {min(rows)} of {name}")
        return {tensor.name: tensor.array(bytes(data[tensor.name])) for tensor in tensors}

    def profile(
        self, inputs: Mapping[str, np.ndarray], *, cold: bool = True, progress: Progress | None = None
    ) -> Profile:
        """Run once and count per layer; `cold` empties the caches first where the board can."""
        flags = RunFlag.PROFILE | (RunFlag.COLD if cold else RunFlag(0))
        report = self.run_model(inputs, flags, progress=progress)
        table = self._table(Type.PROFILE, "<QQQ", len(self.info.layers))
        layers = tuple(
            LayerProfile(layer.name, layer.op, layer.macs, *counters)
            for layer, counters in zip(self.info.layers, table, strict=True)
        )
        if self.hello.clock_hz == 0 or report.cycles != sum(layer.cycles for layer in layers):
            raise _nonsense()
        return Profile(
            report.cycles, report.instructions, report.stalls, self.hello.clock_hz, report.cold, layers
        )

    def memory(self) -> MemoryInfo:
        """The component's memory needs."""
        data = self.link.request(Type.MEMORY)
        with _Sense():
            internal, psram, weights = struct.unpack_from("<III", data)
            planner, _ = parse_text(data, 12)
        return MemoryInfo(internal, psram, weights, planner)

    def reset(self) -> None:
        """Restart the device; a new `connect` is needed."""
        self.link.request(Type.RESET)

    def run_model(
        self,
        inputs: Mapping[str, np.ndarray],
        flags: RunFlag,
        stop_layer: int = 0,
        progress: Progress | None = None,
    ) -> RunReport:
        """Write the inputs and run. The device compares the inputs with a hash sent along before it starts.

        EspgenError for inputs that are missing or have another shape or type.
        """
        packed = [packed_input(tensor, inputs) for tensor in self.info.inputs]
        announced = 0
        for data, tensor in zip(packed, self.info.inputs, strict=True):
            announced = (31 * announced + hash_rows(data, tensor.row_bytes)) % (1 << 32)
        request = struct.pack("<BHHI", flags, stop_layer, len(packed), announced)
        for attempt in range(1, INPUT_ATTEMPTS + 1):
            for tensor, data in zip(self.info.inputs, packed, strict=True):
                self._write(tensor, data)
            try:
                return self._run(request, progress)
            except DeviceRefusal as refusal:
                if refusal.code != ErrorCode.INPUT or attempt == INPUT_ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def _run(self, request: bytes, progress: Progress | None) -> RunReport:
        """EspgenError (exit code 1) where a layer did what no layer may, or where something was done to it."""
        try:
            return _parse_run(self.link.request(Type.RUN, request, progress, self.hello.steps))
        except DeviceRefusal as refusal:
            if refusal.code == ErrorCode.GUARD:
                raise self._stray(refusal.detail) from refusal
            if refusal.code == ErrorCode.STATUS:
                raise self._disturbed(refusal.detail) from refusal
            raise

    def _disturbed(self, detail: bytes) -> EspgenError:
        with _Sense():
            status, layer = struct.unpack("<BH", detail)
            name = self.info.layers[layer].name
            what, hint = STATUSES[Status(status)]
        return EspgenError(f"{what} while {name} ran", node=name, hint=hint, exit_code=MISMATCH)

    def _stray(self, detail: bytes) -> EspgenError:
        with _Sense():
            _, offset, layer = struct.unpack_from("<HIH", detail)
            arena, _ = parse_text(detail, 8)
            name = self.info.layers[layer].name
        return EspgenError(
            f"a kernel wrote outside its memory: arena {arena} was written at byte {offset}, in no buffer of {name}",
            node=name,
            hint="this is a defect of espgen: please report it with the model",
            exit_code=MISMATCH,
        )

    def read_tensor(self, tensor: TensorInfo) -> np.ndarray:
        """All of a tensor that the device holds now: a model output after a run, an input before one."""
        return tensor.array(self._read(tensor, 0, tensor.nbytes))

    def _go_on(self, stop_layer: int, progress: Progress | None) -> RunReport:
        flags = RunFlag.CONTINUE | RunFlag.STOP_AT_LAYER
        request = struct.pack("<BH", flags, stop_layer)
        return self._run(request, progress)

    def _write(self, tensor: TensorInfo, data: bytes) -> None:
        step = MAX_DATA - 6
        for offset in range(0, len(data), step):
            header = struct.pack("<HI", tensor.index, offset)
            self.link.request(Type.WRITE, header + data[offset : offset + step])

    def _read(self, tensor: TensorInfo, offset: int, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            count = min(MAX_DATA, size - len(data))
            piece = self.link.request(Type.READ, struct.pack("<HIH", tensor.index, offset + len(data), count))
            if len(piece) != count:
                raise _nonsense()
            data += piece
        return bytes(data)

    def _table(self, kind: Type, layout: str, count: int) -> list[tuple[int, ...]]:
        entries: list[tuple[int, ...]] = []
        while len(entries) < count:
            data = self.link.request(kind, struct.pack("<H", len(entries)))
            with _Sense():
                piece = list(struct.iter_unpack(layout, data))
            if not piece or len(entries) + len(piece) > count:
                raise _nonsense()
            entries += piece
        return entries


def packed_input(tensor: TensorInfo, inputs: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of an input as the device takes them. EspgenError where it is missing or of another kind."""
    array = inputs.get(tensor.name)
    if array is None:
        raise EspgenError(f"no data for input {tensor.name!r}", hint=f"the data has: {', '.join(inputs) or 'nothing'}")
    if array.dtype != tensor.dtype or tuple(array.shape) != tensor.shape:
        raise EspgenError(
            f"input {tensor.name!r} is {array.dtype} of shape {tuple(array.shape)}, the model takes "
            f"{tensor.dtype} of shape {tensor.shape}"
        )
    return np.ascontiguousarray(array, tensor.dtype.newbyteorder("<")).tobytes()


def parse_hello(data: bytes) -> Hello:
    """EspgenError where `data` is no HELLO reply."""
    with _Sense():
        (version,) = struct.unpack_from("<H", data)
        if version != PROTOCOL_VERSION:  # nothing else of another version's reply can be relied on
            return Hello(version, 0, "", "", "", "", 0, 0, Counter(0), 0, 0, 0, 0)
        _, abi, digest, clock, revision, counters, tensors, layers, steps, layer_outputs = struct.unpack_from(
            "<HI32sIIBHHII", data, 2
        )
        target, place = parse_text(data, 2 + struct.calcsize("<HI32sIIBHHII"))
        build_id, place = parse_text(data, place)
        model, _ = parse_text(data, place)
    return Hello(
        version,
        abi,
        digest.hex(),
        printable(model),
        printable(target),
        printable(build_id),
        clock,
        revision,
        Counter(counters),
        tensors,
        layers,
        steps,
        layer_outputs,
    )


def _hello_or_reset(link: Link) -> bytes:
    """Say hello; where nothing answers and the port has a reset line, once more after a reset."""
    try:
        return link.hello()
    except EspgenError:
        reset: Callable[[], bool] | None = getattr(link.transport, "reset", None)
        if reset is None or not reset():
            raise
    return link.hello()


def _parse_run(data: bytes) -> RunReport:
    with _Sense():
        stopped, finished, cold, *rest = struct.unpack("<BBBIHIIQQQ", data)
    return RunReport(bool(stopped), bool(finished), bool(cold), *rest)


def _nonsense() -> EspgenError:
    return environment_error(
        "the device's reply makes no sense", hint="build and flash the component again with this espgen"
    )


class _Sense:
    """Turns a malformed reply into an EspgenError."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, value: BaseException | None, trace: Any) -> None:
        if isinstance(value, (struct.error, ValueError, IndexError)):
            raise _nonsense() from value
