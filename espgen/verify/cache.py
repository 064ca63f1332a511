"""A per-user folder of build results, named after everything they depend on."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from espgen.errors import environment_error

LIMIT_BYTES = 2 << 30
BUILDING = ".building-"  # start of the names of folders in use
HEADER_SUFFIXES = (".h", ".hpp", ".inc", ".ld")


def cache_dir() -> Path:
    """$ESPGEN_CACHE, else the user's cache folder, else a folder among the temporary files."""
    if chosen := os.environ.get("ESPGEN_CACHE"):
        folder = Path(chosen)
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
        folder = (Path(base) if base else Path.home() / ".cache") / "espgen"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        user = os.getuid() if hasattr(os, "getuid") else "user"
        folder = Path(tempfile.gettempdir()) / f"espgen-{user}"
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def digest(*parts: str | bytes) -> str:
    """SHA-256 over the parts, each with its length, as 64 hex digits."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little"))
        total.update(data)
    return total.hexdigest()


def digest_of_headers(folders: Iterable[Path]) -> str:
    """Digest of every header below the folders, by relative path and content."""
    parts: list[str | bytes] = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix in HEADER_SUFFIXES and path.is_file():
                parts += [str(path.relative_to(folder)), path.read_bytes()]
    return digest(*parts)


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """The cache's file `name`; `make` writes it to the path it is given where it is not there yet.

    Complete or absent: it is moved into place when it is done, so that several processes may build at once.
    EspgenError (exit code 3) where the folder cannot be written.
    """
    try:
        place = cache_dir() / name
        if place.is_file():
            with suppress(FileNotFoundError):
                os.utime(place)
                return place
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=BUILDING) as folder:
            made = Path(folder) / place.name
            make(made)
            os.replace(made, place)
    except OSError as error:
        raise environment_error(
            f"build results cannot be kept: {error}", hint="set ESPGEN_CACHE to a folder with room that you may write to"
        ) from error
    return place


def prune(limit: int = LIMIT_BYTES) -> None:
    """Delete the files used longest ago until the cache is at most `limit` bytes."""
    files = []
    # os.walk passes over folders that other processes delete meanwhile; Path.rglob does not.
    for folder, folders, names in os.walk(cache_dir()):
        folders[:] = [name for name in folders if not name.startswith(BUILDING)]
        for path in (Path(folder) / name for name in names):
            with suppress(OSError):
                status = path.stat()
                files.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= limit:
            return
        path.unlink(missing_ok=True)
        total -= size
