"""The serial link: opening the port, and requests that survive a bad line.

One request is under way at a time. It is sent again, under the same sequence number, when no reply comes in time
or when the device says a damaged frame came in; the device carries it out once however often it arrives. Every
wait is bounded: what cannot be done in time ends in an EspgenError with exit code 3.
"""

from __future__ import annotations

import errno
import secrets
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import serial

from espgen.errors import EspgenError, environment_error
from espgen.verify.framing import Frame, FrameDecoder, Noise, encode_frame
from espgen.verify.protocol import MAX_ENCODED, PROTOCOL_VERSION, REPLY_BIT, ErrorCode, Type

BITS_PER_BYTE = 10  # start bit, eight bits, stop bit


class Transport(Protocol):
    """A byte stream in both directions; a serial port, a pseudo-terminal, a test's faulty line."""

    def read(self, timeout: float) -> bytes:
        """Bytes that came in, b"" if none did within `timeout` seconds. OSError when the line is gone."""

    def write(self, data: bytes) -> None:
        """Send all of `data`. OSError when the line is gone."""

    def close(self) -> None:
        """Release the line."""


@dataclass(frozen=True)
class Timing:
    """How long to wait, in seconds. Frames' own time on the wire (from `baud`) is added."""

    reply: float = 1.0  # for a reply or for the acknowledgement of a long command
    retries: int = 8  # how often a request is sent again
    silence: float = 120.0  # between two signs of life while the model runs
    run: float = 3600.0  # for one request, whatever signs of life there are
    hello: float = 12.0  # until the first answer
    hello_interval: float = 0.3
    drain: float = 0.05  # without a byte: what the device printed before is over
    drain_limit: float = 1.0
    baud: int = 0  # bits per second; 0: the line takes no time

    def on_wire(self, size: int) -> float:
        """Seconds that a request of `size` bytes and the largest reply take."""
        return (size + MAX_ENCODED + 2) * BITS_PER_BYTE / self.baud if self.baud else 0.0


def printable(text: str) -> str:
    """What a device says, fit for a terminal: no control characters."""
    return "".join(char if char.isprintable() else "?" for char in text)


_IN_NUMBERS: dict[int, str] = {ErrorCode.GUARD: "a layer wrote outside its buffers", ErrorCode.STATUS: "a layer was disturbed"}
"""Refusals whose details are numbers, and what they say."""


class DeviceRefusal(EspgenError):
    """The device understood a request and refused it."""

    def __init__(self, code: int, detail: bytes, request: int) -> None:
        name = Type(request).name.lower() if request in Type._value2member_map_ else f"{request:#x}"
        again = "restart the verification"
        hint = again if code == ErrorCode.SESSION else f"{again}; if it stays, build and flash the component again"
        text = _IN_NUMBERS.get(code) or printable(detail.decode("utf-8", "replace"))
        super().__init__(f"the device refuses {name}: {text}", hint=hint, exit_code=3)
        self.code = code
        self.detail = detail


class Link:
    """Requests and replies over a transport. Not thread-safe."""

    def __init__(
        self,
        transport: Transport,
        *,
        place: str = "",
        timing: Timing = Timing(),
        on_log: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.transport = transport
        self.place = place
        self.timing = timing
        self.on_log = on_log
        self._clock = clock
        self._decoder = FrameDecoder()
        self._session = 0
        self._sequence = 0
        self._broken = False
        self.noise = bytearray()  # the last bytes that were no frame, for diagnosis
        self.resent = 0

    def __enter__(self) -> Link:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the port."""
        self.transport.close()

    def hello(self) -> bytes:
        """Begin a session: drain what the device printed, then repeat HELLO until it is answered.

        Returns the reply's data. EspgenError (exit code 3) where nothing answers, with what came in instead.
        """
        self._session = secrets.randbelow(0xFFFFFFFF) + 1
        self._sequence = secrets.randbelow(0x10000)
        self._broken = False
        self._drain()
        data = struct.pack("<HI", PROTOCOL_VERSION, self._session)
        deadline = self._clock() + self.timing.hello
        while True:
            self._send(Type.HELLO, data)
            until = self._clock() + self.timing.hello_interval + self.timing.on_wire(len(data))
            while (frame := self._receive(until)) is not None:
                if self._matches(frame, Type.HELLO):
                    return self._unless_refused(frame)
            if self._clock() >= deadline:
                self._broken = True
                raise self._no_answer()

    def request(
        self,
        kind: Type,
        data: bytes = b"",
        on_progress: Callable[[int, int], None] | None = None,
        steps: int | None = None,
    ) -> bytes:
        """Send a request and return its reply's data.

        `on_progress` receives steps done and steps in all while the model runs; it has `steps` of them. DeviceRefusal where the
        device says no, EspgenError (exit code 3) where no valid reply comes in time, or progress beyond the last step.
        """
        if self._broken or self._session == 0:
            raise self._lost("the session is over")
        self._sequence = (self._sequence + 1) & 0xFFFF
        before = self.resent
        reply = self._exchange(kind, data, on_progress, steps)
        if reply is None:
            self._broken = True
            asked = self.resent - before + 1
            raise self._lost(f"no valid reply to {kind.name.lower()} in time (asked {asked} times)")
        return self._unless_refused(reply)

    def _exchange(
        self, kind: Type, data: bytes, on_progress: Callable[[int, int], None] | None, all_steps: int | None
    ) -> Frame | None:
        patience = self.timing.reply + self.timing.on_wire(len(data))
        attempts = 0
        steps_done = -1  # 0 from the acknowledgement on
        alive = self._clock()
        end = alive + self.timing.run
        while True:
            self._send(kind, data)
            until = min(self._clock() + patience, end)
            while (frame := self._receive(until)) is not None:
                if self._matches(frame, kind):
                    return frame
                if frame.session == self._session and frame.type == Type.NAK and steps_done < 0:
                    # Damaged on the way there: perhaps not this request, and perhaps its reply is coming.
                    until = min(until, self._clock() + self.timing.drain)
                steps, total = self._sign_of_life(frame)
                if steps > total or (total and all_steps is not None and total != all_steps):
                    self._broken = True
                    raise self._lost(f"the device reports step {steps} of {total}, the model has {all_steps or total}")
                if steps > steps_done:  # a repeated frame is no sign of life
                    steps_done, alive = steps, self._clock()
                    until = min(alive + patience, end)
                    if on_progress and total:
                        on_progress(steps, total)
            if steps_done < 0:
                if attempts == self.timing.retries:
                    return None
                attempts += 1
            elif self._clock() - alive >= self.timing.silence or self._clock() >= end:
                return None
            else:
                patience = min(2 * patience, self.timing.silence)
            self.resent += 1

    def _sign_of_life(self, frame: Frame) -> tuple[int, int]:
        """Steps done and steps in all that an acknowledgement or a progress frame tells; (-1, 0) for any other."""
        if frame.session == self._session and frame.sequence == self._sequence:
            if frame.type == Type.ACK:
                return 0, 0
            if frame.type == Type.PROGRESS and len(frame.data) == 8:
                steps, total = struct.unpack("<II", frame.data)
                return steps, total
        return -1, 0

    def _matches(self, frame: Frame, kind: Type) -> bool:
        if frame.session != self._session or frame.sequence != self._sequence:
            return False
        refused = frame.type == Type.ERROR and len(frame.data) >= 2 and frame.data[1] == kind
        return frame.type == kind | REPLY_BIT or refused

    def _unless_refused(self, frame: Frame) -> bytes:
        if frame.type != Type.ERROR:
            return frame.data
        code, request = frame.data[0], frame.data[1]
        if code == ErrorCode.SESSION:
            self._broken = True
        raise DeviceRefusal(code, frame.data[2:], request)

    def _send(self, kind: Type, data: bytes) -> None:
        try:
            self.transport.write(encode_frame(Frame(kind, self._sequence, self._session, data)))
        except OSError as error:
            self._broken = True
            raise self._lost(f"the port is gone: {error}") from error

    def _receive(self, until: float) -> Frame | None:
        """The next frame that is not a log, None when the time is up."""
        while True:
            item = self._decoder.pop()
            if isinstance(item, Noise):
                self._note(item.data)
            elif item is not None and item.type == Type.LOG:
                self.on_log(printable(item.data.decode("utf-8", "replace")))
            elif item is not None:
                return item
            else:
                left = until - self._clock()
                if left <= 0:
                    return None
                self._fill(left)

    def _fill(self, timeout: float) -> bool:
        try:
            data = self.transport.read(timeout)
        except OSError as error:
            self._broken = True
            raise self._lost(f"the port is gone: {error}") from error
        self._decoder.push(data)
        return bool(data)

    def _drain(self) -> None:
        limit = self._clock() + self.timing.drain_limit
        while self._clock() < limit and self._fill(self.timing.drain):
            pass
        while (item := self._decoder.pop()) is not None:
            if isinstance(item, Noise):
                self._note(item.data)
        self._note(self._decoder.flush())

    def _note(self, data: bytes) -> None:
        self.noise += data
        del self.noise[:-400]

    def _no_answer(self) -> EspgenError:
        seen = "".join(chr(byte) if 32 <= byte < 127 else " " for byte in self.noise).split()
        if not seen:
            return environment_error(
                f"nothing answers within {self.timing.hello:g} s",
                place=self.place,
                hint="check that this is the board's port, that it has power and that the verification firmware "
                "is flashed; press its reset button and try again",
            )
        return environment_error(
            f"the device sends, but does not answer the protocol; it said: {' '.join(seen)[-160:]!r}",
            place=self.place,
            hint="flash the verification firmware, and check the baud rate",
        )

    def _lost(self, message: str) -> EspgenError:
        return environment_error(
            message, place=self.place, hint="check the cable and the power, reset the board and start again"
        )


class SerialTransport:
    """A serial port or pseudo-terminal through pyserial."""

    _POLL = 0.05

    def __init__(self, port: serial.Serial) -> None:
        self._port = port

    def read(self, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        while True:
            data = bytes(self._port.read(max(1, self._port.in_waiting)))
            if data or time.monotonic() >= deadline:
                return data

    def write(self, data: bytes) -> None:
        self._port.write(data)

    def close(self) -> None:
        self._port.close()

    def reset(self) -> bool:
        """Pulse the reset line (RTS, as ESP boards wire it); False where the port has none."""
        try:
            self._port.dtr = False
            self._port.rts = True
            time.sleep(0.1)
            self._port.rts = False
        except OSError:
            return False
        return True


def open_serial(
    port: str,
    *,
    baud: int = 115200,
    timing: Timing | None = None,
    on_log: Callable[[str], None] = lambda text: None,
) -> Link:
    """Open a board's or a simulator's port; `DEV@BAUD` names another baud rate than `baud`.

    EspgenError (exit code 3) says why where that fails.
    """
    name, at, rate = port.rpartition("@")
    if at and rate.isdecimal():
        port, baud = name, int(rate)
    try:
        handle = serial.Serial(port, baud, timeout=SerialTransport._POLL, write_timeout=10.0, exclusive=True)
    except (OSError, ValueError) as error:
        raise _open_error(port, error) from error
    return Link(
        SerialTransport(handle),
        place=port,
        timing=timing or Timing(baud=baud),
        on_log=on_log,
    )


def _open_error(port: str, error: Exception) -> EspgenError:
    number = getattr(error, "errno", None)
    text = str(error).lower()
    if number == errno.ENOENT or "no such file" in text or "filenotfound" in text:
        message = "there is no such port"
        hint = f"plug the board in and look which port appears; found now: {', '.join(_ports()) or 'none'}"
    elif number == errno.EACCES or "permission" in text or "access is denied" in text:
        message = "no permission to open the port"
        hint = "add yourself to the port's group (often: sudo usermod -aG dialout $USER) and log in again"
    elif number in (errno.EBUSY, errno.EAGAIN) or "lock" in text or "busy" in text:
        message = "another program has the port open"
        hint = "close the serial monitor or flasher that uses it"
    else:
        message = f"the port cannot be opened: {error}"
        hint = "check the port's name; after a crash, unplug the board and plug it in again"
    return environment_error(message, place=port, hint=hint)


def _ports() -> list[str]:
    from serial.tools import list_ports

    return sorted(entry.device for entry in list_ports.comports())
