"""Arrays of .npz and .npy files. What a header claims is compared with what the file holds before anything is allocated."""

from __future__ import annotations

import math
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from espgen.errors import EspgenError

Array = npt.NDArray[Any]

UNREADABLE = (
    OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError, KeyError, TypeError, SyntaxError,
    OverflowError, RecursionError, NotImplementedError, RuntimeError, IndexError, TokenError, struct.error,
)  # fmt: skip
"""What numpy and zipfile raise over damaged files."""

PLAIN = "write it with numpy.savez"
MOST_DEFLATED = 1040
"""Bytes that one compressed byte can stand for."""
LONGEST_HEADER = 10_000
"""Bytes of a header that are read; numpy's own limit, but for what is read before it looks."""
_READERS: Mapping[tuple[int, int], tuple[int, Callable[[IO[bytes]], tuple[Any, Any, Any]]]] = {
    (1, 0): (2, npy.read_array_header_1_0),
    (2, 0): (4, npy.read_array_header_2_0),
}
"""By version of the format: bytes of the header's length, and what reads both."""


@dataclass(frozen=True)
class Arrays:
    """What a source holds: shapes by name (None where that is known only by reading), and how an array is read."""

    place: str
    shapes: Mapping[str, tuple[int, ...] | None]
    read: Callable[[str], Array]
    labels: Array | None = None


def of_file(path: Path) -> Arrays:
    """The arrays of an .npz, or the one of an .npy under the name "". EspgenError for anything else."""
    try:
        if not path.is_file():
            raise ValueError("it is no file")
        with path.open("rb") as file:
            start = file.read(6)
        if start == npy.MAGIC_PREFIX:
            with path.open("rb") as file:
                shape = _checked_header(file, path.stat().st_size)
            return Arrays(str(path), {"": shape}, lambda _name: _read_single(path))
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no archive")
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist() if _is_array(info)}
            shapes = {name: _shape(archive, info, path.stat().st_size) for name, info in members.items()}
    except UNREADABLE as problem:
        if isinstance(problem, PermissionError):
            raise
        message = "can't read the data: this is no .npz file of plain arrays"
        raise EspgenError(message, place=str(path), hint=f"{PLAIN} (or give a folder of images, or module:name)") from problem
    return Arrays(str(path), shapes, lambda name: _read_member(path, members[name], name))


def _is_array(info: zipfile.ZipInfo) -> bool:
    return info.filename.endswith(".npy")


def _shape(archive: zipfile.ZipFile, info: zipfile.ZipInfo, size: int) -> tuple[int, ...] | None:
    """The shape that a member's header names; None where the member is damaged, which matters only to who reads it."""
    try:
        return _checked_member(archive, info, size)
    except UNREADABLE:
        return None


def _checked_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, size: int) -> tuple[int, ...]:
    if info.header_offset + info.compress_size > size:
        raise ValueError("the file ends before it does")
    most = {zipfile.ZIP_STORED: info.compress_size, zipfile.ZIP_DEFLATED: MOST_DEFLATED * info.compress_size}
    if info.file_size > most.get(info.compress_type, -1):
        raise ValueError(f"{info.compress_size} bytes of the file cannot be the {info.file_size} that it claims")
    with archive.open(info) as stream:
        return _checked_header(stream, info.file_size)


def _checked_header(stream: IO[bytes], size: int) -> tuple[int, ...]:
    """The shape in the header of an array of `size` bytes, header included. ValueError where the two do not fit."""
    version = npy.read_magic(stream)
    if version not in _READERS:
        raise ValueError(f"it is of version {version}")
    width, reader = _READERS[version]
    start = stream.read(width)
    length = int.from_bytes(start, "little")
    if length > LONGEST_HEADER:
        raise ValueError(f"its header is {length:,} bytes long")
    shape, _, dtype = reader(BytesIO(start + stream.read(length)))
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    claimed, held = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if any(extent < 0 for extent in shape) or claimed != held:
        raise ValueError(f"its header speaks of {claimed:,} bytes, it has {held:,}")
    if claimed > _memory() // 2:
        raise ValueError(f"its {claimed:,} bytes are more than half of this machine's memory")
    return tuple(int(extent) for extent in shape)


def _memory() -> int:
    """Bytes of memory that the machine has."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 1 << 40


def _read_member(path: Path, info: zipfile.ZipInfo, name: str) -> Array:
    try:
        with zipfile.ZipFile(path) as archive:
            _checked_member(archive, info, path.stat().st_size)
            with archive.open(info) as stream:
                return np.asarray(npy.read_array(stream, allow_pickle=False))
    except UNREADABLE as problem:
        raise EspgenError(f"array {name!r} of the data cannot be read: {problem}", place=str(path), hint=PLAIN) from problem


def _read_single(path: Path) -> Array:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except UNREADABLE as problem:
        raise EspgenError(f"can't read the data: {problem}", place=str(path), hint=PLAIN) from problem
