"""A folder of build results that only its user can write to, named after everything they depend on.

Beside each lies the SHA-256 of its content, which is checked before it is linked, loaded or started.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from espgen.errors import environment_error
from espgen.verify.private_folder import OTHERS_WRITE, private_folder

LIMIT_BYTES = 2 << 30
BUILDING = ".building-"  # start of the names of folders in use
CONTENT = ".sha256"  # end of the name of the file that holds another's hash
HEADER_SUFFIXES = (".h", ".hpp", ".inc", ".ld")


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
    """The cache's file `name`; `make` writes it to the path it is given where it is not there, or not what was written.

    Complete or absent: it is moved into place when it is done, so that several processes may build at once.
    EspgenError (exit code 3) where the folder cannot be written.
    """
    try:
        place = private_folder() / name
        if _intact(place):
            with suppress(FileNotFoundError):
                os.utime(place)
                return place
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=BUILDING) as folder:
            made = Path(folder) / place.name
            make(made)
            noted = Path(folder) / f"{place.name}{CONTENT}"
            noted.write_text(digest(made.read_bytes()))
            made.chmod(made.stat().st_mode & ~OTHERS_WRITE)
            # Should another process come between the two, they do not fit, and it is built anew.
            os.replace(noted, _note(place))
            os.replace(made, place)
    except OSError as error:
        raise environment_error(
            f"build results cannot be kept: {error}", hint="set ESPGEN_CACHE to a folder with room that you may write to"
        ) from error
    return place


def _note(place: Path) -> Path:
    return place.with_name(f"{place.name}{CONTENT}")


def _intact(place: Path) -> bool:
    """Whether the file is there, is the user's own, and has the content that was written."""
    try:
        found = place.lstat()
        if not stat.S_ISREG(found.st_mode) or (hasattr(os, "geteuid") and found.st_uid != os.geteuid()):
            return False
        return _note(place).read_text() == digest(place.read_bytes())
    except (OSError, UnicodeDecodeError):
        return False


def prune(limit: int = LIMIT_BYTES) -> None:
    """Delete the files used longest ago until the cache is at most `limit` bytes (hashes apart)."""
    files = []
    # os.walk passes over folders that other processes delete meanwhile; Path.rglob does not.
    for folder, folders, names in os.walk(private_folder()):
        folders[:] = [name for name in folders if not name.startswith(BUILDING)]
        for path in (Path(folder) / name for name in names if not name.endswith(CONTENT)):
            with suppress(OSError):
                status = path.stat()
                files.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= limit:
            return
        path.unlink(missing_ok=True)
        _note(path).unlink(missing_ok=True)
        total -= size
