"""The envelope of .espdl files: one model behind a 16-byte header, or a pack of several."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from struct import Struct

from espgen.errors import EspgenError
from espgen.frontend.limits import MAX_NAME

MODEL = b"EDL2"
PACKS = (b"PDL1", b"PDL2", b"PDL3")
MAGICS = (b"EDL1", MODEL, *PACKS)

_HEADER, _U32, _ENTRY = Struct("<4sIII"), Struct("<I"), Struct("<III")
_SIGNED_HEAD, _DIGEST_AT, _DIGEST = 60, 24, 32
_MOST_MEMBERS = 4096


def payload(data: bytes, place: str, member: str | None = None) -> bytes:
    """The FlatBuffer inside an .espdl file, or inside the member `member` of a pack.

    Raises EspgenError for damaged and encrypted files, and for a pack whose member is not said or unknown (it lists them).
    """
    if data[:4] in PACKS:
        members = dict(_members(data, place))
        chosen = _chosen(members, member, place)
        start, end = members[chosen]
        return _model(data[start:end], f"{place}, member {chosen!r}")
    if member is not None:
        raise EspgenError("this .espdl file is no pack of several models", place=place, hint="leave --member out")
    return _model(data, place)


def members(data: bytes, place: str) -> tuple[str, ...]:
    """Names of the models in a pack, none for a file of one model."""
    return tuple(dict(_members(data, place))) if data[:4] in PACKS else ()


def _model(data: bytes, place: str) -> bytes:
    if data[:4] == b"EDL1":
        raise EspgenError("this is an .espdl file of the first version", place=place, hint="export it with a newer ESP-PPQ")
    if len(data) < _HEADER.size or data[:4] != MODEL:
        raise _damaged("it does not begin with a header", place, 0)
    _, encrypted, length, _ = _HEADER.unpack_from(data)
    if encrypted:
        raise EspgenError(
            "the .espdl file is encrypted", place=place, hint="export it without a key: espgen reads no encrypted models"
        )
    if length > len(data) - _HEADER.size:
        raise _damaged(f"its header tells of {length} bytes, {len(data) - _HEADER.size} follow", place, 8)
    return data[_HEADER.size : _HEADER.size + length]


def _members(data: bytes, place: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Name, begin and end of each model of a pack, in the file's order."""
    table = 8
    if data[:4] == b"PDL3":
        table = _SIGNED_HEAD
        _check_digest(data, place)
    if len(data) < table:
        raise _damaged("it ends in its header", place, len(data))
    count = _U32.unpack_from(data, table - 4)[0]
    if not 0 < count <= _MOST_MEMBERS or table + count * _ENTRY.size > len(data):
        raise _damaged(f"it tells of {count} models", place, table - 4)
    entries = [_ENTRY.unpack_from(data, table + index * _ENTRY.size) for index in range(count)]
    starts = sorted({entry[0] for entry in entries} | {len(data)})
    seen: set[str] = set()
    for index, (start, name_at, length) in enumerate(entries):
        at = table + index * _ENTRY.size
        if start >= len(data) or length > MAX_NAME or name_at + length > len(data):
            raise _damaged(f"model {index} lies outside of it", place, at)
        try:
            name = data[name_at : name_at + length].decode("utf-8")
        except UnicodeDecodeError:
            raise _damaged(f"the name of model {index} is not UTF-8", place, name_at) from None
        if name in seen:
            raise _damaged(f"two models are called {name!r}", place, at)
        seen.add(name)
        yield name, (start, starts[starts.index(start) + 1])


def _check_digest(data: bytes, place: str) -> None:
    if len(data) < _SIGNED_HEAD:
        raise _damaged("it ends in its header", place, len(data))
    size = _U32.unpack_from(data, 20)[0]
    if not _SIGNED_HEAD <= size <= len(data):
        raise _damaged(f"its header tells of {size} bytes", place, 20)
    cleared = data[:_DIGEST_AT] + bytes(_DIGEST) + data[_DIGEST_AT + _DIGEST : size]
    if hashlib.sha256(cleared).digest() != data[_DIGEST_AT : _DIGEST_AT + _DIGEST]:
        raise _damaged("its checksum is another", place, _DIGEST_AT)


def _chosen(members: dict[str, tuple[int, int]], member: str | None, place: str) -> str:
    if member is None and len(members) == 1:
        return next(iter(members))
    if member not in members:
        names = ", ".join(members)
        problem = "this is a pack of several models" if member is None else f"the pack has no model {member!r}"
        raise EspgenError(problem, place=place, hint=f"say which one with --member: {names}")
    return member


def _damaged(what: str, place: str, at: int) -> EspgenError:
    return EspgenError(
        f"the .espdl file is damaged: {what}", place=f"{place}, offset {at}",
        hint="check that the file was copied completely, or export the model again",
    )  # fmt: skip
