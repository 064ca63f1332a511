"""The agent itself, as a host process and in the simulator, driven by the real host side."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest
from toy_reference import HASH, LAYER_VALUES, TOY, AgentProcess, sanitizers, toy_input, toy_reference

from espgen.errors import ENVIRONMENT, EspgenError
from espgen.verify.build import build_firmware, build_host_agent
from espgen.verify.device import Device
from espgen.verify.framing import Frame, FrameDecoder, encode_frame
from espgen.verify.link import DeviceRefusal, Link, Timing, open_serial
from espgen.verify.protocol import MAX_DATA, PROTOCOL_VERSION, Counter, ErrorCode, NakReason, RunFlag, Type
from espgen.verify.rows import hash_rows
from espgen.verify.simulator import Simulator

TIMING = Timing(reply=5.0, hello=10.0, drain=0.02, drain_limit=0.2)


@pytest.fixture
def device() -> Iterator[Device]:
    with Link(AgentProcess(build_host_agent(TOY)), timing=TIMING) as link:
        yield Device.connect(link, expected_hash=HASH)


@pytest.fixture(scope="module", params=["host", "simulator"])
def any_device(request: pytest.FixtureRequest) -> Iterator[Device]:
    if request.param == "host":
        with Link(AgentProcess(build_host_agent(TOY)), timing=TIMING) as link:
            yield Device.connect(link)
    else:
        with Simulator(build_firmware(TOY)) as simulator, open_serial(simulator.port, timing=TIMING) as link:
            yield Device.connect(link)


def refused(code: ErrorCode, action: Callable[[], object]) -> None:
    with pytest.raises(DeviceRefusal) as error:
        action()
    assert error.value.code == code and error.value.exit_code == ENVIRONMENT


def test_hello_tells_what_runs_there(any_device: Device) -> None:
    hello = any_device.hello
    assert (hello.model, hello.hash, hello.tensors, hello.layers, hello.steps) == ("toy", HASH, 5, 3, 9)
    assert hello.target in ("host", "simulator")
    assert len(hello.build_id) == 16
    if hello.target == "simulator":
        assert hello.clock_hz == 360_000_000
        assert hello.counters == Counter.CYCLES | Counter.INSTRUCTIONS | Counter.STALLS


def test_the_model_describes_itself(any_device: Device) -> None:
    info = any_device.info
    wide = info.tensors[3]
    assert (wide.name, wide.dtype, wide.shape, wide.scale) == ("wide", np.dtype(np.int16), (1, 8, 5, 3), 0.25)
    assert info.tensors[2].zero_point == -3
    assert info.tensors[1].ring_rows == 3
    assert [(layer.name, layer.op, layer.macs, layer.values) for layer in info.layers] == [
        ("double", "mul", 120, ("doubled",)),
        ("difference", "xor", 0, ("difference",)),
        ("spread", "split", 0, ("wide", "high")),
    ]
    assert [tensor.name for tensor in info.inputs] == ["x"]
    assert [tensor.name for tensor in info.outputs] == ["wide", "high"]


def test_outputs_are_the_references(any_device: Device) -> None:
    for seed in range(3):
        x = toy_input(seed)
        reference = toy_reference(x)
        outputs = any_device.run({"x": x})
        assert set(outputs) == {"wide", "high"}
        for name, value in outputs.items():
            assert value.dtype == reference[name].dtype
            np.testing.assert_array_equal(value, reference[name])


def test_hashes_of_rings_and_gaps_are_the_references(any_device: Device) -> None:
    x = toy_input(7)
    reference = toy_reference(x)
    hashes = any_device.layer_hashes({"x": x})
    assert tuple(hashes) == LAYER_VALUES
    for tensor in any_device.info.layer_outputs:
        assert hashes[tensor.name].rows == tensor.rows
        assert hashes[tensor.name].hash == hash_rows(reference[tensor.name].tobytes(), tensor.row_bytes)


def test_any_layers_bytes_can_be_read(any_device: Device) -> None:
    x = toy_input(8)
    reference = toy_reference(x)
    for layer in any_device.layers:
        values = any_device.read_layer({"x": x}, layer)
        assert set(values) == set(layer.values)
        for name, value in values.items():
            np.testing.assert_array_equal(value, reference[name])


def test_the_profiles_layers_add_up_to_its_total(any_device: Device) -> None:
    profile = any_device.profile({"x": toy_input(1)})
    assert [layer.name for layer in profile.layers] == ["double", "difference", "spread"]
    assert profile.cycles == sum(layer.cycles for layer in profile.layers) > 0
    assert profile.instructions == sum(layer.instructions for layer in profile.layers)
    assert profile.stalls == sum(layer.stalls for layer in profile.layers)
    if any_device.hello.target == "simulator":
        assert profile.cold
        assert all(layer.instructions > 120 and layer.cycles > layer.instructions for layer in profile.layers)
        assert any_device.profile({"x": toy_input(1)}) == profile  # the same figures every time
        assert profile.stalls > 0


def test_memory_is_reported(any_device: Device) -> None:
    memory = any_device.memory()
    assert (memory.internal, memory.psram, memory.weights, memory.planner) == (528, 256, 3, "optimal")


def test_a_second_session_starts_afresh(any_device: Device) -> None:
    any_device.run({"x": toy_input(1)})
    again = Device.connect(any_device.link)
    refused(ErrorCode.NOT_VALID, lambda: again.read_tensor(again.info.outputs[0]))
    reference = toy_reference(toy_input(2))
    np.testing.assert_array_equal(again.run({"x": toy_input(2)})["wide"], reference["wide"])


def test_a_stale_firmware_is_refused() -> None:
    with (
        Link(AgentProcess(build_host_agent(TOY)), place="/dev/ttyX", timing=TIMING) as link,
        pytest.raises(EspgenError, match="built from another model") as error,
    ):
        Device.connect(link, expected_hash="ff" * 32)
    assert error.value.exit_code == ENVIRONMENT
    assert "flash" in (error.value.hint or "") and error.value.place == "/dev/ttyX"


def test_inputs_of_the_wrong_kind_are_the_users_fault(device: Device) -> None:
    with pytest.raises(EspgenError, match="no data for input 'x'") as error:
        device.run({"y": toy_input(0)})
    assert error.value.exit_code == 2
    with pytest.raises(EspgenError, match="float32 of shape"):
        device.run({"x": toy_input(0).astype(np.float32)})
    with pytest.raises(EspgenError, match=r"shape \(1, 8, 5, 3\)"):
        device.run({"x": toy_input(0)[:, :4]})


def test_rows_can_be_read_only_while_they_are_there(device: Device) -> None:
    x = {"x": toy_input(0)}
    doubled, difference = device.info.tensors[1], device.info.tensors[2]
    device.run(x)
    refused(ErrorCode.NOT_VALID, lambda: device.read_tensor(doubled))  # most rows have left the ring
    refused(ErrorCode.NOT_VALID, lambda: device.read_tensor(difference))  # memory of a later layer, for all it knows
    report = device.run_model(x, RunFlag.STOP_AT_LAYER, stop_layer=0)
    assert (report.stopped, report.row_begin, report.row_end, report.next_step) == (True, 0, 2, 1)
    assert len(device._read(doubled, 0, 2 * doubled.row_bytes)) == 30
    refused(ErrorCode.NOT_VALID, lambda: device._read(doubled, 0, 3 * doubled.row_bytes))
    refused(ErrorCode.NOT_VALID, lambda: device._read(doubled, doubled.row_bytes, 2 * doubled.row_bytes))


def test_single_steps(device: Device) -> None:
    report = device.run_model({"x": toy_input(0)}, RunFlag.ONE_STEP)
    layers = [report.layer]
    while not report.finished:
        request = struct.pack("<BH", RunFlag.CONTINUE | RunFlag.ONE_STEP, 0)
        data = device.link.request(Type.RUN, request)
        stopped, finished, _, step, layer = struct.unpack_from("<BBBIH", data)
        assert stopped and step == len(layers) + 1
        layers.append(layer)
        report = report.__class__(bool(stopped), bool(finished), False, step, layer, 0, 0, 0, 0, 0)
    assert layers == [0, 1, 0, 1, 0, 1, 0, 1, 2]
    refused(ErrorCode.NOT_VALID, lambda: device.read_tensor(device.info.tensors[1]))


@pytest.mark.parametrize(
    ("kind", "data", "code"),
    [
        (Type.WRITE, struct.pack("<HI", 0, 120) + b"x", ErrorCode.RANGE),
        (Type.WRITE, struct.pack("<HI", 0, 0xFFFFFFFF) + b"xy", ErrorCode.RANGE),
        (Type.WRITE, struct.pack("<HI", 1, 0) + b"x", ErrorCode.INDEX),
        (Type.WRITE, struct.pack("<HI", 99, 0) + b"x", ErrorCode.INDEX),
        (Type.WRITE, b"\0\0\0", ErrorCode.REQUEST),
        (Type.READ, struct.pack("<HIH", 3, 239, 2), ErrorCode.RANGE),
        (Type.READ, struct.pack("<HIH", 3, 0xFFFFFFFF, 0xFFFF), ErrorCode.RANGE),
        (Type.READ, struct.pack("<HIH", 5, 0, 1), ErrorCode.INDEX),
        (Type.READ, struct.pack("<HIHB", 3, 0, 1, 0), ErrorCode.REQUEST),
        (Type.DESCRIBE, struct.pack("<BH", 0, 5), ErrorCode.INDEX),
        (Type.DESCRIBE, struct.pack("<BH", 1, 3), ErrorCode.INDEX),
        (Type.DESCRIBE, struct.pack("<BH", 9, 0), ErrorCode.INDEX),
        (Type.DESCRIBE, b"", ErrorCode.REQUEST),
        (Type.RUN, b"", ErrorCode.INPUT),
        (Type.RUN, struct.pack("<BHHI", 0, 0, 1, 12345), ErrorCode.INPUT),
        (Type.RUN, struct.pack("<BHH", 0, 0, 2), ErrorCode.INPUT),
        (Type.RUN, struct.pack("<BH", RunFlag.CONTINUE | RunFlag.STOP_AT_LAYER, 3), ErrorCode.INDEX),
        (Type.RUN, struct.pack("<BHB", RunFlag.CONTINUE, 0, 0), ErrorCode.REQUEST),
        (Type.HASHES, struct.pack("<H", 0), ErrorCode.NOT_VALID),
        (Type.PROFILE, struct.pack("<H", 0), ErrorCode.NOT_VALID),
        (Type.PROFILE, b"", ErrorCode.REQUEST),
    ],
)
def test_wrong_requests_are_refused_and_the_session_goes_on(
    device: Device, kind: Type, data: bytes, code: ErrorCode
) -> None:
    refused(code, lambda: device.link.request(kind, data))
    assert device.link.request(Type.ECHO, b"still there") == b"still there"


def test_frames_of_every_size_come_back(device: Device) -> None:
    generator = np.random.default_rng(3)
    for size in (*range(20), 253, 254, 255, 508, 509, MAX_DATA - 1, MAX_DATA):
        for data in (bytes(size), b"\xff" * size, generator.bytes(size)):
            assert device.link.request(Type.ECHO, data) == data
    assert device.link.resent == 0


class Raw:
    """Frames sent by hand, past the link."""

    def __init__(self) -> None:
        self.agent = AgentProcess(build_host_agent(TOY))
        self.decoder = FrameDecoder()

    def close(self) -> None:
        self.agent.close()

    def ask(self, wire: bytes) -> list[Frame]:
        self.agent.write(wire)
        frames = []
        while data := self.agent.read(0.15):
            self.decoder.push(data)
        while (item := self.decoder.pop()) is not None:
            assert isinstance(item, Frame)
            if item.type != Type.LOG:
                frames.append(item)
        return frames


def hello_frame(session: int, sequence: int) -> bytes:
    return encode_frame(Frame(Type.HELLO, sequence, session, struct.pack("<HI", PROTOCOL_VERSION, session)))


def test_a_request_is_carried_out_once_however_often_it_comes() -> None:
    with closing(Raw()) as raw:
        assert len(raw.ask(hello_frame(7, 100))) == 1
        request = encode_frame(Frame(Type.WRITE, 101, 7, struct.pack("<HI", 0, 0) + bytes(120)))
        expected = hash_rows(bytes(120), 15)
        raw.ask(request)
        step = Frame(Type.RUN, 102, 7, struct.pack("<BHHI", RunFlag.ONE_STEP, 0, 1, expected))
        first = raw.ask(encode_frame(step))
        assert [frame.type for frame in first] == [Type.ACK, Type.RUN | 0x80]
        again = raw.ask(encode_frame(step) * 2)
        assert again == [first[1], first[1]]  # the stored reply, no second step
        assert raw.ask(request) == []  # stale: an older number
        assert raw.ask(hello_frame(7, 100)) == []  # a late hello does not end the session
        onward = Frame(Type.RUN, 103, 7, struct.pack("<BH", RunFlag.CONTINUE | RunFlag.ONE_STEP, 0))
        assert struct.unpack_from("<BBBI", raw.ask(encode_frame(onward))[-1].data)[3] == 2


def test_without_a_session_nothing_is_done() -> None:
    with closing(Raw()) as raw:
        (answer,) = raw.ask(encode_frame(Frame(Type.MEMORY, 5, 9)))
        assert (answer.type, answer.sequence, answer.session, answer.data[0]) == (Type.ERROR, 5, 9, ErrorCode.SESSION)
        (answer,) = raw.ask(hello_frame(0, 1))
        assert (answer.type, answer.data[0]) == (Type.ERROR, ErrorCode.REQUEST)
        raw.ask(hello_frame(3, 1))
        (answer,) = raw.ask(encode_frame(Frame(Type.MEMORY, 2, 4)))
        assert answer.data[0] == ErrorCode.SESSION


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (b"\0\x05\x01\x02\0", NakReason.ENCODING),
        (b"\0\x02\x01\0", NakReason.LENGTH),
        (b"\0" + b"\x01" * 5000 + b"\0", NakReason.LENGTH),
        (encode_frame(Frame(Type.MEMORY, 6, 7))[:-3] + b"\x7f\x7f\0", NakReason.CRC),
    ],
)
def test_damaged_frames_are_named(damage: bytes, reason: NakReason) -> None:
    with closing(Raw()) as raw:
        raw.ask(hello_frame(7, 5))
        answers = raw.ask(damage)
        assert answers and all((frame.type, frame.data[0]) == (Type.NAK, reason) for frame in answers)
        assert raw.ask(encode_frame(Frame(Type.MEMORY, 6, 7)))[0].type == Type.MEMORY | 0x80


@pytest.mark.parametrize("rounds", [600, pytest.param(30_000, marks=pytest.mark.prove)])
def test_random_bytes_do_not_harm_a_sanitized_agent(rounds: int) -> None:
    """Noise, damaged frames, and well-formed frames with random contents, under the sanitizers there are."""
    generator = np.random.default_rng(11)
    with closing(AgentProcess(build_host_agent(TOY, sanitize=sanitizers()))) as agent:
        agent.write(hello_frame(7, 0))
        sequence = 0
        for _ in range(rounds):
            kind = int(generator.integers(0, 4))
            if kind == 0:
                agent.write(generator.bytes(int(generator.integers(1, 3000))))
            elif kind == 1:
                wire = bytearray(encode_frame(Frame(Type.READ, sequence, 7, generator.bytes(8))))
                wire[int(generator.integers(0, len(wire)))] = int(generator.integers(0, 256))
                agent.write(bytes(wire))
            else:
                sequence = (sequence + 1) & 0xFFFF
                types = [int(t) for t in Type if t not in (Type.RESET, Type.HELLO)]
                chosen = int(generator.choice(types))
                data = generator.bytes(int(generator.integers(0, 12)))
                if chosen in (Type.READ, Type.WRITE, Type.DESCRIBE):
                    data = bytes([int(generator.integers(0, 6)), 0]) + data[2:]
                agent.write(b"\0" + encode_frame(Frame(chosen, sequence, 7, data)))
            while agent.read(0):
                pass
        agent.write(b"\0" + hello_frame(99, 0))
        decoder, seen = FrameDecoder(), []
        while data := agent.read(0.5):
            decoder.push(data)
            while (item := decoder.pop()) is not None:
                seen.append(item)
        assert any(isinstance(item, Frame) and item.session == 99 for item in seen), agent.error_text()
        assert agent.error_text() == ""


def test_reset_ends_the_process(device: Device) -> None:
    device.reset()
    with pytest.raises(EspgenError):
        device.memory()


@pytest.mark.parametrize("target", ["host", "simulator"])
def test_a_write_between_buffers_is_reported(tmp_path: Path, target: str) -> None:
    copy = Path(shutil.copytree(TOY, tmp_path / "component"))
    source = copy / "src" / "toy.cpp"
    text = source.read_text()
    assert "    kDifference[row" in text
    source.write_text(text.replace("    kDifference[row", "    kDifference[-3] = 9;\n    kDifference[row"))
    x = {"x": toy_input(0)}
    with ExitStack() as stack:
        if target == "host":
            link = stack.enter_context(Link(AgentProcess(build_host_agent(copy)), timing=TIMING))
        else:
            simulator = stack.enter_context(Simulator(build_firmware(copy)))
            link = stack.enter_context(open_serial(simulator.port, timing=TIMING))
        device = Device.connect(link)
        np.testing.assert_array_equal(device.run(x)["wide"], toy_reference(x["x"])["wide"])  # nobody looked
        with pytest.raises(EspgenError, match="toy_internal was written at byte 157, in no buffer of difference"):
            device.layer_hashes(x, check_memory=True)
        refused(ErrorCode.NOT_VALID, device.outputs)
        device.layer_hashes(x)  # the session goes on


def test_a_firmware_that_traps_is_explained(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(TOY, tmp_path / "component"))
    source = copy / "src" / "toy.cpp"
    text = source.read_text()
    head = "void Spread(uint32_t, uint32_t) {"
    assert head in text
    source.write_text(text.replace(head, f'{head}\n  asm volatile(".word 0xFFFFFFFF");'))
    with (
        pytest.raises(EspgenError, match=r"simulator stopped.*0xffffffff") as error,
        Simulator(build_firmware(copy)) as simulator,
        open_serial(simulator.port, timing=TIMING) as link,
    ):
        Device.connect(link).run({"x": toy_input(0)})
    assert error.value.exit_code == ENVIRONMENT


def test_more_layers_than_tables_are_refused(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(TOY, tmp_path / "component"))
    manifest = copy / "espgen_component.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "defines": ["ESPGEN_AGENT_LAYERS=2"]}))
    with Link(AgentProcess(build_host_agent(copy)), timing=TIMING) as link:
        device = Device.connect(link)
        refused(ErrorCode.CAPACITY, lambda: device.run({"x": toy_input(0)}))
