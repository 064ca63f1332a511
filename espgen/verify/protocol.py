"""The serial protocol's constants, the same as in firmware/agent/protocol.h (a test compares the two)."""

from __future__ import annotations

from enum import IntEnum, IntFlag

PROTOCOL_VERSION = 2
MAX_DATA = 1024
HEADER_BYTES = 10
CRC_BYTES = 4
MAX_FRAME = HEADER_BYTES + MAX_DATA + CRC_BYTES
MAX_ENCODED = MAX_FRAME + MAX_FRAME // 254 + 1
REPLY_BIT = 0x80


class Type(IntEnum):
    """What a frame is: a request, or a message of the device's own. A reply is its request's type with REPLY_BIT."""

    HELLO = 0x01
    DESCRIBE = 0x02
    WRITE = 0x03
    RUN = 0x04
    READ = 0x05
    HASHES = 0x06
    PROFILE = 0x07
    MEMORY = 0x08
    RESET = 0x09
    ECHO = 0x0A
    ACK = 0x40
    NAK = 0x41
    ERROR = 0x42
    PROGRESS = 0x43
    LOG = 0x44


class Describe(IntEnum):
    """What DESCRIBE asks for."""

    TENSOR = 0
    LAYER = 1
    INTERFACE = 2


class RunFlag(IntFlag):
    """How RUN runs the model."""

    CONTINUE = 0x01
    HASH = 0x02
    PROFILE = 0x04
    COLD = 0x08
    ONE_STEP = 0x10
    STOP_AT_LAYER = 0x20
    GUARD = 0x40


class ErrorCode(IntEnum):
    """Why the device refuses a request."""

    SESSION = 1
    REQUEST = 2
    INDEX = 3
    RANGE = 4
    NOT_VALID = 5
    INPUT = 6
    CAPACITY = 7
    UNKNOWN = 8
    MODEL = 9
    GUARD = 10
    STATUS = 11


class Status(IntEnum):
    """How an inference ended (espgen/status.h)."""

    OK = 0
    VECTOR_UNIT_DISTURBED = 1
    IN_INTERRUPT = 2


class NakReason(IntEnum):
    """What was wrong with a damaged frame."""

    ENCODING = 1
    LENGTH = 2
    CRC = 3


class Counter(IntFlag):
    """Counters a board has."""

    CYCLES = 1
    INSTRUCTIONS = 2
    STALLS = 4
