"""The link: what it does with a reply that is late, lost, damaged, stale or missing; and why a port will not open."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable

import pytest
import serial

from espgen.errors import ENVIRONMENT, EspgenError
from espgen.verify.framing import Frame, FrameDecoder, encode_frame
from espgen.verify.link import DeviceRefusal, Link, SerialTransport, Timing, _open_error, open_serial
from espgen.verify.protocol import REPLY_BIT, ErrorCode, Type

TIMING = Timing(reply=1.0, retries=3, silence=10.0, hello=3.0, hello_interval=0.5, drain=0.05, drain_limit=0.5)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class ScriptedDevice:
    """A transport on a false clock: `answer` maps each frame to (delay, bytes) pairs that come back."""

    def __init__(self, clock: Clock, answer: Callable[[Frame, int], list[tuple[float, bytes]]]) -> None:
        self.clock = clock
        self.answer = answer
        self.seen: list[Frame] = []
        self.due: list[tuple[float, bytes]] = []
        self.decoder = FrameDecoder()

    def read(self, timeout: float) -> bytes:
        until = self.clock.now + timeout
        if self.due and self.due[0][0] <= until:
            at, data = self.due.pop(0)
            self.clock.now = max(self.clock.now, at)
            return data
        self.clock.now = until
        return b""

    def write(self, data: bytes) -> None:
        self.decoder.push(data)
        while isinstance(frame := self.decoder.pop(), Frame):
            self.seen.append(frame)
            attempt = sum(frame.sequence == other.sequence and frame.type == other.type for other in self.seen)
            for delay, reply in self.answer(frame, attempt):
                self.due.append((self.clock.now + delay, reply))
            self.due.sort(key=lambda entry: entry[0])

    def close(self) -> None:
        pass


def reply(frame: Frame, data: bytes = b"", kind: int | None = None) -> bytes:
    chosen = frame.type | REPLY_BIT if kind is None else kind
    return encode_frame(Frame(chosen, frame.sequence, frame.session, data))


def connected(answer: Callable[[Frame, int], list[tuple[float, bytes]]], **extra: object) -> tuple[Link, ScriptedDevice]:
    clock = Clock()

    def answer_hello_too(frame: Frame, attempt: int) -> list[tuple[float, bytes]]:
        return [(0.01, reply(frame, b"hi"))] if frame.type == Type.HELLO else answer(frame, attempt)

    device = ScriptedDevice(clock, answer_hello_too)
    link = Link(device, place="test", timing=TIMING, clock=clock, **extra)  # type: ignore[arg-type]
    assert link.hello() == b"hi"
    return link, device


def test_a_reply_is_returned() -> None:
    link, device = connected(lambda frame, attempt: [(0.2, reply(frame, b"abc"))])
    assert link.request(Type.ECHO, b"abc") == b"abc"
    assert link.resent == 0
    assert device.seen[-1].data == b"abc"


def test_a_lost_request_is_sent_again_under_its_number() -> None:
    link, device = connected(lambda frame, attempt: [] if attempt < 3 else [(0, reply(frame, b"x"))])
    assert link.request(Type.ECHO) == b"x"
    assert [frame.sequence for frame in device.seen[-3:]] == [device.seen[-1].sequence] * 3
    assert link.resent == 2


def test_no_reply_at_all_ends_in_an_error_within_its_time() -> None:
    link, device = connected(lambda frame, attempt: [])
    start = device.clock.now
    with pytest.raises(EspgenError, match=r"no valid reply to echo in time .asked 4 times.") as error:
        link.request(Type.ECHO)
    assert error.value.exit_code == ENVIRONMENT and error.value.place == "test"
    assert device.clock.now - start <= TIMING.reply * (TIMING.retries + 1) + 0.001
    with pytest.raises(EspgenError, match="session is over"):
        link.request(Type.ECHO)


def test_a_nak_brings_the_request_again_at_once() -> None:
    def answer(frame: Frame, attempt: int) -> list[tuple[float, bytes]]:
        return [(0.01, reply(frame, b"\x03", Type.NAK))] if attempt == 1 else [(0, reply(frame, b"x"))]

    link, device = connected(answer)
    start = device.clock.now
    assert link.request(Type.ECHO) == b"x"
    assert device.clock.now - start < 0.2


def test_naks_without_end_are_bounded() -> None:
    link, device = connected(lambda frame, attempt: [(0.01, reply(frame, b"\x03", Type.NAK))])
    with pytest.raises(EspgenError, match="no valid reply"):
        link.request(Type.ECHO)
    assert len(device.seen) == 1 + TIMING.retries + 1


@pytest.mark.parametrize("change", ["session", "sequence", "type", "error for another type"])
def test_replies_to_something_else_are_passed_over(change: str) -> None:
    def answer(frame: Frame, attempt: int) -> list[tuple[float, bytes]]:
        wrong = {
            "session": Frame(frame.type | REPLY_BIT, frame.sequence, frame.session ^ 1, b"wrong"),
            "sequence": Frame(frame.type | REPLY_BIT, (frame.sequence - 1) & 0xFFFF, frame.session, b"wrong"),
            "type": Frame(Type.READ | REPLY_BIT, frame.sequence, frame.session, b"wrong"),
            "error for another type": Frame(Type.ERROR, frame.sequence, frame.session, bytes([1, Type.READ])),
        }[change]
        return [(0.01, encode_frame(wrong)), (0.02, reply(frame, b"right"))]

    link, _ = connected(answer)
    assert link.request(Type.ECHO) == b"right"


def test_progress_is_reported_and_keeps_the_request_alive() -> None:
    told: list[tuple[int, int]] = []

    def answer(frame: Frame, attempt: int) -> list[tuple[float, bytes]]:
        if attempt > 1:
            return []
        steps = [(9.0 * i, reply(frame, struct.pack("<II", i, 5), Type.PROGRESS)) for i in range(1, 5)]
        return [(0.0, reply(frame, b"", Type.ACK)), *steps, (45.0, reply(frame, b"done"))]

    link, device = connected(answer)
    assert link.request(Type.RUN, b"", lambda done, total: told.append((done, total))) == b"done"
    assert told == [(1, 5), (2, 5), (3, 5), (4, 5)]
    assert device.clock.now > 40


def test_the_same_progress_again_and_again_is_no_sign_of_life() -> None:
    def answer(frame: Frame, attempt: int) -> list[tuple[float, bytes]]:
        return [(0.5, reply(frame, struct.pack("<II", 1, 5), Type.PROGRESS))]

    link, device = connected(answer)
    start = device.clock.now
    with pytest.raises(EspgenError, match="no valid reply to run"):
        link.request(Type.RUN)
    assert device.clock.now - start <= 3 * TIMING.silence


def test_a_lost_result_is_asked_for_before_the_silence_is_over() -> None:
    def answer(frame: Frame, attempt: int) -> list[tuple[float, bytes]]:
        return [(0.0, reply(frame, b"", Type.ACK))] if attempt == 1 else [(0.0, reply(frame, b"done"))]

    link, device = connected(answer)
    start = device.clock.now
    assert link.request(Type.RUN) == b"done"
    assert device.clock.now - start <= 1.5 * TIMING.reply


def test_a_refusal_says_why() -> None:
    link, _ = connected(
        lambda frame, attempt: [(0, reply(frame, bytes([ErrorCode.RANGE, Type.READ]) + b"outside", Type.ERROR))]
    )
    with pytest.raises(DeviceRefusal, match="refuses read: outside") as error:
        link.request(Type.READ)
    assert error.value.code == ErrorCode.RANGE


def test_a_device_that_restarted_is_noticed() -> None:
    link, _ = connected(
        lambda frame, attempt: [(0, reply(frame, bytes([ErrorCode.SESSION, Type.RUN]) + b"no session", Type.ERROR))]
    )
    with pytest.raises(EspgenError, match="no session"):
        link.request(Type.RUN)
    with pytest.raises(EspgenError, match="session is over"):
        link.request(Type.ECHO)


def test_logs_go_their_own_way() -> None:
    logs: list[str] = []

    def answer(frame: Frame, attempt: int) -> list[tuple[float, bytes]]:
        return [(0, reply(frame, b"hello there", Type.LOG)), (0.1, reply(frame, b"x"))]

    link, _ = connected(answer, on_log=logs.append)
    assert link.request(Type.ECHO) == b"x"
    assert logs == ["hello there"]


def test_hello_drains_boot_text_and_repeats_itself() -> None:
    clock = Clock()
    device = ScriptedDevice(clock, lambda frame, attempt: [(0.01, reply(frame, b"hi"))] if attempt == 3 else [])
    device.due = [(0.01 * i, b"rst:0x1 (POWERON)\r\n") for i in range(10)]
    link = Link(device, timing=TIMING, clock=clock)
    assert link.hello() == b"hi"
    assert len(device.seen) == 3
    assert b"POWERON" in link.noise


def test_a_port_that_answers_nothing_is_explained() -> None:
    clock = Clock()
    link = Link(ScriptedDevice(clock, lambda frame, attempt: []), place="/dev/ttyX", timing=TIMING, clock=clock)
    with pytest.raises(EspgenError, match="nothing answers within 3 s") as error:
        link.hello()
    assert error.value.exit_code == ENVIRONMENT
    assert error.value.place == "/dev/ttyX" and "flashed" in (error.value.hint or "")
    assert clock.now <= TIMING.hello + TIMING.hello_interval + TIMING.drain_limit


def test_another_programs_output_is_shown() -> None:
    clock = Clock()
    device = ScriptedDevice(clock, lambda frame, attempt: [(0.1, b"Hello world!\r\nHello world!\r\n\0")])
    link = Link(device, place="/dev/ttyX", timing=TIMING, clock=clock)
    with pytest.raises(EspgenError, match="Hello world!") as error:
        link.hello()
    assert "baud" in (error.value.hint or "")


class GoneTransport:
    def read(self, timeout: float) -> bytes:
        raise OSError("device disconnected")

    def write(self, data: bytes) -> None:
        raise OSError("device disconnected")

    def close(self) -> None:
        pass


def test_a_cable_pulled_out_is_an_error_not_a_traceback() -> None:
    with pytest.raises(EspgenError, match="port is gone: device disconnected") as error:
        Link(GoneTransport()).hello()
    assert error.value.exit_code == ENVIRONMENT


def test_waits_grow_with_the_frame_and_shrink_with_the_baud_rate() -> None:
    assert Timing(baud=9600).on_wire(1000) > 2.0
    assert Timing(baud=921600).on_wire(1000) < 0.03
    assert Timing().on_wire(1000) == 0.0


def test_a_missing_port_names_those_there_are() -> None:
    with pytest.raises(EspgenError, match="no such port") as error:
        open_serial("/dev/does-not-exist")
    assert error.value.exit_code == ENVIRONMENT and "found now" in (error.value.hint or "")


def test_a_port_in_use_is_explained() -> None:
    ours, theirs = os.openpty()
    path = os.ttyname(theirs)
    try:
        with open_serial(path), pytest.raises(EspgenError, match="another program has the port open"):
            open_serial(path)
    finally:
        os.close(ours)
        os.close(theirs)


def test_missing_permission_is_explained() -> None:
    error = _open_error("/dev/ttyACM0", serial.SerialException(13, "could not open port: Permission denied"))
    assert "permission" in error.message and "dialout" in (error.hint or "") and error.exit_code == ENVIRONMENT


def test_a_pseudo_terminal_carries_every_byte_and_has_no_reset_line() -> None:
    ours, theirs = os.openpty()
    try:
        link = open_serial(os.ttyname(theirs))
        assert isinstance(link.transport, SerialTransport)
        everything = bytes(range(256))
        link.transport.write(everything)
        assert os.read(ours, 1000) == everything
        os.write(ours, everything)
        received = b""
        while len(received) < 256 and (piece := link.transport.read(1.0)):
            received += piece
        assert received == everything
        assert link.transport.read(0.01) == b""
        assert link.transport.reset() is False
        link.close()
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_baud_rate_may_follow_the_port() -> None:
    ours, theirs = os.openpty()
    try:
        for suffix, baud in (("", 115200), ("@921600", 921600)):
            with open_serial(os.ttyname(theirs) + suffix) as link:
                assert link.place == os.ttyname(theirs)
                assert link.timing.baud == baud
                assert link.transport._port.baudrate == baud  # type: ignore[attr-defined]
    finally:
        os.close(ours)
        os.close(theirs)
    with pytest.raises(EspgenError, match="no such port"):
        open_serial("/dev/does@not-exist")
