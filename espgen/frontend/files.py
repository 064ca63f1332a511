"""Reading a model file whole, within the limit on its size."""

from __future__ import annotations

import os
from pathlib import Path

from espgen.errors import EspgenError
from espgen.frontend.limits import MAX_FILE_BYTES


def place_of(source: str | os.PathLike[str] | bytes) -> str:
    """What messages call a model: its path, or "model" where it is bytes."""
    return "model" if isinstance(source, bytes) else str(source)


def read_model(source: str | os.PathLike[str] | bytes) -> bytes:
    """A model's bytes. EspgenError where the file can't be read or has more than MAX_FILE_BYTES."""
    if isinstance(source, bytes):
        _check_size(len(source), place_of(source))
        return source
    path = Path(source)
    try:
        _check_size(path.stat().st_size, str(path))
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(error, path) from None


def first_bytes(source: str | os.PathLike[str] | bytes, count: int) -> bytes:
    """The first `count` bytes of a model, fewer where it has fewer. EspgenError where the file can't be read."""
    if isinstance(source, bytes):
        return source[:count]
    try:
        with Path(source).open("rb") as stream:
            return stream.read(count)
    except OSError as error:
        raise _unreadable(error, Path(source)) from None


def _check_size(size: int, place: str) -> None:
    if size > MAX_FILE_BYTES:
        raise EspgenError(f"the model has {size} bytes", place=place, hint=f"at most {MAX_FILE_BYTES} bytes are read")


def _unreadable(error: OSError, path: Path) -> EspgenError:
    return EspgenError(f"can't read the model: {error.strerror}", place=str(path), hint="check the path and its permissions")
