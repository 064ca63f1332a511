"""Frames: what is encoded is decoded, and nothing else is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espgen.resources import firmware_dir
from espgen.verify import protocol
from espgen.verify.framing import Frame, FrameDecoder, Noise, decode_frame, encode_frame, stuff, unstuff

FRAMES = st.builds(
    Frame,
    type=st.integers(0, 255),
    sequence=st.integers(0, 0xFFFF),
    session=st.integers(0, 0xFFFFFFFF),
    data=st.binary(max_size=protocol.MAX_DATA),
)


def pop_all(decoder: FrameDecoder) -> list[Frame | Noise]:
    items = []
    while (item := decoder.pop()) is not None:
        items.append(item)
    return items


@given(st.binary(max_size=1100))
def test_stuffing_leaves_no_zero_and_is_undone(data: bytes) -> None:
    stuffed = stuff(data)
    assert 0 not in stuffed
    assert len(stuffed) <= len(data) + len(data) // 254 + 1
    assert unstuff(stuffed) == data


@pytest.mark.parametrize(
    ("plain", "stuffed"),
    [  # from the paper and the usual examples of it
        (b"", b"\x01"),
        (b"\0", b"\x01\x01"),
        (b"\0\0", b"\x01\x01\x01"),
        (b"\x11\x22\0\x33", b"\x03\x11\x22\x02\x33"),
        (b"\x11\0\0\0", b"\x02\x11\x01\x01\x01"),
        (bytes(range(1, 255)), b"\xff" + bytes(range(1, 255)) + b"\x01"),
        (b"\0" + bytes(range(1, 255)), b"\x01\xff" + bytes(range(1, 255)) + b"\x01"),
        (bytes(range(1, 256)), b"\xff" + bytes(range(1, 255)) + b"\x02\xff"),
    ],
)
def test_stuffing_known_answers(plain: bytes, stuffed: bytes) -> None:
    assert stuff(plain) == stuffed
    assert unstuff(stuffed) == plain


@pytest.mark.parametrize("wrong", [b"\x00", b"\x05\x01", b"\x02", b"\x03\x01\x00"])
def test_what_is_no_stuffing_is_refused(wrong: bytes) -> None:
    assert unstuff(wrong) is None


@given(FRAMES)
def test_frames_survive_in_any_pieces(frame: Frame) -> None:
    wire = encode_frame(frame)
    assert len(wire) <= protocol.MAX_ENCODED + 2
    decoder = FrameDecoder()
    items = []
    for byte in wire:
        decoder.push(bytes([byte]))
        items += pop_all(decoder)
    assert items == [frame]


@given(FRAMES, st.data())
def test_every_single_damage_is_noticed(frame: Frame, data: st.DataObject) -> None:
    wire = bytearray(encode_frame(frame)[1:-1])
    place = data.draw(st.integers(0, len(wire) - 1))
    kind = data.draw(st.sampled_from(["flip", "drop", "twice", "cut"]))
    if kind == "flip":
        wire[place] ^= data.draw(st.integers(1, 255))
    elif kind == "drop":
        del wire[place]
    elif kind == "twice":
        wire.insert(place, wire[place])
    else:
        del wire[place:]
    pieces = [decode_frame(piece) for piece in bytes(wire).split(b"\0")]
    assert all(piece in (None, frame) for piece in pieces)
    if kind == "flip":
        assert frame not in pieces


def test_text_before_a_frame_is_noise() -> None:
    decoder = FrameDecoder()
    frame = Frame(3, 4, 5, b"\0data")
    decoder.push(b"ets Jun  8 2016 00:22:57\r\n" + encode_frame(frame) + encode_frame(frame))
    assert pop_all(decoder) == [Noise(b"ets Jun  8 2016 00:22:57\r\n"), frame, frame]
    decoder.push(b"tail")
    assert pop_all(decoder) == []
    assert decoder.flush() == b"tail"


def test_a_stream_without_zeros_does_not_pile_up() -> None:
    decoder = FrameDecoder()
    for _ in range(20):
        decoder.push(b"x" * 1000)
        pop_all(decoder)
    assert len(decoder.flush()) <= FrameDecoder.LONGEST_NOISE


def test_too_much_data_is_the_callers_fault() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        encode_frame(Frame(1, 1, 1, bytes(protocol.MAX_DATA + 1)))


def test_constants_are_the_firmwares() -> None:
    header = (firmware_dir() / "agent" / "protocol.h").read_text()
    sizes = dict(re.findall(r"constexpr \w+ k(\w+) = (\w+);", header))
    assert int(sizes["ProtocolVersion"]) == protocol.PROTOCOL_VERSION
    assert int(sizes["MaxData"]) == protocol.MAX_DATA
    assert int(sizes["HeaderBytes"]) == protocol.HEADER_BYTES
    assert int(sizes["CrcBytes"]) == protocol.CRC_BYTES
    assert int(sizes["ReplyBit"], 16) == protocol.REPLY_BIT

    for enum, prefix, mirror in (
        ("Type", "k", protocol.Type),
        ("Describe", "kDescribe", protocol.Describe),
        ("RunFlag", "kRun", protocol.RunFlag),
        ("ErrorCode", "kError", protocol.ErrorCode),
        ("NakReason", "kNak", protocol.NakReason),
        ("Counter", "kHas", protocol.Counter),
    ):
        body = re.search(rf"enum {enum} : uint8_t \{{(.*?)\}};", header, re.S)
        assert body, enum
        entries = re.findall(rf"\b{prefix}(\w+) = (\w+)", body[1])
        named = {_snake(name): int(value, 0) for name, value in entries}
        assert named == {member.name: member.value for member in mirror}, enum


def test_model_constants_are_the_firmwares() -> None:
    from espgen.resources import MODEL_ABI
    from espgen.verify.model_info import DTYPES, MAX_TEXT

    header = (firmware_dir() / "include" / "espgen" / "model.h").read_text()
    names = re.search(r"enum class DType : uint8_t \{(.*?)\};", header, re.S)
    assert names
    assert tuple(name.strip()[1:].lower() for name in names[1].split(",")) == DTYPES
    assert int(re.search(r"kModelAbi = (\d+)", header)[1]) == MODEL_ABI
    describe = (Path(firmware_dir()) / "agent" / "describe.h").read_text()
    assert int(re.search(r"kMaxText = (\d+)", describe)[1]) == MAX_TEXT


def test_statuses_are_the_firmwares_and_each_has_a_remedy() -> None:
    from espgen.verify.device import STATUSES

    header = (firmware_dir() / "include" / "espgen" / "status.h").read_text()
    named = {_snake(name): int(value) for name, value in re.findall(r"\bk(\w+) = (\d+),", header)}
    assert named == {member.name: member.value for member in protocol.Status}
    assert set(STATUSES) == set(protocol.Status) - {protocol.Status.OK}


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()
